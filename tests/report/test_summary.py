# SPDX-License-Identifier: GPL-2.0-only
"""ci.report.summary: what people read fits, says what matters first, and cannot be made to act."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ci.base.exit_codes import ExitCode
from ci.logs.ending import Ended
from ci.logs.ktap import ScriptResult
from ci.logs.outcome import Case, State
from ci.report.summary import MAX_ROWS, console_text, markdown_text
from ci.verdict.evidence import Evidence, Guest, PatchRow, ScriptRun, Trouble
from ci.verdict.judge import CaseVerdict, Change, Verdict, decide, to_json

P, F = State.PASS, State.FAIL
FLIP = "Established IPv4 MPTCP Connection ns2 => ns1"


def run(script: str, base: dict[str, State], patched: dict[str, State]) -> ScriptRun:
    sides = [
        Guest(
            ScriptResult(script, Case(script, P), tuple(Case(*case) for case in side.items())),
            Ended.FINISHED,
        )
        for side in (base, patched)
    ]
    return ScriptRun(script, *sides)


def accepted() -> Verdict:
    patches = (PatchRow(1, "mptcp: set remote_deny_join_id0 on SYN recv", "d", "applies"),)
    runs = (
        run("userspace_pm", {FLIP: F, "b": P}, {FLIP: P, "b": P}),
        run("diag", {"c": P}, {"c": P}),
    )
    return decide(
        Evidence(
            "deny-join-id0",
            "",
            patches,
            runs=runs,
            must_flip=(("userspace_pm", FLIP),),
            guards=((1, "userspace_pm", FLIP),),
        )
    )


def rejected(count: int = 50) -> Verdict:
    base = {
        f"case {n} of many, with quite a long name so that it has to be cut somewhere": P
        for n in range(count)
    }
    return decide(Evidence("x" * 200, "", runs=(run("mptcp_join", base, dict.fromkeys(base, F)),)))


def test_the_console_of_an_accepted_series() -> None:
    text = console_text(accepted(), width=100, color=False)
    assert text.splitlines() == [
        "accepted (exit 0): everything was found out, and nothing got worse",
        "series: deny-join-id0, 1 patches",
        "note: patches guarded by a case that must flip: 1",
        f"fixed:        userspace_pm: {FLIP} (fail -> pass)",
        "in apply: 1 kept",
        "in kernel: 8 kept",
        "in userspace_pm: 2 kept, 1 fixed",
        "in diag: 2 kept",
        "look at: results/latest/summary.md, results/latest/junit.xml",
    ]


def test_trouble_of_the_machine_is_no_verdict() -> None:
    verdict = decide(Evidence("x", "", troubles=(Trouble("fetch", "no route to host"),)))
    assert console_text(verdict, width=100, color=False).startswith("error (exit 3): no verdict\n")
    assert "0 patches, no verdict." in markdown_text(verdict)


@pytest.mark.parametrize("width", [0, 40, 80, 132])
def test_the_console_fits(width: int) -> None:
    for verdict in (accepted(), rejected()):
        lines = console_text(verdict, width=width, color=False).splitlines()
        assert max(map(len, lines)) <= max(width, 40)
        assert len(lines) < 80


def test_what_rejects_comes_first() -> None:
    lines = console_text(rejected(), width=80, color=False).splitlines()
    assert lines[0].startswith("rejected (exit 1)")
    assert sum(line.startswith("regressed:") for line in lines) == MAX_ROWS
    assert "and 20 more" in lines


def test_colour_is_ours_and_only_there() -> None:
    assert console_text(accepted(), width=80, color=True).count("\x1b[") == 2
    assert "\x1b" not in console_text(accepted(), width=80, color=False) + markdown_text(accepted())


def test_markdown_shows_what_changed() -> None:
    text = markdown_text(accepted())
    assert text.startswith("## accepted (exit 0)\n")
    assert f"| fixed | `userspace_pm` | `{FLIP}` | fail | pass |" in text
    assert "| kept |" in text and "| regressed |" not in text
    many = markdown_text(rejected())
    assert many.count("| regressed | `mptcp_join`") == MAX_ROWS
    assert "And 20 more." in many and "more cases are regressed" in many


ATTACKS = [
    "::error::pwned",
    "  ::add-mask::x",
    "x\n::stop-commands::y",
    "##[error]x",
    "a\r::set-output name=x::y",
    "\x1b]0;x\x07::a::",
    "`</code><script>alert(1)</script>",
    "| a | b |",
    "![x](http://x)",
    "[a](javascript:x)",
    "@everyone #1 http://e.example",
    "-->",
    "\u202egnp.exe",
    "```\n# head",
    "x" * 5000,
    "名前" * 100,
    "e\u0301" * 200,
    "\x9b31m",
    "long words " * 60 + "::error::" + "x" * 90 + " ::error::x",
]
# A line that the runner would obey: blanks, then a command; or the old form anywhere.
OBEYED = re.compile(r"^\s*::|##\[", re.M)


def attacked(text: str) -> Verdict:
    return decide(
        Evidence(
            text,
            text,
            (PatchRow(1, text, text, text, F, text, text),),
            runs=(run("s", {text: P}, {text: F}),),
            troubles=(Trouble(text, text),),
        )
    )


def harmless(verdict: Verdict, width: int) -> None:
    shown = console_text(verdict, width=width, color=False, where="::error::x")
    page = markdown_text(verdict, where="::error::`x`")
    for text in (shown, page):
        assert not OBEYED.search(text)
        assert all(char.isprintable() or char == "\n" for char in text)
    fenced = False
    for line in page.splitlines():
        if line in ("```text", "```"):
            fenced = line != "```"
            continue
        if fenced:
            assert line.startswith("| ") and "`" not in line
            continue
        outside = re.sub(r"`[^`]*`", "", line)
        assert line.count("`") % 2 == 0
        assert not set("<>[]@!\\*_~") & set(outside), line
        assert line.count("|") in (0, 3, 6)


@pytest.mark.parametrize("text", ATTACKS)
def test_nothing_can_act(text: str) -> None:
    harmless(attacked(text), 80)


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        st.text(max_size=60),
        st.lists(st.sampled_from([*ATTACKS, ":", " ", "\n"]), max_size=4).map("".join),
    ),
    st.integers(0, 200),
)
def test_nothing_can_act_whatever_it_is(text: str, width: int) -> None:
    harmless(attacked(text), width)


def test_what_was_adapted_is_never_silent() -> None:
    patch = PatchRow(
        2,
        "t",
        "d",
        "already there",
        detail="taken out adapted: by a merge",
        adapted="--- given\n+++ here\n+\tx;",
    )
    verdict = decide(Evidence("s", "", (patch,), runs=(run("diag", {"c": P}, {"c": P}),)))
    assert "adapted: patch 2 already there: taken out adapted: by a merge" in console_text(
        verdict, width=100, color=False
    )
    page = markdown_text(verdict)
    assert "### Patch 2: `already there`\n\n`taken out adapted: by a merge`\n" in page
    assert "```text\n| --- given\n| +++ here\n| +       x;\n```\n" in page


def test_what_is_flaky_comes_with_the_command_that_shows_it_again() -> None:
    cases = (
        CaseVerdict("simult_flows", "a", State.PASS, State.FLAKY, Change.FLAKY),
        CaseVerdict("diag", "b", State.PASS, State.PASS, Change.KEPT),
        CaseVerdict(
            "userspace_pm (old)",
            "c",
            State.PASS,
            State.UNSTEADY,
            Change.NEWLY_FLAKY,
            attempts=("seed 8", "seed 9"),
        ),
    )
    verdict = Verdict("accepted", ExitCode.ACCEPTED, (), "x", "", (), cases)
    command = "inv validate --mode virtual --suite simult_flows"
    shown = markdown_text(verdict, replay="inv validate --mode virtual --seed 7 --series x")
    assert "- `inv validate --mode virtual --series x --seed 8 --suite userspace_pm`\n" in shown
    assert f"again: {command}\n" in console_text(
        verdict, width=80, color=False, replay="inv validate --mode virtual"
    )
    assert f"- `{command}`\n" in markdown_text(verdict, replay="inv validate --mode virtual")
    assert (
        "again:" not in console_text(verdict, width=80, color=False)
        and "diag" not in markdown_text(verdict, replay="x").split("- ")[-1]
    )


def test_known_limits_are_told_apart_with_their_reason() -> None:
    sides = {"a": P, "b": P, "c": F, "d": P, "e": F}, {"a": F, "c": P, "d": P, "e": F}
    why = "a reset, as one CPU had no turn"
    known = {("s", name): why for name in "abcde"}
    verdict = decide(
        Evidence("x", "", runs=(run("s", *sides), run("t", {"f": F}, {"f": P})), known=known)
    )
    assert verdict.exit_code == 0
    lines = console_text(verdict, width=100, color=False).splitlines()
    assert (
        lines[0]
        == "accepted (exit 0): everything was found out, and nothing got worse but for known limits"
    )
    assert f"known limit: s: 1 fixed, 1 regressed, 1 still-failing, 1 lost: {why}" in lines
    assert [line for line in lines if "->" in line] == ["fixed:        t: f (fail -> pass)"]
    before, _, limit = markdown_text(verdict).partition("### Known limit\n")
    assert "| fixed | `t` | `f` |" in before and "`s`" not in before
    for row in (
        "regressed | `s` | `a`",
        "lost | `s` | `b`",
        "fixed | `s` | `c`",
        "still-failing | `s` | `e`",
    ):
        assert f"| {row} |" in limit
    assert f"Why: `{why}`" in limit and "`d`" not in limit


def test_how_the_series_was_read_is_told_and_judges_nothing() -> None:
    note = (
        "these are the patches of kernel-patches/x, by their change-id; `what` differs: | the"
        " message of patch 1"
    )
    verdict = decide(Evidence("x", "", (PatchRow(1, "a", "d", "applies"),), notes=(note,)))
    bare = decide(Evidence("x", "", (PatchRow(1, "a", "d", "applies"),)))
    assert "\nnote: these are the patches of kernel-patches/x" in console_text(
        verdict, width=200, color=False
    )
    assert (
        "\n- `these are the patches of kernel-patches/x, by their change-id; 'what' differs: ¦ the"
        in markdown_text(verdict)
    )
    assert to_json(verdict) == to_json(bare) and "note" not in console_text(
        bare, width=200, color=False
    )
