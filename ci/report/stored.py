# SPDX-License-Identifier: GPL-2.0-only
"""A stored run -> evidence -> verdict -> outputs. Nothing is run; the raw logs and ``run.json`` are
all there is."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path

from ci.base.errors import StageError
from ci.base.records import from_facts, save_record
from ci.base.seals import find_damage, write_digests
from ci.base.sides import Side
from ci.base.workspace import file_digest, write_text
from ci.logs import splats
from ci.logs.control import read_control
from ci.logs.ending import LOGS, Ended, GuestEnd
from ci.logs.health import read_health, without_tests
from ci.logs.outcome import tidy
from ci.report.branches import BranchesReport
from ci.report.outputs import OUTPUTS, RunReport
from ci.report.record import SCHEMA, GuestRow, RunRecord
from ci.suites import selection
from ci.suites.collection import Collection
from ci.suites.kunit import KUNIT
from ci.verdict import combine, judge
from ci.verdict.evidence import Evidence, Guest, ScriptRun
from ci.verdict.judge import Verdict

NAME = re.compile(r"[A-Za-z0-9][\w.+-]{0,200}", re.ASCII)  # mptcp_join-d.2


def save_run(folder: Path, record: RunRecord) -> None:
    """Write the record of a run, with its digest; it holds those of the guests' logs."""
    save_record(folder / "run.json", record)
    write_digests(folder, ["run.json"])


def read_run(folder: Path) -> RunRecord:
    """The record of a stored run; a :class:`StageError` when there is none, or it is not as it was
    written."""
    file = folder / "run.json"
    try:
        if not file.is_file():
            raise StageError("report", f"{folder}: no stored run: there is no file run.json in it")
        facts = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise StageError("report", f"{folder}: no stored run: run.json: {error}") from None
    if not isinstance(facts, dict) or facts.get("schema") != SCHEMA:
        raise StageError("report", f"{folder}: no stored run of schema {SCHEMA}")
    if "branches" in facts:
        names = [f"{folder}/branches/{path.name}" for path in (folder / "branches").glob("*")]
        which = ", ".join(sorted(names)) or "none was tested"
        raise StageError("report", f"{folder} is a run over branches; name one of them: {which}")
    if damage := find_damage(folder, extra=True):
        raise StageError("report", f"{folder}: the run is damaged: {damage}; run it again")
    try:
        record = from_facts(facts, RunRecord)
        _check_names(record)
    except ValueError as error:
        raise StageError("report", f"{file} does not hold what a run has: {error}") from None
    return record


def _check_names(record: RunRecord) -> None:
    """A ValueError where a guest's files would not be in the folder of the run."""
    for row in record.guests:
        for name in (row.script, row.part, *row.folder.split("/")):
            if not NAME.fullmatch(name):
                raise ValueError(f"{name[:100]!r} is no name of a script or a folder")


def read_guests(folder: Path, record: RunRecord) -> tuple[Guest, ...]:
    """The guests of a stored run from their logs, in the order of its rows."""
    collection, _ = selection.split_name(record.suite.name if record.suite else "")
    return tuple(_read_guest(folder, row, collection) for row in record.guests)


def _read_guest(folder: Path, row: GuestRow, collection: Collection) -> Guest:
    logs = folder / row.folder
    for name, digest in row.logs.items():
        log = logs / f"{name}.log"
        if not log.is_file() or file_digest(log) != digest:
            what = "not what the guest left" if log.is_file() else "the log of a guest is missing"
            raise StageError("report", f"{log}: {what}; the run is damaged")
    return parse_guest(row, collection, {name: _text(logs / f"{name}.log") for name in LOGS})


def _text(path: Path) -> str:
    if not path.is_file():
        raise StageError("report", f"{path}: the log of a guest is missing; the run is damaged")
    return path.read_bytes().decode("utf-8", "replace")


def parse_guest(row: GuestRow, collection: Collection, logs: Mapping[str, str]) -> Guest:
    """What a guest of the record showed."""
    return parse_logs(row.script, row.end, collection, logs, tap=row.tap)


