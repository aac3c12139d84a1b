# SPDX-License-Identifier: GPL-2.0-only
"""The only place that decides: what was found out on both kernels -> the verdict. Pure.

It is one fold. :mod:`ci.verdict.compare` gives every case a state on base and on patched;
:func:`change_between` is a function of the two; a case calls for an exit code of its own; the
verdict's is the first of 2, 1, 3, 0 that a case calls for. Nothing is decided outside of the cases,
so a report that shows them all shows every reason there is.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from ci.base.exit_codes import PRECEDENCE, ExitCode, first_code
from ci.logs.outcome import State, tidy
from ci.verdict.compare import list_findings
from ci.verdict.evidence import Evidence, PatchRow
from ci.verdict.finding import OLD, Finding
from ci.verdict.speed import list_slower

SCHEMA = 1
# So many cases of one script and kind are named in the reasons, the others are counted.
NAMED = 5


class Change(StrEnum):
    """What the series changes about a case: the state on base and that on patched, in a word."""

    KEPT = "kept"
    FIXED = "fixed"
    REGRESSED = "regressed"
    STILL_FAILING = "still-failing"
    NEW = "new"
    NEW_FAILURE = "new-failure"
    LOST = "lost"
    REMOVED = "removed by the series"
    NEWLY_FLAKY = "newly-flaky"
    FLAKY = "flaky"
    SKIPPED = "skipped"
    UNKNOWN = "unknown"


REJECTING = (
    Change.REGRESSED,
    Change.NEW_FAILURE,
    Change.LOST,
    Change.NEWLY_FLAKY,
    Change.REMOVED,
)
_ABSENT = (State.SKIP, State.MISSING)
_FLAKY = (State.FLAKY, State.UNSTEADY)


@dataclass(frozen=True)
class CaseVerdict:
    """One case as judged. ``group`` is the script, or one of the other groups. ``exit_code`` is
    what it alone calls for; ``reason`` the sentence where that is not 0. ``excuse`` is what keeps a
    failure on a side from counting: a known limit, or what the series is allowed. ``detail`` is
    bounded, uncleaned text; ``time_ms`` guest time on patched, else on base; ``attempts`` are those
    in which an unsteady case did not pass."""

    group: str
    name: str
    base: State
    patched: State
    change: Change
    detail: str = ""
    exit_code: ExitCode = ExitCode.ACCEPTED
    reason: str = ""
    excuse: str = ""
    time_ms: float | None = None
    attempts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verdict:
    """``verdict`` is accepted, rejected or error; ``reasons`` are sentences, the most important
    first; ``notes`` say how the series was read, ``slower`` what costs more CPU time, which alone
    decides nothing. ``guarded``: by its number, for each patch that was put on, the cases that it
    fixed as it must."""

    verdict: str
    exit_code: ExitCode
    reasons: tuple[str, ...]
    series: str
    change_id: str
    patches: tuple[PatchRow, ...]
    cases: tuple[CaseVerdict, ...]
    notes: tuple[str, ...] = ()
    slower: tuple[str, ...] = ()
    guarded: Mapping[int, tuple[str, ...]] = field(default_factory=dict)

    @property
    def guards(self) -> tuple[str, ...]:
        """A sentence on which patches are guarded; none where no patch was put on."""
        numbers: dict[bool, list[str]] = {True: [], False: []}
        for number, cases in self.guarded.items():
            numbers[bool(cases)].append(str(number))
        rows = (("by a case that must flip", numbers[True]), ("by none", numbers[False]))
        told = [f"{how}: {', '.join(of)}" for how, of in rows if of]
        return (f"patches guarded {'; '.join(told)}",) if told else ()

    @property
    def counts(self) -> dict[str, int]:
        """Cases of each change, all of them."""
        seen = Counter(case.change for case in self.cases)
        return {change.value: seen[change] for change in Change}


def change_between(base: State, patched: State) -> Change:
    """The change between two states. An error on a side hides everything, then flaky does, but for
    a case that passes in each attempt on base and not in each on patched: there, the series brings
    the doubt. A failure that is skipped or missing on patched is *skipped*: it is not fixed, and it
    was no pass that could be lost.
    """
    if State.ERROR in (base, patched):
        return Change.UNKNOWN
    if (base, patched) == (State.PASS, State.UNSTEADY):
        return Change.NEWLY_FLAKY
    if base in _FLAKY or patched in _FLAKY:
        return Change.FLAKY
    if patched in _ABSENT:
        return Change.LOST if base is State.PASS else Change.SKIPPED
    if patched is State.PASS:
        return {State.PASS: Change.KEPT, State.FAIL: Change.FIXED}.get(base, Change.NEW)
    return {State.PASS: Change.REGRESSED, State.FAIL: Change.STILL_FAILING}.get(
        base, Change.NEW_FAILURE
    )


_WORDS = {
    Change.REGRESSED: "passes on base and fails on patched",
    Change.NEW_FAILURE: "did not run on base and fails on patched",
    Change.LOST: "passes on base and did not run on patched",
    Change.NEWLY_FLAKY: "passes on base in each attempt, and not in each on patched",
    Change.REMOVED: "has an outcome with base's own script, and the series removes it (where that"
    " is meant, series.toml names it in an [[allow]])",
}


def _sentence(row: Finding, what: Change, code: ExitCode, *, must_flip: bool) -> str:
    """Why a case is not fine, naming script and case."""
    label = row.label
    sides = f"base: {row.base}, patched: {row.patched}"
    if what is Change.UNKNOWN:
        return f"{label} could not be found out: {row.story or tidy(row.detail[:400]) or sides}"
    if code is ExitCode.BROKEN:
        verb = "does not apply" if row.group == "apply" else "does not build with the series"
        return f"{label} {verb}" + (f": {row.story}" if row.story else "")
    if must_flip:
        return f"{label} must be fixed by the series and is {what} ({sides})"
    story = f"not with {', '.join(row.attempts)}" if row.attempts else row.story
    return f"{label} {_WORDS[what]}" + (f": {story}" if story else "")


def _excuse(row: Finding, what: Change, evidence: Evidence) -> str:
    """Why a change of the tests or a failure may be; empty where nothing says so."""
    if what is Change.REMOVED or row.group != row.script:
        for case in (row.name, ""):
            if why := evidence.allowed.get((row.script, case), ""):
                return f"series.toml allows it: {why}"
    return "" if what is Change.REMOVED else evidence.known.get((row.script, row.name), "")


def _judge_case(row: Finding, evidence: Evidence) -> CaseVerdict:
    """A case with what it calls for. A case that must flip has to be *fixed*; no known limit
    excuses it."""
    what = change_between(row.base, row.patched)
    if row.removed and what is not Change.UNKNOWN:
        what = Change.REMOVED
    must_flip = (row.group, row.name) in evidence.must_flip
    code, excuse = ExitCode.ACCEPTED, ""
    if what is Change.UNKNOWN:
        code = ExitCode.UNKNOWN
    elif row.group in ("apply", "build") and row.patched is State.FAIL:
        code = ExitCode.BROKEN
    elif must_flip and what is not Change.FIXED:
        code = ExitCode.REJECTED
    elif not must_flip and what in (*REJECTING, Change.STILL_FAILING, Change.FIXED):
        excuse = _excuse(row, what, evidence)
        if what in REJECTING and not excuse:
            code = ExitCode.REJECTED
    reason = _sentence(row, what, code, must_flip=must_flip) if code else ""
    return CaseVerdict(
        row.group,
        row.name,
        row.base,
        row.patched,
        what,
        row.detail,
        code,
        reason,
        excuse,
        row.time_ms,
        row.attempts if what in (Change.FLAKY, Change.NEWLY_FLAKY) else (),
    )


def _reasons(cases: list[CaseVerdict], evidence: Evidence) -> Iterator[str]:
    """The sentences, the most important first; many of one script and kind are counted."""

    def rank(case: CaseVerdict) -> tuple[int, int, int]:
        flip = (case.group, case.name) in evidence.must_flip
        first = 0 if flip or case.group == "pipeline" else 1 if case.group == "kernel" else 2
        return (
            PRECEDENCE.index(case.exit_code),
            first,
            REJECTING.index(case.change) if case.change in REJECTING else 9,
        )

    counts: Counter[tuple[str, Change, ExitCode]] = Counter()
    ordered = sorted((case for case in cases if case.exit_code), key=rank)
    for case in ordered:
        kind = (case.group, case.change, case.exit_code)
        counts[kind] += 1
        if counts[kind] <= NAMED:
            yield case.reason
    for (group, what, _), count in counts.items():
        if count > NAMED:
            yield f"{group}: {count - NAMED} more cases are {what}"


def decide(evidence: Evidence) -> Verdict:
    """The verdict. Where several things hold, the exit code is the first of 2, 1, 3, 0 that any
    case calls for.

    Raises ValueError where a script has two runs: its cases would be two things under one name.
    """
    if len({run.script for run in evidence.runs}) != len(evidence.runs):
        raise ValueError("a script has more than one run")
    cases = [_judge_case(row, evidence) for row in list_findings(evidence)]
    scripts = {run.script for run in evidence.runs}
    ran = any(
        case.group.removesuffix(OLD) in scripts - {case.name}
        and case.patched in (State.PASS, State.FAIL, *_FLAKY)
        for case in cases
    )
    if not ran and not any(case.exit_code for case in cases):
        story = "no case ran on the patched kernel"
        nothing = Finding("pipeline", "cases", State.ERROR, State.ERROR, story, story)
        cases.insert(0, _judge_case(nothing, evidence))
    code = first_code(case.exit_code for case in cases)
    return Verdict(
        verdict=code.verdict,
        exit_code=code,
        reasons=tuple(_reasons(cases, evidence)),
        series=evidence.series,
        change_id=evidence.change_id,
        patches=evidence.patches,
        cases=tuple(cases),
        notes=evidence.notes,
        slower=list_slower(evidence.runs),
        guarded=_guarded(evidence, cases),
    )


def _guarded(evidence: Evidence, cases: Sequence[CaseVerdict]) -> dict[int, tuple[str, ...]]:
    """The cases that guard each patch that was put on."""
    fixed = {(case.group, case.name) for case in cases if case.change is Change.FIXED}
    fixed.intersection_update(evidence.must_flip)
    return {
        patch.number: tuple(
            f"{script}: {case}"
            for number, script, case in evidence.guards
            if number == patch.number and (script, case) in fixed
        )
        for patch in evidence.patches
        if patch.state is State.PASS and evidence.runs
    }


def to_json(verdict: Verdict) -> dict[str, object]:
    """``verdict.json``, schema 1: no time, host, path or run id is in it."""
    return {
        "schema": SCHEMA,
        "verdict": verdict.verdict,
        "exit_code": verdict.exit_code,
        "reasons": list(verdict.reasons),
        "series": {"name": verdict.series, "change-id": verdict.change_id},
        "patches": [
            {
                "number": patch.number,
                "title": patch.title,
                "digest": patch.digest,
                "status": patch.status,
            }
            | ({"adapted": patch.detail} if patch.adapted else {})
            | ({"guarded by": list(of)} if (of := verdict.guarded.get(patch.number)) else {})
            for patch in verdict.patches
        ],
        "cases": [
            {
                "suite": case.group,
                "name": case.name,
                "base": case.base.value,
                "patched": case.patched.value,
                "change": case.change.value,
            }
            | ({"known limit": case.excuse} if case.excuse else {})
            for case in verdict.cases
        ],
        "slower": list(verdict.slower),
        "counts": verdict.counts,
        "run": "run.json",
    }
