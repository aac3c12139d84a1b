# SPDX-License-Identifier: GPL-2.0-only
"""Archives for a guest's RAM: entries in, one reproducible newc cpio out (the format that the
kernel unpacks).

Format: Documentation/driver-api/early-userspace/buffer-format.rst of the kernel tree.
"""

import fnmatch
import os
import stat
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ci.base.errors import StageError


@dataclass(frozen=True)
class Entry:
    """One file, folder or symbolic link. ``path`` is relative, ``mode`` as in stat(2), ``data`` a
    link's target."""

    path: str
    mode: int
    data: bytes = b""


def write_archive(entries: Iterable[Entry], out: BinaryIO) -> None:
    """Write the archive: sorted by path (a later entry replaces an earlier one), owner root, times
    zero."""
    chosen = {entry.path: entry for entry in entries}
    for inode, path in enumerate(sorted(chosen), start=1):
        _one(out, inode, chosen[path])
    _one(out, 0, Entry("TRAILER!!!", 0))
    out.write(bytes(-out.tell() % 512))


def _one(out: BinaryIO, inode: int, entry: Entry) -> None:
    name = entry.path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (inode, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0, 0, 0, len(name), 0)
    header = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    out.write(header + bytes(-len(header) % 4) + entry.data + bytes(-len(entry.data) % 4))


def tar_entries(path: Path, trim: Iterable[str]) -> Iterator[Entry]:
    """Files, folders and links of a tar archive, minus what ``trim`` matches (shell patterns; a
    folder goes whole).

    Executable or not is all of a file's mode, as in :func:`tree_entries`: the rest depends on who
    unpacked it, with what umask, and the guest has no user but root. Device nodes are left out: the
    kernel's devtmpfs makes them. Hard links become files of their own.
    """
    patterns = tuple(trim)
    with tarfile.open(path) as tar:
        for member in tar:
            name = member.name.removeprefix("./").strip("/")
            if not name or name == "." or _trimmed(name, patterns):
                continue
            if member.isdir():
                yield Entry(name, stat.S_IFDIR | 0o755)
            elif member.issym():
                yield Entry(name, stat.S_IFLNK | 0o777, member.linkname.encode())
            elif member.isreg() or member.islnk():
                file = tar.extractfile(member)
                assert file
                yield Entry(
                    name, stat.S_IFREG | (0o755 if member.mode & 0o100 else 0o644), file.read()
                )


def _trimmed(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a pattern matches the path or one of the folders above it."""
    parts = name.split("/")
    heads = ["/".join(parts[: n + 1]) for n in range(len(parts))]
    return any(
        fnmatch.fnmatchcase(head, pattern) and head.count("/") == pattern.count("/")
        for head in heads
        for pattern in patterns
    )


def tree_entries(folder: Path, below: str = "") -> Iterator[Entry]:
    """Everything in a folder of the host, placed ``below`` a path of the guest; executable or not
    is all of its mode. A :class:`StageError` names what is no file, folder or link: a pipe would be
    waited for."""
    for root, folders, files in os.walk(folder):
        inside = Path(below) / Path(root).relative_to(folder)
        for name in (*folders, *files):
            path, target = Path(root) / name, (inside / name).as_posix()
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                yield Entry(target, stat.S_IFLNK | 0o777, path.readlink().as_posix().encode())
            elif stat.S_ISDIR(mode):
                yield Entry(target, stat.S_IFDIR | 0o755)
            elif stat.S_ISREG(mode):
                data = path.read_bytes()
                yield Entry(target, stat.S_IFREG | (0o755 if mode & 0o100 else 0o644), data)
            else:
                raise StageError("image", f"{path}: neither a file, nor a folder, nor a link")


def link_entries(table: Mapping[str, str]) -> Iterator[Entry]:
    """Symbolic links, path -> target."""
    for path, target in table.items():
        yield Entry(path, stat.S_IFLNK | 0o777, target.encode())


def folder_entries(paths: Iterable[str]) -> Iterator[Entry]:
    """Empty folders, with those above them."""
    for path in paths:
        parts = path.split("/")
        for n in range(len(parts)):
            yield Entry("/".join(parts[: n + 1]), stat.S_IFDIR | 0o755)
