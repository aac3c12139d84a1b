# SPDX-License-Identifier: GPL-2.0-only
"""Which code a script runs in a guest. For the kernel and programs QEMU tells it, outside of the
guest: each instruction that it translates, which is just before it first runs. For scripts bash
tells it, which a guest could forge. Nothing of it changes what runs in virtual time."""

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ci.base.errors import StageError
from ci.base.records import from_json, save_record
from ci.base.workspace import Workspace, digest
from ci.guest import pool, run_cache, vm
from ci.guest.modes import Mode
from ci.guest.run_cache import Job
from ci.guest.selftests import GUEST_SELFTESTS
from ci.logs.ending import Ended
from ci.suites.collection import SELFTESTS, Script

FACTS = "ran.json"
MODE = "virtual"
# Code of an object stands together; what lies further apart is of another.
GAP, LONGEST, MOST_RANGES = 4096, 64, 200
# "0xffffffff81a2b3c4:  55                       pushq    %rbp"
INSTRUCTION = re.compile(rb"0x([0-9a-f]{8,16}): ", re.MULTILINE)
RAN = re.compile(rb"^ran ([\w./+-]{1,200}):(\d{1,7})\r?$", re.MULTILINE)


@dataclass(frozen=True)
class Ran:
    """What a script ran: addresses of instructions, and lines of scripts by the tree's names of
    their files. ``whole`` tells whether its guest came to its end: else it may have run more."""

    addresses: Sequence[int] = ()
    lines: Mapping[str, Sequence[int]] = field(default_factory=dict)
    whole: bool = True


def list_ranges(addresses: Iterable[int]) -> Sequence[tuple[int, int]]:
    """First and last byte of each piece of code that has these addresses."""
    found: list[tuple[int, int]] = []
    for address in sorted(addresses):
        if found and address - found[-1][1] <= GAP:
            found[-1] = (found[-1][0], address + LONGEST)
        else:
            found.append((address, address + LONGEST))
    while len(found) > MOST_RANGES:  # the two that are closest become one
        at = min(range(1, len(found)), key=lambda n: found[n][0] - found[n - 1][1])
        found[at - 1 : at + 1] = [(found[at - 1][0], found[at][1])]
    return found


def trace_mode(mode: Mode, addresses: Iterable[int]) -> Mode:
    """The mode in which a guest is watched: virtual time, whatever the run's own mode is."""
    ranges = ",".join(f"{first:#x}..{last:#x}" for first, last in list_ranges(addresses))
    words = ("-d", "in_asm", "-dfilter", ranges, "-D", "asm.log") if ranges else ()
    needs = replace(
        mode.needs, environment={**mode.needs.environment, "BASH_ENV": "/etc/trace.bash"}
    )
    seed = mode.seed if mode.machine.repeatable else Mode.seed
    return Mode(MODE, "to be watched", seed, qemu=words, needs=needs)


def trace_jobs(jobs: Sequence[Job], workspace: Workspace) -> list[Ran]:
    """What each of the jobs runs, in their order; from the cache where that is known."""
    return pool.each_job(jobs, lambda job: _trace(job, workspace), workspace)


def _trace(job: Job, workspace: Workspace) -> Ran:
    entry = workspace.entry("traces", digest("trace", run_cache.run_key(job, workspace)))
    if not workspace.ready(entry):
        run = vm.run_guest(job.kernel, job.image, job.script, job.mode, workspace, job.folder)
        ran = Ran(
            read_addresses(job.folder / "asm.log"),
            read_lines(job.folder / "vng.log", job.script),
            run.end.ended is Ended.FINISHED,
        )
        (job.folder / "asm.log").unlink(missing_ok=True)
        with workspace.publish(entry) as fresh:
            save_record(fresh / FACTS, ran)
    return from_json((entry / FACTS).read_bytes(), Ran)


def read_addresses(log: Path) -> Sequence[int]:
    """The instructions in QEMU's log; a :class:`StageError` where it can only tell their bytes."""
    found: set[int] = set()
    if log.exists():
        with log.open("rb") as file:
            for line in file:
                if row := INSTRUCTION.match(line):
                    found.add(int(row[1], 16))
    if not found and log.exists() and log.stat().st_size:
        raise StageError(
            "trace", "this QEMU was built without a disassembler (capstone): install another build"
        )
    return sorted(found)


def read_lines(log: Path, script: Script) -> Mapping[str, Sequence[int]]:
    """The lines that bash said it ran, by files of the tree's selftests."""
    found: dict[str, set[int]] = {}
    for name, line in RAN.findall(log.read_bytes() if log.exists() else b""):
        path = os.path.normpath(f"/{GUEST_SELFTESTS}/{script.folder}/{name.decode()}")
        if name.startswith(b"/"):
            path = os.path.normpath(name.decode())
        if path.startswith(f"/{GUEST_SELFTESTS}/"):
            file = f"{SELFTESTS}/{path.removeprefix(f'/{GUEST_SELFTESTS}/')}"
            found.setdefault(file, set()).add(int(line))
    return {name: sorted(lines) for name, lines in sorted(found.items())}
