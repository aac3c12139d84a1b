# SPDX-License-Identifier: GPL-2.0-only
"""The commands of kernel-patches/README.md, run as they stand there, on a home that has what they
name."""

import gzip
import os
import re
import subprocess
from collections.abc import Callable
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.conftest import ROOT, git
from tests.series.test_forms import box, sent
from tests.series.test_locate import archive

__all__ = ["archive"]  # a fixture
MESSAGE_ID = "20250912-topic-v1-0-40171884ade8@kernel.org"


def commands() -> list[str]:
    """The lines of the section's first block."""
    section = (
        (ROOT / "kernel-patches/README.md")
        .read_text(encoding="utf-8")
        .partition("\n## How a series may come\n")[2]
        .partition("\n## ")[0]
    )
    block = re.search(r"```sh\n(.*?)```", section, re.S)
    assert block
    return [line.partition("  #")[0].strip() for line in block[1].splitlines()]


@pytest.fixture
def home(tmp_path: Path, kernel_tree: Path, demo_series: Path) -> Path:
    """~/src/linux with the branch topic, and the two patches of it in every form that the README
    names."""
    folder = tmp_path / "home"
    (folder / "src").mkdir(parents=True)
    (folder / "mail").mkdir()
    (folder / "patches").mkdir()
    kernel_tree.rename(folder / "src/linux")
    git(folder / "src/linux", "branch", "-m", "with-series", "topic")
    raws = [path.read_bytes() for path in sorted(demo_series.glob("*.patch"))]
    (folder / "mail/thread.mbox").write_bytes(
        gzip.compress(box([sent(n, 2, raw) for n, raw in enumerate(raws, 1)]))
    )
    (folder / "mail/0009.eml").write_bytes(sent(9, 17, raws[0]))
    (folder / "fix.diff").write_text(
        git(folder / "src/linux", "diff", "main..topic") + "\n", encoding="utf-8"
    )
    demo_series.rename(folder / "patches/my-series")
    return folder


@pytest.mark.whole
def test_every_command_of_the_section(
    home: Path, project: Path, archive: Callable[[list[bytes]], ThreadingHTTPServer], tmp_path: Path
) -> None:
    raws = [path.read_bytes() for path in sorted((home / "patches/my-series").glob("*.patch"))]
    cover = (
        f"Message-ID: <{MESSAGE_ID}>\nFrom: Ada <ada@example.org>\nSubject: [PATCH 0/2]"
        " cover\n\nWords.\n".encode()
    )
    parent = f"In-Reply-To: <{MESSAGE_ID}>\nFrom: ".encode()
    answers = [sent(n, 2, raw).replace(b"From: ", parent, 1) for n, raw in enumerate(raws, 1)]
    server = archive([cover, *answers])
    env = {
        "PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}",
        "HOME": str(home),
        "XDG_CACHE_HOME": str(tmp_path / "c"),
        "PATCHVERDICT_ARCHIVE": f"http://127.0.0.1:{server.server_address[1]}/all/",
    }
    whole, first = (
        git(home / "src/linux", "rev-parse", f"{name}^{{tree}}") for name in ("topic", "topic~1")
    )
    wanted = {"--only 1": first, ".eml": first}
    assert len(commands()) == 8
    for line in commands():
        ran = subprocess.run(
            ["/bin/sh", "-c", line],
            cwd=project,
            env=env,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ran.returncode == 0, f"{line}\n{ran.stderr}"
        tree = next((tree for mark, tree in wanted.items() if mark in line), whole)
        assert f"patched: tree {tree}" in ran.stdout, line
