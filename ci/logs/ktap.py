# SPDX-License-Identifier: GPL-2.0-only
"""What a selftest printed, as cases: (K)TAP, and what a collection's own reader makes of its other
lines.

MPTCP's scripts keep their TAP in memory and print it as their last act
(tools/testing/selftests/net/mptcp/mptcp_lib.sh, mptcp_lib_result_print_all_tap), so a script that
dies leaves only its live lines: ``12 some title      [ OK ]``, or in mptcp_join.sh a numbered title
with one line per check below. Both are read here and give the same names; where there is TAP, it
has the last word. The rules of KTAP are those of Documentation/dev-tools/ktap.rst; the words SKIP,
TODO, XFAIL and XPASS and the exit statuses are those of tools/testing/selftests/kselftest.h.

The text is hostile: everything is bounded, every pass is linear, nothing raises.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from ci.logs.outcome import DETAIL_LINES, MAX_LINE, Case, State, bounded, clean_lines, tidy, unique

# Deeper indentation than this (eight levels) counts as this: what nests must stay bounded.
MAX_INDENT = 16

# kselftest.h: KSFT_PASS 0, KSFT_FAIL 1, KSFT_XFAIL 2, KSFT_XPASS 3, KSFT_SKIP 4.
STATUS = {0: State.PASS, 1: State.FAIL, 2: State.PASS, 3: State.FAIL, 4: State.SKIP}
DIRECTIVES = {
    "skip": State.SKIP,
    "todo": State.PASS,
    "xfail": State.PASS,
    "xpass": State.FAIL,
    "ignore": State.FLAKY,
}

# "KTAP version 1", "TAP version 13"
_VERSION = re.compile(r"( *)K?TAP version \d{1,9} *$")
# "1..37", "1..0 # SKIP no namespaces"
_PLAN = re.compile(r"( *)1\.\.(\d{1,9}) *(?:#.*)?$")
# "not ok 2 - userspace_pm: ADD_ADDR 10.0.2.2 (ns2) => ns1, invalid token # time=34ms"
_RESULT = re.compile(r"( *)(not )?ok (\d{1,9})(?!\S) *(?:-(?: |$))?(.*)$")
# "Bail out! no network namespaces"
_BAIL = re.compile(r" *Bail out!(.*)$")
# " # SKIP": the first "#" that follows a blank or starts the text
_HASH = re.compile(r"(?:^|(?<= ))#")
# "[    1.234567] ", "[    1.234567][    T1] "
_STAMP = re.compile(r"^\[ *\d{1,12}\.\d{1,9}\](?:\[ *[TC]\d{1,9}\])? ?", re.M)
# "time=34ms"
_TIME = re.compile(r"\btime=(\d{1,9})ms\b")
# " SKIP no REJECT target", " IGNORE Flaky"
_DIRECTIVE = re.compile(r" *(skip|todo|xfail|xpass|ignore)\w*:? *(.*)$", re.I)


class LineReader(Protocol):
    """Makes cases of what a script prints besides TAP. It is fed cleaned lines of bounded
    length."""

    def feed(self, line: str) -> None:
        """One line."""

    def finish(self, status: int | None, *, complete: bool, tap: bool = True) -> list[Case]:
        """The cases, once all lines were fed. ``complete``: nothing of the output is missing;
        ``tap``: the script is one that prints TAP."""


@dataclass(frozen=True)
class ScriptResult:
    """One script (without ``.sh``): ``own`` is the case named after it, its exit status checked
    against what it printed.

    ``problems`` are the contradictions and gaps; where there is one, ``own`` is an ERROR whatever
    the exit status was.
    """

    script: str
    own: Case
    cases: tuple[Case, ...]
    problems: tuple[str, ...] = ()


def parse_result(script: str, negative: bool, number: int, text: str) -> Case:
    """The case of one result line; ``text`` is what follows the number. Unknown directives change
    nothing (ktap.rst)."""
    text = text[: 8 * MAX_LINE] + text[-MAX_LINE:] if len(text) > 9 * MAX_LINE else text
    cut = _HASH.search(text)
    name, tail = (text[: cut.start()], text[cut.end() :]) if cut else (text, "")
    time = _TIME.search(tail)
    tail = tidy(_TIME.sub("", tail))
    state = State.FAIL if negative else State.PASS
    if word := _DIRECTIVE.match(tail):
        state, tail = DIRECTIVES[word[1].lower()], word[2] or tail
    # kselftest.h prints "ok 3 # SKIP no such device", the description behind the directive
    name = tidy(name.strip().removeprefix(f"{script}: ")) or tail or f"case {number}"
    return Case(name, state, "" if state is State.PASS else tail, float(time[1]) if time else None)


@dataclass
class _Level:
    """The results at one indentation, while they come in."""

    indent: int
    planned: int | None = None
    due: int = 1
    cases: list[tuple[Case, list[Case]]] = field(default_factory=list)
    disordered: bool = False


class TapReader:
    """Collects the TAP of a log line by line; lines before the first version or plan line are not
    its business."""

    def __init__(self, script: str) -> None:
        self.script = script
        self.levels: list[_Level] = []
        self.problems: list[str] = []
        self.notes: list[str] = []

    @property
    def seen(self) -> bool:
        """Whether TAP has begun."""
        return bool(self.levels)

    @property
    def planned(self) -> bool:
        """Whether there is a plan at the outermost level."""
        return bool(self.levels) and self.levels[0].planned is not None

    def feed(self, line: str) -> None:
        """One line of the log."""
        if version := _VERSION.match(line):
            self._level(len(version[1])).due = 1
        elif plan := _PLAN.match(line):
            level = self._level(len(plan[1]))
            level.planned = (level.planned or 0) + int(plan[2])
        elif self.levels and (result := _RESULT.match(line)):
            self._add(
                len(result[1]),
                parse_result(self.script, bool(result[2]), int(result[3]), result[4]),
                int(result[3]),
            )
        elif bail := _BAIL.match(line):
            self.problems.append(f"it bailed out: {tidy(bail[1]) or 'without a reason'}")
        elif self.levels and line.strip() and len(self.notes) <= DETAIL_LINES:
            self.notes.append(line[:MAX_LINE])

    def finish(self) -> list[Case]:
        """The cases in their order; what is short or long is added to ``problems``."""
        if not self.levels:
            return []
        orphans = self._close_above(self.levels[0].indent)
        if orphans:
            self.problems.append(f"{len(orphans)} subtests have no result of their test")
        self._check(self.levels[0])
        return _flat(self.levels[0]) + orphans

    def _level(self, indent: int) -> _Level:
        indent = min(indent, MAX_INDENT)
        # What is indented less than the first line of all belongs to the outermost level as well.
        if not self.levels or indent > self.levels[-1].indent:
            self.levels.append(_Level(indent))
        for level in reversed(self.levels):
            if level.indent <= indent:
                return level
        return self.levels[0]

    def _add(self, indent: int, case: Case, number: int) -> None:
        below = self._close_above(max(min(indent, MAX_INDENT), self.levels[0].indent))
        level = self._level(indent)
        if case.state is not State.PASS:
            case = replace(
                case, detail=bounded([case.detail, *self.notes] if case.detail else self.notes)
            )
        self.notes.clear()
        level.disordered |= number != level.due
        level.due = number + 1
        level.cases.append((case, below))

    def _close_above(self, indent: int) -> list[Case]:
        """Take away the levels deeper than this: they are the subtests of the result that is
        due."""
        below: list[Case] = []
        while self.levels[-1].indent > indent:
            level = self.levels.pop()
            self._check(level)
            below = _flat(level) + below
        return below

    def _check(self, level: _Level) -> None:
        if level.planned is not None and level.planned != len(level.cases):
            self.problems.append(f"its plan is of {level.planned} cases, {len(level.cases)} came")
        if level.disordered:
            self.problems.append("its results are not numbered one after the other")


def _flat(level: _Level) -> list[Case]:
    """A level's cases, the subtests of each before it, named ``test.subtest``."""
    cases: list[Case] = []
    for case, below in level.cases:
        cases += [replace(sub, name=tidy(f"{case.name}.{sub.name}")) for sub in below]
        cases.append(case)
    return cases


