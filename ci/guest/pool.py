# SPDX-License-Identifier: GPL-2.0-only
"""Several guests at once. Which one runs when is a matter of speed only: no result can depend on
it."""

from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from ci.base import processes
from ci.base.progress import Progress
from ci.base.workspace import Workspace
from ci.guest import run_cache, vm
from ci.guest.modes import Mode
from ci.guest.rootfs import Image
from ci.guest.vm import GuestRun
from ci.kernel.build import Kernel
from ci.suites.selection import Script


@dataclass(frozen=True)
class Job:
    """One guest to run: ``name`` is for people, ``folder`` is where its logs go."""

    name: str
    kernel: Kernel
    image: Image
    script: Script
    mode: Mode
    folder: Path


def run(
    jobs: Sequence[Job],
    workspace: Workspace,
    progress: Progress,
    *,
    again: bool = False,
    later: int = 0,
) -> list[GuestRun]:
    """The runs in the order of the jobs. The longest start first; whatever ends us ends all guests.
    ``later`` is how many more there may be, which these will show: they count among those to go."""
    if not jobs:
        return []
    done: dict[int, GuestRun] = {}
    order = sorted(
        range(len(jobs)), key=lambda n: -run_cache.cost_s(jobs[n].script, jobs[n].mode, workspace)
    )
    with ThreadPoolExecutor(max_workers=vm.at_once(jobs[0].mode.machine)) as pool:
        open_: dict[Future[GuestRun], int] = {}
        try:
            for n in order:
                job = jobs[n]
                started = pool.submit(
                    run_cache.run,
                    job.kernel,
                    job.image,
                    job.script,
                    job.mode,
                    workspace,
                    job.folder,
                    again=again,
                )
                open_[started] = n
            progress.update(_to_go(len(open_), later))
            while open_:
                for ended in wait(open_, return_when=FIRST_COMPLETED).done:
                    n = open_.pop(ended)
                    done[n] = ended.result()
                    progress.note(_told(jobs[n], done[n]))
                    progress.update(_to_go(len(open_), later))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            processes.abort()
            raise
    return [done[n] for n in range(len(jobs))]


def _to_go(count: int, later: int) -> str:
    more = f", then up to {later} with base's own scripts" if later else ""
    return f"run: {count} guests to go{more}"


def _told(job: Job, ran: GuestRun) -> str:
    how = f"exit {ran.exit_status}" if ran.exit_status is not None else ran.ended.value
    spent = "from the record" if ran.from_record else f"{ran.cpu_s:.1f} CPU seconds"
    return (
        f"{job.name}: {job.script.label}: {how}, {ran.guest_ms / 1000:.1f} s of guest time, {spent}"
    )
