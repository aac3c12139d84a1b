# SPDX-License-Identifier: GPL-2.0-only
"""ci.logs.tap on odd TAP. The right answers are those of Documentation/dev-tools/ktap.rst, and
where it is silent those of two other readers, perl's TAP::Parser 3.44 and node's tap-parser 18:
what one of them calls failed is no pass here, and not gone."""

import pytest

from ci.logs import ktap
from ci.logs.ktap import ScriptResult
from ci.logs.outcome import MAX_CASES, MAX_LINE, MAX_NAME, State
from ci.suites.mptcp_lines import LiveReader

P, F, S, K, E = State.PASS, State.FAIL, State.SKIP, State.FLAKY, State.ERROR


def read(text: str, status: int | None = 0, script: str = "s") -> ScriptResult:
    return ktap.parse_script(script, text, status, LiveReader(script))


def told(result: ScriptResult) -> list[tuple[str, State]]:
    return [(case.name, case.state) for case in result.cases]


# A result line, the name of its case, its state.
RESULTS = [
    # Directives are whole words.
    ("not ok 1 - a # todos left", "a", F),
    ("ok 1 - a # ignored RST", "a", P),
    ("not ok 1 - a # skipping", "a", F),
    ("ok 1 - a # SKIPPED", "a", P),
    ("ok 1 - a # SKIP: no nft", "a", S),
    ("ok 1 - a #SKIP", "a", S),
    ("not ok 1 - a # Todo later", "a", P),
    # IGNORE is MPTCP's, as it writes it.
    ("ok 1 - a # IGNORE Flaky time=3ms", "a", K),
    ("ok 1 - a # IGNORE", "a", P),
    ("ok 1 - a # ignore flaky", "a", P),
    ("not ok 1 - a # IGNORE Flaky", "a", F),
    # "not ok" is forgiven by SKIP and TODO behind the first "#" alone.
    ("not ok 1 - a # XFAIL", "a", F),
    ("not ok 1 - a # time=3ms # SKIP", "a", F),
    ("not ok 1 - a # time=3ms SKIP", "a", F),
    ("not ok 1 - bug #471 # TODO x", "bug #471", F),
    ("not ok 1 - a \\# TODO x", "a \\# TODO x", F),
    ("not ok 1#TODO", "#TODO", F),
    ("not ok 1 - a# SKIP", "a# SKIP", F),
    ("ok 1 - a # XPASS", "a", F),
    # A name is not cut at a number sign of its own.
    ("ok 1 - fix #471 now", "fix #471 now", P),
    ("ok 1 - fix #471 now # SKIP", "fix #471 now", S),
    ("ok 1 - fix #471 now # time=3ms", "fix #471 now", P),
    # Numbers and dashes
    ("not ok", "case 1", F),
    ("not ok - a", "a", F),
    ("ok a", "a", P),
    ("ok 1-a", "a", P),
    ("not ok 1-a", "a", F),
    ("ok 1  -  a  b", "a b", P),
    ("ok 1 -6 -t tcp", "-6 -t tcp", P),
    ("ok 01 a", "a", P),
    ("ok 1", "case 1", P),
    ("ok 1 # SKIP no such device", "no such device", S),
    ("\x1b[31mnot ok 1 - a\x1b[0m", "a", F),
    ("\x00\x00not ok 1 - a", "a", F),
    ("ok 1 - a\u202eb", "a\\u202eb", P),
]


@pytest.mark.parametrize(("line", "name", "state"), RESULTS)
def test_a_result(line: str, name: str, state: State) -> None:
    for text in (f"TAP version 13\n1..1\n{line}\n", f"TAP version 14\n{line}\n1..1\n"):
        result = read(text, 1 if state is F else 0)
        assert told(result) == [(name, state)]
        assert result.problems == ()


