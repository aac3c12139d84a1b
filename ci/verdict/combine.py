# SPDX-License-Identifier: GPL-2.0-only
"""Several guests as one: what was run again, and a script that was run in parts. Pure."""

from collections.abc import Sequence
from dataclasses import replace

from ci.logs.ending import Ended
from ci.logs.health import least_measured
from ci.logs.ktap import ScriptResult
from ci.logs.outcome import Case, State, unique
from ci.verdict.evidence import Guest

# Of several states or ends the first of these is that of the whole.
_STATES = (
    State.ERROR,
    State.FAIL,
    State.UNSTEADY,
    State.FLAKY,
    State.MISSING,
    State.PASS,
    State.SKIP,
)
_ENDS = (
    Ended.LOST,
    Ended.PANIC,
    Ended.FLOODED,
    Ended.FORGED,
    Ended.RESET,
    Ended.POWER_OFF,
    Ended.HANG_BOOT,
    Ended.HANG_SCRIPT,
    Ended.HANG_SHUTDOWN,
    Ended.FINISHED,
)


def combine_parts(script: str, guests: Sequence[Guest]) -> Guest:
    """The guests that ran the parts of a script as one that ran all of it: what went worst is how
    it went."""
    if len(guests) == 1:
        return guests[0]
    results = [guest.result for guest in guests if guest.result]
    owns = [result.own for result in results]
    if len(results) < len(guests):
        owns.append(Case(script, State.ERROR, "a part of the script left no record"))
    own = min(owns, key=lambda case: _STATES.index(case.state))
    whole = ScriptResult(
        script,
        replace(own, detail="\n".join(filter(None, (one.detail for one in owns)))),
        unique((case for result in results for case in result.cases), script),
        tuple(problem for result in results for problem in result.problems),
    )
    return Guest(
        whole if results else None,
        min((guest.ended for guest in guests), key=_ENDS.index),
        tuple(splat for guest in guests for splat in guest.splats),
        all(guest.scanned for guest in guests),
        "; ".join(filter(None, (guest.note for guest in guests))),
        failed=tuple(dict.fromkeys(label for guest in guests for label in guest.failed)),
        health=tuple(one for guest in guests for one in guest.health),
    )


def combine_attempts(script: str, guests: Sequence[Guest]) -> Guest:
    """A script's attempts as one: a case whose outcomes differ is unsteady, and says how it came
    out each time. What the kernel complained of in any attempt it did complain of; one attempt that
    finished shows that the guest can. A guest that was lost says nothing where another was not.
    """
    if len(guests) == 1:
        return guests[0]
    guests = [
        replace(guest, attempt=guest.attempt or f"attempt {number}")
        for number, guest in enumerate(guests, start=1)
    ]
    guests = [guest for guest in guests if guest.ended is not Ended.LOST] or guests
    results = [guest.result for guest in guests if guest.result]
    if len(guests) == 1 or not results:
        return guests[0]
    names = dict.fromkeys(case.name for result in results for case in result.cases)
    tables = [{case.name: case for case in result.cases} for result in results]
    absent = Case("", State.MISSING)
    labels = [guest.attempt for guest in guests if guest.result]
    failed = [guest.attempt for guest in guests if guest.ended is not Ended.FINISHED]
    return Guest(
        ScriptResult(
            script,
            _combine_case([result.own for result in results], labels),
            tuple(
                _combine_case(
                    [replace(table.get(name, absent), name=name) for table in tables], labels
                )
                for name in names
            ),
            tuple(problem for result in results for problem in result.problems),
        ),
        max((guest.ended for guest in guests), key=_ENDS.index),
        tuple(splat for guest in guests for splat in guest.splats),
        all(guest.scanned for guest in guests),
        "; ".join(filter(None, (guest.note for guest in guests))),
        failed=tuple(failed) if len(failed) < len(guests) else (),
        health=least_measured([one for guest in guests for one in guest.health]),
    )


def _combine_case(cases: Sequence[Case], attempts: Sequence[str]) -> Case:
    """One case of several attempts; what the script itself calls flaky stays that."""
    states = {case.state for case in cases}
    if len(states) == 1:
        return cases[0]
    state = State.FLAKY if states == {State.PASS, State.FLAKY} else State.UNSTEADY
    history = ", ".join(f"{one}: {case.state}" for one, case in zip(attempts, cases, strict=True))
    detail = "\n".join(filter(None, (history, *(case.detail for case in cases))))
    bad = [one for one, case in zip(attempts, cases, strict=True) if case.state is not State.PASS]
    return replace(cases[0], state=state, detail=detail, attempts=tuple(bad))
