# SPDX-License-Identifier: GPL-2.0-only
"""ci.base.sandbox: what a hostile program reaches from inside, which is real here, and what becomes
of us."""

import os
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ci.base import processes, sandbox
from ci.base.errors import BuildError, StageError
from ci.base.processes import CommandResult
from ci.base.sandbox import Mount

Box = Callable[..., CommandResult]


@pytest.fixture
def box(tmp_path: Path) -> Box:
    """``sh -c SCRIPT`` in the sandbox, with a folder to write to and one to read."""
    for name in ("out", "src", "src/.git"):
        (tmp_path / name).mkdir()
    (tmp_path / "src/a.c").write_text("int a;\n", encoding="ascii")
    (tmp_path / "src/.git/config").write_text("url = https://user:secret@host\n", encoding="ascii")

    def run(script: str, timeout_s: float = 30) -> CommandResult:
        out, src = tmp_path / "out", tmp_path / "src"
        return sandbox.run_confined(
            ["sh", "-c", script],
            [Mount(src, Path("/src"), hidden=".git"), Mount(out, Path("/out"), writable=True)],
            stage="build",
            timeout_s=timeout_s,
            env={"PATH": "/src/bin", "MADE": "yes"},
            log=tmp_path / "log",
        )

    return run


def test_what_is_seen_and_written(box: Box, tmp_path: Path) -> None:
    done = box(
        "cat /src/a.c; echo $MADE $HOME; pwd; id -u; gcc --version >/out/gcc && echo x >/tmp/x"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "int a;\nyes /tmp\n/tmp\n1000\n"
    assert "gcc" in (tmp_path / "out/gcc").read_text(encoding="ascii")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["gcc"]


def test_no_file_of_the_hosts(box: Box, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    marker.write_text("of the user", encoding="ascii")
    home = Path.home()
    done = box(
        f"cat {marker} {home}/.profile /etc/shadow /etc/passwd /proc/1/environ; ls -A {home} /root"
        " /home /var /run /etc /src/.git; env"
    )
    assert "of the user" not in done.stdout and "root:" not in done.stdout
    assert done.stdout.partition("/etc:\n")[2].split("\n\n")[0].split() == [
        "alternatives",
        "ld.so.cache",
    ]
    assert done.stdout.partition("/src/.git:\n")[2].startswith("MADE=") or re.search(
        r"/src/\.git:\n(?!config)", done.stdout
    )
    assert "secret" not in done.stdout
    names = set(re.findall(r"^(\w+)=", done.stdout, re.M))
    assert names == {"HOME", "LC_ALL", "MADE", "PATH", "PWD", "TERM", "TZ"}


@pytest.mark.parametrize(
    "path",
    [
        "/src/untracked.h",
        "/src/a.c",
        "/usr/x",
        "/etc/x",
        "/x",
        "/dev/shm/x",
        "/proc/sys/kernel/core_pattern",
    ],
)
def test_nothing_is_written_elsewhere(box: Box, tmp_path: Path, path: str) -> None:
    pattern = Path("/proc/sys/kernel/core_pattern").read_bytes()
    done = box(f"touch -d 2000-01-01 {path}; chmod 777 {path}; echo x >{path}")
    assert done.returncode != 0
    assert Path("/proc/sys/kernel/core_pattern").read_bytes() == pattern
    assert (tmp_path / "src/a.c").read_text(encoding="ascii") == "int a;\n"
    assert {p.name for p in (tmp_path / "src").iterdir()} == {"a.c", ".git"}


def test_no_network_and_no_socket_of_the_hosts(box: Box) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket(socket.AF_UNIX) as unix:
        unix.bind("\0patchverdict-test")
        unix.listen()
        port = server.getsockname()[1]
        done = box(
            "python3 -c 'import socket\n"
            f'for kind, to in ((2, ("127.0.0.1", {port})), (2, ("192.0.2.1", 80)),'
            ' (1, "\\0patchverdict-test")):\n'
            '    try: socket.socket(kind).connect(to); print("connected")\n'
            "    except OSError as error: print(error.errno)'"
        )
    assert done.stdout.split() == ["111", "101", "111"], done.stderr


def test_nothing_can_be_gained(box: Box) -> None:
    done = box(
        "grep -E '^(Cap|NoNewPrivs)' /proc/self/status; unshare -U true && echo namespace;"
        " mount -t tmpfs x /tmp && echo mounted; mount -o remount,rw /src && echo remounted;"
        " cat /proc/self/oom_score_adj; test -t 0 && echo terminal;"
        " echo x >/dev/tty && echo terminal; ls -d /proc/[0-9]* | wc -l"
    )
    assert set(re.findall(r"^Cap\w+: (\w+)", done.stdout, re.M)) == {"0" * 16}
    assert "NoNewPrivs: 1" in done.stdout and "\n1000\n" in done.stdout
    assert not {"namespace", "mounted", "remounted", "terminal"} & set(done.stdout.split())
    assert int(done.stdout.split()[-1]) < 10, done.stdout


def excess(box: Box, script: str, what: str, timeout_s: float = 60) -> None:
    begin = time.monotonic()
    with pytest.raises(BuildError, match=f"build: sh {what}, and was ended") as raised:
        box(script, timeout_s)
    assert raised.value.stage == "build" and time.monotonic() - begin < timeout_s / 2


def test_a_bomb_of_processes(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where prlimit(1) does not end it: for root it does not count."""
    monkeypatch.setattr(sandbox, "PROCESSES", 60)
    if os.geteuid():
        done = box("for i in $(seq 100); do sleep 300 & done; wait")
        assert done.returncode == 2 and "fork" in done.stderr
    else:
        excess(
            box,
            "for i in $(seq 100); do sleep 300 & done; wait",
            "had more than 60 processes at once",
        )


def test_memory_is_bounded(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "MEMORY_MB", 200)
    excess(
        box,
        "for i in 1 2 3; do python3 -c 'import time; x = b\"x\" * 90000000; time.sleep(300)' &"
        " done; wait",
        "took more than 200 MB of memory",
    )


def test_the_disk_is_bounded(box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "DISK_MB", 20)
    excess(
        box,
        "for i in 1 2 3 4 5 6 7 8; do head -c 5000000 /dev/zero >/out/$i; done; sleep 300",
        "wrote more than 20 MB or 400000 files",
    )
    monkeypatch.setattr(sandbox, "FILE_MB", 1)
    done = box("head -c 5000000 /dev/zero >/out/one")
    assert done.returncode and (tmp_path / "out/one").stat().st_size == 1 << 20


def test_a_file_for_scratch_is_bounded(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "SCRATCH_MB", 2)
    done = box("head -c 5000000 /dev/zero >/tmp/x")
    assert "No space left on device" in done.stderr


def test_what_is_printed_is_bounded(
    box: Box, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sandbox, "OUTPUT_MB", 1)
    for script in ("yes", "yes >&2", "tr '\\0' x </dev/zero"):
        excess(box, script, "printed more than 1 MB")
    assert (tmp_path / "log").stat().st_size < 4 << 20


def test_the_log_has_no_control_characters(box: Box, tmp_path: Path) -> None:
    done = box("printf 'a\\033[2Jb\\r\\033]0;x\\007c\\n::error::d\\n##[error]e\\n\\n\\tf'; sleep 1")
    assert done.stdout == "ab c\n::error::d\n# #[error]e\n\n f\n"
    assert (tmp_path / "log").read_text(encoding="utf-8") == done.stdout


@pytest.mark.parametrize("script", ["sleep 300", "kill -STOP $$", "kill -STOP -1; sleep 300"])
def test_what_does_not_end_is_ended(box: Box, script: str) -> None:
    with pytest.raises(StageError, match=r"^build: `sh -c .* did not end within 1 s"):
        box(script, timeout_s=1)


def test_a_daemon_ends_with_the_command(box: Box, tmp_path: Path) -> None:
    begin = time.monotonic()
    done = box(
        "setsid sh -c 'trap \"\" TERM HUP; echo $$ >/out/pid; sleep 317' </dev/null & sleep 1"
    )
    assert done.returncode == 0 and (tmp_path / "out/pid").exists()
    assert time.monotonic() - begin < 20
    listed = processes.run(["ps", "-eo", "args"], stage="build", timeout_s=9).stdout
    assert "sleep 317" not in listed.splitlines()


@pytest.mark.parametrize(
    "script", ["kill -9 $PPID; kill -9 1; kill -9 -1; echo alive", "kill -9 $$"]
)
def test_a_kill_reaches_nothing_but_what_is_inside(box: Box, script: str) -> None:
    assert box(script).returncode in (0, 137)
    assert processes.run(["true"], stage="build", timeout_s=9).returncode == 0


def test_a_host_that_forbids_it_is_told_the_remedy(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert sandbox.find_trouble() == ""
    monkeypatch.setattr(sandbox, "SYSTEM", ())
    assert "user namespaces" in sandbox.find_trouble()
    switch = tmp_path / "restrict"
    switch.write_text("1\n", encoding="ascii")
    monkeypatch.setattr(sandbox, "APPARMOR", switch)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    for words in ("apparmor_parser -r /etc/apparmor.d/bwrap-userns-restrict", "--no-sandbox"):
        assert words in sandbox.find_trouble()
    monkeypatch.setattr(sandbox, "PROGRAMS", str(tmp_path))
    assert "install the package bubblewrap" in sandbox.find_trouble()
