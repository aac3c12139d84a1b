# SPDX-License-Identifier: GPL-2.0-only
"""ci.commands.branches: rows, names, sources."""

from pathlib import Path

import pytest

from ci.base.errors import StageError
from ci.commands import branches
from ci.commands.branches import Branch
from tests.conftest import write


def test_the_projects_own_rows() -> None:
    rows = branches.read_branches()
    assert {
        "5.10",
        "v5.14",
        "5.15",
        "v5.19",
        "6.1",
        "v6.2",
        "v6.5",
        "6.6",
        "6.12",
        "7.3",
        "net",
        "mainline",
    } <= set(rows)
    assert all(
        source.startswith(("git:https://git.kernel.org/", "debian:"))
        for row in rows.values()
        for source in row.sources
    )


def test_a_choice_keeps_its_order_and_may_bring_its_own() -> None:
    chosen = branches.select_branches("6.12,mine=git:file:///linux@next,6.1")
    assert [row.name for row in chosen] == ["6.12", "mine", "6.1"]
    assert chosen[1] == Branch("mine", ("git:file:///linux@next",))
    assert branches.select_branches("all") == tuple(branches.read_branches().values())


def test_one_kind_of_source() -> None:
    (row,) = branches.select_branches("6.1", "debian")
    assert row.sources == ("debian:6.1",)
    assert branches.select_branches("5.15", "debian")[0].sources == ()
    assert [source.partition(":")[0] for source in branches.select_branches("6.1")[0].sources] == [
        "git",
        "debian",
    ]


@pytest.mark.parametrize(
    "words", ["", "6.99", "6.1,,", "x=tree:/linux", "../x=git:file:///a@b", "6.1=", "all,6.1"]
)
def test_what_is_no_branch(words: str) -> None:
    with pytest.raises(StageError, match=r"--branches .*there are all, 5\.10"):
        branches.select_branches(words)


@pytest.mark.parametrize(
    "source",
    [
        "--upload-pack=touch hurt@x",
        "ext::sh -c touch% hurt@x",
        "file:///x@--all",
        "ssh://-oProxyCommand=touch@x",
        "x",
    ],
)
def test_a_source_that_would_run_something(source: str) -> None:
    with pytest.raises(StageError, match=r"--branches 'mine=git:") as caught:
        branches.select_branches(f"mine=git:{source}")
    assert caught.value.asked


def test_a_kind_that_is_none() -> None:
    with pytest.raises(StageError, match="--source tarball: there are auto, git and debian"):
        branches.select_branches("6.1", "tarball")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[[branch]]\nname = "6.1"\n', "branch 6.1: it takes name, git and debian"),
        ('[[branch]]\nname = "6.1"\ngit = "x@y"\nurl = "z"\n', "branch 6.1: it takes"),
        ('[[branch]]\ngit = "x@y"\n', "branch 1 needs a name"),
        ('[[branch]]\nname = "a/b"\ngit = "x@y"\n', "branch 1 needs a name"),
        ('[[branch]]\nname = "a"\ngit = "x@y"\n' * 2, "branch 2 needs a name of its own"),
        ("[[branch]\n", "branches.toml"),
    ],
)
def test_a_row_that_is_wrong(text: str, said: str, tmp_path: Path) -> None:
    write(tmp_path, {"branches.toml": text})
    with pytest.raises(StageError, match=said):
        branches.read_branches(tmp_path / "branches.toml")
