# SPDX-License-Identifier: GPL-2.0-only
"""Which case tells two guests of one script apart, where the second is to be worse. Pure."""

from collections.abc import Collection, Iterator

from ci.logs.ending import Ended
from ci.logs.outcome import State, tidy
from ci.verdict.evidence import Guest


def find_telling(script: str, known: Guest, other: Guest, fixed: Collection[str] = ()) -> str:
    """The first case, as ``script: case``, that passes in ``known`` and fails or is missing in
    ``other``; or one of those that are ``fixed`` by the series, failing in ``known`` and passing in
    ``other``. Empty where nothing tells. What the script's own exit status says, and what the
    kernel complains of, comes last: its cases say more."""
    return next(_telling(script, known, other, fixed), "")


def _telling(script: str, known: Guest, other: Guest, fixed: Collection[str]) -> Iterator[str]:
    if not known.result or known.ended is not Ended.FINISHED:
        return
    result = other.result
    before = {case.name: case.state for case in known.result.cases}
    now = {case.name: case.state for case in result.cases} if result else {}
    passed = [name for name, state in before.items() if state is State.PASS]
    yield from (f"{script}: {name}" for name in passed if now.get(name) is State.FAIL)
    for name in fixed:
        if before.get(name) is State.FAIL and now.get(name) is State.PASS:
            yield f"{script}: {name}"
    if other.ended is not Ended.FINISHED:
        yield f"kernel: {script}: guest finished"
    yield from (f"{script}: {name}" for name in passed if name not in now)
    if known.result.own.state is State.PASS and (not result or result.own.state is State.FAIL):
        yield f"{script}: {script}"
    seen = {splat.fingerprint for splat in known.splats}
    yield from (
        f"kernel: {tidy(splat.fingerprint)}"
        for splat in other.splats
        if splat.fingerprint not in seen
    )