def parse_logs(
    script: str, end: GuestEnd, collection: Collection, logs: Mapping[str, str], *, tap: bool
) -> Guest:
    """What one guest showed: the only place where logs are parsed. The kernel's complaints are
    looked for on its console and in its log, which shows them at any log level."""
    console, output, control = (logs[name] for name in LOGS)
    status, result = end.exit_status, None
    said = read_control(control)
    health = read_health(said)
    complaints = splats.unite_scans(
        splats.scan_console(console), splats.scan_console(said.log.text)
    )
    if output or status is not None or (script == KUNIT and console):
        result = collection.parse_logs(script, logs, status, expect_tap=tap)
    note = "the script was stopped at its time limit" if end.timed_out else ""
    return Guest(
        result,
        end.ended,
        complaints,
        bool(console.strip()) and end.ended is not Ended.FLOODED,
        note,
        health=(without_tests(health) if script == KUNIT else health,),
    )


def gather_evidence(record: RunRecord, guests: Sequence[Guest]) -> Evidence:
    """The evidence of a run: its record, and its guests in the order of their rows."""
    virtual = record.mode is not None and record.mode.name == "virtual"
    tries: dict[tuple[str, Side], dict[str, list[Guest]]] = {}
    for row, guest in zip(record.guests, guests, strict=True):
        attempt = f"seed {row.seed}" if virtual else f"attempt {row.attempt}"
        parts = tries.setdefault((row.script, row.side), {})
        parts.setdefault(row.part, []).append(replace(guest, attempt=attempt))
    whole = {
        (script, side): combine.combine_parts(
            script, [combine.combine_attempts(script, of_part) for of_part in parts.values()]
        )
        for (script, side), parts in tries.items()
    }
    return Evidence(
        series=record.series.name,
        change_id=record.series.change_id,
        patches=record.patches,
        builds=record.builds,
        runs=tuple(
            ScriptRun(
                script, *(whole.get((script, side)) for side in Side), built_in=script == KUNIT
            )
            for script in dict.fromkeys(script for script, _ in whole)
        ),
        must_flip=record.must_flip,
        guards=record.guards,
        known=_explained(record, whole),
        allowed={(script, case): why for script, case, why in record.series.allowed},
        notes=_notes(record),
        max_slowdown=record.suite.max_slowdown if record.suite else None,
        troubles=record.troubles,
        proved=tuple(record.proof.findings()) if record.proof else (),
    )


def _notes(record: RunRecord) -> tuple[str, ...]:
    """What a reader of the verdict has to know of the run besides its cases."""
    normal = record.config == RunRecord.config
    return (
        *record.series.notes,
        *(record.suite.notes if record.suite else ()),
        *([] if normal else [f"kernel configuration: {record.config}"]),
    )


def _explained(
    record: RunRecord, guests: Mapping[tuple[str, Side], Guest]
) -> dict[tuple[str, str], str]:
    """(script, case) -> reason, from the known limits and the cases and complaints that came up."""
    names = {
        (script, case.name)
        for (script, _), guest in guests.items()
        if guest.result
        for case in (guest.result.own, *guest.result.cases)
    }
    names |= {
        ("kernel", tidy(splat.fingerprint)) for guest in guests.values() for splat in guest.splats
    }
    return {
        name: why
        for script, case, why in (record.suite.known if record.suite else ())
        for name in names
        if fnmatchcase(name[0], script) and fnmatchcase(name[1], case)
    }


def write_reports(
    folder: Path, record: RunRecord, guests: Sequence[Guest], verdict: Verdict | None = None
) -> RunReport:
    """Judge a run, unless that is done, and write all its outputs; ``verdict.json`` comes last: it
    means done. A :class:`StageError` where the record contradicts itself."""
    try:
        evidence = gather_evidence(record, guests)
        report = RunReport(record, evidence, verdict or judge.decide(evidence))
        texts = [output.of_run(report) for output in OUTPUTS]
    except ValueError as error:
        message = f"{folder}/run.json does not hold what a run has: {error}"
        raise StageError("report", message) from error
    for files in texts:
        for name, text in files.items():
            write_text(folder / name, text)
    return report


def write_branches(folder: Path, report: BranchesReport) -> None:
    """The same for a run over branches."""
    for output in OUTPUTS:
        for name, text in output.of_branches(report).items():
            write_text(folder / name, text)


def judge_stored(folder: Path) -> RunReport:
    """Judge a stored run from its logs, and write its outputs anew."""
    record = read_run(folder)
    return write_reports(folder, record, read_guests(folder, record))
