# SPDX-License-Identifier: GPL-2.0-only
"""ci.suites.selection: what the tables and a tree's own Makefile make a suite of."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ci.base import git as repositories
from ci.base.errors import StageError
from ci.base.options import check_suite
from ci.base.progress import Progress
from ci.base.settings import Settings
from ci.series.patches import load_series
from ci.suites import selection
from ci.suites.mptcp import COLLECTION, LONG_S
from ci.suites.selection import all_collections
from ci.trees.fetch import fetch_source
from ci.trees.tree import Tree, derive_trees
from tests.conftest import ROOT, commit, git

SELFTESTS = COLLECTION.folder
FILES = {
    f"{SELFTESTS}/Makefile": (
        "TEST_PROGS := mptcp_connect.sh mptcp_join.sh \\\n\t      diag.sh"
        " userspace_pm.sh\nTEST_GEN_FILES = x\n"
    ),
    f"{SELFTESTS}/mptcp_join.sh": (
        "#!/bin/bash\nall_tests_sorted=(\n\tf@subflows_tests\n\tD@deny_join_id0_tests\n)\n"
    ),
    f"{SELFTESTS}/mptcp_lib.sh": "mptcp_lib_result_print_all_tap() {\n\t:\n}\n",
}


@pytest.fixture
def made(
    kernel_tree: Path, demo_series: Path, settings_for: Callable[..., Settings], progress: Progress
) -> Tree:
    commit(kernel_tree, FILES, "selftests")
    loaded = load_series(demo_series)
    return derive_trees(
        loaded,
        fetch_source(settings_for(tree=str(kernel_tree)), loaded, progress),
        frozenset(),
    ).base


def test_the_tables(made: Tree) -> None:
    found = selection.select_suite("smoke", made)
    assert [script.label for script in found.scripts] == [
        "userspace_pm",
        "mptcp_join-D",
    ] and selection.prints_tap(found.collection, made)
    assert found.scripts[1].args == ("-D",)
    # What the tree's Makefile does not name is left out.
    labels = [script.label for script in selection.select_suite("default", made).scripts]
    assert labels == ["userspace_pm", "mptcp_join-D", "diag"]


@pytest.mark.parametrize("name", ["../../../../hurt.sh", "/tmp/x.sh", "-rf", "$(NAMES)"])
def test_a_makefile_that_names_no_file(name: str, made: Tree, kernel_tree: Path) -> None:
    """A script's name is part of the path of its logs."""
    text = FILES[f"{SELFTESTS}/Makefile"].replace("diag.sh", name)
    commit(kernel_tree, {f"{SELFTESTS}/Makefile": text}, "hostile")
    hostile = replace(made, commit=git(kernel_tree, "rev-parse", "HEAD"))
    with pytest.raises(StageError, match=re.escape(f"TEST_PROGS names '{name}'")):
        selection.select_suite("full", hostile)


def test_a_comment_ends_the_list(made: Tree, kernel_tree: Path) -> None:
    """As the list has been written since 6.18: one name a line, and a comment behind the last."""
    text = (
        "TEST_PROGS := \\\n\tdiag.sh \\\n\tuserspace_pm.sh \\\n# end of"
        " TEST_PROGS\n\nTEST_GEN_FILES := x\n"
    )
    commit(kernel_tree, {f"{SELFTESTS}/Makefile": text}, "one name a line")
    newer = replace(made, commit=git(kernel_tree, "rev-parse", "HEAD"))
    assert selection.list_programs(COLLECTION, newer) == ("diag.sh", "userspace_pm.sh")


def test_a_script_is_the_same_in_each_suite(made: Tree) -> None:
    # Else a replay by the script's name would be another run than the one that it is to show again.
    tables = selection.select_suite("default", made).scripts
    assert selection.select_suite("userspace_pm,mptcp_join:D,diag", made).scripts == tables
    assert set(tables) < set(selection.select_suite("full", made).scripts)


