# SPDX-License-Identifier: GPL-2.0-only
"""ci.guest.qemu: the version is what the program says, a build what the guests see of it."""

import subprocess
from pathlib import Path

import pytest

from ci.base.arch import GUEST
from ci.base.errors import StageError
from ci.guest import qemu


def test_qemu_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(StageError, match="install the package qemu-system-x86"):
        qemu.qemu_version()


def test_the_version_is_qemus_own() -> None:
    said = subprocess.run(
        [GUEST.qemu, "--version"], capture_output=True, text=True, check=True
    ).stdout
    assert qemu.qemu_version() and qemu.qemu_version() in said


def test_a_build_is_the_program_and_the_firmware_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    builds = []
    for name, firmware in (("one", b"bios"), ("same", b"bios"), ("newer", b"BIOS"), ("bare", None)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / GUEST.qemu).write_text(
            '#!/bin/sh\necho /nonexistent\necho "${0%/*}"\n', encoding="ascii"
        )
        (folder / GUEST.qemu).chmod(0o755)
        if firmware:
            (folder / GUEST.firmware[0]).write_bytes(firmware)
        monkeypatch.setenv("PATH", str(folder))
        builds.append(qemu.qemu_build())
    assert builds[0] == builds[1] and len(set(builds)) == 3
