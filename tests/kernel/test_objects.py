# SPDX-License-Identifier: GPL-2.0-only
"""ci.kernel.objects: what make may take over from the builds before, whatever the clock did. make
is real here."""

import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ci.base.errors import BuildError
from ci.kernel import objects
from ci.kernel.objects import BUILT, StaleError
from ci.trees.source import Source
from ci.trees.tree import Tree
from tests.base.test_seals import put_zeros
from tests.conftest import commit, git

HOUR = 3600 * 10**9
MAKEFILE = """\
SRC := ../src/
image: joined; cp $< $@
joined: a.o b.o; cat $^ >$@
%.o: $(SRC)%.c; cp $< $@; echo $@ >>log
"""


def shift(folder: Path, ns: int) -> None:
    """Let the clock go by ``-ns`` for all that is there: only how far times are apart tells make
    anything."""
    for path in folder.rglob("*"):
        if not path.is_dir() and ".git" not in path.parts:
            written = path.lstat().st_mtime_ns + ns
            os.utime(path, ns=(written, written), follow_symlinks=False)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """A source with two files and a Makefile, which are built by :func:`build`."""
    src = tmp_path / "slot/src"
    src.mkdir(parents=True)
    git(src, "init", "-q", "-b", "main")
    first = commit(src, {"a.c": "a0\n", "b.c": "b0\n", "Makefile": MAKEFILE}, "first")
    return Tree(Source("test", tmp_path / "slot", first, ""), first, "", (6, 12))


def at(tree: Tree, files: dict[str, str]) -> Tree:
    """The tree after a commit of ``files``, which are then in the work tree."""
    return replace(tree, commit=commit(tree.source.slot / "src", files, "change"))


def make(obj: Path) -> list[str]:
    (obj / "log").unlink(missing_ok=True)
    subprocess.run(
        ["make", "-s", "-f", "../src/Makefile", "image"], cwd=obj, check=True, capture_output=True
    )
    return (
        sorted((obj / "log").read_text(encoding="utf-8").split()) if (obj / "log").exists() else []
    )


def built(
    tree: Tree, work: Callable[[Path], list[str]] = make, key: str = "key"
) -> tuple[str, list[str]]:
    """The image's text, and the objects that were made for it."""
    made = objects.use_objects(tree, key, work, tree.source.slot / "obj")
    return (tree.source.slot / "obj/image").read_text(encoding="utf-8").replace("\n", ""), made


def test_only_what_changed_is_made_again(tree: Tree) -> None:
    assert built(tree) == ("a0b0", ["a.o", "b.o"])
    assert built(tree) == ("a0b0", [])
    assert built(at(tree, {"a.c": "a1\n"})) == ("a1b0", ["a.o"])


@pytest.mark.parametrize("step", [-HOUR, HOUR, -(10**9), 10**9, 2 * HOUR])
def test_a_step_of_the_clock_between_two_builds(tree: Tree, step: int) -> None:
    slot = tree.source.slot
    for number in range(1, 6):
        tree = at(tree, {"a.c": f"a{number}\n"})
        assert built(tree)[0] == f"a{number}b0"
        shift(slot, -step if number % 2 else step)


def test_a_source_that_was_checked_out_while_the_clock_was_behind(tree: Tree) -> None:
    built(tree)
    shift(tree.source.slot, HOUR)
    changed = at(tree, {"a.c": "a1\n"})
    shift(tree.source.slot, -HOUR)
    assert built(changed) == ("a1b0", ["a.o"])


@pytest.mark.parametrize("step", [-HOUR, HOUR])
def test_a_step_during_a_build_starts_again_from_nothing(tree: Tree, step: int) -> None:
    built(tree)
    steps = [step]

    def stepped(obj: Path) -> list[str]:
        made = make(obj)
        if steps:
            written = time.time_ns() + steps.pop()
            os.utime(obj / "a.o", ns=(written, written))
        return made

    assert built(at(tree, {"a.c": "a1\n"}), stepped) == ("a1b0", ["a.o", "b.o"])


def test_a_clock_that_does_not_settle_is_told(tree: Tree) -> None:
    def stepped(obj: Path) -> list[str]:
        make(obj)
        os.utime(obj / "a.o", (1, 1))
        return []

    with pytest.raises(
        StaleError,
        match=(
            r"the clock was set during the build: .*obj/a.o is dated -.* see that nothing sets it"
        ),
    ):
        built(tree, stepped)
    assert built(tree) == ("a0b0", ["a.o", "b.o"])


def test_a_build_that_fails_after_a_step_says_nothing_of_the_patch(tree: Tree) -> None:
    failing = [True]

    def fails(obj: Path) -> list[str]:
        if not failing:
            return make(obj)
        failing.pop()
        (obj / "a.o").touch()
        os.utime(obj / "a.o", (1, 1))
        raise BuildError("build", "undefined reference")

    assert built(tree, fails) == ("a0b0", ["a.o", "b.o"])


