# SPDX-License-Identifier: GPL-2.0-only
"""ci.guest.rootfs: the guest's root can be made by anybody, anywhere, and is the same whoever made
it."""

import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ci.base.workspace import Workspace, file_digest
from ci.guest import cpio, rootfs
from tests.conftest import ROOT

NOBODY = 65534  # has no subuids anywhere, so that no user namespace could be made for it


@pytest.fixture
def closed_home() -> Iterator[Path]:
    """A home of mode 0700, of an ordinary user where we are root, else of our own."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        home = Path(folder) / "home"
        home.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(home, NOBODY, NOBODY)
        yield home


def ordinary(argv: Sequence[str | Path], home: Path) -> None:
    """Run a command in a home as its owner, with a umask that hides all from others."""
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home)}
    who: dict[str, Any] = (
        {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    )
    done = subprocess.run(
        argv, cwd=home, env=env, umask=0o077, capture_output=True, text=True, timeout=600, **who
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.guest
def test_the_root_is_the_same_whoever_makes_it(
    closed_home: Path, workspace: Workspace, tmp_path: Path
) -> None:
    table = rootfs.recipe(workspace)
    ordinary(
        ["mmdebstrap", *rootfs.packages_command(table, closed_home / "root.tar", as_root=False)],
        closed_home,
    )
    ours = rootfs.root(workspace, tmp_path / "image.log")
    assert (ours / "packages.txt").read_text(encoding="utf-8").count("_amd64\n") > 30
    digests = []
    for name, tar in (("ours", ours / "root.tar"), ("theirs", closed_home / "root.tar")):
        with (tmp_path / name).open("wb") as out:
            cpio.write(cpio.from_tar(tar, table["trim"]["paths"]), out)
        digests.append(file_digest(tmp_path / name))
    assert digests[0] == digests[1]


def test_nobody_needs_a_user_namespace_and_no_file_of_the_checkout(workspace: Workspace) -> None:
    table = rootfs.recipe(workspace)
    for as_root, mode in ((False, "--mode=chrootless"), (True, "--mode=root")):
        words = [
            str(word) for word in rootfs.packages_command(table, Path("root.tar"), as_root=as_root)
        ]
        assert mode in words and not any(str(ROOT) in word for word in words)
    listed = (ROOT / "ci/packages.txt").read_text(encoding="utf-8")
    assert (
        "uidmap" not in listed and "\ngpg gpg\n" in listed
    )  # gpg: only a Recommends of mmdebstrap
