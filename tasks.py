# SPDX-License-Identifier: GPL-2.0-only
"""Invoke tasks: `inv --list` shows them, `inv --help TASK` the options of one."""

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))

from ci.base import exits

exits.enter(ROOT)

from collections.abc import Callable

from invoke import Collection, Context, Program, Task

from ci.base.command_line import DocumentedTask, mistake
from ci.base.exit_codes import ExitCode
from ci.base.progress import Progress
from ci.base.settings import Settings, make, numbers
from ci.base.text import marked_lines
from ci.commands import bench as bench_stage
from ci.commands import checks
from ci.commands import doctor as doctor_stage
from ci.commands import plan as plan_stage
from ci.commands import stable as stable_stage
from ci.commands import validate as validate_stage
from ci.commands import verify as verify_stage
from ci.commands.branches import select

HELP = {
    "series": (
        "folder of patches or mails, quilt series, maildir, mbox, diff, - (stdin), A..B of --tree,"
        " message-id (default: kernel-patches/deny-join-id0)"
    ),
    "tree": "your own kernel checkout, which is only read",
    "plan tree": "the checkout of which a series A..B is a range",
    "stable tree": "the checkout of which a series A..B is a range",
    "ignore-dirty": "with --tree: take HEAD, leave uncommitted changes out",
    "source": "auto, git:URL@REF or debian:RELEASE[@SUITE] (default: auto)",
    "plan source": "where the branches' kernels come from: auto, git or debian (default: auto)",
    "stable source": "where the branches' kernels come from: auto, git or debian (default: auto)",
    "without": "numbers of patches not to put on, as in 1,3",
    "only": (
        "numbers of the patches that are the series, as in 9 or 1-4, or a message-id that chooses"
        " one of several series"
    ),
    "suite": (
        "smoke, default, full, or scripts and parts such as diag,mptcp_join:d (default: what the"
        " series says)"
    ),
    "mode": "auto, kvm, tcg or virtual (default: auto)",
    "bench mode": "auto, kvm, tcg or virtual (default: virtual)",
    "seed": "in virtual mode: where all random numbers come from (default: 1)",
    "layout": "fixed or random: whether the guest's addresses are drawn, too (default: fixed)",
    "cpus": "virtual CPUs of a guest, not in virtual mode (default: 2)",
    "qemu": (
        "further words for QEMU, such as '-s' for gdb; virtual mode takes only those that change"
        " nothing"
    ),
    "rerun": "run guests even where the record knows the answer",
    "adapt": (
        "put a patch that does not apply as it is on adapted, where it is clear how: a merge, less"
        " context, moved code"
    ),
    "timings": "show wall and CPU seconds of each stage",
    "verify times": "how often (default: 2)",
    "bench times": "how often (default: 3)",
    "rows": "what to measure (default: build,rebuild,boot,smoke,default,scripts)",
    "branches": "all, or names such as 6.1,6.12, or NAME=git:URL@REF (default: all)",
    "on": "base: judge each branch's base, the tree with the series taken out",
    "format": "text or json, which a CI matrix takes (default: text)",
    "shards": "with --format json: so many jobs for each branch (default: 1)",
    "selftests": (
        "own or newest: the branch's scripts, or the newest branch's on all (default: own)"
    ),
    "seeds": "a range such as 1..10: the suite once for each seed",
    "run": "folder of a stored run (default: results/latest)",
    "unit": "only what takes seconds and boots no guest",
    "k": "pytest's choice of tests, as in -k 'series or tree'",
    "cache": "also what was downloaded and built",
}


def task(body: Callable[..., int | None]) -> Task[Any]:
    """A task whose help knows the options that it has."""
    names = [name.replace("_", "-") for name in body.__annotations__]
    texts = {name: HELP.get(f"{body.__name__} {name}") or HELP.get(name, "") for name in names}
    return DocumentedTask(
        exits.guarded(body), help={name: text for name, text in texts.items() if text}
    )


def stage(body: Callable[[Settings], int]) -> Task[Any]:
    """A task with the options of ``validate``; ``body`` gets them as Settings."""

    def run(
        c: Context,
        series: str = "",
        tree: str = "",
        source: str = "",
        without: str = "",
        only: str = "",
        suite: str = "",
        mode: str = "",
        seed: str = "",
        layout: str = "",
        ignore_dirty: bool = False,
        rerun: bool = False,
        timings: bool = False,
        cpus: int = 0,
        qemu: str = "",
        adapt: bool = False,
    ) -> int:
        return body(
            make(
                ROOT,
                series=series,
                tree=tree,
                source=source,
                without=without,
                only=only,
                suite=suite,
                mode=mode,
                seed=seed,
                layout=layout,
                ignore_dirty=ignore_dirty,
                rerun=rerun,
                timings=timings,
                cpus=cpus,
                qemu=qemu,
                adapt=adapt,
            )
        )

    run.__name__, run.__doc__ = body.__name__, body.__doc__
    return task(run)


@stage
def fetch(settings: Settings) -> int:
    """Get the kernel source into the cache, and say which one and why."""
    return validate_stage.fetch_only(settings, Progress())


@stage
def apply(settings: Settings) -> int:
    """Make the base and the patched tree of the series; shows what became of each patch."""
    return validate_stage.apply_series(settings, Progress())


@stage
def build(settings: Settings) -> int:
    """Build both kernels and their selftests."""
    return validate_stage.build_only(settings, Progress())


@stage
def image(settings: Settings) -> int:
    """Make the guest's root with the selftests in it."""
    return validate_stage.make_image(settings, Progress())


