# SPDX-License-Identifier: GPL-2.0-only
"""A verdict as a JUnit file that strict readers accept.

``junit-xml`` builds it, then one pure pass (:func:`conform_document`) makes it what the schema
junit-10.xsd of Jenkins' xunit-plugin allows: no ``disabled`` (which the package always writes), no
attributes beyond the schema's, times as plain decimals. The package also drops a failure or error
that has neither message nor text, which turns it into a pass: here both always have a message. At
the end the counts in the file are held against the verdict.
"""

import xml.etree.ElementTree as ET
from collections.abc import Mapping

import junit_xml

from ci.base.exit_codes import ExitCode
from ci.base.text import break_commands
from ci.logs.outcome import clean_lines
from ci.verdict.judge import CaseVerdict, Change, Verdict

MAX_ATTRIBUTE = 500
MAX_TEXT = 8192

# The attributes that the schema has for each element (of those that we have a use for).
ALLOWED = {
    "testsuites": ("name", "time", "tests", "failures", "errors"),
    "testsuite": ("name", "tests", "failures", "errors", "skipped", "time", "timestamp"),
    "testcase": ("classname", "name", "time"),
    "failure": ("type", "message"),
    "error": ("type", "message"),
    "skipped": ("type", "message"),
    "property": ("name", "value"),
}


def xml_text(text: str, limit: int = MAX_TEXT) -> str:
    """Any text as XML may hold it: no colours and no commands for GitHub's runner, control
    characters and others that XML forbids as escapes, at most ``limit`` characters."""
    shown = "\n".join(map(break_commands, clean_lines(text[:limit])))
    return shown[:limit] + (" [...]" if max(len(text), len(shown)) > limit else "")


def _attribute(text: str) -> str:
    return " ".join(xml_text(text, MAX_ATTRIBUTE).split())


def _skip_message(case: CaseVerdict) -> str:
    """Why a case counts as skipped, empty where it does not."""
    if case.exit_code:
        return ""
    if case.excuse and case.change is not Change.FIXED:
        return f"known limit: {case.excuse}"
    if case.change is Change.STILL_FAILING:
        return "fails on base too"
    return f"base: {case.base}, patched: {case.patched}" if case.change is Change.SKIPPED else ""


def _test_case(case: CaseVerdict, prefix: str) -> junit_xml.TestCase:
    out = f"base: {case.base}\npatched: {case.patched}\nchange: {case.change}\n"
    made = junit_xml.TestCase(
        _attribute(case.name),
        classname=_attribute(f"{prefix}.{case.group}"),
        elapsed_sec=(case.time_ms or 0.0) / 1000,
        stdout=xml_text(out + case.detail),
    )
    message, text = _attribute(case.reason) or str(case.change), xml_text(case.detail) or None
    if case.exit_code is ExitCode.UNKNOWN:
        made.add_error_info(message, text, str(case.change))
    elif case.exit_code:
        made.add_failure_info(message, text, str(case.change))
    elif skip := _skip_message(case):
        made.add_skipped_info(_attribute(skip))
    return made


def conform_document(document: str) -> str:
    """The one pass: from what ``junit-xml`` writes to what the schema allows, with an XML
    declaration. No two cases share class name and name: a repeat gets `` (2)``."""
    root = ET.fromstring(document)
    used: dict[tuple[str, str], int] = {}
    for case in root.iter("testcase"):
        where, name = case.get("classname", ""), case.get("name", "")
        while (where, case.get("name", "")) in used:
            used[where, name] += 1
            case.set("name", f"{name} ({used[where, name]})")
        used[where, case.get("name", "")] = 1
    for element in root.iter():
        if "time" in element.attrib:
            # The schema's time is digits with a decimal point; floats may print as 1e-05.
            element.set("time", f"{float(element.attrib['time']):.3f}")
        if element.tag in ALLOWED:
            for name in [name for name in element.attrib if name not in ALLOWED[element.tag]]:
                del element.attrib[name]
    ET.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _check_counts(document: str, verdict: Verdict) -> None:
    """Raise ValueError unless the file says what the verdict says."""
    root = ET.fromstring(document.encode())
    count = {
        tag: len(root.findall(f".//testcase/{tag}")) for tag in ("failure", "error", "skipped")
    }
    due = {
        "failure": sum(
            case.exit_code in (ExitCode.REJECTED, ExitCode.BROKEN) for case in verdict.cases
        ),
        "error": sum(case.exit_code is ExitCode.UNKNOWN for case in verdict.cases),
        "skipped": sum(bool(_skip_message(case)) for case in verdict.cases),
    }
    total = len(root.findall(".//testcase"))
    totals = {
        tag: int(root.attrib[name]) for tag, name in (("failure", "failures"), ("error", "errors"))
    }
    if (
        count != due
        or total != len(verdict.cases)
        or totals != {"failure": due["failure"], "error": due["error"]}
    ):
        raise ValueError(
            f"junit: the file has {total} cases, {count}; the verdict {len(verdict.cases)}, {due}"
        )
    if (due["failure"] + due["error"] == 0) != (verdict.exit_code is ExitCode.ACCEPTED):
        raise ValueError(f"junit: {due} do not go with exit code {verdict.exit_code}")


def render_verdict(
    verdict: Verdict,
    *,
    prefix: str,
    properties: Mapping[str, str] | None = None,
    timestamp: str | None = None,
) -> str:
    """The JUnit file of a verdict: one test suite per script, each case once.

    ``prefix`` begins every classname (``<branch or release>.<config>``); ``properties`` go into
    every suite in their order; ``timestamp`` is ISO 8601, left out where None. ``<failure>`` is
    what rejects, ``<error>`` what is unknown, ``<skipped>`` what fails on base too, is skipped or
    is a known limit; flaky cases pass, base and patched states are in each system-out. Raises
    ValueError where the counts in the file would not be those of the verdict: that is a mistake of
    ours.
    """
    suites = [
        junit_xml.TestSuite(
            _attribute(f"{prefix}.{name}"),
            [_test_case(case, prefix) for case in verdict.cases if case.group == name],
            properties={
                _attribute(key): _attribute(value) for key, value in (properties or {}).items()
            },
            timestamp=timestamp,
        )
        for name in dict.fromkeys(case.group for case in verdict.cases)
    ]
    document = conform_document(junit_xml.to_xml_report_string(suites, prettyprint=False))
    _check_counts(document, verdict)
    return document
