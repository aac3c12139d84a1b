# SPDX-License-Identifier: GPL-2.0-only
"""TAP and KTAP, line by line.

The rules are those of Documentation/dev-tools/ktap.rst, and where it says nothing those of TAP
(https://testanything.org): what its readers call failed is neither a pass here, nor gone. The words
SKIP, TODO, XFAIL and XPASS are those of tools/testing/selftests/kselftest.h, ``IGNORE Flaky`` is
that of mptcp_lib.sh.
"""

import re
from dataclasses import dataclass, field, replace

from ci.logs.outcome import DETAIL_LINES, MAX_CASES, MAX_LINE, Case, State, bounded, clip, tidy

# Deeper indentation than this (eight levels) counts as this: what nests must stay bounded.
MAX_INDENT = 16
MAX_DIGITS = 9
DIRECTIVES = {
    "skip": State.SKIP,
    "todo": State.PASS,
    "xfail": State.PASS,
    "xpass": State.FAIL,
    "ignore": State.FLAKY,
}
# A directive that makes a pass of "not ok": kselftest.h writes "ok" before XFAIL.
FORGIVES = ("skip", "todo")

# "KTAP version 1", "TAP version 13", "[    0.1] TAP version 14"
_VERSION = re.compile(r"( *+)(.{0,64}?)\b(K?)TAP version ([0-9]{1,9}) *$")
VERSIONS = {"": ("13", "14"), "K": ("1",)}
# "1..37", "1..0 # SKIP no namespaces"
_PLAN = re.compile(r"( *)1\.\.([0-9]{1,9}) *(?:# *skip\b.*)?$", re.I)
# "not ok 2 - userspace_pm: ADD_ADDR 10.0.2.2 (ns2) => ns1, invalid token # time=34ms", "ok 1-a",
# "not ok"
_RESULT = re.compile(r"( *)(not )?ok\b(?: *([0-9]+))?(.*)$")
# "    # Subtest: mptcp-token"
_SUBTEST = re.compile(r"( *)# Subtest: (.+)$")
# " - name", "-name", " name"
_DASH = re.compile(r"-| *-(?: +|$)| +")
# "Bail out! no network namespaces"
_BAIL = re.compile(r" *Bail out!(.*)$", re.I)
# " # SKIP", " #SKIP", but neither " #471" nor "\# "
_HASH = re.compile(r"(?<= )#(?= |$|(?:skip|todo|xfail|xpass)\b)", re.I)
# "time=34ms"
_TIME = re.compile(r"\btime=([0-9]{1,9})ms\b")
# " SKIP no REJECT target", "TODO", but not " skipping" and not " todos left"
_DIRECTIVE = re.compile(r" *(?:((?i:skip|todo|xfail|xpass))(?!\w)|(IGNORE) Flaky\b):? *(.*)$")
# What may stand before each line, as it stands before the version: digits, blanks, the rest
_PREFIX_PART = re.compile(r"[0-9]+| +|[^0-9 ]+")


def parse_result(script: str, negative: bool, number: int, text: str) -> Case:
    """The case of one result line; ``text`` is what follows the number. Unknown directives change
    nothing (ktap.rst). Of ``not ok`` only a directive behind the first ``#`` does."""
    text = text[:MAX_LINE]
    cut = _HASH.search(text)
    name, tail = (text[: cut.start()], text[cut.end() :]) if cut else (text, "")
    word = _DIRECTIVE.match(tail)
    directive = (word[1] or word[2]).lower() if word else ""
    state = State.FAIL if negative else State.PASS
    if word and (not negative or (directive in FORGIVES and "#" not in name)):
        state, tail = DIRECTIVES[directive], word[3] or word[0]
    time = _TIME.search(tail)
    tail = tidy(_TIME.sub("", tail))
    # kselftest.h prints "ok 3 # SKIP no such device", the description behind the directive
    if dash := _DASH.match(name):
        name = name[dash.end() :]
    name = tidy(name.removeprefix(f"{script}: ")) or tail or f"case {number}"
    return Case(name, state, "" if state is State.PASS else tail, float(time[1]) if time else None)


