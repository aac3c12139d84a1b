# SPDX-License-Identifier: GPL-2.0-only
"""Networking's own selftests: tools/testing/selftests/net, of which the scripts alone are
installed."""

import re

from ci.logs.outcome import DETAIL_LINES, Case, State, bounded, tidy
from ci.suites.collection import Collection, Row

# "    TEST: IPv4 route get    [ OK ]", "expected two remotes after link set   [FAIL]",
# "PASS: policy routing", "SKIP: fou tests"; the words before a mark may have none of their own.
_MARKED = re.compile(r"\s*(?:TEST: )?(\S.*?)\s+\[ {0,2}(OK|PASS|FAIL|SKIP|XFAIL) {0,2}\]\s*$", re.I)
_WORDED = re.compile(r"\s*(PASS|FAIL|SKIP): (\S.*)$")
# "Configuring interfaces", "unicast onlink": what the cases below belong to
_HEADING = re.compile(r"[A-Za-z][\w ,/-]{0,80}$")
MARKS = {
    "OK": State.PASS,
    "PASS": State.PASS,
    "FAIL": State.FAIL,
    "SKIP": State.SKIP,
    "XFAIL": State.PASS,
}


class LineReader:
    """A line is a case, under the heading above it: the scripts repeat their titles."""

    def __init__(self, script: str) -> None:
        self.heading = ""
        self.lines: list[str] = []
        self.cases: list[Case] = []

    def feed(self, line: str) -> None:
        """One line; those since the case before are what a failure has to say."""
        if len(self.lines) <= DETAIL_LINES:
            self.lines.append(line)
        if found := _MARKED.match(line):
            self._settle(found[1], MARKS[found[2].upper()])
        elif found := _WORDED.match(line):
            self._settle(found[2], MARKS[found[1]])
        elif found := _HEADING.match(line.strip()):
            self.heading = found[0]

    def _settle(self, title: str, state: State) -> None:
        name = tidy(f"{self.heading}: {title}" if self.heading else title)
        self.cases.append(Case(name, state, "" if state is State.PASS else bounded(self.lines)))
        self.lines = []

    def finish(self, status: int | None, *, complete: bool, tap: bool = True) -> list[Case]:
        """The cases: each came whole."""
        return self.cases


COLLECTION = Collection(
    name="net",
    target="net",
    # The tree's own net/config asks for a hundred features, most of them for programs and modules.
    # With MPTCP's, whose kernel serves then, these scripts have all that they need.
    configs=("tools/testing/selftests/net/mptcp/config",),
    variables=("TEST_GEN_FILES=", "TEST_GEN_PROGS="),
    installed="fib_nexthop_nongw.sh",
    reader=LineReader,
    tables={
        "smoke": (Row("fib_nexthop_nongw.sh"),),
        "default": (Row("fib_nexthop_nongw.sh"), Row("netns-name.sh")),
    },
)
