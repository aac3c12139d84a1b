# SPDX-License-Identifier: GPL-2.0-only
"""ci.trees.index: whichever tree the index held before, it holds the one that is asked for."""

import itertools
import shutil
from pathlib import Path

import pytest

from ci.base.git import Git
from ci.trees import index as indexes
from ci.trees.index import Index
from tests.conftest import git, write

# A file that becomes a folder and a folder that becomes a file, a program, a link, names with
# blanks and a line break, nothing.
TREES: list[dict[str, str]] = [
    {"a": "1", "b/c": "2", "b/d": "3"},
    {"a/x": "1", "a/y/z": "2", "b": "3"},
    {"a": "1", "b/c": "2", "odd name\n\t": "4"},
    {"a": "other", "b/c": "2", "run.sh": "#!/bin/sh\n"},
    {},
]


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Git, list[str]]:
    """A repository, and the ids of its trees."""
    (repo := tmp_path / "repo").mkdir()
    git(repo, "init", "-q", "--template=")
    made = []
    for number, files in enumerate(TREES):
        for path in repo.iterdir():
            if path.name != ".git":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        write(repo, files)
        if "run.sh" in files:
            (repo / "run.sh").chmod(0o755)
            (repo / "link").symlink_to("a")
        git(repo, "add", "-A")
        made.append(git(repo, "write-tree"))
        assert made.count(made[-1]) == 1, number
    return Git(repo, "test"), made


def test_from_each_tree_to_each_other(trees: tuple[Git, list[str]], tmp_path: Path) -> None:
    repo, ids = trees
    for before, after in itertools.product(ids, ids):
        index = Index(repo, tmp_path / "index", before)
        index.reset(after)
        assert index.tree == after == repo.line("write-tree", env=index.env)


def test_after_a_change_that_was_not_written_as_a_tree(
    trees: tuple[Git, list[str]], tmp_path: Path
) -> None:
    repo, ids = trees
    index = Index(repo, tmp_path / "index", ids[0])
    index.put({"a": None, "more": ("100644", "5")})
    index.reset(ids[0])
    assert repo.line("write-tree", env=index.env) == ids[0]


def test_what_differs_much_is_read_as_a_whole(
    trees: tuple[Git, list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexes, "MOST_CHANGED", 1)
    test_from_each_tree_to_each_other(trees, tmp_path)
