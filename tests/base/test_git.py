# SPDX-License-Identifier: GPL-2.0-only
"""ci.base.git: what git says of a patch, and what it says of the machine."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from ci.base import processes
from ci.base.errors import StageError
from ci.base.git import Git, check_written, patch_refused
from tests.conftest import git, write

NUMBERS = "".join(f"{number}\n" for number in range(1, 41))
HUNK = "@@ -9,3 +9,3 @@\n 9\n-10\n+ten\n 11\n"


def patch(old: str = "a", new: str = "a", body: str = HUNK, more: str = "") -> str:
    return f"diff --git a/{old} b/{new}\n{more}--- a/{old}\n+++ b/{new}\n{body}"


NEW = "diff --git a/{0} b/{0}\nnew file mode 100644\n--- /dev/null\n+++ b/{0}\n@@ -0,0 +1 @@\n+x\n"
BINARY = (
    "diff --git a/bin b/bin\nindex 1111111..2222222 100644\nBinary files a/bin and b/bin differ\n"
)
REFUSED = {
    "context": patch(body=HUNK.replace(" 9\n", " nine\n")),
    "corrupt": patch(body=HUNK.replace("-10\n", "-10\n-10\n-10\n")),
    "nothing": "no patch at all\n",
    "no file": patch("b", "b"),
    "outside": patch("../a", "../a"),
    "inside .git": NEW.format(".git/x"),
    "there already": NEW.format("a"),
    "through a link": NEW.format("link/x"),
    "no name": patch().replace("--- a/a\n+++ b/a\n", ""),
    "bare hunk": HUNK,
    "other mode": "diff --git a/a b/a\nold mode 100755\nnew mode 100644\n",
    "still has contents": (
        patch(more="deleted file mode 100644\n").replace("+++ b/a", "+++ /dev/null")
    ),
    "binary without its bytes": BINARY,
    "a name like an error": patch("fatal: no space", "fatal: no space"),
}


@pytest.fixture
def repository(tmp_path: Path) -> Git:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    write(folder, {"a": NUMBERS, "bin": "\0"})
    (folder / "link").symlink_to("bin")
    git(folder, "add", "-A")
    return Git(folder, "apply")


@pytest.mark.parametrize("name", REFUSED)
def test_a_patch_that_is_refused(name: str, repository: Git) -> None:
    done = repository.judged("apply", "--cached", "-", stdin=REFUSED[name])
    if name == "other mode":
        assert done.returncode == 0  # a warning
    else:
        assert done.returncode != 0 and patch_refused(done), done.stderr


def test_a_patch_that_is_taken(repository: Git) -> None:
    done = repository.judged("apply", "--cached", "-", stdin=patch())
    assert done.returncode == 0 and not patch_refused(done)


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk that soon has no space."""
    folder = tmp_path / "full"
    folder.mkdir()
    mounted = processes.run(
        ["mount", "-t", "tmpfs", "-o", "size=8k", "none", folder],
        stage="test",
        timeout_s=20,
        ok=None,
    )
    if mounted.returncode != 0:
        pytest.skip("needs root, to mount a disk that is full")
    try:
        yield folder
    finally:
        processes.run(["umount", folder], stage="test", timeout_s=20)


def test_a_full_disk_is_no_refusal(repository: Git, full: Path) -> None:
    shutil.copyfile(repository.folder / ".git/index", full / "index")
    (full / "more").touch()
    with contextlib.suppress(OSError):
        (full / "more").write_bytes(bytes(65536))
    with pytest.raises(
        StageError, match=r"git apply could not look at the patch: .*([Ss]pace|unable to write)"
    ):
        repository.judged(
            "apply", "--cached", "-", stdin=patch(), env={"GIT_INDEX_FILE": str(full / "index")}
        )


def test_a_mail_that_git_cuts_short_is_noticed(repository: Git, full: Path, tmp_path: Path) -> None:
    """git mailinfo ends with 0 though half of the patch is missing."""
    mail = "From: a <a@b>\nSubject: x\n\nx\n---\n" + patch() + "-- \n" + "x\n" * 20_000
    for folder in (full, tmp_path):
        repository.run("mailinfo", folder / "msg", folder / "patch", stdin=mail)
    assert (full / "patch").stat().st_size < (tmp_path / "patch").stat().st_size
    check_written(tmp_path, "series")
    with pytest.raises(StageError, match=f"{full}: .*No space left"):
        check_written(full, "series")


@pytest.mark.parametrize("damage", ["missing", "empty"])
def test_an_object_that_cannot_be_read_is_no_refusal(damage: str, repository: Git) -> None:
    name = git(repository.folder, "rev-parse", ":a")
    blob = repository.folder / ".git/objects" / name[:2] / name[2:]
    blob.chmod(0o644)
    os.truncate(blob, 0) if damage == "empty" else blob.unlink()
    with pytest.raises(StageError, match="git apply could not look at the patch"):
        repository.judged("apply", "--cached", "-", stdin=patch())


def test_a_repository_that_is_gone_is_no_refusal(repository: Git) -> None:
    shutil.rmtree(repository.folder / ".git")
    with pytest.raises(StageError, match="could not look"):
        repository.judged("apply", "--cached", "-", stdin=patch())
