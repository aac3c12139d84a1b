# SPDX-License-Identifier: GPL-2.0-only
"""ci.verdict.judge and ci.verdict.compare: the fold over all permutations, against tables written
down here on their own."""

import json
from dataclasses import replace
from itertools import permutations, product

import pytest

from ci.logs.ending import Ended
from ci.logs.ktap import ScriptResult
from ci.logs.outcome import Case, State
from ci.logs.splats import Splat
from ci.verdict.evidence import BuildRow, Evidence, Guest, PatchRow, ScriptRun, Trouble
from ci.verdict.judge import Change, Verdict, change_between, decide, to_json
from tests.verdict.test_health import CLEAN

P, F, S, K, E, M = State.PASS, State.FAIL, State.SKIP, State.FLAKY, State.ERROR, State.MISSING
U = State.UNSTEADY
WARN = Splat(
    "warning",
    "WARNING: at net/mptcp/a.c:1 f+0x1",
    "warning net/mptcp/a.c f",
    "WARNING ...\n f+0x1",
    7,
)
PANIC = Splat("panic", "Kernel panic - not syncing: x", "panic x", "...", 9)

# base x patched -> change; rows are base, columns patched, both in the order pass fail skip flaky
# unsteady error missing.
TABLE = """
kept    regressed     lost    flaky   newly-flaky unknown lost
fixed   still-failing skipped flaky   flaky       unknown skipped
new     new-failure   skipped flaky   flaky       unknown skipped
flaky   flaky         flaky   flaky   flaky       unknown flaky
flaky   flaky         flaky   flaky   flaky       unknown flaky
unknown unknown       unknown unknown unknown     unknown unknown
new     new-failure   skipped flaky   flaky       unknown skipped
"""
CHANGES = {
    (base, patched): Change(word)
    for base, line in zip(State, TABLE.strip().splitlines(), strict=True)
    for patched, word in zip(State, line.split(), strict=True)
}
CODE = {"regressed": 1, "new-failure": 1, "lost": 1, "newly-flaky": 1, "unknown": 3}


def result(script: str = "s", own: State = P, **cases: State) -> ScriptResult:
    given = tuple(Case(name, state) for name, state in cases.items() if state is not M)
    return ScriptResult(script, Case(script, own), given)


def guest(
    found: ScriptResult | None, ended: Ended = Ended.FINISHED, *splats: Splat, scanned: bool = True
) -> Guest:
    return Guest(found, ended, splats, scanned)


def judge(
    base: Guest | None,
    patched: Guest | None,
    base_old: Guest | None = None,
    patched_old: Guest | None = None,
    **more: object,
) -> Verdict:
    """``patched_old`` shows the same as ``base_old`` where it is not given."""
    run = ScriptRun("s", base, patched, base_old, patched_old or base_old)
    evidence = Evidence("series", "id", runs=(run,))
    return decide(replace(evidence, **more))  # type: ignore[arg-type]


def fine(**cases: State) -> Guest:
    return guest(result(**(cases or {"a": P})))


def of(verdict: Verdict, suite: str = "s") -> dict[str, Change]:
    return {case.name: case.change for case in verdict.cases if case.group == suite}


@pytest.mark.parametrize(("base", "patched"), CHANGES)
def test_the_change_of_every_pair(base: State, patched: State) -> None:
    assert change_between(base, patched) is CHANGES[base, patched]
    verdict = judge(fine(ok=P, a=base), fine(ok=P, a=patched))
    if (base, patched) != (M, M):
        assert of(verdict)["a"] is CHANGES[base, patched]
    assert verdict.exit_code == CODE.get(CHANGES[base, patched], 0)
    assert bool(verdict.reasons) == bool(verdict.exit_code)
    assert all("a" in reason and "s" in reason for reason in verdict.reasons)


@pytest.mark.parametrize(("base", "patched"), CHANGES)
def test_only_fixed_satisfies_what_must_flip(base: State, patched: State) -> None:
    known = {("s", "a"): "no excuse"}
    verdict = judge(fine(ok=P, a=base), fine(ok=P, a=patched), must_flip=(("s", "a"),), known=known)
    expected = {Change.FIXED: 0, Change.UNKNOWN: 3}.get(CHANGES[base, patched], 1)
    assert verdict.exit_code == expected
    if expected == 1:
        assert "must be fixed" in verdict.reasons[0]


