# SPDX-License-Identifier: GPL-2.0-only
"""The lines that MPTCP's selftests print while they run, as cases under the names that their TAP
will use.

Learnt from tools/testing/selftests/net/mptcp of 6.12.117: a numbered title, padded, then
``[ OK ]``, ``[FAIL] why``, ``[SKIP]`` or ``[IGNO] (flaky)`` (a failure that the script masks) on
the same line; mptcp_join.sh puts the title on a line of its own and a mark on the line of each
check below. Before v6.6 titles may have no number, and marks look like ``[ ok ]``, ``[  ok  ]`` or
``[OK]``; 6.1.192's scripts are read here too.
"""

import re
from dataclasses import dataclass, field

from ci.logs.outcome import DETAIL_LINES, Case, State, bounded, tidy

# "02 Established IPv4 MPTCP Connection ns2 => ns1      [ OK ]", "001 no JOIN"
_TITLE = re.compile(r"(\d{2,4}) (.*)$")
# "[ OK ]", "[FAIL] expected 2 found 1", "[IGNO] (flaky)", "[  ok  ]"
_MARK = re.compile(r"\[ {0,2}(ok|fail|skip|igno) {0,2}\]", re.I)
# "no JOIN                             syn"
_GAP = re.compile(r" {2,}")
MARKS = {"ok": State.PASS, "fail": State.FAIL, "skip": State.SKIP, "igno": State.FLAKY}

# Where a live title is not the TAP description: script (prefix), title with single blanks,
# description.
TITLES = (
    # "balanced bwidth - reverse direction max 7989"
    ("simult_flows", re.compile(r"(.*?)(?: max \d+)$"), r"\1"),
    # "Transfer v4", "Mark v6"
    ("mptcp_sockopt", re.compile(r"Transfer (v[46])$"), r"transfer ip\1"),
    ("mptcp_sockopt", re.compile(r"Mark (v[46])$"), r"mark ip\1"),
    # "SOL_MPTCP sockopt v4"
    ("mptcp_sockopt", re.compile(r"SOL_MPTCP (sockopt v[46])$"), r"\1"),
    # "TCP_INQ cmsg/ioctl -6 -t tcp"
    ("mptcp_sockopt", re.compile(r"TCP_INQ cmsg/ioctl (.*)$"), r"TCP_INQ: \1"),
    # "Validating network environment with pings"
    ("mptcp_connect", re.compile(r"Validating network environment with pings$"), "ping tests"),
)
# mptcp_connect.sh names a transfer with its group, which it prints only as information, and the
# first three groups not at all.
# "ns1 MPTCP -> ns2 (10.0.1.2:10008 ) MPTCP (duration 41ms)"
_TRANSFER = re.compile(r"(ns\d) (\w+) -> (ns\d) \(([^ )]+) ?\) (\w+)(?: \(duration +\d+ms\))?$")
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
# Before v6.6 mptcp_sockopt.sh has no line for each test, only words on what it found: words, state,
# name.
SOCKOPT_WORDS = (
    # "PASS: TCP_INQ cmsg/ioctl -6 -t tcp", "FAIL: mptcp_inq -6 -t tcp"
    (re.compile(r"PASS: TCP_INQ cmsg/ioctl (.*)$"), State.PASS, r"TCP_INQ: \1"),
    (re.compile(r"FAIL: mptcp_inq (.*)$"), State.FAIL, r"TCP_INQ: \1"),
    # "FAIL: got iptables 1 0 in ns ns2-x, not 0 - not all expected packets marked"
    (re.compile(r"PASS: (all packets had packet mark set)$"), State.PASS, r"\1"),
    (
        re.compile(r"FAIL: got .* not all expected packets marked$"),
        State.FAIL,
        "all packets had packet mark set",
    ),
    # "PASS: SOL_MPTCP getsockopt has expected information", "FAIL: SOL_MPTCP getsockopt (ipv6)"
    (re.compile(r"PASS: (SOL_MPTCP getsockopt has expected information)$"), State.PASS, r"\1"),
    (re.compile(r"FAIL: (SOL_MPTCP getsockopt)\b.*$"), State.FAIL, r"\1 has expected information"),
)
# Checks that end their script with status 1 and not a word (make_connection of 6.1.192's
# userspace_pm.sh): script (prefix), the case before, the case of the check.
SILENT = (
    (
        "userspace_pm",
        "Created network namespaces ns1, ns2",
        "Established IPv4 MPTCP Connection ns2 => ns1",
    ),
    (
        "userspace_pm",
        "Established IPv4 MPTCP Connection ns2 => ns1",
        "Established IPv6 MPTCP Connection ns2 => ns1",
    ),
)
# Before v6.6 userspace_pm.sh prints the random id of an address where later ones say whose it is.
# "ADD_ADDR id:67 10.0.2.2 (ns2) => ns1, reuse port", "RM_ADDR6 id:68 ns1 => ns2"
_ADDRESS_ID = re.compile(r"((?:ADD|RM)_ADDR)([46]?) id:(\d+)( .*?\(?ns([12])\)? => .*)$")
# A test skipped as a whole has a mark and no title: script (prefix), what follows the mark, name.
SKIPS = (
    # "[SKIP] tproxy ipv6 not supported by the kernel", "[SKIP] tproxy ipv4, could not load nft
    # ruleset"
    ("mptcp_connect", re.compile(r"(tproxy ipv[46])\b"), r"\1"),
    # "[SKIP] TFO not supported by the kernel"
    ("mptcp_connect", re.compile(r"TFO not supported"), "MPTFO"),
    # "[SKIP] Full disconnect not supported"
    ("mptcp_connect", re.compile(r"Full disconnect not supported"), "full disconnect"),
    # "[SKIP] MPTCP sockopt not supported"
    ("mptcp_sockopt", re.compile(r"MPTCP sockopt not supported"), "sockopt"),
    # "[SKIP] TCP_INQ not supported"
    ("mptcp_sockopt", re.compile(r"TCP_INQ not supported"), "TCP_INQ"),
)


