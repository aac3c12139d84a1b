# SPDX-License-Identifier: GPL-2.0-only
"""ci.verdict.combine: parts of a script as one, attempts as one."""

from dataclasses import replace

from ci.logs.ending import Ended
from ci.logs.ktap import ScriptResult
from ci.logs.outcome import Case, State
from ci.logs.splats import Splat
from ci.verdict import combine
from ci.verdict.evidence import Guest

P, F, S, K, E = State.PASS, State.FAIL, State.SKIP, State.FLAKY, State.ERROR
U = State.UNSTEADY
SPLAT = Splat("warning", "WARNING: x", "warning x", "WARNING", 1)


def guest(
    own: State,
    *cases: tuple[str, State],
    ended: Ended = Ended.FINISHED,
    splats: tuple[Splat, ...] = (),
) -> Guest:
    made = tuple(Case(name, state, f"why {name}" if state is F else "") for name, state in cases)
    return Guest(ScriptResult("join", Case("join", own), made), ended, splats)


def states(found: Guest) -> dict[str, State]:
    assert found.result
    return {case.name: case.state for case in (found.result.own, *found.result.cases)}


def test_one_guest_is_itself() -> None:
    one = guest(P, ("a", F))
    assert (
        combine.combine_parts("join", [one]) is one
        and combine.combine_attempts("join", [one]) is one
    )


def test_parts_keep_their_order_and_number_what_repeats() -> None:
    found = combine.combine_parts(
        "join", [guest(P, ("a", P), ("b", F)), guest(F, ("a", F), ("join", P))]
    )
    assert states(found) == {"join": F, "a": P, "b": F, "a (2)": F, "join (2)": P}
    assert list(states(found)) == ["join", "a", "b", "a (2)", "join (2)"]


def test_the_worst_end_is_that_of_the_whole() -> None:
    cut = guest(E, ("b", E), ended=Ended.PANIC, splats=(SPLAT,))
    found = combine.combine_parts("join", [guest(P, ("a", P)), cut])
    assert (found.ended, found.splats, states(found)["join"]) == (Ended.PANIC, (SPLAT,), E)
    lost = combine.combine_parts("join", [cut, Guest(None, Ended.LOST, scanned=False)])
    assert (lost.ended, lost.scanned, states(lost)["join"]) == (Ended.LOST, False, E)
    none = combine.combine_parts(
        "join", [Guest(None, Ended.HANG_BOOT), Guest(None, Ended.HANG_BOOT)]
    )
    assert none.result is None and none.ended is Ended.HANG_BOOT


def test_all_parts_skipped_is_skipped() -> None:
    assert states(combine.combine_parts("join", [guest(S), guest(S)]))["join"] is S
    assert states(combine.combine_parts("join", [guest(S), guest(P)]))["join"] is P


def test_attempts_that_agree_are_one() -> None:
    found = combine.combine_attempts("join", [guest(F, ("a", F), ("b", P))] * 3)
    assert states(found) == {"join": F, "a": F, "b": P}


def test_attempts_that_differ_are_unsteady_and_all_are_told() -> None:
    found = combine.combine_attempts(
        "join", [guest(F, ("a", F), ("b", P)), guest(P, ("a", P)), guest(P, ("a", P), ("b", P))]
    )
    assert states(found) == {"join": U, "a": U, "b": U}
    assert found.result and found.result.cases[1].attempts == ("attempt 2",)
    assert (
        found.result.cases[0].detail == "attempt 1: fail, attempt 2: pass, attempt 3: pass\nwhy a"
    )
    assert "attempt 2: missing" in found.result.cases[1].detail


def test_attempts_are_told_by_their_seeds() -> None:
    found = combine.combine_attempts(
        "join",
        [
            replace(guest(F, ("a", F)), attempt="seed 1"),
            replace(guest(P, ("a", P)), attempt="seed 2"),
        ],
    )
    assert found.result and found.result.cases[0].detail.startswith("seed 1: fail, seed 2: pass")


def test_a_complaint_in_one_attempt_is_a_complaint() -> None:
    found = combine.combine_attempts("join", [guest(P, splats=(SPLAT,)), guest(P)])
    assert found.splats == (SPLAT,)


def test_a_guest_that_finished_once_can_finish() -> None:
    hung = Guest(None, Ended.HANG_SCRIPT)
    assert (
        combine.combine_attempts("join", [guest(E, ended=Ended.HANG_SCRIPT), guest(P)]).ended
        is Ended.FINISHED
    )
    found = combine.combine_attempts("join", [hung, guest(P), hung])
    assert (found.ended, found.failed) == (Ended.FINISHED, ("attempt 1", "attempt 3"))
    assert combine.combine_parts("join", [found, guest(P)]).failed == found.failed
    found = combine.combine_attempts("join", [hung, hung])
    assert (found.ended, found.failed) == (Ended.HANG_SCRIPT, ())


def test_a_guest_that_was_lost_says_nothing_where_another_was_not() -> None:
    lost = guest(E, ("a", E), ended=Ended.LOST)
    found = combine.combine_attempts("join", [lost, guest(P, ("a", P)), guest(P, ("a", P))])
    assert states(found) == {"join": P, "a": P} and found.failed == ()
    assert combine.combine_attempts("join", [lost, lost]).ended is Ended.LOST


def test_what_the_script_itself_calls_flaky_stays_that() -> None:
    found = combine.combine_attempts("join", [guest(P, ("a", K)), guest(P, ("a", P))])
    assert states(found) == {"join": P, "a": K}
