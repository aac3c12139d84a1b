# SPDX-License-Identifier: GPL-2.0-only
"""`inv validate` from the settings to verdict.json, junit.xml, what is printed and the exit code,
with recorded logs for guests; test_guests has real ones."""

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
from ci.commands import validate
from ci.guest import rootfs, selftests
from ci.kernel import build
from ci.logs.ending import Ended
from tests.commands.stand_in import (
    DOES_NOT_COMPILE,
    FAIL,
    MPTCP,
    PASS,
    SELFTESTS,
    Answer,
    StandIn,
    stand_in,
)
from tests.conftest import DEMO_C, commit, git, write

pytestmark = pytest.mark.whole
FLIP = "Established IPv4 MPTCP Connection ns2 => ns1"
MUST_FLIP = f'[[must_flip]]\nscript = "userspace_pm"\ncase = "{FLIP}"\n'
BOTH = ["base/userspace_pm", "patched/userspace_pm"]


@pytest.fixture
def guests(monkeypatch: pytest.MonkeyPatch, workspace: Workspace) -> StandIn:
    return stand_in(monkeypatch, workspace)


@pytest.fixture
def validated(
    guests: StandIn,
    kernel_tree: Path,
    demo_series: Path,
    settings_for: Callable[..., Settings],
    workspace: Workspace,
) -> Callable[..., int]:
    """The exit code of `inv validate` of the demo series on its tree, which has selftests."""
    commit(kernel_tree, SELFTESTS, "selftests")

    def made(**options: str | bool) -> int:
        wanted = {"tree": str(kernel_tree), "series": str(demo_series), "suite": "userspace_pm"}
        settings = settings_for(**(wanted | {"mode": "virtual"} | options))
        return validate.validate_series(settings, Progress())

    return made


def stored(workspace: Workspace, name: str = "verdict.json") -> dict[str, Any]:
    text = (workspace.latest() / name).read_text(encoding="utf-8")
    return dict(json.loads(text))


def names(guests: StandIn) -> list[str]:
    return [name for name, _ in guests.asked]


