# SPDX-License-Identifier: GPL-2.0-only
"""One of five words for each changed line of a series, from what was compiled, what ran, and which
mutants were noticed. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ci.base.words import Outcome, Word
from ci.series.mutants import Changed, Mutant
from ci.series.outline import SHELL, Outline

BACK = 40  # So many lines before it may tell of a line that has no code of its own.


@dataclass(frozen=True)
class Trial:
    """A mutant and how it came out: ``by`` is the case that noticed it, or ``build``; or why it was
    not tried."""

    mutant: Mutant
    outcome: Outcome
    by: str = ""


@dataclass(frozen=True)
class Fate:
    """What became of a line of the last tree: ``scripts`` are the labels of those that ran it,
    ``None`` where nobody can tell, as of a definition."""

    word: Word
    scripts: tuple[str, ...] | None = ()
    why: str = ""


@dataclass(frozen=True)
class Traces:
    """What is known of the last tree, by its names of files. ``rows``: C file -> line -> addresses;
    ``ran``: label of a script -> addresses that it ran; ``shell``: label -> file -> lines that it
    ran. ``active``: file -> lines that the preprocessor leaves; ``absent``: C file -> why it is not
    compiled; ``installed`` are the files of the selftests that guests have."""

    outlines: Mapping[str, Outline]
    rows: Mapping[str, Mapping[int, Sequence[int]]] = field(default_factory=dict)
    active: Mapping[str, frozenset[int]] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    installed: frozenset[str] = frozenset()
    ran: Mapping[str, frozenset[int]] = field(default_factory=dict)
    shell: Mapping[str, Mapping[str, Sequence[int]]] = field(default_factory=dict)

    def fate(self, file: str, line: int) -> Fate:
        """What became of a line."""
        outline = self.outlines[file]
        if line not in outline.code:
            return Fate(Word.NOT_CODE)
        if outline.language == SHELL:
            return self._of_script(file, outline, line)
        if file in self.absent:
            return Fate(Word.NOT_COMPILED, why=self.absent[file])
        rows = self.rows.get(file, {})
        if not rows and file not in self.active:
            return Fate(Word.NOT_COMPILED, why="nothing that is built reads this file")
        if off := self._off(file, outline, line):
            return Fate(Word.NOT_COMPILED, why=off)
        if line in outline.directives or not rows:
            return Fate(Word.COMPILED, None)
        return self._of_code(file, outline, line)

    def _off(self, file: str, outline: Outline, line: int) -> str:
        """The `#if` that leaves a line out, where one does."""
        conditions = outline.conditions.get(line)
        if not conditions or file not in self.active:
            return ""
        active = self.active[file]
        for depth, text in enumerate(conditions, 1):
            group = _group(outline, line, conditions[:depth])
            if active.isdisjoint(group):
                return text
        return ""

    def _of_code(self, file: str, outline: Outline, line: int) -> Fate:
        rows = self.rows[file]
        if line in rows:
            return self._of_lines(file, [line])
        own = outline.statement_at(line)
        if not own:
            return Fate(Word.COMPILED, None)
        lines = range(own.first, own.last + 1) if line not in outline.closing else ()
        known = [one for one in lines if one in rows]
        before = next((one for one in range(line - 1, max(0, line - BACK), -1) if one in rows), 0)
        # Where gcc made one of it and another, nobody can tell which of them ran.
        if known or (before and (own.declares or line in outline.closing)):
            return self._of_lines(file, known or [before])
        return Fate(Word.COMPILED, None)

    def _of_lines(self, file: str, lines: Iterable[int]) -> Fate:
        addresses = {one for line in lines for one in self.rows[file][line]}
        scripts = tuple(label for label, ran in self.ran.items() if not ran.isdisjoint(addresses))
        return Fate(Word.EXECUTED if scripts else Word.COMPILED, scripts)

    def _of_script(self, file: str, outline: Outline, line: int) -> Fate:
        if file not in self.installed:
            return Fate(Word.NOT_COMPILED, why="the selftests do not install it")
        if line in outline.closing:
            line = max((one for one in outline.code - outline.closing if one < line), default=line)
        own = outline.statement_at(line)
        lines = {line, *(range(own.first, own.last + 1) if own else ())}
        scripts = tuple(
            label for label, of in self.shell.items() if not lines.isdisjoint(of.get(file, ()))
        )
        return Fate(Word.EXECUTED if scripts else Word.COMPILED, scripts)


def _group(outline: Outline, line: int, conditions: tuple[str, ...]) -> set[int]:
    """The lines around ``line`` that stand under the same conditions, or more."""
    found = set()
    for step in (-1, 1):
        at = line
        while outline.conditions.get(at, ())[: len(conditions)] == conditions or (
            at in outline.directives and abs(at - line) < 10_000
        ):
            if outline.conditions.get(at, ())[: len(conditions)] == conditions:
                found.add(at)
            at += step
    return found


@dataclass(frozen=True)
class ChangedLine:
    """A changed line and its word. ``by`` names the case that guards it, or the scripts that ran
    it; ``why`` says what a line that is not compiled hangs on, or that nobody tried to take it
    back."""

    changed: Changed
    word: Word
    by: str = ""
    why: str = ""


class LineJudge:
    """The words of changed lines."""

    def __init__(self, traces: Traces, trials: Iterable[Trial]) -> None:
        self.traces = traces
        self.trials = sorted(trials, key=lambda one: one.mutant.size)

    def judge(self, one: Changed) -> ChangedLine:
        """A line's word. Of the mutants that take it back, the smallest speaks that is not
        equivalent."""
        if not one.is_code:
            return ChangedLine(one, Word.NOT_CODE)
        if not one.at and one.sign == "+":
            return ChangedLine(one, Word.NOT_COMPILED, why="a later patch changes it again")
        speaking = [trial for trial in self.trials if trial.mutant.covers(one)]
        trial = next((at for at in speaking if at.outcome is not Outcome.EQUIVALENT), None)
        if trial and trial.outcome is Outcome.NOTICED:
            return ChangedLine(one, Word.GUARDED, trial.by)
        fate = place_fate(self.traces, one.file, one.at)
        if speaking and not trial and fate.word is not Word.NOT_COMPILED:
            return ChangedLine(one, Word.NOT_COMPILED, why="the same code is made without it")
        more = [at for at in speaking if at.outcome is Outcome.NOTICED]
        why = fate.why
        if trial and trial.outcome is Outcome.NOT_TRIED:
            why = why or f"not tried: {trial.by}"
        elif more:
            why = why or f"{more[0].by} tells of the whole {more[0].mutant.grain}"
        return ChangedLine(one, fate.word, ", ".join(fate.scripts or ()), why)


def place_fate(traces: Traces, file: str, lines: Sequence[int]) -> Fate:
    """What became of the strongest of some lines; ``scripts`` are those of all of them."""
    fates = [traces.fate(file, line) for line in lines]
    fates = [one for one in fates if one.word is not Word.NOT_CODE] or [Fate(Word.COMPILED, None)]
    order = list(Word)
    best = min(fates, key=lambda one: order.index(one.word))
    known = [one.scripts for one in fates if one.word is not Word.NOT_COMPILED]
    if any(scripts is None for scripts in known):
        return Fate(best.word, None, best.why)
    labels = dict.fromkeys(label for scripts in known for label in scripts or ())
    return Fate(best.word, tuple(labels), best.why)
