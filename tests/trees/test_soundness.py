# SPDX-License-Identifier: GPL-2.0-only
"""ci.trees.soundness: a repository of the cache that cannot be read is made again, with a line that
says so."""

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ci.base.progress import Progress
from ci.base.settings import Settings
from ci.series.patches import load_series
from ci.trees import git_store
from ci.trees.fetch import fetch_source
from ci.trees.soundness import find_damage
from ci.trees.source import Source
from ci.trees.tree import derive_trees
from tests.conftest import git

# What befalls a repository, as words for a shell in its .git, and what is said of it. Objects and
# packs are made read-only by git.
DAMAGE = {
    "f=$(ls objects/pack/*.pack); chmod u+w $f; dd if=/dev/zero of=$f bs=16 seek=9 count=2 "
    "conv=notrunc": r"objects/pack/pack-\w+\.pack is not what git wrote",
    "f=$(ls objects/pack/*.pack); chmod u+w $f; truncate -s 100 $f": r"\.pack is not what",
    "f=$(ls objects/pack/*.idx); chmod u+w $f; truncate -s -4 $f": r"\.idx is not what",
    "rm objects/pack/*.idx": "No such file",
    "f=$(ls -d objects/??/* | head -1); chmod u+w $f; : >$f": r"objects/../\w+ is not what",
    "f=$(ls -d objects/??/* | head -1); chmod u+w $f; printf x | dd of=$f bs=1 seek=9 "
    "conv=notrunc": r"objects/../\w+ is not what",
    "a=$(ls -d objects/??/* | head -1); b=$(ls -d objects/??/* | tail -1); cp -f $b $a": "is not",
    "dd if=/dev/zero of=index bs=8 seek=3 count=1 conv=notrunc": "index is not what",
    ": >index": "index is not what",
    ": >HEAD": "not a git repository",
    "rm HEAD": "not a git repository",
    "echo '[core' >config": "bad config line",
    "for f in $(find refs -type f); do : >$f; done": "ignoring broken ref|No such ref",
    "rm -r objects": "No such file",
    "rm -r ../.git": "No such file",
}


@pytest.fixture
def source(
    settings_for: Callable[..., Settings],
    kernel_tree: Path,
    demo_series: Path,
    progress: Progress,
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[..., Source]:
    """The kernel by git from a folder, with trees derived and one of them checked out: packs in the
    store, loose objects in the slot."""
    monkeypatch.setattr(git_store, "checked", set())

    def fetched(kind: str = "source") -> Source:
        git_store.checked.clear()  # as a new process
        series = load_series(demo_series)
        where = f"git:file://{kernel_tree}@main" if kind == "source" else str(kernel_tree)
        settings = settings_for(**{kind: where})
        found = fetch_source(settings, series, progress)
        trees = derive_trees(series, found, frozenset())
        with trees.patched.checked_out(settings.workspace):
            pass
        return found

    return fetched


def harm(folder: Path, words: str) -> None:
    done = subprocess.run(["sh", "-ec", words], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", DAMAGE)
def test_damage_is_found(words: str, tmp_path: Path, kernel_tree: Path) -> None:
    if "pack" in words:
        git(kernel_tree, "repack", "-adq")
    head = git(kernel_tree, "rev-parse", "HEAD")
    assert find_damage(kernel_tree / ".git", head) == ""
    harm(kernel_tree / ".git", words)
    assert re.search(DAMAGE[words], find_damage(kernel_tree / ".git", head))


def test_a_damaged_slot_is_made_again(
    source: Callable[[], Source], capsys: pytest.CaptureFixture[str]
) -> None:
    found = source()
    gitdir = found.slot / "src/.git"
    before = git(found.slot / "src", "rev-parse", "refs/patched")
    for words in (": >index", next(one for one in DAMAGE if "objects/??" in one)):
        capsys.readouterr()
        harm(gitdir, words)
        again = source()
        (said,) = (line for line in capsys.readouterr().err.splitlines() if "cache: " in line)
        assert f"{found.slot} is damaged (" in said and said.endswith("; it is made again")
        assert again == found and find_damage(gitdir, again.commit) == ""
        assert git(again.slot / "src", "rev-parse", "refs/patched") == before
        assert "line10 = 1" in (again.slot / "src/net/demo.c").read_text(encoding="utf-8")


def test_a_damaged_store_is_fetched_again(
    source: Callable[[], Source], capsys: pytest.CaptureFixture[str]
) -> None:
    found = source()
    store = found.slot.parent / "git.git"
    for words in (next(one for one in DAMAGE if "pack/" in one), "rm HEAD"):
        capsys.readouterr()
        harm(store, words)
        assert source() == found
        said = [line for line in capsys.readouterr().err.splitlines() if "cache: " in line]
        assert len(said) == 1 and f"{store} is damaged (" in said[0]
        assert find_damage(store, found.commit) == ""


@pytest.mark.parametrize("kind", ["source", "tree"])
def test_what_a_git_left_that_was_killed_stops_nobody(
    kind: str, source: Callable[..., Source]
) -> None:
    found = source(kind)
    gitdir = found.slot / "src/.git"
    names = "refs/base.lock refs/patched.lock index.lock HEAD.lock objects/ab/tmp_obj_x".split()
    left = [gitdir / name for name in (*names, *(["refs/source.lock"] if kind == "tree" else []))]
    for path in left:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    assert source(kind) == found
    assert not [path for path in left if path.exists()]


def test_a_commit_that_is_gone(source: Callable[[], Source]) -> None:
    found = source()
    assert find_damage(found.slot / "src/.git", "1" * 40) == f"it does not hold commit {'1' * 40}"


def test_the_repository_around_the_cache_is_not_taken_for_it(
    source: Callable[[], Source], tmp_path: Path
) -> None:
    """A home that is a repository itself."""
    git(tmp_path, "init", "-q")
    found = source()
    head = (tmp_path / ".git/HEAD").read_bytes()
    shutil.rmtree(found.slot / "src/.git")
    assert source() == found
    assert (found.slot / "src/.git").is_dir() and (tmp_path / ".git/HEAD").read_bytes() == head
    assert not (tmp_path / ".git/refs/base").exists()
    assert not list((tmp_path / ".git/refs/heads").iterdir())
