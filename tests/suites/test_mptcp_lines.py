# SPDX-License-Identifier: GPL-2.0-only
"""ci.suites.mptcp_lines on what MPTCP's scripts of 5.10, 6.1, 6.12 and 7.3 print when something
fails: a line for each form, after the scripts' own printf and echo."""

import pytest

from ci.logs import ktap
from ci.logs.ktap import ScriptResult
from ci.logs.outcome import State
from ci.suites.mptcp_lines import LiveReader

P, F, S, K, E = State.PASS, State.FAIL, State.SKIP, State.FLAKY, State.ERROR


def old(script: str, text: str, status: int | None = 1) -> ScriptResult:
    """A script of a tree whose scripts print no TAP."""
    return ktap.parse_script(script, text, status, LiveReader(script), expect_tap=False)


def new(script: str, text: str, status: int | None = None) -> ScriptResult:
    return ktap.parse_script(script, text, status, LiveReader(script))


def told(result: ScriptResult) -> list[tuple[str, State]]:
    return [(case.name, case.state) for case in result.cases]


CHECKS = "syn[ ok ] - synack[ ok ] - ack[ ok ]"
TRANSFER_LINES = """\
 client exit code 2, server 2

netns ns1-XyZ socket stat for 10002:
MPTcpExtMPCapableSYNRX          1                  0.0
"""
CLOSING = """
1 failure(s) has(ve) been detected:
\t- 3: single subflow, limited by server

"""


def join(closing: str) -> str:
    return (
        f"001 {'no JOIN':36} {CHECKS}\n"
        f"002 {'single subflow, limited by client':36} {CHECKS}\n"
        f"{TRANSFER_LINES}"
        f"003 {'single subflow, limited by server':36} {CHECKS}\n"
        f"004 {'single subflow':36} {CHECKS}\n"
        f"{closing}"
    )


@pytest.mark.parametrize("closing", [CLOSING, ""])
def test_a_transfer_that_fails_before_any_mark(closing: str) -> None:
    """As the first of 6.1's mptcp_join.sh do: the title comes with the first check, after it."""
    result = old("mptcp_join", join(closing), 1 if closing else None)
    assert told(result) == [
        ("no JOIN", P),
        ("single subflow, limited by client", P),
        ("single subflow, limited by server", F),
        ("single subflow", P if closing else E),
    ]
    assert "client exit code 2, server 2" in result.cases[2].detail
    assert result.own.state is (F if closing else E)


def test_the_closing_list_has_the_last_word() -> None:
    """A test that printed no title is in it, and a transfer in the background is not."""
    more = CLOSING.replace("1 failure", "2 failure") + "\t- 9: no such title\n"
    more = more.replace("\n\n\t- 9", "\n\t- 9")
    result = old("mptcp_join", join(more))
    assert told(result)[2:] == [
        ("single subflow, limited by server", F),
        ("single subflow", P),
        ("no such title", F),
    ]
    other = CLOSING.replace("3: single subflow, limited by server", "4: single subflow")
    result = old("mptcp_join", join(other))
    assert told(result)[2:] == [("single subflow, limited by server", P), ("single subflow", F)]


def test_a_failure_that_no_title_follows_is_a_case() -> None:
    result = old("mptcp_join", f"001 {'no JOIN':36} {CHECKS}\n{TRANSFER_LINES}", None)
    assert told(result)[-1] == ("test 2", F)


def test_a_wrong_file_is_the_failure_of_the_title_that_follows() -> None:
    text = (
        f"001 {'no JOIN':36} {CHECKS}\n[ FAIL ] file received by client does not match (in, out):\n"
    )
    text += f"-rw------- 1 root root 17 /tmp/a\nTrailing bytes are: \n002 {'next':36} {CHECKS}\n"
    assert told(old("mptcp_join", text)) == [("no JOIN", P), ("next", F)]


