# SPDX-License-Identifier: GPL-2.0-only
"""ci.kernel.bzimage, and what ci.kernel.build does where an image holds another kernel than the one
built. ELF files are the linker's, packed by lz4; only the loader around them is made up."""

import json
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ci.base.arch import GUEST
from ci.base.errors import StageError
from ci.base.progress import Progress
from ci.base.workspace import Workspace, file_digest
from ci.kernel import build, bzimage
from ci.kernel.build import Kernel, Toolchain
from ci.kernel.objects import StaleError
from ci.suites.mptcp import COLLECTION
from ci.trees.source import Source
from ci.trees.tree import Tree
from tests.conftest import git

SECTORS = 3


def elf(folder: Path, constant: int, *, with_id: bool = True) -> Path:
    """A program whose build id is of ``constant``."""
    path = folder / f"elf-{constant}-{with_id}"
    if not path.exists():
        link = f"-Wl,-e0,--build-id={'sha1' if with_id else 'none'}"
        subprocess.run(
            ["gcc", "-nostdlib", "-static", link, "-x", "c", "-", "-o", path],
            check=True,
            text=True,
            input=f"const int constant = {constant};\n",
            stderr=subprocess.DEVNULL,
        )
    return path


def packed(program: Path, packer: str = "lz4 -l") -> bytes:
    """``program`` inside a bzImage."""
    inside = subprocess.run(
        [*packer.split(), "-c", program], check=True, capture_output=True
    ).stdout
    loader = bytearray((SECTORS + 1) * bzimage.SECTOR)
    loader[bzimage.SETUP_SECTS] = SECTORS
    loader[bzimage.MAGIC : bzimage.MAGIC + 4] = b"HdrS"
    struct.pack_into("<II", loader, bzimage.PAYLOAD, 100, len(inside) + 4)
    return (
        bytes(loader)
        + b"x" * 100
        + inside
        + struct.pack("<I", program.stat().st_size)
        + b"y" * 1000
    )


def test_the_build_id_inside(tmp_path: Path) -> None:
    image = tmp_path / "bzImage"
    found = []
    for constant in (1, 2):
        program = elf(tmp_path, constant)
        image.write_bytes(packed(program))
        found.append(bzimage.build_id(image))
        assert found[-1] == bzimage.elf_build_id(program)
    assert len(set(found)) == 2 and all(len(one) == 40 for one in found)


def test_what_has_no_build_id(tmp_path: Path) -> None:
    image = tmp_path / "bzImage"
    bare = elf(tmp_path, 1, with_id=False)
    for data in (b"", bytes(5000), packed(elf(tmp_path, 1), "gzip"), packed(bare)):
        image.write_bytes(data)
        assert bzimage.build_id(image) == ""
    assert bzimage.elf_build_id(bare) == bzimage.elf_build_id(image) == ""


@pytest.fixture
def built(
    tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Kernel]:
    """``kernel.build`` where make would leave a vmlinux of one constant and a bzImage of another, a
    pair a time."""
    src = tmp_path / "slot/src"
    src.mkdir(parents=True)
    git(src, "init", "-q")
    git(src, "commit", "-q", "--allow-empty", "-m", "a tree")
    commit = git(src, "rev-parse", "HEAD")
    pairs: list[tuple[int, int]] = []

    def make(tree: Tree, *words: object) -> tuple[str, ...]:
        obj = tree.source.slot / "obj"
        linked, inside = pairs.pop(0)
        (obj / "vmlinux").write_bytes(elf(tmp_path, linked).read_bytes())
        for name in (GUEST.image, ".config", "System.map", "include/config/kernel.release"):
            (obj / name).parent.mkdir(parents=True, exist_ok=True)
            (obj / name).write_text("6.12.1", encoding="utf-8")
        (obj / GUEST.image).write_bytes(packed(elf(tmp_path, inside)))
        return ()

    monkeypatch.setattr(build, "read_fragments", lambda *_: ())
    monkeypatch.setattr(build, "configure_kernel", lambda *_: None)
    monkeypatch.setattr(build, "_compile", make)

    def built(*made: tuple[int, int]) -> Kernel:
        pairs[:] = made
        tree = Tree(Source("test", tmp_path / "slot", commit, ""), commit, "", (6, 12))
        ready = build.build_kernel(
            tree, workspace, Toolchain("gcc", "ld"), COLLECTION, Progress(), tmp_path / "log"
        )
        assert pairs == [] and ready.build_id == bzimage.elf_build_id(
            elf(tmp_path, made[-1][0] if made else 1)
        )
        return ready

    return built


def test_an_image_that_is_not_of_its_vmlinux_is_built_again_from_nothing(
    built: Callable[..., Kernel],
) -> None:
    ready = built((2, 1), (2, 2))
    assert bzimage.build_id(ready.bzimage) == ready.build_id


def test_where_it_stays_so_the_remedy_is_told(built: Callable[..., Kernel]) -> None:
    with pytest.raises(StaleError, match=r"not the vmlinux .* `inv clean --cache`") as raised:
        built((2, 1), (2, 1))
    assert isinstance(raised.value, StageError)  # it says nothing of the series
    assert built((1, 1))


def test_a_kernel_of_the_cache_is_the_one_that_was_kept(
    built: Callable[..., Kernel], tmp_path: Path
) -> None:
    first = built((1, 1))
    assert built() == first
    other = tmp_path / "other"
    other.write_bytes(packed(elf(tmp_path, 2)))
    facts = json.loads((first.folder / "kernel.json").read_text(encoding="utf-8"))
    for image, changed in (
        (other.read_bytes(), {}),
        (other.read_bytes(), {"image_digest": file_digest(other)}),
        (first.bzimage.read_bytes()[:-1], {}),
        (first.bzimage.read_bytes(), {"build_id": "ab" * 20}),
        (first.bzimage.read_bytes(), {"compiled": None}),
        (first.bzimage.read_bytes(), {"release": 5}),
    ):
        first.bzimage.write_bytes(image)
        (first.folder / "kernel.json").write_text(json.dumps(facts | changed), encoding="utf-8")
        assert built((1, 1)) == first
    first.bzimage.unlink()
    assert built((1, 1)) == built() == first
