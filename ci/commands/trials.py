# SPDX-License-Identifier: GPL-2.0-only
"""Both kernels through the suite, and again where a case would reject, to a verdict."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ci.base.exit_codes import ExitCode
from ci.base.sides import SIDES, Side
from ci.base.workspace import file_digest
from ci.commands import stages
from ci.commands.stages import Run, Sides
from ci.guest import pool, vm
from ci.guest.modes import Mode
from ci.guest.rootfs import Image
from ci.guest.run_cache import Job
from ci.guest.vm import GuestRun
from ci.kernel.build import Kernel, Toolchain
from ci.kernel.configuration import Configuration
from ci.logs.ending import LOGS, Ended
from ci.report import stored
from ci.report.record import GuestRow
from ci.suites.collection import Script
from ci.suites.selection import Suite
from ci.verdict import judge
from ci.verdict.evidence import Guest
from ci.verdict.finding import OLD
from ci.verdict.judge import Change, Verdict
from ci.verdict.leaks import MEMORY
from ci.verdict.speed import CPU_TIME, PROBE_TIME

# A case that would reject has to do so so many times: with other seeds in virtual time, else in
# other moments.
ATTEMPTS = 3
# Cases of a script's guests that have to show again under each seed, too.
MEASURED = (MEMORY, CPU_TIME, PROBE_TIME)
# And one that base passes each time, so many times, before its doubt is the series'.
FLAKY_ATTEMPTS = 6


@dataclass(frozen=True)
class Bench:
    """All that guests need: what to run and how, the kernels, and the root with the selftests of
    each side; ``taps`` says whether these end with TAP. ``checks`` are the roots with those of the
    series, for the kernel of each side, none where it brings none. ``tools``, ``config`` and
    ``root`` are what all of it was made with."""

    suite: Suite
    mode: Mode
    sides: Mapping[Side, Sides]
    images: Mapping[Side, Image]
    taps: Mapping[Side, bool]
    checks: Mapping[Side, Image]
    tools: Toolchain
    config: Configuration
    root: Path

    def kernel(self, side: Side, script: Script) -> Kernel:
        """The kernel that a script runs on."""
        return self.sides[side.kernel].kernels[script.built_in]

    def image(self, side: Side, script: Script) -> Image:
        """What a guest boots for a script."""
        return self.checks[side] if script.check else self.images[side.scripts]


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
    """Both kernels through the suite; where the series changes a script, with its old form as well.
    What would reject runs again, up to twice, and what base alone always passes some times more:
    base may need as many attempts to show that it is flaky, too."""
    labels, width = bench.suite.labels, vm.guests_at_once(bench.mode.machine)
    count = len(_planned(bench, labels))
    what = f"suite {bench.suite.name}, {count} guests on two kernels, {width} at once"
    with run.progress.stage("run", what):
        verdict, doubtful = _attempt(run, bench, labels, 1)
        once = run.once and bench.mode.machine.repeatable
        for attempt in range(2, 2 if once else FLAKY_ATTEMPTS + 1):
            if doubtful and (attempt <= ATTEMPTS or _is_flaky(verdict)):
                run.progress.note(f"again, attempt {attempt}: {', '.join(doubtful)}")
                verdict, doubtful = _attempt(run, bench, doubtful, attempt)
    stages.decode_splats(run, bench.sides)
    return verdict


def _is_flaky(verdict: Verdict) -> bool:
    """Whether nothing but what is newly flaky rejects."""
    rejecting = {case.change for case in verdict.cases if case.exit_code is ExitCode.REJECTED}
    return rejecting == {Change.NEWLY_FLAKY}


def _planned(bench: Bench, labels: Collection[str]) -> list[tuple[Side, Script]]:
    """The scripts with these labels on each side that has them."""
    new, old = ({one.label: one for one in of} for of in (bench.suite.new, bench.suite.old))
    sides = {side: new if side in SIDES else old for side in Side}
    return [
        (side, scripts[label])
        for label in labels
        for side, scripts in sides.items()
        if label in scripts
    ]


def _attempt(
    run: Run, bench: Bench, labels: Sequence[str], attempt: int
) -> tuple[Verdict, Sequence[str]]:
    """The scripts on both kernels; the verdict as things stand, and the labels of the scripts with
    a case that rejects and may come out otherwise."""
    trials = _run_guests(run, bench, _planned(bench, labels), attempt)
    verdict = judge.decide(stored.gather_evidence(run.record, run.recorded_guests))
    rejecting = {
        (case.group, case.name)
        for case in verdict.cases
        if case.exit_code is ExitCode.REJECTED and case.change is not Change.REMOVED
    }
    return verdict, [label for label in labels if _is_doubtful(label, trials, rejecting)]


def _run_guests(
    run: Run, bench: Bench, wanted: Sequence[tuple[Side, Script]], attempt: int
) -> list[Trial]:
    """Run scripts on their sides; the record gets a row for each. Each attempt in virtual time has
    a seed of its own, or it would be the same again."""
    mode = bench.mode
    if mode.machine.repeatable:
        mode = replace(mode, seed=mode.seed + attempt - 1)
    suffix = "" if attempt == 1 else f".{attempt}"
    jobs = []
    for side, script in wanted:
        folder = run.folder / side / f"{script.label}{suffix}"
        kernel, image = bench.kernel(side, script), bench.image(side, script)
        jobs.append(Job(side, kernel, image, script, mode, folder))
    guests = pool.run_jobs(jobs, run.workspace, run.progress, again=run.settings.rerun)
    trials = [
        _trial(run, bench, side, attempt, mode.seed, guest)
        for (side, _), guest in zip(wanted, guests, strict=True)
    ]
    run.guests += [trial.guest for trial in trials]
    rows = tuple(trial.row for trial in trials)
    run.record = replace(run.record, guests=run.record.guests + rows)
    return trials


def read_guest(bench: Bench, side: Side, ran: GuestRun) -> Guest:
    """What a guest on ``side`` showed."""
    tap = ran.script.check or bench.taps[side.scripts]
    logs = {name: ran.log(name) for name in LOGS}
    return stored.parse_logs(ran.script.name, ran.end, bench.suite.collection, logs, tap=tap)


def _trial(run: Run, bench: Bench, side: Side, attempt: int, seed: int, ran: GuestRun) -> Trial:
    row = GuestRow(
        side=side,
        script=ran.script.name,
        part=ran.script.label,
        attempt=attempt,
        seed=seed,
        tap=ran.script.check or bench.taps[side.scripts],
        folder=str(ran.folder.relative_to(run.folder)),
        end=ran.end,
        from_record=ran.from_record,
        logs={name: file_digest(ran.folder / f"{name}.log") for name in LOGS},
    )
    return Trial(ran.script, row, read_guest(bench, side, ran))


def _is_doubtful(
    label: str, trials: Iterable[Trial], rejecting: Collection[tuple[str, str]]
) -> bool:
    """Whether the script, or the part of one, showed a rejecting case, or went wrong where its own
    case or end is one."""
    for trial in (trial for trial in trials if trial.script.label == label):
        name = trial.script.name
        group = name if trial.row.side in SIDES else name + OLD
        own = {(group, name), ("kernel", f"{group}: guest finished")}
        wrong = trial.row.end.exit_status != 0 or not trial.finished
        measured = {("kernel", f"{group}: {what}") for what in MEASURED}
        if (wrong and not own.isdisjoint(rejecting)) or not measured.isdisjoint(rejecting):
            return True
        if any((group, case) in rejecting for case in trial.cases):
            return True
    return False
