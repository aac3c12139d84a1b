# SPDX-License-Identifier: GPL-2.0-only
"""A series over many branches: what each needs of it, how it came out, and that as text."""

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ci.base.exit_codes import ExitCode, first_code
from ci.base.text import printable
from ci.report import junit, summary
from ci.report.record import SeriesRow
from ci.verdict import judge

UNTESTED = "untested"
MAX_CELL = 30


@dataclass(frozen=True)
class PatchPlan:
    """What a branch needs of one patch: its ``status`` on the tree as it comes, and ``on_base``,
    the tree with the series taken out."""

    number: int
    title: str
    digest: str
    affected: bool
    status: str
    on_base: str
    why: str


@dataclass(frozen=True)
class BranchPlan:
    """What a branch needs of a series. ``source`` is what ``--source`` takes, ``version`` which
    kernel that is; ``trouble`` says why it could not be had."""

    name: str
    source: str
    version: str
    trouble: str
    affected: bool
    patches: tuple[PatchPlan, ...]


@dataclass(frozen=True)
class BranchOutcome:
    """A branch and how it came out: ``verdict`` is accepted, rejected, error, ``not affected`` or
    ``untested``; ``junit`` is the file of its run, empty where there was none."""

    plan: BranchPlan
    verdict: str
    exit_code: ExitCode
    reasons: tuple[str, ...] = ()
    junit: str = ""


@dataclass(frozen=True)
class BranchesRecord:
    """``run.json`` of a run over branches."""

    schema: int
    selftests: str
    branches: tuple[BranchPlan, ...]


@dataclass(frozen=True)
class BranchesReport:
    """A run over branches, finished. ``titles`` are those of the patches, number -> title;
    ``selftests`` says whose scripts ran."""

    series: SeriesRow
    titles: Mapping[int, str]
    selftests: str
    outcomes: tuple[BranchOutcome, ...]

    @property
    def exit_code(self) -> ExitCode:
        """The first of 2, 1, 3, 0 that a branch calls for."""
        return first_code(outcome.exit_code for outcome in self.outcomes)


def plan_table(
    plans: Sequence[BranchPlan], titles: Mapping[int, str], *, on_base: bool = False
) -> str:
    """Branches by patches, then the reason of whatever is not plain; lines ended by newlines."""
    head = ["branch", "source", *map(str, titles)]
    rows = [head]
    reasons: list[str] = []
    untested: dict[str, list[str]] = {}
    for plan in plans:
        words = [patch.on_base if on_base else patch.status for patch in plan.patches]
        rows.append([plan.name, plan.version or "-", *(words or [UNTESTED] * len(titles))])
        if plan.trouble:
            untested.setdefault(plan.trouble, []).append(plan.name)
        reasons += [
            f"{plan.name}: patch {patch.number}: {line}"
            for patch in plan.patches
            for line in patch.why.splitlines()[:6]
        ]
    reasons += [f"{', '.join(of)}: {UNTESTED}: {trouble}" for trouble, of in untested.items()]
    # A commit id says no more by being whole.
    rows = [
        [cell if len(cell) <= MAX_CELL else f"{cell[: MAX_CELL - 1]}…" for cell in row]
        for row in rows
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines += ["", *(f"{number}: {title}" for number, title in titles.items())]
    lines += ["", *reasons] if reasons else []
    return "".join(f"{printable(line)}\n" for line in lines)


def console_text(report: BranchesReport) -> str:
    """The plan's table, then a line for each branch and the first reason of what is not
    accepted, and how it comes out over all."""
    plans = [outcome.plan for outcome in report.outcomes]
    width = max((len(plan.name) for plan in plans), default=0)
    lines = [plan_table(plans, report.titles)]
    for outcome in report.outcomes:
        why = f": {summary.plain_line(outcome.reasons[0], 200)}" if outcome.reasons else ""
        name = outcome.plan.name.ljust(width)
        lines.append(f"{name}  {outcome.verdict} (exit {outcome.exit_code}){why}")
    code = report.exit_code
    lines += ["", f"selftests: {report.selftests}", f"overall: {code.verdict} (exit {code})"]
    return "\n".join(lines) + "\n"


def markdown_text(report: BranchesReport) -> str:
    """A job summary: branches by patches, with the verdict of each."""
    outcomes, numbers = report.outcomes, list(map(str, report.titles))
    lines = [
        f"## {summary.code_span(report.series.name)} on {len(outcomes)} branches",
        "",
        f"selftests: {report.selftests}",
        "",
        f"| branch | {' | '.join(numbers)} | verdict | exit |",
        "|---" * (len(numbers) + 3) + "|",
    ]
    for outcome in outcomes:
        words = [patch.status for patch in outcome.plan.patches] or [UNTESTED] * len(numbers)
        cells = [outcome.plan.name, *words, outcome.verdict, str(outcome.exit_code)]
        lines.append(f"| {' | '.join(cells)} |")
    for outcome in outcomes:
        lines += [
            f"\n{outcome.plan.name}: {summary.code_span(reason)}"
            for reason in outcome.reasons[: summary.MAX_REASONS]
        ]
    lines += ["", *(f"{number}. {summary.code_span(one)}" for number, one in report.titles.items())]
    return "\n".join(lines) + "\n"


def junit_text(report: BranchesReport) -> str:
    """The branches' JUnit files as one; a branch that was not to be tested has a skipped case, one
    that could not be had an error."""
    root = ET.Element("testsuites")
    for outcome in report.outcomes:
        if outcome.junit:
            root.extend(ET.fromstring(outcome.junit.encode()))
            continue
        name, lost = f"{outcome.plan.name}.plan", outcome.exit_code is not ExitCode.ACCEPTED
        suite = ET.SubElement(root, "testsuite", name=name, tests="1", failures="0")
        case = ET.SubElement(suite, "testcase", name="branch", classname=name, time="0")
        suite.attrib |= {"errors": str(int(lost)), "skipped": str(int(not lost))}
        reason = outcome.reasons[0] if outcome.reasons else outcome.verdict
        message = junit.xml_text(reason, junit.MAX_ATTRIBUTE)
        ET.SubElement(case, "error" if lost else "skipped", message=message)
    for name in ("tests", "failures", "errors"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    return junit.conform_document(ET.tostring(root, encoding="unicode"))


def verdict_facts(report: BranchesReport) -> Mapping[str, object]:
    """``verdict.json`` of the whole: no time, host, path or run id is in it."""
    code = report.exit_code
    return {
        "schema": judge.SCHEMA,
        "verdict": code.verdict,
        "exit_code": code,
        "series": {"name": report.series.name, "change-id": report.series.change_id},
        "branches": [
            {
                "name": outcome.plan.name,
                "verdict": outcome.verdict,
                "exit_code": outcome.exit_code,
                "reasons": list(outcome.reasons),
            }
            for outcome in report.outcomes
        ],
    }
