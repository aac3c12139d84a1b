# SPDX-License-Identifier: GPL-2.0-only
"""ci.base.holding: temporary files go with who made them, or with the next one."""

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ci.base import processes
from ci.base.holding import SCRATCH, hold_folder, hold_scratch, sweep_folders
from tests.conftest import ROOT

HOLDS = (
    "import tempfile; from ci.base.holding import hold_scratch\n"
    "with hold_scratch():\n"
    "    print(tempfile.mkdtemp(), flush=True); input()\n"
)


@pytest.fixture
def tmpdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def start(tmpdir: Path) -> "tuple[subprocess.Popen[str], Path]":
    """A process that has a temporary folder, and that folder."""
    us = subprocess.Popen(
        [sys.executable, "-c", HOLDS],
        cwd=ROOT,
        env=os.environ | {"TMPDIR": str(tmpdir)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert us.stdout
    return us, Path(us.stdout.readline().strip())


def test_temporary_files_go_with_us(tmpdir: Path) -> None:
    with hold_scratch():
        (scratch,) = tmpdir.iterdir()
        assert SCRATCH.fullmatch(scratch.name)
        assert Path(tempfile.mkdtemp()).parent == scratch
        told = processes.run(["sh", "-c", "echo $TMPDIR"], stage="run", timeout_s=20).stdout
        assert told.strip() == str(scratch)
    assert not list(tmpdir.iterdir()) and os.environ["TMPDIR"] == str(tmpdir)
    assert Path(tempfile.gettempdir()) == tmpdir


def test_those_of_one_that_was_killed_go_with_the_next(tmpdir: Path) -> None:
    killed, left = start(tmpdir)
    living, kept = start(tmpdir)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert left.is_dir()
    others = [tmpdir / ".patchverdict-scratch-of-mine", tmpdir / "patchverdict", tmpdir / ".x"]
    for path in others:
        path.mkdir()
    (link := tmpdir / ".patchverdict-scratch-00000000").symlink_to(others[1])
    with hold_scratch():
        assert not left.exists() and kept.is_dir()
    living.communicate("\n", timeout=20)
    assert sorted(tmpdir.iterdir()) == sorted([*others, link])


def test_where_no_folder_can_be_made_nothing_is_held(
    tmpdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmpdir / "nowhere"))
    with hold_scratch():
        assert tempfile.gettempdir() == str(tmpdir / "nowhere")
    assert not list(tmpdir.iterdir())


def test_what_is_held_is_not_swept(tmp_path: Path) -> None:
    (mine := tmp_path / "mine").mkdir()
    (file := tmp_path / "file").touch()
    with hold_folder(mine):
        sweep_folders([mine, file, tmp_path / "gone"])
        with pytest.raises(BlockingIOError), hold_folder(mine, wait=False):
            pass
    assert mine.is_dir()
    sweep_folders([mine])
    assert not mine.exists() and file.exists()
