# SPDX-License-Identifier: GPL-2.0-only
"""Where kernels come from: the kinds of sources in one table, and the one that a run takes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ci.base.errors import StageError
from ci.base.git import Git, split_remote
from ci.base.progress import Progress
from ci.base.settings import Settings
from ci.series.patches import TRAILER, Series
from ci.trees.checkout import from_checkout
from ci.trees.debian import from_debian
from ci.trees.git_store import GitStore
from ci.trees.remote import from_remote
from ci.trees.source import Source

AUTO_DEBIAN = "6.12"
REACH_S = 10.0


@dataclass(frozen=True)
class Kind:
    """A kind of source. ``form`` is how ``--source`` names one; ``take`` gets the settings, what
    stands behind the colon, why this source is taken, and the progress."""

    form: str
    take: Callable[[Settings, str, str, Progress], Source]


# To add a kind of source, write a module such as ci.trees.debian and a line here; that
# --source and a branch take it is told in ci.base.settings and ci.commands.branches.
KINDS: Mapping[str, Kind] = {
    "git": Kind("git:URL@REF", from_remote),
    "debian": Kind("debian:RELEASE[@SUITE]", from_debian),
}


def fetch_source(settings: Settings, series: Series, progress: Progress) -> Source:
    """The source that the settings name; ``auto`` is the first that can be reached, and ``why``
    says so."""
    kind, colon, rest = settings.source.partition(":")
    if settings.source != "auto" and (not colon or kind not in KINDS):
        forms = " and ".join(one.form for one in KINDS.values())
        raise StageError(
            "fetch", f"--source {settings.source}: there are auto, {forms}", asked=True
        )
    with settings.workspace.lock("trees", stage="fetch"):
        if settings.tree:
            return from_checkout(settings, series, progress)
        if settings.source == "auto":
            return _first_reached(settings, series, progress)
        return KINDS[kind].take(settings, rest, "--source", progress)


def _first_reached(settings: Settings, series: Series, progress: Progress) -> Source:
    """The series' base commit where its repository can be reached, else Debian's package; each try
    is told."""
    why_not = "the series names no base commit and repository"
    if series.base_from == TRAILER and not series.base_url:
        why_not = "the series' trailer names a base-commit, but no repository"
        progress.note(
            f"auto: base-commit {series.base_commit} of the trailer: in no repository that we know"
        )
    if series.base_commit and series.base_url:
        split_remote(
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
            return from_remote(settings, f"{series.base_url}@{series.base_commit}", why, progress)
        except StageError as error:
            why_not = f"{series.base_url} cannot be reached"
            progress.note(f"auto: {why_not} ({error.message.splitlines()[-1][:120]})")
    try:
        return from_debian(settings, AUTO_DEBIAN, f"auto: {why_not}", progress)
    except StageError as error:
        raise StageError(
            "fetch", f"no kernel source: {why_not}; {error.message}", log=error.log
        ) from None
