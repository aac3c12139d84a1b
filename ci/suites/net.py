# SPDX-License-Identifier: GPL-2.0-only
"""Networking's own selftests: tools/testing/selftests/net, of which the scripts alone are
installed."""

import re

from ci.logs.outcome import DETAIL_LINES, Case, CaseList, State, bounded, tidy
from ci.suites.collection import Collection, Row

# "    TEST: IPv4 route get    [ OK ]", "expected two remotes after link set   [fail] found 1",
# "[FAIL] expected a broadcast"
_MARK = re.compile(r"\[ {0,2}(OK|PASS|FAIL|SKIP|XFAIL) {0,2}\]", re.I)
# "TEST: ping over the tunnel", where the mark comes later, " - TEST: an option"
_TITLE = re.compile(r" *(?:- )?TEST: *(\S.*)$")
# "PASS: policy routing", "SKIP: fou tests", "FAIL - 3/40 cases failed"
_WORDED = re.compile(r" *(PASS|FAIL|SKIP|OK)(?:: | - )(?:[0-9]+/[0-9]+ )?(\S.*)$")
# "ok", "failed; is it up?", "OK. All tests passed": the line before says of what
_BARE = re.compile(r" *(ok|failed|fail|pass|skip)(?:[.;].*)?$", re.I)
# "Configuring interfaces", "unicast onlink": what the cases below belong to
_HEADING = re.compile(r"[A-Za-z][\w ,/-]{0,80}$")
_GAP = re.compile(r" {2,}")
MARKS = {
    "OK": State.PASS,
    "PASS": State.PASS,
    "FAIL": State.FAIL,
    "FAILED": State.FAIL,
    "SKIP": State.SKIP,
    "XFAIL": State.PASS,
}


class LineReader:
    """A line is a case, under the heading above it: the scripts repeat their titles."""

    def __init__(self, script: str) -> None:
        self.heading = ""
        self.title = ""
        self.lines: list[str] = []
        self.done = CaseList()

    @property
    def full(self) -> bool:
        """Whether there are more cases than are read."""
        return self.done.full

    def feed(self, line: str) -> None:
        """One line; those since the case before are what a failure has to say."""
        if self.done.full:
            return
        if len(self.lines) <= DETAIL_LINES:
            self.lines.append(line)
        if "[" in line and (mark := _MARK.search(line)):
            self._read_mark(line, mark)
        elif found := _WORDED.match(line):
            self._settle(found[2], MARKS[found[1]])
        elif found := _BARE.match(line):
            self._settle("", MARKS[found[1].upper()])
        elif found := _TITLE.match(line):
            self.title = _GAP.split(found[1], maxsplit=1)[0]
        elif found := _HEADING.match(line.strip()):
            self.heading = found[0]

    def _read_mark(self, line: str, mark: re.Match[str]) -> None:
        states = [MARKS[one[1].upper()] for one in _MARK.finditer(line)]
        before = line[: mark.start()].strip()
        if title := _TITLE.match(before):
            before, self.title = title[1], ""
        state = State.FAIL if State.FAIL in states else states[0]
        # A title whose mark did not come in its line is the case, whatever stands before the mark.
        self._settle(self.title or before, state)

    def _settle(self, title: str, state: State) -> None:
        name = tidy(": ".join(filter(None, (self.heading, title))))
        self.done.add(Case(name, state, "" if state is State.PASS else bounded(self.lines)))
        self.lines, self.title = [], ""

    def finish(self, status: int | None, *, complete: bool, tap: bool = True) -> list[Case]:
        """The cases: each came whole, but for one that the script stopped in."""
        if self.title and not complete:
            self._settle(self.title, State.ERROR)
        return self.done.cases


COLLECTION = Collection(
    name="net",
    target="net",
    # The tree's own net/config asks for a hundred features, most of them for programs and modules.
    # With MPTCP's, whose kernel serves then, these scripts have all that they need.
    configs=("tools/testing/selftests/net/mptcp/config",),
    variables=("TEST_GEN_FILES=", "TEST_GEN_PROGS="),
    reader=LineReader,
    tables={
        "smoke": (Row("fib_nexthop_nongw.sh"),),
        "default": (Row("fib_nexthop_nongw.sh"), Row("netns-name.sh")),
    },
)