@dataclass
class _Level:
    """The results at one indentation, while they come in; ``test`` is the one that they belong to,
    where it said so before. ``count`` includes those that are not kept, ``before`` is what it was
    when the plan came."""

    indent: int
    test: str = ""
    planned: int | None = None
    plans: int = 0
    begun: bool = False
    again: bool = False
    before: int = 0
    due: int = 1
    count: int = 0
    cases: list[tuple[Case, list[Case]]] = field(default_factory=list)
    disordered: bool = False


class TapReader:
    """Collects the TAP of a log line by line. Lines before the first version or plan are not its
    business, but for results: a plan may come at the end."""

    def __init__(self, script: str) -> None:
        self.script = script
        self.levels: list[_Level] = []
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.begun = False
        self.full = False
        self.kept = 0
        self.prefix: re.Pattern[str] | None = None
        # Results without a number, before TAP begins
        self.early = 0
        # Whether the line was a result, and its level where it is kept
        self.fresh = False
        self.last: _Level | None = None

    @property
    def planned(self) -> bool:
        """Whether there is a plan at the outermost level."""
        return bool(self.levels) and self.levels[0].planned is not None

    def feed(self, line: str) -> bool:
        """One line of the log; whether it is one of TAP."""
        self.fresh, self.last = False, None
        if self.prefix and (before := self.prefix.match(line)):
            line = line[before.end() :]
        first = line.lstrip(" ")[:1]
        if first and first in "no" and (result := _RESULT.match(line)) and self._counts(result):
            self._read_result(result, len(line))
        elif first == "1" and (plan := _PLAN.match(line)):
            self._read_plan(plan)
        elif "TAP version" in line and (version := _VERSION.match(line[: 2 * MAX_LINE])):
            self._read_version(version)
        elif first and first in "Bb" and (bail := _BAIL.match(line)):
            why = tidy(bail[1]) or "without a reason"
            self._complain(f"it bailed out: {why}")
        else:
            if self.begun and first == "#" and (named := _SUBTEST.match(line[: 2 * MAX_LINE])):
                self._level(len(named[1])).test = named[2]
            if self.begun and first and len(self.notes) <= DETAIL_LINES:
                self.notes.append(clip(line))
            return False
        return True

    def end_in_line(self, line: str) -> None:
        """There is no newline behind the last line: what it says may be cut off."""
        if line and self.fresh:
            self.problems.append(f"its last line of TAP is cut off: {tidy(line)}")
            if self.last and self.last.cases[-1][0].state is not State.FAIL:
                case, below = self.last.cases[-1]
                case = replace(case, state=State.ERROR, detail="its line is cut off")
                self.last.cases[-1] = (case, below)

    def finish(self) -> list[Case]:
        """The cases in their order; what is short or long is added to ``problems``."""
        if not self.levels:
            return []
        orphans = self._close_above(self.levels[0].indent, ended=False)
        if orphans:
            self._complain(f"{len(orphans)} subtests have no result of their test")
        self._check(self.levels[0])
        return _flat(self.levels[0]) + orphans

    def _counts(self, result: re.Match[str]) -> bool:
        """Whether this is a result. Before TAP begins it has to be at the start of a line, and to
        have a number, or to be a failure; a plan may follow."""
        if self.begun and result[3]:
            return True
        good, numbered = not result[2], bool(result[3])
        odd = not numbered and result[4][:1] not in ("", " ")  # "ok-ish"
        if odd and (self.begun or not good):
            self._complain(f"a line may be a result or not: {tidy(result[0])}")
        if self.begun:
            return not (odd and good)
        self.early += not result[1] and good and not numbered
        return not result[1] and (numbered or not good)

    def _read_version(self, version: re.Match[str]) -> None:
        if version[2]:
            if self.begun:
                return
            parts = _PREFIX_PART.findall(version[2].rstrip())
            blanks = len(version[2]) - len(version[2].rstrip())
            pattern = "".join(
                "[0-9]++" if part[0].isdigit() else " *+" if part[0] == " " else re.escape(part)
                for part in parts
            )
            self.prefix = re.compile(f" *+{pattern} {{{blanks}}}")
        if version[4] not in VERSIONS[version[3]]:
            self._complain(f"nobody knows its {version[3]}TAP version {version[4]}")
        self.begun = True
        level = self._level(0 if version[2] else len(version[1]))
        level.due = 1
        level.again |= level.begun or level.count > 0 or level.planned is not None
        level.begun = True

    def _read_plan(self, plan: re.Match[str]) -> None:
        if self.early and not self.begun:
            self._complain(f"{self.early} results before its plan have no number")
        self.begun = True
        level = self._level(len(plan[1]))
        level.planned = (level.planned or 0) + int(plan[2])
        level.plans += 1
        level.before = level.count

    def _read_result(self, result: re.Match[str], length: int) -> None:
        self.fresh = True
        indent, below = min(len(result[1]), MAX_INDENT), list[Case]()
        if self.levels and indent == self.levels[-1].indent:
            level = self.levels[-1]
        else:
            below, level = self._change_level(indent)
        digits = result[3]
        number = int(digits[:MAX_DIGITS]) if digits else level.due
        if number != level.due:
            level.disordered = True
        level.due = number + 1
        level.count += 1
        if self.kept >= MAX_CASES:
            self.full = True
            self.notes.clear()
            return
        self.kept += 1
        if length > MAX_LINE:
            self._complain(f"a result is of {length} characters, of which {MAX_LINE} are read")
        case = parse_result(self.script, bool(result[2]), number, result[4])
        if level.planned is not None and level.count > level.planned and case.state is State.PASS:
            case = replace(case, state=State.ERROR, detail="it came after the last planned one")
        if case.state is not State.PASS:
            case = replace(
                case, detail=bounded([case.detail, *self.notes] if case.detail else self.notes)
            )
        self.notes.clear()
        level.cases.append((case, below))
        self.last = level

    def _change_level(self, indent: int) -> tuple[list[Case], _Level]:
        """The subtests that a result ends, and its level."""
        if not self.levels:
            return [], self._level(indent)
        if indent < self.levels[0].indent:
            self._complain("a result stands before the indentation of its plan")
        return self._close_above(max(indent, self.levels[0].indent)), self._level(indent)

    def _level(self, indent: int) -> _Level:
        indent = min(indent, MAX_INDENT)
        # What is indented less than the first line of all belongs to the outermost level as well.
        if not self.levels or indent > self.levels[-1].indent:
            self.levels.append(_Level(indent))
        for level in reversed(self.levels):
            if level.indent <= indent:
                return level
        return self.levels[0]

    def _close_above(self, indent: int, *, ended: bool = True) -> list[Case]:
        """Take away the levels deeper than this: they are the subtests of the result that is due,
        which names them. One that never comes has named itself before, or not at all."""
        below: list[Case] = []
        while self.levels[-1].indent > indent:
            level = self.levels.pop()
            self._check(level)
            below = _flat(level) + below
            if level.test and not ended:
                below = _named(level.test, below)
        return below

    def _check(self, level: _Level) -> None:
        if level.again:
            self._complain("its TAP begins again")
        if level.plans > 1:
            self._complain(f"it has {level.plans} plans")
        if 0 < level.before < level.count:
            self._complain("its plan is between its results")
        if level.planned is not None and level.planned != level.count:
            self._complain(f"its plan is of {level.planned} cases, {level.count} came")
        if level.disordered:
            self._complain("its results are not numbered one after the other")

    def _complain(self, problem: str) -> None:
        if len(self.problems) <= DETAIL_LINES and problem not in self.problems:
            self.problems.append(problem)


def _flat(level: _Level) -> list[Case]:
    """A level's cases, the subtests of each before it, named ``test.subtest``."""
    cases: list[Case] = []
    for case, below in level.cases:
        cases += [*_named(case.name, below), case]
    return cases


def _named(test: str, below: list[Case]) -> list[Case]:
    """The subtests of a test."""
    return [replace(sub, name=tidy(f"{test}.{sub.name}")) for sub in below]
