# SPDX-License-Identifier: GPL-2.0-only
"""A suite dealt out to the jobs of a CI matrix, and how long its guests would take on more cores:
by the CPU seconds that each script's guest took the last time."""

import heapq
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ci.base.progress import duration
from ci.base.settings import Settings
from ci.guest import run_cache
from ci.guest.modes import MACHINES, Mode
from ci.series.patches import Series
from ci.suites import selection
from ci.suites.collection import Script
from ci.suites.selection import Suite
from ci.trees.tree import Trees

SIDES = 2  # a script runs on each of the two kernels
CORES = (2, 4, 16, 64)
JOB_CORES = 2
UNKNOWN_S = 20.0  # where no script was ever run


@dataclass(frozen=True)
class Load:
    """The guests of one script on both kernels, so many ``seconds`` each; ``known`` where they were
    run before."""

    script: Script
    guests: int
    seconds: float
    known: bool

    @property
    def together(self) -> float:
        """Of all its guests."""
        return self.guests * self.seconds


def choose_suite(settings: Settings, series: Series, trees: Trees) -> Suite:
    """The suite that a branch of a plan would run."""
    name = selection.choose_name(settings.suite, series.suite)
    own = trees.base if trees.conflict else trees.patched
    checks = series.checks_for({state.patch.number for state in trees.states if state.affected})
    return selection.select_suite(name, own, trees.base, checks)


def list_loads(suite: Suite, settings: Settings) -> list[Load]:
    """What each script of a suite takes, in the mode in which the most of them were run here. One
    that was never run counts as the middle one of the others."""
    scripts = {one.label: one for one in (*suite.old, *suite.new)}
    guests = [one.label for one in (*suite.old, *suite.new)]
    by_mode = (
        {
            label: run_cache.cost_s(one, Mode(name, ""), settings.workspace)
            for label, one in scripts.items()
        }
        for name in MACHINES
    )
    took = max(by_mode, key=lambda found: sum(map(math.isfinite, found.values())))
    known = [seconds for seconds in took.values() if math.isfinite(seconds)]
    middle = statistics.median(known) if known else UNKNOWN_S
    return [
        Load(
            one,
            SIDES * guests.count(label),
            took[label] if math.isfinite(took[label]) else middle,
            math.isfinite(took[label]),
        )
        for label, one in scripts.items()
    ]


def deal_loads(loads: Sequence[Load], shards: int) -> list[list[Load]]:
    """At most so many shards of about the same length, none of them empty: the longest first, each
    to the shard that has least by then. Within a shard they keep their order."""
    heap = [(0.0, number) for number in range(min(shards, len(loads)))]
    dealt: list[list[Load]] = [[] for _ in heap]
    for load in sorted(loads, key=lambda one: -one.together):
        total, number = heapq.heappop(heap)
        dealt[number].append(load)
        heapq.heappush(heap, (total + load.together, number))
    return [[load for load in loads if load in shard] for shard in dealt]


def wall_s(loads: Iterable[Load], cores: int) -> float:
    """How long guests take that run one on each core, the longest first, as they do here."""
    ends = [0.0] * cores
    for load in sorted(loads, key=lambda one: -one.seconds):
        for _ in range(load.guests):
            heapq.heapreplace(ends, ends[0] + load.seconds)
    return max(ends)


def forecast_line(suite: Suite, loads: Sequence[Load], shards: int) -> str:
    """The guests of a suite on more cores, and as jobs of a matrix."""
    on_cores = ", ".join(f"{duration(wall_s(loads, cores))} on {cores}" for cores in CORES)
    dealt = deal_loads(loads, shards)
    jobs = [wall_s(shard, JOB_CORES) for shard in dealt]
    longest = max(loads, key=lambda one: one.seconds)
    unknown = [one.script.label for one in loads if not one.known]
    guess = f"; never run, and so guessed: {', '.join(unknown)}" if unknown else ""
    return (
        f"guests of {suite.name}: {sum(one.guests for one in loads)},"
        f" {duration(sum(one.together for one in loads))} of CPU time; {on_cores} cores;"
        f" {len(dealt)} jobs of {JOB_CORES} cores: {duration(min(jobs))} to {duration(max(jobs))};"
        f" the longest is {longest.script.label}: {duration(longest.seconds)}{guess}"
    )