ODD = "ok 1 - a\nnot ok 2 - b\n"
# A text, the states of its cases, a problem where there is one.
TEXTS = [
    (ODD + "1..2\n", [P, F], ""),
    ("1..2\n" + ODD, [P, F], ""),
    ("# note\n" + ODD + "1..2\n\n", [P, F], ""),
    ("KTAP version 1\n1..2\n" + ODD, [P, F], ""),
    # A plan twice, in between, too long, too short, of another form
    ("1..2\n1..2\n" + ODD, [P, F], "it has 2 plans"),
    ("1..1\nok 1 - a\n1..1\n", [P], "it has 2 plans"),
    ("ok 1 - a\n1..2\nnot ok 2 - b\n", [P, F], "between its results"),
    ("1..3\n" + ODD, [P, F], "its plan is of 3 cases, 2 came"),
    ("1..1\n" + ODD, [P, F], "its plan is of 1 cases, 2 came"),
    ("1..1\nok 1 - a\nok 2 - b\n", [P, E], "its plan is of 1 cases, 2 came"),
    (ODD + "1..3\n", [P, F], "its plan is of 3 cases, 2 came"),
    # Numbers: twice, left out, from zero, absurd
    ("1..2\nok 1 - a\nok 1 - a\n", [P, P], "not numbered"),
    ("1..2\nok 1 - a\nok 3 - b\n", [P, P], "not numbered"),
    ("1..1\nok 0 - a\n", [P], "not numbered"),
    ("1..1\nnot ok 99999999999999999999 - a\n", [F], "not numbered"),
    # The last line has no newline.
    ("1..2\nok 1 - a\nnot ok 2 - b", [P, F], "cut off"),
    ("1..2\nok 1 - a\nok 2 - b # SK", [P, E], "cut off"),
    ("ok 1 - a\nok 2 - b\n1..2", [P, P], ""),
    # Something before each line
    ("[    1.5] TAP version 13\n[    1.5] 1..2\n[   12.7] ok 1 a\n[   12.8] not ok 2", [P, F],
     "cut off"),
    ("10:00:01 TAP version 13\n10:00:01 1..2\n10:00:12 ok 1 a\n9:59:59 not ok 2 b\n", [P, F], ""),
    ("guest1: TAP version 13\nguest1: 1..2\nguest1: ok 1 a\nnot ok 2 b\n", [P, F], ""),
    # TAP in TAP, and twice
    ("TAP version 13\n1..1\nok 1 - a\nTAP version 13\n1..1\nok 1 - b\n", [P, P], "begins again"),
    ("TAP version 13\n1..1\n  TAP version 13\n  1..1\n  not ok 1 - b\nok 1 - a\n", [F, P], ""),
    ("TAP version 13\n1..1\nok 1 - a\n  not ok 1 - b\n", [P, F], "no result of their test"),
    ("  1..1\nnot ok 1 - a\n", [F], "before the indentation"),
    ("TAP version 12\n1..1\nok 1 - a\n", [P], "nobody knows its TAP version 12"),
    ("KTAP version 13\n1..1\nok 1 - a\n", [P], "nobody knows its KTAP version 13"),
    # Out of order, and what only looks like a result
    ("1..1\nok 1 - a\nBail out! no netns\n", [P], "it bailed out: no netns"),
    ("1..1\nok 1 - a\nbail out!\n", [P], "it bailed out"),
    ("1..1\nok 1 - a\nok-ish\n", [P], "may be a result or not: ok-ish"),
    ("1..1\nok 1 - a\nokay\nnot okay\nOk 2\n", [P], ""),
    ("1..1\nnot ok-a # TODO x\n", [P], "may be a result or not"),
    ("ok\nok 1 - a\n1..1\n", [P], "have no number"),
    (ODD, [P, F], "no TAP plan"),
    ("1..2 # nonsense\n" + ODD, [P, F], "no TAP plan"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "states", "problem"), TEXTS)
