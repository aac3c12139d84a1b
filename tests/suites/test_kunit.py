# SPDX-License-Identifier: GPL-2.0-only
"""ci.suites.kunit: which suites have the kernel's own tests, for trees with them and without."""

from dataclasses import replace
from pathlib import Path

import pytest

from ci.base.errors import StageError
from ci.base.options import check_suite
from ci.kernel import kconfig
from ci.suites import selection
from ci.suites.mptcp import COLLECTION
from ci.trees.tree import Tree
from tests.conftest import commit, git
from tests.suites.test_selection import FILES, SELFTESTS, at, made

__all__ = ["made"]
KCONFIG = "net/mptcp/Kconfig"
TESTS = {
    KCONFIG: "config MPTCP_KUNIT_TEST\n\ttristate\n\tdepends on KUNIT\n",
    "net/mptcp/token_test.c": "int first;\n",
}
LACKS = "the tree has no KUnit tests, as its net/mptcp/Kconfig has no 'config MPTCP_KUNIT_TEST'"


@pytest.fixture
def tested(made: Tree, kernel_tree: Path) -> Tree:
    """The tree with tests of its own."""
    commit(kernel_tree, TESTS, "tests")
    return replace(made, commit=git(kernel_tree, "rev-parse", "HEAD"))


def test_by_its_name_it_is_all_there_is(tested: Tree) -> None:
    suite = selection.select_suite("kunit", tested, tested)
    (script,) = suite.scripts
    assert script.built_in and (script.name, script.label, script.args) == ("kunit", "kunit", ())
    assert (suite.built_in, suite.installed, suite.old, suite.notes) == (True, False, (), ())
    assert suite.words_for(suite.scripts) == "kunit"
    check_suite("kunit,mptcp_join:D", "--suite")


def test_full_has_it_behind_the_scripts(tested: Tree, made: Tree) -> None:
    suite, before = (selection.select_suite("full", tree, tree) for tree in (tested, made))
    assert [one.label for one in suite.scripts] == [one.label for one in before.scripts] + ["kunit"]
    assert suite.old == before.old and suite.built_in and suite.installed
    assert suite.notes == () and before.notes == (f"suite full: {LACKS}; they do not run",)
    assert not before.built_in


def test_with_others_by_name(tested: Tree) -> None:
    suite = selection.select_suite("kunit, diag", tested, tested)
    assert [one.label for one in suite.scripts] == ["diag", "kunit"] and suite.installed
    checked = selection.select_suite("seen,kunit", tested, tested, ["seen.sh"])
    assert checked.labels == ["kunit", "seen"] and checked.installed
    assert not selection.select_suite("default", tested, tested).built_in


def test_a_tree_without_tests_cannot_be_asked_for_them(made: Tree) -> None:
    with pytest.raises(StageError, match="'kunit': the tree has no KUnit tests") as caught:
        selection.select_suite("kunit", made, made)
    assert caught.value.asked and LACKS in caught.value.message


def test_a_series_may_bring_the_first_tests_and_cannot_take_the_last_unseen(
    tested: Tree, made: Tree
) -> None:
    for tree, base in ((tested, made), (made, tested)):
        suite = selection.select_suite("kunit", tree, base)
        assert [one.label for one in suite.scripts] == ["kunit"] and suite.old == ()
        assert suite.notes == (
            "the series changes KUnit tests, and each kernel runs its own: net/mptcp/token_test.c",
        )


def test_the_kernels_decide_not_the_tree_whose_scripts_run(tested: Tree, made: Tree) -> None:
    assert selection.select_suite("full", made, None, (), (tested, tested)).built_in
    assert not selection.select_suite("full", tested, None, (), (made, made)).built_in


@pytest.mark.parametrize("name", ["kunit", "kunit.sh"])
def test_no_script_of_a_tree_may_have_its_name(name: str, tested: Tree, kernel_tree: Path) -> None:
    text = FILES[f"{SELFTESTS}/Makefile"].replace("diag.sh", name)
    with pytest.raises(StageError, match=f"TEST_PROGS names '{name}'; here, that is KUnit"):
        selection.select_suite("full", at(tested, kernel_tree, Makefile=text))


@pytest.mark.parametrize("name", ["net:kunit", "kunit:x", "kunit.sh"])
def test_what_is_none_is_no_script_either(name: str, tested: Tree, kernel_tree: Path) -> None:
    net = {"tools/testing/selftests/net/Makefile": "TEST_PROGS := netns-name.sh\n"}
    commit(kernel_tree, net, "net")
    tree = replace(tested, commit=git(kernel_tree, "rev-parse", "HEAD"))
    with pytest.raises(StageError, match="there are smoke, default, full"):
        selection.select_suite(name, tree, tree)


def test_each_symbol_has_its_reason_and_those_that_not_all_kernels_have_say_so() -> None:
    assert COLLECTION.kunit
    asked = kconfig.parse_fragment(COLLECTION.kunit.symbols, "x").symbols
    assert all(one.value == "y" and len(one.reason) > 8 for one in asked)
    assert [one.symbol for one in asked if not one.may_be_unknown] == ["CONFIG_KUNIT"]