OLD = {
    f"{SELFTESTS}/Makefile": "TEST_PROGS := mptcp_connect.sh mptcp_join.sh\n",
    f"{SELFTESTS}/mptcp_join.sh": "#!/bin/bash\nsubflows_tests\n",
    f"{SELFTESTS}/mptcp_lib.sh": "mptcp_lib_has_file() {\n\t:\n}\n",
}


def test_a_tree_that_predates_the_tables(
    kernel_tree: Path, demo_series: Path, settings_for: Callable[..., Settings], progress: Progress
) -> None:
    commit(kernel_tree, OLD, "selftests")
    loaded = load_series(demo_series)
    made = derive_trees(
        loaded,
        fetch_source(settings_for(tree=str(kernel_tree)), loaded, progress),
        frozenset(),
    ).base
    with pytest.raises(
        StageError,
        match=r"none of userspace_pm, mptcp_join; --suite names scripts .*: mptcp_connect, ",
    ):
        selection.select_suite("smoke", made)
    full = selection.select_suite("full", made)
    assert [script.label for script in full.scripts] == [
        "mptcp_connect",
        "mptcp_join",
    ] and not selection.prints_tap(full.collection, made)


def test_full_is_the_trees_own_list_with_join_in_its_groups(made: Tree) -> None:
    scripts = selection.select_suite("full", made).scripts
    assert [script.label for script in scripts] == [
        "mptcp_connect",
        "mptcp_join-f",
        "mptcp_join-D",
        "diag",
        "userspace_pm",
    ]
    assert (scripts[1].args, scripts[1].limit_s, scripts[1].part) == (
        ("-f",),
        LONG_S,
        "f",
    ) and scripts[1].name == "mptcp_join"


def test_scripts_by_name(made: Tree) -> None:
    found = selection.select_suite("diag, mptcp_join:D,userspace_pm.sh", made)
    assert [script.label for script in found.scripts] == ["diag", "mptcp_join-D", "userspace_pm"]
    assert [script.label for script in selection.select_suite("mptcp_join", made).scripts] == [
        "mptcp_join-f",
        "mptcp_join-D",
    ]


@pytest.mark.parametrize("name", ["huge", "diag:x", "diag,", "mptcp_join:q", "../x"])
def test_a_name_that_is_none_lists_what_there_is(name: str, made: Tree) -> None:
    with pytest.raises(StageError, match="smoke, default, full, kunit, and scripts of the tree"):
        selection.select_suite(name, made)


def test_a_known_limit_has_a_reason() -> None:
    assert all(script and case and len(why) > 20 for script, case, why in COLLECTION.known)


def test_a_file_that_cannot_be_read_is_not_one_that_is_missing(made: Tree) -> None:
    assert selection.prints_tap(COLLECTION, made)
    blob = made.source.git.line("rev-parse", f"{made.commit}:{SELFTESTS}/mptcp_lib.sh")
    lender = Path(
        (made.source.slot / "src/.git/objects/info/alternates").read_text(encoding="utf-8").strip()
    )
    (lender / blob[:2] / blob[2:]).unlink()
    repositories._kept_text.cache_clear()  # as in a new process
    with pytest.raises(StageError, match="exit code 128"):
        selection.prints_tap(COLLECTION, made)


NET = all_collections()["net"]
NET_FILES = {
    f"{NET.folder}/Makefile": (
        "TEST_PROGS := run_netsocktests rtnetlink.sh netns-name.sh\nTEST_PROGS +="
        " fib_nexthop_nongw.sh nl_netdev.py\n"
    )
}


@pytest.fixture
def both(made: Tree, kernel_tree: Path) -> Tree:
    """A tree with the scripts of two collections."""
    commit(kernel_tree, NET_FILES, "more selftests")
    return replace(made, commit=git(kernel_tree, "rev-parse", "HEAD"))