def test_accepted(
    validated: Callable[..., int],
    guests: StandIn,
    workspace: Workspace,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert validated() == 0
    assert sorted(names(guests)) == BOTH and len(guests.built) == 2
    verdict, run = stored(workspace), stored(workspace, "run.json")
    assert (verdict["verdict"], verdict["exit_code"], verdict["reasons"]) == ("accepted", 0, [])
    assert [patch["status"] for patch in verdict["patches"]] == ["applies", "applies"]
    assert {case["change"] for case in verdict["cases"]} == {"kept"}
    assert run["packages"] == ["bash_5.2.37-2_amd64"] and run["troubles"] == []
    assert {row["name"]: (row["base"], row["patched"]) for row in run["builds"]} == dict.fromkeys(
        ("kernel", "selftests"), ("pass", "pass")
    )
    junit = ET.parse(workspace.latest() / "junit.xml").getroot()
    assert len([*junit.iter("testcase")]) == len(verdict["cases"])
    assert not [*junit.iter("failure"), *junit.iter("error")]
    printed = capsys.readouterr().out
    assert "accepted (exit 0)" in printed
    # Again: the record knows, and says the same.
    text = (workspace.latest() / "verdict.json").read_bytes()
    assert validated() == 0 and len(guests.asked) == 2
    assert (workspace.latest() / "verdict.json").read_bytes() == text
    assert validated(rerun=True) == 0 and len(guests.asked) == 4


def test_what_rejects_runs_again_with_other_seeds(
    validated: Callable[..., int], guests: StandIn, workspace: Workspace
) -> None:
    for suffix in ("", ".2", ".3"):
        guests.answers[f"patched/userspace_pm{suffix}"] = FAIL
    assert validated(seed="7") == 1
    assert sorted(guests.asked) == [
        (f"{side}/userspace_pm{suffix}", seed)
        for side in ("base", "patched")
        for suffix, seed in (("", 7), (".2", 8), (".3", 9))
    ]
    verdict = stored(workspace)
    assert verdict["verdict"] == "rejected" and FLIP in str(verdict["reasons"])
    failures = [*ET.parse(workspace.latest() / "junit.xml").getroot().iter("failure")]
    assert failures


def test_what_base_always_passes_and_patched_does_not_is_newly_flaky(
    validated: Callable[..., int],
    guests: StandIn,
    workspace: Workspace,
) -> None:
    """Base has as many attempts as patched, and some more to show that it is flaky, too."""
    guests.answers["patched/userspace_pm"] = FAIL
    assert validated(seed="4") == 1
    assert sorted(guests.asked) == [
        (f"{side}/userspace_pm{suffix}", seed)
        for side in ("base", "patched")
        for suffix, seed in zip(("", ".2", ".3", ".4", ".5", ".6"), range(4, 10), strict=True)
    ]
    verdict = stored(workspace)
    (case,) = (case for case in verdict["cases"] if case["name"] == FLIP)
    assert (case["base"], case["patched"]) == ("pass", "unsteady")
    assert case["change"] == "newly-flaky" and "not with seed 4" in verdict["reasons"][1]


def test_what_base_does_not_always_pass_either_does_not_reject(
    validated: Callable[..., int], guests: StandIn, workspace: Workspace
) -> None:
    guests.answers["patched/userspace_pm"] = guests.answers["base/userspace_pm.2"] = FAIL
    assert validated() == 0
    assert "patched/userspace_pm.2" in names(guests)
    assert "patched/userspace_pm.3" not in names(guests)
    assert "flaky" in {case["change"] for case in stored(workspace)["cases"]}


def test_base_runs_its_own_script_where_the_patched_one_stops(
    validated: Callable[..., int],
    guests: StandIn,
    kernel_tree: Path,
    demo_series: Path,
    workspace: Workspace,
) -> None:
    """The series brings a test with its fix: base has to fail it, and only it."""
    git(kernel_tree, "checkout", "-q", "with-series")
    commit(kernel_tree, {f"{MPTCP}/userspace_pm.sh": "# a test\n"}, "selftests: a test")
    git(kernel_tree, "format-patch", "-q", "-1", "--start-number=3", "-o", str(demo_series))
    git(kernel_tree, "checkout", "-q", "main")
    write(demo_series, {"series.toml": MUST_FLIP})
    guests.answers["base/userspace_pm"] = FAIL
    assert validated() == 0
    assert sorted(names(guests)) == [
        f"{side}/userspace_pm" for side in ("base-old", "base", "patched-old", "patched")
    ]
    change = {(case["suite"], case["name"]): case["change"] for case in stored(workspace)["cases"]}
    assert change["userspace_pm", FLIP] == "fixed"
    assert change["userspace_pm (old)", FLIP] == "kept"
    guests.answers.clear()
    assert validated(rerun=True) != 0  # base passes, so the test shows nothing
    assert stored(workspace)["verdict"] != "accepted" and FLIP in str(stored(workspace)["reasons"])


@pytest.mark.parametrize("side", ["base", "patched"])
def test_a_side_that_does_not_build(
    side: str,
    validated: Callable[..., int],
    guests: StandIn,
    kernel_tree: Path,
    demo_series: Path,
    workspace: Workspace,
) -> None:
    """Base's trouble is not the series' fault; the compiler's words are told once."""
    if side == "base":
        commit(kernel_tree, {"net/demo.c": f"{DEMO_C}\n\n\n\n{DOES_NOT_COMPILE}\n"}, "broken")
    else:
        patch = max(demo_series.glob("*.patch"))
        text = patch.read_text(encoding="utf-8")
        patch.write_text(text.replace("int line30 = 3;", DOES_NOT_COMPILE), encoding="utf-8")
    assert validated() == (3 if side == "base" else 2)
    assert guests.asked == [] and len(guests.built) == (1 if side == "base" else 2)
    verdict, run = stored(workspace), stored(workspace, "run.json")
    (row,) = (row for row in run["builds"] if row["name"] == "kernel")
    assert (row["base"], row["patched"]) == (
        ("fail", "missing") if side == "base" else ("pass", "fail")
    )
    assert str(verdict["reasons"]).count("error: #error") == 1 and run["troubles"] == []


@pytest.mark.parametrize(
    ("answer", "code", "reason"),
    [
        (
            Answer("userspace_pm.killed.log", None, "dmesg.oops-panic.log", Ended.PANIC),
            1,
            "panicked",
        ),
        (Answer("userspace_pm.killed.log", None, ended=Ended.LOST), 3, "lost"),
        (Answer(console="dmesg.warning.log"), 1, "net/mptcp/subflow.c"),
        (Answer(raised=StageError("run", "vng is not installed")), 3, "vng is not installed"),
        (Answer(raised=RuntimeError("a fault of ours")), 3, "a fault of ours"),
        (Answer(raised=KeyboardInterrupt("SIGTERM")), 3, "interrupted (SIGTERM)"),
    ],
    ids=["panic", "lost", "warning", "stage", "fault", "signal"],
)
def test_how_a_patched_guest_may_end(
    answer: Answer,
    code: int,
    reason: str,
    validated: Callable[..., int],
    guests: StandIn,
    workspace: Workspace,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Only what the kernel did rejects; whatever it is, it gets a verdict."""
    for suffix in ("", ".2", ".3"):
        guests.answers[f"patched/userspace_pm{suffix}"] = answer
    assert validated() == code
    verdict = stored(workspace)
    assert verdict["exit_code"] == code and reason in str(verdict["reasons"])
    assert f"(exit {code})" in capsys.readouterr().out
    fault = isinstance(answer.raised, RuntimeError)
    assert (workspace.latest() / "traceback.log").exists() == fault


def test_a_list_of_what_may_be_excuses_a_complaint(
    validated: Callable[..., int], guests: StandIn, workspace: Workspace, tmp_path: Path
) -> None:
    guests.answers["patched/userspace_pm"] = Answer(console="dmesg.warning.log")
    assert validated() == 1
    (case,) = (c for c in stored(workspace)["cases"] if c["change"] == "regressed")
    row = f"""[[allow]]
script = "kernel"
case = "{case["name"][:12]}*"
why = "known"
link = "https://example.org/1"
until = 2999-12-31
"""
    write(tmp_path, {"allow.toml": row})
    assert validated(allow=str(tmp_path / "allow.toml")) == 0
    (excused,) = (c for c in stored(workspace)["cases"] if c["change"] == "regressed")
    assert excused["known limit"] == "known (https://example.org/1, until 2999-12-31)"


@pytest.mark.parametrize("script", ["sed s/^/decoded:/", "exit 3"])
def test_stack_traces_are_decoded_where_the_kernel_has_debug_info(
    validated: Callable[..., int],
    guests: StandIn,
    kernel_tree: Path,
    workspace: Workspace,
    script: str,
) -> None:
    """By the tree's own script; whether it can says nothing of the series."""
    commit(kernel_tree, {"scripts/decode_stacktrace.sh": f"{script}\n"}, "script")
    guests.answers["patched/userspace_pm"] = Answer(console="dmesg.warning.log")
    assert validated() == 1
    verdict = (workspace.latest() / "verdict.json").read_bytes()
    assert not [*workspace.latest().rglob("decoded.log")]
    guests.config = "CONFIG_MPTCP=y\nCONFIG_DEBUG_INFO=y\n"
    assert validated(rerun=True) == 1
    logs = [*workspace.latest().rglob("decoded.log")]
    assert [str(log.relative_to(workspace.latest())) for log in logs] == (
        [] if script == "exit 3" else ["patched/userspace_pm/decoded.log"]
    )
    assert all("\ndecoded:" in log.read_text(encoding="utf-8") for log in logs)
    assert (workspace.latest() / "verdict.json").read_bytes() == verdict


@pytest.mark.parametrize("stage", ["root", "selftests", "build"])
def test_a_stage_that_fails_is_evidence_and_ends_the_way(
    stage: str,
    validated: Callable[..., int],
    guests: StandIn,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*_: object) -> None:
        raise StageError(stage, "no space left")

    module, name = {
        "root": (rootfs, "make_root"),
        "selftests": (selftests, "install_selftests"),
        "build": (build, "build_kernel"),
    }[stage]
    monkeypatch.setattr(module, name, fail)
    assert validated() == 3 and guests.asked == []
    assert stored(workspace, "run.json")["troubles"] == [{"stage": stage, "text": "no space left"}]
    verdict = stored(workspace)
    assert verdict["verdict"] != "rejected" and "no space left" in str(verdict["reasons"])
    # The root comes first: what may fail soon fails soon.
    assert len(guests.built) == {"root": 0, "build": 0, "selftests": 1}[stage]


def test_what_cannot_be_done_leaves_no_run(
    validated: Callable[..., int], guests: StandIn, workspace: Workspace
) -> None:
    with pytest.raises(StageError, match="no_such"):
        validated(suite="no_such")
    assert [*workspace.results.iterdir()] == [] and guests.built == []


def test_a_part_of_the_way(
    validated: Callable[..., int],
    guests: StandIn,
    settings_for: Callable[..., Settings],
    kernel_tree: Path,
    demo_series: Path,
    workspace: Workspace,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """`inv build`, `inv image` and `inv run` stop where they say; a verdict is validate's alone."""
    settings = settings_for(
        tree=str(kernel_tree), series=str(demo_series), suite="userspace_pm", mode="virtual"
    )
    for part, count in (
        (validate.fetch_only, 0),
        (validate.build_only, 0),
        (validate.make_image, 0),
        (validate.run_only, 2),
    ):
        assert part(settings, Progress()) == 0
        assert len(guests.asked) == count and "done, logs in" in capsys.readouterr().out
    assert not [*workspace.results.glob("*/verdict.json")]
    assert PASS.status == 0 and len(guests.built) == 6


def test_the_cases_of_another_configuration_are_its_own(
    validated: Callable[..., int],
    guests: StandIn,
    workspace: Workspace,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    (file := tmp_path / "more.config").write_text("CONFIG_BRIDGE=y\n", encoding="utf-8")
    for words, name in (("", "guest"), ("debug", "debug"), (str(file), "more")):
        assert validated(config=words) == 0
        junit = (workspace.latest() / "junit.xml").read_text(encoding="utf-8")
        classes = {case.attrib["classname"] for case in ET.fromstring(junit).iter("testcase")}
        assert {one.rpartition(".")[0] for one in classes} == {f"v6.12.{name}"}
        run, said = stored(workspace, "run.json"), capsys.readouterr().out
        assert run["config"] == name and ("--config" in run["replay"]) == bool(words)
        assert (f"note: kernel configuration: {name}\n" in said) == bool(words)
        assert run["mode"]["needs"]["memory_mb"] == (2048 if words == "debug" else 1024)
    # Debug's guests are others than those of the normal kernels; a file changes only the kernel.
    assert sorted(names(guests)) == sorted(BOTH * 2)


def test_a_line_of_a_fragment_that_cannot_be_read_leaves_no_run(
    validated: Callable[..., int], guests: StandIn, workspace: Workspace, tmp_path: Path
) -> None:
    (file := tmp_path / "more.config").write_text("BRIDGE=y\n", encoding="utf-8")
    with pytest.raises(StageError, match=r"more\.config:1"):
        validated(config=str(file))
    assert list(workspace.results.iterdir()) == [] and guests.built == []


CHECK = '[[must_flip]]\nscript = "seen"\ncase = "the flag is seen"\n'
SEEN = [f"{side}/seen" for side in ("base", "patched")]


@pytest.fixture
def checked(guests: StandIn, demo_series: Path) -> StandIn:
    """The demo series with a check, whose case fails on base alone."""
    write(demo_series, {"series.toml": CHECK, "checks/seen.sh": "#!/bin/sh\n"})
    guests.answers["base/seen"] = Answer("check.fail.log", 1)
    guests.answers["patched/seen"] = Answer("check.pass.log")
    return guests


def test_a_check_of_the_series_runs_on_both_kernels_and_its_case_must_flip(
    validated: Callable[..., int], checked: StandIn, workspace: Workspace
) -> None:
    assert validated(suite="default") == 0
    assert set(SEEN) < set(names(checked)) and "base-old/seen" not in names(checked)
    change = {(case["suite"], case["name"]): case["change"] for case in stored(workspace)["cases"]}
    assert change["seen", "the flag is seen"] == "fixed"
    assert change["seen", "it was so before"] == change["build", "checks"] == "kept"
    checked.answers["patched/seen"] = checked.answers["base/seen"]
    assert validated(suite="default", rerun=True) == 1
    assert "the flag is seen" in str(stored(workspace)["reasons"])


def test_a_suite_of_names_has_the_checks_that_it_names(
    validated: Callable[..., int], checked: StandIn, workspace: Workspace
) -> None:
    """What must flip in a script that is left out is told, and not asked for."""
    assert validated(suite="seen") == 0 and sorted(names(checked)) == SEEN
    checked.asked.clear()
    assert validated(suite="userspace_pm") == 0 and sorted(names(checked)) == BOTH
    note = "not in the suite, and so not asked for: seen: the flag is seen"
    assert note in stored(workspace, "run.json")["suite"]["notes"]
    assert note in (workspace.latest() / "summary.md").read_text(encoding="utf-8")
    assert validated(suite="userspace_pm,seen.sh", rerun=True) == 0
    assert set(names(checked)) == {*SEEN, *BOTH}


def test_a_check_of_patches_by_which_the_tree_is_not_affected_does_not_run(
    validated: Callable[..., int], checked: StandIn, demo_series: Path
) -> None:
    affects = '[[patch]]\nnumber = 2\naffects_since = "7.0"\n'
    write(demo_series, {"series.toml": f"{affects}{CHECK}patches = [2]\n"})
    assert validated(suite="default") == 0
    assert names(checked) and set(SEEN).isdisjoint(names(checked))


def test_a_check_that_has_the_name_of_a_selftest_is_the_series_fault(
    validated: Callable[..., int], checked: StandIn, demo_series: Path, workspace: Workspace
) -> None:
    write(demo_series, {"checks/mptcp_lib.sh": "#!/bin/sh\n"})
    assert validated(suite="default") == 2 and names(checked) == []
    assert "checks/mptcp_lib.sh: a selftest of the tree has that name" in str(stored(workspace))
