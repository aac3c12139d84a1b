# SPDX-License-Identifier: GPL-2.0-only
"""ci.guest.vm: the composed command line, what the guest is told, and what its records say. Real
guests: test_guests."""

import os
import shlex
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import virtme

from ci.base import processes
from ci.base.errors import StageError
from ci.base.sides import Side
from ci.base.workspace import Workspace
from ci.guest import floods, vm
from ci.guest.events import Events
from ci.guest.modes import MACHINES, Mode
from ci.guest.rootfs import Image
from ci.kernel.build import Kernel
from ci.logs.ending import LOGS, Ended, GuestEnd
from ci.report import stored
from ci.report.record import GuestRow
from ci.suites.kunit import KUNIT
from ci.suites.mptcp import COLLECTION
from ci.verdict import judge
from ci.verdict.evidence import Evidence, ScriptRun
from tests.conftest import ROOT

SCRIPT = replace(COLLECTION.script("mptcp_join.sh"), args=("-d", "-m"))
KERNEL = Kernel(Path("/k"), "key", "6.12.1", "ab" * 20, "digest", ())
NONCE = "c0ffee" * 5 + "00"


def argv(
    mode: str, folder: Path, kernel: Path = Path("/k/bzImage"), initrd: Path = Path("/i/root.cpio")
) -> list[str]:
    return vm.vng_argv(kernel, initrd, Mode(mode, ""), "console=ttyS1 x", folder, folder / "root")


def test_the_whole_command_line_in_virtual_mode() -> None:
    words = argv("virtual", Path("/run/a,b"))
    assert words[:-1] == [
        vm.vng_program(),
        "--run",
        "/k/bzImage",
        "--root",
        "/run/a,b/root",
        "--force-9p",
        "--disable-monitor",
        "--disable-microvm",
        "--cpus",
        "1",
        "--memory",
        "1024M",
        "--verbose",
        "--disable-kvm",
    ]
    assert shlex.split(words[-1].removeprefix("--qemu-opts=")) == [
        "-no-reboot",
        "-initrd",
        "/i/root.cpio",
        "-accel",
        "tcg",
        "-icount",
        "shift=0,sleep=off,rr=record,rrfile=/dev/null",
        "-rtc",
        "base=2025-01-01T00:00:00,clock=vm",
        "-cpu",
        "max,-erms,-fsrm",
        "-seed",
        "1",
        "-chardev",
        "file,id=kernellog,path=/run/a,,b/kernel.log",
        "-serial",
        "chardev:kernellog",
        "-chardev",
        "file,id=testslog,path=/run/a,,b/tests.log",
        "-serial",
        "chardev:testslog",
        "-chardev",
        "file,id=controllog,path=/run/a,,b/control.log",
        "-serial",
        "chardev:controllog",
        "-chardev",
        "pipe,id=events,path=/run/a,,b/qmp",
        "-mon",
        "chardev=events,mode=control",
        "-fw_cfg",
        "name=opt/org.patchverdict/job,file=/run/a,,b/job",
        "-append",
        "console=ttyS1 x",
    ]


def test_kvm_never_falls_back_in_silence() -> None:
    qemu = shlex.split(argv("kvm", Path("/run/x"))[-1].removeprefix("--qemu-opts="))
    assert qemu[qemu.index("-machine") + 1] == "accel=kvm"
    assert "--disable-kvm" not in argv("kvm", Path("/run/x"))


