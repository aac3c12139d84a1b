# SPDX-License-Identifier: GPL-2.0-only
"""`inv prove` from the settings to proof.json, with recorded logs for guests."""

import json
import shutil
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ci.base.progress import Progress
from ci.base.settings import Settings
from ci.base.workspace import Workspace
from ci.commands import prove, validate
from ci.logs.ending import Ended
from ci.verdict.patch_findings import make_finding
from tests.commands.stand_in import DOES_NOT_COMPILE, FAIL, SELFTESTS, Answer, StandIn, stand_in
from tests.conftest import DEMO_C, commit, git, write

pytestmark = pytest.mark.whole
FLIP = "Established IPv4 MPTCP Connection ns2 => ns1"
MUST_FLIP = f'[[must_flip]]\nscript = "userspace_pm"\ncase = "{FLIP}"\npatches = [{{}}]\n'
SECOND = DEMO_C.replace("int line10;", "int line10 = 1;")


@pytest.fixture
def guests(monkeypatch: pytest.MonkeyPatch, workspace: Workspace) -> StandIn:
    """Guests of base and of the series without patch 1 fail."""
    made = stand_in(monkeypatch, workspace)
    for suffix in ("", ".2", ".3"):
        made.answers[f"base/userspace_pm{suffix}"] = FAIL
    return made


@pytest.fixture
def proved(
    guests: StandIn,
    kernel_tree: Path,
    demo_series: Path,
    settings_for: Callable[..., Settings],
    workspace: Workspace,
) -> Callable[..., tuple[int, dict[int, dict[str, Any]]]]:
    """The exit code of `inv prove` of the demo series, and its patches by their numbers."""
    commit(kernel_tree, SELFTESTS, "selftests")
    shutil.rmtree(demo_series)
    text = DEMO_C
    for number in (5, 35):
        text = text.replace(f"int line{number};", f"int line{number} = 1;")
        commit(kernel_tree, {"net/demo.c": text}, f"demo: line {number}")
    git(kernel_tree, "format-patch", "-q", "-o", str(demo_series), "-2")
    git(kernel_tree, "reset", "-q", "--hard", "HEAD~2")

    def made(
        *, strict: bool = False, budget_s: float = float("inf"), **options: str | bool
    ) -> tuple[int, dict[int, dict[str, Any]]]:
        wanted: dict[str, str | bool] = {
            "tree": str(kernel_tree),
            "series": str(demo_series),
            "suite": "userspace_pm",
        }
        settings = settings_for(**(wanted | {"mode": "virtual"} | options))
        code = prove.prove_series(settings, Progress(), strict=strict, budget_s=budget_s)
        file = workspace.latest() / "proof.json"
        facts = json.loads(file.read_bytes())["patches"] if file.exists() else []
        return code, {row["number"]: row for row in facts}

    return made


def fails_without(guests: StandIn, number: int) -> None:
    """The script fails on the series without that patch, under each seed."""
    for part in (f"without-{number}", f"without-{number}-guards"):
        for suffix in ("", ".2", ".3"):
            guests.answers[f"{part}/patched/userspace_pm{suffix}"] = FAIL


