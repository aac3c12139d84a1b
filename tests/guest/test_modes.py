# SPDX-License-Identifier: GPL-2.0-only
"""ci.guest.modes: the probe runs real guest code, and a mode is chosen by its answer."""

import os
import subprocess
import time
from pathlib import Path

import pytest

from ci.base.errors import StageError
from ci.base.workspace import Workspace
from ci.guest import modes


@pytest.fixture
def devkvm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with a /dev/kvm that may be opened, whatever this one has."""
    real_exists, real_access = Path.exists, os.access
    monkeypatch.setattr(Path, "exists", lambda self: str(self) == "/dev/kvm" or real_exists(self))
    monkeypatch.setattr(
        os, "access", lambda path, mode: str(path) == "/dev/kvm" or real_access(path, mode)
    )


def test_the_probe_passes_where_guest_code_runs(workspace: Workspace) -> None:
    assert modes.probe("tcg", modes.stub(workspace)) == ""


def test_guest_code_that_hangs_does_not_pass(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modes, "PROBE_LIMIT_S", 2.0)
    hang = tmp_path / "hang.bin"
    hang.write_bytes(bytes(65536 - 16) + b"\xeb\xfe" + bytes(14))  # jmp . at the reset vector
    begin = time.monotonic()
    assert "did not get through in 2 s" in modes.probe("tcg", hang)
    assert time.monotonic() - begin < 15


def test_an_accelerator_that_is_none(workspace: Workspace) -> None:
    assert "exit code 1" in modes.probe("warp", modes.stub(workspace))


@pytest.mark.usefixtures("devkvm")
@pytest.mark.parametrize(("trouble", "mode"), [("", "kvm"), ("it hung", "virtual")])
def test_auto_follows_the_probe_which_runs_once(
    trouble: str, mode: str, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def probe(accelerator: str, _stub: Path) -> str:
        asked.append(accelerator)
        return trouble

    monkeypatch.setattr(modes, "probe", probe)
    chosen = modes.choose("auto", workspace)
    assert chosen.name == mode and trouble in chosen.why
    assert modes.choose("auto", workspace) == chosen
    assert asked == ["kvm"]


@pytest.mark.usefixtures("devkvm")
def test_kvm_that_was_asked_for_and_does_not_work_is_an_error(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modes, "probe", lambda *_: "it hung")
    with pytest.raises(StageError, match="--mode kvm: it hung; use --mode virtual or tcg"):
        modes.choose("kvm", workspace)


def test_no_kvm_device(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.exists
    monkeypatch.setattr(Path, "exists", lambda self: str(self) != "/dev/kvm" and real(self))
    assert modes.choose("auto", workspace).name == "virtual"
    assert "no /dev/kvm" in modes.choose("auto", workspace).why


@pytest.mark.parametrize("name", ["tcg", "virtual"])
def test_emulation_needs_no_probe(
    name: str, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modes, "kvm_trouble", lambda _: pytest.fail("probed"))
    assert modes.choose(name, workspace) == modes.Mode(name, f"--mode {name}")


def test_qemu_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(StageError, match="install the package qemu-system-x86"):
        modes.qemu_version()


def test_the_version_is_qemus_own() -> None:
    said = subprocess.run(
        [modes.QEMU, "--version"], capture_output=True, text=True, check=True
    ).stdout
    assert modes.qemu_version() and modes.qemu_version() in said


def test_a_build_is_the_program_and_the_firmware_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builds = []
    for name, firmware in (("one", b"bios"), ("same", b"bios"), ("newer", b"BIOS"), ("bare", None)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / modes.QEMU).write_text(
            '#!/bin/sh\necho /nonexistent\necho "${0%/*}"\n', encoding="ascii"
        )
        (folder / modes.QEMU).chmod(0o755)
        if firmware:
            (folder / modes.FIRMWARE[0]).write_bytes(firmware)
        monkeypatch.setenv("PATH", str(folder))
        builds.append(modes.qemu_build())
    assert builds[0] == builds[1] and len(set(builds)) == 3


@pytest.mark.parametrize(
    ("vcpus", "words", "why"),
    [
        (2, "", "several virtual CPUs would take turns"),
        (0, "-icount shift=auto,sleep=off", "an adaptive shift follows the host's speed"),
        (0, "-icount auto", "an adaptive shift"),
        (0, "-icount shift=3", "how they are counted is fixed"),
        (0, "-s -netdev user,id=n", "what a network brings"),
        (0, "-nic user", "what a network brings"),
        (0, "-smp 4", "several virtual CPUs take turns"),
        (0, "-enable-kvm", "the machine and its accelerator"),
        (0, "-rtc base=utc", "--seed takes another seed"),
        (0, "-device virtio-rng-pci", "nobody has shown"),
    ],
)
def test_what_would_break_virtual_time_is_refused(
    vcpus: int, words: str, why: str, workspace: Workspace
) -> None:
    with pytest.raises(StageError, match=why):
        modes.choose("virtual", workspace, vcpus=vcpus, qemu=words.split())
    free = modes.choose("tcg", workspace, vcpus=vcpus, qemu=words.split()).machine
    assert free.vcpus == (vcpus or 2) and free.qemu[
        -len(words.split()) or len(free.qemu) :
    ] == tuple(words.split())


def test_what_only_watches_is_taken(workspace: Workspace) -> None:
    machine = modes.choose("virtual", workspace, vcpus=1, qemu=["-s", "-D", "log"]).machine
    assert machine.vcpus == 1 and machine.qemu[-3:] == ("-s", "-D", "log")


def test_a_guest_that_someone_types_into_is_not_recorded() -> None:
    recorded, typed = (
        modes.Mode("virtual", "", interactive=one).machine.qemu for one in (False, True)
    )
    assert "rr=record" in " ".join(recorded) and "rr=record" not in " ".join(typed)
    assert len(recorded) == len(typed) and "shift=0,sleep=off" in typed
