# SPDX-License-Identifier: GPL-2.0-only
"""ci.guest.pool: several guests at once. Guests are stood in for by a function here; test_guests
has real ones."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ci.base import processes
from ci.base.errors import StageError
from ci.base.progress import Progress
from ci.base.workspace import Workspace
from ci.guest import pool, vm
from ci.guest.modes import Mode
from ci.guest.rootfs import Image
from ci.guest.run_cache import Job
from ci.guest.vm import GuestRun
from ci.kernel.build import Kernel
from ci.logs.ending import LOGS, Ended, GuestEnd
from ci.suites.collection import Script

KERNEL = Kernel(Path("/k"), "key", "6.12.1", "ab" * 20, "digest", ())
IMAGE = Image(Path("/i"), "image", ())
SECONDS = {"short": 1.0, "long": 30.0, "medium": 5.0}


class Guests:
    """Stands in for :func:`ci.guest.vm.run_guest`: which scripts it was asked for, in their order,
    and how many ran at once. ``work`` is what a guest does."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.width = self.running = 0
        self.lock = threading.Lock()
        self.work: Callable[[str], None] = lambda name: None

    def run(
        self,
        kernel: Kernel,
        image: Image,
        script: Script,
        mode: Mode,
        workspace: Workspace,
        folder: Path,
        nonce: str = "",
    ) -> GuestRun:
        with self.lock:
            self.asked.append(script.name)
            self.running += 1
            self.width = max(self.width, self.running)
        try:
            self.work(script.name)
        finally:
            with self.lock:
                self.running -= 1
        folder.mkdir(parents=True)
        for log in LOGS:
            (folder / f"{log}.log").write_text(script.name, encoding="utf-8")
        cpu_s = SECONDS.get(script.name, 1.0)
        end = GuestEnd(Ended.FINISHED, kernel.build_id, 0, False, 1500, cpu_s=cpu_s)
        return GuestRun(script, folder, end)


@pytest.fixture
def guests(monkeypatch: pytest.MonkeyPatch) -> Guests:
    """Guests, of which one fits on this machine."""
    stand_in = Guests()
    monkeypatch.setattr(vm, "run_guest", stand_in.run)
    monkeypatch.setattr(vm, "guests_at_once", lambda machine: 1)
    return stand_in


def jobs(workspace: Workspace, *names: str, run: str = "run", mode: str = "tcg") -> list[Job]:
    results = workspace.results
    return [
        Job(
            "patched",
            KERNEL,
            IMAGE,
            Script(f"{name}.sh"),
            Mode(mode, ""),
            results / f"{run}-{name}",
        )
        for name in names
    ]


def test_the_longest_starts_first_and_the_order_stays(
    guests: Guests, workspace: Workspace, progress: Progress
) -> None:
    """What nobody knows may be the longest of all."""
    pool.run_jobs(jobs(workspace, *SECONDS), workspace, progress)
    guests.asked.clear()
    names = ("short", "long", "new", "medium")
    runs = pool.run_jobs(jobs(workspace, *names, run="again"), workspace, progress)
    assert guests.asked == ["new", "long", "medium", "short"]
    assert tuple(run.script.name for run in runs) == names
    assert tuple(run.log("tests") for run in runs) == names


def test_as_many_at_once_as_fit(
    guests: Guests, workspace: Workspace, progress: Progress, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vm, "guests_at_once", lambda machine: 3)
    together = threading.Barrier(3)

    def meet(name: str) -> None:
        together.wait(10)

    guests.work = meet
    runs = pool.run_jobs(jobs(workspace, *"abcdef"), workspace, progress)
    assert len(runs) == 6 and guests.width == 3


def test_nothing_to_run_asks_for_nothing(
    guests: Guests, workspace: Workspace, progress: Progress
) -> None:
    assert pool.run_jobs([], workspace, progress) == [] and guests.asked == []


def test_each_guest_is_told_as_it_ends(
    guests: Guests, workspace: Workspace, progress: Progress, capsys: pytest.CaptureFixture[str]
) -> None:
    for again in ("first", "second"):
        pool.run_jobs(jobs(workspace, "long", run=again, mode="virtual"), workspace, progress)
    told = capsys.readouterr().err
    assert "patched: long: exit 0, 1.5 s of guest time, 30.0 CPU seconds\n" in told
    assert "patched: long: exit 0, 1.5 s of guest time, from the record\n" in told
    assert guests.asked == ["long"]
    pool.run_jobs(
        jobs(workspace, "long", run="third", mode="virtual"), workspace, progress, again=True
    )
    assert guests.asked == ["long", "long"]


@pytest.mark.parametrize("error", [StageError("run", "vng is not installed"), KeyboardInterrupt()])
def test_what_ends_one_ends_all(
    error: BaseException,
    guests: Guests,
    workspace: Workspace,
    progress: Progress,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Commands that other guests run are killed, that of one that has just begun, too; what waits
    for its turn after that never starts."""
    monkeypatch.setattr(vm, "guests_at_once", lambda machine: 2)
    started, killed = threading.Event(), threading.Event()

    def work(name: str) -> None:
        if name == "fails":
            started.wait(10)
            raise error
        try:
            processes.run(
                ["sh", "-c", "echo; sleep 60"],
                stage="run",
                timeout_s=60,
                on_line=lambda _: started.set(),
            )
        except StageError:
            killed.set()
            raise

    guests.work = work
    begin = time.monotonic()
    with pytest.raises(type(error)):
        pool.run_jobs(jobs(workspace, "fails", "runs", "next", "waits"), workspace, progress)
    assert killed.wait(10) and time.monotonic() - begin < 10
    assert "waits" not in guests.asked
