# SPDX-License-Identifier: GPL-2.0-only
"""A series on every branch: plan, then base and patched of each affected branch, then one table and
one exit code."""

import json
import os
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ci.base.errors import StageError
from ci.base.exit_codes import ExitCode, first_code
from ci.base.progress import Progress
from ci.base.settings import Settings, check_suite
from ci.base.workspace import write_text
from ci.commands import plan
from ci.commands.branches import Branch
from ci.commands.plan import BranchPlan
from ci.commands.validate import Run, collect
from ci.report import junit, stored, summary
from ci.series.locate import bring_series
from ci.series.patches import Series
from ci.series.status import PatchStatus
from ci.trees.tree import Tree

SELFTESTS = ("own", "newest")


@dataclass(frozen=True)
class Outcome:
    """A branch and how it came out: ``verdict`` is accepted, rejected, error, ``not affected`` or
    ``untested``."""

    plan: BranchPlan
    verdict: str
    exit_code: ExitCode
    reasons: tuple[str, ...] = ()


def stable(
    settings: Settings, progress: Progress, branches: Sequence[Branch], selftests: str
) -> int:
    """Validate the series on each branch; the first of 2, 1, 3, 0 that a branch calls for."""
    if selftests not in SELFTESTS:
        raise StageError("options", f"--selftests {selftests}: there are {' and '.join(SELFTESTS)}")
    loaded = bring_series(settings, progress)
    check_suite(loaded.suite, f"suite {loaded.suite[:80]!r} of {loaded.folder / 'series.toml'}")
    folder = settings.workspace.new_run()
    # What came on stdin, or from an archive, comes once.
    settings = replace(settings, series=loaded.spec)
    plans = plan.of_branches(settings, loaded, branches, progress)
    tests = _newest(plans) if selftests == "newest" else None
    outcomes: list[Outcome] = []
    whole = True
    for one in plans:
        if not whole:
            outcomes.append(
                Outcome(one, plan.UNTESTED, ExitCode.UNKNOWN, ("interrupted before it was tested",))
            )
            continue
        if not one.trees or not one.affected:
            word = PatchStatus.NOT_AFFECTED if one.trees else plan.UNTESTED
            outcomes.append(
                Outcome(one, word, one.exit_code, (one.trouble,) if one.trouble else ())
            )
            continue
        progress.note(f"branch {one.name}: {one.source.name if one.source else ''}")
        where = folder / "branches" / one.name
        where.mkdir(parents=True)
        clock = Progress()  # each branch's own: its run.json tells what it took
        run = Run(
            replace(settings, source=one.spec, tree=None),
            clock,
            where,
            tests=tests,
            branch=one.name,
            loaded=loaded,
        )
        whole = collect(run)
        if settings.timings:
            progress.note(clock.timings())
        judged = stored.write(where)
        outcomes.append(Outcome(one, judged.verdict, judged.exit_code, judged.reasons))
    return _publish(settings, folder, loaded, outcomes, selftests, tests)


def _newest(plans: Sequence[BranchPlan]) -> Tree:
    """The tree of the newest branch that can be had, with the series."""
    for one in reversed(plans):
        if one.trees and not one.trees.conflict:
            return one.trees.patched
    raise StageError(
        "plan", "--selftests newest: no branch could be had whose selftests could be taken"
    )


def _publish(
    settings: Settings,
    folder: Path,
    wanted: Series,
    outcomes: Sequence[Outcome],
    selftests: str,
    tests: Tree | None,
) -> int:
    """The files of the whole, ``verdict.json`` last, and the table on stdout."""
    code = first_code(one.exit_code for one in outcomes)
    of = f" ({tests.source.name})" if tests else ""
    text = (
        table(outcomes, wanted)
        + f"\nselftests: {selftests}{of}\noverall: {code.verdict} (exit {code})\n"
    )
    write_text(
        folder / "run.json",
        json.dumps(
            {
                "schema": stored.SCHEMA,
                "selftests": selftests + of,
                "branches": [plan.facts(one.plan) for one in outcomes],
            },
            indent=1,
        )
        + "\n",
    )
    write_text(folder / "junit.xml", merged(folder, outcomes))
    write_text(folder / "summary.md", markdown(outcomes, wanted, f"selftests: {selftests}{of}"))
    write_text(folder / "verdict.json", json.dumps(facts(wanted, outcomes, code), indent=1) + "\n")
    settings.workspace.point_latest(folder)
    print(text + f"look at: {os.path.relpath(folder)}/summary.md", flush=True)
    stored.to_job_summary(folder)
    return code


