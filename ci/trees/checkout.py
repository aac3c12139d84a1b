# SPDX-License-Identifier: GPL-2.0-only
"""A kernel from the user's own checkout (``--tree``), in which nothing is written."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ci.base.errors import StageError
from ci.base.git import ADDRESS, Git, borrow_objects, remove_stale
from ci.base.progress import Progress
from ci.base.settings import Settings
from ci.series.patches import TRAILER, Series
from ci.trees.git_store import FETCH_S
from ci.trees.source import Source, slot_folder, slot_repository


def from_checkout(settings: Settings, series: Series, progress: Progress) -> Source:
    """The commit that the series' trailer says it is based on, else HEAD, of the user's checkout,
    whose objects a repository in the cache borrows."""
    assert settings.tree
    user = Git(settings.tree, "fetch")
    head, top = _head_commit(settings, user), _top(user)
    if not (top / "Kconfig").is_file():
        raise StageError(
            "fetch",
            f"--tree {settings.tree}: {top} does not look like a kernel tree (no Kconfig)",
            asked=True,
        )
    git = _borrowing(settings, user, top)
    commit, why = head, "--tree"
    if series.base_from == TRAILER and git.has(series.base_commit):
        commit, why = series.base_commit, "--tree, at the base-commit of the series' trailer"
    elif series.base_from == TRAILER:
        progress.note(
            f"base-commit {series.base_commit} of the trailer: not in --tree; taking HEAD, {commit}"
        )
    complete_clone(user, git, commit, progress)
    git.run("update-ref", "refs/source", commit)
    return Source(f"tree:{commit}", git.folder.parent, commit, why)


def from_names(settings: Settings, names: Mapping[str, str]) -> tuple[Source, Sequence[str]]:
    """The commits that options name in the user's checkout, whatever that has checked out, and a
    source of the first one; :func:`complete_clone` sees to the files of each."""
    assert settings.tree
    user, commits = Git(settings.tree, "fetch"), []
    for option, name in names.items():
        words = ("rev-parse", "--verify", "-q", f"{name}^{{commit}}")
        # What begins with a dash would be an option of git's.
        found = "" if name.startswith("-") else user.run(*words, ok=None).stdout.strip()
        if not found:
            text = f"{option} {name}: no commit of --tree {settings.tree}"
            raise StageError("fetch", text, asked=True)
        commits.append(found)
    git = _borrowing(settings, user, _top(user))
    return Source(f"tree:{commits[0]}", git.folder.parent, commits[0], "--tree"), commits


def _top(user: Git) -> Path:
    return Path(user.line("rev-parse", "--show-toplevel"))


def _borrowing(settings: Settings, user: Git, top: Path) -> Git:
    """The repository of the cache that borrows the objects of the user's."""
    git = slot_repository(settings.workspace, slot_folder(settings.workspace, "tree", str(top)))
    remove_stale(git.folder / ".git", "refs/source.lock", "objects/pack/tmp_*", "shallow*.lock")
    borrow_objects(user, git.folder / ".git")
    return git


def _head_commit(settings: Settings, user: Git) -> str:
    """HEAD of the checkout, whose tracked files have no changes unless they are to be left out."""
    head = user.run("rev-parse", "--verify", "HEAD^{commit}", ok=None)
    if head.returncode != 0:
        raise StageError(
            "fetch",
            f"--tree {settings.tree}: not a git checkout with a commit; run `git init`, "
            "`git add -f .` and `git commit` in it, or use --source",
            asked=True,
        )
    words = ("status", "--porcelain", "--untracked-files=no", "--ignore-submodules=all")
    dirty = user.line(*words, env=_without_filters(user))
    if dirty and not settings.ignore_dirty:
        names = "\n".join(dirty.splitlines()[:10])
        raise StageError(
            "fetch",
            f"--tree {settings.tree} has uncommitted changes:\n{names}\n"
            "commit them, or take HEAD without them by --ignore-dirty",
            asked=True,
        )
    return head.stdout.strip()


def _without_filters(user: Git) -> dict[str, str]:
    """Settings that empty the filters which the repository defines: they are programs, and git
    would run them on the files that it compares."""
    shown = user.run("config", "-z", "--name-only", "--get-regexp", r"^filter\.", ok=(0, 1)).stdout
    names = {key.rpartition(".")[0] for key in shown.split("\0") if key}
    rows = [
        (f"{name}.{what}", value)
        for name in sorted(names)
        for what, value in (("clean", ""), ("process", ""), ("required", "false"))
    ]
    numbered = {f"GIT_CONFIG_KEY_{n}": key for n, (key, _) in enumerate(rows)}
    numbered |= {f"GIT_CONFIG_VALUE_{n}": value for n, (_, value) in enumerate(rows)}
    return numbered | {"GIT_CONFIG_COUNT": str(len(rows))}


def complete_clone(user: Git, git: Git, commit: str, progress: Progress) -> None:
    """Fetch the files of ``commit`` that a partial clone of the user's has left with its remote,
    into our repository."""
    promisors = user.run(
        "config", "--get-regexp", r"^remote\..*\.promisor$", "true", ok=(0, 1)
    ).stdout.splitlines()
    if not promisors:
        return
    listed = git.run("rev-list", "--objects", "--missing=print", f"{commit}^{{tree}}").stdout
    missing = [line[1:] for line in listed.splitlines() if line.startswith("?")]
    if not missing:
        return
    top = _top(user)
    name = promisors[0].partition(" ")[0].removeprefix("remote.").removesuffix(".promisor")
    url = user.line("config", "--get", f"remote.{name}.url")
    progress.note(
        f"--tree is a partial clone: fetching {len(missing)} files of {commit[:12]} from {url}"
    )
    if not ADDRESS.fullmatch(url) and (top / url).exists():
        url = f"file://{(top / url).resolve()}"
    try:
        _fetch_blobs(git, url, missing)
    except StageError as error:
        fatal = [line for line in error.message.splitlines() if line.startswith("fatal: ")]
        raise StageError(
            "fetch",
            f"--tree {top} is a partial clone without {len(missing)} files of commit {commit}, and"
            f" its remote {name} does not give them: {(fatal or [error.message])[0]}\ncheck that"
            " commit out in it, or give a whole clone",
            log=error.log,
        ) from None


def _fetch_blobs(git: Git, url: str, blobs: list[str]) -> None:
    """Fetch files by their ids."""
    words = ("fetch", "--no-tags", "--no-write-fetch-head", "--stdin", "--", url)
    git.ask(*words, stdin="".join(f"{blob}\n" for blob in blobs), timeout_s=FETCH_S)
