# SPDX-License-Identifier: GPL-2.0-only
"""ci.logs.ktap, ci.suites.mptcp_lines, ci.logs.outcome: what scripts print, whole, cut off, and
hostile."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ci.logs import ktap
from ci.logs.ktap import ScriptResult
from ci.logs.outcome import DETAIL_CHARS, MAX_NAME, Case, State, clean_lines, unique
from ci.suites.mptcp_lines import LiveReader
from tests.conftest import ROOT

DATA = ROOT / "tests/data"
P, F, S, K, E = State.PASS, State.FAIL, State.SKIP, State.FLAKY, State.ERROR


def read(name: str) -> str:
    return (DATA / f"{name}.log").read_bytes().decode()


def parse_script(
    script: str, text: str, status: int | None, *, expect_tap: bool = True
) -> ScriptResult:
    return ktap.parse_script(script, text, status, LiveReader(script), expect_tap=expect_tap)


def parsed(script: str, name: str, status: int | None, *, expect_tap: bool = True) -> ScriptResult:
    return parse_script(script, read(name), status, expect_tap=expect_tap)


def states(result: ScriptResult) -> list[State]:
    return [case.state for case in result.cases]


def names(result: ScriptResult) -> list[str]:
    return [case.name for case in result.cases]


def test_a_script_that_passes() -> None:
    result = parsed("userspace_pm", "userspace_pm.pass", 0)
    assert result.own == Case("userspace_pm", P)
    assert result.problems == ()
    assert result.cases[1] == Case("Established IPv4 MPTCP Connection ns2 => ns1", P, "", 1603.0)
    assert states(result) == [P] * 6


def test_a_script_that_stops_early_is_a_plain_failure() -> None:
    result = parsed("userspace_pm", "userspace_pm.early-fail", 1)
    assert (result.own.state, result.problems) == (F, ())
    failed = result.cases[1]
    assert (failed.name, failed.state) == ("Established IPv4 MPTCP Connection ns2 => ns1", F)
    assert "Expected tokens (c:2788425340" in failed.detail


def test_a_script_that_dies_keeps_its_live_cases() -> None:
    result = parsed("userspace_pm", "userspace_pm.killed", None)
    assert result.own.state is E
    assert states(result) == [P, P, P, P, E]
    assert names(result) == names(parsed("userspace_pm", "userspace_pm.pass", 0))[:5]
    assert "in the middle" in result.cases[4].detail


def test_giving_up_in_a_case_fails_that_case() -> None:
    text = read("userspace_pm.killed") + "\nERROR: missing feature: mptcp_event symbol not found\n"
    result = parse_script("userspace_pm", text, 1)
    assert (result.own.state, result.problems, states(result)[-1]) == (F, (), F)
    assert "missing feature" in result.cases[-1].detail
    assert "missing feature" in result.own.detail


@pytest.mark.parametrize("status", [0, 1, None])
def test_a_cut_tap_is_an_error_and_completed_from_the_live_lines(status: int | None) -> None:
    result = parsed("userspace_pm", "userspace_pm.cut-tap", status)
    assert result.own.state is E
    assert any("plan is of 6" in problem for problem in result.problems)
    assert names(result)[:3] == names(parsed("userspace_pm", "userspace_pm.pass", 0))[:3]
    assert set(names(parsed("userspace_pm", "userspace_pm.pass", 0))) <= set(names(result))


TWINS = [
    ("mptcp_join", "mptcp_join.live", "mptcp_join.mixed", 1),
    ("pm_netlink", "pm_netlink.live", "pm_netlink.fail", 1),
    ("diag", "diag.live", "diag.tap", 1),
    ("mptcp_sockopt", "mptcp_sockopt.live", "mptcp_sockopt.tap", 1),
    ("simult_flows", "simult_flows.live", "simult_flows.tap", 0),
    ("mptcp_connect", "mptcp_connect.live", "mptcp_connect.tap", 0),
]


@pytest.mark.parametrize(("script", "live", "tap", "status"), TWINS)
def test_live_lines_give_the_cases_of_the_tap(
    script: str, live: str, tap: str, status: int
) -> None:
    alive, final = parsed(script, live, None), parsed(script, tap, status)
    assert final.problems == ()
    assert final.own.state is (F if status else P)
    told = [(case.name, case.state) for case in final.cases]
    if script == "mptcp_join":  # its last test could have had more checks
        assert alive.cases[-1].state is E
        told[-1] = (told[-1][0], E)
    assert [(case.name, case.state) for case in alive.cases] == told


def test_join_states_colours_and_details() -> None:
    result = parsed("mptcp_join", "mptcp_join.mixed", 1)
    assert states(result) == [P, F, S, K, P]
    assert "[FAIL] got 1 JOIN[s] syn rx expected 0" in result.cases[1].detail
    assert "MPTcpExtMPJoinSynRx" in result.cases[1].detail
    assert "\x1b" not in result.cases[1].detail


def test_repeats_and_remarks() -> None:
    result = parsed("pm_netlink", "pm_netlink.fail", 1)
    assert names(result)[-2:] == ["(nobackup)", "(nobackup) (2)"]
    assert result.cases[1].detail.startswith("different output\n")
    assert "id 2 flags subflow dev lo" in result.cases[1].detail


def test_mmap_variant_uses_the_same_tables() -> None:
    text = read("mptcp_connect.tap").replace("- mptcp_connect:", "- mptcp_connect_mmap:")
    assert names(parse_script("mptcp_connect_mmap", text, 0)) == names(
        parse_script("mptcp_connect_mmap", read("mptcp_connect.live"), None)
    )


def test_nested_ktap() -> None:
    result = parse_script("gro", read("nested.ktap"), 1)
    assert result.problems == ()
    assert [(case.name, case.state) for case in result.cases] == [
        ("offload.rx.rx_one", P),
        ("offload.rx", P),
        ("offload.tx.same", P),
        ("offload.tx.same (2)", F),
        ("offload.tx", F),
        ("offload.gro", S),
        ("offload", F),
        ("needs a second port", S),
    ]
    assert result.cases[3].detail == "    # same: bytes differ"


def test_legacy_text() -> None:
    join = parsed("mptcp_join", "legacy.mptcp_join", 1, expect_tap=False)
    assert [(case.name, case.state) for case in join.cases] == [
        ("no JOIN", P),
        ("single subflow, limited by client", F),
        ("single address", P),
    ]
    assert join.own.state is F
    diag = parsed("diag", "legacy.diag", 1, expect_tap=False)
    assert states(diag) == [P, F, S]
    assert names(diag)[0] == "no msk on netns creation"


OLD_CASES = {"userspace_pm": 35, "mptcp_join": 7, "pm_netlink": 23, "diag": 10, "mptcp_sockopt": 7}


@pytest.mark.parametrize("script", OLD_CASES)
def test_what_6_1_prints(script: str) -> None:
    result = parsed(script, f"v6.1.{script}", 0, expect_tap=False)
    assert (result.own.state, result.problems) == (P, ())
    assert states(result) == [P] * OLD_CASES[script]
    # The same output of a tree whose scripts do print TAP has lost it.
    assert parsed(script, f"v6.1.{script}", 0).own.state is E


def test_old_and_new_names_are_the_same() -> None:
    old = names(parsed("userspace_pm", "v6.1.userspace_pm", 0, expect_tap=False))
    assert old[:6] == names(parsed("userspace_pm", "userspace_pm.pass", 0))
    assert old[10:15] == [
        "RM_ADDR id:client ns2 => ns1, invalid token",
        "RM_ADDR id:client+1 ns2 => ns1, invalid id",
        "RM_ADDR id:client ns2 => ns1",
        "RM_ADDR id:client-1 ns2 => ns1",
        "RM_ADDR6 id:client-1 ns2 => ns1",
    ]
    assert names(parsed("mptcp_join", "v6.1.mptcp_join", 0, expect_tap=False))[:3] == [
        "single subflow allow join id0 ns1",
        "single subflow allow join id0 ns2",
        "signal address allow join id0 ns1",
    ]
    assert names(parsed("pm_netlink", "v6.1.pm_netlink", 0, expect_tap=False))[-2:] == [
        "(nofullmesh)",
        "(backup,fullmesh)",
    ]


def test_a_check_that_ends_its_script_without_a_word_is_the_case_that_fails() -> None:
    base = parsed("userspace_pm", "v6.1.userspace_pm.base", 1, expect_tap=False)
    assert [(case.name, case.state) for case in base.cases] == [
        ("Created network namespaces ns1, ns2", P),
        ("Established IPv4 MPTCP Connection ns2 => ns1", F),
    ]
    assert base.own.state is F and "without a word" in base.cases[1].detail
    # With another status, with TAP, or behind a check that said so, nothing is made up.
    for status, tap in ((None, False), (0, False), (137, False), (1, True)):
        assert (
            names(parsed("userspace_pm", "v6.1.userspace_pm.base", status, expect_tap=tap))
            == names(base)[:1]
        )
    said = read("v6.1.userspace_pm.base").replace("[OK]", "[FAIL]")
    assert len(parse_script("userspace_pm", said, 1, expect_tap=False).cases) == 1
    second = read("v6.1.userspace_pm").partition("Established IPv6")[0]
    assert names(parse_script("userspace_pm", second, 1, expect_tap=False))[-1].startswith(
        "Established IPv6"
    )


def test_old_sockopt_words() -> None:
    text = "FAIL: got iptables 1 0 in ns ns2-x, not 0 - not all expected packets marked\n" * 2
    text += (
        "FAIL: SOL_MPTCP getsockopt (ipv6)\nPASS: TCP_INQ cmsg/ioctl -t tcp\nFAIL: mptcp_inq -6 -t"
        " tcp\n"
    )
    result = parse_script("mptcp_sockopt", text, 1, expect_tap=False)
    good = parsed("mptcp_sockopt", "v6.1.mptcp_sockopt", 0, expect_tap=False)
    assert names(result) == names(good)[:4] and states(result) == [F, F, P, F]


LINES = [
    ("ok 1 - foo", P),
    ("not ok 1 - foo", F),
    ("ok 1 foo # SKIP", S),
    ("not ok 1 foo # skip why", S),
    ("not ok 1 foo # TODO later", P),
    ("ok 1 foo # XFAIL", P),
    ("not ok 1 foo # XFAIL", F),
    ("ok 1 foo # XPASS", F),
    ("ok 1 foo # IGNORE Flaky time=3ms", K),
    ("not ok 1 foo # IGNORE Flaky", F),
    ("ok 1 foo # rcode=0", P),
    ("not ok 1 foo # TIMEOUT 30 seconds", F),
    ("not ok 1 - foo # different output time=3ms", F),
    ("ok 1 - s: foo # time=3ms", P),
]


@pytest.mark.parametrize(("line", "state"), LINES)
def test_directives(line: str, state: State) -> None:
    case = parse_script("s", f"TAP version 13\n1..1\n{line}\n", 1).cases
    assert [(one.name, one.state) for one in case] == [("foo", state)]
    assert case[0].time_ms == (3.0 if "time=" in line else None)


GOOD = "TAP version 13\n1..2\nok 1 - a\nok 2 - b\n"
BAD = GOOD.replace("ok 2", "not ok 2")
OUTCOMES = [
    (GOOD, 0, P),
    (GOOD, 1, F),
    (GOOD, 2, P),
    (GOOD, 3, F),
    (GOOD, 4, S),
    (GOOD, 5, E),
    (GOOD, 139, E),
    (GOOD, None, E),
    (GOOD, -1, E),
    (BAD, 0, E),
    (BAD, 1, F),
    (BAD, 2, E),
    (BAD, 4, E),
    ("", 0, E),
    ("", 1, F),
    ("", 4, S),
    ("", None, E),
    ("hello\n", 0, E),
    ("01 a     [ OK ]\n", 0, E),
    (GOOD.replace("1..2", "1..3"), 0, E),
    (GOOD.replace("1..2", "1..1"), 0, E),
    (GOOD.replace("1..2", "1..3"), 1, E),
    (GOOD.replace("1..2\n", ""), 0, E),
    (GOOD + "Bail out! no netns\n", 1, E),
    (GOOD.replace("ok 2", "ok 3"), 0, E),
    ("TAP version 13\n1..0 # SKIP all\n", 0, E),
    ("TAP version 13\n1..0 # SKIP all\n", 4, S),
    ("TAP version 13\n", 0, E),
    (GOOD.replace("\n", "\r\n"), 0, P),
    (GOOD.replace("ok 2", "ok 99999999999999999999"), 0, E),
]


@pytest.mark.parametrize(("text", "status", "state"), OUTCOMES)
def test_outcomes_are_earned(text: str, status: int | None, state: State) -> None:
    result = parse_script("s", text, status)
    assert result.own.state is state
    assert bool(result.problems) == (state is E)
    assert result.own.detail or state in (P, F, S)


def test_a_prefix_is_never_a_pass() -> None:
    text = read("userspace_pm.pass")
    end = text.index("INFO: Cleanup")
    for cut in range(0, end - 4, 7):
        assert parse_script("userspace_pm", text[:cut], 0).own.state is E


def test_names_stay_unique_also_against_the_script() -> None:
    made = [
        case.name for case in unique([Case(name, P) for name in ("a", "s", "a", "a (2)", "a")], "s")
    ]
    assert made == ["a", "s (2)", "a (2)", "a (2) (2)", "a (3)"]


def test_control_text_is_gone() -> None:
    lines = clean_lines(
        "a\x1b[1;31mb\x1b[0m\r\nc\x00\x9b\u202ed\re\x1b]0;t\x07f\x1b]x\nnot ok 1\n\ud800"
    )
    assert lines == ["ab", "c\\x00\\x9b\\u202ed", "ef\\x1b]x", "not ok 1", "\\ud800"]


BITS = st.sampled_from(
    [
        "ok 1 - a",
        "not ok 2 b",
        "1..2",
        "TAP version 13",
        "KTAP version 1",
        "\n",
        "\r",
        "  ",
        "# SKIP",
        "# IGNORE",
        "[ OK ]",
        "[FAIL] x",
        "001 t",
        "02 t",
        "[IGNO]",
        "\x1b[1m",
        "Bail out!",
        "\t",
        "time=9ms",
        "99999999999",
        "INFO: test tproxy ipv4",
        "\udcff",
        "é",
        " ",
    ]
)


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(st.lists(BITS).map("".join), st.text()),
    st.one_of(st.none(), st.integers(-5, 300)),
    st.sampled_from(["mptcp_join", "mptcp_connect", "diag"]),
    st.booleans(),
)
def test_nothing_raises_and_all_is_bounded(
    text: str, status: int | None, script: str, tap: bool
) -> None:
    result = parse_script(script, text, status, expect_tap=tap)
    found = [result.own.name, *names(result)]
    assert len(set(found)) == len(found)
    assert all(len(name) <= MAX_NAME + 8 and name.strip() == name for name in found)
    assert all(len(case.detail) <= DETAIL_CHARS for case in (result.own, *result.cases))
    assert State.MISSING not in states(result)
    if result.own.state is P:
        assert status in (0, 2) and result.cases and not {F, E} & set(states(result))
    assert parse_script(script, text, status, expect_tap=tap) == result


HEAVY = {
    "one line": "x" * 1_000_000,
    "blanks": " " * 1_000_000,
    "returns": "\r" * 500_000,
    "escapes": "\x1b[" * 300_000,
    "parameters": "\x1b[" + "0" * 500_000,
    "strings": "\x1b]" * 300_000,
    "hashes": "TAP version 13\nok 1 " + "#" * 500_000,
    "same name": "TAP version 13\n" + "ok 1 a\n" * 60_000,
    "marks": "001 a\n" + "[ OK ]" * 100_000,
    "nests": "KTAP version 1\n" + "".join(" " * n + "ok 1 a\n" for n in range(800)),
    "titles": "".join(f"{n:02d} title [ OK ]\n" for n in range(1, 9999)),
    "time": "TAP version 13\nok 1 # " + "time=" * 100_000,
    "suffixes": "TAP version 13\n" + "".join(f"ok 1 a ({n})\nok 1 a\n" for n in range(20_000)),
    "brackets": "01 " + "[ " * 300_000,
    "versions": (" " * 3000 + "xTAP version 13\n") * 300,
    "prefixes": "1 2 3 4 5 TAP version 13\n" + ("1 " * 1500 + "\n") * 300,
    "plans": "1..9\n" * 100_000,
    "listed": "1 failure(s) has(ve) been detected:\n" + "\t- 1: a\n" * 100_000,
    "transfers": "[ FAIL ] does not match has wrong size" * 20_000,
}


@pytest.mark.parametrize("kind", HEAVY)
def test_heavy_input_takes_linear_time(kind: str) -> None:
    begin = time.process_time()
    parse_script("mptcp_join", HEAVY[kind], 0)
    assert time.process_time() - begin < 4
