# SPDX-License-Identifier: GPL-2.0-only
"""ci.series.mutants: changed lines and what takes them back, from git's own diffs."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ci.series.diff import parse_diff
from ci.series.mutants import Grain, Mutant, Patched, carry_line, list_changed, list_mutants
from tests.conftest import git, write

NAME = "net/a.c"
BEFORE = """\
int f(int a)
{
	int b = 0;

	first();
	second();
	third();
	fourth();
	return b;
}
"""
AFTER = """\
int f(int a)
{
	int b = 0;

	/* why */
	if (a)
		begin();

	first();
	other(a,
		b);
	third();
	return b;
}
"""


def patched(folder: Path, before: str, after: str, last: str = "", name: str = NAME) -> Patched:
    """A file that git compared, with ``last`` where a later patch changed it once more."""
    last = last or after
    if not (folder / ".git").exists():
        git(folder, "init", "-q")
    texts = []
    for text in (before, after, last):
        write(folder, {name: text})
        git(folder, "add", "-A")
        texts.append(git(folder, "write-tree"))
    one = parse_diff(git(folder, "diff-tree", "-p", texts[0], texts[1]) + "\n")
    later = parse_diff(git(folder, "diff-tree", "-p", "-U0", texts[1], texts[2]) + "\n")
    return Patched(1, one[0], before, after, last, later[0].hunks if later else ())


def told(mutants: tuple[Mutant, ...]) -> list[tuple[str, tuple[int, ...], tuple[int, ...]]]:
    return [(one.grain.value, one.added, one.removed) for one in mutants]


def test_what_a_patch_changes(tmp_path: Path) -> None:
    changed = list(list_changed(patched(tmp_path, BEFORE, AFTER)))
    assert [(one.sign, one.line, one.at, one.is_code) for one in changed] == [
        ("+", 5, (5,), False),
        ("+", 6, (6,), True),
        ("+", 7, (7,), True),
        ("+", 8, (8,), False),
        ("-", 6, (10, 11), True),
        ("+", 10, (10,), True),
        ("+", 11, (11,), True),
        ("-", 8, (12, 13), True),
    ]


def test_the_mutants_of_a_patch(tmp_path: Path) -> None:
    mutants = list_mutants(patched(tmp_path, BEFORE, AFTER))
    assert told(mutants) == [
        ("hunk", (5, 6, 7, 8, 10, 11), (6, 8)),
        ("change", (5, 6, 7, 8), ()),
        ("change", (10, 11), (6,)),
        ("statement", (6, 7), ()),
        ("statement", (10, 11), ()),
        ("change", (), (8,)),
        ("statement", (7,), ()),
    ]
    by_lines = {(one.grain, one.added): one.text or "" for one in mutants}
    whole = by_lines[Grain.HUNK, (5, 6, 7, 8, 10, 11)]
    assert whole.split() == BEFORE.split()
    # The lines behind keep their numbers.
    assert by_lines[Grain.RUN, (5, 6, 7, 8)].split("\n")[8:] == AFTER.split("\n")[8:]
    assert "\tif (a)\n\t\t;\n" in by_lines[Grain.STATEMENT, (7,)]
    assert "*/\n\t;\n\n\n\tfirst" in by_lines[Grain.STATEMENT, (6, 7)]
    assert "first();\n\t;\n\n\tthird" in by_lines[Grain.STATEMENT, (10, 11)]


def test_a_later_patch_may_have_moved_it_or_changed_it_again(tmp_path: Path) -> None:
    last = AFTER.replace("int f(", "/* more\n */\nint f(").replace("other(a", "another(a")
    file = patched(tmp_path, BEFORE, AFTER, last)
    assert {one.line: one.at for one in list_changed(file) if one.sign == "+"} == {
        5: (7,),
        6: (8,),
        7: (9,),
        8: (10,),
        10: (),
        11: (13,),
    }
    assert told(list_mutants(file)) == [
        ("change", (5, 6, 7, 8), ()),
        ("statement", (6, 7), ()),
        ("change", (), (8,)),
        ("statement", (7,), ()),
    ]


def test_a_file_that_comes_and_one_that_goes(tmp_path: Path) -> None:
    hunk, *_ = list_mutants(patched(tmp_path, "", AFTER))
    assert (hunk.grain, hunk.text, len(hunk.added)) == (Grain.HUNK, None, 14)
    gone = patched(tmp_path, BEFORE, "")
    assert told(list_mutants(gone)) == [("hunk", (), tuple(range(1, 11)))]
    assert list_mutants(gone)[0].text == BEFORE


def test_what_is_no_code_has_no_mutant(tmp_path: Path) -> None:
    assert list_mutants(patched(tmp_path, BEFORE, BEFORE.replace("0;\n\n", "0;\n/* x */\n"))) == ()
    prose = patched(tmp_path, "a\n", "b\n", name="Documentation/x.rst")
    assert list_mutants(prose) == () and not any(one.is_code for one in list_changed(prose))


def test_a_macro_of_several_lines_gets_no_empty_line(tmp_path: Path) -> None:
    before = "#define F(a) \\\n\tg(a); \\\n\th(a)\n"
    after = before.replace("\tg(a)", "\tmore(a); \\\n\tg(a)")
    (mutant,) = list_mutants(patched(tmp_path, before, after))
    assert mutant.text == before


def test_a_script(tmp_path: Path) -> None:
    before = "#!/bin/sh\nfirst\nlast\n"
    after = before.replace("first", "first\nif x; then\n\ty\nfi")
    mutants = list_mutants(patched(tmp_path, before, after, name="a.sh"))
    assert [one.text for one in mutants] == [
        "#!/bin/sh\nfirst\n\n\n\nlast\n",
        "#!/bin/sh\nfirst\n:\n\n\nlast\n",
        "#!/bin/sh\nfirst\nif x; then\n\t:\nfi\nlast\n",
    ]


LINES = st.lists(
    st.sampled_from(["a();", "b();", "{", "}", "", "#if X", "#endif", "c("]), max_size=12
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(before=LINES, after=LINES, last=st.none() | LINES)
def test_lines_are_where_they_are_said_to_be(
    tmp_path: Path, before: list[str], after: list[str], last: list[str] | None
) -> None:
    last = after if last is None else last
    texts = ["".join(f"{line}\n" for line in lines) for lines in (before, after, last)]
    if texts[0] == texts[1] or "" in texts:
        return
    file = patched(tmp_path, *texts)
    for number, text in enumerate(after, 1):
        at = carry_line(number, file.later)
        assert at == 0 or last[at - 1] == text
    for one in list_changed(file):
        assert one.text == (after if one.sign == "+" else before)[one.line - 1]
    for mutant in list_mutants(file):
        if last == after and (mutant.grain, len(file.change.hunks)) == (Grain.HUNK, 1):
            assert (mutant.text or "").split() == texts[0].split()
        assert mutant.text != file.last and all(0 < at <= len(last) + 1 for at in mutant.at)


@pytest.mark.parametrize(("line", "at"), [(1, 1), (2, 4), (3, 0), (4, 5), (9, 10)])
def test_a_line_is_carried_over_a_change(tmp_path: Path, line: int, at: int) -> None:
    after = "".join(f"{number}\n" for number in range(1, 10))
    last = after.replace("1\n", "1\nx\ny\n").replace("3\n", "")
    file = patched(tmp_path, "0\n", after, last)
    assert carry_line(line, file.later) == at
