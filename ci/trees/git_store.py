# SPDX-License-Identifier: GPL-2.0-only
"""What git sources fetch: one bare repository in the cache, whose objects all their work trees
borrow."""

from dataclasses import dataclass
from pathlib import Path

from ci.base.errors import StageError
from ci.base.git import Git, borrow_objects, remove_stale
from ci.base.workspace import Workspace
from ci.trees.soundness import is_sound

FETCH_S = 3600.0
# What a git leaves that was killed: locks, lists of shallow commits, packs half there and marks
# that keep a pack.
LEFT = (
    "*.lock",
    "refs/**/*.lock",
    "shallow_*",
    "objects/pack/tmp_*",
    "objects/pack/*.keep",
    "objects/*/tmp_obj_*",
)

checked: set[Path] = set()  # the stores that this process has looked at, which is enough once


@dataclass(frozen=True)
class GitStore:
    """The repository. What a ref names is here whole: ``refs/commits/<id>`` is a commit that was
    once fetched, ``refs/names/<key>`` what a branch or tag was when last seen. Whoever calls holds
    the lock of the trees.
    """

    folder: Path

    @classmethod
    def of(cls, workspace: Workspace) -> "GitStore":
        """The cache's store, made empty where it is missing or damaged."""
        folder = workspace.entry("trees", "git.git")
        if folder in checked:
            return cls(folder)
        if not folder.exists() or not is_sound(folder, folder):
            with workspace.publish(folder, sealed=False) as fresh:
                Git(fresh, "fetch").run("init", "-q", "--bare")
        checked.add(folder)
        return cls(folder)

    def commit(self, ref: str) -> str:
        """The commit that ``ref`` names, through a tag too; empty where there is none."""
        found = Git(self.folder, "fetch").run(
            "rev-parse", "-q", "--verify", f"{ref}^{{commit}}", ok=None
        )
        return found.stdout.strip() if found.returncode == 0 else ""

    def fetch(self, url: str, wanted: str, ref: str, *, timeout_s: float) -> str:
        """Let ``ref`` be what ``wanted`` (a branch, a tag, a full commit id) is at ``url``; its
        commit, fetched alone.

        Every ref is told to the server, which sends what no commit of theirs has. git writes a ref
        after the objects, so a fetch that dies leaves only what the next one sweeps away."""
        remove_stale(self.folder, *LEFT)
        git = Git(self.folder, "fetch")
        # Always a pack, which appears whole: small fetches would be unpacked, commit and trees
        # before their blobs.
        git.ask(
            "-c",
            "fetch.unpackLimit=1",
            "fetch",
            "--depth=1",
            "--no-tags",
            "--no-write-fetch-head",
            "--force",
            "--",
            url,
            f"{wanted}:{ref}",
            timeout_s=timeout_s,
        )
        commit = self.commit(ref)
        if not commit:
            raise StageError("fetch", f"{wanted} of {url} is not a commit")
        git.run("update-ref", f"refs/commits/{commit}", commit)
        return commit

    def lend(self, repository: Path) -> None:
        """Let a repository (its ``.git``) borrow all that is here; commits end there where they end
        here."""
        borrow_objects(Git(self.folder, "fetch"), repository)
