# SPDX-License-Identifier: GPL-2.0-only
"""A series that is a range of commits of the user's own tree (``--series A..B --tree DIR``)."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from ci.base.errors import StageError
from ci.base.git import Git, borrow_objects
from ci.base.settings import Settings
from ci.series.documents import MAX_PATCHES, Given
from ci.series.mails import Document
from ci.series.patches import Series, series_of_given


def series_of_range(settings: Settings, first: str, last: str) -> Series:
    """The commits ``first..last`` of ``--tree``, as patches written in a repository of ours without
    its settings."""
    spec, tree = settings.series, settings.tree
    if last.startswith("."):
        raise StageError(
            "series", f"--series {spec}: give A..B; what two branches do not share is no series"
        )
    if not tree:
        raise StageError(
            "series", f"--series {spec}: a range is one of your own tree; name it by --tree"
        )
    user = Git(tree, "series")
    since, until = (_commit_id(user, end, settings) for end in (first, last or "HEAD"))
    with tempfile.TemporaryDirectory() as scratch:
        git = Git(Path(scratch), "series")
        git.run("init", "-q", "--bare")
        borrow_objects(user, Path(scratch))
        base, commits = _commits_between(git, since, until, spec)
        given = _written_patches(git, base, f"{since}..{until}", commits, spec)
        loaded = series_of_given(given, tree, spec, settings.only)
        if not settings.only:
            _check_range(git, loaded, base, until)
        return loaded


def _commit_id(user: Git, name: str, settings: Settings) -> str:
    """The commit that one end of a range names."""
    found = user.run("rev-parse", "--verify", "-q", f"{name}^{{commit}}", ok=None)
    if found.returncode != 0:
        raise StageError(
            "series", f"--series {settings.series}: {name} is no commit of --tree {settings.tree}"
        )
    return found.stdout.strip()


def _commits_between(git: Git, since: str, until: str, spec: str) -> tuple[str, list[str]]:
    """The commit that both ends have in common, and those of the range, the newest first."""
    span = f"{since}..{until}"
    commits = git.line("rev-list", f"--max-count={MAX_PATCHES + 1}", span).split()
    merges = git.line("log", "--merges", "--max-count=3", "--format=%h %s", span).splitlines()
    base = git.run("merge-base", since, until, ok=(0, 1)).stdout.split()
    if merges:
        raise StageError(
            "series",
            f"--series {spec}: the range holds merges, which no patch can say "
            f"({merges[0][:100]}); rebase it, or give a range behind the merge",
        )
    if not commits or len(commits) > MAX_PATCHES or not base:
        what = f"more than {MAX_PATCHES} commits" if commits else "no commit"
        raise StageError(
            "series", f"--series {spec}: {what if base else 'no common history'} in the range"
        )
    return base[0], commits


def _written_patches(git: Git, base: str, span: str, commits: Sequence[str], spec: str) -> Given:
    """The commits of ``span`` as git writes patches."""
    options = "-q -N --zero-commit --no-signature --full-index --binary".split()
    git.run("format-patch", *options, f"--base={base}", "-o", "patches", span)
    paths = sorted((git.folder / "patches").iterdir())
    names = [f"commit {commit[:12]} of {spec}" for commit in reversed(commits)]
    documents = tuple(
        Document(name, path.read_bytes(), Path(path.name))
        for path, name in zip(paths, names, strict=True)
    )
    return Given(documents, tuple(range(1, len(paths) + 1)))


def _check_range(git: Git, loaded: Series, base: str, until: str) -> None:
    """A range's patches have to lead to its own tree: a message that looks like a diff could say
    otherwise."""
    env = {"GIT_INDEX_FILE": str(git.folder / "check")}
    git.run("read-tree", base, env=env)
    for patch in loaded.patches:
        applied = git.judged(
            "apply", "--cached", "--whitespace=nowarn", "-", stdin=patch.diff, env=env
        )
        if applied.returncode != 0:
            raise StageError(
                "series",
                f"{patch.where}: its patch does not apply to its own parent: "
                f" {applied.stderr.strip()}",
            )
    if git.line("write-tree", env=env) != git.line("rev-parse", f"{until}^{{tree}}"):
        raise StageError(
            "series",
            f"--series {loaded.spec}: its patches do not lead to its tree; does a commit message"
            " hold a diff? Give the patches as files",
        )
