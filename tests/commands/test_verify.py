# SPDX-License-Identifier: GPL-2.0-only
"""`inv verify`: what is said of runs that are the same and of runs that are not, with recorded logs
for guests; test_virtual has real ones."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ci.base.errors import StageError
from ci.base.progress import Progress
from ci.base.settings import Settings
from ci.base.workspace import Workspace
from ci.commands import verify
from tests.commands.stand_in import FAIL, SELFTESTS, Answer, StandIn, stand_in
from tests.conftest import commit

pytestmark = pytest.mark.whole
FLIP = "Established IPv4 MPTCP Connection ns2 => ns1"


@pytest.fixture
def guests(monkeypatch: pytest.MonkeyPatch, workspace: Workspace) -> StandIn:
    return stand_in(monkeypatch, workspace)


@pytest.fixture
def settings(
    kernel_tree: Path, demo_series: Path, settings_for: Callable[..., Settings]
) -> Callable[..., Settings]:
    commit(kernel_tree, SELFTESTS, "selftests")

    def made(**options: str | bool) -> Settings:
        wanted = {"tree": str(kernel_tree), "series": str(demo_series), "suite": "userspace_pm"}
        return settings_for(**(wanted | options))

    return made


def test_the_same_logs_each_time(
    guests: StandIn, settings: Callable[..., Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify.repeat_suite(settings(), Progress(), 3) == 0
    printed = capsys.readouterr().out
    assert "3 of 3 logs are the same in 3 runs with seed 1" in printed
    assert printed.count("same     ") == 3 and "DIFFERENT" not in printed
    assert guests.asked == [(f"time-{number}/userspace_pm", 1) for number in (1, 2, 3)]
    # The record may not answer here: it would be the same whatever a guest does.
    assert verify.repeat_suite(settings(), Progress(), 2) == 0 and len(guests.asked) == 5


def test_a_log_that_differs_is_shown_where_it_does(
    guests: StandIn, settings: Callable[..., Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    guests.answers["time-2/userspace_pm"] = Answer(console="dmesg.warning.log")
    assert verify.repeat_suite(settings(), Progress(), 2) == 1
    printed = capsys.readouterr().out
    assert "2 of 3 logs are the same in 2 runs" in printed
    (line,) = (line for line in printed.splitlines() if line.startswith("DIFFERENT"))
    assert line.endswith("userspace_pm kernel.log")
    assert "userspace_pm/kernel.log, line " in printed and "  other: " in printed


def test_seeds_that_agree_and_one_that_does_not(
    guests: StandIn, settings: Callable[..., Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify.try_seeds(settings(), Progress(), (4, 5, 6)) == 0
    assert "7 of 7 cases pass with each of 3 seeds" in capsys.readouterr().out
    assert guests.asked == [(f"seed-{seed}/userspace_pm", seed) for seed in (4, 5, 6)]
    guests.answers["seed-7/userspace_pm"] = FAIL
    assert verify.try_seeds(settings(), Progress(), (5, 6, 7)) == 1
    assert guests.asked[3:] == [("seed-7/userspace_pm", 7)]  # the others are on record
    printed = capsys.readouterr().out
    assert f"flaky: userspace_pm: {FLIP}: 2 of 3, not with seed 7" in printed
    assert "  replay: inv run " in printed and "--seed 7" in printed
    assert "--suite userspace_pm" in printed and "--mode virtual" in printed


def test_what_never_passes_is_not_flaky(
    guests: StandIn, settings: Callable[..., Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    for seed in (1, 2):
        guests.answers[f"seed-{seed}/userspace_pm"] = FAIL
    assert verify.try_seeds(settings(), Progress(), (1, 2)) == 0
    printed = capsys.readouterr().out
    assert f"never passes: userspace_pm: {FLIP}: 0 of 2" in printed and "replay" not in printed


@pytest.mark.parametrize("mode", ["tcg", "kvm"])
def test_real_time_promises_nothing(
    mode: str, guests: StandIn, settings: Callable[..., Settings], workspace: Workspace
) -> None:
    with pytest.raises(StageError, match=f"--mode {mode}: only runs in virtual time"):
        verify.repeat_suite(settings(mode=mode), Progress(), 2)
    assert guests.asked == [] and [*workspace.results.iterdir()] == []