def test_a_text(text: str, states: list[State], problem: str) -> None:
    result = read(text, 0)
    assert [case.state for case in result.cases] == states
    assert problem in " ".join(result.problems)
    clean = not problem and not {F, E} & set(states)
    assert result.own.state is (P if clean else E)
    if not problem:  # a failure alone is one where the script says so, too
        assert read(text, 1).own.state is F


def test_subtests_of_a_test_that_never_ends_have_its_name() -> None:
    """As those of one that ends have: by a comment before them, where there is one."""
    inner = "    # Subtest: token\n    1..2\n    ok 1 a\n        # Subtest: b\n        ok 1 one\n"
    result = read(f"KTAP version 1\n1..2\n    # Subtest: other\n    ok 1 a\nok 1 crypto\n{inner}")
    assert told(result) == [("crypto.a", P), ("crypto", P), ("token.a", P), ("token.b.one", P)]
    assert "3 subtests have no result of their test" not in result.problems
    assert "2 subtests have no result of their test" in result.problems
    assert told(read("1..1\n  # Subtest:\n  ok 1 a\n")) == [("a", P)]


def test_tap_of_another_script_is_not_of_that_script() -> None:
    """The cases of a script are those that its own guest showed, under its own name."""
    text = "TAP version 13\n1..2\nok 1 - mptcp_join: no JOIN\nok 2 - userspace_pm: MP_PRIO TX\n"
    result = read(text, script="userspace_pm")
    assert result.script == "userspace_pm"
    assert told(result) == [("mptcp_join: no JOIN", P), ("MP_PRIO TX", P)]


@pytest.mark.parametrize("name", ["MP_PRIO TX", "another"])
def test_tap_that_hides_a_failure_of_the_lines_before(name: str) -> None:
    lines = (
        "01 Created network namespaces ns1, ns2     [ OK ]\n02 MP_PRIO TX      [FAIL] Count != 1\n"
    )
    tap = "TAP version 13\n1..2\nok 1 - userspace_pm: Created network namespaces ns1, ns2\n"
    hidden = read(f"{lines}{tap}ok 2 - userspace_pm: {name}\n", 0, "userspace_pm")
    assert hidden.own.state is E
    assert hidden.problems == ("its lines show 1 failed cases, its TAP 0",)
    honest = read(f"{lines}{tap}not ok 2 - userspace_pm: MP_PRIO TX\n", 1, "userspace_pm")
    assert honest.own.state is F and honest.problems == ()


def test_what_is_too_much_is_told_and_no_pass() -> None:
    many = "".join(f"ok {number} - a {number}\n" for number in range(1, MAX_CASES + 2))
    result = read(f"TAP version 13\n1..{MAX_CASES + 1}\n{many}")
    assert (result.own.state, len(result.cases)) == (E, MAX_CASES)
    assert result.problems == ("it has more than 10000 cases; the others are not read",)
    long = read(f"TAP version 13\n1..1\nok 1 - {'a' * (MAX_NAME + 1)}\n")
    assert long.own.state is E and "too long, and cut" in long.problems[0]
    assert long.cases[0].name == "a" * (MAX_NAME - 5) + "[...]"
    assert read(f"TAP version 13\n1..1\nok 1 - {'a' * MAX_NAME}\n").own.state is P
    line = read(f"TAP version 13\n1..1\nok 1 - a # {'b' * MAX_LINE}\n")
    assert line.own.state is E and "a result is of 2011 characters" in line.problems[0]
    noise = read(f"TAP version 13\n1..1\n{'b' * 3 * MAX_LINE}\nnot ok 1 - a\n", 1)
    assert noise.own.state is F and noise.cases[0].detail.endswith("b[...]")


def test_a_text_that_is_too_long_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ktap, "MAX_TEXT", 100)
    good = "TAP version 13\n1..1\nok 1 - a\n"
    assert read(good).own.state is P
    result = read(good + "# note\n" * 20)
    assert result.own.state is E
    assert result.problems == ("it printed 169 characters, of which 100 are read",)
