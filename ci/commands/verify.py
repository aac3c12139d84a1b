# SPDX-License-Identifier: GPL-2.0-only
"""`inv verify`: the same suite several times in virtual time, compared."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ci.base.errors import StageError
from ci.base.exit_codes import ExitCode
from ci.base.progress import Progress
from ci.base.settings import Settings
from ci.base.sides import Side
from ci.base.text import marked_lines
from ci.commands.stages import Run, bring_checked
from ci.commands.trials import Bench
from ci.commands.validate import new_run, prepare_guests
from ci.guest import pool
from ci.guest.modes import Mode
from ci.guest.run_cache import Job
from ci.guest.vm import GuestRun
from ci.logs.ending import LOGS
from ci.logs.outcome import State
from ci.suites.selection import Suite
from ci.verdict import repeats
from ci.verdict.repeats import Tally

Runs = Mapping[tuple[str, str], GuestRun]


def repeat_suite(settings: Settings, progress: Progress, times: int) -> ExitCode:
    """Run the suite ``times`` times on the patched kernel, side by side; 0 where all logs are the
    same, else 1."""
    run, bench = _prepare(settings, progress)
    names = [f"time-{number}" for number in range(1, times + 1)]
    runs = _run_each(run, bench, dict.fromkeys(names, bench.mode), again=True)
    same = [
        _print_comparison(script.label, log, [runs[name, script.label] for name in names])
        for script in bench.suite.scripts
        for log in LOGS
    ]
    build = run.record.versions["qemu build"][:12]
    print(
        f"{sum(same)} of {len(same)} logs are the same in {times} runs with seed"
        f" {bench.mode.seed}, QEMU's build {build}: {run.folder}"
    )
    return ExitCode.ACCEPTED if all(same) else ExitCode.REJECTED


def _print_comparison(label: str, log: str, runs: Sequence[GuestRun]) -> bool:
    """Print whether a script's log is the same in each run, and where it is not."""
    first, *others = (run.log(log) for run in runs)
    same = all(text == first for text in others)
    print(f"{'same     ' if same else 'DIFFERENT'} {repeats.log_digest(first)} {label} {log}.log")
    for text in dict.fromkeys(text for text in others if text != first):
        print(marked_lines(str(repeats.first_difference(f"{label}/{log}.log", first, text)), "  "))
    return same


def try_seeds(settings: Settings, progress: Progress, seeds: Sequence[int]) -> ExitCode:
    """Run the suite once for each seed on the patched kernel and count each case's passes; 0 where
    every case has the same outcome for all seeds, else 1, with the seeds that show it and the
    command that shows it again."""
    run, bench = _prepare(settings, progress)
    of_seed = {f"seed-{seed}": replace(bench.mode, seed=seed) for seed in seeds}
    runs = _run_each(run, bench, of_seed, again=settings.rerun)
    rows = repeats.tally_states({seed: _read_states(bench, runs, f"seed-{seed}") for seed in seeds})
    for row in rows:
        _print_tally(run.settings, bench.suite, row)
    good = sum(not row.others for row in rows)
    print(f"{good} of {len(rows)} cases pass with each of {len(seeds)} seeds: {run.folder}")
    return ExitCode.REJECTED if any(row.flaky for row in rows) else ExitCode.ACCEPTED


def _read_states(bench: Bench, runs: Runs, name: str) -> dict[tuple[str, str], State]:
    """(script's label, case) -> state in one of the runs."""
    states: dict[tuple[str, str], State] = {}
    for script in bench.suite.scripts:
        run = runs[name, script.label]
        result = bench.suite.collection.parse_logs(
            script.name,
            {name: run.log(name) for name in LOGS},
            run.end.exit_status,
            expect_tap=bench.taps[Side.PATCHED],
        )
        states |= {(script.label, case.name): case.state for case in (result.own, *result.cases)}
    return states


def _print_tally(settings: Settings, suite: Suite, row: Tally) -> None:
    """Print a case that does not pass with each seed, and how to see that again."""
    if row.others:
        word = "flaky" if row.flaky else "never passes"
        seeds = repeats.seed_words(row.others)
        line = f"{word}: {row.script}: {row.name}: {row.passed} of {row.of}, not with seed {seeds}"
        print(marked_lines(line, ""))
    if row.flaky:
        seed, _ = row.others[0]
        part = suite.words_for([one for one in suite.new if one.label == row.script])
        command = settings.command("run", mode="virtual", seed=str(seed), suite=part)
        print(f"  replay: {command}")


def _prepare(settings: Settings, progress: Progress) -> tuple[Run, Bench]:
    """A run for comparing runs, which makes sense in virtual time only."""
    if settings.mode not in ("auto", "virtual"):
        raise StageError(
            "options", f"--mode {settings.mode}: only runs in virtual time can be the same"
        )
    series = bring_checked(settings, progress)
    settings = replace(settings, mode="virtual", series=series.spec)
    with new_run(settings, progress, loaded=series) as run:
        return run, prepare_guests(run)


def _run_each(run: Run, bench: Bench, modes: Mapping[str, Mode], *, again: bool) -> Runs:
    """The suite once for each named mode on the patched kernel; (name, script's label) -> run."""
    jobs = [
        Job(
            name,
            bench.kernel(Side.PATCHED, script),
            bench.image(Side.PATCHED, script),
            script,
            mode,
            run.folder / name / script.label,
        )
        for script in bench.suite.new
        for name, mode in modes.items()
    ]
    with run.progress.stage("run", f"suite {bench.suite.name}, {len(modes)} times"):
        guests = pool.run_jobs(jobs, run.workspace, run.progress, again=again)
    return {(job.name, job.script.label): one for job, one in zip(jobs, guests, strict=True)}