@pytest.mark.parametrize("mode", MACHINES)
def test_vng_itself_exports_nothing_of_the_host(mode: str, tmp_path: Path) -> None:
    """What vng makes of our options: the QEMU command line that it prints instead of running it."""
    (tmp_path / "bzImage").write_bytes(b"\0" * 2048)
    (tmp_path / "root").mkdir()
    words = [*argv(mode, tmp_path, tmp_path / "bzImage", tmp_path / "root.cpio"), "--dry-run"]
    done = subprocess.run(
        words,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=processes.environment(vm.vng_environment()),
    )
    shown = next(line for line in done.stdout.splitlines() if "qemu-system-x86_64" in line)
    qemu = shlex.split(shown)
    exports = [qemu[n + 1] for n, word in enumerate(qemu) if word in ("-fsdev", "-virtfs")]
    paths = [
        part.removeprefix("path=")
        for export in exports
        for part in export.split(",")
        if part.startswith("path=")
    ]
    # Ours, which is empty, and the scripts that virtme-ng brings for guests that start its init.
    assert paths == [str(tmp_path / "root"), str(Path(virtme.__file__).with_name("guest"))]
    assert list((tmp_path / "root").iterdir()) == []
    assert not {"/", str(Path.home()), str(ROOT), str(tmp_path)} & {
        str(Path(path).resolve()) for path in paths
    }
    assert all("readonly=on" in export for export in exports)
    assert (
        qemu[len(qemu) - 1 - qemu[::-1].index("-append") + 1] == "console=ttyS1 x"
    )  # the last one counts
    assert not {"-netdev", "-nic"} & set(qemu) and qemu[qemu.index("-net") + 1] == "none"


def test_a_folder_whose_name_a_shell_would_obey(tmp_path: Path) -> None:
    """vng makes a line for a shell of its arguments."""
    folder = tmp_path / "a b'$(touch hurt),;\"`touch hurt`"
    (folder / "root").mkdir(parents=True)
    kernel = tmp_path / "$(touch hurt) bzImage"
    kernel.touch()
    here = vm.HERE
    words = vm.vng_argv(kernel, folder / "initrd", Mode("virtual", ""), "x", here, here / "root")
    done = subprocess.run(
        [words[0], "--dry-run", *words[1:]],
        cwd=folder,
        capture_output=True,
        text=True,
        env=processes.environment(vm.vng_environment()),
    )
    qemu = shlex.split(
        next(line for line in done.stdout.splitlines() if "qemu-system-x86_64" in line)
    )
    assert qemu[qemu.index("-kernel") + 1] == str(kernel) and qemu[
        qemu.index("-initrd") + 1
    ] == str(folder / "initrd")
    assert "file,id=testslog,path=tests.log" in qemu and f"name={vm.JOB},file=job" in qemu
    assert [path.name for path in folder.iterdir()] == ["root"]


def test_the_job_names_everything_and_nothing_twice() -> None:
    lines = vm.job_text(replace(SCRIPT, limit_s=15), NONCE, Mode("tcg", "")).splitlines()
    assert lines == [
        f"nonce {NONCE}",
        "dir /selftests/net/mptcp",
        "env SELFTESTS_MPTCP_LIB_EXPECT_ALL_FEATURES=1",
        "env NO_COLOR=1",
        "limit_s 60",
        "probe mptcp",
        "program mptcp_join.sh",
        "arg -d",
        "arg -m",
    ]
    shell = Mode("tcg", "", interactive=True)
    assert vm.job_text(SCRIPT, NONCE, shell).endswith("env NO_COLOR=1\nshell yes\n")
    # Where time is the host's, nobody waits for memory to come back.
    assert "settle_s 10\n" in vm.job_text(SCRIPT, NONCE, Mode("virtual", ""))


def test_beside_the_kernels_own_tests_the_guest_does_nothing() -> None:
    script = COLLECTION.script(KUNIT)
    lines = vm.job_text(script, NONCE, Mode("virtual", "")).splitlines()
    assert lines[1] == "dir /" and lines[-2:] == ["limit_s 600", "program usr/bin/true"]
    assert not [line for line in lines if line.startswith(("probe", "settle_s"))]


def test_the_kernels_command_line_has_no_value_of_the_host(workspace: Workspace) -> None:
    words = vm.kernel_parameters(workspace, Mode("virtual", "")).split()
    assert {"console=ttyS1,115200", "rdinit=/init", "panic=-1", "softlockup_panic=1"} <= set(words)
    assert not any("#" in word or "/" in word.removeprefix("rdinit=/init") for word in words)


