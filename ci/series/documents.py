# SPDX-License-Identifier: GPL-2.0-only
"""The mails and patch files that a path holds: a file of any kind, a folder of patches, a quilt
series, a maildir.
"""

import functools
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ci.base.errors import StageError
from ci.base.git import Git, check_written
from ci.series import content
from ci.series.content import check_inside, read_content
from ci.series.mails import KEPT, Document, has_crs, plain_bytes

MAX_MAILS = 2000
MAX_PATCHES = 500
# title.patch.gz
PATCH_FILE = re.compile(r".+\.(?:patch|diff)(?:\.gz)?", re.I | re.S)
MAIL_FILE = re.compile(r".+\.(?:eml|mbox|mbx|mail)(?:\.gz)?", re.I | re.S)
# 0003-title.patch, v2-0003-title.patch, v2.1-0003-title.patch: what git format-patch writes
NUMBERED = re.compile(r"(?:v\d+(?:\.\d+)?-)?(\d{4})-")
# From ada@example.org Thu Sep 11 09:41:00 2025; each part is bounded, for lines of megabytes
BOX_LINE = re.compile(rb"^From .{0,400}?\d:\d\d:\d\d .{0,40}?\d{4}", re.M)
COMMENT = re.compile(r"(?:^|\s)#.*")  # of a series file: a name may have # in it
FROM_LINE = re.compile(rb"^From \S", re.M)
# From 98befba9447e6167158771f3f6b4b3d402c585b1 Mon Sep 17 00:00:00 2001
FORMAT_PATCH = re.compile(rb"From [0-9a-f]{40} Mon Sep 17 00:00:00 2001\n")
HEADER_LINE = re.compile(rb"[A-Za-z][A-Za-z0-9-]*:(?:[ \t]|$)")
ENCODED = re.compile(rb"^Content-Transfer-Encoding:\s*base64", re.M | re.I)


@dataclass(frozen=True)
class Given:
    """What was given. ``numbers`` are the patches' where their files' names or a ``series`` file
    give an order, one for each document; else empty, and the mails' subjects tell. ``by_name``: the
    order is that of names without numbers.
    """

    documents: tuple[Document, ...]
    numbers: tuple[int, ...] = ()
    by_name: bool = False
    notes: tuple[str, ...] = ()


def split_mails(data: bytes, where: str, path: Path) -> tuple[Document, ...]:
    """The mails of a file: an mbox, mails one after another without its From lines, or a single
    mail or diff."""
    crs, text = has_crs(data), plain_bytes(data)
    if not text.strip():
        raise StageError("series", f"{where}: there is no mail in it")
    if box := text.startswith(b"From ") or FROM_LINE.match(text.lstrip()):
        # Counted before: git writes a file for each, which takes minutes where each line is one.
        _check_count(where, len(BOX_LINE.findall(text)))
    rows = _mailsplit(text) if box else _headless(text)
    _check_count(where, len(rows))
    if len(rows) == 1:
        return (Document(where, plain_bytes(rows[0]), path, crs or has_crs(rows[0])),)
    return tuple(
        Document(f"{where}, mail {number}", plain_bytes(row), path, crs or has_crs(row))
        for number, row in enumerate(rows, 1)
    )


@functools.lru_cache(maxsize=KEPT)  # the same box gives the same each time
def _mailsplit(text: bytes) -> tuple[bytes, ...]:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "box").write_bytes(text.lstrip())
        (folder / "mails").mkdir()
        # Everybody but git itself quotes lines of a body that begin with From.
        quoting = [] if FORMAT_PATCH.match(text) else ["--mboxrd"]
        Git(folder, "series").run("mailsplit", "-d5", "-b", "--keep-cr", *quoting, "-omails", "box")
        check_written(folder, "series")
        return tuple(path.read_bytes() for path in sorted((folder / "mails").iterdir()))


def _headless(text: bytes) -> tuple[bytes, ...]:
    """Mails that no From line parts. A new one begins where headers with From and Subject follow a
    diff, or stand behind a body in base64: before the diff they may be of the message."""
    begins, names, block, at = [0], set[bytes](), 0, 0
    head, encoded, ended = True, False, False
    for line in text.split(b"\n"):
        if HEADER_LINE.match(line):
            block = block if names else at
            names.add(line.partition(b":")[0].lower())
            encoded |= bool(ENCODED.match(line))
        elif not line and head:
            names, head, ended = set(), False, encoded
        elif not line and ended and {b"from", b"subject"} <= names:
            begins.append(block)
            names, ended, encoded = set(), encoded, False
        elif not (names and line[:1] in (b" ", b"\t")):
            names, encoded = set(), head and encoded
            ended |= line.startswith((b"diff -", b"+++ "))
        at += len(line) + 1
    ends = (*begins[1:], len(text))
    return tuple(text[begin:end] for begin, end in zip(begins, ends, strict=True))


