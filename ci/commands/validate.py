# SPDX-License-Identifier: GPL-2.0-only
"""`inv validate` and the tasks that go a part of its way: from the settings to a verdict, in a
folder of results."""

import contextlib
import os
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ci.base.errors import BuildError, PatchError, StageError, describe
from ci.base.exit_codes import ExitCode
from ci.base.progress import Progress
from ci.base.settings import Settings
from ci.base.sides import SIDES, Side
from ci.base.text import marked_lines
from ci.commands import stages
from ci.commands.stages import Run
from ci.commands.trials import Bench, run_suite
from ci.guest import vm
from ci.guest.modes import Mode
from ci.logs.outcome import State
from ci.report import outputs, stored, summary
from ci.series.patches import Series
from ci.series.status import PatchStatus
from ci.suites import selection
from ci.verdict.evidence import PatchRow, Trouble
from ci.verdict.judge import Verdict


@contextlib.contextmanager
def new_run(
    settings: Settings, progress: Progress, *, loaded: Series | None = None
) -> Iterator[Run]:
    """A run in a new folder, which goes again where what was asked for cannot be done."""
    folder = settings.workspace.new_run()
    try:
        yield Run(settings, progress, folder, loaded=loaded)
    except StageError as error:
        if error.asked:
            shutil.rmtree(folder)
        raise


def prepare_guests(run: Run) -> Bench:
    """All stages before the guests: a stage a line, each takes what the ones before it gave."""
    series = stages.load_series(run)
    config = stages.choose_config(run)
    tools = stages.find_tools(run)
    mode = stages.choose_mode(run, config)
    trees = stages.derive_trees(run, series, stages.fetch_source(run, series))
    suite = stages.choose_suite(run, series, trees)
    stages.demand_whole(trees)
    root = stages.make_root(run)
    sides = stages.build_sides(run, trees, suite, tools, config)
    images = stages.make_images(run, sides, root, suite.collection, tools)
    checks = stages.make_checks(run, series, suite, sides, root, tools)
    suite = stages.keep_changed(suite, sides)
    taps = {
        side: selection.prints_tap(suite.collection, run.tests or one)
        for side, one in zip(SIDES, (trees.base, trees.patched), strict=True)
    }
    return Bench(suite, mode, sides, images, taps, checks, tools, config, root)


def validate_series(settings: Settings, progress: Progress) -> ExitCode:
    """Everything, to a verdict in a new folder under ``results/``; whatever happens on the way is
    part of it."""
    with new_run(settings, progress) as run:
        verdict = judge_run(run).verdict
    settings.workspace.point_latest(run.folder)
    if settings.timings:
        progress.note(progress.timings())
    return print_verdict(run.folder, verdict, run.record.replay)


@dataclass(frozen=True)
class Judged:
    """A run that was judged: whether it is ``whole``, not interrupted, and what its guests ran
    with, where it came so far."""

    verdict: Verdict
    whole: bool
    bench: Bench | None


def judge_run(run: Run) -> Judged:
    """Run all stages, and write the run's record and outputs. What goes wrong is evidence, too,
    unless what was asked for cannot be done (of one branch among several it is)."""
    verdict, whole, bench = None, True, None
    try:
        bench = prepare_guests(run)
        verdict = run_suite(run, bench)
    except (PatchError, BuildError) as error:
        run.progress.note(str(error))
        if isinstance(error, PatchError) and not _is_told(run):
            _note_refused(run, error)
        elif not _is_told(run):
            _note_trouble(run, error.stage, error.text)
    except StageError as error:
        if error.asked and not run.branch:
            raise
        run.progress.note(str(error))
        _note_trouble(run, error.stage, error.text)
    except KeyboardInterrupt as signal:
        _note_trouble(run, "pipeline", f"interrupted ({signal})" if str(signal) else "interrupted")
        whole = False
    except Exception as error:
        _note_trouble(run, "pipeline", describe(error))
        (log := run.folder / "traceback.log").write_text(
            "".join(traceback.format_exception(error)), encoding="utf-8"
        )
        run.progress.note(f"pipeline: {describe(error)} (log: {log})")
    spent = run.progress
    run.record = replace(run.record, durations_s=spent.durations_s, cpu_s=spent.cpu_s)
    stored.save_run(run.folder, run.record)
    report = stored.write_reports(run.folder, run.record, run.recorded_guests, verdict)
    return Judged(report.verdict, whole, bench)


def _note_trouble(run: Run, stage: str, text: str) -> None:
    run.record = replace(run.record, troubles=(*run.record.troubles, Trouble(stage, text)))


