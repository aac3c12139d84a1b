# SPDX-License-Identifier: GPL-2.0-only
"""The files that a run is told by: a row for each kind. `inv validate`, `inv stable` and
`inv report` write what stands here, in this order."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ci.base.text import printable
from ci.logs.ktap import ScriptResult
from ci.logs.outcome import State
from ci.report import branches, junit, summary
from ci.report import proof as proof_text
from ci.report.branches import BranchesReport
from ci.report.record import RunRecord
from ci.verdict import judge, proof
from ci.verdict.evidence import Evidence
from ci.verdict.judge import Verdict


@dataclass(frozen=True)
class RunReport:
    """A run that was judged."""

    record: RunRecord
    evidence: Evidence
    verdict: Verdict


@dataclass(frozen=True)
class Output:
    """One kind of output: its files, path below the run's folder -> text, for one run and for a run
    over branches."""

    of_run: Callable[[RunReport], Mapping[str, str]]
    of_branches: Callable[[BranchesReport], Mapping[str, str]]


def _ktap_files(report: RunReport) -> Mapping[str, str]:
    """The cases of each script on each side as KTAP of our own."""
    files = {}
    for run in report.evidence.runs:
        for side, guest in run.guests.items():
            if guest and guest.result:
                files[f"{side}/{run.script}.ktap"] = _ktap_text(guest.result)
    return files


def _ktap_text(result: ScriptResult) -> str:
    """Parsed cases as KTAP (Documentation/dev-tools/ktap.rst), whatever the script printed."""
    lines = ["KTAP version 1", f"1..{len(result.cases)}"]
    for number, case in enumerate(result.cases, start=1):
        word = "ok" if case.state in (State.PASS, State.SKIP) else "not ok"
        plain = case.state in (State.PASS, State.FAIL)
        directive = "" if plain else f" # {case.state.value.upper()}"
        name = printable(case.name).replace("#", "_")
        lines.append(f"{word} {number} {name}{directive}")
    return "\n".join(lines) + "\n"


def _proof_files(report: RunReport) -> Mapping[str, str]:
    found = report.record.proof
    if not found:
        return {}
    return {"proof.json": _json(proof.to_json(found)), "proof.diff": proof_text.diff_text(found)}


def _summary(report: RunReport) -> str:
    found = report.record.proof
    page = summary.markdown_text(report.verdict, replay=report.record.replay)
    return page + (proof_text.markdown_text(found) if found else "")


def _json(facts: Mapping[str, object]) -> str:
    return json.dumps(facts, indent=1) + "\n"


OUTPUTS = (
    Output(_ktap_files, lambda _: {}),
    Output(
        lambda run: {"junit.xml": junit.render_verdict(run.verdict, prefix=run.record.prefix)},
        lambda all_: {"junit.xml": branches.junit_text(all_)},
    ),
    Output(
        lambda run: {"summary.md": _summary(run)},
        lambda all_: {"summary.md": branches.markdown_text(all_)},
    ),
    Output(_proof_files, lambda _: {}),
    # The last: it means done.
    Output(
        lambda run: {"verdict.json": _json(judge.to_json(run.verdict))},
        lambda all_: {"verdict.json": _json(branches.verdict_facts(all_))},
    ),
)


def add_job_summary(folder: Path) -> None:
    """Add a run's ``summary.md`` to the summary of GitHub's job, where we run in one."""
    if note := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(note).open("a", encoding="utf-8") as file:
            file.write((folder / "summary.md").read_text(encoding="utf-8"))