INLINE = [
    (f"001 {'no JOIN':36} syn[ ok ] - synack[ ok ] - ack[ ok ]", "no JOIN", P),
    (f"01 {'no JOIN':36} syn[ ok ] - synack[fail] got 1 JOIN[s] synack", "no JOIN", F),
    (f"021 {'x' * 36} syn[ ok ]", "x" * 36, P),
    (f"021 {'x y ' * 10}syn[ ok ]", ("x y " * 10).strip(), P),
    (f"021 {'a title of its own that is quite long':36} before delete[fail] got 2:2 subflows",
     "a title of its own that is quite long", F),
    (f"021 {'a title of its own that is quite long':36} [ skip ] Feature not supported",
     "a title of its own that is quite long", S),
    (f"021 {'re-add many':36} after re-add ID 0[ ok ]", "re-add many", P),
    (f"021 {'Infinite map: 12 corrupted pkts':36} syn[ ok ]", "Infinite map", P),
    (f"021 {'implicit EP':36} creation[skip] bad test - missing endpoint id", "implicit EP", S),
]  # fmt: skip


@pytest.mark.parametrize(("line", "name", "state"), INLINE)
def test_titles_with_a_check_behind_them(line: str, name: str, state: State) -> None:
    assert told(old("mptcp_join", f"{line}\n", 1 if state is F else 0)) == [(name, state)]


TRANSFER = "ns1 MPTCP -> ns2 (10.0.1.2:10002      ) MPTCP"
NAMED = "multihosts: ns1 MPTCP -> ns2 (10.0.1.2:10002) MPTCP"
TIMEOUT = "copyfd_io_poll: poll timed out (events: POLLIN 1, POLLOUT 0)"


@pytest.mark.parametrize("words", ["", TIMEOUT, "write: Connection reset by peer", "05"])
def test_a_transfer_keeps_its_name_whatever_the_client_says(words: str) -> None:
    """The mark of 6.1's mptcp_connect.sh is on the title's line, or on a later one."""
    end = "\n" if words else ""
    for before, mark in (("", "[ FAIL ]"), ("05 ", "[FAIL]")):
        text = f"{before}{TRANSFER}\t{words}{end}(duration 30012ms) {mark} client exit code 2,"
        text += f" server 0\n{'06 ' if before else ''}ns2 TCP   -> ns1 (10.0.1.1:10003      ) MPTCP"
        text += "\t(duration 9ms) [ OK ]\n"
        result = (new if before else old)("mptcp_connect", text, 1)
        assert told(result) == [
            (NAMED, F),
            ("multihosts: ns2 TCP -> ns1 (10.0.1.1:10003) MPTCP", P),
        ]
        assert words in result.cases[0].detail


def test_the_detail_comes_to_the_case_of_the_tap() -> None:
    lines = f"02 {TRANSFER:69}{TIMEOUT}\n(duration 30012ms) [FAIL] client exit code 2, server 0\n"
    tap = f"TAP version 13\n1..1\nnot ok 1 - mptcp_connect: {NAMED} # time=30050ms\n"
    result = new("mptcp_connect", lines + tap, 1)
    assert told(result) == [(NAMED, F)] and "poll timed out" in result.cases[0].detail
    lines = "01 balanced bwidth                                    "
    lines += (
        "transfer slower than expected! runtime 8112 ms, expected 7989 ms\n max 7989       [FAIL]\n"
    )
    tap = "TAP version 13\n1..1\nnot ok 1 - simult_flows: balanced bwidth # time=8150ms\n"
    result = new("simult_flows", lines + tap, 1)
    assert told(result) == [("balanced bwidth", F)] and "slower" in result.cases[0].detail


NOTES = [
    (f"{TRANSFER}\t(duration    41ms) [ Note ] fallback due to TCP OoO[ OK ]", P),
    (f"{TRANSFER}\t(duration    41ms) [ OK ] WARN: CookieSent: did not advance", P),
    (f"{TRANSFER}\t(duration    41ms) [ FAIL ] lower MPC SYN rx (0) than expected (1)", F),
    (f"{TRANSFER}\t(duration    41ms) [ FAIL ]\nunexpected fallback to TCP", F),
    (f"{TRANSFER}\t(duration    41ms) [ FAIL ] file received by client does not match (in,", F),
]  # fmt: skip