@stage
def run(settings: Settings) -> int:
    """Run the suite on both kernels and show how each script ended; `validate` adds the verdict."""
    return validate_stage.run_only(settings, Progress())


@stage
def validate(settings: Settings) -> int:
    """Do everything: does this series do what it says, and break nothing? 0 accepted, 1 or 2
    rejected, 3 unknown."""
    return validate_stage.validate_series(settings, Progress())


@stage
def boot(settings: Settings) -> int:
    """An interactive shell in a guest that runs the patched kernel, in the folder of the
    selftests."""
    return validate_stage.open_shell(settings, Progress())


def _verify(
    c: Context,
    series: str = "",
    tree: str = "",
    source: str = "",
    without: str = "",
    only: str = "",
    suite: str = "",
    seed: str = "",
    layout: str = "",
    ignore_dirty: bool = False,
    rerun: bool = False,
    times: int = 2,
    seeds: str = "",
    adapt: bool = False,
) -> int:
    """Virtual time keeps its promise: the suite gives the same logs --times times, or is sound over
    --seeds A..B."""
    settings = make(
        ROOT,
        series=series,
        tree=tree,
        source=source,
        without=without,
        only=only,
        suite=suite,
        seed=seed,
        layout=layout,
        ignore_dirty=ignore_dirty,
        rerun=rerun,
        adapt=adapt,
    )
    if seeds:
        return verify_stage.try_seeds(settings, Progress(), numbers(seeds, "--seeds"))
    return verify_stage.repeat_suite(settings, Progress(), max(times, 2))


_verify.__name__ = "verify"
verify = task(_verify)


def _bench(
    c: Context,
    source: str = "",
    tree: str = "",
    mode: str = "virtual",
    rows: str = ",".join(bench_stage.ROWS),
    times: int = 3,
) -> int:
    """This pipeline against vng with its defaults, measured here and now: an hour or two."""
    settings = make(ROOT, source=source, tree=tree, mode=mode)
    return bench_stage.bench(settings, Progress(), rows.split(","), max(times, 1))


def _plan(
    c: Context,
    branches: str = "all",
    series: str = "",
    source: str = "",
    suite: str = "",
    on: str = "",
    format: str = "text",
    shards: int = 1,
    tree: str = "",
    only: str = "",
    adapt: bool = False,
) -> int:
    """What each branch needs of the series, in seconds and without building anything."""
    settings = make(ROOT, series=series, tree=tree, suite=suite, only=only, adapt=adapt)
    chosen = select(branches, source or "auto")
    return plan_stage.show_plan(settings, Progress(), chosen, on=on, form=format, shards=shards)


_plan.__name__ = "plan"
plan = task(_plan)


def _stable(
    c: Context,
    branches: str = "all",
    series: str = "",
    source: str = "",
    suite: str = "",
    mode: str = "",
    seed: str = "",
    without: str = "",
    only: str = "",
    selftests: str = "own",
    tree: str = "",
    rerun: bool = False,
    timings: bool = False,
    adapt: bool = False,
) -> int:
    """Validate the series on every branch that it affects: one table, one exit code, files for each
    branch."""
    settings = make(
        ROOT,
        series=series,
        tree=tree,
        suite=suite,
        mode=mode,
        seed=seed,
        without=without,
        only=only,
        rerun=rerun,
        timings=timings,
        adapt=adapt,
    )
    chosen = select(branches, source or "auto")
    return stable_stage.validate_branches(settings, Progress(), chosen, selftests)


_stable.__name__ = "stable"
stable = task(_stable)

_bench.__name__ = "bench"
bench = task(_bench)


@task
def report(c: Context, run: str = "") -> int:
    """Rebuild all reports of a stored run (default: results/latest) from its logs, without a
    guest."""
    workspace = make(ROOT).workspace
    return validate_stage.show_run(Path(run) if run else workspace.latest())


@task
def doctor(c: Context) -> int:
    """Is this machine fit? Tools, versions, modes, disk, memory; each problem with its remedy."""
    return doctor_stage.report(make(ROOT))


@task
def check(c: Context) -> int:
    """Format, lint, types, shell scripts."""
    return checks.check(ROOT, Progress())


@task
def test(c: Context, unit: bool = False, k: str = "") -> int:
    """All checks and tests; with --unit only what takes seconds and boots no guest, with --k EXPR
    pytest's choice."""
    return checks.check(ROOT, Progress()) or checks.test(ROOT, unit=unit, choice=k)


@task
def clean(c: Context, cache: bool = False) -> None:
    """Remove all results; with --cache all that was downloaded and built, too. Never touches a tree
    of yours."""
    make(ROOT).workspace.clean(cache=cache)


class Inv(Program):
    """Invoke with our tasks, once more, so that it is ours to say how it ends."""

    def core_args(self) -> list[Any]:
        """The options of Invoke's own program, which has found these tasks by them."""
        return [*super().core_args(), *self.task_args()]


ns = Collection.from_module(sys.modules[__name__])
if "invoke.main" in sys.modules:

    def main() -> None:
        words = sys.argv[1:] or ["--list"]
        if wrong := mistake(ns, words):
            print(marked_lines(wrong, "error: "), file=sys.stderr)
            raise exits.Ended(ExitCode.UNKNOWN)
        Inv(namespace=ns, name="Invoke", binary="inv[oke]", binary_names=["inv", "invoke"]).run(
            ["inv", *words]
        )

    exits.leave(main)
