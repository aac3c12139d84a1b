# SPDX-License-Identifier: GPL-2.0-only
"""ci.report.junit: the file against the rules of Jenkins' junit-10 schema, checked by a reader of
our own, and hostile text."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ci.base.exit_codes import ExitCode
from ci.logs.ending import Ended
from ci.logs.ktap import ScriptResult
from ci.logs.outcome import Case, State
from ci.logs.splats import Splat
from ci.report.junit import conform_document, render_verdict, xml_text
from ci.verdict.evidence import Evidence, Guest, PatchRow, ScriptRun, Trouble
from ci.verdict.judge import CaseVerdict, Change, Verdict, decide

# element -> (required attributes, optional attributes, children); what the schema says, in our
# words.
RULES: dict[str, tuple[set[str], set[str], set[str]]] = {
    "testsuites": (set(), {"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": (
        {"name", "tests", "failures", "errors"},
        {
            "group",
            "time",
            "skipped",
            "timestamp",
            "hostname",
            "id",
            "package",
            "file",
            "log",
            "url",
        },
        {"testsuite", "properties", "testcase", "system-out", "system-err"},
    ),
    "testcase": (
        {"name"},
        {"time", "classname", "group"},
        {"skipped", "error", "failure", "system-out", "system-err", "rerunFailure", "flakyFailure"},
    ),
    "properties": (set(), set(), {"property"}),
    "property": ({"name", "value"}, set(), set()),
    **{name: (set(), {"type", "message"}, set()) for name in ("failure", "error", "skipped")},
    **{name: (set(), set(), set()) for name in ("system-out", "system-err")},
}
# Only these may hold text.
MIXED = {"failure", "error", "skipped", "system-out", "system-err"}


def check(document: str) -> ET.Element:
    """Assert that the schema's rules hold, and give the document's root."""
    root = ET.fromstring(document.encode())
    assert root.tag == "testsuites"
    for element in root.iter():
        required, optional, children = RULES[element.tag]
        assert required <= set(element.attrib) <= required | optional, element.attrib
        assert {child.tag for child in element} <= children
        if "time" in element.attrib:
            assert re.fullmatch(r"[0-9]*(\.[0-9]*)?", element.attrib["time"])
        if element.tag not in MIXED:
            assert not (element.text or "").strip() and not any(
                (child.tail or "").strip() for child in element
            )
    for suite in root:
        cases = suite.findall("testcase")
        assert len(cases) == int(suite.attrib["tests"])
        for tag, name in (("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            assert len([case for case in cases if case.find(tag) is not None]) == int(
                suite.attrib[name]
            )
        for case in cases:
            assert (
                len([child for child in case if child.tag in ("failure", "error", "skipped")]) <= 1
            )
            assert all(child.attrib["message"] for child in case if child.tag != "system-out")
    ids = [(case.attrib["classname"], case.attrib["name"]) for case in root.iter("testcase")]
    assert len(set(ids)) == len(ids)
    return root


def guest(
    script: str, cases: dict[str, State], splats: tuple[Splat, ...] = (), detail: str = ""
) -> Guest:
    given_cases = tuple(Case(name, state, detail, 1500.0) for name, state in cases.items())
    return Guest(
        ScriptResult(script, Case(script, State.PASS), given_cases), Ended.FINISHED, splats
    )


def full() -> Evidence:
    """Every change there is, in one."""
    base = {f"{one}_{two}": one for one in State for two in State}
    patched = {f"{one}_{two}": two for one in State for two in State}
    return Evidence(
        "deny-join-id0",
        "id",
        patches=(PatchRow(1, 'mptcp: a <b> & "c"', "d", "applies"),),
        runs=(
            ScriptRun("userspace_pm", guest("userspace_pm", base), guest("userspace_pm", patched)),
        ),
        known={("userspace_pm", "pass_skip"): "no REJECT target"},
        troubles=(Trouble("run", "the disk is full"),),
    )


def result_of(case: ET.Element) -> str:
    return next((child.tag for child in case if child.tag != "system-out"), "pass")


def test_each_case_once_and_as_it_rejects() -> None:
    verdict = decide(full())
    root = check(
        render_verdict(
            verdict,
            prefix="6.12.minimal",
            properties={"seed": "1"},
            timestamp="2025-01-01T00:00:00",
        )
    )
    found = {
        (case.attrib["classname"], case.attrib["name"]): case for case in root.iter("testcase")
    }
    assert len(found) == len(verdict.cases)
    for case in verdict.cases:
        element = found[f"6.12.minimal.{case.group}", case.name]
        due = {0: "pass", 1: "failure", 2: "failure", 3: "error"}[case.exit_code]
        if case.exit_code == 0 and (
            case.excuse or case.change in (Change.STILL_FAILING, Change.SKIPPED)
        ):
            due = "skipped"
        assert result_of(element) == due
        assert f"base: {case.base}\npatched: {case.patched}\n" in (
            element.findtext("system-out") or ""
        )
    skipped = found["6.12.minimal.userspace_pm", "fail_fail"].find("skipped")
    assert skipped is not None and skipped.attrib["message"] == "fails on base too"
    known = found["6.12.minimal.userspace_pm", "pass_skip"].find("skipped")
    assert known is not None and known.attrib["message"] == "known limit: no REJECT target"
    assert found["6.12.minimal.userspace_pm", "pass_pass"].attrib["time"] == "1.500"
    assert root.find("testsuite/properties/property[@name='seed']") is not None


@pytest.mark.parametrize("state", State)
def test_green_exactly_when_accepted(state: State) -> None:
    run = ScriptRun(
        "s",
        guest("s", {"ok": State.PASS, "a": State.PASS}),
        guest("s", {"ok": State.PASS, "a": state}),
    )
    verdict = decide(Evidence("x", "", runs=(run,)))
    root = check(render_verdict(verdict, prefix="p"))
    bad = [case for case in root.iter("testcase") if result_of(case) in ("failure", "error")]
    assert bool(bad) == bool(verdict.exit_code)
    assert int(root.attrib["failures"]) + int(root.attrib["errors"]) == len(bad)


def test_trouble_alone_is_a_red_file() -> None:
    verdict = decide(Evidence("x", "", troubles=(Trouble("fetch", "no route to host"),)))
    (case,) = check(render_verdict(verdict, prefix="p")).iter("testcase")
    assert (case.attrib["name"], result_of(case)) == ("fetch", "error")


def test_a_failure_without_any_text_is_still_one() -> None:
    bare = CaseVerdict(
        "s", "a", State.PASS, State.FAIL, Change.REGRESSED, exit_code=ExitCode.REJECTED
    )
    verdict = Verdict("rejected", ExitCode.REJECTED, (), "x", "", (), (bare,))
    (case,) = check(render_verdict(verdict, prefix="p")).iter("testcase")
    assert result_of(case) == "failure"


def test_a_verdict_that_does_not_add_up_is_refused() -> None:
    verdict = decide(full())
    with pytest.raises(ValueError, match="junit"):
        render_verdict(
            replace(verdict, exit_code=ExitCode.ACCEPTED, cases=verdict.cases), prefix="p"
        )
    with pytest.raises(ValueError, match="junit"):
        render_verdict(
            replace(
                verdict,
                cases=tuple(replace(case, exit_code=ExitCode.ACCEPTED) for case in verdict.cases),
            ),
            prefix="p",
        )


def test_it_is_the_same_each_time() -> None:
    assert render_verdict(decide(full()), prefix="p") == render_verdict(decide(full()), prefix="p")


def test_the_pass_mends_what_the_package_writes() -> None:
    document = (
        '<testsuites disabled="0" time="1e-05"><testsuite assertions="1" disabled="0" name="x"'
        ' tests="0"/></testsuites>'
    )
    root = ET.fromstring(conform_document(document).encode())
    assert root.attrib == {"time": "0.000"}
    assert root[0].attrib == {"name": "x", "tests": "0"}


def test_unfit_text() -> None:
    assert (
        xml_text("a\x00\x1b[31mb\x1b[0m\ud800\ufdd0\uffff\U0001fffe\x85é\r\nc")
        == "a\\x00b\\ud800\\ufdd0\\uffff\\U0001fffe\\x85é\nc"
    )
    for text in ("x" * 100_000, "\x00x" * 100_000):
        assert len(xml_text(text)) < 9000


SAME = ["a  b", "a b", "a\tb", "a b (2)", "\u202e", "\\u202e", "x" * 600, "x" * 601, "A b"]


def test_two_cases_never_share_their_names() -> None:
    """Not even where cleaning makes one name of two, nor where a script is called as a group."""
    cases = tuple(
        CaseVerdict(group, name, State.PASS, State.PASS, Change.KEPT)
        for group in ("s", "s ", "kernel")
        for name in SAME
    )
    verdict = Verdict("accepted", ExitCode.ACCEPTED, (), "x", "", (), cases)
    root = check(render_verdict(verdict, prefix="p"))  # which looks at the names
    assert len(list(root.iter("testcase"))) == len(cases)
    names = [case.attrib["name"] for case in root.iter("testcase")]
    assert names[:4] == ["a b", "a b (2)", "a b (3)", "a b (2) (2)"]


HOSTILE = st.one_of(
    st.text(max_size=40),
    st.text(st.characters(), max_size=40),
    st.sampled_from(["]]>", "&#0;", "<a", "\udfff"]),
)


@settings(max_examples=60, deadline=None)
@given(HOSTILE, HOSTILE, HOSTILE, HOSTILE)
def test_hostile_text_stays_text(name: str, title: str, detail: str, prefix: str) -> None:
    splat = Splat("warning", title, f"warning {title}", detail, 1)
    evidence = Evidence(
        name,
        title,
        patches=(PatchRow(1, title, name, detail, State.FAIL, detail),),
        runs=(
            ScriptRun(
                "s", guest("s", {"a": State.PASS}), guest("s", {"a": State.FAIL}, (splat,), detail)
            ),
        ),
        troubles=(Trouble(name or "x", detail),),
    )
    check(render_verdict(decide(evidence), prefix=prefix, properties={name: detail}))
