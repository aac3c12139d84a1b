# SPDX-License-Identifier: GPL-2.0-only
"""Text of a guest, a patch or a compiler, in every field that holds such text, and in every output:
nothing of it acts, and what cannot be seen is shown escaped."""

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping

import pytest

from ci.base.exit_codes import ExitCode
from ci.base.text import escape_controls, marked_lines, printable
from ci.logs import ktap, splats
from ci.logs.ending import Ended
from ci.logs.outcome import Case, State
from ci.logs.splats import Splat
from ci.report import branches, summary
from ci.report.branches import BranchesReport, BranchOutcome, BranchPlan, PatchPlan
from ci.report.outputs import OUTPUTS, RunReport
from ci.report.record import RunRecord, SeriesRow
from ci.suites.mptcp_lines import LiveReader
from ci.suites.net import LineReader
from ci.verdict.evidence import BuildRow, Evidence, Guest, PatchRow, ScriptRun, Trouble
from ci.verdict.judge import decide

STRINGS = [
    # Workflow commands of GitHub's runner
    "::error::x",
    "  ::add-mask::x",
    "##[error]x",
    "a\n::stop-commands::x\n##[endgroup]",
    "a\r::error::x",
    "#\x1b[m#[error]x",
    # A terminal's own
    "\x1b]0;title\x07",
    "\x1b[2J\x1b[1A",
    "\x1b\x1b[m[2J",
    "\x9b31m\x90q\x9c",
    "\x08\x08\x08ok\x7f",
    "a\x1bPq\x1b\\",
    # What turns text around or hides in it
    "\u202egnp.exe\u202c",
    "\u2066a\u2069\u200b\ufeff\u00ad",
    "a\u2028::error::b\u2029c\x85d\x0be\x0cf",
    "\ud800 \udfff \ufffe \U0010ffff \U000e0041",
    # XML
    "]]><testcase name='x'/>",
    "<!-- & &#0; \"' -->",
    "\x00\x01\x1f",
    # Markdown, HTML, mentions, links
    "| a | b |\n|---|---|",
    "`</code><script>alert(1)</script>",
    "```\n# head\n[a](javascript:x) ![b](http://e.example)",
    "@everyone @maintainer #1 GH-2 http://e.example www.e.example",
    "<img src=x onerror=y>",
    # TAP of ours
    "# SKIP\nok 1 - forged\n1..1",
]


def shown_safely(text: str) -> None:
    """What holds for all that a terminal, a log or a reader of XML gets."""
    assert all(char.isprintable() or char == "\n" for char in text), ascii(text)
    assert "##[" not in text
    assert not re.search(r"^\s*::", text, re.M)


def printed(bad: str) -> Mapping[str, State]:
    """Names that a reader makes of what a script prints, in TAP, live lines and plain lines."""
    bad = bad.replace("\n", " ").replace("\r", " ")
    live = f"01 {bad}   [FAIL] {bad}\n02 a [ OK ]\n{bad}\n"
    tap = f"{live}TAP version 13\n1..2\n# {bad}\nnot ok 1 - {bad} # {bad}\nok 2 - {bad}\n"
    texts = [
        ktap.parse_script("s", tap, 1, LiveReader("s")),
        ktap.parse_script("mptcp_connect", live, None, LiveReader("mptcp_connect")),
        ktap.parse_script("n", f"TEST: {bad}  [FAIL]\nFAIL: {bad}\n", 1, LineReader("n")),
    ]
    cases = [case for text in texts for case in (text.own, *text.cases)]
    for case in cases:
        assert case.name.isprintable() and case.detail.replace("\n", "").isprintable()
    return {case.name: case.state for case in cases}


