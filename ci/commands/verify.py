# SPDX-License-Identifier: GPL-2.0-only
"""`inv verify`: the same suite several times in virtual time, compared."""

from collections.abc import Sequence
from dataclasses import replace

from ci.base.errors import StageError
from ci.base.exit_codes import ExitCode
from ci.base.progress import Progress
from ci.base.settings import Settings
from ci.base.text import lines
from ci.commands.validate import Run, new_run
from ci.guest import pool
from ci.guest.modes import Mode
from ci.guest.pool import Job
from ci.guest.vm import LOGS, GuestRun
from ci.logs import ktap
from ci.logs.outcome import State
from ci.verdict import repeats


def repeat(settings: Settings, progress: Progress, times: int) -> ExitCode:
    """Run the suite ``times`` times on the patched kernel, side by side; 0 where all logs are the
    same, else 1."""
    run = _virtual(settings, progress)
    names = [f"time-{number}" for number in range(1, times + 1)]
    runs = _each(run, dict.fromkeys(names, run.mode), again=True)
    different = 0
    for script in run.suite.scripts:
        first, *more = (runs[name, script.label] for name in names)
        for log in LOGS:
            texts = [ran.log(log) for ran in (first, *more)]
            same = len(set(texts)) == 1
            print(
                f"{'same     ' if same else 'DIFFERENT'} {repeats.digest(texts[0])} {script.label}"
                f" {log}.log"
            )
            for text in {text: None for text in texts[1:] if text != texts[0]}:
                print(
                    lines(
                        str(repeats.first_difference(f"{script.label}/{log}.log", texts[0], text)),
                        "  ",
                    )
                )
            different += not same
    total = len(run.suite.scripts) * len(LOGS)
    print(
        f"{total - different} of {total} logs are the same in {times} runs with seed"
        f" {run.mode.seed}, QEMU's build {run.facts['versions']['qemu build'][:12]}: {run.folder}"
    )
    return ExitCode.REJECTED if different else ExitCode.ACCEPTED


def over_seeds(settings: Settings, progress: Progress, seeds: Sequence[int]) -> ExitCode:
    """Run the suite once for each seed on the patched kernel and count each case's passes; 0 where
    every case has the same outcome for all seeds, else 1, with the seeds that show it and the
    command that shows it again.
    """
    run = _virtual(settings, progress)
    runs = _each(
        run, {f"seed-{seed}": replace(run.mode, seed=seed) for seed in seeds}, again=settings.rerun
    )
    states: dict[int, dict[tuple[str, str], State]] = {}
    for seed in seeds:
        of_seed = states.setdefault(seed, {})
        for script in run.suite.scripts:
            ran = runs[f"seed-{seed}", script.label]
            found = ktap.parse_script(
                script.name, ran.log("tests"), ran.exit_status, expect_tap=run.suite.tap
            )
            of_seed |= {(script.label, case.name): case.state for case in (found.own, *found.cases)}
    rows = repeats.tally(states)
    for row in rows:
        if row.others:
            word = "flaky" if row.flaky else "never passes"
            said = (
                f"{word}: {row.script}: {row.name}: {row.passed} of {row.of}, not with seed"
                f" {repeats.seeds(row.others)}"
            )
            print(lines(said, ""))
        if row.flaky:
            (seed, _), part = row.others[0], row.script.replace("-", ":", 1)
            print(
                "  replay:"
                f" {run.settings.command('run', mode='virtual', seed=str(seed), suite=part)}"
            )
    good = sum(not row.others for row in rows)
    print(f"{good} of {len(rows)} cases pass with each of {len(seeds)} seeds: {run.folder}")
    return ExitCode.REJECTED if any(row.flaky for row in rows) else ExitCode.ACCEPTED


def _virtual(settings: Settings, progress: Progress) -> Run:
    """A run for comparing runs, which makes sense in virtual time only."""
    if settings.mode not in ("auto", "virtual"):
        raise StageError(
            "options", f"--mode {settings.mode}: only runs in virtual time can be the same"
        )
    with new_run(replace(settings, mode="virtual"), progress) as run:
        run.mode  # noqa: B018 - before anything is built, as the suite
        run.suite  # noqa: B018
    return run


def _each(run: Run, modes: dict[str, Mode], *, again: bool) -> dict[tuple[str, str], GuestRun]:
    """The suite once for each named mode on the patched kernel; (name, script's label) -> run."""
    jobs = [
        Job(
            name,
            run.built["patched"][0],
            run.images["patched"],
            script,
            mode,
            run.folder / name / script.label,
        )
        for script in run.suite.scripts
        for name, mode in modes.items()
    ]
    with run.progress.stage("run", f"suite {run.suite.name}, {len(modes)} times"):
        ran = pool.run(jobs, run.workspace, run.progress, again=again)
    return {(job.name, job.script.label): one for job, one in zip(jobs, ran, strict=True)}
