# SPDX-License-Identifier: GPL-2.0-only
"""What each branch needs of a series and how it gets it, found out without building anything."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ci.base.errors import PatchError, StageError
from ci.base.exit_codes import ExitCode
from ci.base.git import Git
from ci.base.progress import Progress
from ci.base.settings import Settings
from ci.base.sides import Side
from ci.base.text import printable
from ci.commands.branches import Branch
from ci.series.locate import bring_series
from ci.series.patches import Series
from ci.suites import selection
from ci.trees.fetch import fetch_source
from ci.trees.source import Source
from ci.trees.states import PatchState
from ci.trees.tree import Trees, derive_trees

REACH_S = 10.0
UNTESTED = "untested"
MAX_SHARDS = 64


@dataclass(frozen=True)
class BranchPlan:
    """A branch with its trees; ``trouble`` says why there are none. ``spec`` is the source that was
    taken, as ``--source`` takes it."""

    name: str
    spec: str = ""
    source: Source | None = None
    trees: Trees | None = None
    trouble: str = ""

    @property
    def states(self) -> tuple[PatchState, ...]:
        """One for each patch, none where the branch could not be had."""
        return self.trees.states if self.trees else ()

    @property
    def affected(self) -> bool:
        """Whether the branch needs any of the patches."""
        return any(state.affected for state in self.states)

    @property
    def exit_code(self) -> ExitCode:
        """BROKEN where a patch does not apply, UNKNOWN where it could not be found out."""
        if self.trouble:
            return ExitCode.UNKNOWN
        conflict = self.trees.conflict if self.trees else None
        return conflict.exit_code if conflict else ExitCode.ACCEPTED


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
        said = [line for line in asked.stderr.splitlines() if line.startswith("fatal: ")]
        return f"{url}: {said[0] if said else 'it does not answer'}"


def of_branches(
    settings: Settings, wanted: Series, branches: Sequence[Branch], progress: Progress
) -> tuple[BranchPlan, ...]:
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
) -> BranchPlan:
    """The first of the branch's sources that can be had."""
    tries = []
    for spec in branch.sources:
        kind, _, rest = spec.partition(":")
        try:
            if kind == "git" and (trouble := reach.trouble(rest.rpartition("@")[0])):
                raise StageError("plan", trouble)
            found = fetch_source(replace(settings, source=spec, tree=None), wanted, progress)
            with settings.workspace.lock(f"trees-{found.slot.name}", stage="plan"):
                return BranchPlan(
                    branch.name,
                    spec,
                    found,
                    derive_trees(wanted, found, settings.without, adapt=settings.adapt),
                )
        except (StageError, PatchError) as error:
            tries.append(error.message.splitlines()[0])
    return BranchPlan(branch.name, trouble="; ".join(tries) or "it has no source of this kind")


def show(
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
    plans = of_branches(settings, loaded, branches, progress)
    if form == "json":
        print(matrix(settings, plans, shards))
    else:
        print(table(plans, loaded, on_base=on == Side.BASE), end="")
    codes = {plan.exit_code for plan in plans}
    if ExitCode.BROKEN in codes:
        return ExitCode.BROKEN
    return ExitCode.UNKNOWN if codes == {ExitCode.UNKNOWN} else ExitCode.ACCEPTED


def word(state: PatchState, *, on_base: bool) -> str:
    """The state of a patch on the branch as it comes, or on its base: the tree with the series
    taken out."""
    return state.form if on_base and state.form else state.words


def table(plans: Sequence[BranchPlan], wanted: Series, *, on_base: bool) -> str:
    """Branches by patches, then the reason of whatever is not plain; lines ended by newlines."""
    head = ["branch", "source", *(str(patch.number) for patch in wanted.patches)]
    rows = [head]
    reasons: list[str] = []
    untested: dict[str, list[str]] = {}
    for plan in plans:
        words = [word(state, on_base=on_base) for state in plan.states] or [UNTESTED] * len(
            wanted.patches
        )
        rows.append([plan.name, plan.source.name if plan.source else "-", *words])
        if plan.trouble:
            untested.setdefault(plan.trouble, []).append(plan.name)
        for state in plan.states:
            if state.why:
                reasons += [
                    f"{plan.name}: patch {state.patch.number}: {line}"
                    for line in state.why.splitlines()[:6]
                ]
    reasons += [f"{', '.join(names)}: {UNTESTED}: {trouble}" for trouble, names in untested.items()]
    # A commit id says no more by being whole.
    rows = [[cell if len(cell) <= 30 else f"{cell[:29]}…" for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    titles = [f"{patch.number}: {patch.title}" for patch in wanted.patches]
    return "".join(
        f"{printable(line)}\n"
        for line in [*lines, "", *titles, *([""] if reasons else []), *reasons]
    )


def matrix(settings: Settings, plans: Sequence[BranchPlan], shards: int) -> str:
    """JSON that a CI matrix takes: ``include`` holds a row a job, one for each affected branch and
    shard of its suite, with the command that runs it; ``branches`` the whole plan."""
    jobs = []
    for plan in plans:
        if not (plan.trees and plan.affected):
            continue
        for number, names in enumerate(_shards(settings, plan.trees, shards), start=1):
            words = replace(settings, source=plan.spec).command("validate", suite=names)
            jobs.append(
                {
                    "branch": plan.name,
                    "source": plan.spec,
                    "suite": names,
                    "shard": f"{number}/{shards}",
                    "command": words.replace("inv", "ci/bootstrap.sh", 1),
                }
            )
    return json.dumps({"include": jobs, "branches": [facts(plan) for plan in plans]}, indent=1)


def facts(plan: BranchPlan) -> Mapping[str, object]:
    """A branch's plan as plain data."""
    return {
        "name": plan.name,
        "source": plan.spec,
        "version": plan.source.name if plan.source else "",
        "trouble": plan.trouble,
        "affected": plan.affected,
        "patches": [
            {
                "number": state.patch.number,
                "title": state.patch.title,
                "digest": state.patch.digest,
                "affected": state.affected,
                "status": state.words,
                "on_base": word(state, on_base=True),
                "why": state.why,
            }
            for state in plan.states
        ],
    }


def _shards(settings: Settings, trees: Trees, shards: int) -> list[str]:
    """The suite as so many words for ``--suite``; scripts are dealt out in turn."""
    name = settings.suite or "default"
    if shards == 1:
        return [name]
    scripts = selection.select(name, trees.base if trees.conflict else trees.patched).scripts
    words = [f"{script.name}:{script.part}" if script.part else script.name for script in scripts]
    return [",".join(words[first::shards]) for first in range(min(shards, len(words)))]