def test_what_tells_of_each_patch_and_what_nothing_tells_of(
    proved: Callable[..., tuple[int, dict[int, dict[str, Any]]]],
    guests: StandIn,
    demo_series: Path,
    workspace: Workspace,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(demo_series, {"series.toml": MUST_FLIP.format(1)})
    fails_without(guests, 1)
    code, patches = proved()
    assert code == 0 and list(patches) == [1, 2]
    assert f"userspace_pm: {FLIP}" in patches[1]["noticed"] and patches[2]["noticed"] == []
    assert [(row["tried"], row["step"]) for row in patches.values()] == [(True, "")] * 2
    said = capsys.readouterr().out
    assert "guarded:   patch 1: userspace_pm: " in said
    assert "unguarded: patch 2: nothing tells that it is left out" in said
    page = (workspace.latest() / "summary.md").read_text(encoding="utf-8")
    assert "### Each patch by itself" in page and "| 2 | `demo: line 35`" in page
    # Base, patched, and patched without each: what base shows is known by then.
    sides = [name for name, _ in guests.asked]
    assert {name for name in sides if "patched" in name} == {"patched/userspace_pm"}
    assert len(guests.built) > 3
    proof = (workspace.latest() / "proof.json").read_bytes()
    asked = len(guests.asked)
    assert proved(strict=True)[0] == 1 and len(guests.asked) == asked
    assert (workspace.latest() / "proof.json").read_bytes() == proof


def test_a_selftest_that_a_patch_makes_stricter_tells_of_it(
    proved: Callable[..., tuple[int, dict[int, dict[str, Any]]]], guests: StandIn
) -> None:
    """Without it, base passes: nothing is fixed any more."""
    for part in ("without-1", "without-2"):
        guests.answers[f"{part}/base/userspace_pm"] = Answer()
    _, patches = proved(rerun=True)
    assert f"userspace_pm: {FLIP}" in patches[1]["noticed"]


def test_a_series_that_does_not_build_up_to_a_patch_cannot_be_bisected(
    proved: Callable[..., tuple[int, dict[int, dict[str, Any]]]],
    demo_series: Path,
    kernel_tree: Path,
    tmp_path: Path,
) -> None:
    """Though the whole does; and what a later patch needs is noticed by it."""
    git(kernel_tree, "checkout", "-q", "-b", "broken")
    broken = DEMO_C.replace("int line10;", DOES_NOT_COMPILE)
    commit(kernel_tree, {"net/demo.c": broken}, "demo: break it")
    commit(kernel_tree, {"net/demo.c": SECOND}, "demo: mend it")
    commit(kernel_tree, {"net/more.c": "int more;\n"}, "demo: more")
    git(kernel_tree, "format-patch", "-q", "-o", str(tmp_path / "broken"), "-3")
    git(kernel_tree, "checkout", "-q", "main")
    code, patches = proved(series=str(tmp_path / "broken"))
    assert code == 2
    assert "it does not build: net/demo.c:1:2: error: #error" in patches[1]["step"]
    assert patches[2]["step"] == patches[3]["step"] == ""
    assert patches[1]["noticed"] == ["apply: 2: demo: mend it"]
    assert patches[2]["noticed"] == ["build: kernel"] and patches[3]["noticed"] == []
    assert not any(one["lines"] for one in patches.values())


def test_what_is_not_found_out_is_no_guard(
    proved: Callable[..., tuple[int, dict[int, dict[str, Any]]]], guests: StandIn
) -> None:
    fails_without(guests, 1)
    guests.answers["without-2/patched/userspace_pm"] = Answer(status=None, ended=Ended.LOST)
    code, patches = proved(strict=True)
    assert code == 3 and (patches[1]["tried"], patches[2]["tried"]) == (True, False)
    assert patches[2]["noticed"] == [] and patches[2]["why"]


def test_an_interrupt_ends_it(
    proved: Callable[..., tuple[int, dict[int, dict[str, Any]]]],
    guests: StandIn,
    workspace: Workspace,
) -> None:
    guests.answers["without-1/patched/userspace_pm"] = Answer(raised=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        proved()
    parts = {path.name for path in workspace.results.glob("*/parts/*")}
    assert "without-1" in parts and "without-2" not in parts


def test_what_is_rejected_is_not_proved(
    proved: Callable[..., tuple[int, dict[int, dict[str, Any]]]], guests: StandIn
) -> None:
    for suffix in ("", ".2", ".3"):
        guests.answers[f"patched/userspace_pm{suffix}"] = FAIL
        guests.answers[f"base/userspace_pm{suffix}"] = Answer()
    assert proved() == (1, {})


def words(patches: dict[int, dict[str, Any]]) -> list[tuple[int, str, int, str, str]]:
    return [
        (number, one["sign"], one["line"], one["word"], one["by"])
        for number, patch in patches.items()
        for one in patch["lines"]
    ]


def test_each_changed_line_has_a_word(
    proved: Callable[..., tuple[int, dict[int, dict[str, Any]]]],
    guests: StandIn,
    workspace: Workspace,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each patch is a mutant, too: it was left out before."""
    fails_without(guests, 2)
    guests.findings = (make_finding("checkpatch", "too long", "net/demo.c", 5),)
    code, patches = proved()
    assert patches[1]["findings"][0]["text"] == "too long" and not patches[2]["findings"]
    case = f"userspace_pm: {FLIP}"
    assert code == 0 and words(patches) == [
        (1, "-", 5, "executed", "userspace_pm"),
        (1, "+", 5, "executed", "userspace_pm"),
        (2, "-", 35, "guarded", case),
        (2, "+", 35, "guarded", case),
    ]
    assert patches[1]["counts"]["executed"] == 2 and patches[2]["counts"]["guarded"] == 2
    run = workspace.latest()
    diff = (run / "proof.diff").read_text(encoding="utf-8")
    assert f"G +int line35 = 1;  <-- {case}\n" in diff
    assert "E +int line5 = 1;  <-- userspace_pm\n" in diff
    assert "E +int line5 = 1;" in (run / "summary.md").read_text(encoding="utf-8")
    assert "| G +int line35 = 1;" in capsys.readouterr().out
    cases = ET.parse(run / "junit.xml").iter("testcase")
    named = {one.get("name") for one in cases if "guarded" in (one.get("classname") or "")}
    assert named == {"1: demo: line 5", "2: demo: line 35"}
    mutants = json.loads((run / "proof.json").read_bytes())["mutants"]
    assert [(one["number"], one["outcome"]) for one in mutants] == [
        (1, "unnoticed"),
        (2, "noticed"),
    ]
    # A stored run has all of it again.
    before = {path.name: path.read_bytes() for path in run.glob("*.*")}
    assert validate.show_run(run) == 0
    assert {path.name: path.read_bytes() for path in run.glob("*.*")} == before


def test_what_a_tool_could_not_tell_is_asked_again(
    proved: Callable[..., tuple[int, dict[int, dict[str, Any]]]], guests: StandIn
) -> None:
    guests.unasked = ("checkpatch: it fails",)
    code, patches = proved()
    assert (code, patches[1]["unasked"]) == (0, ["checkpatch: it fails"])
    guests.unasked = ()
    _, patches = proved()
    assert patches[1]["unasked"] == []


def test_a_dead_line_and_one_that_nobody_had_time_for(
    proved: Callable[..., tuple[int, dict[int, dict[str, Any]]]], guests: StandIn
) -> None:
    guests.dead = frozenset({5})
    _, patches = proved(budget_s=-1)
    rows = {(one["word"], one["why"]) for patch in patches.values() for one in patch["lines"]}
    assert rows == {
        ("compiled", "not tried: the budget is spent"),
        ("executed", "not tried: the budget is spent"),
    }
    assert not any("mutants" in name for name, _ in guests.asked)
    _, patches = proved()  # what was not whole is not kept
    assert [word for _, _, _, word, _ in words(patches)] == ["compiled"] * 2 + ["executed"] * 2
