# SPDX-License-Identifier: GPL-2.0-only
"""What each of MPTCP's selftests prints while it runs, as tables: how a title there becomes the
description in its TAP, and which lines without a title are cases, too.

Learnt from tools/testing/selftests/net/mptcp of 5.10.262, 6.1.192, 6.12.117 and 7.3.4. Before v6.6
the scripts print no TAP and most titles have no number; their cases get the names that newer
scripts give to the same tests.
"""

import re
from dataclasses import dataclass

from ci.logs.outcome import State


@dataclass(frozen=True)
class Forms:
    """The forms of one script.

    ``titles`` are (pattern, description): the pattern is matched from the beginning of a title,
    and what follows its match is not of the title: words of a program that ran since. With
    ``bare``, these are titles without a number as well, before the script's marks or without any.
    ``words`` are whole lines that are cases: (pattern, state, name); of two lines of one name the
    first counts. ``tail`` matches what a program leaves at the end of a title. ``silent`` are
    checks that end their script with status 1 and not a word: (the case before, the case of the
    check). ``echoes`` are (case, the case before): a failure without a word of the one is that of
    the other.
    """

    titles: tuple[tuple[re.Pattern[str], str], ...] = ()
    bare: bool = False
    words: tuple[tuple[re.Pattern[str], State, str], ...] = ()
    tail: re.Pattern[str] | None = None
    silent: tuple[tuple[str, str], ...] = ()
    echoes: tuple[tuple[str, str], ...] = ()


CONNECT = Forms(
    titles=(
        # "Validating network environment with pings"
        (re.compile(r"Validating network environment with pings"), "ping tests"),
        # "New MPTCP socket can be blocked via sysctl"
        (re.compile(r"(New MPTCP socket can(?:not)? be blocked via sysctl)"), r"\1"),
        # 'setsockopt(..., TCP_ULP, "mptcp", ...) allowed'
        (re.compile(r'(setsockopt\(\.\.\., TCP_ULP, "mptcp", \.\.\.\)) \w+'), r"\1 blocked"),
    ),
    bare=True,
    words=(
        # "ns1-66ab12-Xy2z -> dead:beef:1::1 connectivity [ FAIL ]"
        (re.compile(r"ns\d\S* -> \S+ connectivity \[ FAIL \]"), State.FAIL, "ping tests"),
        # "[SKIP] tproxy ipv6 not supported by the kernel",
        # "SKIP: tproxy ipv4, could not load nft ruleset"
        (re.compile(r"(?:\[SKIP\]|SKIP:) (tproxy ipv[46])\b"), State.SKIP, r"\1"),
        # "INFO: tproxy ipv6 not supported by the kernel: SKIP"
        (re.compile(r"INFO: (tproxy ipv[46]) not .*: SKIP$"), State.SKIP, r"\1"),
        # "[SKIP] TFO not supported by the kernel"
        (re.compile(r"\[SKIP\] TFO not supported"), State.SKIP, "MPTFO"),
        # "[SKIP] Full disconnect not supported", "INFO: Full disconnect not supported: SKIP"
        (
            re.compile(r"(?:\[SKIP\]|INFO:) Full disconnect not supported"),
            State.SKIP,
            "full disconnect",
        ),
    ),
)
# A transfer is named with its group, which the script prints only as information, and the first
# three groups not at all.
# "ns1 MPTCP -> ns2 (10.0.1.2:10008      ) MPTCP (duration    41ms)"
TRANSFER = re.compile(r"(ns\d) +(MPTCP|TCP) +-> (ns\d) \(([0-9a-f.:]+) *\) (MPTCP|TCP)")
GROUPS = (
    # "INFO: with peek mode: saveWithPeek"
    re.compile(r"INFO: with (peek mode: \w+)$"),
    # "INFO: with MPTFO start"
    re.compile(r"INFO: with (MPTFO) start$"),
    # "INFO: test tproxy ipv4"
    re.compile(r"INFO: test (tproxy ipv[46])$"),
    # "INFO: disconnect"
    re.compile(r"INFO: ()disconnect$"),
)

SIMULT = Forms(
    titles=(
        # "balanced bwidth with unbalanced delay - reverse direction4710 max 5005"
        (
            re.compile(
                r"((?:un)?balanced bwidth(?: with (?:opposed, )?unbalanced delay)?"
                r"(?: - reverse direction)?)"
            ),
            r"\1",
        ),
    ),
    bare=True,
    # " max 7989", "4710 max 5005", "47104712": each program prints the milliseconds that it ran
    tail=re.compile(r"(?<![ 0-9]) *+(?:[0-9]++ *+)*+max [0-9]|(?<![ 0-9]) *+[0-9]++$"),
)

