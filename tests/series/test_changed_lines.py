# SPDX-License-Identifier: GPL-2.0-only
"""ci.series.changed_lines: a word for each line, from what is known of it."""

from dataclasses import replace

import pytest

from ci.base.words import Outcome, Word
from ci.series.changed_lines import Fate, LineJudge, Traces, Trial, place_fate
from ci.series.mutants import Changed, Grain, Mutant
from ci.series.outline import read_outline

C, SH = "net/a.c", "tools/testing/selftests/net/a.sh"
TEXT = """\
#define ONE 1
static int f(int a)
{
	int b;

	if (a) {
		call(a,
			b);
	} else {
		dead();
	}
#ifdef CONFIG_X
	off();
#endif
#ifdef CONFIG_Y
	on();
#endif
	if (b)
		goto out;
	return b;
}
"""
SCRIPT = """\
f()
{
	one
	if two &&
		three
	then
		four \\
			more
	fi
}
"""
ROWS = {C: {2: [1], 6: [2, 3], 7: [4], 10: [5], 16: [6], 18: [7], 20: [8]}}
TRACES = Traces(
    {C: read_outline(C, TEXT), SH: read_outline(SH, SCRIPT)},
    ROWS,
    {C: frozenset({1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 16, 18, 19, 20})},
    installed=frozenset({SH}),
    ran={"s": frozenset({1, 2, 4, 6}), "t": frozenset({1, 3, 7, 8})},
    shell={"s": {SH: [3, 4, 7]}, "t": {SH: [3, 4]}},
)


@pytest.mark.parametrize(
    ("line", "word", "scripts"),
    [
        (1, Word.COMPILED, None),  # nobody can tell what uses a definition
        (2, Word.EXECUTED, ("s", "t")),
        (4, Word.EXECUTED, ("s", "t")),  # as the line before
        (5, Word.NOT_CODE, ()),
        (6, Word.EXECUTED, ("s", "t")),
        (7, Word.EXECUTED, ("s",)),
        (8, Word.EXECUTED, ("s",)),
        (9, Word.EXECUTED, ("s",)),
        (10, Word.COMPILED, ()),
        (13, Word.NOT_COMPILED, ()),
        (16, Word.EXECUTED, ("s",)),
        (18, Word.EXECUTED, ("t",)),
        (19, Word.COMPILED, None),  # made one with another by the compiler
        (20, Word.EXECUTED, ("t",)),
    ],
)
def test_what_became_of_a_line_of_c(line: int, word: Word, scripts: tuple[str, ...] | None) -> None:
    fate = TRACES.fate(C, line)
    assert (fate.word, fate.scripts) == (word, scripts)
    assert bool(fate.why) == (word is Word.NOT_COMPILED)


@pytest.mark.parametrize(
    ("line", "word", "scripts"),
    [
        (3, Word.EXECUTED, ("s", "t")),
        (5, Word.EXECUTED, ("s", "t")),
        (6, Word.EXECUTED, ("s", "t")),
        (7, Word.EXECUTED, ("s",)),
        (8, Word.EXECUTED, ("s",)),
        (9, Word.EXECUTED, ("s",)),
    ],
)
def test_what_became_of_a_line_of_a_script(line: int, word: Word, scripts: tuple[str, ...]) -> None:
    assert TRACES.fate(SH, line) == Fate(word, scripts)


def test_what_a_line_that_is_not_compiled_hangs_on() -> None:
    assert TRACES.fate(C, 13).why == "#ifdef CONFIG_X"
    nothing = replace(TRACES, rows={}, active={}, installed=frozenset())
    assert nothing.fate(C, 6).why == "nothing that is built reads this file"
    assert nothing.fate(SH, 3).why == "the selftests do not install it"
    absent = replace(TRACES, absent={C: "net/Makefile: obj-$(CONFIG_A) has a.o"})
    assert absent.fate(C, 6).why == "net/Makefile: obj-$(CONFIG_A) has a.o"


def test_what_became_of_several_lines_is_the_strongest() -> None:
    assert place_fate(TRACES, C, [10, 7]) == Fate(Word.EXECUTED, ("s",))
    assert place_fate(TRACES, C, [5]) == Fate(Word.COMPILED, None)
    assert place_fate(TRACES, C, [1, 7]).scripts is None
    assert place_fate(TRACES, C, [13]).word is Word.NOT_COMPILED


def added(line: int, *, code: bool = True, at: bool = True) -> Changed:
    return Changed(1, C, "+", line, "", (line,) if at else (), code)


def trial(lines: tuple[int, ...], outcome: Outcome, by: str = "") -> Trial:
    return Trial(Mutant(1, C, Grain.RUN, lines, (), lines, ""), outcome, by)


def test_the_smallest_mutant_that_is_not_equivalent_speaks() -> None:
    whole = trial((6, 7, 8, 9, 10, 11), Outcome.NOTICED, "s: case")
    judge = LineJudge(TRACES, [whole, trial((7, 8), Outcome.UNNOTICED)])
    assert [judge.judge(added(line)).word for line in (6, 7)] == [Word.GUARDED, Word.EXECUTED]
    assert judge.judge(added(6)).by == "s: case"
    assert judge.judge(added(7)).why == "s: case tells of the whole change"
    judge = LineJudge(TRACES, [whole, trial((7, 8), Outcome.EQUIVALENT)])
    assert judge.judge(added(7)).word is Word.GUARDED
    judge = LineJudge(TRACES, [trial((7, 8), Outcome.EQUIVALENT)])
    assert judge.judge(added(7)).word is Word.NOT_COMPILED
    assert judge.judge(added(10)).word is Word.COMPILED


def test_what_nobody_tried_is_told() -> None:
    judge = LineJudge(TRACES, [trial((7,), Outcome.NOT_TRIED, "the budget is spent")])
    found = judge.judge(added(7))
    assert (found.word, found.why) == (Word.EXECUTED, "not tried: the budget is spent")


def test_lines_that_are_no_code_or_were_changed_again() -> None:
    judge = LineJudge(TRACES, [trial((5, 6), Outcome.NOTICED, "s: case")])
    assert judge.judge(added(5, code=False)).word is Word.NOT_CODE
    found = judge.judge(added(6, at=False))
    assert (found.word, found.why) == (Word.NOT_COMPILED, "a later patch changes it again")
