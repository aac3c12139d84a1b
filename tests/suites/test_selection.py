# SPDX-License-Identifier: GPL-2.0-only
"""ci.suites.selection: what the tables and a tree's own Makefile make a suite of."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ci.base.errors import StageError
from ci.base.progress import Progress
from ci.base.settings import Settings
from ci.series.patches import load_series
from ci.suites import selection
from ci.suites.selection import SELFTESTS, Script
from ci.trees.fetch import fetch_source
from ci.trees.tree import Tree, derive_trees
from tests.conftest import commit, git

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
    found = selection.select("smoke", made)
    assert [script.label for script in found.scripts] == [
        "userspace_pm",
        "mptcp_join-D",
    ] and found.tap
    assert found.scripts[1].args == ("-D",)
    # What the tree's Makefile does not name is left out.
    labels = [script.label for script in selection.select("default", made).scripts]
    assert labels == ["userspace_pm", "mptcp_join-D", "diag"]


@pytest.mark.parametrize("name", ["../../../../hurt.sh", "/tmp/x.sh", "-rf", "$(NAMES)"])
def test_a_makefile_that_names_no_file(name: str, made: Tree, kernel_tree: Path) -> None:
    """A script's name is part of the path of its logs."""
    text = FILES[f"{SELFTESTS}/Makefile"].replace("diag.sh", name)
    commit(kernel_tree, {f"{SELFTESTS}/Makefile": text}, "hostile")
    hostile = replace(made, commit=git(kernel_tree, "rev-parse", "HEAD"))
    with pytest.raises(StageError, match=re.escape(f"TEST_PROGS names '{name}'")):
        selection.select("full", hostile)


def test_a_comment_ends_the_list(made: Tree, kernel_tree: Path) -> None:
    """As the list has been written since 6.18: one name a line, and a comment behind the last."""
    text = (
        "TEST_PROGS := \\\n\tdiag.sh \\\n\tuserspace_pm.sh \\\n# end of"
        " TEST_PROGS\n\nTEST_GEN_FILES := x\n"
    )
    commit(kernel_tree, {f"{SELFTESTS}/Makefile": text}, "one name a line")
    newer = replace(made, commit=git(kernel_tree, "rev-parse", "HEAD"))
    assert selection.programs(newer) == ("diag.sh", "userspace_pm.sh")


def test_a_script_is_the_same_in_each_suite(made: Tree) -> None:
    # Else a replay by the script's name would be another run than the one that it is to show again.
    tables = selection.select("default", made).scripts
    assert selection.select("userspace_pm,mptcp_join:D,diag", made).scripts == tables
    assert set(tables) < set(selection.select("full", made).scripts)


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
        match=r"none of userspace_pm, mptcp_join; --suite names scripts .*: mptcp_connect\.sh",
    ):
        selection.select("smoke", made)
    full = selection.select("full", made)
    assert [script.label for script in full.scripts] == [
        "mptcp_connect",
        "mptcp_join",
    ] and not full.tap


def test_full_is_the_trees_own_list_with_join_in_its_groups(made: Tree) -> None:
    scripts = selection.select("full", made).scripts
    assert [script.label for script in scripts] == [
        "mptcp_connect",
        "mptcp_join-f",
        "mptcp_join-D",
        "diag",
        "userspace_pm",
    ]
    assert (
        scripts[1] == Script("mptcp_join.sh", ("-f",), selection.LONG_S, "f")
        and scripts[1].name == "mptcp_join"
    )


def test_scripts_by_name(made: Tree) -> None:
    found = selection.select("diag, mptcp_join:D,userspace_pm.sh", made)
    assert [script.label for script in found.scripts] == ["diag", "mptcp_join-D", "userspace_pm"]
    assert [script.label for script in selection.select("mptcp_join", made).scripts] == [
        "mptcp_join-f",
        "mptcp_join-D",
    ]


@pytest.mark.parametrize("name", ["huge", "diag:x", "diag,", "mptcp_join:q", "../x"])
def test_a_name_that_is_none_lists_what_there_is(name: str, made: Tree) -> None:
    with pytest.raises(StageError, match="smoke, default, full, and scripts of the tree"):
        selection.select(name, made)


def test_a_known_limit_has_a_reason() -> None:
    assert all(script and case and len(why) > 20 for script, case, why in selection.KNOWN)


def test_a_file_that_cannot_be_read_is_not_one_that_is_missing(made: Tree) -> None:
    assert selection.prints_tap(made)
    blob = made.source.git.line("rev-parse", f"{made.commit}:{SELFTESTS}/mptcp_lib.sh")
    lender = Path(
        (made.source.slot / "src/.git/objects/info/alternates").read_text(encoding="utf-8").strip()
    )
    (lender / blob[:2] / blob[2:]).unlink()
    with pytest.raises(StageError, match="exit code 128"):
        selection.prints_tap(made)
