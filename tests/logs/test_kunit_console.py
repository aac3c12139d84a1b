# SPDX-License-Identifier: GPL-2.0-only
"""ci.logs.ktap.parse_kernel: consoles of real kernels that ran their own tests as they booted, and
the same in hostile hands."""

import re
import time

import pytest

from ci.logs.ktap import ScriptResult, parse_kernel
from ci.logs.outcome import MAX_CASES, Case, State
from tests.conftest import ROOT

P, F, S, E = State.PASS, State.FAIL, State.SKIP, State.ERROR
TOKENS = [f"mptcp-token.mptcp_token_test_{name}" for name in ("req_basic", "msk_basic", "accept")]
HMAC, LAST = "mptcp-crypto.mptcp_crypto_test_basic", "mptcp-token.mptcp_token_test_destroyed"
NAMES = [HMAC, "mptcp-crypto", *TOKENS, LAST, "mptcp-token"]


def console(name: str) -> str:
    return (ROOT / f"tests/data/kunit.{name}.log").read_bytes().decode()


def read(text: str) -> ScriptResult:
    return parse_kernel("kunit", text)


def told(result: ScriptResult) -> dict[str, State]:
    return {case.name: case.state for case in result.cases}


def test_a_kernel_whose_tests_pass() -> None:
    result = read(console("pass"))
    assert result == ScriptResult("kunit", Case("kunit", P), tuple(Case(n, P) for n in NAMES))


def test_a_case_that_fails_says_why() -> None:
    """One that is gone is not there: whose doing that is, is for the verdict."""
    result = read(console("fail"))
    states = dict.fromkeys(NAMES, P) | dict.fromkeys((HMAC, "mptcp-crypto"), F)
    del states[LAST]
    assert told(result) == states and result.problems == ()
    assert result.own == Case("kunit", F, f"{HMAC}\nmptcp-crypto")
    detail = result.cases[0].detail
    assert "EXPECTATION FAILED at net/mptcp/crypto_test.c:" in detail
    assert "Expected &hmac_hex[0] == tests[i].result" in detail


def test_a_kernel_that_dies_in_a_test_has_the_cases_before() -> None:
    result = read(console("panic"))
    assert told(result) == dict.fromkeys([HMAC, "mptcp-crypto", *TOKENS[:2]], P)
    assert result.own.state is E and "Kernel panic - not syncing" in result.own.detail
    assert set(result.problems) == {
        "its plan is of 4 cases, 2 came",
        "its plan is of 2 cases, 1 came",
        "2 subtests have no result of their test",
    }


def test_a_kernel_without_tests_is_skipped_and_one_that_says_nothing_is_not() -> None:
    text = console("pass")
    begin, end = text.index("KTAP version 1"), text.index("ok 2 mptcp-token")
    rest = text[text.index("\n", end) + 1 :]
    none = read(f"{text[:begin]}KTAP version 1\r\n[    0.1] 1..0\r\n{rest}")
    assert (none.own, none.cases) == (Case("kunit", S), ())
    quiet = read(f"{text[:begin]}kunit: disabled\r\n")
    assert quiet.own.state is E
    assert quiet.problems == ("the kernel's console shows no plan of its tests",)
    assert read("").own.state is E


def test_other_words_of_the_kernel_between_the_lines() -> None:
    noise = (
        "[    0.310000] clocksource: tsc: mask: 0xffff\r\n[    0.310000]  okay: 1..3 and KTAP\r\n"
    )
    lines = console("pass").splitlines(keepends=True)
    result = read(noise.join(lines))
    assert result.own == Case("kunit", P) and told(result) == dict.fromkeys(NAMES, P)
    callers = re.sub(r"(?m)^(\[[ .0-9]+\])", r"\1[    T1]", console("pass"))
    assert told(read(callers)) == dict.fromkeys(NAMES, P)


def changed(old: str, new: str) -> str:
    """The good console with one text in the place of another."""
    text = console("pass")
    assert old in text
    return text.replace(old, new, 1)


HOSTILE = {
    "a result less": (changed("    ok 3 mptcp_token_test_accept", "    mptcp"), "of 4 cases, 3"),
    "a suite less": (changed("] ok 1 mptcp-crypto", "] #"), "its plan is of 2 cases, 1 came"),
    "a result more": (
        changed("] ok 2 mptcp-token", "]     ok 5 more\n[ 0.1] ok 2 mptcp-token"),
        "its plan is of 4 cases, 5 came",
    ),
    "a result again": (changed("    ok 2 mptcp_token", "    ok 1 mptcp_token"), "not numbered"),
    "a smaller plan": (changed("] 1..2", "] 1..1"), "its plan is of 1 cases, 2 came"),
    "two plans": (changed("] 1..2", "] 1..2\n[ 0.1] 1..0"), "it has 2 plans"),
    "all of it before": (
        changed(
            "] KTAP version 1",
            "] KTAP version 1\n[ 0.1] 1..1\n[ 0.1] ok 1 a\n[ 0.1] KTAP version 1",
        ),
        "its TAP begins again",
    ),
    "another version": (changed("] KTAP version 1", "] KTAP version 7"), "KTAP version 7"),
    "a flood": (
        changed("1..4", f"1..{MAX_CASES + 9}\n") + "[ 0.1]     ok 9 x\n" * (MAX_CASES + 9),
        "more than 10000 cases",
    ),
    "it bails out": (changed("    ok 4", "Bail out! enough\n[ 0.1]     ok 4"), "bailed out"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_cannot_be_believed_is_an_error(kind: str) -> None:
    text, problem = HOSTILE[kind]
    result = read(text)
    assert result.own.state is E and problem in "; ".join(result.problems)


def test_a_million_lines_take_linear_time() -> None:
    begin = time.process_time()
    read(console("pass") + "[    1.000000]     # Subtest: x\r\n[    1.0]     1..1\r\n" * 200_000)
    assert time.process_time() - begin < 4
