# SPDX-License-Identifier: GPL-2.0-only
"""Both kernels through the suite, and again where a case would reject, to a verdict."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from ci.base.exit_codes import ExitCode
from ci.base.sides import SIDES, Side
from ci.base.workspace import file_digest
from ci.commands.stages import Run, Sides
from ci.guest import pool, vm
from ci.guest.modes import Mode
from ci.guest.rootfs import Image
from ci.guest.run_cache import Job
from ci.guest.vm import LOGS, GuestRun
from ci.logs.ending import Ended
from ci.report import stored
from ci.report.record import GuestRow
from ci.suites.collection import Script
from ci.suites.selection import Suite
from ci.verdict import judge
from ci.verdict.evidence import Guest
from ci.verdict.judge import Verdict

# A case that would reject has to do so so many times: with other seeds in virtual time, else in
# other moments.
ATTEMPTS = 3


@dataclass(frozen=True)
class Bench:
    """All that guests need: what to run and how, the kernels, and the root with the selftests of
    each side; ``taps`` says whether these end with TAP."""

    suite: Suite
    mode: Mode
    sides: Mapping[Side, Sides]
    images: Mapping[Side, Image]
    taps: Mapping[Side, bool]


@dataclass(frozen=True)
class Trial:
    """A script, or a part of one, that ran on one side."""

    script: Script
    row: GuestRow
    guest: Guest

    @property
    def cases(self) -> set[str]:
        """The names of the cases that it showed."""
        return {case.name for case in self.guest.result.cases} if self.guest.result else set()

    @property
    def finished(self) -> bool:
        """Whether the guest came to its own good end."""
        return self.row.end.ended is Ended.FINISHED


def run_suite(run: Run, bench: Bench) -> Verdict:
    """Both kernels through the suite, with the patched tree's scripts; then the base kernel with
    base's own script wherever the patched one did not reach all of its cases. What would reject
    runs again, up to twice."""
    scripts, width = bench.suite.scripts, vm.guests_at_once(bench.mode.machine)
    what = f"suite {bench.suite.name}, {len(scripts)} guests for each kernel, {width} at once"
    with run.progress.stage("run", what):
        verdict, doubtful = _attempt(run, bench, scripts, 1)
        for attempt in range(2, ATTEMPTS + 1):
            if doubtful:
                labels = ", ".join(script.label for script in doubtful)
                run.progress.note(f"again, attempt {attempt}: {labels}")
                verdict, doubtful = _attempt(run, bench, doubtful, attempt)
    return verdict


def _attempt(
    run: Run, bench: Bench, scripts: Sequence[Script], attempt: int
) -> tuple[Verdict, Sequence[Script]]:
    """The scripts on both kernels, and those that came short on base with base's own; the verdict
    as things stand, and the scripts with a case that rejects."""
    differ = len({image.image_digest for image in bench.images.values()}) > 1
    both = [(side, script) for script in scripts for side in SIDES]
    trials = _run_guests(run, bench, both, attempt, later=len(scripts) if differ else 0)
    if differ:
        short = [(Side.BASE_OWN, script) for script in scripts if _is_short(script, trials)]
        trials += _run_guests(run, bench, short, attempt)
    verdict = judge.decide(stored.gather_evidence(run.record, run.recorded_guests))
    rejecting = {
        (case.group, case.name) for case in verdict.cases if case.exit_code is ExitCode.REJECTED
    }
    return verdict, [script for script in scripts if _is_doubtful(script, trials, rejecting)]


def _run_guests(
    run: Run, bench: Bench, wanted: Sequence[tuple[Side, Script]], attempt: int, later: int = 0
) -> list[Trial]:
    """Run scripts on their sides; the record gets a row for each. Each attempt in virtual time has
    a seed of its own, or it would be the same again."""
    mode = bench.mode
    if mode.machine.repeatable:
        mode = replace(mode, seed=mode.seed + attempt - 1)
    suffix = "" if attempt == 1 else f".{attempt}"
    jobs = []
    for side, script in wanted:
        kernel, tests = _parts(side)
        folder = run.folder / side / f"{script.label}{suffix}"
        image = bench.images[tests]
        jobs.append(Job(side, bench.sides[kernel].kernel, image, script, mode, folder))
    again = run.settings.rerun
    guests = pool.run_jobs(jobs, run.workspace, run.progress, again=again, later=later)
    trials = [
        _trial(run, bench, side, attempt, mode.seed, guest)
        for (side, _), guest in zip(wanted, guests, strict=True)
    ]
    run.guests += [trial.guest for trial in trials]
    rows = tuple(trial.row for trial in trials)
    run.record = replace(run.record, guests=run.record.guests + rows)
    return trials


def _parts(side: Side) -> tuple[Side, Side]:
    """Whose kernel and whose selftests run on a side."""
    return (Side.BASE, Side.BASE) if side is Side.BASE_OWN else (side, Side.PATCHED)


def _trial(run: Run, bench: Bench, side: Side, attempt: int, seed: int, ran: GuestRun) -> Trial:
    row = GuestRow(
        side=side,
        script=ran.script.name,
        part=ran.script.label,
        attempt=attempt,
        seed=seed,
        tap=bench.taps[_parts(side)[1]],
        folder=str(ran.folder.relative_to(run.folder)),
        end=ran.end,
        from_record=ran.from_record,
        logs={name: file_digest(ran.folder / f"{name}.log") for name in LOGS},
    )
    collection = bench.suite.collection
    guest = stored.parse_guest(row, collection, ran.log("kernel"), ran.log("tests"))
    return Trial(ran.script, row, guest)


def _is_doubtful(
    script: Script, trials: Iterable[Trial], rejecting: Collection[tuple[str, str]]
) -> bool:
    """Whether the script, or the part of one, showed a rejecting case, or went wrong where its own
    case or end is one."""
    mine = [trial for trial in trials if trial.script == script]
    wrong = any(trial.row.end.exit_status != 0 or not trial.finished for trial in mine)
    own = {(script.name, script.name), ("kernel", f"{script.name}: guest finished")}
    return (wrong and not own.isdisjoint(rejecting)) or any(
        (script.name, name) in rejecting for trial in mine for name in trial.cases
    )


def _is_short(script: Script, trials: Iterable[Trial]) -> bool:
    """Whether base did not reach a case that patched has, or the script ended on neither."""
    base, patched = (
        [one for one in trials if one.row.side is side and one.row.script == script.name]
        for side in SIDES
    )
    missing = {name for one in patched for name in one.cases} - {
        name for one in base for name in one.cases
    }
    stuck = [any(not one.finished for one in side) for side in (base, patched)]
    return bool(missing) or all(stuck)