def test_what_must_flip_and_did_not_run_in_this_suite_is_not_known() -> None:
    verdict = judge(fine(), fine(), must_flip=(("other", "x"),))
    assert verdict.exit_code == 3
    assert "other: x" in verdict.reasons[0]


def test_the_scripts_own_case_can_have_to_flip() -> None:
    flip = (("s", "s"),)
    assert judge(guest(result(own=F, a=P)), fine(), must_flip=flip).exit_code == 0
    assert judge(fine(), fine(), must_flip=flip).exit_code == 1


# How both guests ended -> exit code, where everything that ran passed. Anything cut short on both
# sides is unknown.
BAD = [one for one in Ended if one not in (Ended.FINISHED, Ended.LOST)]


def expected_end(base: Ended, patched: Ended) -> int:
    if Ended.LOST in (base, patched) or (base in BAD and patched in BAD):
        return 3
    return 1 if patched in BAD else 0


def half(ended: Ended) -> Guest:
    """What a guest that ended so would leave: nothing, half of the cases, or all."""
    if ended is Ended.HANG_BOOT:
        return guest(None, ended)
    if ended in (Ended.FINISHED, Ended.HANG_SHUTDOWN):
        return guest(result(a=P, b=P), ended)
    return guest(
        result(own=E, a=P, b=E if ended is Ended.PANIC else M),
        ended,
        *((PANIC,) if ended is Ended.PANIC else ()),
    )


@pytest.mark.parametrize(("base", "patched"), [*product(Ended, Ended)])
def test_all_ways_to_end(base: Ended, patched: Ended) -> None:
    verdict = judge(half(base), half(patched))
    assert verdict.exit_code == expected_end(base, patched)
    if patched is not Ended.FINISHED:
        assert any("kernel: s: guest finished" in reason for reason in verdict.reasons)


def test_what_was_seen_before_the_guest_was_lost_counts() -> None:
    cut = guest(result(own=E, a=F), Ended.LOST)
    assert judge(fine(a=P, b=P), cut).exit_code == 1
    assert of(judge(fine(a=P, b=P), cut))["b"] is Change.UNKNOWN


def test_a_series_may_fix_a_panic() -> None:
    verdict = judge(half(Ended.PANIC), half(Ended.FINISHED), must_flip=(("s", "b"), ("s", "s")))
    assert verdict.exit_code == 0
    assert of(verdict) == {"s": Change.FIXED, "a": Change.KEPT, "b": Change.FIXED}
    assert of(verdict, "kernel")["panic x"] is Change.FIXED


def test_cases_missing_on_base_have_their_base_from_its_own_script() -> None:
    base, patched = guest(result(own=F, a=F)), fine(a=P, b=P, c=P, d=F, e=F)
    assert [of(judge(base, patched))[name] for name in "bcde"] == [
        Change.NEW,
        Change.NEW,
        Change.NEW_FAILURE,
        Change.NEW_FAILURE,
    ]
    verdict = judge(base, patched, fine(a=P, b=P, d=F, e=P))
    assert of(verdict) == {
        "s": Change.FIXED,
        "a": Change.FIXED,
        "b": Change.KEPT,
        "c": Change.NEW,
        "d": Change.STILL_FAILING,
        "e": Change.REGRESSED,
    }
    assert judge(base, fine(a=P, b=P), guest(result(own=E), Ended.PANIC)).exit_code == 3


def test_absence_is_unknown_where_the_output_is_in_doubt() -> None:
    assert of(judge(fine(a=P, b=P), guest(result(own=E, a=P))))["b"] is Change.UNKNOWN
    assert judge(fine(a=P, b=P), guest(result(own=E, a=P))).exit_code == 3
    assert judge(None, fine()).exit_code == judge(fine(), None).exit_code == 3
    assert judge(fine(), guest(None)).exit_code == 3


@pytest.mark.parametrize(
    ("base", "patched", "code"),
    [
        ((), (), 0),
        ((WARN,), (WARN,), 0),
        ((WARN,), (), 0),
        ((), (WARN,), 1),
        ((PANIC,), (WARN,), 1),
    ],
)
def test_complaints(base: tuple[Splat, ...], patched: tuple[Splat, ...], code: int) -> None:
    verdict = judge(
        guest(result(a=P), Ended.FINISHED, *base), guest(result(a=P), Ended.FINISHED, *patched)
    )
    assert verdict.exit_code == code
    if code:
        assert WARN.title in verdict.reasons[0] and "with s" in verdict.reasons[0]


