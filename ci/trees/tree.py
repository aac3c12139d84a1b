# SPDX-License-Identifier: GPL-2.0-only
"""Base and patched trees of a series, made by taking it out of the shipped tree and putting it on.

All of it happens in a git index of its own (:mod:`ci.trees.index`): no work tree is touched, so
nothing is left dirty by a patch that does not apply. :mod:`ci.trees.states` goes through the
patches, :mod:`ci.trees.carry` does it for one.
"""

import contextlib
import os
import re
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ci.base.errors import PatchError, StageError
from ci.base.exit_codes import ExitCode
from ci.base.git import Git, remove_stale
from ci.base.sides import SIDES, Side
from ci.base.workspace import Workspace
from ci.series.diff import file_names, parse_diff
from ci.series.manifest import Version
from ci.series.patch import Patch
from ci.series.patches import Series
from ci.series.status import PatchStatus
from ci.trees import guard
from ci.trees.index import Index
from ci.trees.source import Source
from ci.trees.states import PatchState, Replay

LONG_AGO = 946_684_800  # 2000-01-01
HISTORY = 1000  # commits: more than a series has patches
# Sources of which a build makes nothing but objects of the kernel: no program that it runs, no rule
# of make's, no header that it generates for such a program.
INERT = re.compile(
    r"(?:net|include/net|include/trace/events)/(?:[\w.+-]+/)*[\w+-]+\.[ch]"
    r"|include/(?:uapi/)?linux/(?:inet|mptcp|net|skbuff|sock|tcp)[\w-]*\.h"
    r"|(?:Documentation|tools/testing)/.*"
    r"|MAINTAINERS"
)


@dataclass(frozen=True)
class Tree:
    """One commit of the source's repository; ``tree_id`` is git's id of its content. ``ground`` is
    the tree that is trusted, where it is another: its builds begin with what is left of those of
    the ground. ``inert``: what makes it differ from the ground is compiled, and has no say in how
    a kernel is built."""

    source: Source
    commit: str
    tree_id: str
    version: Version
    ground: "Tree | None" = None
    inert: bool = False

    @contextlib.contextmanager
    def checked_out(self, workspace: Workspace) -> Iterator[None]:
        """The source's work tree holds this commit inside, under a lock; only files that differ are
        written. They are dated long ago: to make, no source is new but those that
        :mod:`ci.kernel.objects` dates so, as they differ from what the objects were made of."""
        with workspace.lock(f"work-{self.source.slot.name}", stage="build", timeout_s=4 * 3600):
            remove_stale(self.source.slot / "src/.git", "*.lock")
            git, src = self.source.git, self.source.slot / "src"
            git.run("update-index", "-q", "--refresh", ok=(0, 1))
            words = ("--name-only", "--no-renames", "-z", self.commit)
            written = git.run("diff-index", *words).stdout.split("\0")
            git.run("checkout", "-q", "--force", "--detach", self.commit)
            for name in filter(None, written):
                if os.path.lexists(src / name):
                    os.utime(src / name, (LONG_AGO, LONG_AGO), follow_symlinks=False)
            # what a build without the sandbox, or a user, has left among the sources
            self.source.git.run("clean", "-q", "-ffdx")
            yield

    def subtree(self, *paths: str) -> dict[str, str]:
        """Git ids of the named entries; see :meth:`ci.base.git.Git.entries`."""
        return dict(self.source.git.entries(self.commit, *paths))

    def with_commit(self, commit: str) -> "Tree":
        """Another commit on the same ground."""
        tree_id = self.source.git.line("rev-parse", f"{commit}^{{tree}}")
        return _on_ground(replace(self, commit=commit, tree_id=tree_id), self.ground or self)

    def with_file(self, name: str, text: str | None) -> "Tree":
        """The tree with a file's text, ``None`` to remove it. The lock of the slot's trees is the
        caller's."""
        git = self.source.git
        with tempfile.TemporaryDirectory() as scratch:
            index = Index(git, Path(scratch) / "index", self.tree_id)
            if text is None:
                git.run("update-index", "--force-remove", "--", name, env=index.env)
            else:
                blob = git.run("hash-object", "-w", "--stdin", stdin=text).stdout.strip()
                rows = git.run("ls-tree", self.commit, "--", name).stdout.split()
                row = f"{rows[0] if rows else '100644'},{blob},{name}"
                git.run("update-index", "--add", "--cacheinfo", row, env=index.env)
            made = index.write()
        return self.with_commit(_commit(git, made, self.commit, f"with another {name}"))


