# SPDX-License-Identifier: GPL-2.0-only
"""What a selftest printed, as cases: (K)TAP, and what a collection's own reader makes of its other
lines.

MPTCP's scripts keep their TAP in memory and print it as their last act
(tools/testing/selftests/net/mptcp/mptcp_lib.sh, mptcp_lib_result_print_all_tap), so a script that
dies leaves only its live lines: ``12 some title      [ OK ]``, or in mptcp_join.sh a numbered title
with one line per check below. Both are read here and give the same names; where there is TAP, it
has the last word, but for failures that only the live lines show. The exit statuses are those of
tools/testing/selftests/kselftest.h.

The text is hostile: everything is bounded, every pass is linear, nothing raises.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from ci.logs.outcome import (
    MAX_CASES,
    MAX_TEXT,
    Case,
    State,
    bounded,
    clip,
    each_line,
    is_cut,
    unique,
)
from ci.logs.tap import TapReader

# kselftest.h: KSFT_PASS 0, KSFT_FAIL 1, KSFT_XFAIL 2, KSFT_XPASS 3, KSFT_SKIP 4.
STATUS = {0: State.PASS, 1: State.FAIL, 2: State.PASS, 3: State.FAIL, 4: State.SKIP}
# Of a script that prints no TAP; a shell ends with 2 where it cannot read the script on.
PLAIN_STATUS = {0: State.PASS, 1: State.FAIL, 4: State.SKIP}
# "[    1.234567] ", "[    1.234567][    T1] "
_STAMP = re.compile(r"^\[ *\d{1,12}\.\d{1,9}\](?:\[ *[TC]\d{1,9}\])? ?", re.M)
LAST_LINES = 15


class LineReader(Protocol):
    """Makes cases of what a script prints besides TAP. It is fed cleaned lines of bounded length,
    and has at most 10000 cases."""

    @property
    def full(self) -> bool:
        """Whether there are more cases than are read."""

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


def parse_kernel(script: str, console: str) -> ScriptResult:
    """The result of the kernel's own tests (KUnit), from all that its console shows. They have no
    exit status: ``own`` fails where a case does, is skipped where the kernel has no test, and is an
    ERROR where the plan is short, long or missing."""
    tap = TapReader(script)
    # KTAP counts the blanks behind the time of each line.
    last = _feed(_STAMP.sub("", console), tap, None, expect_tap=True)
    cases = tap.finish()
    limits = _limits(console, cases, full=tap.full)
    unplanned = [] if tap.planned else ["the kernel's console shows no plan of its tests"]
    problems = (*unplanned, *tap.problems, *limits)
    failed = [case.name for case in cases if case.state is State.FAIL]
    if problems:
        own = Case(script, State.ERROR, bounded([*problems, *last]))
    elif failed:
        own = Case(script, State.FAIL, bounded(failed))
    else:
        own = Case(script, State.PASS if cases else State.SKIP)
    return ScriptResult(script, own, unique(cases, script), problems)


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
    - ``own`` is the exit status (0 pass, 1 fail, 2 pass, 3 fail, 4 skip; without TAP 0, 1 and 4
      alone), or ERROR where that is none of these, or where the text contradicts it: a plan that is
      short or long, status 0 beside a failed case, without cases or without a plan, fewer failures
      in the TAP than before it, or where it is too much to be read. Status 1 needs no proof, and a
      script that stops early plans only for what it ran: both are plain failures.
    """
    tap = TapReader(script)
    last = _feed(text, tap, live, expect_tap=expect_tap)
    meaning = STATUS if expect_tap or tap.planned else PLAIN_STATUS
    complete = tap.begun or (not expect_tap and exit_status in meaning)
    lived = live.finish(exit_status, complete=complete, tap=expect_tap)
    cases = tap.finish()
    limits = _limits(text, cases + lived, full=tap.full or live.full)
    lived = list(unique(lived, script))
    final = tap.begun and expect_tap
    conflict = list(_conflict(cases, lived)) if final else []
    cases = _merged(list(unique(cases, script)), lived, whole=final and not tap.problems)
    doubts = _doubts(exit_status, cases, tap=tap.planned, expect_tap=expect_tap)
    problems = (*doubts, *tap.problems, *conflict, *limits)
    state = State.ERROR if problems else meaning.get(exit_status or 0, State.FAIL)
    detail = "" if state is State.PASS else bounded([*problems, *last])
    return ScriptResult(script, Case(script, state, detail), tuple(cases), problems)


def _feed(text: str, tap: TapReader, live: LineReader | None, *, expect_tap: bool) -> list[str]:
    """Give the lines to their readers; the last of them, for people. TAP is the last act of a
    script that prints it, but a script without any may start a program that does."""
    last: list[str] = []
    whole = text[:MAX_TEXT]
    for line in each_line(whole):
        if not tap.feed(line) and live and not (tap.begun and expect_tap):
            live.feed(clip(line))
        if line and not line.isspace():
            last.append(line)
            if len(last) > 2 * LAST_LINES:
                del last[:LAST_LINES]
    # The line behind the last newline: an empty one, where nothing is cut off.
    tap.end_in_line(line)
    return [clip(line) for line in last[-LAST_LINES:]]


def _limits(text: str, cases: Sequence[Case], *, full: bool) -> Iterator[str]:
    """What is not read, as it is too much."""
    if len(text) > MAX_TEXT:
        yield f"it printed {len(text)} characters, of which {MAX_TEXT} are read"
    if full:
        yield f"it has more than {MAX_CASES} cases; the others are not read"
    if cut := next((case.name for case in cases if is_cut(case.name)), ""):
        yield f"a name is too long, and cut: {cut}"


def _conflict(cases: Sequence[Case], lived: Sequence[Case]) -> Iterator[str]:
    """A script whose TAP tells of fewer failures than its lines before: somebody else wrote one of
    the two."""
    before, after = (sum(case.state is State.FAIL for case in some) for some in (lived, cases))
    if before > after:
        yield f"its lines show {before} failed cases, its TAP {after}"


def _doubts(status: int | None, cases: Sequence[Case], *, tap: bool, expect_tap: bool) -> list[str]:
    """What keeps an exit status from being believed: outcomes are earned."""
    if status is None:
        return ["no exit status came back"]
    failed = sum(case.state is State.FAIL for case in cases)
    open_ended = sum(case.state is State.ERROR for case in cases)
    plain = not (tap or expect_tap)
    meaning = PLAIN_STATUS if plain else STATUS
    if status not in meaning:
        # Some scripts without TAP end with the number of the test that failed.
        if plain and failed and 0 < status < 126:
            return []
        signal = f" (signal {status - 128})" if 128 < status < 193 else ""
        return [f"it ended with status {status}{signal}" + (", without TAP" if plain else "")]
    doubts = []
    if failed and meaning[status] is not State.FAIL:
        doubts.append(f"it ended with status {status} although {failed} of its cases failed")
    if meaning[status] is State.PASS:
        if open_ended:
            doubts.append(
                f"it ended with status {status} although {open_ended} of its cases have no result"
            )
        if not cases:
            doubts.append(f"it ended with status {status} and printed no case")
        elif expect_tap and not tap:
            doubts.append(f"it ended with status {status} and printed no TAP plan")
    return doubts


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
