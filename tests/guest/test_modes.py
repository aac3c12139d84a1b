# SPDX-License-Identifier: GPL-2.0-only
"""ci.guest.modes: a mode is chosen by the probe's answer."""

import os
from pathlib import Path

import pytest

from ci.base.errors import StageError
from ci.base.settings import MODES
from ci.base.workspace import Workspace
from ci.guest import kvm, modes


@pytest.fixture
def devkvm(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with a /dev/kvm that may be opened, whatever this one has."""
    real_exists, real_access = Path.exists, os.access
    monkeypatch.setattr(Path, "exists", lambda self: str(self) == "/dev/kvm" or real_exists(self))
    monkeypatch.setattr(
        os, "access", lambda path, mode: str(path) == "/dev/kvm" or real_access(path, mode)
    )


@pytest.mark.usefixtures("devkvm")
@pytest.mark.parametrize(("trouble", "mode"), [("", "kvm"), ("it hung", "virtual")])
def test_auto_follows_the_probe_which_runs_once(
    trouble: str, mode: str, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def probe(accelerator: str, _stub: Path) -> str:
        asked.append(accelerator)
        return trouble

    monkeypatch.setattr(kvm, "run_probe", probe)
    chosen = modes.choose_mode("auto", workspace)
    assert chosen.name == mode and trouble in chosen.why
    assert modes.choose_mode("auto", workspace) == chosen
    assert asked == ["kvm"]


@pytest.mark.usefixtures("devkvm")
def test_kvm_that_was_asked_for_and_does_not_work_is_an_error(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kvm, "run_probe", lambda *_: "it hung")
    with pytest.raises(StageError, match="--mode kvm: it hung; use --mode virtual or tcg"):
        modes.choose_mode("kvm", workspace)


def test_no_kvm_device(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.exists
    monkeypatch.setattr(Path, "exists", lambda self: str(self) != "/dev/kvm" and real(self))
    assert modes.choose_mode("auto", workspace).name == "virtual"
    assert "no /dev/kvm" in modes.choose_mode("auto", workspace).why


@pytest.mark.parametrize("name", ["tcg", "virtual"])
def test_emulation_needs_no_probe(
    name: str, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kvm, "find_trouble", lambda _: pytest.fail("probed"))
    assert modes.choose_mode(name, workspace) == modes.Mode(name, f"--mode {name}")


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
        modes.choose_mode("virtual", workspace, vcpus=vcpus, qemu=words.split())
    free = modes.choose_mode("tcg", workspace, vcpus=vcpus, qemu=words.split()).machine
    assert free.vcpus == (vcpus or 2) and free.qemu[
        -len(words.split()) or len(free.qemu) :
    ] == tuple(words.split())


def test_what_only_watches_is_taken(workspace: Workspace) -> None:
    machine = modes.choose_mode("virtual", workspace, vcpus=1, qemu=["-s", "-D", "log"]).machine
    assert machine.vcpus == 1 and machine.qemu[-3:] == ("-s", "-D", "log")


def test_a_guest_that_someone_types_into_is_not_recorded() -> None:
    recorded, typed = (
        modes.Mode("virtual", "", interactive=one).machine.qemu for one in (False, True)
    )
    assert "rr=record" in " ".join(recorded) and "rr=record" not in " ".join(typed)
    assert len(recorded) == len(typed) and "shift=0,sleep=off" in typed


def test_the_names_that_can_be_asked_for_are_those_of_the_table() -> None:
    assert ("auto", *modes.MACHINES) == MODES
