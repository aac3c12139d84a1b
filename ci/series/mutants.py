# SPDX-License-Identifier: GPL-2.0-only
"""The changed lines of a patch, and the mutants of a series: its last tree with a part of one patch
taken back. Pure.

A part is a hunk, a run of changed lines within one, or a statement that the patch added. Later
patches may have moved it, or changed it again. Lines keep their numbers where that can be, as what
a warning tells of its line would make any two objects differ.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ci.series.diff import FileDiff, Hunk
from ci.series.outline import C, Outline, read_outline

Numbers = tuple[int, ...]


class Grain(StrEnum):
    """How much of a patch a mutant takes back."""

    HUNK = "hunk"
    RUN = "change"
    STATEMENT = "statement"


@dataclass(frozen=True)
class Changed:
    """A line that patch ``number`` adds or removes: ``sign`` is + or -, ``line`` its number in the
    file after or before that patch. ``at`` are the numbers, in the file as the whole series leaves
    it, of the line itself, or of those around what was removed; none where a later patch took it
    away again. ``is_code`` says whether it is no comment."""

    number: int
    file: str
    sign: str
    line: int
    text: str
    at: Numbers
    is_code: bool


@dataclass(frozen=True)
class Mutant:
    """``text`` is the whole file with the part taken back, ``None`` where it is not there then.
    ``added`` and ``removed`` are the lines of the patch that it takes back, by their numbers after
    and before it; ``at`` are those in the last tree that it concerns, by which is told what runs
    them."""

    number: int
    file: str
    grain: Grain
    added: Numbers
    removed: Numbers
    at: Numbers
    text: str | None

    @property
    def size(self) -> int:
        """Of how many changed lines it is."""
        return len(self.added) + len(self.removed)

    def covers(self, changed: Changed) -> bool:
        """Whether it takes that line back."""
        lines = self.added if changed.sign == "+" else self.removed
        return (self.number, self.file) == (changed.number, changed.file) and changed.line in lines


@dataclass(frozen=True)
class Patched:
    """A file that patch ``number`` changes by ``change``: its text ``before`` and ``after`` that
    patch and as the series leaves it (``last``), empty where it is not there. ``later`` is the
    change between the latter two, without context."""

    number: int
    change: FileDiff
    before: str
    after: str
    last: str
    later: tuple[Hunk, ...]

    @property
    def name(self) -> str:
        return self.change.name


def carry_line(line: int, later: Sequence[Hunk]) -> int:
    """The number that a line has after the hunks of ``later``, which have no context; 0 where they
    take it away."""
    moved = 0
    for hunk in later:
        gone = [row for row in hunk.lines if row[0] == "-"]
        come = len(hunk.lines) - len(gone)
        # "@@ -7,0 +8,2 @@" adds behind line 7, "@@ -7,2 +6,0 @@" takes 7 and 8 away
        first = hunk.old if gone else hunk.old + 1
        if line < first:
            break
        if line < first + len(gone):
            return 0
        moved += come - len(gone)
    return line + moved


@dataclass(frozen=True)
class _Run:
    """Lines of a hunk that are changed one after another. ``new`` is the number after the patch of
    the first line that it adds, or of the one behind what it removes."""

    old: int
    new: int
    removed: tuple[str, ...]
    added: tuple[str, ...]

    @property
    def numbers(self) -> tuple[Numbers, Numbers]:
        """Those of its added and its removed lines."""
        return (
            tuple(range(self.new, self.new + len(self.added))),
            tuple(range(self.old, self.old + len(self.removed))),
        )


def _runs(hunk: Hunk) -> Iterator[_Run]:
    old, new = hunk.old, hunk.new
    removed, added = list[str](), list[str]()
    for row in (*hunk.lines, " "):
        if row[0] == " ":
            if removed or added:
                yield _Run(old - len(removed), new - len(added), tuple(removed), tuple(added))
            removed, added = [], []
            old, new = old + 1, new + 1
        elif row[0] == "-":
            removed.append(row[1:])
            old += 1
        else:
            added.append(row[1:])
            new += 1


def _place(run: _Run, file: Patched) -> tuple[int, int] | None:
    """The lines of the last tree that a run stands in: the first, and the one behind; None where
    they are not there one after another any more."""
    if run.added:
        at = [carry_line(number, file.later) for number in run.numbers[0]]
        whole = at[0] and at == list(range(at[0], at[0] + len(at)))
        return (at[0], at[-1] + 1) if whole else None
    before = carry_line(run.new - 1, file.later) if run.new > 1 else 0
    behind = carry_line(run.new, file.later)
    start = before + 1 if before or run.new <= 1 else behind
    return (start, start) if start else None


def _around(run: _Run, file: Patched) -> Numbers:
    """The lines of the last tree by which a run is known: its own, or those before and behind."""
    numbers = run.numbers[0] or (run.new - 1, run.new)
    at = (carry_line(number, file.later) for number in numbers if number > 0)
    return tuple(number for number in at if number)


def list_changed(file: Patched) -> Iterator[Changed]:
    """The changed lines of a file, in the order of the patch."""
    before, after = (read_outline(file.name, text) for text in (file.before, file.after))
    for hunk in file.change.hunks:
        for run in _runs(hunk):
            added, removed = run.numbers
            around = _around(run, file)
            for number, text in zip(removed, run.removed, strict=True):
                code = number in before.code
                yield Changed(file.number, file.name, "-", number, text, around, code)
            for number, text in zip(added, run.added, strict=True):
                at = carry_line(number, file.later)
                own = (at,) if at else ()
                code = number in after.code
                yield Changed(file.number, file.name, "+", number, text, own, code)


def list_mutants(file: Patched) -> tuple[Mutant, ...]:
    """The mutants of a file, the largest first; none of lines that are no code, and no two with
    the same text."""
    code = {(one.sign, one.line) for one in list_changed(file) if one.is_code}
    outline = read_outline(file.name, file.last)
    found: dict[str | None, Mutant] = {}
    for hunk in file.change.hunks:
        runs = list(_runs(hunk))
        made = [*_take_back(runs, file, Grain.HUNK)]
        for run in runs:
            made += _take_back([run], file, Grain.RUN)
        made += _statements(runs, file, outline)
        for one in made:
            rows = {("+", line) for line in one.added} | {("-", line) for line in one.removed}
            if rows & code and one.text != file.last:
                kept = found.get(one.text)
                if not kept or one.size < kept.size:
                    found[one.text] = one
    return tuple(sorted(found.values(), key=lambda one: (-one.size, one.added, one.removed)))


def _take_back(runs: Sequence[_Run], file: Patched, grain: Grain) -> Iterator[Mutant]:
    """The file without these runs, where all of them can still be found."""
    places = [_place(run, file) for run in runs]
    if not runs or not all(places):
        return
    lines = file.last.split("\n")
    for run, place in zip(reversed(runs), reversed(places), strict=True):
        assert place
        start, end = place[0] - 1, place[1] - 1
        joined = start > 0 and lines[start - 1].endswith("\\")
        spare = 0 if joined else max(0, end - start - len(run.removed))
        lines[start:end] = [*run.removed, *[""] * spare]
    text = "\n".join(lines)
    created = not file.before and not "".join(text.split())
    yield Mutant(
        file.number,
        file.name,
        grain,
        tuple(number for run in runs for number in run.numbers[0]),
        tuple(number for run in runs for number in run.numbers[1]),
        tuple(number for run in runs for number in _around(run, file)),
        None if created else text,
    )


def _statements(runs: Sequence[_Run], file: Patched, outline: Outline) -> Iterator[Mutant]:
    """The file without one statement that these runs add."""
    numbers = {
        at: number
        for run in runs
        for number in run.numbers[0]
        if (at := carry_line(number, file.later))
    }
    data = file.last.encode("utf-8", "surrogateescape")
    for one in outline.statements:
        lines = tuple(range(one.first, one.last + 1))
        if not all(line in numbers for line in lines):
            continue
        # What stands for a statement that was taken back, in C and in a script.
        empty = (";" if outline.language == C else ":") + "\n" * (one.last - one.first)
        text = data[: one.start] + empty.encode() + data[one.end :]
        yield Mutant(
            file.number,
            file.name,
            Grain.STATEMENT,
            tuple(numbers[line] for line in lines),
            (),
            lines,
            text.decode("utf-8", "surrogateescape"),
        )
