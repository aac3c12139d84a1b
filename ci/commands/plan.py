# SPDX-License-Identifier: GPL-2.0-only
"""What each branch needs of a series and how it gets it, found out without building anything."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from ci.base.errors import StageError
from ci.base.exit_codes import ExitCode
from ci.base.git import Git
from ci.base.progress import Progress
from ci.base.records import to_json
from ci.base.settings import Settings
from ci.base.sides import Side
from ci.base.text import printable
from ci.commands.branches import Branch
from ci.commands.shards import choose_suite, deal_loads, forecast_line, list_loads
from ci.report.branches import BranchPlan, PatchPlan, plan_table
from ci.series.locate import bring_series
from ci.series.patches import Series
from ci.suites import selection
from ci.trees.derived import recall_trees
from ci.trees.fetch import fetch_source
from ci.trees.source import Source
from ci.trees.states import PatchState
from ci.trees.tree import Trees

REACH_S = 10.0
MAX_SHARDS = 64


@dataclass(frozen=True)
class BranchTrees:
    """A branch with its trees; ``trouble`` says why there are none. ``spec`` is the source that was
    taken, as ``--source`` takes it."""

    name: str
    spec: str = ""
    source: Source | None = None
    trees: Trees | None = None
    trouble: str = ""

    @property
    def plan(self) -> BranchPlan:
        """What the branch needs, for people and files."""
        states = self.trees.states if self.trees else ()
        return BranchPlan(
            name=self.name,
            source=self.spec,
            version=self.source.name if self.source else "",
            trouble=self.trouble,
            affected=self.affected,
            patches=tuple(map(_patch_plan, states)),
        )

    @property
    def affected(self) -> bool:
        """Whether the branch needs any of the patches."""
        return any(state.affected for state in self.trees.states) if self.trees else False

    @property
    def exit_code(self) -> ExitCode:
        """BROKEN where a patch does not apply, UNKNOWN where it could not be found out."""
        if self.trouble:
            return ExitCode.UNKNOWN
        conflict = self.trees.conflict if self.trees else None
        return conflict.exit_code if conflict else ExitCode.ACCEPTED


def _patch_plan(state: PatchState) -> PatchPlan:
    return PatchPlan(
        number=state.patch.number,
        title=state.patch.title,
        digest=state.patch.digest,
        affected=state.affected,
        status=state.words,
        on_base=state.form or state.words,
        why=state.why,
    )


@dataclass(frozen=True)
class MatrixJob:
    """A job of a CI matrix: a branch, a part of its suite, the command that runs it."""

    branch: str
    source: str
    suite: str
    shard: str
    command: str


@dataclass(frozen=True)
class Matrix:
    """What ``--format json`` prints."""

    include: tuple[MatrixJob, ...]
    branches: tuple[BranchPlan, ...]


class Reach:
    """Which repositories answer: each is asked once, for as long as ten seconds."""

    def __init__(self, settings: Settings, progress: Progress) -> None:
        self.git, self.progress = Git(settings.workspace.root, "plan"), progress
        self.known: dict[str, str] = {}

    def trouble(self, url: str) -> str:
        """Why a repository cannot be reached, empty where it can."""
        if url not in self.known:
            self.known[url] = self._ask(url)
            if self.known[url]:
                self.progress.note(self.known[url])
        return self.known[url]

    def _ask(self, url: str) -> str:
        try:
            asked = self.git.ask(
                "ls-remote", "--exit-code", "--", url, "HEAD", ok=None, timeout_s=REACH_S
            )
        except StageError:
            return f"{url}: no answer within {REACH_S:.0f} s"
        if asked.returncode in (0, 2):  # 2: it answers, and has no such ref
            return ""
        reasons = [line for line in asked.stderr.splitlines() if line.startswith("fatal: ")]
        return f"{url}: {reasons[0] if reasons else 'it does not answer'}"


def plan_branches(
    settings: Settings, wanted: Series, branches: Sequence[Branch], progress: Progress
) -> tuple[BranchTrees, ...]:
    """The branches in their order; one that cannot be had is a row with its trouble."""
    reach = Reach(settings, progress)
    with progress.stage("plan", f"{wanted.name} on {len(branches)} branches"):
        plans = []
        for branch in branches:
            progress.update(f"plan: {branch.name}")
            plans.append(_one(settings, wanted, branch, reach, progress))
        return tuple(plans)


def _one(
    settings: Settings, wanted: Series, branch: Branch, reach: Reach, progress: Progress
) -> BranchTrees:
    """The first of the branch's sources that can be had."""
    tries = []
    for spec in branch.sources:
        kind, _, rest = spec.partition(":")
        try:
            if kind == "git" and (trouble := reach.trouble(rest.rpartition("@")[0])):
                raise StageError("plan", trouble)
            found = fetch_source(replace(settings, source=spec, tree=None), wanted, progress)
            with settings.workspace.lock(f"trees-{found.slot.name}", stage="plan"):
                words = (settings.workspace, wanted, found, settings.without)
                trees = recall_trees(*words, adapt=settings.adapt)
                return BranchTrees(branch.name, spec, found, trees)
        except StageError as error:
            tries.append(error.message.splitlines()[0])
    return BranchTrees(branch.name, trouble="; ".join(tries) or "it has no source of this kind")