def _doubts(status: int | None, cases: list[Case], *, tap: bool, expect_tap: bool) -> list[str]:
    """What keeps an exit status from being believed: outcomes are earned."""
    if status is None:
        return ["no exit status came back"]
    if status not in STATUS:
        return [
            f"it ended with status {status}"
            + (f" (signal {status - 128})" if 128 < status < 193 else "")
        ]
    failed = sum(case.state is State.FAIL for case in cases)
    open_ended = sum(case.state is State.ERROR for case in cases)
    doubts = []
    if failed and STATUS[status] is not State.FAIL:
        doubts.append(f"it ended with status {status} although {failed} of its cases failed")
    if STATUS[status] is State.PASS:
        if open_ended:
            doubts.append(
                f"it ended with status {status} although {open_ended} of its cases have no result"
            )
        if not cases:
            doubts.append(f"it ended with status {status} and printed no case")
        elif expect_tap and not tap:
            doubts.append(f"it ended with status {status} and printed no TAP plan")
    return doubts


def without_stamps(console: str) -> str:
    """A console's text without the time that the kernel puts before each line: KTAP of its own
    (KUnit) counts the blanks that follow."""
    return _STAMP.sub("", console)


def parse_script(
    script: str,
    text: str,
    exit_status: int | None,
    live: LineReader,
    *,
    expect_tap: bool = True,
) -> ScriptResult:
    """The result of one script, from everything it printed and its exit status.

    ``script`` has no ``.sh``; ``text`` is its part of the serial log, decoded with
    ``errors="replace"``; ``exit_status`` is None where none came back; ``live`` reads the lines
    before its TAP, under the same names. ``expect_tap`` is False for trees whose scripts print no
    TAP (MPTCP before v6.6).

    - A cut-off TAP is completed from the live lines; a case that neither gives is not there: its
      absence is for the verdict.
    - ``own`` is the exit status (0 pass, 1 fail, 2 pass, 3 fail, 4 skip), or ERROR where that is
      none of these, or where the text contradicts it: a plan that is short or long, status 0 beside
      a failed case, without cases or without a plan. Status 1 needs no proof, and a script that
      stops early plans only for what it ran: both are plain failures.
    """
    tap = TapReader(script)
    last = _feed(text, tap, live)
    complete = tap.seen or (not expect_tap and exit_status in STATUS)
    lived = unique(live.finish(exit_status, complete=complete, tap=expect_tap), script)
    cases = list(unique(tap.finish(), script))
    cases = _merged(cases, lived, whole=not tap.problems)
    doubts = _doubts(exit_status, cases, tap=tap.planned, expect_tap=expect_tap)
    problems = (*doubts, *tap.problems)
    state = State.ERROR if problems else STATUS[exit_status or 0]
    detail = "" if state is State.PASS else bounded([*problems, *last])
    return ScriptResult(script, Case(script, state, detail), tuple(cases), problems)


def _feed(text: str, tap: TapReader, live: LineReader) -> list[str]:
    """Give the lines to their readers; the last of them, for people."""
    last: list[str] = []
    lines = clean_lines(text)
    for number, line in enumerate(lines, 1):
        # What follows the last newline is a line cut off: "ok 7 - x # IGN" must not count as a
        # pass.
        if number < len(lines):
            tap.feed(line)
        if not tap.seen:
            live.feed(line[:MAX_LINE])
        if line.strip():
            last = [*last[-14:], line[:MAX_LINE]]
    return last


def _merged(cases: list[Case], lived: Sequence[Case], *, whole: bool) -> list[Case]:
    """TAP's cases with what the live lines say of each; where TAP is not whole, those that only
    the live lines have, too."""
    details = {case.name: case.detail for case in lived}
    merged = []
    for case in cases:
        if case.state is not State.PASS:
            lines = f"{case.detail}\n{details.get(case.name, '')}".strip("\n").split("\n")
            case = replace(case, detail=bounded(lines))
        merged.append(case)
    if not cases or not whole:
        names = {case.name for case in cases}
        merged += [case for case in lived if case.name not in names]
    return merged
