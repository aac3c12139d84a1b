# SPDX-License-Identifier: GPL-2.0-only
"""`inv stable`: a series on every branch: plan, then base and patched of each affected branch, then
one table and one exit code."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ci.base.errors import StageError
from ci.base.exit_codes import ExitCode
from ci.base.progress import Progress
from ci.base.records import save_record
from ci.base.settings import Settings
from ci.commands import plan
from ci.commands.branches import Branch
from ci.commands.plan import BranchTrees
from ci.commands.stages import Run, bring_checked
from ci.commands.validate import judge_run
from ci.report import branches as text
from ci.report import outputs, stored
from ci.report.branches import UNTESTED, BranchesRecord, BranchesReport, BranchOutcome
from ci.report.record import SCHEMA, SeriesRow
from ci.series.patches import Series
from ci.series.status import PatchStatus
from ci.trees.tree import Tree

SELFTESTS = ("own", "newest")
INTERRUPTED = "interrupted before it was tested"


def validate_branches(
    settings: Settings, progress: Progress, branches: Sequence[Branch], selftests: str
) -> ExitCode:
    """Validate the series on each branch; the first of 2, 1, 3, 0 that a branch calls for."""
    if selftests not in SELFTESTS:
        raise StageError("options", f"--selftests {selftests}: there are {' and '.join(SELFTESTS)}")
    series = bring_checked(settings, progress)
    folder = settings.workspace.new_run()
    # What came on stdin, or from an archive, comes once.
    settings = replace(settings, series=series.spec)
    plans = plan.plan_branches(settings, series, branches, progress)
    tests = _newest_tree(plans) if selftests == "newest" else None
    outcomes: list[BranchOutcome] = []
    whole = True
    for branch in plans:
        if not whole:
            outcomes.append(BranchOutcome(branch.plan, UNTESTED, ExitCode.UNKNOWN, (INTERRUPTED,)))
        elif not branch.affected:
            word = PatchStatus.NOT_AFFECTED if branch.trees else UNTESTED
            reasons = (branch.trouble,) if branch.trouble else ()
            outcomes.append(BranchOutcome(branch.plan, word, branch.exit_code, reasons))
        else:
            progress.note(f"branch {branch.name}: {branch.source.name if branch.source else ''}")
            where = folder / "branches" / branch.name
            outcome, whole = _test_branch(settings, progress, branch, where, series, tests)
            outcomes.append(outcome)
    named = f"{selftests} ({tests.source.name})" if tests else selftests
    row = SeriesRow(series.name, series.change_id)
    report = BranchesReport(row, series.titles, named, tuple(outcomes))
    return _publish(settings, folder, report)


def _test_branch(
    settings: Settings,
    progress: Progress,
    branch: BranchTrees,
    folder: Path,
    series: Series,
    tests: Tree | None,
) -> tuple[BranchOutcome, bool]:
    """One branch to its verdict; False where we were interrupted."""
    folder.mkdir(parents=True)
    clock = Progress()  # each branch's own: its run.json tells what it took
    wanted = replace(settings, source=branch.spec, tree=None)
    run = Run(wanted, clock, folder, tests=tests, branch=branch.name, loaded=series)
    judged = judge_run(run)
    verdict, whole = judged.verdict, judged.whole
    if settings.timings:
        progress.note(clock.timings())
    junit = (folder / "junit.xml").read_text(encoding="utf-8")
    outcome = BranchOutcome(branch.plan, verdict.verdict, verdict.exit_code, verdict.reasons, junit)
    return outcome, whole


def _newest_tree(plans: Sequence[BranchTrees]) -> Tree:
    """The tree of the newest branch that can be had, with the series."""
    for branch in reversed(plans):
        if branch.trees and not branch.trees.conflict:
            return branch.trees.patched
    raise StageError(
        "plan", "--selftests newest: no branch could be had whose selftests could be taken"
    )


def _publish(settings: Settings, folder: Path, report: BranchesReport) -> ExitCode:
    """The files of the whole, ``verdict.json`` last, and the table on stdout."""
    plans = tuple(outcome.plan for outcome in report.outcomes)
    save_record(folder / "run.json", BranchesRecord(SCHEMA, report.selftests, plans))
    stored.write_branches(folder, report)
    settings.workspace.point_latest(folder)
    print(text.console_text(report) + f"look at: {os.path.relpath(folder)}/summary.md", flush=True)
    outputs.add_job_summary(folder)
    return report.exit_code
