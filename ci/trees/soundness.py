# SPDX-License-Identifier: GPL-2.0-only
"""Whether a repository of the cache can still be read. git's files carry digests of their own: a
pack, its index and the index of the work tree end with one, and a loose object is named by its
own."""

import hashlib
import os
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ci.base.errors import StageError
from ci.base.git import Git
from ci.base.seen import whole_since
from ci.base.workspace import tell_damage

SHA1_BYTES = 20
BLOCK = 1 << 20
LOOSE_FOLDER, LOOSE_NAME = re.compile(r"[0-9a-f]{2}"), re.compile(r"[0-9a-f]{38}")


def is_sound(folder: Path, gitdir: Path, commit: str = "") -> bool:
    """Whether the repository in ``gitdir`` holds what git put there, and a ``commit`` where one is
    named; else a line says that ``folder``, which holds it, is made again."""
    damage = find_damage(gitdir, commit)
    if damage:
        tell_damage(folder, damage)
    return not damage


def find_damage(gitdir: Path, commit: str = "") -> str:
    """What of a repository of ours cannot be read, in words; empty for nothing. All its bytes but
    those of the work tree are looked at, 1 GB a second; fsck takes a hundred times as long. What
    nobody touched since is not read again (:mod:`ci.base.seen`)."""

    def check(paths: Sequence[Path]) -> str:
        checks = dict(_files(gitdir))
        wrong = (path for path in paths if not checks[path](path))
        return next((f"{path.relative_to(gitdir)} is not what git wrote" for path in wrong), "")

    try:
        damage = whole_since(gitdir / "seen", lambda: dict(_files(gitdir)), check)
    except OSError as error:
        return f"{error.filename or gitdir}: {error.strerror}"
    return damage or _ask_git(gitdir, commit)


def _files(gitdir: Path) -> Iterator[tuple[Path, Callable[[Path], bool]]]:
    """The files of a repository that carry a digest, each with its check."""
    if (gitdir / "index").exists():
        yield gitdir / "index", _ends_well
    for path in sorted((gitdir / "objects/pack").iterdir()):
        if path.suffix == ".pack":
            yield path, _ends_well
            yield path.with_suffix(".idx"), _fits_pack
    for folder in (gitdir / "objects").iterdir():
        if LOOSE_FOLDER.fullmatch(folder.name):
            for path in folder.iterdir():
                if LOOSE_NAME.fullmatch(path.name):  # another one is still being written
                    yield path, _names_itself


def _ends_well(path: Path) -> bool:
    """Whether a file ends with the SHA-1 of what is before."""
    found = hashlib.sha1(usedforsecurity=False)
    with path.open("rb") as file:
        left = os.fstat(file.fileno()).st_size - SHA1_BYTES
        while left > 0 and (block := file.read(min(BLOCK, left))):
            found.update(block)
            left -= len(block)
        return left == 0 and file.read() == found.digest()


def _fits_pack(index: Path) -> bool:
    """Whether the index of a pack is whole, and of that pack."""
    with index.with_suffix(".pack").open("rb") as pack, index.open("rb") as file:
        pack.seek(-SHA1_BYTES, os.SEEK_END)
        file.seek(-2 * SHA1_BYTES, os.SEEK_END)
        same = file.read(SHA1_BYTES) == pack.read()
    return same and _ends_well(index)


def _names_itself(path: Path) -> bool:
    """Whether a loose object is the one that it is named after."""
    try:
        found = hashlib.sha1(zlib.decompress(path.read_bytes()), usedforsecurity=False)
    except zlib.error:
        return False
    return found.hexdigest() == path.parent.name + path.name


def _ask_git(gitdir: Path, commit: str) -> str:
    """What git says where it cannot read its own files and refs, or does not have the commit."""
    git, settled = Git(gitdir, "fetch"), {"GIT_DIR": str(gitdir)}
    try:
        refs = git.run("for-each-ref", "--format=%(refname)", env=settled, ok=None)
        head = git.run("symbolic-ref", "-q", "HEAD", env=settled, ok=(0, 1))
    except StageError as error:
        return error.message.splitlines()[-1]
    trouble = refs.stderr or head.stderr
    if trouble or refs.returncode != 0:
        return (trouble.strip().splitlines() or ["git says nothing"])[-1]
    return "" if not commit or git.has(commit) else f"it does not hold commit {commit[:80]}"
