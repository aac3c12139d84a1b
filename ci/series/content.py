# SPDX-License-Identifier: GPL-2.0-only
"""The bytes that are read of a series, bounded: of files, pipes and stdin. A pipe on which nothing
comes is an error, not a wait."""

import gzip
import io
import os
import select
import stat
import sys
import zlib
from pathlib import Path

from ci.base.errors import StageError

MAX_BYTES = 64_000_000
# Where in a file which bytes tell that it is an archive, and what it is.
ARCHIVES = (
    (257, b"ustar", "a tar archive"),
    (0, b"PK\x03\x04", "a zip archive"),
    (0, b"BZh", "packed by bzip2"),
    (0, b"\xfd7zXZ\0", "packed by xz"),
    (0, b"\x28\xb5\x2f\xfd", "packed by zstd"),
    (0, b"\x1f\x8b", "packed by gzip more than once"),
)
PIPE_S = 10.0
STDIN_S = 180.0


def _read_bytes(fd: int, where: str, idle_s: float, limit: int) -> bytes:
    """All that comes from ``fd``, at most ``limit`` bytes."""
    chunks: list[bytes] = []
    size = 0
    while True:
        if not select.select([fd], [], [], idle_s)[0]:
            raise StageError(
                "series", f"{where}: it is a pipe on which nothing came for {idle_s:.0f} s"
            )
        chunk = os.read(fd, 1 << 20)
        if not chunk:
            return b"".join(chunks)
        chunks.append(chunk)
        size += len(chunk)
        if size > limit:
            raise StageError(
                "series",
                f"{where}: more than {limit // 1_000_000} MB of mail; give the mails of one series",
            )


def read_content(path: Path, limit: int = 0, *, pipes: bool = False) -> bytes:
    """The bytes of a regular file (or, with ``pipes``, of a pipe that somebody writes to), unpacked
    where it is gzip's."""
    limit = limit or MAX_BYTES
    try:
        # Without O_NONBLOCK, a pipe that nobody writes to would be waited for in open().
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            mode = os.fstat(fd).st_mode
            if not stat.S_ISREG(mode) and not (pipes and stat.S_ISFIFO(mode)):
                raise StageError(
                    "series", f"{path}: neither a file nor a folder; --series takes these"
                )
            data = _read_bytes(fd, str(path), PIPE_S, limit)
        finally:
            os.close(fd)
        return _unpacked(data, str(path), limit)
    except (OSError, ValueError) as error:
        raise StageError("series", f"{path}: {getattr(error, 'strerror', None) or error}") from None


def check_inside(folder: Path, path: Path) -> None:
    """A file of a folder is one: no link that leads out of it, to whatever else we may read."""
    # Not Path.resolve: it raises where links lead in a circle.
    if not Path(os.path.realpath(path)).is_relative_to(os.path.realpath(folder)):
        raise StageError(
            "series",
            f"{path}: a link that leads out of {folder}; copy the file that is meant there",
        )


def read_stdin(limit: int = 0) -> bytes:
    """What is on stdin."""
    if sys.stdin is None:
        raise StageError("series", "--series -: stdin is closed; give the mails on it, or a file")
    try:
        data = _read_bytes(sys.stdin.fileno(), "stdin", STDIN_S, limit or MAX_BYTES)
        return _unpacked(data, "stdin", limit or MAX_BYTES)
    except OSError as error:
        raise StageError("series", f"--series -: stdin cannot be read: {error.strerror}") from None


def _unpacked(data: bytes, where: str, limit: int) -> bytes:
    if not data.startswith(b"\x1f\x8b"):
        return _checked_kind(data, where)
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(data)) as file:
            whole = file.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise StageError("series", f"{where}: damaged gzip: {error}") from None
    if len(whole) > limit:
        raise StageError(
            "series",
            f"{where}: more than {limit // 1_000_000} MB of mail; give the mails of one series",
        )
    return _checked_kind(whole, where)


def _checked_kind(data: bytes, where: str) -> bytes:
    """The bytes, where they are of no archive: what looks like a diff in one would be taken."""
    for at, magic, kind in ARCHIVES:
        if data.startswith(magic, at):
            raise StageError("series", f"{where}: {kind}; unpack it, and give what is in it")
    return data
