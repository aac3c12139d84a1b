# SPDX-License-Identifier: GPL-2.0-only
"""Files that something left which is not trusted: read, copied and removed without following a
link, waiting at a FIFO, or taking more than is sensible."""

import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ci.base import processes
from ci.base.errors import BuildError

MOST_ENTRIES, MOST_FOLDERS_DEEP = 1_000_000, 64
PIECE = 1 << 20


def open_below(folder: Path, name: str, most: int) -> BinaryIO:
    """The plain file ``name`` below ``folder``, of at most ``most`` bytes; a :class:`BuildError`
    where there is none. Neither it nor a folder on the way may be a link."""
    *above, last = Path(name).parts
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    with ExitStack() as opened:
        at: int | None = None
        try:
            for part in (str(folder), *above):
                at = os.open(part, flags | os.O_DIRECTORY, dir_fd=at)
                opened.callback(os.close, at)
            fd = os.open(last, flags | os.O_NONBLOCK | os.O_NOCTTY, dir_fd=at)
        except OSError as error:
            raise BuildError("build", f"no {name} was made: {error.strerror}") from None
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or found.st_size > most:
        os.close(fd)
        what = "is no plain file" if found.st_size <= most else f"has {found.st_size} bytes"
        raise BuildError("build", f"the {name} that was made {what}")
    return os.fdopen(fd, "rb")


def read_below(folder: Path, name: str, most: int) -> bytes:
    """The bytes of a file as :func:`open_below` takes it."""
    with open_below(folder, name, most) as file:
        return file.read(most)


def copy_below(folder: Path, name: str, target: Path, most: int) -> None:
    """Copy a file as :func:`open_below` takes it to the new file ``target``, with no mode but
    whether it can be run."""
    with open_below(folder, name, most) as file, target.open("xb") as out:
        shutil.copyfileobj(file, out, PIECE)
        if os.fstat(file.fileno()).st_mode & 0o100:
            os.fchmod(out.fileno(), 0o755)


def walk_below(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Every entry below ``folder``, links as what they are; a :class:`BuildError` where there are
    too many, or too deep."""
    if folder.is_symlink():
        raise BuildError("build", f"the {folder.name} that was made is a link")
    left, queue = MOST_ENTRIES, [(str(folder), 0)]
    while queue:
        path, depth = queue.pop()
        try:
            with os.scandir(path) as entries:
                for entry in entries:
                    left -= 1
                    if left < 0 or depth > MOST_FOLDERS_DEEP:
                        raise BuildError(
                            "build",
                            f"more than {MOST_ENTRIES} files below {folder}, or more than"
                            f" {MOST_FOLDERS_DEEP} folders in each other",
                        )
                    if entry.is_dir(follow_symlinks=False):
                        queue.append((entry.path, depth + 1))
                    yield entry
        except FileNotFoundError:  # what a process of the build still removes
            continue
        except OSError as error:
            raise BuildError("build", f"{path[:200]}: {error.strerror}") from None


def copy_tree(source: Path, target: Path, most: int) -> None:
    """Copy the plain files, folders and links below ``source`` to the new folder ``target``; a
    :class:`BuildError` for anything else, and for more than ``most`` bytes."""
    target.mkdir()
    for entry in walk_below(source):
        name = os.path.relpath(entry.path, source)
        if entry.is_symlink():
            (target / name).symlink_to(Path(entry.path).readlink())
        elif entry.is_dir():
            (target / name).mkdir()
        else:
            copy_below(source, name, target / name, most)
            most -= (target / name).stat().st_size


def count_blocks(folder: Path) -> tuple[int, int]:
    """The bytes on the disk of all below ``folder``, and the number of files."""
    taken = files = 0
    with suppress(BuildError):
        for entry in walk_below(folder):
            files += 1
            with suppress(OSError):
                taken += entry.stat(follow_symlinks=False).st_blocks * 512
    return taken, files


@contextmanager
def fresh_folder(path: Path) -> Iterator[None]:
    """An empty folder, whatever was there, that goes at the end with all that is in it."""
    remove_untrusted(path)
    path.mkdir()
    try:
        yield
    finally:
        remove_untrusted(path)


def remove_untrusted(path: Path) -> None:
    """Remove a folder whatever is in it: folders that nobody may enter, or that are in each other
    by the thousand."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    words = (["chmod", "-R", "-f", "u+rwX"], ["rm", "-rf"])
    for argv in words[0 if os.geteuid() else 1 :]:
        processes.run([*argv, "--", path], stage="build", timeout_s=600, ok=None)
    if path.exists():
        raise BuildError("build", f"{path} cannot be removed; see what is in it")
