# SPDX-License-Identifier: GPL-2.0-only
"""ci.base.seals: whatever happens to a sealed folder is found, and nothing else is."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ci.base.seals import DIGESTS, find_damage, write_digests
from tests.conftest import write


def make_folder(folder: Path) -> Path:
    """A sealed folder with files, a program, an empty folder and links."""
    write(folder, {"image": "0" * 8192, "sub/run.sh": "#!/bin/sh\n", "sub/empty": ""})
    (folder / "sub/run.sh").chmod(0o755)
    (folder / "bare").mkdir()
    (folder / "link").symlink_to("sub")
    (folder / "nowhere").symlink_to("/nonexistent")
    write_digests(folder)
    return folder


def put_zeros(file: Path, size: int = 4096) -> None:
    """What a disk may give back: the same size, and nothing of the time tells it."""
    times = file.stat()
    with file.open("r+b") as out:
        out.seek(file.stat().st_size // 2)
        out.write(bytes(min(size, file.stat().st_size)))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


# What befalls the folder, as words for a shell in it, and what is said of it.
DAMAGE = {
    "dd if=/dev/zero of=image bs=4096 seek=1 count=1 conv=notrunc": "image is not what",
    "truncate -s 100 image": "image is not what",
    ": >sub/run.sh": r"sub/run\.sh is not what",
    "chmod -x sub/run.sh": r"run\.sh is not what",
    "rm sub/empty": "sub/empty is missing",
    "rmdir bare": "bare/ is missing",
    "touch sub/more": "sub/more does not belong there",
    "ln -sfn bare link": "link/ is not what",
    "ln -sfn elsewhere nowhere": "nowhere is not what",
    "rm image; mkfifo image": "image is not what",
    f"rm {DIGESTS}": r"digests\.json is missing",
    f"rm {DIGESTS}; mkfifo {DIGESTS}": r"digests\.json is missing",
    f"truncate -s 100 {DIGESTS}": r"digests\.json: ",
    f": >{DIGESTS}": r"digests\.json: ",
    f"echo '{{}}' >{DIGESTS}": "holds no digests",
    f"echo '[1]' >{DIGESTS}": "holds no digests",
    "cd ..; rm -r entry; touch entry": r"digests\.json is missing",
}


@pytest.mark.parametrize("words", DAMAGE)
def test_damage_is_found(words: str, tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "entry")
    assert find_damage(folder) == ""
    subprocess.run(["sh", "-c", words], cwd=folder, check=True, capture_output=True)
    assert re.search(DAMAGE[words], find_damage(folder))


def test_every_byte_counts(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "entry")
    for place in range(0, 8192, 1023):
        whole = (folder / "image").read_bytes()
        flipped = bytearray(whole)
        flipped[place] ^= 1
        (folder / "image").write_bytes(flipped)
        assert find_damage(folder) == "image is not what was kept"
        (folder / "image").write_bytes(whole)
        assert find_damage(folder) == ""


def test_a_copy_is_whole_and_times_do_not_matter(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "entry")
    shutil.copytree(folder, tmp_path / "copy", symlinks=True)
    os.utime(tmp_path / "copy/image", (1, 1))
    assert find_damage(tmp_path / "copy") == ""


def test_some_files_of_a_folder_alone(tmp_path: Path) -> None:
    write(tmp_path, {"run.json": "{}", "junit.xml": "<a/>"})
    write_digests(tmp_path, ["run.json"])
    write(tmp_path, {"junit.xml": "<b/>", "more": ""})
    assert find_damage(tmp_path, extra=True) == ""
    assert find_damage(tmp_path) == "junit.xml does not belong there"
    write(tmp_path, {"run.json": "[]"})
    assert find_damage(tmp_path, extra=True) == "run.json is not what was kept"
