# SPDX-License-Identifier: GPL-2.0-only
"""ci.commands.plan and ci.commands.stable on real repositories: what each branch needs, and one
answer for all of them."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from ci.base.errors import StageError
from ci.base.progress import Progress
from ci.base.settings import Settings
from ci.commands import branches, plan, stable
from ci.commands.plan import BranchTrees
from ci.kernel import build
from ci.report import stored
from ci.report.branches import plan_table
from ci.series.patches import load_series
from tests.conftest import DEMO_C, KERNEL_FILES, commit, git, write

pytestmark = pytest.mark.whole
TOML = """
[[patch]]
number = 1
affects_since = "6.0"
introduced = { path = "net/demo.c", text = "int line10" }

[[patch]]
number = 2
depends = [1]
"""


@pytest.fixture
def upstream(kernel_tree: Path, demo_series: Path) -> Path:
    """Branches: ``with-series`` and ``main`` of the fixtures, ``conflict``, ``old`` (the code is
    not there)."""
    write(demo_series, {"series.toml": TOML})
    for name, files in {
        "conflict": {"net/demo.c": DEMO_C.replace("int line29;", "long line29;")},
        "old": {
            "net/demo.c": "int other;\n",
            "Makefile": KERNEL_FILES["Makefile"].replace("= 6", "= 5"),
        },
    }.items():
        git(kernel_tree, "checkout", "-q", "-b", name, "main")
        commit(kernel_tree, files, name)
    git(kernel_tree, "checkout", "-q", "main")
    return kernel_tree


@pytest.fixture
def planned(
    upstream: Path, demo_series: Path, settings_for: Callable[..., Settings], progress: Progress
) -> Callable[..., dict[str, BranchTrees]]:
    def made(*names: str) -> dict[str, BranchTrees]:
        words = ",".join(f"{name}=git:file://{upstream}@{name}" for name in names)
        wanted, chosen = settings_for(series=str(demo_series)), branches.select_branches(words)
        plans = plan.plan_branches(wanted, load_series(demo_series), chosen, progress)
        return {one.name: one for one in plans}

    return made


def statuses(one: BranchTrees) -> list[str]:
    return [patch.status for patch in one.plan.patches]


def test_what_each_branch_needs(planned: Callable[..., dict[str, BranchTrees]]) -> None:
    plans = planned("main", "with-series", "conflict", "old")
    assert {name: statuses(one) for name, one in plans.items()} == {
        "main": ["applies", "applies"],
        "with-series": ["already there", "already there"],
        "conflict": ["applies", "conflicts"],
        "old": ["not affected", "not affected"],
    }
    assert [one.exit_code for one in plans.values()] == [0, 0, 2, 0]
    assert [patch.on_base for patch in plans["with-series"].plan.patches] == [
        "applies",
        "applies",
    ]
    whys = [patch.why for patch in plans["old"].plan.patches]
    assert "older than v6.0" in whys[0] and "no int line10 in its net/demo.c" in whys[0]
    assert whys[1] == "it depends on patch 1, which is not needed"


def test_code_that_came_to_an_older_branch_is_affected(
    planned: Callable[..., dict[str, BranchTrees]], upstream: Path
) -> None:
    git(upstream, "checkout", "-q", "old")
    commit(upstream, {"net/demo.c": DEMO_C}, "backport of what the series fixes")
    assert statuses(planned("old")["old"]) == ["applies", "applies"]


def test_what_was_moved_is_there_and_told(
    kernel_tree: Path, tmp_path: Path, settings_for: Callable[..., Settings], progress: Progress
) -> None:
    added = "int a_long_first_line;\nint a_long_second_line;\n"
    folder = tmp_path / "moving"
    git(kernel_tree, "checkout", "-q", "-b", "adding")
    commit(
        kernel_tree,
        {"net/demo.c": DEMO_C.replace("int line10;\n", f"int line10;\n{added}")},
        "demo: more lines",
    )
    git(kernel_tree, "format-patch", "-q", "-o", str(folder), "main..adding")
    git(kernel_tree, "checkout", "-q", "--orphan", "moved", "main")
    lines = DEMO_C.splitlines(keepends=True)
    more = "".join(lines[5:10]) + added + "".join(lines[10:20])
    commit(
        kernel_tree,
        {"net/demo.c": "".join(lines[:5] + lines[20:]), "net/more.c": more},
        "the code is elsewhere",
    )
    chosen = branches.select_branches(f"moved=git:file://{kernel_tree}@moved")
    wanted = settings_for(series=str(folder))
    (one,) = plan.plan_branches(wanted, load_series(folder), chosen, progress)
    assert statuses(one) == ["already there"] and one.exit_code == 0
    why = (
        "taken out adapted: hunk 1 of net/demo.c is at net/more.c:6, 6 of 6 lines of context are"
        " there"
    )
    assert one.plan.patches[0].why == why
    assert one.trees
    assert "-+++ net/demo.c\n+--- net/more.c\n++++ net/more.c" in one.trees.states[0].adapted
    shown = plan_table([one.plan], load_series(folder).titles)
    assert f"moved: patch 1: {why}" in shown

    # With one line of it missing it is a conflict like any other.
    commit(kernel_tree, {"net/more.c": more.replace("int a_long_second_line;\n", "")}, "half of it")
    (one,) = plan.plan_branches(wanted, load_series(folder), chosen, progress)
    assert statuses(one) == ["conflicts"] and one.exit_code == 2
    assert "1 of 2 added lines are there, at net/more.c:6" in one.plan.patches[0].why


def test_a_branch_that_can_not_be_had_is_a_row(
    settings_for: Callable[..., Settings],
    demo_series: Path,
    progress: Progress,
    capsys: pytest.CaptureFixture[str],
) -> None:
    chosen = branches.select_branches("gone=git:file:///nowhere/linux@main")
    wanted = settings_for(series=str(demo_series))
    assert plan.show_plan(wanted, progress, chosen) == 3
    shown = capsys.readouterr().out
    assert shown.splitlines()[1].split() == ["gone", "-", "untested", "untested"]
    assert (
        "gone: untested: file:///nowhere/linux: fatal: '/nowhere/linux' does not appear to be a git"
        " repository" in shown
    )


def test_one_repository_that_is_gone_says_nothing_of_another(
    upstream: Path, demo_series: Path, settings_for: Callable[..., Settings], progress: Progress
) -> None:
    chosen = branches.select_branches(
        f"gone=git:file:///nowhere/linux@main,main=git:file://{upstream}@main"
    )
    plans = plan.plan_branches(
        settings_for(series=str(demo_series)), load_series(demo_series), chosen, progress
    )
    assert [bool(one.trouble) for one in plans] == [True, False]


@pytest.mark.parametrize(
    ("options", "said"),
    [({"on": "top"}, "--on top"), ({"form": "xml"}, "--format xml"), ({"shards": 0}, "--shards 0")],
)
def test_options_that_are_none(
    options: dict[str, str], said: str, settings_for: Callable[..., Settings], progress: Progress
) -> None:
    with pytest.raises(StageError, match=said):
        plan.show_plan(settings_for(), progress, (), **options)  # type: ignore[arg-type]


def test_a_matrix_for_a_fleet(
    upstream: Path,
    demo_series: Path,
    settings_for: Callable[..., Settings],
    progress: Progress,
    capsys: pytest.CaptureFixture[str],
) -> None:
    makefile = "TEST_PROGS := userspace_pm.sh diag.sh \\\n  pm_netlink.sh\n"
    for name in ("main", "old"):
        git(upstream, "checkout", "-q", name)
        commit(upstream, {"tools/testing/selftests/net/mptcp/Makefile": makefile}, "selftests")
    words = ",".join(f"{name}=git:file://{upstream}@{name}" for name in ("main", "old"))
    write(demo_series, {"checks/seen.sh": "#!/bin/sh\n"})
    wanted = settings_for(series=str(demo_series), suite="full")
    assert (
        plan.show_plan(wanted, progress, branches.select_branches(words), form="json", shards=2)
        == 0
    )
    said = json.loads(capsys.readouterr().out)
    assert [(job["branch"], job["shard"], job["suite"]) for job in said["include"]] == [
        ("main", "1/2", "userspace_pm,pm_netlink"),
        ("main", "2/2", "diag,seen"),
    ]
    assert said["include"][0]["command"].startswith("ci/bootstrap.sh validate --series ")
    assert (
        f"--source git:file://{upstream}@main --suite userspace_pm,pm_netlink"
        in said["include"][0]["command"]
    )
    assert [(one["name"], one["affected"]) for one in said["branches"]] == [
        ("main", True),
        ("old", False),
    ]
    assert {"number", "status", "on_base", "affected", "why"} <= set(
        said["branches"][0]["patches"][0]
    )


def test_one_branch_that_conflicts_does_not_stop_the_others(
    upstream: Path,
    demo_series: Path,
    settings_for: Callable[..., Settings],
    progress: Progress,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ",".join(f"{name}=git:file://{upstream}@{name}" for name in ("conflict", "main", "old"))
    wanted = settings_for(series=str(demo_series), mode="virtual")
    assert stable.validate_branches(wanted, progress, branches.select_branches(words), "own") == 2
    folder = wanted.workspace.latest()
    said = json.loads((folder / "verdict.json").read_text(encoding="utf-8"))
    assert (said["verdict"], said["exit_code"]) == ("rejected", 2)
    # main is no kernel that could be built: it is found out after conflict was.
    assert [(one["name"], one["verdict"], one["exit_code"]) for one in said["branches"]] == [
        ("conflict", "rejected", 2),
        ("main", "error", 3),
        ("old", "not affected", 0),
    ]
    assert "patch failed: net/demo.c:27" in json.dumps(said["branches"][0]["reasons"])
    shown = capsys.readouterr().out
    assert "conflict  rejected (exit 2): " in shown and "overall: rejected (exit 2)" in shown
    root = ET.parse(folder / "junit.xml").getroot()
    names = {case.attrib["classname"].split(".")[0] for case in root.iter("testcase")}
    assert names == {"conflict", "main", "old"}
    assert int(root.attrib["failures"]) == len(root.findall(".//failure")) == 1
    assert int(root.attrib["tests"]) == len(root.findall(".//testcase"))
    for name in ("conflict", "main"):
        own = json.loads((folder / "branches" / name / "verdict.json").read_text(encoding="utf-8"))
        assert own["exit_code"] in (2, 3) and own["patches"][0]["status"] == "applies"
    with pytest.raises(
        StageError,
        match=r"a run over branches; name one of them: .*/branches/conflict, .*/branches/main",
    ):
        stored.read_run(folder)
    assert stored.read_run(folder / "branches/main").prefix == "main.guest"
    assert "| conflict | applies | conflicts | rejected | 2 |" in (folder / "summary.md").read_text(
        encoding="utf-8"
    )


def test_branches_after_an_interruption_are_untested_rows(
    upstream: Path,
    demo_series: Path,
    settings_for: Callable[..., Settings],
    progress: Progress,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt("SIGTERM")

    monkeypatch.setattr(build, "find_toolchain", interrupt)
    words = ",".join(f"{name}=git:file://{upstream}@{name}" for name in ("main", "with-series"))
    wanted = settings_for(series=str(demo_series), mode="virtual")
    assert stable.validate_branches(wanted, progress, branches.select_branches(words), "own") == 3
    said = json.loads((wanted.workspace.latest() / "verdict.json").read_text(encoding="utf-8"))
    assert [(one["name"], one["verdict"], one["exit_code"]) for one in said["branches"]] == [
        ("main", "error", 3),
        ("with-series", "untested", 3),
    ]
