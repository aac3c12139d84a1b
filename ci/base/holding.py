# SPDX-License-Identifier: GPL-2.0-only
"""Folders that are somebody's as long as he lives: a lock on the folder itself, which ends with its
holder, however that ends. What nobody holds any more is swept away by the next."""

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

# .patchverdict-scratch-k3x_9a0b
SCRATCH = re.compile(r"\.patchverdict-scratch-[a-z0-9_]{8}")


def erase_path(path: Path) -> None:
    """Remove a folder or a file; somebody else may be at it, too."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def hold_folder(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a folder; without ``wait``, a BlockingIOError where somebody else does."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(fd)


def sweep_folders(folders: Iterable[Path]) -> None:
    """Remove those of the folders that are this user's and that nobody holds."""
    for left in folders:
        with contextlib.suppress(OSError), hold_folder(left, wait=False):
            if not left.is_symlink() and left.stat().st_uid == os.geteuid():
                erase_path(left)


@contextlib.contextmanager
def hold_scratch() -> Iterator[None]:
    """Temporary files of ours, and of all that we start, lie in one folder, which goes with us. So
    gcc's and git's go, too, when we are killed: with the next of us. Where no such folder can be
    made, whoever needs one will say so."""
    before = tempfile.tempdir, os.environ.get("TMPDIR")
    with contextlib.ExitStack() as ours:
        with contextlib.suppress(OSError):
            parent = Path(tempfile.gettempdir())
            sweep_folders(path for path in parent.iterdir() if SCRATCH.fullmatch(path.name))
            # It gets its name when it is held: no sweep of others comes in between.
            made = Path(tempfile.mkdtemp(prefix=".", dir=parent))
            folder = parent / f".patchverdict-scratch-{made.name[-8:]}"
            ours.callback(erase_path, folder)
            ours.enter_context(hold_folder(made))
            made.chmod(0o711)  # apt fetches packages as a user of its own
            made.rename(folder)
            tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
        try:
            yield
        finally:
            tempfile.tempdir = before[0]
            if before[1] is None:
                os.environ.pop("TMPDIR", None)
            else:
                os.environ["TMPDIR"] = before[1]
