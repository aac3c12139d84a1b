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
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock
from filelock import Timeout as LockTimeout

from ci.base.errors import StageError
from ci.base.text import marked_lines

PROJECT = "patchverdict"
# Part of every key. To be raised when what earlier versions have kept can no longer be believed.
CACHE_VERSION = 2
SILENT_WAIT_S = 1.0


def digest(*parts: object) -> str:
    """SHA-256 (hex) of the canonical JSON of ``parts``: the key of a cache entry."""
    text = json.dumps([CACHE_VERSION, *parts], sort_keys=True, ensure_ascii=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all: beside, flushed to disk, renamed."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with beside.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    beside.rename(path)


def remove_tree(path: Path) -> None:
    """Remove a folder, first renamed away so that no half of it is ever seen under its name."""
    if path.exists():
        away = path.with_name(f".old-{path.name}-{secrets.token_hex(4)}")
        path.rename(away)
        shutil.rmtree(away)


@dataclass(frozen=True)
class Workspace:
    """Where things lie: ``root`` is the checkout, ``cache`` what can be made again, ``results`` the
    evidence."""

    root: Path
    cache: Path
    results: Path

    def entry(self, kind: str, key: str) -> Path:
        """Path of the cache entry ``key`` of ``kind``; it exists only when it is finished."""
        return self.cache / kind / key

    @contextlib.contextmanager
    def publish(self, path: Path) -> Iterator[Path]:
        """A new folder to fill, renamed to ``path`` at the end; on an exception it goes without a
        trace."""
        path.parent.mkdir(parents=True, exist_ok=True)
        for stale in path.parent.glob(f".new-{path.name}-*"):
            shutil.rmtree(stale)
        fresh = path.with_name(f".new-{path.name}-{secrets.token_hex(4)}")
        fresh.mkdir()
        try:
            yield fresh
            remove_tree(path)
            fresh.rename(path)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)

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