@dataclass
class _Open:
    """The case whose lines are coming in."""

    name: str
    first: State | None = None
    last: State | None = None
    marks: set[State] = field(default_factory=set)
    words: str = ""
    lines: list[str] = field(default_factory=list)


class LiveReader:
    """Collects live cases line by line. It is fed cleaned lines of bounded length."""

    def __init__(self, script: str) -> None:
        self.script = script
        # In mptcp_join.sh a title is followed by the marks of its checks; elsewhere the first mark
        # is the result.
        self.checks = script.startswith("mptcp_join")
        self.number = 0
        self.group = ""
        # userspace_pm.sh's random ids: (command, namespace) -> the first one printed.
        self.first_ids: dict[tuple[str, str], int] = {}
        self.open: _Open | None = None
        self.done: list[Case] = []

    def feed(self, line: str) -> None:
        """One line."""
        self._note_group(line)
        mark = _MARK.search(line)
        title = _TITLE.match(line)
        if title and self._is_title(title[1], marked=bool(mark)):
            self.number = int(title[1])
            self._begin(
                line[title.start(2) : max(mark.start(), title.start(2))] if mark else title[2],
                bool(mark),
            )
        elif mark and mark.start() == 0 and self._skipped(line[mark.end() :].strip()):
            return
        elif mark and not self.number and not self.checks and line[: mark.start()].strip():
            self._begin(line[: mark.start()], True)
        elif (
            self.script.startswith("mptcp_sockopt")
            and not self.number
            and self._is_finding(line.strip())
        ):
            return
        if self.open is None:
            return
        if len(self.open.lines) <= DETAIL_LINES:
            self.open.lines.append(line)
        if mark:
            self._note_marks(line)

    def finish(self, status: int | None, *, complete: bool, tap: bool = True) -> list[Case]:
        """The cases. ``complete``: nothing of the output is missing, so the last case had all its
        lines. ``tap``: the script is one that prints TAP, and a line before each check."""
        failed = self.open is not None and {State.FAIL, State.FLAKY} & self.open.marks
        if self.open and not complete and not failed and (self.checks or not self.open.marks):
            # A script that gives up with status 1 does so in this case ("ERROR: missing feature:
            # ...").
            state, why = (
                (State.FAIL, "ended with status 1") if status == 1 else (State.ERROR, "stopped")
            )
            self.open.lines.insert(0, f"the script {why} in the middle of this case")
            self._settle(state)
        self._close()
        if not tap and status == 1 and self.done and self.done[-1].state is State.PASS:
            self.done += [
                Case(
                    case, State.FAIL, "the script ended with status 1 in this case, without a word"
                )
                for prefix, before, case in SILENT
                if self.script.startswith(prefix) and self.done[-1].name == before
            ][:1]
        return self.done

    def _note_marks(self, line: str) -> None:
        assert self.open is not None
        for mark in _MARK.finditer(line):
            state = MARKS[mark[1].lower()]
            self.open.words = self.open.words or line[mark.end() :].strip()
            self.open.first, self.open.last = self.open.first or state, state
            self.open.marks.add(state)

    def _is_title(self, digits: str, *, marked: bool) -> bool:
        """Titles count up by one; a line may be lost, and "10 packets transmitted" is none."""
        number = int(digits)
        due = number == self.number + 1 and len(digits) >= (3 if self.checks else 2)
        return due or (marked and number > self.number)

    def _begin(self, text: str, marked: bool) -> None:
        self._close()
        text = text.strip()
        if self.checks and marked:
            # Before v6.6 the first check is on the title's line: "001 no JOIN          syn[ ok ] -
            # synack[ ok ]"
            text = _GAP.split(text, maxsplit=1)[0] if _GAP.search(text) else text.rpartition(" ")[0]
        self.open = _Open(self._described(tidy(text)))

    def _described(self, title: str) -> str:
        if self.script.startswith("userspace_pm") and (match := _ADDRESS_ID.match(title)):
            command, whose = (
                match[1] + match[2].replace("6", ""),
                "client" if match[5] == "2" else "server",
            )
            away = int(match[3]) - self.first_ids.setdefault((command, whose), int(match[3]))
            return tidy(f"{match[1]}{match[2]} id:{whose}{f'{away:+d}' if away else ''}{match[4]}")
        for prefix, pattern, description in TITLES:
            if self.script.startswith(prefix) and (match := pattern.match(title)):
                return tidy(match.expand(description))
        if self.script.startswith("mptcp_connect") and (match := _TRANSFER.match(title)):
            group = self.group or "multihosts"
            if not self.group and match[1] == match[3]:
                group = "loopback v6" if match[4].count(":") > 1 else "loopback v4"
            return tidy(f"{group}: {match[1]} {match[2]} -> {match[3]} ({match[4]}) {match[5]}")
        return title

    def _note_group(self, line: str) -> None:
        for pattern in (
            GROUPS if self.script.startswith("mptcp_connect") and line.startswith("INFO:") else ()
        ):
            if match := pattern.match(line.rstrip()):
                self.group = match[1] or "full disconnect"

    def _skipped(self, text: str) -> bool:
        for prefix, pattern, name in SKIPS:
            if self.script.startswith(prefix) and (match := pattern.match(text)):
                self._close()
                self.done.append(Case(match.expand(name), State.SKIP, tidy(text)))
                return True
        return False

    def _is_finding(self, text: str) -> bool:
        for pattern, state, name in SOCKOPT_WORDS:
            if match := pattern.match(text):
                self._close()
                name = tidy(match.expand(name))
                if name not in {case.name for case in self.done}:
                    self.done.append(Case(name, state, "" if state is State.PASS else text))
                return True
        return False

    def _settle(self, state: State) -> None:
        assert self.open is not None
        # This one case is named after what went wrong (mptcp_connect.sh, check_mptcp_disabled).
        if (
            state is State.FAIL
            and self.open.name == "New MPTCP socket can be blocked via sysctl"
            and self.open.words
        ):
            self.open.name = tidy(self.open.words)
        detail = "" if state is State.PASS else bounded(self.open.lines)
        self.done.append(Case(self.open.name, state, detail))
        self.open = None

    def _close(self) -> None:
        if self.open is None:
            return
        if not self.checks:
            if self.open.first is None:
                self.open.lines.insert(0, "no result was printed")
            self._settle(self.open.first or State.ERROR)
        elif State.FAIL in self.open.marks:
            self._settle(State.FAIL)
        elif State.FLAKY in self.open.marks:
            self._settle(State.FLAKY)
        else:
            # mark_as_skipped() of mptcp_join.sh is the last thing that a test does; a check skipped
            # earlier does not make the test one that is skipped.
            self._settle(State.SKIP if self.open.last is State.SKIP else State.PASS)
