# SPDX-License-Identifier: GPL-2.0-only
"""A stored run -> evidence -> verdict -> reports. Nothing is run; the raw logs and ``run.json`` are
all there is."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from ci.base.errors import StageError, describe
from ci.base.workspace import file_digest, write_text
from ci.logs import ktap, splats
from ci.logs.ending import Ended
from ci.logs.ktap import ScriptResult
from ci.logs.outcome import State
from ci.report import junit, summary
from ci.verdict import combine, judge
from ci.verdict.evidence import Build, Evidence, Guest, Patch, ScriptRun, Trouble
from ci.verdict.judge import Verdict

SCHEMA = 1


def read(folder: Path) -> dict[str, Any]:
    """``run.json`` of a stored run; a :class:`StageError` when it is not one."""
    try:
        if not (file := folder / "run.json").is_file():
            raise StageError("report", f"{folder}: no stored run: there is no file run.json in it")
        facts = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StageError("report", f"{folder}: no stored run: run.json: {error}") from None
    if not isinstance(facts, dict) or facts.get("schema") != SCHEMA:
        raise StageError("report", f"{folder}: no stored run of schema {SCHEMA}")
    if "branches" in facts:
        names = ", ".join(
            f"{folder}/branches/{path.name}" for path in sorted((folder / "branches").glob("*"))
        )
        raise StageError(
            "report",
            f"{folder} is a run over branches; name one of them: {names or 'none was tested'}",
        )
    return facts


def evidence(folder: Path, facts: dict[str, Any]) -> Evidence:
    """The evidence of a stored run: what ``facts`` say, and the guests' logs parsed."""
    tries: dict[tuple[str, str], dict[str, list[Guest]]] = {}
    for row in facts["guests"]:
        told = (
            f"seed {row['seed']}"
            if facts["mode"]["name"] == "virtual"
            else f"attempt {row['attempt']}"
        )
        one = replace(_guest(folder, row), attempt=told)
        tries.setdefault((row["script"], row["side"]), {}).setdefault(row["part"], []).append(one)
    guests = {
        (script, side): combine.parts(
            script, [combine.attempts(script, of_part) for of_part in of_script.values()]
        )
        for (script, side), of_script in tries.items()
    }
    return Evidence(
        series=facts["series"]["name"],
        change_id=facts["series"]["change-id"],
        patches=tuple(Patch(**(row | {"state": State(row["state"])})) for row in facts["patches"]),
        builds=tuple(
            Build(name, State(row["base"]), State(row["patched"]), row["detail"])
            for name, row in facts["builds"].items()
        ),
        runs=tuple(
            ScriptRun(
                script, *(guests.get((script, side)) for side in ("base", "patched", "base_own"))
            )
            for script in dict.fromkeys(script for script, _ in guests)
        ),
        must_flip=tuple((script, case) for script, case in facts["must_flip"]),
        known=_known(facts["known"], guests),
        notes=tuple(facts["series"].get("notes", ())),
        troubles=tuple(Trouble(stage, text) for stage, text in facts["troubles"]),
    )


def _known(
    rows: Sequence[Sequence[str]], guests: Mapping[tuple[str, str], Guest]
) -> dict[tuple[str, str], str]:
    """(script, case) -> reason, from rows of patterns and the cases that came up."""
    names = {
        (script, case.name)
        for (script, _), guest in guests.items()
        if guest.result
        for case in (guest.result.own, *guest.result.cases)
    }
    return {
        name: why
        for script, case, why in rows
        for name in names
        if fnmatchcase(name[0], script) and fnmatchcase(name[1], case)
    }


def _text(path: Path) -> str:
    if not path.is_file():
        raise StageError("report", f"{path}: the log of a guest is missing; the run is damaged")
    return path.read_bytes().decode("utf-8", "replace")


def _guest(folder: Path, row: dict[str, Any]) -> Guest:
    """One guest's logs, parsed."""
    logs = folder / row["folder"]
    for name, was in row.get("logs", {}).items():
        if (log := logs / f"{name}.log").is_file() and file_digest(log) != was:
            raise StageError("report", f"{log}: not what the guest left; the run is damaged")
    console = _text(logs / "kernel.log")
    tests = _text(logs / "tests.log")
    started = bool(tests) or row["exit_status"] is not None
    # Runs stored before the field was written are of trees with TAP.
    tap = row.get("tap", True)
    result = (
        ktap.parse_script(row["script"], tests, row["exit_status"], expect_tap=tap)
        if started
        else None
    )
    note = "the script was stopped at its time limit" if row["timed_out"] else ""
    return Guest(result, Ended[row["ended"]], splats.scan(console), bool(console.strip()), note)


def _ktap(result: ScriptResult) -> str:
    """The parsed cases as KTAP of our own (Documentation/dev-tools/ktap.rst), whatever the script
    printed."""
    lines = ["KTAP version 1", f"1..{len(result.cases)}"]
    for number, case in enumerate(result.cases, start=1):
        word = "ok" if case.state in (State.PASS, State.SKIP) else "not ok"
        directive = (
            "" if case.state in (State.PASS, State.FAIL) else f" # {case.state.value.upper()}"
        )
        lines.append(f"{word} {number} {case.name.replace('#', '_')}{directive}")
    return "\n".join(lines) + "\n"


def write(folder: Path) -> Verdict:
    """Judge a stored run and write its derived files; ``verdict.json`` comes last: it means
    done."""
    facts = read(folder)
    try:
        found = evidence(folder, facts)
        judged = judge.decide(found)
        junit_xml = junit.render(judged, prefix=facts["prefix"] or "unknown.guest")
        markdown = summary.markdown(judged, replay=facts.get("replay", ""))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise StageError(
            "report", f"{folder}/run.json does not hold what a run has: {describe(error)}"
        ) from error
    for run in found.runs:
        for side, guest in (
            ("base", run.base),
            ("patched", run.patched),
            ("base-own", run.base_own),
        ):
            if guest and guest.result:
                write_text(folder / side / f"{run.script}.ktap", _ktap(guest.result))
    write_text(folder / "junit.xml", junit_xml)
    write_text(folder / "summary.md", markdown)
    write_text(folder / "verdict.json", json.dumps(judge.to_json(judged), indent=1) + "\n")
    return judged


def to_job_summary(folder: Path) -> None:
    """Add a run's ``summary.md`` to the summary of GitHub's job, where we run in one."""
    if note := os.environ.get("GITHUB_STEP_SUMMARY"):
        with Path(note).open("a", encoding="utf-8") as file:
            file.write((folder / "summary.md").read_text(encoding="utf-8"))
