# SPDX-License-Identifier: GPL-2.0-only
"""ci.suites.net on the forms that the scripts of net print, after their own printf and echo."""

import pytest

from ci.logs import ktap
from ci.logs.ktap import ScriptResult
from ci.logs.outcome import State
from ci.suites.net import LineReader

P, F, S, E = State.PASS, State.FAIL, State.SKIP, State.ERROR


def read(text: str, status: int | None) -> ScriptResult:
    return ktap.parse_script("net", text, status, LineReader("net"), expect_tap=False)


FORMS = [
    ("    TEST: IPv4 route get                   [ OK ]", "IPv4 route get", P),
    ("TEST: ping (IPv6)                            [XFAIL]", "ping (IPv6)", P),
    (" - TEST: an option of IOAM                  [FAIL]", "an option of IOAM", F),
    ("TEST: a tunnel   ping: sendmsg: Network is down\n[FAIL]", "a tunnel", F),
    ("TEST 04: nobind, from client 2, N [FAIL]", "TEST 04: nobind, from client 2, N", F),
    ("empty rps_default_mask        [fail] expected 0 found 1", "empty rps_default_mask", F),
    ("netns-name.sh \t\t\t\t[ FAIL ]", "netns-name.sh", F),
    ("Testing ethernet broadcast destination\n[FAIL] expected dst ether addr",
     "Testing ethernet broadcast destination", F),
    ("Testing ethernet broadcast destination\n[ OK ]", "Testing ethernet broadcast destination", P),
    ("run arp_announce test\nfailed", "run arp_announce test", F),
    ("run arp_announce test\nfailed; is it up?", "run arp_announce test", F),
    ("run arp_announce test\nok", "run arp_announce test", P),
    ("FAIL: vxlan", "vxlan", F),
    ("PASS: vxlan", "vxlan", P),
    ("SKIP: fou tests", "fou tests", S),
    ("FAIL - 3/40 cases failed", "cases failed", F),
    ("OK", "a case without a name", P),
]  # fmt: skip


@pytest.mark.parametrize(("text", "name", "state"), FORMS)
def test_each_form(text: str, name: str, state: State) -> None:
    result = read(f"{text}\n", {F: 1, S: 4}.get(state, 0))
    assert [(case.name, case.state) for case in result.cases] == [(name, state)]
    assert result.own.state is state
    if state is F:
        assert text.split("\n")[-1][-8:] in result.cases[0].detail


def test_a_script_that_stops_in_a_case() -> None:
    result = read("TEST: one     [ OK ]\nTEST: two     ", None)
    assert [(case.name, case.state) for case in result.cases] == [("one", P), ("two", E)]


def test_a_shell_that_gives_up_is_no_expected_failure() -> None:
    assert read("TEST: one     [ OK ]\nnet.sh: line 4: syntax error\n", 2).own.state is E
    assert read("TEST: one     [FAIL]\n", 2).own.state is F


def test_a_program_that_prints_tap_in_a_script_that_does_not() -> None:
    text = "TEST: one    [FAIL]\nTAP version 13\n1..2\nok 1 a\nnot ok 2 b\nTEST: three    [FAIL]\n"
    result = read(text, 1)
    assert [(case.name, case.state) for case in result.cases] == [
        ("a", P),
        ("b", F),
        ("one", F),
        ("three", F),
    ]
    assert result.own.state is F and result.problems == ()
