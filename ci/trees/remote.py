# SPDX-License-Identifier: GPL-2.0-only
"""A kernel from a git repository somewhere else (``--source git:URL@REF``)."""

import re

from ci.base.errors import StageError
from ci.base.git import split_remote
from ci.base.progress import Progress
from ci.base.settings import Settings
from ci.base.workspace import digest
from ci.trees.git_store import FETCH_S, GitStore
from ci.trees.source import Source, slot_folder, slot_repository


def from_remote(settings: Settings, spec: str, why: str, progress: Progress) -> Source:
    """``URL@REF``: the commit of a branch, a tag or a full commit id, alone, fetched shallow. A
    commit id that is in the cache needs no network; a branch or tag that cannot be asked for is
    what it was when last seen.
    """
    url, ref = split_remote(spec, f"--source git:{spec}")
    store, exact = GitStore.of(settings.workspace), re.fullmatch(r"[0-9a-f]{40}", ref)
    name = f"refs/commits/{ref}" if exact else f"refs/names/{digest(url, ref)}"
    commit = cached = store.commit(name)
    if not (exact and cached):
        progress.note(f"fetching {ref} of {url}")
        try:
            with progress.growing("fetching", store.folder, "objects/pack/tmp_pack_*"):
                commit = store.fetch(url, ref, name, timeout_s=FETCH_S)
        except StageError as error:
            # "`git -c core.hooksPath=/dev/null ...` ended with exit code 128"
            words = re.sub(r"^`.*` ", "git ", error.message)
            why_not = f"{ref} of {url} cannot be fetched: {words}"
            if not cached or "couldn't find remote ref" in why_not:
                raise StageError("fetch", why_not, log=error.log) from None
            progress.note(f"{why_not}\ntaking commit {cached}, which is in the cache")
    # A branch that moves keeps its object directory; commits that are named by id share one for
    # their URL.
    slot = slot_folder(settings.workspace, "git", url if exact else f"{url}@{ref}")
    git = slot_repository(settings.workspace, slot)
    store.lend(git.folder / ".git")
    return Source(f"git:{url}@{commit}", slot, commit, why)