def test_a_prefix_chooses_the_collection(both: Tree) -> None:
    suite = selection.select_suite("net:default", both)
    assert (
        suite.collection is NET
        and suite.name == "net:default"
        and not selection.prints_tap(NET, both)
    )
    assert [script.label for script in suite.scripts] == ["fib_nexthop_nongw", "netns-name"]
    assert {script.folder for script in suite.scripts} == {"net"}
    named = selection.select_suite("net:fib_nexthop_nongw,netns-name.sh", both)
    assert named.scripts == suite.scripts
    assert selection.select_suite("net:fib_nexthop_nongw, net:netns-name", both) == replace(
        suite, name="net:fib_nexthop_nongw, net:netns-name"
    )
    # As the command that shows it again says it.
    words = suite.words_for(suite.scripts)
    assert words == "net:fib_nexthop_nongw,netns-name"
    assert selection.select_suite(words, both).scripts == suite.scripts
    for word in (suite.name, words, "mptcp:mptcp_join:D,userspace_pm"):
        check_suite(word, "--suite")


def test_without_a_prefix_it_is_mptcp(both: Tree) -> None:
    suite = selection.select_suite("userspace_pm,mptcp_join:D", both)
    assert suite.collection is COLLECTION and selection.prints_tap(COLLECTION, both)
    assert suite.words_for(suite.scripts) == "userspace_pm,mptcp_join:D"
    spelled = selection.select_suite("mptcp:userspace_pm,mptcp_join:D", both)
    assert spelled.scripts == suite.scripts
    assert suite.scripts[1].environment == {"SELFTESTS_MPTCP_LIB_EXPECT_ALL_FEATURES": "1"}


@pytest.mark.parametrize(
    "name", ["net:rtnetlink,mptcp:diag", "diag,net:rtnetlink", "mptcp_join:D,net:rtnetlink"]
)
def test_two_collections_in_one_suite(name: str, both: Tree) -> None:
    with pytest.raises(StageError, match=r"names two collections, \w+ and \w+; .* a run of its"):
        selection.select_suite(name, both)


def test_a_script_of_another_collection(both: Tree) -> None:
    with pytest.raises(StageError, match=r"rtnetlink, .*\(collection net; others, .*: .*mptcp"):
        selection.select_suite("net:rtnetlink,diag", both)


def test_a_new_collection_is_one_added_file(tmp_path: Path) -> None:
    """In a copy of the package, as nothing but the file names it."""
    shutil.copytree(ROOT / "ci", tmp_path / "ci")
    text = (tmp_path / "ci/suites/net.py").read_text(encoding="utf-8")
    text = text.replace('name="net"', 'name="forwarding"').replace('"net"', '"net/forwarding"')
    (tmp_path / "ci/suites/forwarding.py").write_text(text, encoding="utf-8")
    program = (
        "from ci.suites import selection\n"
        "chosen, words = selection.split_name('forwarding:router')\n"
        "print(chosen.folder, words, *selection.all_collections())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout == (
        "tools/testing/selftests/net/forwarding router forwarding mptcp net\n"
    ), done.stderr


def test_no_other_package_knows_a_collection() -> None:
    """What is special to a collection is in its file: the folder is named nowhere else."""
    named = {
        str(path.relative_to(ROOT / "ci"))
        for path in (ROOT / "ci").rglob("*.py")
        if "selftests/net" in path.read_text(encoding="utf-8")
    }
    assert {name for name in named if not name.startswith("suites/")} <= {"logs/ktap.py"}


LOG = """\
Configuring interfaces

########################################
Flow: default VRF, unicast connected
TEST: valid gw                                      [ OK ]
RTNETLINK answers: Invalid argument
TEST: gw in another table                           [FAIL]
PASS: policy routing
SKIP: fou tests
netns-name.sh\t\t\t[  OK  ]
"""


def test_the_lines_of_nets_scripts() -> None:
    result = NET.parse_logs("s", {"tests": LOG}, 1, expect_tap=False)
    assert [(case.name, str(case.state)) for case in result.cases] == [
        ("Configuring interfaces: valid gw", "pass"),
        ("Configuring interfaces: gw in another table", "fail"),
        ("Configuring interfaces: policy routing", "pass"),
        ("Configuring interfaces: fou tests", "skip"),
        ("Configuring interfaces: netns-name.sh", "pass"),
    ]
    assert result.cases[1].detail.startswith("RTNETLINK answers: Invalid argument\nTEST: gw in")
    assert (str(result.own.state), result.problems) == ("fail", ())
    assert NET.parse_logs("s", {"tests": LOG}, 0, expect_tap=False).problems
    assert NET.parse_logs("s", {"tests": ""}, 0, expect_tap=False).problems


