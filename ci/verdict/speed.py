# SPDX-License-Identifier: GPL-2.0-only
"""What a series costs: the CPU time of a script, and of the probe that sends data, on both kernels.
In virtual time that is a count of instructions, and the same in each run. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ci.logs.ending import Ended
from ci.logs.outcome import State
from ci.verdict.evidence import Guest, ScriptRun
from ci.verdict.finding import OLD, Finding

# A growth of more percent is shown, unless it is of fewer milliseconds than idle time is exact to.
SHOWN_PERCENT = 10
# What is measured, as cases are named.
CPU_TIME, PROBE_TIME = "CPU time", "CPU time of the probe"
LEAST_MS = 30


@dataclass(frozen=True)
class Cost:
    """Busy milliseconds of one thing on both kernels."""

    what: str
    base_ms: int
    patched_ms: int

    @property
    def percent(self) -> int:
        """The growth; none where it is too small to be told from none."""
        more = self.patched_ms - self.base_ms
        return 100 * more // max(self.base_ms, 1) if more >= LEAST_MS else 0

    def __str__(self) -> str:
        return (
            f"{self.what}: the CPU is busy for {self.patched_ms} ms on patched and for"
            f" {self.base_ms} ms on base (+{self.percent} %)"
        )


def cost_rows(
    script: str, base: Guest | None, patched: Guest | None, limit: int | None
) -> Iterator[Finding]:
    """A row for each cost that has a ``limit``, in percent of base's: one over it fails."""
    for cost in _costs(script, base, patched) if limit is not None else ():
        over = limit is not None and cost.percent > limit
        state = State.FAIL if over else State.PASS
        story = f"{cost}, more than {limit} % are not allowed" if over else ""
        yield Finding("kernel", cost.what, State.PASS, state, str(cost), story)


def list_slower(runs: Sequence[ScriptRun]) -> tuple[str, ...]:
    """A sentence for each cost that grew by more than 10 %."""
    pairs = [(run.script, run.base, run.patched) for run in runs]
    pairs += [(run.script + OLD, run.base_old, run.patched_old) for run in runs]
    costs = [cost for pair in pairs for cost in _costs(*pair)]
    return tuple(f"slower: {cost}" for cost in costs if cost.percent > SHOWN_PERCENT)


def _costs(script: str, base: Guest | None, patched: Guest | None) -> Iterator[Cost]:
    """What can be compared: the script where it did the same on both kernels, the probe always."""
    if not (base and patched and base.ended is patched.ended is Ended.FINISHED):
        return
    if _outcomes(base) == _outcomes(patched):
        times = [[one.script_ms for one in guest.health] for guest in (base, patched)]
        yield from _cost(f"{script}: {CPU_TIME}", *times)
    times = [[one.probe_ms for one in guest.health] for guest in (base, patched)]
    yield from _cost(f"{script}: {PROBE_TIME}", *times)


def _cost(what: str, base: Sequence[int | None], patched: Sequence[int | None]) -> Iterator[Cost]:
    """The sum of all runs that were measured; nothing where they are not the same on both."""
    known = [[time for time in side if time is not None] for side in (base, patched)]
    if known[0] and len(known[0]) == len(known[1]):
        yield Cost(what, sum(known[0]), sum(known[1]))


def _outcomes(guest: Guest) -> dict[str, State]:
    result = guest.result
    return {one.name: one.state for one in (result.own, *result.cases)} if result else {}
