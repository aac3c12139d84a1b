# SPDX-License-Identifier: GPL-2.0-only
"""Where the kernel comes from: a git commit, the user's own checkout, a distribution's source
package."""

import hashlib
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from ci.base import processes
from ci.base.errors import StageError
from ci.base.git import ADDRESS, Git, borrow, remote
from ci.base.progress import Progress
from ci.base.settings import Settings
from ci.base.workspace import Workspace, digest, write_text
from ci.series.patches import TRAILER, Series
from ci.trees import debian
from ci.trees.git_store import GitStore

AUTO_DEBIAN = "debian:6.12"
REACH_S = 10.0
FETCH_S = 3600.0


@dataclass(frozen=True)
class Source:
    """A kernel as it comes. ``slot`` is a folder of the cache: ``slot/src`` is a git work tree that
    holds ``commit``, ``slot/obj`` the object directory that everything built from this source
    shares."""

    name: str
    slot: Path
    commit: str
    why: str

    @property
    def git(self) -> Git:
        """The repository in the cache, never the user's."""
        return Git(self.slot / "src", "tree")


def _slot(workspace: Workspace, kind: str, name: str) -> Path:
    """Folder for one source: readable, and distinct for names that differ anywhere."""
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-")[-40:]
    return workspace.entry(
        "trees", f"{kind}-{readable}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    )


def _ready(workspace: Workspace, slot: Path) -> Git:
    """The slot's repository, made empty where it is missing."""
    if not slot.exists():
        with workspace.publish(slot) as fresh:
            (fresh / "src").mkdir()
            Git(fresh / "src", "fetch").run("init", "-q")
    return Git(slot / "src", "fetch")


def from_tree(settings: Settings, series: Series, progress: Progress) -> Source:
    """The commit that the series' trailer says it is based on, else HEAD, of the user's checkout,
    whose objects a repository in the cache borrows; nothing is written there."""
    assert settings.tree
    user = Git(settings.tree, "fetch")
    head = user.run("rev-parse", "--verify", "HEAD^{commit}", ok=None)
    if head.returncode != 0:
        raise StageError(
            "fetch",
            f"--tree {settings.tree}: not a git checkout with a commit; run `git init`, "
            "`git add -f .` and `git commit` in it, or use --source",
            asked=True,
        )
    dirty = user.line("status", "--porcelain", "--untracked-files=no")
    if dirty and not settings.ignore_dirty:
        names = "\n".join(dirty.splitlines()[:10])
        raise StageError(
            "fetch",
            f"--tree {settings.tree} has uncommitted changes:\n{names}\n"
            "commit them, or take HEAD without them by --ignore-dirty",
            asked=True,
        )
    top = Path(user.line("rev-parse", "--show-toplevel"))
    if not (top / "Kconfig").is_file():
        raise StageError(
            "fetch",
            f"--tree {settings.tree}: {top} does not look like a kernel tree (no Kconfig)",
            asked=True,
        )
    git = _ready(settings.workspace, slot := _slot(settings.workspace, "tree", str(top)))
    borrow(user, slot / "src/.git")
    commit, why = head.stdout.strip(), "--tree"
    if series.base_from == TRAILER and git.has(series.base_commit):
        commit, why = series.base_commit, "--tree, at the base-commit of the series' trailer"
    elif series.base_from == TRAILER:
        progress.note(
            f"base-commit {series.base_commit} of the trailer: not in --tree; taking HEAD, {commit}"
        )
    _complete(user, top, git, commit, progress)
    git.run("update-ref", "refs/source", commit)
    return Source(f"tree:{commit}", slot, commit, why)


def _complete(user: Git, top: Path, git: Git, commit: str, progress: Progress) -> None:
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
    name = promisors[0].partition(" ")[0].removeprefix("remote.").removesuffix(".promisor")
    url = user.line("config", "--get", f"remote.{name}.url")
    progress.note(
        f"--tree is a partial clone: fetching {len(missing)} files of {commit[:12]} from {url}"
    )
    if not ADDRESS.fullmatch(url) and (top / url).exists():
        url = f"file://{(top / url).resolve()}"
    try:
        git.ask(
            "fetch",
            "--no-tags",
            "--no-write-fetch-head",
            "--stdin",
            "--",
            url,
            stdin="".join(f"{one}\n" for one in missing),
            timeout_s=FETCH_S,
        )
    except StageError as error:
        said = next(
            (line for line in error.message.splitlines() if line.startswith("fatal: ")),
            error.message,
        )
        raise StageError(
            "fetch",
            f"--tree {top} is a partial clone without {len(missing)} files of commit {commit}, and"
            f" its remote {name} does not give them: {said}\ncheck that commit out in it, or give a"
            " whole clone",
            log=error.log,
        ) from None


def from_git(settings: Settings, spec: str, why: str, progress: Progress) -> Source:
    """``URL@REF``: the commit of a branch, a tag or a full commit id, alone, fetched shallow. A
    commit id that is in the cache needs no network; a branch or tag that cannot be asked for is
    what it was when last seen.
    """
    url, ref = remote(spec, f"--source git:{spec}")
    store, exact = GitStore.of(settings.workspace), re.fullmatch(r"[0-9a-f]{40}", ref)
    name = f"refs/commits/{ref}" if exact else f"refs/names/{digest(url, ref)}"
    commit = had = store.commit(name)
    if not (exact and had):
        progress.note(f"fetching {ref} of {url}")
        try:
            with progress.growing("fetching", store.folder, "objects/pack/tmp_pack_*"):
                commit = store.fetch(url, ref, name, timeout_s=FETCH_S)
        except StageError as error:
            # "`git -c core.hooksPath=/dev/null ...` ended with exit code 128"
            said = f"{ref} of {url} cannot be fetched: " + re.sub(r"^`.*` ", "git ", error.message)
            if not had or "couldn't find remote ref" in said:
                raise StageError("fetch", said, log=error.log) from None
            progress.note(f"{said}\ntaking commit {had}, which is in the cache")
    # A branch that moves keeps its object directory; commits that are named by id share one for
    # their URL.
    git = _ready(
        settings.workspace,
        slot := _slot(settings.workspace, "git", url if exact else f"{url}@{ref}"),
    )
    store.lend(git.folder / ".git")
    return Source(f"git:{url}@{commit}", slot, commit, why)


def from_debian(settings: Settings, spec: str, why: str, progress: Progress) -> Source:
    """``RELEASE`` or ``RELEASE@SUITE``: Debian's ``linux-source-RELEASE`` of the host's apt
    sources, else of any suite that has it, or of that suite; unpacked and committed to a
    repository."""
    release, at, suite = spec.partition("@")
    if not re.fullmatch(r"\d+\.\d+", release) or not re.fullmatch(
        r"[a-z][a-z0-9-]*" if at else "", suite
    ):
        raise StageError(
            "fetch",
            f"--source debian:{spec}: give a release such as debian:6.12, "
            "or one of a suite such as debian:7.3@trixie-backports",
            asked=True,
        )
    processes.require("fetch", "apt-get", "apt")
    workspace, name = settings.workspace, f"linux-source-{release}"
    slot = _slot(workspace, "debian", spec)
    had, commit = _imported(slot)
    where = (
        f"the suite {suite} does not"
        if suite
        else "neither this host's sources nor Debian's suites"
    )
    trouble = StageError(
        "fetch",
        f"apt knows no package {name}: {where} carry it; use --source git:URL@REF or --tree DIR",
    )
    for options, fields in debian.offers(workspace, name, suite):
        if fields["Version"] == had:
            return Source(f"debian:{had}", slot, commit, why)
        try:
            # An older version of the package goes with what was built from it, but not under
            # somebody who builds. Nor under somebody who makes trees.
            locks = [
                workspace.lock(f"{what}-{slot.name}", stage="fetch") for what in ("work", "trees")
            ]
            with locks[0], locks[1], workspace.publish(slot) as fresh:
                commit = _import(options, name, fields, fresh, progress)
            return Source(f"debian:{fields['Version']}", slot, commit, why)
        except StageError as error:
            trouble = error
    if had:
        progress.note(
            f"{trouble.message.splitlines()[0]}; taking version {had}, which is in the cache"
        )
        return Source(f"debian:{had}", slot, commit, why)
    raise trouble


def _import(
    options: debian.Options, name: str, fields: Mapping[str, str], slot: Path, progress: Progress
) -> str:
    """Fill a new slot with the package's kernel as one commit, whose id is returned."""
    progress.note(f"downloading {name} {fields['Version']} ({int(fields['Size']) / 10**6:.0f} MB)")
    with progress.growing("downloading", slot, "*.deb", int(fields["Size"])):
        deb = debian.download(options, name, fields, slot)
    progress.note("unpacking")
    processes.run(["dpkg-deb", "-x", deb, slot / "deb"], stage="fetch", timeout_s=600)
    (tar,) = (slot / "deb/usr/src").glob("linux-source-*.tar.*")
    (slot / "src").mkdir()
    processes.run(
        ["tar", "-xf", tar, "--strip-components=1", "--no-same-owner", "-C", slot / "src"],
        stage="fetch",
        timeout_s=600,
    )
    deb.unlink()
    shutil.rmtree(slot / "deb")
    progress.note("importing into git")
    git = Git(slot / "src", "fetch")
    git.run("init", "-q")
    # Streamed into one pack instead of 90,000 loose objects: a fifth less CPU, half the disk.
    git.run("-c", "core.bigFileThreshold=1", "-c", "core.compression=1", "add", "-A", "-f", ".")
    git.run("commit", "-q", "--no-verify", "-m", f"{name} {fields['Version']}")
    commit = git.line("rev-parse", "HEAD")
    write_text(slot / "version", f"{fields['Version']} {commit}\n")
    return commit


def _imported(slot: Path) -> tuple[str, str]:
    """Version and commit that the slot holds, empty for none."""
    marker = slot / "version"
    had, _, commit = (
        (marker.read_text(encoding="utf-8") if marker.exists() else "").strip().partition(" ")
    )
    return had, commit


def _auto(settings: Settings, series: Series, progress: Progress) -> Source:
    """The series' base commit where its repository can be reached, else Debian's package; each try
    is told."""
    why_not = "the series names no base commit and repository"
    if series.base_from == TRAILER and not series.base_url:
        why_not = "the series' trailer names a base-commit, but no repository"
        progress.note(
            f"auto: base-commit {series.base_commit} of the trailer: in no repository that we know"
        )
    if series.base_commit and series.base_url:
        remote(
            f"{series.base_url}@{series.base_commit}",
            f"base_url and base_commit of {series.folder / 'series.toml'}",
        )
        have = GitStore.of(settings.workspace).commit(f"refs/commits/{series.base_commit}")
        try:
            if not have:
                Git(settings.workspace.root, "fetch").ask(
                    "ls-remote", "--exit-code", "--", series.base_url, "HEAD", timeout_s=REACH_S
                )
            why = "auto: the series' base commit, " + (
                "in the cache" if have else "its repository answers"
            )
            return from_git(settings, f"{series.base_url}@{series.base_commit}", why, progress)
        except StageError as error:
            why_not = f"{series.base_url} cannot be reached"
            progress.note(f"auto: {why_not} ({error.message.splitlines()[-1][:120]})")
    try:
        return from_debian(settings, AUTO_DEBIAN.partition(":")[2], f"auto: {why_not}", progress)
    except StageError as error:
        raise StageError(
            "fetch", f"no kernel source: {why_not}; {error.message}", log=error.log
        ) from None


def fetch(settings: Settings, series: Series, progress: Progress) -> Source:
    """The source that the settings name; ``auto`` is the first that can be reached, and ``why``
    says so."""
    kinds: dict[str, Callable[[str], Source]] = {
        "git": lambda rest: from_git(settings, rest, "--source", progress),
        "debian": lambda rest: from_debian(settings, rest, "--source", progress),
    }
    kind, colon, rest = settings.source.partition(":")
    if settings.source != "auto" and (not colon or kind not in kinds):
        raise StageError(
            "fetch",
            f"--source {settings.source}: there are auto, git:URL@REF and debian:RELEASE[@SUITE]",
            asked=True,
        )
    with settings.workspace.lock("trees", stage="fetch"):
        if settings.tree:
            return from_tree(settings, series, progress)
        if settings.source == "auto":
            return _auto(settings, series, progress)
        return kinds[kind](rest)
