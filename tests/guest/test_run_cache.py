# SPDX-License-Identifier: GPL-2.0-only
"""ci.guest.run_cache: the same question is answered once; what is not a function of its inputs
never is. Guests are stood in for by a function here; test_guests has real ones."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from ci.base.workspace import Workspace
from ci.guest import run_cache, vm
from ci.guest.modes import Mode
from ci.guest.rootfs import Image
from ci.guest.run_cache import Job
from ci.guest.vm import GuestRun
from ci.kernel.build import Kernel
from ci.logs.ending import LOGS, Ended, GuestEnd
from ci.suites.collection import Script

KERNEL = Kernel(Path("/k"), "key", "6.12.1", "ab" * 20, "digest", ())
IMAGE = Image(Path("/i"), "image", ())
SCRIPT = Script("diag.sh")
VIRTUAL = Mode("virtual", "")


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The nonces of the guests that were asked for; each ends as ``ends`` says."""
    nonces: list[str] = []

    def run(
        kernel: Kernel,
        image: Image,
        script: Script,
        mode: Mode,
        w: Workspace,
        folder: Path,
        nonce: str = "",
    ) -> GuestRun:
        nonces.append(nonce)
        folder.mkdir(parents=True)
        for name in LOGS:
            (folder / f"{name}.log").write_text(f"{name} {len(nonces)}", encoding="utf-8")
        ended = Ended[mode.why or "FINISHED"]
        end = GuestEnd(ended, kernel.build_id, 0, False, 1500, 100, 12.5)
        return GuestRun(script, folder, end)

    monkeypatch.setattr(vm, "run_guest", run)
    return nonces


def ask(workspace: Workspace, name: str, mode: Mode = VIRTUAL, *, again: bool = False) -> GuestRun:
    job = Job(name, KERNEL, IMAGE, SCRIPT, mode, workspace.results / name)
    return run_cache.run_job(job, workspace, again=again)


def test_the_second_time_no_guest_runs(workspace: Workspace, ran: list[str]) -> None:
    first, second = ask(workspace, "one"), ask(workspace, "two")
    assert len(ran) == 1 and len(ran[0]) == 32
    assert not first.from_record and second.from_record
    assert replace(second, folder=first.folder, from_record=False) == first
    assert second.log("kernel") == "kernel 1"
    assert not ask(workspace, "three", again=True).from_record
    assert ran[0] == ran[1]


@pytest.mark.parametrize(
    "damage",
    [{"build_id": "cd" * 20}, {"ended": "elsewhere"}, {"exit_status": "0"}, {"build_id": None}],
)
def test_a_record_of_another_kernel_or_a_damaged_one_is_replaced(
    workspace: Workspace, ran: list[str], damage: dict[str, str | int | None]
) -> None:
    ask(workspace, "one")
    kept = workspace.entry(
        "runs", run_cache.run_key(Job("", KERNEL, IMAGE, SCRIPT, VIRTUAL, Path()), workspace)
    )
    facts = json.loads((kept / "end.json").read_text(encoding="utf-8"))
    (kept / "end.json").write_text(json.dumps(facts | damage), encoding="utf-8")
    assert not ask(workspace, "two").from_record
    assert json.loads((kept / "end.json").read_text(encoding="utf-8")) == facts
    assert ask(workspace, "three").from_record
    for name in ("end.json", "kernel.log"):
        (kept / name).unlink()
        assert not ask(workspace, f"without {name}").from_record
        assert ask(workspace, f"with {name}").from_record


def test_real_time_is_never_recorded(workspace: Workspace, ran: list[str]) -> None:
    for name in ("one", "two"):
        assert not ask(workspace, name, Mode("tcg", "")).from_record
    assert ran == ["", ""]


@pytest.mark.parametrize(
    "ended", [Ended.LOST, Ended.HANG_BOOT, Ended.HANG_SCRIPT, Ended.HANG_SHUTDOWN]
)
def test_what_the_host_ended_is_never_recorded(
    ended: Ended, workspace: Workspace, ran: list[str]
) -> None:
    for name in ("one", "two"):
        assert not ask(workspace, name, Mode("virtual", ended.name)).from_record
    assert len(ran) == 2


def test_a_panic_is_an_answer(workspace: Workspace, ran: list[str]) -> None:
    ask(workspace, "one", Mode("virtual", "PANIC"))
    assert ask(workspace, "two", Mode("virtual", "PANIC")).end.ended is Ended.PANIC
    assert len(ran) == 1


def test_the_key_is_of_all_that_the_run_depends_on(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def key(
        kernel: Kernel = KERNEL, image: Image = IMAGE, script: Script = SCRIPT, mode: Mode = VIRTUAL
    ) -> str:
        return run_cache.run_key(Job("", kernel, image, script, mode, Path()), workspace)

    keys = [
        key(),
        key(kernel=replace(KERNEL, image_digest="other")),
        key(kernel=replace(KERNEL, build_id="cd" * 20)),
        key(image=replace(IMAGE, image_digest="other")),
        key(script=Script("diag.sh", ("-x",))),
        key(script=Script("diag.sh", limit_s=5)),
        key(mode=Mode("virtual", "", 2)),
        key(mode=Mode("virtual", "", layout="random")),
    ]
    monkeypatch.setattr(run_cache, "emulator_versions", lambda: {"qemu": "99"})
    assert len({*keys, key()}) == len(keys) + 1
    # What says nothing of the machine: why it was chosen, where the kernel lies.
    assert key(mode=Mode("virtual", "because")) == key(
        kernel=replace(KERNEL, folder=Path("/elsewhere"))
    )


def test_the_longest_is_known_after_the_first_time(workspace: Workspace, ran: list[str]) -> None:
    assert run_cache.cost_s(SCRIPT, VIRTUAL, workspace) == float("inf")
    ask(workspace, "one")
    assert run_cache.cost_s(SCRIPT, VIRTUAL, workspace) == 12.5
    assert run_cache.cost_s(Script("diag.sh", part="x"), VIRTUAL, workspace) == float("inf")