def facts(wanted: Series, outcomes: Sequence[Outcome], code: ExitCode) -> Mapping[str, object]:
    """``verdict.json`` of the whole: no time, host, path or run id is in it."""
    return {
        "schema": stored.SCHEMA,
        "verdict": code.verdict,
        "exit_code": code,
        "series": {"name": wanted.name, "change-id": wanted.change_id},
        "branches": [
            {
                "name": one.plan.name,
                "verdict": one.verdict,
                "exit_code": one.exit_code,
                "reasons": list(one.reasons),
            }
            for one in outcomes
        ],
    }


def table(outcomes: Sequence[Outcome], wanted: Series) -> str:
    """The plan's table, then a line for each branch and the first reason of what is not
    accepted."""
    width = max((len(one.plan.name) for one in outcomes), default=0)
    lines = []
    for one in outcomes:
        why = f": {summary.plain(one.reasons[0], 200)}" if one.reasons else ""
        lines.append(f"{one.plan.name.ljust(width)}  {one.verdict} (exit {one.exit_code}){why}")
    return (
        plan.table([one.plan for one in outcomes], wanted, on_base=False)
        + "\n"
        + "\n".join(lines)
        + "\n"
    )


def markdown(outcomes: Sequence[Outcome], wanted: Series, note: str) -> str:
    """A job summary: branches by patches, with the verdict of each."""
    numbers = [str(patch.number) for patch in wanted.patches]
    lines = [f"## {summary.code(wanted.name)} on {len(outcomes)} branches", "", note, ""]
    lines += [
        f"| branch | {' | '.join(numbers)} | verdict | exit |",
        "|---" * (len(numbers) + 3) + "|",
    ]
    for one in outcomes:
        words = [state.words for state in one.plan.states] or [plan.UNTESTED] * len(numbers)
        lines.append(f"| {one.plan.name} | {' | '.join(words)} | {one.verdict} | {one.exit_code} |")
    for one in outcomes:
        lines += [
            f"\n{one.plan.name}: {summary.code(reason)}"
            for reason in one.reasons[: summary.MAX_REASONS]
        ]
    lines += ["", *(f"{patch.number}. {summary.code(patch.title)}" for patch in wanted.patches)]
    return "\n".join(lines) + "\n"


def merged(folder: Path, outcomes: Sequence[Outcome]) -> str:
    """The branches' JUnit files as one; a branch that was not to be tested has a skipped case, one
    that could not be had an error."""
    root = ET.Element("testsuites")
    for one in outcomes:
        path = folder / "branches" / one.plan.name / "junit.xml"
        if path.exists():
            root.extend(ET.parse(path).getroot())
            continue
        suite = ET.SubElement(
            root, "testsuite", name=f"{one.plan.name}.plan", tests="1", failures="0"
        )
        case = ET.SubElement(
            suite, "testcase", name="branch", classname=f"{one.plan.name}.plan", time="0"
        )
        lost = one.exit_code is not ExitCode.ACCEPTED
        suite.attrib |= {"errors": str(int(lost)), "skipped": str(int(not lost))}
        message = junit.xml_text(
            one.reasons[0] if one.reasons else one.verdict, junit.MAX_ATTRIBUTE
        )
        ET.SubElement(case, "error" if lost else "skipped", message=message)
    for name in ("tests", "failures", "errors"):
        root.set(name, str(sum(int(suite.get(name, "0")) for suite in root)))
    return junit.conform(ET.tostring(root, encoding="unicode"))