def test_another_key_or_one_that_is_not_known_begins_with_nothing(tree: Tree) -> None:
    built(tree)
    assert built(tree, key="other") == ("a0b0", ["a.o", "b.o"])
    (tree.source.slot / "obj" / objects.MADE_OF).unlink()
    assert built(tree, key="other") == ("a0b0", ["a.o", "b.o"])
    (tree.source.slot / "obj" / objects.MADE_OF).write_text(
        f"other\n{'0' * 40}\n", encoding="ascii"
    )
    assert built(tree, key="other") == (
        "a0b0",
        ["a.o", "b.o"],
    )  # what has no such commit cannot tell what changed


@pytest.mark.parametrize("step", [0, -HOUR, HOUR])
def test_what_a_killed_build_wrote_goes_before_the_next(tree: Tree, step: int) -> None:
    built(tree)
    changed = at(tree, {"a.c": "a1\n"})
    obj = tree.source.slot / "obj"

    def killed(obj: Path) -> list[str]:
        (obj / "a.o").write_text("a", encoding="utf-8")
        (obj / "half").touch()
        for name in ("a.o", "half"):
            written = time.time_ns() + step
            os.utime(obj / name, ns=(written, written))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        objects.use_objects(changed, "key", killed, changed.source.slot / "obj")
    assert built(changed) == ("a1b0", ["a.o"]) and not (obj / "half").exists()
    (obj / objects.BUILDING).write_text("{", encoding="utf-8")
    assert built(changed) == ("a1b0", ["a.o", "b.o"])


def test_what_failed_half_way_is_of_two_commits(tree: Tree) -> None:
    built(tree)
    both = at(tree, {"a.c": "a1\n", "b.c": "b1\n"})

    def fails(obj: Path) -> list[str]:
        subprocess.run(["make", "-s", "-f", "../src/Makefile", "a.o"], cwd=obj, check=True)
        raise BuildError("build", "b.c does not compile")

    for _ in range(2):
        with pytest.raises(BuildError):
            objects.use_objects(both, "key", fails, both.source.slot / "obj")
    shift(tree.source.slot / "src", -HOUR)  # whatever the times of the sources say
    git(tree.source.slot / "src", "update-index", "-q", "--refresh")
    last = at(tree, {"a.c": "a0\n"})
    shift(tree.source.slot / "src", -HOUR)
    assert built(last) == ("a0b1", ["a.o", "b.o"])


def test_a_build_that_fails_by_itself_loses_nothing(tree: Tree) -> None:
    built(tree)

    def fails(obj: Path) -> list[str]:
        raise BuildError("build", "two.c does not compile")

    with pytest.raises(BuildError):
        objects.use_objects(tree, "key", fails, tree.source.slot / "obj")
    assert built(tree) == ("a0b0", [])


def test_what_takes_in_a_file_that_make_does_not_know_is_made_each_time(tree: Tree) -> None:
    built(tree)
    obj = tree.source.slot / "obj"
    (obj / objects.EMBEDDING).write_text(f"{obj}/b.o\n{obj}/gone.o\n", encoding="utf-8")
    assert built(tree) == ("a0b0", ["b.o"])
    assert built(tree) == ("a0b0", [])


def test_a_damaged_object_is_built_again(tree: Tree, capsys: pytest.CaptureFixture[str]) -> None:
    """Its time tells make nothing, and it would be linked as it is."""
    obj = tree.source.slot / "obj"
    built(tree)
    put_zeros(obj / "a.o", 2)
    tree = at(tree, {"b.c": "b1\n"})
    assert built(tree) == ("a0b1", ["a.o", "b.o"])
    (said,) = capsys.readouterr().err.splitlines()
    assert f"{obj} is damaged (a.o is not what was built); it is made again" in said
    assert built(tree) == ("a0b1", [])
    for words in ("{", "", None):
        (obj / BUILT).unlink() if words is None else (obj / BUILT).write_text(words)
        assert built(tree) == ("a0b1", ["a.o", "b.o"])
        assert f"is damaged ({BUILT}" in capsys.readouterr().err
    assert built(tree) == ("a0b1", []) and capsys.readouterr().err == ""


def test_what_is_left_of_a_build_that_was_killed_is_looked_at(
    tree: Tree, capsys: pytest.CaptureFixture[str]
) -> None:
    obj = tree.source.slot / "obj"
    built(tree)
    changed = at(tree, {"a.c": "a1\n"})

    def killed(_: Path) -> list[str]:
        make(obj)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        built(changed, killed)
    assert built(changed) == ("a1b0", ["a.o"]) and capsys.readouterr().err == ""
    with pytest.raises(KeyboardInterrupt):
        built(at(tree, {"a.c": "a2\n"}), killed)
    put_zeros(obj / "b.o", 2)
    assert built(at(tree, {"a.c": "a3\n"})) == ("a3b0", ["a.o", "b.o"])
    assert "b.o is not what was built" in capsys.readouterr().err