def test_a_complaint_that_base_has_in_another_script_is_not_new() -> None:
    runs = (
        ScriptRun("s", guest(result(a=P), Ended.FINISHED, WARN), fine()),
        ScriptRun("t", guest(result("t", a=P)), guest(result("t", a=P), Ended.FINISHED, WARN)),
    )
    assert decide(Evidence("x", "", runs=runs)).exit_code == 0


def test_a_complaint_of_the_base_kernel_with_its_own_script_counts_as_base() -> None:
    own = guest(result(a=P), Ended.FINISHED, WARN)
    assert judge(fine(), guest(result(a=P), Ended.FINISHED, WARN), own).exit_code == 0


def test_a_scan_that_could_not_run_is_unknown() -> None:
    assert judge(fine(), guest(result(a=P), scanned=False)).exit_code == 3
    assert judge(guest(result(a=P), scanned=False), fine()).exit_code == 3
    assert judge(fine(), fine(), guest(result(a=P), scanned=False)).exit_code == 3


@pytest.mark.parametrize("state", [F, S, M])
def test_known_limits_excuse_failures_only(state: State) -> None:
    known = {("s", "a"): "needs a newer ss"}
    verdict = judge(fine(ok=P, a=P), fine(ok=P, a=state), known=known)
    assert verdict.exit_code == 0
    assert [case.excuse for case in verdict.cases if case.name == "a"] == ["needs a newer ss"]
    assert judge(fine(ok=P, a=P), fine(ok=P, a=E), known=known).exit_code == 3


def test_a_suite_in_which_nothing_ran_is_never_accepted() -> None:
    for evidence in (
        Evidence("x", ""),
        Evidence(
            "x", "", patches=(PatchRow(1, "t", "d", "applies"),), builds=(BuildRow("kernel", P, P),)
        ),
        Evidence("x", "", runs=(ScriptRun("s", fine(a=S), fine(a=S)),)),
        Evidence("x", "", runs=(ScriptRun("s", guest(result(own=S)), guest(result(own=S))),)),
    ):
        verdict = decide(evidence)
        assert (verdict.verdict, verdict.exit_code) == ("error", 3)
        assert verdict.reasons == (
            "pipeline: cases could not be found out: no case ran on the patched kernel",
        )


GOOD = PatchRow(1, "mptcp: a", "d1", "applies")
CONFLICT = PatchRow(
    2, "mptcp: b", "d2", "conflicts", F, "net/mptcp/pm.c: hunk 3: patch does not apply"
)
EARLY = [
    ({"patches": (GOOD, CONFLICT)}, 2, "net/mptcp/pm.c: hunk 3"),
    ({"builds": (BuildRow("kernel", P, F, "pm.c:1: error: x"),)}, 2, "pm.c:1: error: x"),
    ({"builds": (BuildRow("kernel", M, F),)}, 2, "build: kernel does not build"),
    ({"builds": (BuildRow("selftests", P, F),)}, 2, "build: selftests"),
    ({"builds": (BuildRow("kernel", F, M),)}, 3, "the base does not build"),
    ({"builds": (BuildRow("kernel", F, F),)}, 3, "the base does not build"),
    (
        {"troubles": (Trouble("fetch", "no route to host"),)},
        3,
        "pipeline: fetch could not be found out: no route to host",
    ),
    ({"patches": (replace(GOOD, state=E, status="not tried"),)}, 3, "not tried"),
]


@pytest.mark.parametrize(("more", "code", "words"), EARLY)
def test_runs_that_end_early(more: dict[str, object], code: int, words: str) -> None:
    verdict = decide(replace(Evidence("x", "", must_flip=(("s", "a"),)), **more))  # type: ignore[arg-type]
    assert verdict.exit_code == code
    assert verdict.verdict == ("rejected" if code == 2 else "error")
    assert len(verdict.reasons) == 1 and words in verdict.reasons[0]


def told(text: str) -> str:
    (reason,) = decide(Evidence("x", "", troubles=(Trouble("image", text),))).reasons
    return reason.removeprefix("pipeline: image could not be found out: ")


