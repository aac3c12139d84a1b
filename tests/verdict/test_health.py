# SPDX-License-Identifier: GPL-2.0-only
"""ci.verdict.health: what a kernel keeps from its console rejects, too."""

from dataclasses import replace

import pytest

from ci.logs.ending import Ended
from ci.logs.health import Health, Troubles
from ci.logs.ktap import ScriptResult
from ci.logs.memory import Growth
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


def judge(base: Guest | None, patched: Guest | None, limit: int | None = None) -> Verdict:
    runs = (ScriptRun("s", base, patched),)
    return decide(Evidence("x", "", runs=runs, max_slowdown=limit))


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


def grown(**objects: int) -> Guest:
    """A guest that holds so many objects more after its script, of 64 bytes each."""
    growth = {name: Growth(count, 64) for name, count in objects.items()}
    return guest(replace(CLEAN, growth=growth))


def test_memory_that_does_not_come_back_on_patched_rejects() -> None:
    verdict = judge(grown(TCP=1), grown(TCP=1, MPTCP=20, dentry=2))
    assert verdict.exit_code == 1
    said = "20 objects of MPTCP are not freed (1280 bytes)"
    name = "kernel: s: memory comes back passes on base and fails on patched"
    assert verdict.reasons == (f"{name}: {said}",)
    assert "10 objects of TCP" in judge(grown(TCP=30), grown(TCP=40)).reasons[0]
    pages = judge(grown(), grown(pages=20)).reasons[0]
    assert "20 pages that nothing counts are not freed" in pages


@pytest.mark.parametrize(
    ("base", "patched"),
    [({}, {}), ({}, {"TCP": 5}), ({"TCP": 30}, {"TCP": 30}), ({"TCP": 30}, {}), ({}, {"TCP": -9})],
)
def test_memory_that_grows_by_chance_or_on_both_does_not_reject(
    base: dict[str, int], patched: dict[str, int]
) -> None:
    assert judge(grown(**base), grown(**patched)).exit_code == 0


def test_memory_that_shrinks_on_base_excuses_nothing_on_patched() -> None:
    assert judge(grown(TCP=-30), grown(TCP=-20)).exit_code == 0


def stopped(guest: Guest) -> Guest:
    """A guest whose script fails before it gets to its case."""
    assert guest.result
    own = replace(guest.result.own, state=State.FAIL)
    return replace(guest, result=replace(guest.result, own=own, cases=()))


def test_pages_are_not_compared_with_a_base_that_stopped_early() -> None:
    """It has not loaded the modules of what it did not get to; objects are compared."""

    def memory(base: Guest, patched: Guest) -> str:
        states = {one.name: one.patched for one in judge(base, patched).cases}
        return states["s: memory comes back"]

    assert memory(stopped(grown(pages=12)), grown(pages=33)) == "pass"
    assert memory(stopped(grown(pages=12)), grown(pages=33, MPTCP=20)) == "fail"
    assert memory(grown(pages=12), grown(pages=33)) == "fail"
    assert memory(grown(pages=12), stopped(grown(pages=33))) == "fail"


def test_what_base_holds_with_the_old_form_of_a_script_is_no_leak() -> None:
    both = {"pages": 33, "TCP": 20}
    run = ScriptRun("s", stopped(grown(TCP=2)), grown(**both), grown(**both), grown(**both))
    assert decide(Evidence("x", "", runs=(run,))).exit_code == 0
    leaking = replace(run, patched=grown(pages=33, TCP=26))
    (reason,) = decide(Evidence("x", "", runs=(leaking,))).reasons
    assert "6 objects of TCP are not freed" in reason
    leaking = replace(run, patched_old=grown(pages=45, TCP=20))
    (reason,) = decide(Evidence("x", "", runs=(leaking,))).reasons
    assert reason.startswith("kernel: s (old): memory") and "12 pages" in reason


def test_caches_that_differ_by_chance_are_allowed_more() -> None:
    chance = {"dentry": 31, "inode_cache": 15, "proc_inode_cache": 23, "radix_tree_node": 31}
    chance |= {"maple_node": 63, "pid": 127}
    assert judge(grown(), grown(**chance)).exit_code == 0
    for name, count in chance.items():
        assert judge(grown(), grown(**{name: count + 1})).exit_code == 1


def test_memory_that_nobody_counted_is_no_case() -> None:
    verdict = judge(guest(CLEAN), grown(TCP=99))
    assert verdict.exit_code == 0
    assert not any("memory" in case.name for case in verdict.cases)


def busy(script_ms: int, probe_ms: int | None = None) -> Guest:
    return guest(replace(CLEAN, script_ms=script_ms, probe_ms=probe_ms))


def test_what_costs_more_is_shown_and_over_the_limit_rejects() -> None:
    verdict = judge(busy(1000, 50), busy(1200, 50), 100)
    assert verdict.exit_code == 0
    words = "s: CPU time: the CPU is busy for 1200 ms on patched and for 1000 ms on base (+20 %)"
    assert verdict.slower == (f"slower: {words}",)
    verdict = judge(busy(1000, 50), busy(1000, 500), 100)
    assert verdict.exit_code == 1
    assert "s: CPU time of the probe: the CPU is busy for 500 ms" in verdict.reasons[0]
    assert "(+900 %), more than 100 % are not allowed" in verdict.reasons[0]
    assert judge(busy(1000, 50), busy(1000, 500), 1000).exit_code == 0
    # Where time is the host's, it is only shown.
    verdict = judge(busy(1000, 50), busy(1000, 500))
    assert verdict.exit_code == 0 and len(verdict.slower) == 1


def test_a_growth_that_is_less_than_idle_time_is_exact_to_is_none() -> None:
    verdict = judge(busy(10, 5), busy(35, 30), 10)
    assert verdict.exit_code == 0 and verdict.slower == ()


def test_a_script_that_does_not_do_the_same_on_both_is_not_compared() -> None:
    """A new subtest costs what it costs; the probe is the same on both."""
    less, more = busy(1000, 50), busy(9000, 500)
    assert more.result
    longer = replace(more.result, cases=(*more.result.cases, Case("new", State.PASS)))
    verdict = judge(less, replace(more, result=longer), 100)
    (reason,) = verdict.reasons
    assert reason.startswith("kernel: s: CPU time of the probe passes on base and fails on patched")
