# SPDX-License-Identifier: GPL-2.0-only
"""The kernel that boots is the kernel that was built: kernels that differ in one constant of equal
width, in one object directory, with a full ccache, whatever the clock does in between. Fifty of a
tiny configuration, and two in guests.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ci.base.progress import Progress
from ci.base.workspace import Workspace
from ci.kernel import build, bzimage, kconfig
from ci.kernel.build import Kernel
from ci.suites.mptcp import COLLECTION
from ci.trees.source import Source
from ci.trees.tree import Tree
from tests.commands.test_tasks import Done
from tests.conftest import ROOT, commit, git
from tests.guest.test_guests import SOURCE, inv, patch, shipped, verdict

pytestmark = pytest.mark.guest
__all__ = ["inv"]  # a fixture
KERNELS, STEPPED = 50, 20
HOUR = 3600 * 10**9
CHANGED = "lib/ctype.c"
TINY = "CONFIG_64BIT=y\nCONFIG_KERNEL_LZ4=y\n"


@pytest.fixture(scope="module")
def slot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A work tree of the kernel and an object directory of these tests' own, checked out a day
    ago."""
    found, _, _ = shipped()
    folder = tmp_path_factory.mktemp("fifty") / "slot"
    folder.mkdir()
    git(folder, "clone", "-q", "--shared", f"{found.slot / 'src'}", "src")
    git(folder / "src", "checkout", "-q", "--detach", found.commit)
    for name in git(folder / "src", "ls-files", "-z").split("\0"):
        if name:
            written = (folder / "src" / name).lstat().st_mtime_ns - 24 * HOUR
            os.utime(folder / "src" / name, ns=(written, written), follow_symlinks=False)
    git(folder / "src", "update-index", "-q", "--refresh")
    return folder


def shift(slot: Path, ns: int) -> None:
    """Let the clock go by ``-ns`` for what was built, and for the source of it that changed."""
    for path in (*(slot / "obj").rglob("*"), slot / "src" / CHANGED):
        if not path.is_dir():
            written = path.lstat().st_mtime_ns + ns
            os.utime(path, ns=(written, written), follow_symlinks=False)


def built(slot: Path, first: int, count: int, between: Callable[[int], None]) -> list[Kernel]:
    """Kernels whose constants are ``count`` numbers from ``first``."""
    workspace = Workspace(ROOT, slot.parent / "cache", slot.parent)
    source = Source("fifty", slot, git(slot / "src", "rev-parse", "HEAD"), "")
    text = (
        (slot / "src" / CHANGED)
        .read_text(encoding="utf-8")
        .partition("\nextern const int fifty;")[0]
    )
    made = []
    for number in range(count):
        constant = f"{text}\nextern const int fifty;\nconst int fifty = {first + number};\n"
        of = commit(slot / "src", {CHANGED: constant}, "a constant")
        tree = Tree(source, of, git(slot / "src", "rev-parse", "HEAD^{tree}"), (6, 12))
        made.append(
            build.build_kernel(
                tree, workspace, build.find_toolchain(), COLLECTION, Progress(), slot.parent / "log"
            )
        )
        between(number)
    return made


def right(kernels: list[Kernel]) -> bool:
    """Whether each image holds a kernel of its own, the one that was linked with it."""
    inside = [bzimage.build_id(one.bzimage) for one in kernels]
    assert inside == [one.build_id for one in kernels]
    assert inside == [bzimage.elf_build_id(one.folder / "vmlinux") for one in kernels]
    return len(set(inside)) == len({one.image_digest for one in kernels}) == len(kernels)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "read_fragments", lambda *_: (kconfig.parse_fragment(TINY, "tiny"),))


def test_fifty_kernels_are_fifty_images(slot: Path, tiny: None) -> None:
    assert right(built(slot, 1000, KERNELS, lambda _: None))


def test_the_clock_goes_back_and_forward_in_between(slot: Path, tiny: None) -> None:
    steps = {3: HOUR, 6: -HOUR}
    assert right(built(slot, 2000, STEPPED, lambda number: shift(slot, steps.get(number % 10, 0))))


def test_the_second_of_two_edits_is_not_judged_by_the_first_ones_kernel(
    inv: Callable[..., Done], project: Path, tmp_path: Path
) -> None:
    old = "\tif (READ_ONCE(msk->pm.remote_deny_join_id0))\n\t\tflags |="
    for constant, code in ((92, 0), (97, 1)):
        told = f"({{ static volatile int constant = {constant}; constant != 97; }}) && "
        edit = patch(
            tmp_path / str(constant),
            "mptcp: one constant",
            "net/mptcp/pm_kernel.c",
            old,
            old.replace("READ_ONCE", f"{told}READ_ONCE"),
        )
        assert (
            inv(
                "validate", "--source", SOURCE, "--series", str(edit), "--suite", "smoke"
            ).returncode
            == code
        )
        record = (project / "results/latest/run.json").read_text(encoding="utf-8")
        facts = json.loads(record)["kernels"]
        for side in ("base", "patched"):
            (control,) = (project / f"results/latest/{side}/userspace_pm").glob("control.log")
            assert facts[side]["build_id"] in control.read_text(encoding="utf-8")
    assert any("userspace_pm" in reason for reason in verdict(project)["reasons"])
