# SPDX-License-Identifier: GPL-2.0-only
"""ci.trees.states, ci.trees.carry and ci.trees.history on real repositories: what a tree has in
another form, by its commits, its blobs and its lines; what can be put on in another one; and that
base and what was taken out give what was shipped.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from ci.base.progress import Progress
from ci.base.settings import Settings
from ci.series.patches import load_series
from ci.trees import history
from ci.trees.fetch import fetch_source
from ci.trees.tree import Trees, derive_trees
from tests.conftest import DEMO_C, commit, git, write

Made = Callable[..., Trees]
ADDED = DEMO_C.replace("int line10;\n", "int line10;\nint a_first_one;\nint a_second_one;\n")


@pytest.fixture
def states(
    kernel_tree: Path, settings_for: Callable[..., Settings], progress: Progress, tmp_path: Path
) -> Made:
    """The trees of a series, made of ``main..BRANCH`` unless there is one, on what is checked
    out."""

    def made(
        branch: str = "topic", *, adapt: bool = False, without: frozenset[int] = frozenset()
    ) -> Trees:
        folder = tmp_path / f"series-{branch}"
        if not folder.exists():
            git(
                kernel_tree,
                "format-patch",
                "-q",
                "--full-index",
                "--binary",
                "-o",
                str(folder),
                f"main..{branch}",
            )
        loaded = load_series(folder)
        wanted = settings_for(tree=str(kernel_tree), series=str(folder))
        return derive_trees(loaded, fetch_source(wanted, loaded, progress), without, adapt=adapt)

    return made


def branch(
    folder: Path, name: str, *commits: tuple[str, Mapping[str, str]], start: str = "main"
) -> str:
    """A branch with some commits, left checked out; the id of its last."""
    git(folder, "checkout", "-q", "-b", name, start)
    for title, files in commits:
        commit(folder, files, title)
    return git(folder, "rev-parse", "HEAD")


def imported(folder: Path, files: Mapping[str, str] | None = None) -> None:
    """What is checked out, with other files, as a tree that has no history."""
    git(folder, "checkout", "-q", "--orphan", "imported")
    commit(folder, files or {}, "imported")


def tree_id(folder: Path, name: str = "HEAD") -> str:
    return git(folder, "rev-parse", f"{name}^{{tree}}")


def statuses(trees: Trees) -> list[str]:
    return [state.words for state in trees.states]


def mode(folder: Path) -> None:
    git(folder, "update-index", "--chmod=+x", "net/demo.c")


def empty(folder: Path) -> None:
    write(folder, {"net/empty.c": ""})


def rename(folder: Path) -> None:
    git(folder, "mv", "net/other.c", "net/moved.c")


def link(folder: Path) -> None:
    (folder / "net/link.c").symlink_to("demo.c")


def binary(folder: Path) -> None:
    (folder / "net/logo.gif").write_bytes(bytes(range(256)))


def retype(folder: Path) -> None:
    (folder / "net/other.c").unlink()
    (folder / "net/other.c").symlink_to("demo.c")


@pytest.mark.parametrize("change", [mode, empty, rename, link, binary, retype])
@pytest.mark.parametrize("deep", [True, False])
def test_what_changes_no_lines_is_judged_by_its_own_state(
    kernel_tree: Path, states: Made, change: Callable[[Path], None], deep: bool
) -> None:
    git(kernel_tree, "checkout", "-q", "-b", "topic")
    change(kernel_tree)
    git(kernel_tree, "add", "-A") if change is not mode else None
    git(kernel_tree, "commit", "-q", "-m", "net: no lines")
    git(kernel_tree, "checkout", "-q", "-f", "main")
    trees = states()
    assert statuses(trees) == ["applies"] and trees.conflict is None
    assert (
        trees.patched.tree_id
        == tree_id(kernel_tree, "topic")
        != trees.base.tree_id
        == tree_id(kernel_tree, "main")
    )
    git(kernel_tree, "checkout", "-q", "-f", "topic")
    if not deep:
        imported(kernel_tree)
    trees = states()
    assert statuses(trees) == ["already there"] and not trees.states[0].adapted
    assert (
        trees.base.tree_id == tree_id(kernel_tree, "main")
        and trees.patched.tree_id == trees.shipped.tree_id
    )


def test_a_file_that_is_gone_may_never_have_been_there(kernel_tree: Path, states: Made) -> None:
    git(kernel_tree, "checkout", "-q", "-b", "topic")
    commit(
        kernel_tree,
        {"net/demo.c": DEMO_C.replace("int line9;\n", "")},
        "demo: no user of other.c is left",
    )
    (kernel_tree / "net/other.c").unlink()
    git(kernel_tree, "commit", "-q", "-a", "-m", "net: remove other.c")
    trees = states()  # the history has the commit
    assert statuses(trees) == ["already there", "already there"] and trees.base.tree_id == tree_id(
        kernel_tree, "main"
    )
    imported(kernel_tree)
    assert statuses(states()) == ["already there", "already there"]  # its neighbour is there
    git(kernel_tree, "checkout", "-q", "--orphan", "neither")
    commit(kernel_tree, {"net/demo.c": DEMO_C}, "a tree without both")
    trees = states()
    assert statuses(trees) == ["applies", "conflicts"]
    assert trees.states[1].why.startswith("the tree has no net/other.c\n")
    assert trees.conflict and trees.conflict.at_fault and trees.conflict.patches == (2,)


def test_the_lines_without_the_mode_are_told(kernel_tree: Path, states: Made) -> None:
    git(kernel_tree, "checkout", "-q", "-b", "topic")
    write(kernel_tree, {"net/demo.c": ADDED})
    git(kernel_tree, "add", "-A")
    mode(kernel_tree)
    git(kernel_tree, "commit", "-q", "-m", "demo: two things")
    git(kernel_tree, "checkout", "-q", "-f", "main")
    imported(kernel_tree, {"net/demo.c": ADDED})
    trees = states()
    assert statuses(trees) == ["already there"] and trees.patched.tree_id == trees.shipped.tree_id
    assert trees.base.tree_id == tree_id(kernel_tree, "main")
    assert (
        trees.states[0].why
        == "taken out adapted: put on again as it is, it would make another tree"
    )
    assert "-mode 100644 => 100755" in trees.states[0].adapted


TITLE = "demo: two more"
# A later commit changes a line next to what the patch adds: it cannot be taken out as it is.
LATER = ("demo: later", {"net/demo.c": ADDED.replace("int line12;", "long line12;")})
BASE = DEMO_C.replace("int line12;", "long line12;")


def shown(trees: Trees) -> str:
    return trees.base.source.git.run("show", f"{trees.base.commit}:net/demo.c").stdout


def test_the_history_has_it_by_its_title(kernel_tree: Path, states: Made) -> None:
    branch(kernel_tree, "topic", (TITLE, {"net/demo.c": ADDED}))
    branch(kernel_tree, "stable", ("other: x", {"net/other.c": "int x;\n"}), start="main")
    git(kernel_tree, "cherry-pick", "topic")
    first = git(kernel_tree, "rev-parse", "HEAD")
    commit(kernel_tree, LATER[1], LATER[0])
    trees = states()
    assert statuses(trees) == ["already there"] and shown(trees) == BASE
    assert trees.patched.tree_id == trees.shipped.tree_id == tree_id(kernel_tree)
    assert (
        trees.states[0].why == f'taken out as commit {first[:12]} ("{TITLE}", found by its title)'
    )
    assert (
        "- int line12;\n" in f"{trees.states[0].adapted}\n"
        and "+ long line12;" in trees.states[0].adapted
    )


@pytest.mark.parametrize(
    ("mine", "theirs", "how"),
    [
        ("[ Upstream commit {id} ]", "commit {id} upstream.", "the commit that both are copies of"),
        (
            "(cherry picked from commit {id})",
            "[ Upstream commit {id} ]",
            "the commit that both are copies of",
        ),
        ("commit {id} upstream.", "Nothing.", "its id in the patch's message"),
    ],
)
def test_the_history_has_it_by_the_commit_it_is_a_copy_of(
    kernel_tree: Path, states: Made, mine: str, theirs: str, how: str
) -> None:
    branch(kernel_tree, "stable")
    first = commit(kernel_tree, {"net/demo.c": ADDED}, "a title")
    git(
        kernel_tree,
        "commit",
        "-q",
        "--amend",
        "-m",
        f"a title\n\n{theirs.format(id='1234567890abcdef')}",
    )
    first = git(kernel_tree, "rev-parse", "HEAD")
    commit(kernel_tree, LATER[1], LATER[0])
    named = first if how.startswith("its id") else "1234567890abcdef"
    branch(
        kernel_tree, "topic", (f"another title\n\n{mine.format(id=named)}", {"net/demo.c": ADDED})
    )
    git(kernel_tree, "checkout", "-q", "stable")
    trees = states()
    assert statuses(trees) == ["already there"] and shown(trees) == BASE
    assert trees.states[0].why == f'taken out as commit {first[:12]} ("a title", found by {how})'


def test_the_history_has_the_same_change_under_another_title(
    kernel_tree: Path, states: Made
) -> None:
    branch(
        kernel_tree,
        "topic",
        ("quite another title", {"net/demo.c": ADDED.replace("int line40;", "int line41;")}),
    )
    branch(
        kernel_tree, "stable", (TITLE, {"net/demo.c": ADDED.replace("int line40;", "int line41;")})
    )
    first = git(kernel_tree, "rev-parse", "HEAD")
    later = ADDED.replace("int line40;", "int line42;").replace(
        "int a_second_one;\n", "int a_third_one;\nint a_second_one;\n"
    )
    commit(kernel_tree, {"net/demo.c": later}, "demo: later")
    trees = states()
    assert statuses(trees) == ["already there"] and not trees.states[0].on_patched
    said = (
        f'as commit {first[:12]} ("{TITLE}", found by what it changes), and it cannot be taken out:'
        " later commits changed"
    )
    assert trees.states[0].why.startswith(said) and f"{first[:12]}^" in trees.states[0].why
    assert trees.conflict and not trees.conflict.at_fault and said in trees.conflict.text


def test_a_commit_that_was_reverted_is_not_there(kernel_tree: Path, states: Made) -> None:
    branch(kernel_tree, "topic", (TITLE, {"net/demo.c": ADDED}))
    branch(
        kernel_tree,
        "stable",
        (TITLE, {"net/demo.c": ADDED}),
        (f'Revert "{TITLE}"', {"net/demo.c": DEMO_C}),
    )
    trees = states()
    assert statuses(trees) == ["applies"] and trees.base.tree_id == tree_id(kernel_tree, "main")


def test_a_commit_that_only_has_the_title_is_taken_out_for_the_patch(
    kernel_tree: Path, states: Made
) -> None:
    """The next version of a series, on a tree that has the one before."""
    branch(kernel_tree, "topic", (TITLE, {"net/demo.c": ADDED}))
    branch(
        kernel_tree, "stable", (TITLE, {"net/demo.c": ADDED.replace("a_second_one", "another_one")})
    )
    trees = states()
    assert statuses(trees) == ["applies"] and trees.base.tree_id == tree_id(kernel_tree, "main")
    assert trees.patched.tree_id == tree_id(kernel_tree, "topic")
    assert trees.states[0].why.startswith("the tree has another form of it, taken out as commit ")


def test_a_history_that_takes_too_long_is_a_note(
    kernel_tree: Path, states: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    branch(kernel_tree, "topic", (TITLE, {"net/demo.c": ADDED}))
    branch(kernel_tree, "stable", ("other: x", {"net/other.c": "int x;\n"}))
    monkeypatch.setattr(history, "MOST_SECONDS", 0.0)
    trees = states()
    assert statuses(trees) == ["applies"]
    assert trees.notes == (
        "the tree's history was not searched to its end: git did not end within 0 s",
    )


def test_merged_with_the_blobs_that_the_patch_names(kernel_tree: Path, states: Made) -> None:
    """Without a commit in the history, but with the blobs: as ``git am -3`` does it."""
    branch(kernel_tree, "topic", (TITLE, {"net/demo.c": ADDED}))
    git(kernel_tree, "checkout", "-q", "main")
    imported(kernel_tree, LATER[1])
    trees = states()
    assert statuses(trees) == ["already there"] and shown(trees) == BASE
    assert trees.states[0].why == "taken out adapted: merged, with the blobs that it names"
    assert trees.patched.tree_id == trees.shipped.tree_id


def test_adapted_only_where_that_is_asked_for(kernel_tree: Path, states: Made) -> None:
    branch(
        kernel_tree,
        "topic",
        (TITLE, {"net/demo.c": ADDED}),
        ("other: x", {"net/other.c": "int other;\nint x;\n"}),
    )
    branch(kernel_tree, "stable", ("demo: in the way", {"net/demo.c": BASE}))
    trees = states()
    assert statuses(trees) == ["conflicts", "applies"]
    assert (
        "with --adapt it can be put on: merged, with the blobs that it names" in trees.states[0].why
    )
    trees = states(adapt=True)
    assert statuses(trees) == ["applies adapted", "applies"] and trees.conflict is None
    assert (
        trees.states[0].why == "merged, with the blobs that it names"
        and "+ long line12;" in trees.states[0].adapted
    )
    found = trees.patched.source.git.run("show", f"{trees.patched.commit}:net/demo.c").stdout
    assert found == LATER[1]["net/demo.c"]


def test_one_that_does_not_fit_does_not_hide_the_others(kernel_tree: Path, states: Made) -> None:
    branch(
        kernel_tree,
        "topic",
        ("demo: ten", {"net/demo.c": DEMO_C.replace("int line10;", "int line10 = 1;")}),
        (
            "demo: eleven",
            {
                "net/demo.c": (
                    DEMO_C.replace("int line10;", "int line10 = 1;").replace(
                        "int line11;", "int l;"
                    )
                )
            },
        ),
        ("other: x", {"net/other.c": "int other;\nint x;\n"}),
    )
    git(kernel_tree, "checkout", "-q", "main")
    imported(
        kernel_tree,
        {
            "net/demo.c": DEMO_C.replace("int line10;", "short line10;"),
            "net/other.c": "int other;\nint x;\n",
        },
    )
    trees = states()
    assert statuses(trees) == ["conflicts", "depends on 1", "already there"]
    assert trees.states[1].why.startswith("it does not apply without patch 1\n")
    assert trees.conflict and trees.conflict.at_fault and trees.conflict.patches[0] == 1


@pytest.mark.whole
def test_a_large_patch_whose_lines_are_all_there_takes_seconds(
    kernel_tree: Path, states: Made
) -> None:
    lines = [f"int number{place};\n" for place in range(20_000)]
    branch(
        kernel_tree,
        "topic",
        (TITLE, {"net/demo.c": DEMO_C.replace("int line10;\n", "int line10;\n" + "".join(lines))}),
    )
    git(kernel_tree, "checkout", "-q", "main")
    imported(kernel_tree, {"net/demo.c": "int line10;\n" + "".join(reversed(lines))})
    begun = time.monotonic()
    trees = states()
    assert time.monotonic() - begun < 30
    assert (
        statuses(trees) == ["conflicts"]
        and "20000 of 20000 added lines are there, at net/demo.c:2" in trees.states[0].why
    )


def test_what_a_message_says_it_is_a_copy_of() -> None:
    message = (
        "x\n\n[ Upstream commit 1234567890abcdef ]\n  commit fedcba0987654321 upstream.\nThe commit"
        " 1111111111111111 is bad.\n"
    )
    assert history.upstream(message) == ("1234567890abcdef", "fedcba0987654321")
    assert history.upstream("(cherry picked from commit 1234567890abcdef)") == ("1234567890abcdef",)
    begun = time.monotonic()
    assert history.upstream("\n" * 200_000) == () and time.monotonic() - begun < 5


def test_several_backports_are_tried_and_named(
    kernel_tree: Path, states: Made, tmp_path: Path
) -> None:
    branch(kernel_tree, "topic", (TITLE, {"net/demo.c": ADDED}))
    git(kernel_tree, "checkout", "-q", "main")
    imported(kernel_tree, {"net/demo.c": BASE})
    states()
    folder = tmp_path / "series-topic"
    (given,) = folder.glob("*.patch")
    text = given.read_text(encoding="utf-8").replace(" int line12;", " long line12;")
    write(folder, {f"backports/6.12/{given.name}": text})
    trees = states()
    assert (
        statuses(trees) == ["applies as backport"] and trees.states[0].why == f"6.12/{given.name}"
    )


def test_white_space_that_a_mailer_changed_is_told(
    kernel_tree: Path, states: Made, tmp_path: Path
) -> None:
    tabbed = "int f(void)\n{\n\tint a;\n\tint b;\n\n\treturn a;\n}\n"
    commit(kernel_tree, {"net/tabs.c": tabbed}, "tabs")
    branch(kernel_tree, "topic", ("use b", {"net/tabs.c": tabbed.replace("return a", "return b")}))
    git(kernel_tree, "checkout", "-q", "main")
    states()
    (path,) = (tmp_path / "series-topic").iterdir()
    path.write_text(path.read_text(encoding="utf-8").replace("\t", "        "), encoding="utf-8")
    made = states()
    assert statuses(made) == ["conflicts"]
    assert (
        "but for white space it applies: was it sent by a mailer that changes tabs"
        in made.states[0].why
    )
    path.write_text(path.read_text(encoding="utf-8").replace("int a;", "int c;"), encoding="utf-8")
    assert "but for white space" not in states().states[0].why