def _note_refused(run: Run, error: PatchError) -> None:
    """The patch that cannot be taken as it came, before any tree was there to put it on."""
    words = (error.patch, "the series as it came", "", PatchStatus.REFUSED)
    run.record = replace(run.record, patches=(PatchRow(*words, State.FAIL, error.text),))


def _is_told(run: Run) -> bool:
    """Whether a row of the record already says that a patch or a build is at fault."""
    states = [row.state for row in run.record.patches]
    states += [state for row in run.record.builds for state in (row.base, row.patched)]
    return State.FAIL in states


def show_run(folder: Path) -> ExitCode:
    """Rebuild the reports of a stored run and print the summary; the verdict's exit code."""
    report = stored.judge_stored(folder)
    return print_verdict(folder, report.verdict, report.record.replay)


def print_verdict(folder: Path, verdict: Verdict, replay: str) -> ExitCode:
    """Print the summary of a run whose reports are written; the verdict's exit code."""
    width = shutil.get_terminal_size().columns
    color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    where = os.path.relpath(folder)
    text = summary.console_text(verdict, width=width, color=color, where=where, replay=replay)
    print(text, end="")
    outputs.add_job_summary(folder)
    return verdict.exit_code


def apply_series(settings: Settings, progress: Progress) -> ExitCode:
    """Make the trees; 2 where a patch conflicts, whose words have been shown."""
    with new_run(settings, progress) as run:
        series = stages.load_series(run)
        trees = stages.derive_trees(run, series, stages.fetch_source(run, series))
    for side, made in (
        ("shipped", trees.shipped),
        ("base", trees.base),
        ("patched", trees.patched),
    ):
        print(f"{side}: tree {made.tree_id}, commit {made.commit} of {made.source.slot / 'src'}")
    if trees.conflict and not trees.conflict.at_fault:
        raise trees.conflict.error()
    return trees.conflict.exit_code if trees.conflict else ExitCode.ACCEPTED


def _run_part(
    name: str, settings: Settings, progress: Progress, work: Callable[[Run], object]
) -> ExitCode:
    """A part of the way into a folder of results; what the patches are to blame for is exit code 2,
    as in validate."""
    try:
        with new_run(settings, progress) as run:
            work(run)
    except BuildError as error:
        if any(row.base is State.FAIL for row in run.record.builds):
            message = f"base does not build, so nothing is known of the series:\n{error.message}"
            raise StageError(error.stage, message, log=error.log) from None
        print(marked_lines(str(error), "rejected: "), file=sys.stderr)
        return ExitCode.BROKEN
    print(f"{name}: done, logs in {run.folder}", flush=True)
    return ExitCode.ACCEPTED


def fetch_only(settings: Settings, progress: Progress) -> ExitCode:
    """The kernel's source."""

    def work(run: Run) -> None:
        stages.fetch_source(run, stages.load_series(run))

    return _run_part("fetch", settings, progress, work)


def build_only(settings: Settings, progress: Progress) -> ExitCode:
    """Both kernels and their selftests."""

    def work(run: Run) -> None:
        series, config = stages.load_series(run), stages.choose_config(run)
        tools = stages.find_tools(run)
        trees = stages.derive_trees(run, series, stages.fetch_source(run, series))
        stages.demand_whole(trees)
        suite = stages.choose_suite(run, series, trees)
        stages.build_sides(run, trees, suite, tools, config)

    return _run_part("build", settings, progress, work)


def make_image(settings: Settings, progress: Progress) -> ExitCode:
    """All that a guest needs, and no guest."""
    return _run_part("image", settings, progress, prepare_guests)


def run_only(settings: Settings, progress: Progress) -> ExitCode:
    """The guests, without a verdict."""
    return _run_part("run", settings, progress, lambda run: run_suite(run, prepare_guests(run)))


def open_shell(settings: Settings, progress: Progress) -> ExitCode:
    """An interactive shell in the patched guest, on this terminal."""
    with new_run(settings, progress) as run:
        bench = prepare_guests(run)
    mode, folder = bench.mode, run.folder / "shell"
    if mode.name == "virtual":
        # In virtual time the guest's clock runs on while it waits for a key.
        mode = Mode("tcg", f"a shell waits for people; {mode.why}")
    progress.note(f"the kernel's log: {folder / 'kernel.log'}")
    script = bench.suite.new[0]
    kernel, image = bench.kernel(Side.PATCHED, script), bench.image(Side.PATCHED, script)
    code = vm.open_shell(kernel, image, script, mode, settings.workspace, folder)
    return ExitCode.ACCEPTED if code in (0, 255) else ExitCode.UNKNOWN