def ended(
    folder: Path, control: str, stopped: str = "", console: str = "", reason: str = ""
) -> GuestEnd:
    (folder / "control.log").write_text(control, encoding="utf-8")
    (folder / "kernel.log").write_text(console, encoding="utf-8")
    return vm._read_end(folder, NONCE, stopped, reason, KERNEL)


BOOT, END, DONE = (
    f"{NONCE} boot {'ab' * 20} 6.12.1\n",
    f"{NONCE} end 0 2500 100\n",
    f"{NONCE} done\n",
)


@pytest.mark.parametrize(
    ("control", "stopped", "console", "word", "status"),
    [
        (BOOT + END + DONE, "", "", Ended.FINISHED, 0),
        (BOOT + END + DONE, "shutdown", "", Ended.HANG_SHUTDOWN, 0),
        (BOOT + f"{NONCE} timeout 60\n" + END + DONE, "", "", Ended.HANG_SCRIPT, 0),
        (BOOT + END, "", "", Ended.LOST, 0),
        (BOOT, "", "Kernel panic - not syncing: x", Ended.PANIC, None),
        (BOOT, "script", "Kernel panic - not syncing: x", Ended.HANG_SCRIPT, None),
        ("", "boot", "", Ended.HANG_BOOT, None),
        ("", "", "", Ended.LOST, None),
        (BOOT + f"{NONCE} end x 1 1\n" + DONE, "", "", Ended.FINISHED, None),
        (BOOT + f"{NONCE} end 0 1\n" + DONE, "", "", Ended.FINISHED, None),
        (f"{'0' * 32} done\n", "", "", Ended.LOST, None),
        # Not what init would say, though it begins with its word: nothing of it counts.
        (BOOT + END + END + DONE, "", "", Ended.FORGED, None),
        (BOOT + END + f"{NONCE} start x\n" + DONE, "", "", Ended.FORGED, None),
        (BOOT + DONE + END + DONE, "", "", Ended.FORGED, None),
        (BOOT + DONE + BOOT, "shutdown", "", Ended.FORGED, None),
        (BOOT + f"{NONCE} end {'9' * 100_000} 1 1\n" + DONE, "", "", Ended.FINISHED, None),
        (BOOT + f"{NONCE} end 0 {'9' * 5000} 1\n" + DONE, "", "", Ended.FINISHED, None),
        (BOOT + f"{NONCE} end -1 1 1\n" + DONE, "", "", Ended.FINISHED, None),
        (BOOT + f"{NONCE} end ² ² ²\n" + DONE, "", "", Ended.FINISHED, None),
        (BOOT + f"{NONCE} end 0 1 1 1\n" + DONE, "", "", Ended.FINISHED, None),
        (BOOT + f"{NONCE} memory 1\n{NONCE} memory 2\n" + END + DONE, "", "", Ended.FINISHED, 0),
    ],
)
def test_how_it_ended(
    control: str, stopped: str, console: str, word: Ended, status: int | None, tmp_path: Path
) -> None:
    found = ended(tmp_path, control, stopped, console)
    assert (found.ended, found.exit_status) == (word, status)


@pytest.mark.parametrize(
    ("reason", "console", "word"),
    [
        ("guest-reset", "", Ended.RESET),
        ("guest-reset", "Kernel panic - not syncing: x", Ended.PANIC),
        ("guest-shutdown", "", Ended.POWER_OFF),
        ("host-signal", "", Ended.LOST),
        ("", "", Ended.LOST),
    ],
)
def test_a_guest_that_ends_by_itself_is_not_lost(
    reason: str, console: str, word: Ended, tmp_path: Path
) -> None:
    assert ended(tmp_path, BOOT, "", console, reason).ended is word
    assert ended(tmp_path, BOOT, "script", "", reason).ended is Ended.HANG_SCRIPT
    assert ended(tmp_path, BOOT + END + DONE, "", "", reason).ended is Ended.FINISHED


