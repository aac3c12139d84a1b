# SPDX-License-Identifier: GPL-2.0-only
"""What is known of each patch of a series by itself: whether the series builds up to it, what tells
when it is left out, and a word for each of its lines. Pure."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from ci.base.words import Outcome, Word
from ci.logs.outcome import State, tidy
from ci.verdict.evidence import PatchRow
from ci.verdict.finding import Finding
from ci.verdict.judge import CaseVerdict, Change, Verdict
from ci.verdict.patch_findings import PatchFinding

SCHEMA = 2


@dataclass(frozen=True)
class DiffLine:
    """A line of a patch as the tree has it: ``sign`` is +, - or a blank, ``line`` its number in the
    file with the patch, without it for -. A changed one has a :class:`Word`, ``by`` the case that
    guards it or the scripts that run it, and ``why`` it is not more. ``head`` begins a hunk."""

    file: str
    sign: str
    line: int
    text: str
    word: str = ""
    by: str = ""
    why: str = ""
    head: str = ""


@dataclass(frozen=True)
class MutantRow:
    """A part of a patch that was taken back: the lines that it ``added`` and ``removed``, the
    outcome, and ``by`` which case it was noticed, or why it was not tried."""

    number: int
    file: str
    grain: str
    added: tuple[int, ...]
    removed: tuple[int, ...]
    outcome: str
    by: str = ""


@dataclass(frozen=True)
class PatchProof:
    """A patch that was put on. ``step`` is empty where base with the patches up to this one builds,
    else why it does not. ``noticed`` are the cases that tell when it is left out, as ``script:
    case``; ``tried`` says whether that is known, and ``why`` why not. ``findings`` are what tools
    say of it, ``unasked`` which of them could not tell, and why."""

    number: int
    title: str
    step: str = ""
    noticed: tuple[str, ...] = ()
    tried: bool = True
    why: str = ""
    lines: tuple[DiffLine, ...] = ()
    findings: tuple[PatchFinding, ...] = ()
    unasked: tuple[str, ...] = ()

    @property
    def guarded(self) -> bool:
        """Whether something tells when it is left out."""
        return bool(self.noticed)

    @property
    def counts(self) -> Mapping[str, int]:
        """Its changed lines by their words."""
        seen = Counter(one.word for one in self.lines)
        return {word.value: seen[word.value] for word in Word}


@dataclass(frozen=True)
class Proof:
    """Of each patch that was put on, in their order. ``strict``: what nothing tells of rejects, and
    what tools find does.
    ``note`` says why nothing is known of the lines, where it is so."""

    patches: tuple[PatchProof, ...]
    mutants: tuple[MutantRow, ...] = ()
    strict: bool = False
    note: str = ""

    @property
    def whole(self) -> bool:
        """Whether all was tried."""
        tried = all(one.tried and not one.unasked for one in self.patches)
        return (
            tried
            and not self.note
            and all(one.outcome != Outcome.NOT_TRIED for one in self.mutants)
        )

    def findings(self) -> Iterator[Finding]:
        """A case for each patch: whether it is guarded; one where the series does not build up to
        it, as nobody can bisect across it then; and one where tools found something."""
        for one in self.patches:
            name = tidy(f"{one.number}: {one.title}"[:200])
            if one.step:
                step = f"up to patch {one.number}"
                yield Finding("build", step, State.PASS, State.FAIL, one.step, one.step[:300])
            state, story = State.PASS, "; ".join(one.noticed[:1])
            if not one.tried:
                state, story = State.ERROR, one.why or "it was not found out"
            elif not one.guarded:
                state, story = State.FAIL, "nothing tells that it is left out"
            if state is not State.PASS and not self.strict:
                state = State.SKIP
            before = State.PASS if state is State.FAIL else state
            yield Finding("guarded", name, before, state, story, story)
            told = [*map(str, one.findings), *(f"not found out: {why}" for why in one.unasked)]
            if told:
                sides = (State.PASS, State.FAIL) if one.findings else (State.ERROR, State.ERROR)
                sides = sides if self.strict else (State.SKIP, State.SKIP)
                yield Finding("findings", name, *sides, "\n".join(told), told[0])


def put_on(patches: Sequence[PatchRow]) -> tuple[PatchRow, ...]:
    """The patches of a run that base lacks and patched has."""
    return tuple(row for row in patches if row.state is State.PASS)


def find_noticed(whole: Verdict, without: Verdict) -> tuple[str, ...]:
    """The cases that tell that a patch was left out: of the verdict on the series, and of that on
    the series without it. A script's own exit status says less than its cases, and comes last."""
    found = sorted(_noticed(whole, without), key=lambda one: one.group == one.name)
    return tuple(f"{one.group}: {one.name}" for one in found)


def _noticed(whole: Verdict, without: Verdict) -> Iterator[CaseVerdict]:
    before = {(case.group, case.name): case for case in whole.cases}
    for case in without.cases:
        known = before.get((case.group, case.name))
        # A complaint of the kernel is a case only where it comes.
        passed = known.patched is State.PASS if known else case.group == "kernel"
        gone = case.patched is State.MISSING and case.group not in ("apply", "build")
        worse = passed and (gone or case.patched is State.FAIL)
        # A selftest that the patch makes stricter passes on base, too, without it.
        blind = known and known.change is Change.FIXED and case.change is Change.KEPT
        if case.change is not Change.UNKNOWN and (worse or blind):
            yield case


def to_json(proof: Proof) -> dict[str, object]:
    """``proof.json``, schema 2: the same in each run. Its lines are the changed ones."""
    return {
        "schema": SCHEMA,
        "patches": [
            asdict(one)
            | {
                "counts": dict(one.counts),
                "lines": [
                    {name: value for name, value in asdict(line).items() if name != "head"}
                    for line in one.lines
                    if line.word
                ],
            }
            for one in proof.patches
        ],
        "mutants": [asdict(one) for one in proof.mutants],
        "note": proof.note,
    }
