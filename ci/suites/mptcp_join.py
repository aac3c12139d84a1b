# SPDX-License-Identifier: GPL-2.0-only
"""What mptcp_join.sh tells of a failure besides the marks of its checks.

Before v6.6 the first check is on the title's line, so a transfer that fails does so before its
title is printed, and without a mark. The script of 6.1, not that of 5.10, ends with the numbers and
names of all tests that failed (get_failed_tests_ids).
"""

import re
from collections.abc import Sequence
from dataclasses import replace

from ci.logs.outcome import DETAIL_LINES, MAX_CASES, Case, State, bounded, tidy

# "2 failure(s) has(ve) been detected:"
_HEADING = re.compile(r"[0-9]+ failure\(s\) has\(ve\) been detected:$")
# " - 3: single subflow, limited by server"
_LISTED = re.compile(r" - ([0-9]{1,6}): (.*)$")
# " client exit code 2, server 0", "[ FAIL ] file received by client does not match (in, out):",
# "[ FAIL ] file received by server output file has wrong size (3, 5)"
_TRANSFER = re.compile(
    r" ?client exit code [0-9]+, server [0-9]+$|\[ FAIL \] .* (?:does not match|has wrong size)"
)
# "single subflow, dev      syn", "a title of more than thirty-six characters syn"
_GAP = re.compile(r" {2,}")
# "a title of more than thirty-six characters before delete"
_CHECK = re.compile(
    r" (?:syn|sum|creation|new subflow|(?:before|after) [\w-]+(?: id [0-9]+)?)$", re.I
)
# "Infinite map: 12 corrupted pkts"
_CORRUPTED = re.compile(r": [0-9]+ corrupted pkts$")


def inline_title(text: str) -> str:
    """The name in a title with a check behind it: ``text`` ends where the first mark begins."""
    title = text.strip()
    if _GAP.search(title):
        title = _GAP.split(title, maxsplit=1)[0]
    elif not text.endswith(" "):
        # A mark that a blank stands before is that of a test as a whole.
        cut = _CHECK.search(title)
        title = title[: cut.start()] if cut else title.rpartition(" ")[0] or title
    return tidy(_CORRUPTED.sub("", title))


class FailureList:
    """Failures that are told before the title of their test, and at the end of the script."""

    def __init__(self) -> None:
        self.inline = True
        self.reading = False
        self.listed: dict[int, str] | None = None
        self.waiting: list[str] = []
        # By a test's number: where its case is, and what it is but for the lines before its title.
        self.places: dict[int, int] = {}
        self.doubts: dict[int, Case] = {}

    def takes(self, line: str) -> bool:
        """Whether the line is of a failure whose title is to come, or of the list."""
        if self.reading:
            if found := _LISTED.match(line):
                if self.listed is not None and len(self.listed) < MAX_CASES:
                    self.listed[int(found[1])] = tidy(found[2])
                return True
            self.reading = False
        if _HEADING.match(line):
            self.reading, self.listed = True, {}
            return True
        if self.inline and _TRANSFER.match(line):
            if len(self.waiting) <= DETAIL_LINES:
                self.waiting.append(line)
            return True
        return False

    def held(self, *, inline: bool) -> list[str]:
        """The lines of a failure that wait for a title; ``inline``: it has a check behind it."""
        self.inline = inline
        lines, self.waiting = self.waiting, []
        return lines

    def note(self, number: int, place: int) -> None:
        """The case of a test comes to this place."""
        self.places[number] = place

    def doubt(self, number: int, case: Case) -> None:
        """What this test is if the list does not name it."""
        self.doubts[number] = case

    def settle(self, cases: Sequence[Case], number: int) -> list[Case]:
        """The cases, those that the list names failed; ``number`` is that of the last title."""
        settled = list(cases)
        if self.waiting and self.listed is None:
            detail = bounded(["it failed before its title was printed", *self.waiting])
            settled.append(Case(f"test {number + 1}", State.FAIL, detail))
        for number, name in (self.listed or {}).items():
            place = self.places.get(number, MAX_CASES)
            if place >= len(cases):
                why = "the script's list of failed tests names it, and nothing else does"
                settled.append(Case(name, State.FAIL, why))
            elif cases[place].state in (State.PASS, State.SKIP, State.ERROR):
                why = "the script's list of failed tests names it"
                detail = bounded([why, *cases[place].detail.split("\n")])
                settled[place] = replace(cases[place], state=State.FAIL, detail=detail)
        for number, case in self.doubts.items() if self.listed is not None else ():
            if number not in (self.listed or {}) and self.places[number] < len(cases):
                settled[self.places[number]] = case
        return settled
