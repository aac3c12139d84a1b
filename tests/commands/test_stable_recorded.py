# SPDX-License-Identifier: GPL-2.0-only
"""`inv stable`: branches to one table, one junit.xml and one exit code, with recorded logs for
guests; test_stable has real ones."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ci.base.errors import StageError
from ci.base.progress import Progress
from ci.base.settings import Settings
from ci.base.workspace import Workspace
from ci.commands import branches, stable
from tests.commands.stand_in import SELFTESTS, Answer, StandIn, stand_in
from tests.conftest import DEMO_C, commit, git, write

pytestmark = pytest.mark.whole
TOML = '[[patch]]\nnumber = 1\nintroduced = { path = "net/demo.c", text = "int line10" }\n'


@pytest.fixture
def guests(monkeypatch: pytest.MonkeyPatch, workspace: Workspace) -> StandIn:
    return stand_in(monkeypatch, workspace)


@pytest.fixture
def on_branches(
    guests: StandIn,
    kernel_tree: Path,
    demo_series: Path,
    settings_for: Callable[..., Settings],
) -> Callable[..., int]:
    """The exit code of `inv stable` on branches of the tree: ``good`` and ``later``, ``conflict``,
    and ``old``, which has none of the code."""
    for patch in sorted(demo_series.glob("*.patch"))[1:]:
        patch.unlink()
    write(demo_series, {"series.toml": TOML})
    for name, text in {
        "good": DEMO_C,
        "later": DEMO_C.replace("int line40;", "long line40;"),
        "conflict": DEMO_C.replace("int line9;", "long line9;"),
        "old": "int nothing;\n",
    }.items():
        git(kernel_tree, "checkout", "-q", "-b", name, "main")
        commit(kernel_tree, SELFTESTS | {"net/demo.c": text, "name": name}, name)
    git(kernel_tree, "checkout", "-q", "main")

    def made(*names: str, selftests: str = "own") -> int:
        words = ",".join(f"{name}=git:file://{kernel_tree}@{name}" for name in names)
        settings = settings_for(series=str(demo_series), suite="userspace_pm", mode="virtual")
        return stable.validate_branches(
            settings, Progress(), branches.select_branches(words), selftests
        )

    return made


def rows(workspace: Workspace) -> dict[str, tuple[str, int]]:
    """Branch -> verdict and exit code of the whole's verdict.json."""
    return {row["name"]: (row["verdict"], row["exit_code"]) for row in whole(workspace)["branches"]}


def whole(workspace: Workspace) -> dict[str, Any]:
    text = (workspace.latest() / "verdict.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def test_branches_of_each_kind(
    on_branches: Callable[..., int],
    guests: StandIn,
    workspace: Workspace,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert on_branches("good", "old", "conflict") == 2
    assert rows(workspace) == {
        "good": ("accepted", 0),
        "old": ("not affected", 0),
        "conflict": ("rejected", 2),
    }
    assert whole(workspace)["exit_code"] == 2 and len(guests.asked) == 2
    table = capsys.readouterr().out
    assert "overall: rejected (exit 2)" in table and "selftests: own\n" in table
    for line in ("good      accepted (exit 0)", "old       not affected (exit 0)"):
        assert line in table
    summary = (workspace.latest() / "summary.md").read_text(encoding="utf-8")
    assert "| good | applies | accepted | 0 |" in summary
    assert "| old | not affected | not affected | 0 |" in summary
    assert "| conflict | conflicts | rejected | 2 |" in summary


def test_one_junit_of_all_branches(on_branches: Callable[..., int], workspace: Workspace) -> None:
    assert on_branches("good", "old", "gone") == 3
    root = ET.parse(workspace.latest() / "junit.xml").getroot()
    cases = [*root.iter("testcase")]
    own = ET.parse(workspace.latest() / "branches/good/junit.xml").getroot()
    of_good = [case for case in cases if case.attrib["classname"].startswith("good.guest.")]
    assert len(of_good) == len([*own.iter("testcase")]) == len(cases) - 2
    skipped, lost = (
        next(case for case in cases if case.attrib["classname"] == f"{name}.plan")
        for name in ("old", "gone")
    )
    assert skipped.find("skipped") is not None and lost.find("error") is not None
    for count in ("tests", "failures", "errors"):
        assert int(root.attrib[count]) == sum(int(suite.attrib[count]) for suite in root)
    assert root.attrib["errors"] == "1" and root.attrib["failures"] == "0"
    assert rows(workspace)["gone"] == ("untested", 3)


def test_after_an_interrupt_no_branch_is_tried(
    on_branches: Callable[..., int], guests: StandIn, workspace: Workspace
) -> None:
    guests.answers["patched/userspace_pm"] = Answer(raised=KeyboardInterrupt("SIGINT"))
    assert on_branches("good", "later") == 3
    assert len(guests.built) == 2
    first, second = whole(workspace)["branches"]
    assert "interrupted (SIGINT)" in str(first["reasons"])
    assert second["reasons"] == ["interrupted before it was tested"] and second["exit_code"] == 3


def test_the_newest_branchs_selftests_on_all(
    on_branches: Callable[..., int],
    kernel_tree: Path,
    workspace: Workspace,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert on_branches("good", "later", selftests="newest") == 0
    assert rows(workspace) == {"good": ("accepted", 0), "later": ("accepted", 0)}
    assert "selftests: newest (" in capsys.readouterr().out
    run = workspace.latest() / "branches/good/run.json"
    selftests = json.loads(run.read_text(encoding="utf-8"))["suite"]["selftests"]
    assert selftests.endswith(f"@{git(kernel_tree, 'rev-parse', 'later')}")
    with pytest.raises(StageError, match="--selftests odd"):
        on_branches("good", selftests="odd")
    with pytest.raises(StageError, match="no branch could be had"):
        on_branches("gone", selftests="newest")
