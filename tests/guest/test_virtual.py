# SPDX-License-Identifier: GPL-2.0-only
"""Virtual time with real guests: the same inputs give the same bytes, a seed changes them, and
whatever hangs ends."""

import functools
import os
import re
import shutil
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ci.base.arch import GUEST
from ci.base.progress import Progress
from ci.base.workspace import Workspace
from ci.guest import floods, rootfs, run_cache, selftests, vm
from ci.guest.modes import Mode
from ci.guest.rootfs import Image
from ci.guest.run_cache import Job
from ci.guest.vm import GuestRun
from ci.kernel import build
from ci.kernel.build import Kernel
from ci.logs.ending import LOGS, Ended
from ci.suites.collection import Script
from ci.suites.mptcp import COLLECTION
from tests.conftest import ROOT
from tests.guest.test_guests import shipped

pytestmark = pytest.mark.guest
PM = COLLECTION.script("userspace_pm.sh")


@functools.cache
def built() -> tuple[Kernel, Path, Path]:
    """The patched kernel, its selftests and the guest's root."""
    _, trees, workspace = shipped()
    tools, log = build.find_toolchain(), Path("/dev/null")
    ready = build.build_kernel(trees.patched, workspace, tools, COLLECTION, Progress(), log)
    return (
        ready,
        selftests.install_selftests(trees.patched, workspace, tools, COLLECTION, log),
        rootfs.make_root(workspace, log),
    )


def boot(folder: Path, mode: Mode, script: Script = PM, made: Image | None = None) -> GuestRun:
    """One guest, never from the record."""
    ready, installed, root = built()
    workspace = shipped()[2]
    made = made or rootfs.make_image(installed, workspace, root)
    return vm.run_guest(ready, made, script, mode, workspace, folder, "c0ffee" * 5 + "00")


def test_one_seed_repeats_and_another_does_not(tmp_path: Path) -> None:
    one, again, other = (
        boot(tmp_path / name, Mode("virtual", "", seed))
        for name, seed in (("one", 1), ("again", 1), ("other", 2))
    )
    for log in LOGS:
        assert one.log(log) == again.log(log), log
    assert one.end.guest_ms == again.end.guest_ms
    assert one.log("tests") != other.log("tests") and one.log("kernel") != other.log("kernel")
    ports = [re.findall(r"Connection info: (\S+) -> ", ran.log("tests")) for ran in (one, other)]
    assert ports[0] and ports[1] and ports[0] != ports[1]
    assert [ran.end.exit_status for ran in (one, again, other)] == [0, 0, 0]


def test_addresses_are_drawn_when_asked_for(tmp_path: Path) -> None:
    mode = Mode("virtual", "", 1, "random")
    one, again = (
        boot(tmp_path / name, mode, COLLECTION.script("mptcp_sockopt.sh"))
        for name in ("one", "again")
    )
    assert "norandmaps" not in one.log("kernel").partition("\n\n")[0]
    assert all(one.log(log) == again.log(log) for log in LOGS)
    assert one.end.exit_status == 0


def with_init(folder: Path, old: str, new: str) -> Image:
    """An image whose init is another one; kept in a cache of its own."""
    _, installed, root = built()
    shutil.copytree(ROOT / "images", folder / "root/images")
    init = folder / "root/images/guest/init"
    text = init.read_text(encoding="utf-8")
    assert text.count(old) == 1
    init.write_text(text.replace(old, new), encoding="utf-8")
    return rootfs.make_image(installed, Workspace(folder / "root", folder / "cache", folder), root)


def with_script(folder: Path, text: str) -> Image:
    """An image with one selftest more, ``extra.sh``."""
    _, installed, root = built()
    shutil.copytree(installed, folder / "tests", symlinks=True)
    script = folder / "tests/selftests/net/mptcp/extra.sh"
    script.write_text(f"#!/bin/bash\n{text}", encoding="utf-8")
    script.chmod(0o755)
    return rootfs.make_image(folder / "tests", Workspace(ROOT, folder / "cache", folder), root)


def test_the_moments_at_which_the_host_runs_qemus_threads_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    naps = "exec 3<> <(:)\nfor nap in {1..99}; do read -rt 0.01 -u 3; echo $EPOCHREALTIME; done\n"
    made, script = with_script(tmp_path, naps), COLLECTION.script("extra.sh")
    calm = boot(tmp_path / "calm", Mode("virtual", ""), script, made)
    shim, bin_folder = tmp_path / "restless.so", tmp_path / "bin"
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-o", shim, ROOT / "tests/restless.c", "-ldl"], check=True
    )
    bin_folder.mkdir()
    qemu = bin_folder / GUEST.qemu
    qemu.write_text(
        f'#!/bin/sh\nLD_PRELOAD={shim} exec {shutil.which(GUEST.qemu)} "$@"\n', encoding="ascii"
    )
    qemu.chmod(0o755)
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
    restless = boot(tmp_path / "restless", Mode("virtual", ""), script, made)
    assert len(calm.log("tests").splitlines()) == 99 and calm.end.idle_ms > 900
    assert [restless.log(log) for log in LOGS] == [calm.log(log) for log in LOGS]