def test_qemu_says_why_it_ended(tmp_path: Path) -> None:
    """QEMU's side of the two pipes, as its QMP writes them."""
    event = '{"timestamp": {"seconds": 1}, "event": "SHUTDOWN", "data": {"reason": "guest-reset"}}'
    with Events(tmp_path) as told:
        asked = os.open(tmp_path / "qmp.in", os.O_RDONLY | os.O_NONBLOCK)
        assert os.read(asked, 100) == b'{"execute": "qmp_capabilities"}\n'
        os.close(asked)
        assert told.find_reason() == ""
        (tmp_path / "qmp.out").write_text(f'{{"return": {{}}}}\r\nnoise\r\n{event}\r\n')
        assert told.find_reason() == "guest-reset"
    assert list(tmp_path.iterdir()) == []


def test_a_kernel_that_is_not_the_one_built_is_an_error(tmp_path: Path) -> None:
    """The next run builds it anew: its entry in the cache is gone."""
    bad = replace(KERNEL, folder=tmp_path / "kernels/key")
    bad.folder.mkdir(parents=True)
    for name, said in (("control.log", f"{NONCE} boot {'cd' * 20} 6.12.1\n"), ("kernel.log", "")):
        (tmp_path / name).write_text(said, encoding="utf-8")
    with pytest.raises(StageError, match=r"not abab.* run this again"):
        vm._read_end(tmp_path, NONCE, "", "", bad)
    assert list(bad.folder.parent.iterdir()) == []


class Quiet(Events):
    """QEMU that says nothing."""

    def drain(self) -> None:
        """Nothing comes."""


def test_each_part_has_a_limit_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    control = tmp_path / "control.log"
    control.touch()
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    (tmp_path / "vng.log").touch()
    watch = vm._Watch(tmp_path, NONCE, 50, Quiet(tmp_path))
    now[0] = vm.BOOT_LIMIT_S + 1
    assert watch() == "boot"
    control.write_text(BOOT, encoding="utf-8")
    assert watch() == ""
    now[0] += 49
    assert watch() == ""
    now[0] += 2
    assert watch() == "script"
    control.write_text(BOOT + END + DONE, encoding="utf-8")
    assert watch() == ""
    now[0] += vm.SHUTDOWN_LIMIT_S + 1
    assert watch() == "shutdown"


def test_a_guest_that_nothing_can_wake_ends_at_once(tmp_path: Path) -> None:
    (tmp_path / "control.log").write_text(BOOT, encoding="utf-8")
    (tmp_path / "vng.log").write_text("", encoding="utf-8")
    watch = vm._Watch(tmp_path, NONCE, 50, Quiet(tmp_path))
    assert watch() == ""
    (tmp_path / "vng.log").write_text(
        "qemu: warning: icount sleep disabled and no active timers\n", encoding="utf-8"
    )
    assert watch() == "script"


def test_guests_at_once_are_bound_by_cores_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(
        Path, "read_text", lambda *_, **__: "MemTotal: 99 kB\nMemAvailable:   4000000 kB\n"
    )
    assert vm.guests_at_once(MACHINES["virtual"]) == 3
    monkeypatch.setattr(Path, "read_text", lambda *_, **__: "MemAvailable:   64000000 kB\n")
    assert vm.guests_at_once(MACHINES["virtual"]) == 8
    assert vm.guests_at_once(MACHINES["tcg"]) == 4


def test_vng_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(StageError, match="install the Python package virtme-ng"):
        vm.vng_program()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> int:
    """The most that a log may hold, in these tests."""
    monkeypatch.setattr(floods, "most_of", lambda name: 1000)
    return 1000