def read_path(path: Path) -> Given:
    """What a file or a folder holds."""
    if not path.is_dir():
        return Given(split_mails(read_content(path, pipes=True), str(path), path))
    try:
        names = sorted(entry.name for entry in os.scandir(path) if not entry.name.startswith("."))
    except OSError as error:
        raise StageError("series", f"{path}: {error.strerror}") from None
    patches = [name for name in names if PATCH_FILE.fullmatch(name) and not (path / name).is_dir()]
    letters = [name for name in names if MAIL_FILE.fullmatch(name) and not (path / name).is_dir()]
    if (path / "series").is_file():
        return _quilt(path)
    if not patches and ((path / "new").is_dir() or (path / "cur").is_dir()):
        return _maildir(path)
    if not patches and not letters:
        raise StageError(
            "series",
            f"{path}: holds no *.patch, *.diff, *.eml or *.mbox file, no series file and no"
            " maildir; write patches with `git format-patch`",
        )
    _check_count(path, len(patches) + len(letters))
    found = [
        split_mails(data, str(one), one)
        for one, data in _contents(path, [path / name for name in (*patches, *letters)])
    ]
    if letters or any(len(documents) > 1 for documents in found):
        return Given(tuple(document for documents in found for document in documents))
    return _in_order(path, [documents[0] for documents in found])


def _check_count(where: str | Path, count: int) -> None:
    if count > MAX_MAILS:
        raise StageError(
            "series",
            f"{where}: {count} mails are more than one series ({MAX_MAILS}); give its thread",
        )


def _in_order(folder: Path, documents: Sequence[Document]) -> Given:
    """The patch files of a folder, numbered by their names where all have format-patch's number,
    else in their order."""
    found = [NUMBERED.match(document.path.name) for document in documents]
    if not all(found) or _far_apart([int(one[1]) for one in found if one]):
        counted = [
            int(one[0]) for document in documents if (one := re.match(r"\d+", document.path.name))
        ]
        if len(counted) == len(documents) and counted != sorted(counted):
            raise StageError(
                "series",
                f"{folder}: the names are in another order than their numbers (10-x.patch,"
                " 2-y.patch): write numbers of one length, or a file named series that lists the"
                " patches",
            )
        order = tuple(range(1, len(documents) + 1))
        note = (
            f"{folder}: the patches are taken in the order of their names"
            if len(documents) > 1
            else ""
        )
        return Given(tuple(documents), order, by_name=True, notes=(note,) if note else ())
    numbers = tuple(int(one[1]) for one in found if one)
    for place, number in enumerate(numbers):
        if number in numbers[:place]:
            first = documents[numbers.index(number)].path.name
            raise StageError(
                "series",
                f"{documents[place].where}: number {number} is taken by {first}; where a folder"
                " holds two versions of a series, give a folder with one of them",
            )
    return Given(tuple(documents), numbers)


def _far_apart(numbers: Sequence[int]) -> bool:
    """Whether the numbers are no count of format-patch but an order with room between, as
    distributions number theirs."""
    return len(numbers) > 1 and (min(numbers) > 1 or max(numbers) - len(numbers) >= len(numbers))


def _contents(folder: Path, paths: Iterable[Path]) -> Iterator[tuple[Path, bytes]]:
    """What is in files of a folder, all together no more than one file may have."""
    total = 0
    for path in paths:
        check_inside(folder, path)
        data = read_content(path)
        total += len(data)
        if total > content.MAX_BYTES:
            raise StageError(
                "series",
                f"{folder}: more than {content.MAX_BYTES // 1_000_000} MB of mail;"
                " give the mails of one series",
            )
        yield path, data


def _documents(folder: Path, paths: Iterable[Path]) -> tuple[Document, ...]:
    """Files that hold one mail or patch each."""
    return tuple(
        Document(str(path), plain_bytes(data), path, has_crs(data))
        for path, data in _contents(folder, paths)
    )


def _quilt(folder: Path) -> Given:
    """The patches that a ``series`` file lists, in its order: NAME, then options, then a comment
    (quilt(1))."""
    rows, listed = [], folder / "series"
    check_inside(folder, listed)
    for number, raw in enumerate(
        read_content(listed, 1_000_000).decode("utf-8-sig", "surrogateescape").split("\n"), 1
    ):
        words = COMMENT.sub("", raw).split()
        if not words:
            continue
        name, *options = words
        path = folder / name
        if options not in ([], ["-p1"]):
            raise StageError(
                "series",
                f"{listed}, line {number}: {' '.join(options)}: patches are taken with -p1 only",
            )
        if Path(name).is_absolute() or ".." in Path(name).parts or not path.exists():
            raise StageError(
                "series", f"{listed}, line {number}: there is no file {name} in the folder"
            )
        rows.append(path)
    _check_count(listed, len(rows))
    if not rows:
        raise StageError("series", f"{listed}: it lists no patch")
    note = f"{listed}: {len(rows)} patches in its order"
    return Given(_documents(folder, rows), tuple(range(1, len(rows) + 1)), notes=(note,))


def _maildir(folder: Path) -> Given:
    """The mails of a maildir, one a file."""
    paths = [path for sub in ("cur", "new") for path in sorted((folder / sub).glob("[!.]*"))]
    _check_count(folder, len(paths))
    if not paths:
        raise StageError("series", f"{folder}: the maildir is empty")
    return Given(_documents(folder, paths))