def report_of(bad: str) -> RunReport:
    cases = tuple(Case(name, state, bad) for name, state in printed(bad).items())
    # As a reader would never give them, too
    cases += (Case(bad, State.FAIL, bad), Case(f"{bad} ", State.PASS))
    found = splats.scan_console(
        f"[    1.0] WARNING: CPU: 0 PID: 1 at net/a.c:1 {bad}\n[    1.0] {bad}\n"
    )
    complaints = (*found, Splat("warning", bad, f"warning {bad}", bad, 1))

    def guest(cases: tuple[Case, ...], complaints: tuple[Splat, ...]) -> Guest:
        own = Case("s", State.FAIL, bad)
        result = ktap.ScriptResult("s", own, cases, (bad,))
        return Guest(result, Ended.FINISHED, complaints, note=bad, attempt=bad)

    good = tuple(Case(case.name, State.PASS) for case in cases)
    patches = (PatchRow(1, bad, bad, bad, State.FAIL, bad, bad), PatchRow(2, bad, "d", bad))
    evidence = Evidence(
        series=bad,
        change_id=bad,
        patches=patches,
        builds=(BuildRow("kernel", State.PASS, State.FAIL, bad),),
        runs=(ScriptRun("s", guest(good, ()), guest(cases, complaints)),),
        must_flip=(("s", bad),),
        known={("s", cases[0].name): bad},
        allowed={("s", cases[1].name): bad},
        troubles=(Trouble("run", bad),),
        notes=(bad,),
    )
    record = RunRecord(2, SeriesRow(bad, bad, (bad,)), patches=patches, troubles=evidence.troubles)
    return RunReport(record, evidence, decide(evidence))


@pytest.mark.parametrize("bad", STRINGS, ids=ascii)
def test_a_run(bad: str) -> None:
    report = report_of(bad)
    files: dict[str, str] = {}
    for output in OUTPUTS:
        files |= output.of_run(report)
    assert {"junit.xml", "summary.md", "verdict.json", "patched/s.ktap"} <= set(files)
    check_files(files)
    for width in (0, 80, 400):
        shown_safely(summary.console_text(report.verdict, width=width, color=False))
    ktap_lines = files["patched/s.ktap"].splitlines()
    assert all(re.match(r"(not )?ok \d+ |1\.\.|KTAP version 1$", line) for line in ktap_lines)


def check_files(files: Mapping[str, str]) -> None:
    for name, text in files.items():
        if name == "verdict.json":
            assert text.isascii() and json.loads(text)
        elif name == "junit.xml":
            shown_safely(text)
            root = ET.fromstring(text.encode())
            keys = [(one.attrib["classname"], one.attrib["name"]) for one in root.iter("testcase")]
            assert len(set(keys)) == len(keys)
            assert all(one.attrib["name"] != "x" for one in root.iter("testcase"))
        else:
            shown_safely(text)
    page = files["summary.md"]
    assert page.count("```") % 2 == 0
    fenced = False
    for line in page.splitlines():
        if line in ("```text", "```"):
            fenced = not fenced
        elif fenced:
            assert line.startswith("| ") and "`" not in line
        else:
            outside = re.sub(r"`[^`]*`", "", line)
            assert line.count("`") % 2 == 0 and not set("<>[]@!\\*_~") & set(outside), line


@pytest.mark.parametrize("bad", STRINGS, ids=ascii)
def test_a_run_over_branches(bad: str) -> None:
    patch = PatchPlan(1, bad, bad, True, "applies", "applies", bad)
    plans = [
        BranchPlan("6.1", "debian:6.1", bad, bad, True, (patch,)),
        BranchPlan("6.12", "debian:6.12", bad, "", True, (patch,)),
    ]
    junit = report_of(bad)
    run = OUTPUTS[1].of_run(junit)["junit.xml"]
    outcomes = (
        BranchOutcome(plans[0], "untested", ExitCode.UNKNOWN, (bad,)),
        BranchOutcome(plans[1], "rejected", ExitCode.REJECTED, (bad,), run),
    )
    report = BranchesReport(SeriesRow(bad, bad, (bad,)), {1: bad}, "own", outcomes)
    files: dict[str, str] = {}
    for output in OUTPUTS:
        files |= output.of_branches(report)
    check_files(files)
    shown_safely(branches.console_text(report))
    shown_safely(branches.plan_table(plans, {1: bad}, on_base=True))


@pytest.mark.parametrize("bad", STRINGS, ids=ascii)
def test_messages(bad: str) -> None:
    for text in (printable(f"x {bad}"), marked_lines(bad), marked_lines(bad, "error: ")):
        shown_safely(text)
    assert escape_controls(bad).isprintable()


def test_what_is_hidden_is_shown_in_one_way() -> None:
    """The name that a patch's title gives, in all outputs."""
    hidden, shown = "a\u202eb\x07c\u2028d", r"a\u202eb\x07c\u2028d"
    report = report_of(hidden)
    files = dict(row for output in OUTPUTS for row in output.of_run(report).items())
    files["console"] = summary.console_text(report.verdict, width=200, color=False)
    for name in ("junit.xml", "summary.md", "patched/s.ktap", "console"):
        assert shown in files[name], name
    assert printable(hidden) == shown and marked_lines(hidden) == f"| {shown}"