# What may hold a guest up: a timer that goes on for ever, a read that nothing ends, a loop.
HOLDS = {
    "timers": "while :; do sleep 1; done",
    "none": "cat /dev/ttyS0 >/dev/null",
    "busy": "while :; do :; done",
}


@pytest.mark.parametrize("hold", HOLDS)
@pytest.mark.parametrize("part", ["boot", "shutdown"])
def test_a_guest_that_hangs_ends_within_its_limit(
    part: str, hold: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vm, "BOOT_LIMIT_S", 15.0)
    monkeypatch.setattr(vm, "SHUTDOWN_LIMIT_S", 5.0)
    old = "mount -a\n" if part == "boot" else "\texec 3>&-\n"
    made = with_init(tmp_path, old, f"{old}{HOLDS[hold]}\n")
    begin = time.monotonic()
    ran = boot(tmp_path / "run", Mode("virtual", ""), COLLECTION.script("mptcp_lib.sh"), made)
    assert ran.end.ended is {"boot": Ended.HANG_BOOT, "shutdown": Ended.HANG_SHUTDOWN}[part]
    assert time.monotonic() - begin < 90
    assert (ran.end.exit_status is None) == (part == "boot")
    assert "Linux version" in ran.log("kernel")


@pytest.mark.parametrize("hold", HOLDS)
def test_a_script_that_hangs_ends_at_its_limit_in_guest_time(hold: str, tmp_path: Path) -> None:
    made = with_script(tmp_path, f"trap '' TERM\necho begun\n{HOLDS[hold]}\n")
    begin = time.monotonic()
    script = replace(COLLECTION.script("extra.sh"), limit_s=8)
    ran = boot(tmp_path / "run", Mode("virtual", ""), script, made)
    assert (ran.end.ended, ran.end.timed_out) == (Ended.HANG_SCRIPT, True)
    assert 8000 <= ran.end.guest_ms < 20000
    assert ran.log("tests") == "begun\n"
    assert time.monotonic() - begin < 120


@pytest.mark.parametrize(
    ("name", "flood"),
    [
        ("tests", "yes flood"),
        (
            "kernel",
            "echo on >/proc/sys/kernel/printk_devkmsg\nwhile :; do echo flood; done >/dev/kmsg",
        ),
    ],
)
def test_a_guest_that_floods_is_ended_and_leaves_the_same_each_time(
    name: str, flood: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log may have less here: a console takes some ten kilobytes a second."""
    most = 300_000
    monkeypatch.setattr(floods, "most_of", lambda log: most * (2 if log == "control" else 1))
    made, script = with_script(tmp_path, flood), COLLECTION.script("extra.sh")
    runs = [boot(tmp_path / one, Mode("virtual", ""), script, made) for one in ("one", "two")]
    assert [run.end.ended for run in runs] == [Ended.FLOODED] * 2
    assert runs[0].end == replace(runs[1].end, cpu_s=runs[0].end.cpu_s)
    assert [runs[0].log(log) for log in LOGS] == [runs[1].log(log) for log in LOGS]
    assert most < (runs[0].folder / f"{name}.log").stat().st_size < most + 200
    assert "flood\n" * 100 in runs[0].log("tests") or "] flood\r\n" in runs[0].log("kernel")


def test_the_record_answers_with_the_same_logs(tmp_path: Path) -> None:
    ready, installed, root = built()
    workspace = Workspace(ROOT, tmp_path / "cache", tmp_path)
    made = rootfs.make_image(installed, shipped()[2], root)
    script, mode = COLLECTION.script("mptcp_join.sh", "d"), Mode("virtual", "")
    first = run_cache.run_job(Job("", ready, made, script, mode, tmp_path / "one"), workspace)
    second = run_cache.run_job(Job("", ready, made, script, mode, tmp_path / "two"), workspace)
    assert (first.from_record, second.from_record) == (False, True)
    assert all(first.log(log) == second.log(log) for log in LOGS)
    assert (first.end.exit_status, first.end.guest_ms, first.end.ended) == (
        second.end.exit_status,
        second.end.guest_ms,
        second.end.ended,
    )