@pytest.mark.parametrize(("text", "state"), NOTES)
def test_notes_behind_a_transfer(text: str, state: State) -> None:
    assert told(old("mptcp_connect", f"{text}\n", 0 if state is P else 1)) == [(NAMED, state)]


CONNECT = [
    ("New MPTCP socket can be blocked via sysctl\t\t[ OK ]",
     "New MPTCP socket can be blocked via sysctl", P),
    ("New MPTCP socket cannot be blocked via sysctl\t\t[ FAIL ]",
     "New MPTCP socket cannot be blocked via sysctl", F),
    ("net.mptcp.enabled sysctl is not 1 by default\t\t[ FAIL ]",
     "net.mptcp.enabled sysctl is not 1 by default", F),
    ('setsockopt(..., TCP_ULP, "mptcp", ...) allowed\t[ FAIL ]',
     'setsockopt(..., TCP_ULP, "mptcp", ...) blocked', F),
    ("ns1-66ab1-Qw3 -> dead:beef:1::1 connectivity [ FAIL ]\n"
     "ns2-66ab1-Qw3 -> 10.0.1.2 connectivity [ FAIL ]", "ping tests", F),
    ("INFO: tproxy ipv6 not supported by the kernel: SKIP", "tproxy ipv6", S),
    ("SKIP: tproxy ipv4, could not load nft ruleset", "tproxy ipv4", S),
    ("INFO: Full disconnect not supported: SKIP", "full disconnect", S),
]  # fmt: skip
SIMULT = [
    ("balanced bwidth                     max 4710        [ OK ]", "balanced bwidth", P),
    ("balanced bwidth                 4710 max 5005 [ OK ]", "balanced bwidth", P),
    ("balanced bwidth - reverse direction    47104723 max 5005      [ OK ]",
     "balanced bwidth - reverse direction", P),
    ("balanced bwidth with unbalanced delay  transfer slower than expected! runtime 9 ms,\n"
     " max 7989         [ fail ]\nclient exit code 1, server 0",
     "balanced bwidth with unbalanced delay", F),
    ("balanced bwidth            transfer slower than expected! runtime 812 ms, expected 798 ms\n"
     "989 max 798        [ fail ]\nclient exit code 1, server 0", "balanced bwidth", F),
    ("01 balanced bwidth         transfer slower than expected! runtime 8112 ms, expected 7989 ms\n"
     "7711 max 7989       [FAIL]\nclient exit code 1, server 0", "balanced bwidth", F),
    ("01 balanced bwidth         transfer slower than expected! runtime 812 ms, expected 798 ms\n"
     "771 max 798         [FAIL]\nclient exit code 1, server 0", "balanced bwidth", F),
    ("07 unbalanced bwidth with opposed, unbalanced delay - reverse direction4711 max 7989  [ OK ]",
     "unbalanced bwidth with opposed, unbalanced delay - reverse direction", P),
    ("07 a title of a test that somebody adds, quite long - reverse direction4711 max 79   [ OK ]",
     "a title of a test that somebody adds, quite long - reverse direction", P),
    ("07 a title of a test                              max 7989          [ OK ]",
     "a title of a test", P),
]  # fmt: skip
OTHERS = [
    ("pm_netlink", "defaults limits          [FAIL] expected 'accept 0", "defaults limits", F),
    ("diag", "many msk socket present   [ fail ] timeout while expecting 200 max 3 last 3",
     "many msk socket present", F),
    ("diag", "....chk remote_key         [ skip ] Feature probably not supported",
     "....chk remote_key", S),
    ("userspace_pm", "ADD_ADDR 10.0.2.2 (ns2) => ns1, invalid token    \t\twrite: bad\n[FAIL]",
     "ADD_ADDR 10.0.2.2 (ns2) => ns1, invalid token", F),
    ("userspace_pm", "RM_ADDR id:67 ns2 => ns1, invalid token      \t[FAIL]",
     "RM_ADDR id:client ns2 => ns1, invalid token", F),
    ("mptcp_sockopt", " client exit code 2, server 0", "all packets had packet mark set", F),
    ("mptcp_sockopt", "[ FAIL ] file received by server does not match (in, out):",
     "all packets had packet mark set", F),
    ("mptcp_sockopt", "INFO: MPTCP sockopt not supported: SKIP\n"
     "PASS: SOL_MPTCP getsockopt has expected information",
     "SOL_MPTCP getsockopt has expected information", S),
    ("mptcp_sockopt", "INFO: TCP_INQ not supported: SKIP", "TCP_INQ", S),
    ("mptcp_sockopt", "01 Transfer v4                     read: Connection reset by peer\n"
     "[FAIL] client exit code 2, server 0", "transfer ipv4", F),
    ("mptcp_sockopt", "09 TCP_INQ cmsg/ioctl -r tcp -t tcp           xerror\n[FAIL]",
     "TCP_INQ: -r tcp -t tcp", F),
    ("diag", "[FAIL] Failed to setup namespaces ns1", "Failed to setup namespaces ns1", F),
]  # fmt: skip
FORMS = [("mptcp_connect", *row) for row in CONNECT] + [("simult_flows", *row) for row in SIMULT]


