# SPDX-License-Identifier: GPL-2.0-only
"""Memory that patched still holds after a script, and base does not. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence

from ci.logs.ending import Ended
from ci.logs.memory import Growth
from ci.logs.outcome import State
from ci.verdict.evidence import Guest
from ci.verdict.finding import Finding

# What more is held on patched is a leak from so many objects or pages on. Below, it is chance: what
# two seeds of one kernel differ by.
LEAST_OBJECTS = 6
LEAST_PAGES = 12
PAGES = "pages"
# What differs more by chance: what the kernel frees late, and what it keeps until it needs memory.
# Since 6.18 a CPU keeps free objects in sheaves, which count as used: up to two of 32 for the nodes
# of mappings, and of 60 for small objects, as each process takes one of.
ALLOWED: Mapping[str, int] = {
    "dentry": 32,
    "inode_cache": 16,
    "maple_node": 64,
    "pid": 128,
    "proc_inode_cache": 24,
    "radix_tree_node": 32,
    "skbuff_head_cache": 64,
    "vma_lock": 64,
}
NAMED = 3
MEMORY = "memory comes back"


def memory_rows(script: str, bases: Sequence[Guest], patched: Guest | None) -> Iterator[Finding]:
    """Whether as much memory comes back on patched as in any of base's guests: run by run, where
    each was counted."""
    bases = [one for one in bases if one.ended is Ended.FINISHED]
    if not (bases and patched and patched.ended is Ended.FINISHED):
        return
    growths = [
        [one.growth for one in (run, *held) if one.growth is not None]
        for run, *held in zip(patched.health, *(one.health for one in bases), strict=False)
        if run.growth is not None
    ]
    pairs = [(_most(held), growth) for growth, *held in growths if held]
    if not pairs:
        return
    # A base that stops early has not loaded the modules of what it did not get to.
    apart = set() if any(_did_all(one, patched) for one in bases) else {PAGES}
    found = [leak for pair in pairs for leak in _leaks(*pair, apart)]
    more = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
    story = "; ".join(found[:NAMED]) + more
    state = State.FAIL if found else State.PASS
    name = f"{script}: {MEMORY}"
    yield Finding("kernel", name, State.PASS, state, "\n".join(found), story)


def _most(growths: Sequence[Mapping[str, Growth]]) -> Mapping[str, Growth]:
    """By cache, the most that any holds."""
    return {
        name: max((one[name] for one in growths if name in one), key=lambda one: one.objects)
        for name in {name for one in growths for name in one}
    }


def _did_all(base: Guest, patched: Guest) -> bool:
    """Whether a script got as far on base as on patched: as many cases have an outcome, or more."""
    counts = [
        sum(case.state not in (State.ERROR, State.MISSING) for case in one.result.cases)
        if one.result
        else 0
        for one in (base, patched)
    ]
    return counts[0] >= counts[1]


def _leaks(
    base: Mapping[str, Growth], patched: Mapping[str, Growth], apart: Collection[str]
) -> Iterator[str]:
    """What is held on patched beyond base, the most bytes first; but for what is ``apart``."""
    for name, growth in sorted(patched.items(), key=lambda row: -row[1].objects * row[1].size):
        extra = growth.objects - max(0, base[name].objects if name in base else 0)
        least = ALLOWED.get(name, LEAST_PAGES if name == PAGES else LEAST_OBJECTS)
        if extra >= least and name not in apart:
            what = "pages that nothing counts" if name == PAGES else f"objects of {name}"
            yield f"{extra} {what} are not freed ({extra * growth.size} bytes)"