@pytest.mark.parametrize("name", [*LOGS, "vng"])
def test_a_guest_that_floods_a_log_is_ended(name: str, small: int, tmp_path: Path) -> None:
    for one in (*LOGS, "vng"):
        (tmp_path / f"{one}.log").write_bytes(b"")
    with Events(tmp_path) as told:
        watch = vm._Watch(tmp_path, NONCE, 50, told)
        (tmp_path / f"{name}.log").write_bytes(b"x" * small)
        assert watch() == ""
        (tmp_path / f"{name}.log").write_bytes(b"x" * (small + 1))
        assert watch() == vm.FLOOD


STAND_IN = """#!{python}
import sys, time
from pathlib import Path
Path("kernel.log").write_text("[    0.000000] Linux version 6.12\\n")
Path("control.log").write_text("{control}")
Path("tests.log").write_text("ok 1\\n" * {lines})
time.sleep({seconds})
"""


@pytest.mark.parametrize("repeatable", [True, False])
def test_what_is_kept_of_a_flood_does_not_depend_on_the_moment(
    repeatable: bool, small: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The guest is ended by us, or ends in time; it has printed more, or less, by then."""
    kept = []
    for number, (lines, seconds, control) in enumerate(
        ((201, 60, BOOT), (5000, 0, BOOT + END + DONE))
    ):
        vng = tmp_path / f"vng{number}"
        text = repr(control)[1:-1]
        vng.write_text(
            STAND_IN.format(python=sys.executable, lines=lines, seconds=seconds, control=text),
            encoding="ascii",
        )
        vng.chmod(0o755)
        monkeypatch.setattr(vm, "vng_program", lambda vng=vng: str(vng))
        image = Image(tmp_path / "root.cpio", "", ())
        mode, folder = Mode("virtual" if repeatable else "tcg", ""), tmp_path / f"run{number}"
        workspace = Workspace(ROOT, tmp_path, tmp_path)
        run = vm.run_guest(KERNEL, image, SCRIPT, mode, workspace, folder, NONCE)
        assert run.end.ended is Ended.FLOODED and run.end.exit_status is None
        assert run.log("tests").startswith("ok 1\n" * (small // 5) + "\n[cut: the guest printed")
        assert repeatable is (folder / "control.rest").exists()
        kept.append([run.log(name) for name in LOGS])
    assert (kept[0] == kept[1]) is repeatable


def test_a_flood_is_no_clean_console_and_rejects(tmp_path: Path) -> None:
    """Base is clean, patched prints without end: the series is at fault, also where what is left of
    its console shows no complaint."""
    console = (ROOT / "tests/data/dmesg.clean.log").read_text(encoding="utf-8")
    output = (ROOT / "tests/data/userspace_pm.pass.log").read_text(encoding="utf-8")
    control = (ROOT / "tests/data/control.log").read_text(encoding="utf-8")
    runs = {}
    for end in (Ended.FINISHED, Ended.FLOODED):
        status = 0 if end is Ended.FINISHED else None
        facts = GuestEnd(end, "", status, timed_out=False, guest_ms=0)
        row = GuestRow(Side.BASE, "userspace_pm", "userspace_pm", 1, 1, True, "", facts, False, {})
        text = output if end is Ended.FINISHED else "[left out: the guest printed more]\n"
        logs = {"kernel": console, "tests": text, "control": control}
        runs[end] = stored.parse_guest(row, COLLECTION, logs)
    clean, flooded = runs[Ended.FINISHED], runs[Ended.FLOODED]
    assert clean.scanned and not flooded.scanned
    for base, patched, code in ((clean, flooded, 1), (flooded, flooded, 3), (flooded, clean, 3)):
        evidence = Evidence("x", "", runs=(ScriptRun("userspace_pm", base, patched),))
        found = judge.decide(evidence)
        assert found.exit_code == code, found.reasons
    assert any(
        "printed more than 16 MB" in one
        for one in judge.decide(
            Evidence("x", "", runs=(ScriptRun("userspace_pm", clean, flooded),))
        ).reasons
    )
