"""Base and patched trees of a series, made by taking it out of the shipped tree and putting it on.

All of it happens in a git index of its own: no work tree is touched, so nothing is left dirty by a patch that
does not apply. ``git apply`` is strict: every context line has to match, only line numbers may differ.
"""

import contextlib
import re
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ci.errors import PatchError, StageError
from ci.facts import Version
from ci.git import Git
from ci.series import EDITED, Patch, Series
from ci.source import Source
from ci.workspace import Workspace


@dataclass(frozen=True)
class Tree:
    """One commit of the source's repository; ``tree_id`` is git's id of its content."""

    source: Source
    commit: str
    tree_id: str
    version: Version

    @contextlib.contextmanager
    def checked_out(self, workspace: Workspace) -> Iterator[None]:
        """The source's work tree holds this commit inside, under a lock; only files that differ are written."""
        with workspace.lock(f"work-{self.source.slot.name}", stage="build", timeout_s=4 * 3600):
            for stale in (self.source.slot / "src/.git").glob("*.lock"):
                stale.unlink()  # left by a git that was killed; nobody else works here while we hold the lock
            self.source.git.run("checkout", "-q", "--force", "--detach", self.commit)
            yield

    def subtree(self, *paths: str) -> dict[str, str]:
        """Git ids of the named entries, of the top level for none (``dir/`` is what is in it); missing: left out."""
        rows = self.source.git.run("ls-tree", "-z", self.commit, "--", *paths).stdout.split("\0")
        return {row.partition("\t")[2]: row.split()[2] for row in rows if row}


@dataclass(frozen=True)
class PatchState:
    """What became of one patch: ``applies``, ``applies as backport``, ``already there``, ``not affected``,
    ``left out``, ``not tried`` or ``conflicts``; ``form`` is which of the first two holds on base, ``on_patched`` tells
    whether the patched tree carries it."""

    patch: Patch
    status: str
    on_patched: bool = False
    why: str = ""
    form: str = ""


@dataclass(frozen=True)
class Trees:
    """The three trees of a run. Without a ``conflict``, patched is complete; it is a :class:`PatchError` where a patch does
    not apply, and no more than a :class:`StageError` where the tree has one in a form that can not be taken out."""

    shipped: Tree
    base: Tree
    patched: Tree
    states: tuple[PatchState, ...]
    conflict: StageError | None = None


class _Index:
    """A git index in a temporary file, on which patches are tried."""

    def __init__(self, git: Git, file: Path, commit: str) -> None:
        self.git, self.env = git, {"GIT_INDEX_FILE": str(file)}
        git.run("read-tree", commit, env=self.env)

    def apply(self, patch: Patch, *, reverse: bool = False) -> str:
        """Apply whole or not at all; git's words when it does not, else an empty string."""
        words = ["apply", "--cached", "--whitespace=nowarn", *(["--reverse"] if reverse else []), "-"]
        done = self.git.run(*words, stdin=patch.diff, env=self.env, ok=None)
        return "" if done.returncode == 0 else done.stderr.strip() or "git apply failed without a word"

    def write(self) -> str:
        """Git id of the tree."""
        return self.git.line("write-tree", env=self.env)


def version_of(git: Git, commit: str) -> Version:
    """``(6, 12)`` from the tree's top Makefile; a :class:`StageError` when this is no kernel tree."""
    shown = git.run("show", f"{commit}:Makefile", ok=None).stdout
    numbers = [re.search(rf"^{name} = (\d+)$", shown, re.M) for name in ("VERSION", "PATCHLEVEL")]  # VERSION = 6
    if not all(numbers):
        raise StageError("apply", f"commit {commit[:12]} is no kernel tree: its Makefile has no VERSION and PATCHLEVEL")
    return int(numbers[0][1]), int(numbers[1][1])  # type: ignore[index]


def explain(patch: Patch, said: str, *, reverse: bool = False) -> str:
    """Git's words on a patch that does not apply, with the hunk that each ``patch failed: FILE:LINE`` means."""
    lines = []
    for line in said.splitlines():
        lines.append(line)
        failed = re.match(r"error: patch failed: (.+):(\d+)$", line)  # error: patch failed: net/mptcp/pm.c:12
        if failed:
            lines += [f"  {hunk}" for hunk in _hunk(patch, failed[1], int(failed[2]), reverse)]
    return "\n".join(lines)


def _hunk(patch: Patch, file: str, start: int, reverse: bool) -> Iterable[str]:
    """``hunk 2 of FILE: @@ ... @@`` for the hunk of ``file`` that begins at line ``start`` of its old side."""
    inside, number = False, 0
    for line in patch.diff.splitlines():
        if line.startswith("diff --git "):
            inside, number = line.endswith(f" b/{file}"), 0
        found = re.match(r"@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@", line)  # @@ -10,6 +10,9 @@ int f(void)
        if inside and found:
            number += 1
            if int(found[2 if reverse else 1]) == start:
                yield f"hunk {number} of {file}: {line}"


def _folder_of(series: Series, version: Version) -> Path:
    return series.folder / "backports" / ".".join(map(str, version))


# Lines shorter than this say too little of where they come from: "return 0;"
TELLING = 16


def moved(git: Git, commit: str, patch: Patch) -> str:
    """Where the tree has what the patch adds, when all of it is in the folders of the files that the patch changes:
    ``net/mptcp/pm_kernel.c:410``; empty where a line is missing, or the patch adds too little to tell."""
    added: dict[str, None] = {}
    for line in patch.diff.partition("diff --git ")[2].splitlines():
        if line.startswith("+") and not line.startswith("+++") and len(line[1:].strip()) >= TELLING:
            added[line[1:].strip()] = None
    folders = sorted({str(Path(name).parent) for name in patch.files})
    places: dict[str, None] = {}
    for line in added:
        found = git.run("grep", "-nF", "-e", line, commit, "--", *folders, ok=(0, 1)).stdout.partition("\n")[0]
        if not found:
            return ""
        places[":".join(found.split(":")[1:3])] = None
    return ", ".join(places) if len(added) > 1 else ""