def at(tree: Tree, kernel_tree: Path, **changes: str) -> Tree:
    """The tree with other files in the folder of its selftests."""
    files = {f"{SELFTESTS}/{name.replace('__', '.')}": text for name, text in changes.items()}
    commit(kernel_tree, files, "changed")
    return replace(tree, commit=git(kernel_tree, "rev-parse", "HEAD"))


MAKEFILE = FILES[f"{SELFTESTS}/Makefile"]
JOIN = FILES[f"{SELFTESTS}/mptcp_join.sh"]


def test_base_chooses_and_what_a_series_adds_comes_to_it(made: Tree, kernel_tree: Path) -> None:
    patched = at(made, kernel_tree, Makefile=MAKEFILE.replace("diag.sh", "new.sh"))
    suite = selection.select_suite("full", patched, made)
    assert [one.label for one in suite.old] == [
        "mptcp_connect",
        "mptcp_join-f",
        "mptcp_join-D",
        "diag",
        "userspace_pm",
    ]
    assert {"diag"} == {one.label for one in suite.old} - {one.label for one in suite.scripts}
    assert "new" in suite.labels and "diag" in suite.labels
    # A word that one of the two trees has is no unknown word.
    assert selection.select_suite("diag", patched, made).scripts == ()
    assert selection.select_suite("new", patched, made).old == ()
    with pytest.raises(StageError, match="'nothing'"):
        selection.select_suite("nothing", patched, made)


def test_a_group_is_known_by_its_name(made: Tree, kernel_tree: Path) -> None:
    """The letter is the tree's own affair; labels of base and patched are the same."""
    text = JOIN.replace("D@deny", "E@deny").replace("f@sub", "D@other_tests\n\tf@sub")
    suite = selection.select_suite("mptcp_join", at(made, kernel_tree, mptcp_join__sh=text), made)
    assert {one.label: one.args for one in suite.scripts} == {
        "mptcp_join-f": ("-f",),
        "mptcp_join-D": ("-E",),
        "mptcp_join-other_tests": ("-D",),
    }
    assert {one.label: one.args for one in suite.old} == {
        "mptcp_join-f": ("-f",),
        "mptcp_join-D": ("-D",),
    }


@pytest.mark.parametrize(
    "text",
    [
        JOIN.replace("\tD@", "\t# the last of them (for now\n\tD@"),
        JOIN.replace("_tests\n)", "_tests # sorted\n)"),
    ],
)
def test_a_comment_in_the_list_of_groups(text: str, made: Tree, kernel_tree: Path) -> None:
    tree = at(made, kernel_tree, mptcp_join__sh=text)
    labels = [one.label for one in selection.select_suite("smoke", tree).scripts]
    assert labels == ["userspace_pm", "mptcp_join-D"]


def test_what_cannot_be_read_is_told_and_is_missing(made: Tree, kernel_tree: Path) -> None:
    """On patched it is the series that took it away; on base a note says what does not run."""
    tree = at(made, kernel_tree, mptcp_join__sh=JOIN.replace("D@deny", "deny"))
    suite = selection.select_suite("smoke", tree, made)
    assert {one.label for one in suite.old} - {one.label for one in suite.scripts} == {
        "mptcp_join-D"
    }
    assert suite.notes == ()
    alone = selection.select_suite("smoke", made, tree)
    assert alone.notes == (
        "suite smoke: the tree does not have mptcp_join.sh, group deny_join_id0_tests; it does"
        " not run",
    )
    bad = at(made, kernel_tree, Makefile="all:\n")
    suite = selection.select_suite("smoke", bad, made)
    assert suite.scripts == () and len(suite.old) == 2 and "TEST_PROGS" in suite.notes[0]
