# SPDX-License-Identifier: GPL-2.0-only
"""ci.base.processes and ci.base.reaper: real processes, and none of them left."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ci.base import launch, processes
from ci.base.errors import StageError
from tests.conftest import ROOT

# Leaves a process that has detached itself in a session of its own, as QEMU behind a shell can; its
# id on stdout.
DETACHED = "setsid sleep 300 >/dev/null 2>&1 & echo $!; "


def run(script: str, **more: object) -> processes.CommandResult:
    return processes.run(["sh", "-c", script], **{"stage": "run", "timeout_s": 20, **more})  # type: ignore[arg-type]


def alive(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii")
    except (FileNotFoundError, ProcessLookupError):  # it may end between open and read
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def gone(pid: int) -> bool:
    """Whether the process ends within ten seconds."""
    for _ in range(200):
        if not alive(pid):
            return True
        time.sleep(0.05)
    return False


def test_output_exit_code_and_cpu_time() -> None:
    done = run(
        "echo out; echo err >&2; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; exit 3", ok=(3,)
    )
    assert (done.stdout, done.stderr, done.returncode) == ("out\n", "err\n", 3)
    assert 0 < done.cpu_s < 10


def test_cpu_seconds_of_what_is_detached_and_of_what_is_ended_count_too() -> None:
    before, busy = processes.spent_s(), "i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done"
    done = run(f"setsid sh -c '{busy}; exec sleep 300' & sleep 0.6")
    assert done.cpu_s > 0.02 and processes.spent_s() >= before + done.cpu_s
    before = processes.spent_s()
    with pytest.raises(StageError, match="did not end"):
        run(f"{busy}; sleep 300", timeout_s=0.6)
    assert processes.spent_s() > before + 0.02


def test_where_a_command_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "below").mkdir()
    assert run("pwd -P; umask").stdout.split() == [str(tmp_path.resolve()), "0022"]
    assert run("pwd -P", cwd=Path("below")).stdout == f"{tmp_path.resolve()}/below\n"
    with pytest.raises(StageError, match="could not be run: No such file"):
        run("true", cwd=tmp_path / "gone")


@pytest.mark.parametrize("fresh", [False, True])
def test_no_file_of_ours_is_open_in_a_command(
    fresh: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("true")
    with (tmp_path / "ours").open("w", encoding="ascii") as file:
        os.set_inheritable(file.fileno(), True)
        if fresh:  # a reaper that starts while the file is open
            monkeypatch.setattr(launch, "_reaper", None)
        assert run("ls /proc/self/fd").stdout.split() == [
            "0",
            "1",
            "2",
            "3",
        ]  # 3: the folder that ls reads


def test_a_reaper_that_is_killed_is_started_again() -> None:
    assert run("echo one").stdout == "one\n"
    assert launch._reaper
    killed, _ = launch._reaper
    killed.kill()
    killed.wait()
    assert run("echo two").stdout == "two\n"
    assert launch._reaper[0] is not killed


def test_an_exit_code_that_is_no_answer_is_an_error_with_the_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(StageError) as caught:
        run("echo first; echo why >&2; exit 2", log=log)
    assert "ended with exit code 2" in caught.value.message and "why" in caught.value.message
    assert caught.value.log == log and "first\n" in log.read_text(encoding="utf-8")


def test_a_program_that_is_not_there() -> None:
    with pytest.raises(StageError, match="could not be run: No such file"):
        processes.run(["no-such-program-here"], stage="run", timeout_s=5)
    with pytest.raises(StageError, match="install the package nothing"):
        processes.require("run", "no-such-program-here", "nothing")


def test_a_signal_is_named() -> None:
    with pytest.raises(StageError, match="ended by signal 9"):
        run("kill -9 $$")
    assert run("kill -9 $$", ok=None).returncode == -9


def test_hostile_bytes_and_stdin() -> None:
    assert run("printf 'a\\377\\000b'").stdout == "a\ufffd\0b"
    assert run("cat", stdin="in\n").stdout == "in\n"
    assert run("exec 0<&-; sleep 0.1", stdin="x" * 1_000_000).returncode == 0


def test_nothing_of_the_environment_but_what_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAKEFLAGS", "-k")
    monkeypatch.setenv("GIT_DIR", "/elsewhere")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    said = run("env", env={"MINE": "1"}).stdout.splitlines()
    names = {line.partition("=")[0] for line in said}
    assert not {"MAKEFLAGS", "GIT_DIR", "LANG"} & names
    assert {"LC_ALL=C.UTF-8", "TZ=UTC", "MINE=1"} <= set(said)


def test_lines_are_seen_as_they_come() -> None:
    seen: list[tuple[float, str]] = []
    run("echo one; sleep 0.4; echo two", on_line=lambda line: seen.append((time.monotonic(), line)))
    assert [line for _, line in seen] == ["one", "two"]
    assert seen[1][0] - seen[0][0] > 0.2


def test_a_detached_child_ends_with_the_command() -> None:
    assert gone(int(run(DETACHED).stdout))


def test_what_is_forked_while_it_is_ended_ends_too() -> None:
    """Before, a process that was forked between two looks was waited for, not killed."""
    begin = time.monotonic()
    for _ in range(6):
        with pytest.raises(StageError):
            run(
                "echo; for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15; do sleep 30 & done; wait",
                on_line=lambda _: processes.abort(),
            )
    assert time.monotonic() - begin < 20


def test_a_time_limit_ends_everything(tmp_path: Path) -> None:
    note = tmp_path / "pid"
    begin = time.monotonic()
    with pytest.raises(StageError, match="did not end within 1 s"):
        run(f"({DETACHED}) >{note}; sleep 300", timeout_s=1)
    assert time.monotonic() - begin < 10
    assert gone(int(note.read_text(encoding="ascii")))


def test_a_watch_ends_the_command_with_its_word() -> None:
    begin = time.monotonic()
    done = run("sleep 300", watch=lambda: "enough" if time.monotonic() - begin > 0.5 else "")
    assert done.stopped == "enough" and done.cpu_s < 1
    assert time.monotonic() - begin < 10


def test_abort_ends_what_other_threads_run() -> None:
    errors: list[str] = []

    def work() -> None:
        try:
            run("sleep 300")
        except StageError as error:
            errors.append(error.message)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.5)
    processes.abort()
    thread.join(10)
    assert not thread.is_alive() and len(errors) == 1


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_children_die_with_us(number: signal.Signals, tmp_path: Path) -> None:
    note = tmp_path / "pids"
    script = f"echo $$ >>{note}; ({DETACHED}) >>{note}; sleep 300"
    ours = (
        f"from ci.base import processes as command; command.run(['sh', '-c', {script!r}],"
        " stage='run', timeout_s=200)"
    )
    us = subprocess.Popen([sys.executable, "-c", ours], cwd=ROOT, stderr=subprocess.DEVNULL)
    for _ in range(200):
        if note.exists() and len(note.read_text(encoding="ascii").split()) == 2:
            break
        time.sleep(0.05)
    pids = [int(word) for word in note.read_text(encoding="ascii").split()]
    assert all(map(alive, pids))
    os.kill(us.pid, number)
    us.wait(20)
    assert all(map(gone, pids))


def test_bytes_that_are_no_letter_are_replaced_at_the_end_too() -> None:
    assert run(r"printf '\303\nx\303'").stdout == "\ufffd\nx\ufffd"


def test_a_line_without_end_comes_in_parts(tmp_path: Path) -> None:
    """A watch sees the log grow; what is cut between the bytes of a letter stays that letter."""
    log = tmp_path / "log"
    program = "import os, time; os.write(1, 'x€'.encode() * 700_000); time.sleep(60)"
    done = processes.run(
        [sys.executable, "-c", program],
        stage="run",
        timeout_s=30,
        ok=None,
        log=log,
        watch=lambda: "flood" if log.stat().st_size > 1_000_000 else "",
    )
    assert done.stopped == "flood"
    assert done.stdout.startswith("x€" * 100_000) and "\ufffd" not in done.stdout[:-1]
