# SPDX-License-Identifier: GPL-2.0-only
"""What is known of each patch of a series by itself: whether the series builds up to it, and what
tells when it is left out. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from ci.logs.outcome import State
from ci.verdict.evidence import PatchRow
from ci.verdict.judge import CaseVerdict, Change, Verdict

SCHEMA = 1


@dataclass(frozen=True)
class PatchProof:
    """A patch that was put on. ``step`` is empty where base with the patches up to this one builds,
    else why it does not. ``noticed`` are the cases that tell when it is left out, as ``script:
    case``; ``tried`` says whether that is known, and ``why`` why not."""

    number: int
    title: str
    step: str = ""
    noticed: tuple[str, ...] = ()
    tried: bool = True
    why: str = ""

    @property
    def guarded(self) -> bool:
        """Whether something tells when it is left out."""
        return bool(self.noticed)


@dataclass(frozen=True)
class Proof:
    """Of each patch that was put on, in their order."""

    patches: tuple[PatchProof, ...]

    @property
    def broken(self) -> tuple[PatchProof, ...]:
        """The patches up to which the series does not build: it cannot be bisected."""
        return tuple(one for one in self.patches if one.step)

    @property
    def unguarded(self) -> tuple[PatchProof, ...]:
        """The patches that nothing notices."""
        return tuple(one for one in self.patches if one.tried and not one.guarded)


def put_on(patches: Sequence[PatchRow]) -> tuple[PatchRow, ...]:
    """The patches of a run that base lacks and patched has."""
    return tuple(row for row in patches if row.state is State.PASS)


def find_telling(whole: Verdict, without: Verdict) -> tuple[str, ...]:
    """The cases that tell that a patch was left out: of the verdict on the series, and of that on
    the series without it."""
    return tuple(f"{one.group}: {one.name}" for one in _telling(whole, without))


def _telling(whole: Verdict, without: Verdict) -> Iterator[CaseVerdict]:
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
    """``proof.json``: the same in each run."""
    return {"schema": SCHEMA, "patches": [asdict(one) for one in proof.patches]}
