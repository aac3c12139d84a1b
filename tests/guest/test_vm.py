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
from ci.base.workspace import Workspace
from ci.guest import vm
from ci.guest.modes import MACHINES, Mode
from ci.kernel.build import Kernel
from ci.logs.ending import Ended, GuestEnd
from ci.suites.mptcp import COLLECTION
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
    lines = vm.job_text(SCRIPT, NONCE, 60).splitlines()
    assert lines == [
        f"nonce {NONCE}",
        "dir /selftests/net/mptcp",
        "limit_s 60",
        "env SELFTESTS_MPTCP_LIB_EXPECT_ALL_FEATURES=1",
        "env NO_COLOR=1",
        "program mptcp_join.sh",
        "arg -d",
        "arg -m",
    ]
    assert vm.job_text(SCRIPT, NONCE, 0, interactive=True).endswith("env NO_COLOR=1\nshell yes\n")


def test_the_kernels_command_line_has_no_value_of_the_host(workspace: Workspace) -> None:
    words = vm.kernel_parameters(workspace, Mode("virtual", "")).split()
    assert {"console=ttyS1,115200", "rdinit=/init", "panic=-1", "softlockup_panic=1"} <= set(words)
    assert not any("#" in word or "/" in word.removeprefix("rdinit=/init") for word in words)


def test_records() -> None:
    text = (
        f"noise\n{NONCE} boot {'ab' * 20} 6.12.1\nother end 0 1\n{NONCE} end 1 2500 100\n{NONCE}"
        f" end 0 1 1\n{NONCE}\n"
    )
    assert vm.read_records(text, NONCE) == {
        "boot": ["ab" * 20, "6.12.1"],
        "end": ["1", "2500", "100"],
    }
    assert vm.read_records(text, "") == {}


def ended(folder: Path, control: str, stopped: str = "", console: str = "") -> GuestEnd:
    (folder / "control.log").write_text(control, encoding="utf-8")
    (folder / "kernel.log").write_text(console, encoding="utf-8")
    return vm._read_end(folder, NONCE, stopped, KERNEL)


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
    ],
)
def test_how_it_ended(
    control: str, stopped: str, console: str, word: Ended, status: int | None, tmp_path: Path
) -> None:
    found = ended(tmp_path, control, stopped, console)
    assert (found.ended, found.exit_status) == (word, status)


def test_a_kernel_that_is_not_the_one_built_is_an_error(tmp_path: Path) -> None:
    """The next run builds it anew: its entry in the cache is gone."""
    bad = replace(KERNEL, folder=tmp_path / "kernels/key")
    bad.folder.mkdir(parents=True)
    for name, said in (("control.log", f"{NONCE} boot {'cd' * 20} 6.12.1\n"), ("kernel.log", "")):
        (tmp_path / name).write_text(said, encoding="utf-8")
    with pytest.raises(StageError, match=r"not abab.* run this again"):
        vm._read_end(tmp_path, NONCE, "", bad)
    assert list(bad.folder.parent.iterdir()) == []


def test_each_part_has_a_limit_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    control = tmp_path / "control.log"
    control.touch()
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    (tmp_path / "vng.log").touch()
    watch = vm._Watch(tmp_path, NONCE, 50)
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
    watch = vm._Watch(tmp_path, NONCE, 50)
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