# Before v6.6 there is no line for each test, only words on what was found. The first case stands
# for both transfers.
_MARKED, _OPTION = (
    "all packets had packet mark set",
    "SOL_MPTCP getsockopt has expected information",
)
SOCKOPT = Forms(
    titles=(
        # "Transfer v4", "Mark v6"
        (re.compile(r"Transfer (v[46])"), r"transfer ip\1"),
        (re.compile(r"Mark (v[46])"), r"mark ip\1"),
        # "SOL_MPTCP sockopt v4"
        (re.compile(r"SOL_MPTCP (sockopt v[46])"), r"\1"),
        # "TCP_INQ cmsg/ioctl -6 -t tcp"
        (re.compile(r"TCP_INQ cmsg/ioctl((?: \S+)+)"), r"TCP_INQ:\1"),
    ),
    words=(
        # "PASS: TCP_INQ cmsg/ioctl -6 -t tcp", "FAIL: mptcp_inq -6 -t tcp"
        (re.compile(r"PASS: TCP_INQ cmsg/ioctl (.*)$"), State.PASS, r"TCP_INQ: \1"),
        (re.compile(r"FAIL: mptcp_inq (.*)$"), State.FAIL, r"TCP_INQ: \1"),
        # "PASS: all packets had packet mark set"
        (re.compile(r"PASS: all packets had packet mark set$"), State.PASS, _MARKED),
        # "FAIL: got iptables 1 0 in ns ns2-x, not 0 - not all expected packets marked"
        (re.compile(r"FAIL: got .* not all expected packets marked$"), State.FAIL, _MARKED),
        # " client exit code 2, server 0", "[ FAIL ] file received by server does not match"
        (re.compile(r" ?client exit code \d+, server \d+$"), State.FAIL, _MARKED),
        (re.compile(r"\[ FAIL \] .* does not match"), State.FAIL, _MARKED),
        # "PASS: SOL_MPTCP getsockopt has expected information", "FAIL: SOL_MPTCP getsockopt (ipv6)"
        (re.compile(r"PASS: SOL_MPTCP getsockopt has"), State.PASS, _OPTION),
        (re.compile(r"FAIL: SOL_MPTCP getsockopt\b"), State.FAIL, _OPTION),
        # "[SKIP] MPTCP sockopt not supported", "[SKIP] TCP_INQ not supported"
        (re.compile(r"\[SKIP\] MPTCP sockopt not supported"), State.SKIP, "sockopt"),
        (re.compile(r"(?:\[SKIP\]|INFO:) TCP_INQ not supported"), State.SKIP, "TCP_INQ"),
        # "INFO: MPTCP sockopt not supported: SKIP", and PASS after it all the same
        (re.compile(r"INFO: MPTCP sockopt not supported: SKIP"), State.SKIP, _OPTION),
    ),
    echoes=(("mark ipv4", "transfer ipv4"), ("mark ipv6", "transfer ipv6")),
)

_MADE = "Created network namespaces ns1, ns2"
_IPV4, _IPV6 = (f"Established IP{kind} MPTCP Connection ns2 => ns1" for kind in ("v4", "v6"))
USERSPACE = Forms(
    titles=(
        # "CREATE_SUBFLOW 10.0.2.2 (ns2) => 10.0.2.1 (ns1)", "RM_ADDR id:client ns2 => ns1, invalid"
        (
            re.compile(
                r"((?:(?:ADD|RM)_ADDR|(?:CREATE|DESTROY|CLOSE)_(?:SUBFLOW|LISTENER)|MP_PRIO|"
                r"Created network|Established IP)(?: ?\S)*)"
            ),
            r"\1",
        ),
    ),
    bare=True,
    # make_connection of 6.1.192
    silent=((_MADE, _IPV4), (_IPV4, _IPV6)),
)
# Before v6.6 userspace_pm.sh prints the random id of an address where later ones say whose it is.
# "ADD_ADDR id:67 10.0.2.2 (ns2) => ns1, reuse port", "RM_ADDR6 id:68 ns1 => ns2"
ADDRESS_ID = re.compile(r"((?:ADD|RM)_ADDR)([46]?) id:(\d+)( .*?\(?ns([12])\)? => .*)$")

# By the beginning of the script's name; mptcp_connect has variants (mptcp_connect_mmap).
FORMS = {
    "mptcp_connect": CONNECT,
    "mptcp_sockopt": SOCKOPT,
    "simult_flows": SIMULT,
    "userspace_pm": USERSPACE,
}
