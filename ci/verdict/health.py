# SPDX-License-Identifier: GPL-2.0-only
"""What a kernel keeps from its console, as findings: records that its log lost, warnings that it
counted and did not show, taint flags. Pure. Each pair of guests that ran the same script is
compared; the cases are of the group ``kernel``."""

from collections.abc import Iterator, Sequence

from ci.logs.ending import Ended
from ci.logs.health import bits, flag_name
from ci.logs.outcome import State
from ci.verdict.evidence import Guest, ScriptRun
from ci.verdict.finding import Finding


def is_read(guest: Guest) -> bool:
    """Whether all that the kernel complained of was there to be read."""
    return guest.scanned and not _lost(guest)


def guest_rows(script: str, base: Guest | None, patched: Guest | None) -> Iterator[Finding]:
    """The rows of a pair of guests."""
    yield _log_row(script, base, patched)
    yield _counter_row(script, base, patched)


def _lost(guest: Guest | None) -> str:
    """How a guest's log is not whole, empty where it is. A guest that was cut short has no end of
    it; what it complained of last is on the console."""
    if guest is None:
        return "it was not run"
    if count := sum(one.lost for one in guest.health):
        return f"{count} records of the kernel's log were overwritten before they were read"
    if guest.ended is Ended.FINISHED and not all(one.ended for one in guest.health):
        return "the kernel's log did not come through up to the script's end"
    return ""


def _story(base: str, patched: str) -> str:
    sides = (("base", base), ("patched", patched))
    return "; ".join(f"{side}: {words}" for side, words in sides if words)


def _log_row(script: str, base: Guest | None, patched: Guest | None) -> Finding:
    """Whether the log of each kernel came whole. One that only the patched kernel loses is its
    doing: it may have been flooded to hide a complaint."""
    story, name = _story(_lost(base), _lost(patched)), f"{script}: log complete"
    if _lost(base) or patched is None:
        return Finding("kernel", name, State.ERROR, State.ERROR, story, story)
    state = State.FAIL if _lost(patched) else State.PASS
    return Finding("kernel", name, State.PASS, state, story, story)


def _trouble(guest: Guest | None) -> str:
    """What a guest's counters show that its log does not, empty for nothing."""
    if guest is None:
        return "it was not run"
    found = [f"{one.cleared} went down during the script" for one in guest.health if one.cleared]
    if hidden := sum(one.hidden for one in guest.health):
        seen = sum(one.seen for one in guest.health)
        found.append(f"{seen + hidden} warnings counted by the kernel, {seen} in its log")
    return "; ".join(found)


def _counter_row(script: str, base: Guest | None, patched: Guest | None) -> Finding:
    """Whether the kernel's counters agree with what was printed, and never go down."""

    def state(guest: Guest | None) -> State:
        ended = guest is not None and guest.ended is Ended.FINISHED
        unread = ended and guest and any(one.after is None for one in guest.health)
        if guest is None or unread:
            return State.ERROR
        return State.FAIL if _trouble(guest) else State.PASS

    story = _story(_trouble(base), _trouble(patched))
    return Finding("kernel", f"{script}: warnings shown", state(base), state(patched), story, story)


def _of_kernels(run: ScriptRun) -> list[list[Guest]]:
    """The guests of a script on base, and those on patched."""
    pairs = ((run.base, run.base_old), (run.patched, run.patched_old))
    return [[guest for guest in pair if guest] for pair in pairs]


def taint_rows(runs: Sequence[ScriptRun]) -> Iterator[Finding]:
    """A case for each flag, whatever scripts it came with; that a kernel has it not is only known
    where the guests of those scripts finished."""
    flags: dict[int, list[set[str]]] = {}
    for run in runs:
        for side, guests in enumerate(_of_kernels(run)):
            for bit in {bit for one in guests for of in one.health for bit in bits(of.taint)}:
                flags.setdefault(bit, [set(), set()])[side].add(run.script)
    for bit, scripts in sorted(flags.items()):
        states = []
        for side in (0, 1):
            others = [
                one
                for run in runs
                if run.script in scripts[1 - side]
                for one in _of_kernels(run)[side]
            ]
            clear = bool(others) and all(
                one.ended is Ended.FINISHED and all(of.after for of in one.health) for one in others
            )
            states.append(State.FAIL if scripts[side] else State.PASS if clear else State.ERROR)
        story = f"with {', '.join(sorted(scripts[0] | scripts[1]))}"
        yield Finding("kernel", flag_name(bit), states[0], states[1], story, story)
