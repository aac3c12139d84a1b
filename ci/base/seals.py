# SPDX-License-Identifier: GPL-2.0-only
"""What is kept carries the SHA-256 of all that is in it, and is believed only where they hold."""

import hashlib
import json
import os
import stat
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ci.base.seen import whole_since

# Beside what it speaks of: path below the folder -> what is there.
DIGESTS = "digests.json"


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_files(folder: Path, names: Collection[str]) -> Mapping[str, str]:
    """Each name below a folder with what is there: a file's SHA-256 and whether it is a program, a
    link's target."""

    def describe(name: str) -> str:
        path = folder / name
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            return f"-> {path.readlink()}"
        if not stat.S_ISREG(mode):
            return "folder" if stat.S_ISDIR(mode) else "neither file nor folder"
        return f"{'program' if mode & 0o100 else 'file'} {file_digest(path)}"

    ordered = sorted(names)
    # Two, where a core each is to be had: SHA-256 lets the others go on.
    with ThreadPoolExecutor(max_workers=2) as pool:
        return dict(zip(ordered, pool.map(describe, ordered), strict=True))


def write_digests(folder: Path, names: Collection[str] = ()) -> None:
    """Seal a folder, or the files of it that are named: what is there now is what it shall hold."""
    with (folder / DIGESTS).open("w", encoding="utf-8") as file:
        json.dump(describe_files(folder, names or _names(folder)), file, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def find_damage(folder: Path, *, extra: bool = False, memo: Path | None = None) -> str:
    """What of a sealed folder is not as it was sealed, in words; empty where it is whole. With
    ``extra``, more may be in it than was sealed. With a ``memo``, a file of
    :mod:`ci.base.seen`, what nobody touched since is not read again."""
    if memo and (folder / DIGESTS).is_file():
        try:
            return whole_since(memo, lambda: _every(folder), lambda _: _find_damage(folder, extra))
        except OSError as error:
            return f"{DIGESTS}: {error.strerror}"
    return _find_damage(folder, extra)


def _every(folder: Path) -> Iterator[Path]:
    """The folder and all below it, in an order of its own."""
    yield folder
    yield from (folder / name for name in sorted(_walk(folder)))


def _find_damage(folder: Path, extra: bool) -> str:
    if not (folder / DIGESTS).is_file():
        return f"{DIGESTS} is missing"
    try:
        sealed = json.loads((folder / DIGESTS).read_bytes())
        if not isinstance(sealed, dict) or not sealed:
            return f"{DIGESTS} holds no digests"
        names = _names(folder)
        if gone := sealed.keys() - names:
            return f"{min(gone)} is missing"
        if more := set() if extra else names - sealed.keys():
            return f"{min(more)} does not belong there"
        found = describe_files(folder, sealed)
    except (OSError, ValueError, RecursionError) as error:
        return f"{DIGESTS}: {getattr(error, 'strerror', None) or error}"
    wrong = (name for name, what in found.items() if sealed[name] != what)
    return next((f"{name} is not what was kept" for name in wrong), "")


def _names(folder: Path) -> set[str]:
    """All below a folder but the digests themselves, folders with a slash at the end."""
    return {name for name in _walk(folder) if name != DIGESTS}


def _walk(folder: Path) -> Iterator[str]:
    start = len(str(folder)) + 1

    def stop(error: OSError) -> None:
        raise error

    for path, folders, files in os.walk(folder, onerror=stop):
        for name in (*(f"{one}/" for one in folders), *files):
            yield f"{path}/{name}"[start:]
