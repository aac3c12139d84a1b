# SPDX-License-Identifier: GPL-2.0-only
"""ci.verdict.health: what a kernel keeps from its console rejects, too."""

from dataclasses import replace

import pytest

from ci.logs.ending import Ended
from ci.logs.health import Health, Troubles
from ci.logs.ktap import ScriptResult
from ci.logs.outcome import Case, State
from ci.verdict.evidence import Evidence, Guest, ScriptRun
from ci.verdict.judge import Verdict, decide

CLEAN = Health(Troubles(0, 0, 0), Troubles(0, 0, 0), 0, 0, ended=True)
LOST = replace(CLEAN, lost=7)
CUT = replace(CLEAN, ended=False)
HIDDEN = replace(CLEAN, after=Troubles(512, 3, 0), seen=1)
TAINTED = replace(CLEAN, after=Troubles(512, 1, 0), seen=1)
CLEARED = replace(CLEAN, before=Troubles(4096, 0, 0))


def guest(*health: Health, ended: Ended = Ended.FINISHED) -> Guest:
    """A guest whose script passes."""
    own, case = Case("s", State.PASS), Case("a", State.PASS)
    return Guest(ScriptResult("s", own, (case,), ()), ended, health=health)


def judge(base: Guest | None, patched: Guest | None) -> Verdict:
    return decide(Evidence("x", "", runs=(ScriptRun("s", base, patched),)))


@pytest.mark.parametrize(
    ("patched", "words"),
    [
        (LOST, "s: log complete passes on base and fails on patched: patched: 7 records"),
        (CUT, "s: log complete passes on base and fails on patched: patched: the kernel's log did"),
        (HIDDEN, "s: warnings shown passes on base and fails on patched: patched: 3 warnings cou"),
        (TAINTED, "taint W (warning) passes on base and fails on patched: with s"),
        (CLEARED, "s: warnings shown passes on base and fails on patched: patched: taint O"),
    ],
)
def test_what_only_the_patched_kernel_hides_rejects(patched: Health, words: str) -> None:
    verdict = judge(guest(CLEAN), guest(patched))
    assert verdict.exit_code == 1
    assert any(reason.startswith(f"kernel: {words}") for reason in verdict.reasons)
    # In one of several attempts or parts, too.
    assert judge(guest(CLEAN, CLEAN), guest(CLEAN, patched)).exit_code == 1


def test_both_kernels_clean() -> None:
    verdict = judge(guest(CLEAN), guest(CLEAN))
    assert verdict.exit_code == 0
    names = {case.name: case.change for case in verdict.cases if case.group == "kernel"}
    assert names["s: log complete"] == names["s: warnings shown"] == "kept"
    assert not any(name.startswith("taint") for name in names)


@pytest.mark.parametrize("base", [LOST, CUT])
@pytest.mark.parametrize("patched", [LOST, CUT, CLEAN])
def test_without_a_whole_log_of_base_nothing_is_known(base: Health, patched: Health) -> None:
    assert judge(guest(base), guest(patched)).exit_code == 3


@pytest.mark.parametrize("same", [HIDDEN, TAINTED, CLEARED])
def test_what_base_does_as_well_does_not_reject(same: Health) -> None:
    assert judge(guest(same), guest(same)).exit_code == 0
    assert judge(guest(same), guest(CLEAN)).exit_code == 0


def test_a_guest_that_left_no_counters_is_not_known() -> None:
    assert judge(guest(CLEAN), guest(replace(CLEAN, after=None))).exit_code == 3


def test_a_panic_leaves_no_end_of_the_log_and_is_told_by_itself() -> None:
    cut = replace(CUT, after=None)
    verdict = judge(guest(CLEAN), guest(cut, ended=Ended.PANIC))
    assert verdict.exit_code == 1
    assert not any("log complete" in reason for reason in verdict.reasons)
