# SPDX-License-Identifier: GPL-2.0-only
"""Which QEMU runs the guests: its version, and a digest of what of it the guests see."""

import functools
from pathlib import Path

from ci.base import processes
from ci.base.arch import GUEST
from ci.base.workspace import digest, file_digest


def qemu_version(stage: str = "run") -> str:
    """``7.2.22``-like version with the packager's suffix; a :class:`StageError` where QEMU is
    missing."""
    return _version(processes.require(stage, GUEST.qemu, GUEST.qemu_package), stage)


@functools.cache
def _version(program: str, stage: str) -> str:
    first, *_ = processes.run([program, "--version"], stage=stage, timeout_s=20).stdout.splitlines()
    return first.removeprefix("QEMU emulator version ").strip()


@functools.cache
def _build_digest(program: Path) -> str:
    folders = processes.run([program, "-L", "help"], stage="run", timeout_s=20).stdout.splitlines()
    firmware = (
        next((Path(one, name) for one in folders if Path(one, name).exists()), None)
        for name in GUEST.firmware
    )
    return digest(*(path and file_digest(path) for path in (program, *firmware)))


def qemu_build() -> str:
    """SHA-256 (hex) over QEMU's program and the firmware it boots our guests with, which the same
    version may come with in other forms."""
    return _build_digest(Path(processes.require("run", GUEST.qemu, GUEST.qemu_package)))
