# SPDX-License-Identifier: GPL-2.0-only
"""Every path below the cache and ``results/``: digests, locks, and entries that exist only when
finished."""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock
from filelock import Timeout as LockTimeout

from ci.base.errors import StageError
from ci.base.holding import erase_path, hold_folder, sweep_folders
from ci.base.seals import file_digest as file_digest
from ci.base.seals import find_damage, write_digests
from ci.base.text import marked_lines

PROJECT = "patchverdict"
# Part of every key. To be raised when what earlier versions have kept can no longer be believed.
CACHE_VERSION = 3
SILENT_WAIT_S = 1.0


def digest(*parts: object) -> str:
    """SHA-256 (hex) of the canonical JSON of ``parts``: the key of a cache entry."""
    text = json.dumps([CACHE_VERSION, *parts], sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all: beside, flushed to disk, renamed."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)


def tell_damage(path: Path, damage: str) -> None:
    """Say that what the cache holds at ``path`` is damaged."""
    text = f"cache: {path} is damaged ({damage}); it is made again"
    print(marked_lines(text), file=sys.stderr, flush=True)


def remove_tree(path: Path) -> None:
    """Remove what is at ``path``, first renamed away so that no half of it is ever seen under its
    name; and what others left that were killed while they did so."""
    if os.path.lexists(path):
        path.rename(path.with_name(f".old-{path.name}-{secrets.token_hex(4)}"))
    for away in path.parent.glob(f".old-{path.name}-*"):
        erase_path(away)


@dataclass(frozen=True)
class Workspace:
    """Where things lie: ``root`` is the checkout, ``cache`` what can be made again, ``results`` the
    evidence. ``confined``: what a kernel tree brings runs in the sandbox."""

    root: Path
    cache: Path
    results: Path
    confined: bool = True

    def entry(self, kind: str, key: str) -> Path:
        """Path of the cache entry ``key`` of ``kind``; it exists only when it is finished."""
        return self.cache / kind / key

    def code_digest(self, *packages: str) -> str:
        """Digest of our own code: of those packages of it, or of all."""
        folder = self.root / "ci"
        found = (path for name in packages or (".",) for path in (folder / name).rglob("*"))
        ours = sorted(path for path in found if path.suffix in (".py", "") and path.is_file())
        return digest([file_digest(path) for path in ours])

    def ready(self, path: Path, *, quiet: bool = False) -> bool:
        """Whether an entry is there and holds what it was published with. Of one that is damaged a
        line says so, unless ``quiet``: whoever asks then publishes it anew."""
        if not os.path.lexists(path):
            return False
        damage = find_damage(path, memo=self.cache / "seen" / digest(str(path)))
        if damage and not quiet:
            tell_damage(path, damage)
        return not damage

    def keep(
        self, path: Path, lock: AbstractContextManager[None], make: Callable[[Path], None]
    ) -> Path:
        """The entry ``path``; where it is not there, or damaged, ``make`` fills it, under a lock
        that all of its makers take."""
        if not self.ready(path):
            with lock:
                if not self.ready(path, quiet=True):  # nobody else has made it meanwhile
                    with self.publish(path) as fresh:
                        make(fresh)
        return path

    @contextlib.contextmanager
    def publish(self, path: Path, *, sealed: bool = True) -> Iterator[Path]:
        """A new folder to fill, renamed to ``path`` at the end, with the digests of all that is in
        it; on an exception it goes without a trace. One that goes on to change is not
        ``sealed``."""
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_name(f".new-{path.name}-{secrets.token_hex(4)}")
        with contextlib.ExitStack() as ours:
            with hold_folder(path.parent):
                sweep_folders(path.parent.glob(".new-*"))
                fresh.mkdir()
                ours.callback(erase_path, fresh)
                ours.enter_context(hold_folder(fresh))
            yield fresh
            if sealed:
                write_digests(fresh)
            with hold_folder(path.parent):
                remove_tree(path)
                fresh.rename(path)

    @contextlib.contextmanager
    def lock(self, name: str, *, stage: str, timeout_s: float = 3600) -> Iterator[None]:
        """Hold the lock ``name`` of this cache; others wait up to ``timeout_s`` seconds, and say
        for whom."""
        folder = self.cache / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        lock, owner = FileLock(folder / f"{name}.lock"), folder / f"{name}.owner"
        try:
            lock.acquire(timeout=min(timeout_s, SILENT_WAIT_S))
        except LockTimeout:
            try:
                holder = owner.read_text(encoding="utf-8")
            except OSError:  # it has just been let go, or not yet said whose it is
                holder = "another run"
            print(
                marked_lines(f"{stage}: waiting for {name}, held by {holder}"),
                file=sys.stderr,
                flush=True,
            )
            try:
                lock.acquire(timeout=timeout_s)
            except LockTimeout:
                what = f"{holder} has held {name} for {timeout_s:.0f} s; wait for it or end it"
                raise StageError(stage, what) from None
        try:
            owner.write_text(f"process {os.getpid()} (stage {stage})", encoding="utf-8")
            yield
        finally:
            owner.unlink(missing_ok=True)
            lock.release()

    def new_run(self) -> Path:
        """A fresh folder ``results/<run-id>``; the id sorts by time."""
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        path = self.results / f"{stamp}-{secrets.token_hex(2)}"
        path.mkdir(parents=True)
        return path

    def clean(self, *, cache: bool) -> None:
        """Remove every run, and with ``cache`` the whole cache; nothing that a user brought is in
        either."""
        for path in self.results.iterdir() if self.results.is_dir() else ():
            if path.is_symlink():
                path.unlink()
            elif path.is_dir():
                shutil.rmtree(path)
        if cache and self.cache.is_dir():
            shutil.rmtree(self.cache)

    def latest(self) -> Path:
        """The run that ``results/latest`` points to; a :class:`StageError` when there is none."""
        link = self.results / "latest"
        if not link.exists():
            raise StageError(
                "report", f"no finished run under {self.results}; run `inv validate` first"
            )
        return link.resolve()

    def point_latest(self, run: Path) -> None:
        """Let ``results/latest`` point to ``run``, in one step."""
        beside = self.results / f".latest-{secrets.token_hex(4)}"
        beside.symlink_to(run.name)
        beside.rename(self.results / "latest")
