# SPDX-License-Identifier: GPL-2.0-only
"""Memory that patched still holds after a script, and base does not. Pure."""

from collections.abc import Iterator, Mapping

from ci.logs.ending import Ended
from ci.logs.memory import Growth
from ci.logs.outcome import State
from ci.verdict.evidence import Guest
from ci.verdict.finding import Finding

# What more is held on patched is a leak from so many objects or pages on. Below, it is chance: what
# two seeds of one kernel differ by.
LEAST_OBJECTS = 6
LEAST_PAGES = 12
# What grows by chance, however long one waits.
ALLOWED: Mapping[str, int] = {"skbuff_head_cache": 40, "vma_lock": 24}
NAMED = 3
MEMORY = "memory comes back"


def memory_rows(script: str, base: Guest | None, patched: Guest | None) -> Iterator[Finding]:
    """Whether as much memory comes back on patched as on base: run by run, where each was
    counted."""
    if not (base and patched and base.ended is patched.ended is Ended.FINISHED):
        return
    pairs = [
        (one.growth, other.growth)
        for one, other in zip(base.health, patched.health, strict=False)
        if one.growth is not None and other.growth is not None
    ]
    if not pairs:
        return
    found = [leak for pair in pairs for leak in _leaks(*pair)]
    more = f"; and {len(found) - NAMED} more" if len(found) > NAMED else ""
    story = "; ".join(found[:NAMED]) + more
    state = State.FAIL if found else State.PASS
    name = f"{script}: {MEMORY}"
    yield Finding("kernel", name, State.PASS, state, "\n".join(found), story)


def _leaks(base: Mapping[str, Growth], patched: Mapping[str, Growth]) -> Iterator[str]:
    """What is held on patched beyond base, the most bytes first."""
    for name, growth in sorted(patched.items(), key=lambda row: -row[1].objects * row[1].size):
        extra = growth.objects - max(0, base[name].objects if name in base else 0)
        least = ALLOWED.get(name, LEAST_PAGES if name == "pages" else LEAST_OBJECTS)
        if extra >= least:
            what = "pages that nothing counts" if name == "pages" else f"objects of {name}"
            yield f"{extra} {what} are not freed ({extra * growth.size} bytes)"