@dataclass(frozen=True)
class Conflict:
    """What keeps the patched tree from being whole: the numbers of the ``patches``, and why.
    ``at_fault`` tells whether it is the series' fault, as they do not apply; else the tree has them
    in a form that cannot be taken out, and nothing can be found out on it.
    """

    patches: tuple[int, ...]
    text: str
    at_fault: bool

    @property
    def exit_code(self) -> ExitCode:
        """What it calls for."""
        return ExitCode.BROKEN if self.at_fault else ExitCode.UNKNOWN

    def error(self) -> PatchError | StageError:
        """The conflict as what a stage that needs a whole patched tree raises."""
        if self.at_fault:
            return PatchError("apply", self.text, patch=self.patches[0])
        return StageError("apply", self.text)


@dataclass(frozen=True)
class Trees:
    """The three trees of a run. Without a ``conflict``, patched is complete."""

    shipped: Tree
    base: Tree
    patched: Tree
    states: tuple[PatchState, ...]
    conflict: Conflict | None = None
    notes: tuple[str, ...] = ()


def version_of(git: Git, commit: str) -> Version:
    """``(6, 12)`` from the tree's top Makefile; a :class:`StageError` when this is no kernel
    tree."""
    shown = git.text(commit, "Makefile") or ""
    numbers = [
        re.search(rf"^{name} = (\d+)$", shown, re.M) for name in ("VERSION", "PATCHLEVEL")
    ]  # VERSION = 6
    if not all(numbers):
        raise StageError(
            "apply",
            f"commit {commit[:12]} is no kernel tree: its Makefile has no VERSION and PATCHLEVEL",
        )
    return int(numbers[0][1]), int(numbers[1][1])  # type: ignore[index]


def _commit(git: Git, tree_id: str, parent: str, message: str) -> str:
    return git.line("commit-tree", tree_id, "-p", parent, "-m", message)


@dataclass(frozen=True)
class Outcome:
    """What a series came to: the commits of base and patched, and each patch's state."""

    base: str
    patched: str
    states: tuple[PatchState, ...]
    notes: tuple[str, ...] = ()


def derive_trees(
    series: Series, source: Source, without: frozenset[int], *, adapt: bool = False
) -> Trees:
    """Base is ``source`` minus what it carries of the affected patches (last first), patched is
    base plus the series in order, minus ``without``. What can be neither put on nor taken out is in
    ``conflict``; the others are tried all the same. With ``adapt``, a patch that does not apply as
    it is may be put on adapted. The lock of the slot's trees is the caller's."""
    prepare_source(source)
    return trees_of(replay_series(series, source, without, adapt=adapt), source)


def prepare_source(source: Source) -> None:
    """Remove what a git that was killed has left, and let no file of a tree say how git reads it:
    before trees are made."""
    left = (*(f"refs/{side}.lock" for side in SIDES), "objects/*/tmp_obj_*")
    remove_stale(source.slot / "src/.git", *left)
    source.overrule_attributes()


def replay_series(
    series: Series, source: Source, without: frozenset[int], *, adapt: bool
) -> Outcome:
    """Make base and patched; see :func:`derive_trees`."""
    _check_numbers(series, without)
    git, version = source.git, version_of(source.git, source.commit)
    shipped = git.line("rev-parse", f"{source.commit}^{{tree}}")
    with tempfile.TemporaryDirectory() as scratch:
        index = Index(git, Path(scratch) / "index", shipped)
        replay = Replay(series, source, version, index, adapt=adapt)
        states = _checked(git, replay, replay.patch_states(without))
    base = source.commit
    if replay.base != shipped:
        base = _commit(git, replay.base, source.commit, "base: series taken out")
    patched = base
    if any(state.on_patched for state in states):
        titles = "".join(f"{state.patch.title}\n" for state in states if state.on_patched)
        patched = _commit(git, replay.index.tree, base, f"patched: series put on\n\n{titles}")
    return Outcome(base, patched, tuple(states), tuple(replay.history.notes))


