# SPDX-License-Identifier: GPL-2.0-only
"""ci.trees.tree: taking out, putting on and refusing, on real repositories."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ci.base.errors import StageError
from ci.base.progress import Progress
from ci.base.settings import Settings
from ci.base.workspace import Workspace
from ci.series.patches import load_series
from ci.trees.fetch import fetch_source
from ci.trees.source import Source
from ci.trees.tree import LONG_AGO, Tree, Trees, derive_trees
from tests.conftest import DEMO_C, commit, git, write

NONE: frozenset[int] = frozenset()


@pytest.fixture
def derive(
    settings_for: Callable[..., Settings], kernel_tree: Path, demo_series: Path, progress: Progress
) -> Callable[..., Trees]:
    """The trees of the demo series on the checkout as it stands."""

    def made(without: frozenset[int] = NONE) -> Trees:
        loaded = load_series(demo_series)
        wanted = settings_for(tree=str(kernel_tree), series=str(demo_series))
        return derive_trees(loaded, fetch_source(wanted, loaded, progress), without)

    return made


def tree_id(folder: Path, name: str) -> str:
    return git(folder, "rev-parse", f"{name}^{{tree}}")


def statuses(trees: Trees) -> list[str]:
    return [state.words for state in trees.states]


def test_put_on_a_tree_that_lacks_it(derive: Callable[..., Trees], kernel_tree: Path) -> None:
    trees = derive()
    assert statuses(trees) == ["applies", "applies"] and trees.conflict is None
    assert trees.shipped.tree_id == trees.base.tree_id == tree_id(kernel_tree, "main")
    assert trees.patched.tree_id == tree_id(kernel_tree, "with-series")


def test_taken_out_of_a_tree_that_has_it(derive: Callable[..., Trees], kernel_tree: Path) -> None:
    git(kernel_tree, "checkout", "-q", "with-series")
    later = (
        (kernel_tree / "net/demo.c")
        .read_text(encoding="utf-8")
        .replace("int line40;", "int line40; int line41;")
    )
    commit(kernel_tree, {"net/demo.c": later}, "a later commit, elsewhere")
    trees = derive()
    assert statuses(trees) == ["already there", "already there"]
    assert trees.shipped.tree_id == trees.patched.tree_id == tree_id(kernel_tree, "HEAD")
    shown = trees.base.source.git.run("show", f"{trees.base.commit}:net/demo.c").stdout
    assert shown == DEMO_C.replace("int line40;", "int line40; int line41;")


def test_half_there(derive: Callable[..., Trees], kernel_tree: Path) -> None:
    git(kernel_tree, "checkout", "-q", "with-series~1")
    trees = derive()
    assert statuses(trees) == ["already there", "applies"]
    assert trees.base.tree_id == tree_id(kernel_tree, "main")
    assert trees.patched.tree_id == tree_id(kernel_tree, "with-series")


def test_without_shortens_what_is_put_on_only(
    derive: Callable[..., Trees], kernel_tree: Path
) -> None:
    git(kernel_tree, "checkout", "-q", "with-series")
    trees = derive(frozenset({2}))
    assert statuses(trees) == ["already there", "left out"]
    assert trees.base.tree_id == tree_id(kernel_tree, "main")
    assert trees.patched.tree_id == tree_id(kernel_tree, "with-series~1")
    with pytest.raises(StageError, match="--without 7: the series has patches 1 to 2"):
        derive(frozenset({7}))


def test_not_affected(derive: Callable[..., Trees], demo_series: Path) -> None:
    write(demo_series, {"series.toml": "[[patch]]\nnumber = 2\naffects_since = '6.13'"})
    trees = derive()
    assert statuses(trees) == ["applies", "not affected"]
    assert "v6.13" in trees.states[1].why


def test_a_conflict_names_patch_file_and_hunk(
    derive: Callable[..., Trees], kernel_tree: Path, workspace: Workspace
) -> None:
    changed = DEMO_C.replace("int line29;", "long line29;")
    commit(kernel_tree, {"net/demo.c": changed}, "in the way")
    trees = derive()
    assert statuses(trees) == ["applies", "conflicts"]
    assert trees.conflict and trees.conflict.at_fault and trees.conflict.patches[0] == 2
    said = trees.conflict.text
    assert "0002-demo-start-more-lines-elsewhere.patch" in said
    assert "error: patch failed: net/demo.c:27" in said  # git's own words
    assert "hunk 2 of net/demo.c: @@ -27,7 +27,7 @@" in said
    assert git(kernel_tree, "status", "--porcelain") == ""
    with trees.base.checked_out(workspace):
        assert trees.base.source.git.line("status", "--porcelain") == ""


def test_what_needs_a_patch_that_conflicts_says_so(
    derive: Callable[..., Trees], kernel_tree: Path
) -> None:
    commit(kernel_tree, {"net/demo.c": DEMO_C.replace("int line9;", "long line9;")}, "in the way")
    trees = derive()
    assert statuses(trees) == ["conflicts", "depends on 1"]
    assert trees.states[1].why.startswith("it does not apply without patch 1\n")
    assert trees.patched.tree_id == trees.base.tree_id


def test_offsets_are_fine_and_fuzz_is_not(derive: Callable[..., Trees], kernel_tree: Path) -> None:
    commit(kernel_tree, {"net/demo.c": "/* new */\n" * 25 + DEMO_C}, "lines above")
    assert statuses(derive()) == ["applies", "applies"]
    commit(
        kernel_tree,
        {"net/demo.c": DEMO_C.replace("int line13;", "int line13 ;")},
        "a blank more in the context",
    )
    assert statuses(derive()) == ["conflicts", "depends on 1"]


def test_a_backport_stands_in(
    derive: Callable[..., Trees], kernel_tree: Path, demo_series: Path
) -> None:
    changed = DEMO_C.replace("int line29;", "long line29;")
    commit(kernel_tree, {"net/demo.c": changed}, "in the way")
    (second,) = demo_series.glob("0002-*")
    text = second.read_text(encoding="utf-8").replace(" int line29;", " long line29;")
    write(demo_series, {f"backports/6.12/{second.name}": text})
    trees = derive()
    assert statuses(trees) == ["applies", "applies as backport"]
    git(kernel_tree, "checkout", "-q", "-b", "stable")
    git(
        kernel_tree,
        "am",
        "-q",
        str(next(demo_series.glob("0001-*"))),
        str(demo_series / "backports/6.12" / second.name),
    )
    again = derive()
    assert statuses(again) == ["already there", "already there"]
    assert again.patched.tree_id == trees.patched.tree_id == tree_id(kernel_tree, "stable")
    assert again.base.tree_id == trees.base.tree_id


def test_a_patch_that_is_edited_takes_the_place_of_the_one_in_the_tree(
    derive: Callable[..., Trees], kernel_tree: Path, demo_series: Path
) -> None:
    """The inner loop on a tree that carries the series: what is committed is taken out, what is
    edited put on."""
    git(kernel_tree, "checkout", "-q", "--orphan", "imported", "with-series")
    git(kernel_tree, "commit", "-q", "-m", "a tree without a history")
    (second,) = demo_series.glob("0002-*")
    text = second.read_text(encoding="utf-8").replace("+int line30 = 3;", "+int line30 = 7;")
    second.write_text(text, encoding="utf-8")
    trees = derive()  # in no repository: nobody knows that the tree has another form of it
    assert statuses(trees) == ["already there", "conflicts"]
    assert "1 of 2 added lines are there, at net/demo.c:12" in trees.states[1].why
    second.write_text(text.replace("= 7;", "= 3;"), encoding="utf-8")
    git(demo_series, "init", "-q")
    git(demo_series, "add", "-A")
    git(demo_series, "commit", "-q", "-m", "series")
    second.write_text(text, encoding="utf-8")
    trees = derive()
    assert statuses(trees) == ["already there", "applies"]
    assert "before it was edited" in trees.states[1].why
    assert trees.base.tree_id == tree_id(kernel_tree, "main")
    shown = trees.patched.source.git.run("show", f"{trees.patched.commit}:net/demo.c").stdout
    assert "int line10 = 1;" in shown and "int line30 = 7;" in shown


def test_of_the_work_tree_only_what_differs_is_written_and_nothing_is_new(
    derive: Callable[..., Trees], workspace: Workspace
) -> None:
    """To make, which goes by times; also where somebody dated a file in between."""
    trees = derive()
    src, seen = trees.base.source.slot / "src", []
    for tree in (trees.base, trees.patched, trees.base):
        with tree.checked_out(workspace):
            files = {name: (src / name).stat() for name in ("net/demo.c", "net/other.c")}
            text = (src / "net/demo.c").read_text(encoding="utf-8")
            assert ("int line30 = 3;" in text) == (tree is trees.patched)
            assert files["net/demo.c"].st_mtime == LONG_AGO
            seen.append(files["net/other.c"].st_mtime)
            os.utime(src / "net/demo.c")
            os.utime(src / "net/other.c", (1e9, 1e9))
    assert seen == [LONG_AGO, 1e9, 1e9]


def test_the_same_input_gives_the_same_commits(derive: Callable[..., Trees]) -> None:
    first, second = derive(), derive()
    assert (first.base.commit, first.patched.commit) == (second.base.commit, second.patched.commit)


def test_what_is_trusted_is_what_the_series_came_upon(
    derive: Callable[..., Trees], kernel_tree: Path
) -> None:
    trees = derive()
    assert trees.base.ground is None and trees.patched.ground == trees.shipped
    git(kernel_tree, "checkout", "-q", "with-series")
    trees = derive()  # the commits before the series are those of base
    assert trees.base.ground is None
    assert trees.patched.ground and trees.patched.ground.tree_id == trees.base.tree_id
    commit(kernel_tree, {"net/other.c": "int more;\n"}, "a later commit")
    trees = derive()  # none is base's: it is the tree as it came
    assert trees.patched.ground is None and trees.base.ground == trees.shipped


@pytest.mark.parametrize(
    "name",
    [
        "net/mptcp/pm.c",
        "include/net/mptcp.h",
        "include/uapi/linux/mptcp_pm.h",
        "tools/testing/selftests/net/Makefile",
        "Documentation/networking/mptcp.rst",
    ],
)
def test_what_is_only_compiled_has_no_say_in_a_build(kernel_tree: Path, name: str) -> None:
    assert is_inert(kernel_tree, {name: "text\n"})


@pytest.mark.parametrize(
    "name",
    [
        "net/mptcp/Makefile",
        "net/mptcp/Kconfig",
        "scripts/mod/modpost.c",
        "include/linux/mod_devicetable.h",
        "net/x.c/Makefile",
        "net/mptcp/gen.sh",
        "lib/crc32.c",
        "tools/objtool/check.c",
        "net/line\nbreak.c",
    ],
)
def test_what_a_build_goes_by_is_not_inert(kernel_tree: Path, name: str) -> None:
    assert not is_inert(kernel_tree, {"net/mptcp/pm.c": "text\n", name: "text\n"})


def test_a_link_in_the_place_of_a_source_is_not_inert(kernel_tree: Path) -> None:
    (kernel_tree / "net/linked.c").symlink_to("demo.c")
    assert not is_inert(kernel_tree, {"net/more.c": "text\n"})


def test_a_tree_with_another_text_of_a_file(derive: Callable[..., Trees]) -> None:
    patched = derive().patched
    show = patched.source.git.text
    made = patched.with_file("net/demo.c", "int other;\n")
    assert show(made.commit, "net/demo.c") == "int other;\n"
    assert show(made.commit, "net/other.c") == show(patched.commit, "net/other.c")
    assert made.ground == patched.ground and made.inert
    assert patched.with_file("net/demo.c", show(patched.commit, "net/demo.c")).tree_id == (
        patched.tree_id
    )
    gone = patched.with_file("net/demo.c", None)
    assert show(gone.commit, "net/demo.c") is None
    assert patched.with_file("net/new.c", "\udcff\n").inert
    assert not patched.with_file("Makefile", "VERSION = 6\n").inert


def is_inert(folder: Path, files: dict[str, str]) -> bool:
    """Whether a tree is that has these files more than its ground."""
    before = git(folder, "rev-parse", "HEAD")
    after = commit(folder, files, "more")
    (slot := folder.parent / "slot").mkdir()
    (slot / "src").symlink_to(folder)
    source = Source("demo", slot, before, "asked for")
    ground = Tree(source, before, git(folder, "rev-parse", f"{before}^{{tree}}"), (6, 12))
    assert ground.with_commit(before) == ground and not ground.inert
    made = ground.with_commit(after)
    assert made.ground == ground and made.with_commit(before) == ground
    return made.inert