@pytest.mark.parametrize(("script", "text", "name", "state"), FORMS + OTHERS)
def test_each_form(script: str, text: str, name: str, state: State) -> None:
    result = old(script, f"{text}\n", {F: 1, S: 4}.get(state, 0))
    assert told(result) == [(name, state)]
    assert result.own.state is state


def test_a_shell_that_gives_up_is_no_expected_failure() -> None:
    good = f"{TRANSFER}\t(duration    41ms) [ OK ]\n"
    assert old("mptcp_connect", good, 0).own.state is P
    result = old("mptcp_connect", f"{good}./mptcp_connect.sh: line 9: syntax error\n", 2)
    assert result.own.state is E and result.problems == ("it ended with status 2, without TAP",)
    # 5.10's diag.sh ends with the number of the test that failed.
    bad = "after MPC handshake       [ fail ] expected 2 found 0\n"
    assert old("diag", bad, 2).own.state is F
    assert old("diag", bad, 4).own.state is E
    assert old("diag", bad, 139).own.state is E


def test_a_failure_that_is_told_twice_is_one() -> None:
    """mptcp_sockopt.sh marks the second case by the result of the first one as well."""
    live = "01 Transfer v4        [FAIL] file received by server does not match (in, out):\n"
    live += "02 Mark v4            [FAIL]\n"
    tap = "TAP version 13\n1..2\nnot ok 1 - mptcp_sockopt: transfer ipv4\n"
    whole = new("mptcp_sockopt", f"{live}{tap}ok 2 - mptcp_sockopt: mark ipv4\n", 1)
    assert told(whole) == [("transfer ipv4", F), ("mark ipv4", P)]
    assert whole.own.state is F and whole.problems == ()
    assert told(new("mptcp_sockopt", live)) == [("transfer ipv4", F), ("mark ipv4", E)]
    own = live.replace("02 Mark v4            [FAIL]", "02 Mark v4    [FAIL] got iptables 1 0")
    assert told(new("mptcp_sockopt", own)) == [("transfer ipv4", F), ("mark ipv4", F)]


def test_group_of_a_transfer_in_old_scripts() -> None:
    text = "INFO: test tproxy ipv4\nns1 MPTCP -> ns2 (10.0.3.1:20000      ) MPTCP\t(duration 9ms)"
    result = old("mptcp_connect", f"{text} [ OK ]\nPASS: tproxy ipv4\n", 0)
    assert told(result) == [("tproxy ipv4: ns1 MPTCP -> ns2 (10.0.3.1:20000) MPTCP", P)]