def test_of_a_command_that_failed_the_last_lines_are_told() -> None:
    words = "`/usr/bin/mmdebstrap --include=" + "a," * 130 + "` ended with exit code 13"
    said = (
        "I: automatically chosen mode: unshare\nenv: cannot change directory to '/home/a':"
        " Permission denied\n"
    )
    assert (
        told(f"{words}\n{said}log: results/1/root.log")
        == "mmdebstrap ended with exit code 13; I: automatically chosen mode: unshare; "
        "env: cannot change directory to '/home/a': Permission denied; log: results/1/root.log"
    )
    many = "".join(f"I: fetching package {number}\n" for number in range(20))
    assert (
        told(f"{words}\n{many}E: no space left")
        == "mmdebstrap ended with exit code 13; I: fetching package 15; I: fetching package 16; I:"
        " fetching package 17; I: fetching package 18; I: fetching package 19; E: no space left"
    )
    assert told(f"{words}\n{'x' * 4000}").endswith("code 13; " + "x" * 170)
    assert (
        told(
            "no kernel source: `apt-get -o A=b download x=1` ended with exit code 100\nErr:1 x\nE:"
            " Failed to fetch x"
        )
        == "no kernel source: apt-get ended with exit code 100; Err:1 x; E: Failed to fetch x"
    )
    advice = "--tree x: no git checkout; run `git init` and `git commit` in it, or use --source"
    assert told(advice) == advice
    assert told("git did not answer\nlog: x") == "git did not answer; log: x"


def test_patches_left_out_are_skipped() -> None:
    verdict = judge(
        fine(), fine(), patches=(GOOD, replace(GOOD, number=3, status="left out", state=S))
    )
    assert (verdict.exit_code, list(of(verdict, "apply").values())) == (
        0,
        [Change.KEPT, Change.SKIPPED],
    )


THINGS: dict[int, dict[str, object]] = {
    2: {"patches": (CONFLICT,)},
    1: {"runs": (ScriptRun("s", fine(a=P), fine(a=F)),)},
    3: {"troubles": (Trouble("run", "x"),)},
    0: {"builds": (BuildRow("kernel", P, P),)},
}


def test_the_order_of_exit_codes() -> None:
    for count in range(1, 5):
        for codes in permutations(THINGS, count):
            evidence = Evidence("x", "", runs=(ScriptRun("s", fine(), fine()),))
            for code in codes:
                evidence = replace(evidence, **THINGS[code])  # type: ignore[arg-type]
            verdict = decide(evidence)
            assert verdict.exit_code == next(code for code in (2, 1, 3, 0) if code in codes)
            assert len(verdict.reasons) == len(set(codes) - {0})


def test_the_order_of_what_comes_in_does_not_matter() -> None:
    runs = [
        ScriptRun("s", fine(a=P), fine(a=F)),
        ScriptRun("t", guest(result("t", a=P)), guest(result("t", a=P), Ended.FINISHED, WARN)),
        ScriptRun("u", guest(result("u", a=P)), guest(None, Ended.LOST)),
        ScriptRun("v", guest(result("v", own=F, a=F)), guest(result("v", a=P, b=F))),
    ]
    seen = set()
    for order in permutations(runs):
        verdict = decide(Evidence("x", "", runs=order))
        told = to_json(verdict)
        cases = sorted(json.dumps(case) for case in told["cases"])  # type: ignore[attr-defined]
        seen.add(
            (
                verdict.exit_code,
                tuple(sorted(verdict.reasons)),
                json.dumps(told["counts"]),
                tuple(cases),
            )
        )
        assert "kernel: warning" in verdict.reasons[0]
    assert len(seen) == 1


def test_many_reasons_are_counted() -> None:
    names = {f"c{n}": P for n in range(30)}
    verdict = judge(fine(**names), fine(c0=P))
    assert len(verdict.reasons) == 6
    assert verdict.reasons[-1] == "s: 24 more cases are lost"


def test_names_are_unique_whatever_comes_in() -> None:
    twice = Splat("w", "t", "apply", "", 1)
    runs = (
        ScriptRun(
            "kernel",
            fine(),
            guest(result("kernel", **{"s: guest finished": P}), Ended.FINISHED, twice),
        ),
    )
    again = ScriptRun("s", fine(), fine())
    verdict = decide(
        Evidence(
            "x",
            "",
            patches=(GOOD, GOOD),
            troubles=(Trouble("a", ""), Trouble("a", "")),
            runs=(*runs, again),
        )
    )
    keys = [(case.group, case.name) for case in verdict.cases]
    assert len(set(keys)) == len(keys)
    with pytest.raises(ValueError, match="more than one run"):
        decide(Evidence("x", "", runs=(again, again)))


