# SPDX-License-Identifier: GPL-2.0-only
"""Several guests at once. Which one runs when is a matter of speed only: no result can depend on
it."""

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TypeVar

from ci.base import processes
from ci.base.progress import Progress
from ci.base.workspace import Workspace
from ci.guest import run_cache, vm
from ci.guest.run_cache import Job
from ci.guest.vm import GuestRun

ABORT_EVERY_S = 0.05
Made = TypeVar("Made")


def run_jobs(
    jobs: Sequence[Job],
    workspace: Workspace,
    progress: Progress,
    *,
    again: bool = False,
) -> list[GuestRun]:
    """The runs in the order of the jobs; a line for each that ends."""
    progress.update(f"run: {len(jobs)} guests to go")
    left = len(jobs)

    def tell(job: Job, run: GuestRun) -> None:
        nonlocal left
        left -= 1
        progress.note(_line(job, run))
        progress.update(f"run: {left} guests to go")

    return each_job(
        jobs, lambda job: run_cache.run_job(job, workspace, again=again), workspace, tell
    )


def each_job(
    jobs: Sequence[Job],
    work: Callable[[Job], Made],
    workspace: Workspace,
    tell: Callable[[Job, Made], None] = lambda job, made: None,
) -> list[Made]:
    """What ``work`` makes of each job, in their order. The longest start first; whatever ends us
    ends all guests."""
    if not jobs:
        return []

    def cost_s(number: int) -> float:
        return run_cache.cost_s(jobs[number].script, jobs[number].mode, workspace)

    made: dict[int, Made] = {}
    with ThreadPoolExecutor(max_workers=vm.guests_at_once(jobs[0].mode.machine)) as pool:
        pending: dict[Future[Made], int] = {}
        with ending_guests(lambda: pending, pool):
            for number in sorted(range(len(jobs)), key=cost_s, reverse=True):
                pending[pool.submit(work, jobs[number])] = number
            while pending:
                for future in wait(pending, return_when=FIRST_COMPLETED).done:
                    number = pending.pop(future)
                    made[number] = future.result()
                    tell(jobs[number], made[number])
    return [made[number] for number in range(len(jobs))]


@contextlib.contextmanager
def ending_guests(
    pending: Callable[[], Iterable[Future[Made]]], pool: ThreadPoolExecutor
) -> Iterator[None]:
    """Whatever ends what is inside ends the guests of all that is ``pending`` in the pool."""
    try:
        yield
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        # More than once: where one failed, its thread may have begun the next by now, whose
        # command has yet to start.
        while not all(future.done() for future in pending()):
            processes.abort()
            time.sleep(ABORT_EVERY_S)
        raise


def _line(job: Job, run: GuestRun) -> str:
    """How one guest ended."""
    end = run.end
    how = f"exit {end.exit_status}" if end.exit_status is not None else end.ended.value
    spent = "from the record" if run.from_record else f"{end.cpu_s:.1f} CPU seconds"
    return (
        f"{job.name}: {job.script.label}: {how}, {end.guest_ms / 1000:.1f} s of guest time, {spent}"
    )
