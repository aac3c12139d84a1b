# SPDX-License-Identifier: GPL-2.0-only
"""ci.kernel.trouble: what the machine did is not the tree's fault, and what the tree did is."""

import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from ci.base.errors import BuildError, StageError
from ci.kernel.trouble import failed_build

OURS = [
    "ld: final link failed: No space left on device",
    "net/a.c:1:2: fatal error: error writing to /tmp/cc1.s: Disk quota exceeded",
    "gcc: fatal error: Killed signal terminated program cc1",
    "collect2: fatal error: ld terminated with signal 9 [Killed]",
    "make[3]: *** [scripts/Makefile.build:9: net/a.o] Killed",
    "make[3]: *** [scripts/Makefile.build:9: net/a.o] Error 137",
    "gcc: fatal error: cannot execute 'cc1': vfork: Resource temporarily unavailable",
    "cc1: out of memory allocating 65536 bytes after a total of 1 bytes",
    "net/a.c: Too many open files",
    "as: net/a.o: File too large",
]
THEIRS = [
    "net/a.c:1:2: error: unknown type name 'killed'",
    "make[3]: *** [scripts/Makefile.build:9: net/a.o] Error 1",
    "net/a.c:1:2: internal compiler error: Segmentation fault",
    "ld: net/a.o: undefined reference to `out_of_memory'",
]


@pytest.mark.parametrize("line", OURS)
def test_the_machine_is_to_blame(line: str, tmp_path: Path) -> None:
    error = failed_build("lines", f"  CC  net/a.o\n{line}\nmore\n", tmp_path, tmp_path / "log")
    assert isinstance(error, StageError) and error.message.endswith(f": {line}")


@pytest.mark.parametrize("line", THEIRS)
def test_the_tree_is_to_blame(line: str, tmp_path: Path) -> None:
    error = failed_build("lines", f"{line}\n", tmp_path, tmp_path / "log")
    assert isinstance(error, BuildError) and error.message == "lines"


def test_a_disk_that_is_full_says_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What wrote a file there may have said nothing of it."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    error = failed_build("lost CONFIG_A", "", tmp_path, tmp_path / "log")
    assert isinstance(error, StageError) and f"no space left for {tmp_path}" in error.message