def show_plan(
    settings: Settings,
    progress: Progress,
    branches: Sequence[Branch],
    *,
    on: str = "",
    form: str = "text",
    shards: int = 1,
) -> ExitCode:
    """Print the plan; 2 where a patch does not apply somewhere, 3 where nothing but trouble was
    found out."""
    for option, given, there in (("on", on, ("", Side.BASE)), ("format", form, ("text", "json"))):
        if given not in there:
            raise StageError(
                "options", f"--{option} {given}: there is {' and '.join(filter(None, there))}"
            )
    if not 1 <= shards <= MAX_SHARDS:
        raise StageError("options", f"--shards {shards}: give a number from 1 to {MAX_SHARDS}")
    loaded = bring_series(settings, progress)
    settings = replace(settings, series=loaded.spec)
    plans = plan_branches(settings, loaded, branches, progress)
    if form == "json":
        print(matrix_text(settings, loaded, plans, shards))
    else:
        rows = [one.plan for one in plans]
        print(plan_table(rows, loaded.titles, on_base=on == Side.BASE), end="")
        for line in _forecasts(settings, loaded, plans, shards) if shards > 1 else ():
            print(printable(line))
    codes = {plan.exit_code for plan in plans}
    if ExitCode.BROKEN in codes:
        return ExitCode.BROKEN
    return ExitCode.UNKNOWN if codes == {ExitCode.UNKNOWN} else ExitCode.ACCEPTED


def matrix_text(
    settings: Settings, series: Series, plans: Sequence[BranchTrees], shards: int
) -> str:
    """JSON that a CI matrix takes: ``include`` holds a row a job, one for each affected branch and
    shard of its suite, with the command that runs it; ``branches`` the whole plan."""
    jobs = []
    for plan in plans:
        if not (plan.trees and plan.affected):
            continue
        for number, names in enumerate(_shards(settings, series, plan.trees, shards), 1):
            words = replace(settings, source=plan.spec).command("validate", suite=names)
            command = words.replace("inv", "ci/bootstrap.sh", 1)
            jobs.append(MatrixJob(plan.name, plan.spec, names, f"{number}/{shards}", command))
    return to_json(Matrix(tuple(jobs), tuple(plan.plan for plan in plans))).rstrip("\n")


def _shards(settings: Settings, series: Series, trees: Trees, shards: int) -> list[str]:
    """The suite as so many words for ``--suite``, of about the same length."""
    if shards == 1:
        return [selection.choose_name(settings.suite, series.suite)]
    suite = choose_suite(settings, series, trees)
    dealt = deal_loads(list_loads(suite, settings), shards)
    return [suite.words_for([load.script for load in shard]) for shard in dealt]


def _forecasts(
    settings: Settings, series: Series, plans: Sequence[BranchTrees], shards: int
) -> Iterator[str]:
    """How long the guests of each branch would take."""
    for plan in plans:
        if plan.trees and plan.affected:
            suite = choose_suite(settings, series, plan.trees)
            if loads := list_loads(suite, settings):
                yield f"{plan.name}: {forecast_line(suite, loads, shards)}"