def _commit(git: Git, tree_id: str, parent: str, message: str) -> str:
    return git.line("commit-tree", tree_id, "-p", parent, "-m", message)


def unaffected(series: Series, git: Git, commit: str, version: Version) -> Mapping[int, str]:
    """Patch number -> why the tree does not need it. What the code says wins over the version: a stable branch may have
    got, or lost, what the patch fixes. A patch that depends on one that is not needed is not needed either."""
    spared: dict[int, str] = {}
    sought = {patch.introduced for patch in series.patches if patch.introduced}
    there = {
        (path, text): git.run("grep", "-qF", "-e", text, commit, "--", path, ok=(0, 1)).returncode == 0
        for path, text in sought
    }
    for patch in series.patches:
        reasons = []
        older = patch.since is not None and version < patch.since
        if older:
            reasons.append(f"the tree is older than v{'.'.join(map(str, patch.since or ()))}")
        if patch.introduced:
            path, text = patch.introduced
            older = not there[patch.introduced]
            if older:
                reasons.append(f"there is no {text} in its {path}")
        needed = [number for number in patch.depends if number in spared]
        if older or needed:
            reasons += [f"it depends on patch {number}, which is not needed" for number in needed]
            spared[patch.number] = ", and ".join(reasons)
    return spared


def derive(series: Series, source: Source, without: frozenset[int]) -> Trees:
    """Base is ``source`` minus what it carries of the affected patches (last first), patched is base plus the
    series in order, minus ``without``. A patch that can be neither put on nor taken out ends as ``conflict``."""
    git = source.git
    unknown = without - {patch.number for patch in series.patches}
    if unknown:
        raise StageError("options", f"--without {','.join(map(str, sorted(unknown)))}: the series has patches "
                         f"{series.patches[0].number} to {series.patches[-1].number}")  # fmt: skip
    version = version_of(git, source.commit)
    spared = unaffected(series, git, source.commit, version)
    affected = [patch for patch in series.patches if patch.number not in spared]
    shipped = Tree(source, source.commit, git.line("rev-parse", f"{source.commit}^{{tree}}"), version)
    with tempfile.TemporaryDirectory() as scratch:
        index = _Index(git, Path(scratch) / "index", source.commit)
        there: dict[int, tuple[str, Patch]] = {}
        refusals: dict[int, str] = {}
        for patch in reversed(affected):
            for how, form in series.merged_forms(patch, version):
                said = index.apply(form, reverse=True)
                if not said:
                    there[patch.number] = how, form
                    break
                refusals.setdefault(patch.number, explain(form, said, reverse=True))
        tree_id = index.write()
        base = shipped
        if tree_id != shipped.tree_id:
            base = replace(
                shipped,
                commit=_commit(git, tree_id, source.commit, "base: series taken out"),
                tree_id=tree_id,
            )
        patched, states, conflict, blocked = base, [], None, 0
        for patch in series.patches:
            state, said = _put_on(index, series, patch, version, there, without, spared, blocked)
            states.append(state)
            blocked = blocked or (patch.number if said else 0)
            if said and not conflict and (where := moved(git, source.commit, patch)):
                states[-1] = PatchState(patch, "already there", why=f"in another form: {where}")
                conflict = StageError("apply", f"the tree has patch {patch.number} in another form ({where}), so it can not "
                                      f"be taken out; put that form into {_folder_of(series, version)}")  # fmt: skip
            if said and not conflict:
                also = refusals.get(patch.number, "")
                also = f"\nnor is it in the tree already; taking it out fails too:\n{also}" if also else ""
                what = f'patch {patch.number} ({patch.path.name}, "{patch.title}")'
                conflict = PatchError("apply", f"{what} does not apply:\n{said}{also}", patch=patch.number)
        if any(state.on_patched for state in states):
            tree_id = index.write()
            titles = "".join(f"{state.patch.title}\n" for state in states if state.on_patched)
            commit = _commit(git, tree_id, base.commit, f"patched: series put on\n\n{titles}")
            patched = replace(base, commit=commit, tree_id=tree_id)
    for side, tree in (("base", base), ("patched", patched)):
        git.run("update-ref", f"refs/{side}", tree.commit)
    return Trees(shipped, base, patched, tuple(states), conflict)


def _put_on(
    index: _Index,
    series: Series,
    patch: Patch,
    version: Version,
    there: dict[int, tuple[str, Patch]],
    without: frozenset[int],
    spared: Mapping[int, str],
    blocked: int,
) -> tuple[PatchState, str]:
    """Put one patch on the index; its state, and git's words where it conflicts."""
    if patch.number in spared:
        return PatchState(patch, "not affected", why=spared[patch.number]), ""
    if patch.number in without:
        return PatchState(patch, "left out", why="--without"), ""
    if blocked:
        return PatchState(patch, "not tried", why=f"patch {blocked} conflicts"), ""
    refused = ""
    was, taken_out = there.get(patch.number, ("", patch))
    again = was and was != EDITED
    for how, form in ((was, taken_out),) if again else series.forms(patch, version):
        said = index.apply(form)
        if not said:
            why = "the tree has it as it was before it was edited" if was == EDITED else ""
            return PatchState(patch, "already there" if again else how, on_patched=True, why=why, form=how), ""
        refused += ("\n" if refused else "") + explain(form, said)
    return PatchState(patch, "conflicts", why=refused), refused