def test_verdict_json() -> None:
    verdict = judge(fine(a=F, b=P), fine(a=P, b=P), patches=(GOOD,), must_flip=(("s", "a"),))
    told = to_json(verdict)
    assert list(told) == [
        "schema",
        "verdict",
        "exit_code",
        "reasons",
        "series",
        "patches",
        "cases",
        "slower",
        "counts",
        "run",
    ]
    assert (told["schema"], told["verdict"], told["exit_code"], told["reasons"]) == (
        1,
        "accepted",
        0,
        [],
    )
    assert told["series"] == {"name": "series", "change-id": "id"}
    assert told["patches"] == [
        {"number": 1, "title": "mptcp: a", "digest": "d1", "status": "applies"}
    ]
    assert {
        "suite": "s",
        "name": "a",
        "base": "fail",
        "patched": "pass",
        "change": "fixed",
    } in told["cases"]  # type: ignore[operator]
    assert list(told["counts"]) == [one.value for one in Change]  # type: ignore[call-overload]
    assert sum(told["counts"].values()) == len(told["cases"])  # type: ignore[attr-defined, arg-type]
    assert told["run"] == "run.json"
    assert json.loads(json.dumps(told)) == told


def test_a_script_that_the_series_lets_hang_on_both_kernels_is_the_series_fault() -> None:
    stuck = guest(result(own=E, a=P), Ended.HANG_SCRIPT)
    verdict = judge(stuck, stuck, fine(a=P, b=P))
    assert verdict.exit_code == 1 and any(
        "did not end in time" in reason for reason in verdict.reasons
    )
    assert of(verdict)["b"] is Change.LOST
    assert judge(stuck, stuck, stuck).exit_code == 3
    assert judge(stuck, stuck).exit_code == 3


def test_what_the_series_removes_from_its_tests_rejects_unless_it_is_allowed() -> None:
    """Gone, skipped, marked as flaky: base's own script still has an outcome on patched."""
    old = fine(a=P, b=P, c=P, d=F, e=F)
    new = guest(result(a=P, b=S, c=K))
    verdict = judge(new, new, old)
    assert verdict.exit_code == 1
    assert of(verdict) == {"s": Change.KEPT, "a": Change.KEPT} | dict.fromkeys(
        "bcde", Change.REMOVED
    )
    assert set(of(verdict, "s (old)").values()) == {Change.KEPT, Change.STILL_FAILING}
    assert "the series removes it" in verdict.reasons[0] and "[[allow]]" in verdict.reasons[0]
    allowed = {("s", name): "renamed" for name in "bcd"}
    assert [
        case.name for case in judge(new, new, old, allowed=allowed).cases if case.exit_code
    ] == ["e"]
    assert judge(new, new, old, allowed={("s", ""): "a rewrite"}).exit_code == 0
    # A known limit of the machine is no leave to change the tests.
    known = {("s", name): "slow" for name in "bcde"}
    assert judge(new, new, old, known=known).exit_code == 1


def test_what_the_series_removes_from_the_kernels_own_tests() -> None:
    """Each kernel runs those of its own tree, so base alone shows what there was."""

    def judged(base: Guest, patched: Guest, *allowed: str) -> Verdict:
        run = ScriptRun("s", base, patched, built_in=True)
        named = {("s", name): "renamed" for name in allowed}
        return decide(Evidence("x", "", runs=(run,), allowed=named))

    before, after = fine(a=P, b=P, c=F, d=P), guest(result(a=P, b=S, e=P))
    verdict = judged(before, after)
    assert verdict.exit_code == 1 and of(verdict) == {
        "s": Change.KEPT,
        "a": Change.KEPT,
        "b": Change.REMOVED,
        "c": Change.REMOVED,
        "d": Change.REMOVED,
        "e": Change.NEW,
    }
    assert judged(before, after, *"bcd").exit_code == 0
    # All of them gone, the first ones brought, and a kernel that dies while it runs them.
    nothing = guest(result(own=S))
    assert of(judged(before, nothing))["s"] is Change.REMOVED
    assert judged(nothing, fine(a=P)).exit_code == 0
    dead = judged(before, guest(result(own=E, a=P), Ended.PANIC))
    assert dead.exit_code == 1 and Change.REMOVED not in of(dead).values()
    # What cannot be believed is no removal.
    assert judged(before, guest(result(own=E, a=P))).exit_code == 3