def trees_of(outcome: Outcome, source: Source) -> Trees:
    """The three trees of an outcome, and what they stand on."""
    git, version = source.git, version_of(source.git, source.commit)
    shipped, base, patched = (
        Tree(source, commit, git.line("rev-parse", f"{commit}^{{tree}}"), version)
        for commit in (source.commit, outcome.base, outcome.patched)
    )
    for side, tree in ((Side.BASE, base), (Side.PATCHED, patched)):
        git.run("update-ref", f"refs/{side}", tree.commit)
    ground = _trusted(git, shipped, base)
    base, patched = (_on_ground(one, ground) for one in (base, patched))
    conflict = _conflict(outcome.states)
    return Trees(shipped, base, patched, outcome.states, conflict, outcome.notes)


def _checked(git: Git, replay: Replay, states: list[PatchState]) -> list[PatchState]:
    """The states, where what became of the tree breaks no rule; else the patch that does it, the
    last that has the file, is refused."""
    for before, after in ((replay.shipped, replay.base), (replay.base, replay.index.tree)):
        breach = guard.find_breach(git, before, after) if before != after else None
        if breach:
            named = [state for state in states if breach.path in _touched(state.patch)]
            blamed = (named or states)[-1]
            refused = replace(blamed, status=PatchStatus.REFUSED, on_patched=False, why=breach.why)
            return [refused if state is blamed else state for state in states]
    return states


def _touched(patch: Patch) -> set[str]:
    return set(file_names(parse_diff(patch.diff)))


def _trusted(git: Git, shipped: Tree, base: Tree) -> Tree:
    """What a user trusts: the tree as it came. Where the series was taken out of that, and what is
    left was a commit of its history, that commit: then the series is what came after it."""
    history = git.run("log", f"-{HISTORY}", "--format=%T", shipped.commit).stdout.split()
    return base if base.tree_id in history else shipped


def _on_ground(tree: Tree, ground: Tree) -> Tree:
    """The tree as one that stands on what is trusted, unless it is just that."""
    if tree.tree_id == ground.tree_id:
        return ground
    changed = tree.source.git.run(
        "diff-tree", "-r", "-z", "--no-renames", ground.tree_id, tree.tree_id
    ).stdout.split("\0")
    # ":100644 100644 3f1b.. f31a.. M", then the name
    kinds = {word for row in changed[:-1:2] for word in row.lstrip(":").split()[:2]}
    inert = kinds <= {"000000", "100644", "100755"} and all(
        INERT.fullmatch(name) for name in changed[1::2]
    )
    return replace(tree, ground=ground, inert=inert)


def _check_numbers(series: Series, without: frozenset[int]) -> None:
    if unknown := without - {patch.number for patch in series.patches}:
        raise StageError(
            "options",
            f"--without {','.join(map(str, sorted(unknown)))}: the series has patches "
            f"{series.patches[0].number} to {series.patches[-1].number}",
        )


def _conflict(states: Sequence[PatchState]) -> Conflict | None:
    """What keeps the series from being whole: patches that do not apply, else those that cannot be
    taken out."""
    verbs = {PatchStatus.CONFLICTS: "does not apply", PatchStatus.REFUSED: "is refused"}
    refused = [state for state in states if state.status in verbs]
    stuck = [
        state for state in states if state.status is PatchStatus.THERE and not state.on_patched
    ]
    if not refused and not stuck:
        return None
    lines = [
        f'patch {state.patch.number} ({state.patch.where}, "{state.patch.title}")'
        f" {verbs[state.status]}:\n{state.why}"
        for state in refused
    ] or [f"the tree has patch {state.patch.number}, {state.why}" for state in stuck]
    numbers = tuple(state.patch.number for state in refused or stuck)
    return Conflict(numbers, "\n".join(lines), at_fault=bool(refused))
