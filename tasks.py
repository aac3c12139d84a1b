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

from invoke import Collection, Program, Task

from ci.base.command_line import make_task, mistake
from ci.base.exit_codes import ExitCode
from ci.base.options import read_budget, seed_range
from ci.base.progress import Progress
from ci.base.settings import Settings
from ci.base.text import marked_lines
from ci.commands import bench as bench_stage
from ci.commands import bisect as bisect_stage
from ci.commands import checks
from ci.commands import doctor as doctor_stage
from ci.commands import plan as plan_stage
from ci.commands import prove as prove_stage
from ci.commands import stable as stable_stage
from ci.commands import validate as validate_stage
from ci.commands import verify as verify_stage
from ci.commands.branches import select_branches

# The options of a task, which ci.base.settings.OPTIONS explains. Their order decides which letter
# is the short form of which.
STAGE = (
    "series tree source without only suite mode seed layout ignore_dirty rerun timings cpus qemu"
    " adapt config no_sandbox"
)


def task(names: str = "") -> Callable[[Callable[..., int | None]], Task[Any]]:
    """A task with the named options: those that it has a parameter for, the others as Settings."""
    return lambda body: make_task(body, names, ROOT)


@task(STAGE)
def fetch(settings: Settings) -> int:
    """Get the kernel source into the cache, and say which one and why."""
    return validate_stage.fetch_only(settings, Progress())


@task(STAGE)
def apply(settings: Settings) -> int:
    """Make the base and the patched tree of the series; shows what became of each patch."""
    return validate_stage.apply_series(settings, Progress())


@task(STAGE)
def build(settings: Settings) -> int:
    """Build both kernels and their selftests."""
    return validate_stage.build_only(settings, Progress())


@task(STAGE)
def image(settings: Settings) -> int:
    """Make the guest's root with the selftests in it."""
    return validate_stage.make_image(settings, Progress())


@task(STAGE)
def run(settings: Settings) -> int:
    """Run the suite on both kernels and show how each script ended; `validate` adds the verdict."""
    return validate_stage.run_only(settings, Progress())


@task(f"{STAGE} allow max_slowdown")
def validate(settings: Settings) -> int:
    """Do everything: does this series do what it says, and break nothing? 0 accepted, 1 or 2
    rejected, 3 unknown."""
    return validate_stage.validate_series(settings, Progress())


@task(f"{STAGE} allow max_slowdown strict budget")
def prove(settings: Settings, strict: bool, budget: str) -> int:
    """Validate, and say of each patch whether the series builds up to it, which case tells when it
    is left out, and of each changed line whether it is compiled, executed and guarded."""
    budget_s = read_budget(budget)
    return prove_stage.prove_series(settings, Progress(), strict=strict, budget_s=budget_s)


@task(STAGE)
def boot(settings: Settings) -> int:
    """An interactive shell in a guest that runs the patched kernel, in the folder of the
    selftests."""
    return validate_stage.open_shell(settings, Progress())


@task(
    "series tree source without only suite seed layout ignore_dirty rerun times seeds adapt config"
    " no_sandbox"
)
def verify(settings: Settings, times: int, seeds: str) -> int:
    """Virtual time keeps its promise: the suite gives the same logs --times times, or is sound over
    --seeds A..B."""
    if seeds:
        return verify_stage.try_seeds(settings, Progress(), seed_range(seeds, "--seeds"))
    return verify_stage.repeat_suite(settings, Progress(), max(times, 2))


@task("tree good bad case selftests mode seed layout rerun timings cpus qemu config no_sandbox")
def bisect(settings: Settings, good: str, bad: str, case: str, selftests: str) -> int:
    """Which commit of --tree made a case fail? git bisects from --good to --bad: 0 found, 3 not."""
    return bisect_stage.find_commit(settings, Progress(), good, bad, case, selftests)


@task("branches series source suite on format shards tree only adapt config")
def plan(settings: Settings, branches: str, source: str, on: str, format: str, shards: int) -> int:
    """What each branch needs of the series, in seconds and without building anything."""
    chosen = select_branches(branches, source or "auto")
    return plan_stage.show_plan(settings, Progress(), chosen, on=on, form=format, shards=shards)


@task(
    "branches series source suite mode seed without only selftests tree rerun timings adapt allow"
    " config no_sandbox max_slowdown"
)
def stable(settings: Settings, branches: str, source: str, selftests: str) -> int:
    """Validate the series on every branch that it affects: one table, one exit code, files for each
    branch."""
    chosen = select_branches(branches, source or "auto")
    return stable_stage.validate_branches(settings, Progress(), chosen, selftests)


@task("source tree mode rows times")
def bench(settings: Settings, rows: str, times: int) -> int:
    """This pipeline against vng with its defaults, measured here and now: an hour or two."""
    return bench_stage.compare_with_vng(settings, Progress(), rows.split(","), max(times, 1))


@task("run")
def report(settings: Settings, run: str) -> int:
    """Rebuild all reports of a stored run (default: results/latest) from its logs, without a
    guest."""
    return validate_stage.show_run(Path(run) if run else settings.workspace.latest())


@task()
def doctor(settings: Settings) -> int:
    """Is this machine fit? Tools, versions, modes, disk, memory; each problem with its remedy."""
    return doctor_stage.report_machine(settings)


@task()
def check() -> int:
    """Format, lint, types, shell scripts."""
    return checks.check_project(ROOT, Progress())


@task("unit long k")
def test(unit: bool, long: bool, k: str) -> int:
    """All checks and tests; with --unit only what takes seconds and boots no guest, with --long
    those of further kernels, too, with --k EXPR pytest's choice."""
    return checks.check_project(ROOT, Progress()) or checks.run_tests(
        ROOT, unit=unit, long=long, choice=k
    )


@task("cache")
def clean(settings: Settings, cache: bool) -> None:
    """Remove all results; with --cache all that was downloaded and built, too. Never touches a tree
    of yours."""
    settings.workspace.clean(cache=cache)


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