def test_what_base_already_marks_or_skips_is_not_removed() -> None:
    old = guest(result(a=P, b=S, c=K))
    assert judge(old, old, old).exit_code == 0


def test_a_script_that_skips_itself_is_removed() -> None:
    skipped, old = guest(result(own=S)), fine(a=P)
    verdict = judge(skipped, skipped, old)
    assert (verdict.exit_code, of(verdict)) == (1, {"s": Change.REMOVED, "a": Change.REMOVED})


def test_a_script_that_the_series_takes_out_of_the_suite() -> None:
    verdict = judge(None, None, fine(a=P, b=F))
    assert verdict.exit_code == 1
    assert of(verdict) == dict.fromkeys("sab", Change.REMOVED)
    assert "takes the script out" in next(c.detail for c in verdict.cases if c.group == "s")
    assert judge(None, None, fine(a=P), allowed={("s", ""): "superseded"}).exit_code == 0


def test_what_the_kernel_breaks_is_seen_by_bases_script_whatever_the_new_one_says() -> None:
    new, old, broken = fine(a=P), fine(a=P, b=P), guest(result(own=F, a=F, b=P))
    verdict = judge(new, new, old, broken)
    assert verdict.exit_code == 1
    assert of(verdict, "s (old)") == {
        "s": Change.REGRESSED,
        "a": Change.REGRESSED,
        "b": Change.KEPT,
    }
    assert "s (old): a passes on base and fails on patched" in verdict.reasons
    # Where the series changes what is right, it says so.
    allowed = {("s", ""): "the counter now counts both ends"}
    verdict = judge(new, fine(a=P, b=P), old, broken, allowed=allowed)
    assert verdict.exit_code == 0
    excuses = {case.excuse for case in verdict.cases if case.change is Change.REGRESSED}
    assert excuses == {"series.toml allows it: the counter now counts both ends"}
    # But not what the new script itself shows.
    assert judge(fine(a=P), broken, old, broken, allowed=allowed).exit_code == 1


def test_bases_script_that_ends_on_patched_is_lost_there() -> None:
    cut = guest(result(own=E, a=P), Ended.PANIC, PANIC)
    verdict = judge(fine(a=P, b=P), fine(a=P, b=P), fine(a=P, b=P), cut)
    assert verdict.exit_code == 1 and of(verdict, "s (old)")["b"] is Change.LOST
    assert any(reason.startswith("kernel: s (old): guest finished") for reason in verdict.reasons)


def test_a_guest_that_does_not_always_finish_is_newly_flaky() -> None:
    now_and_then = replace(fine(a=P), failed=("seed 2",))
    verdict = judge(fine(a=P), now_and_then)
    assert verdict.exit_code == 1 and "not with seed 2" in verdict.reasons[0]
    assert judge(now_and_then, now_and_then).exit_code == 0


def test_which_patches_are_guarded_by_a_case_that_must_flip() -> None:
    """One that was put on, by a case that was asked for and that it fixed."""
    states = (State.PASS, State.PASS, State.PASS, State.SKIP)
    patches = tuple(PatchRow(n, "t", "d", "applies", one) for n, one in enumerate(states, 1))
    fails, passes = (
        Guest(
            ScriptResult("s", Case("s", state), (Case("a", state), Case("b", State.PASS)), ()),
            Ended.FINISHED,
            health=(CLEAN,),
        )
        for state in (State.FAIL, State.PASS)
    )
    evidence = Evidence(
        "x",
        "",
        patches,
        runs=(ScriptRun("s", fails, passes),),
        must_flip=(("s", "a"),),
        guards=((1, "s", "a"), (2, "s", "b"), (3, "t", "a"), (4, "s", "a")),
    )
    verdict = decide(evidence)
    assert verdict.guarded == {1: ("s: a",), 2: (), 3: ()}
    assert verdict.guards == ("patches guarded by a case that must flip: 1; by none: 2, 3",)
    rows = json.loads(json.dumps(to_json(verdict)))["patches"]
    assert [row.get("guarded by") for row in rows] == [["s: a"], None, None, None]
    broken = decide(replace(evidence, runs=(ScriptRun("s", fails, fails),)))
    assert broken.guards == ("patches guarded by none: 1, 2, 3",)
    assert decide(Evidence("x", "")).guards == ()
