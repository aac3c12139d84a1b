# SPDX-License-Identifier: GPL-2.0-only
"""A kernel as it comes, and the folder of the cache that holds it."""

import contextlib
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ci.base.git import Git
from ci.base.workspace import Workspace, write_text
from ci.trees.soundness import is_sound

# What the files of a tree say in .gitattributes of how they are checked out and compared, undone: a
# commit has the same bytes in the work tree whatever it says, or the one before it.
ATTRIBUTES = """\
* !text !crlf !eol !ident !filter !working-tree-encoding
* !diff !merge !whitespace !conflict-marker-size
*.[ch] diff=cpp
"""


@dataclass(frozen=True)
class Source:
    """A kernel as it comes. ``slot`` is a folder of the cache: ``slot/src`` is a git work tree that
    holds ``commit``, ``objects`` the folder beside it of the object directory that everything built
    from this source shares, but for kernels of another configuration."""

    name: str
    slot: Path
    commit: str
    why: str
    objects: str = "obj"

    @property
    def obj(self) -> Path:
        """The object directory."""
        return self.slot / self.objects

    @property
    def git(self) -> Git:
        """The repository in the cache, never the user's."""
        return Git(self.slot / "src", "tree")

    def overrule_attributes(self) -> None:
        """Let git go by the attributes above alone."""
        (info := self.slot / "src/.git/info").mkdir(exist_ok=True)
        write_text(info / "attributes", ATTRIBUTES)


def slot_folder(workspace: Workspace, kind: str, name: str) -> Path:
    """Folder for one source: readable, and distinct for names that differ anywhere."""
    readable = re.sub(r"[^A-Za-z0-9.]+", "-", name).strip("-")[-40:]
    return workspace.entry(
        "trees", f"{kind}-{readable}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    )


@contextlib.contextmanager
def replace_slot(workspace: Workspace, slot: Path) -> Iterator[Path]:
    """A new folder for what the slot is to hold; what was there goes with what was built from it,
    but not under somebody who builds, nor under somebody who makes trees."""
    work, trees = (
        workspace.lock(f"{what}-{slot.name}", stage="fetch") for what in ("work", "trees")
    )
    with work, trees, workspace.publish(slot, sealed=False) as fresh:
        yield fresh


def slot_repository(workspace: Workspace, slot: Path) -> Git:
    """The slot's repository, made empty where it is missing or damaged."""
    if not slot.exists() or not is_sound(slot, slot / "src/.git"):
        with replace_slot(workspace, slot) as fresh:
            (fresh / "src").mkdir()
            Git(fresh / "src", "fetch").run("init", "-q")
    return Git(slot / "src", "fetch")
