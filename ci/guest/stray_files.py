# SPDX-License-Identifier: GPL-2.0-only
"""What a tree's Makefiles installed and no guest may get: files of the host, and what no file of a
selftest is."""

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from ci.base.untrusted import walk_below

# The guest's root is its RAM (MEMORY_MB of ci.guest.vm), where the archive and what is unpacked
# from it stand at the same time. The selftests of MPTCP are 26 files of 3.6 MB.
MOST_FILES, MOST_FILE, MOST_BYTES = 20_000, 64_000_000, 300_000_000


def find_stray(folder: Path) -> str:
    """The first of what was installed that no guest gets, and why; empty for none. A hard link
    would be a file of somebody else's, a link that leads out shows what it means to bring along."""
    count = total = 0
    for path in (Path(entry.path) for entry in walk_below(folder)):
        found, shown = path.lstat(), path.relative_to(folder)
        count, total = count + 1, total + found.st_size
        if stat.S_ISLNK(found.st_mode):
            if not is_inside(path, folder) or path.readlink().is_absolute():
                return f"{shown} is a link that leads out of them, to {path.readlink()}"
        elif not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
            return f"{shown} is neither a file, nor a folder, nor a link"
        elif stat.S_ISREG(found.st_mode) and found.st_nlink > 1:
            return f"{shown} is a hard link, to a file that may be of the host"
        elif found.st_size > MOST_FILE:
            return f"{shown} has {found.st_size} bytes, and {MOST_FILE} are the most"
    if count > MOST_FILES or total > MOST_BYTES:
        return f"{count} files of {total} bytes; {MOST_FILES} and {MOST_BYTES} are the most"
    return ""


def find_leading_out(made: Iterable[tuple[Path, Sequence[Path]]]) -> str:
    """The first link that a build made in one of the folders, and that leads out of what may be
    meant: `make install` copies what such a link leads to (rsync --copy-unsafe-links)."""
    for folder, meant in made:
        for path in (Path(entry.path) for entry in walk_below(folder) if entry.is_symlink()):
            if not any(is_inside(path, one) for one in meant):
                return f"{path.relative_to(folder)} is a link to {path.readlink()}, of the host"
    return ""


def is_inside(path: Path, folder: Path) -> bool:
    """Whether a path, all links followed, is in a folder."""
    return Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder))
