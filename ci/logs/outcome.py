# SPDX-License-Identifier: GPL-2.0-only
"""A test case and the text it is made of: the leaf that the readers of logs share.

Logs are hostile: what is kept of them is cleaned and bounded here, in linear time, and nothing
raises.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from ci.base.text import SEQUENCE, escape_controls

MAX_NAME = 200
MAX_LINE = 2000
DETAIL_LINES = 40
DETAIL_CHARS = 4096
# So many characters of a log, and so many cases of a script, are read; what is beyond is told.
MAX_TEXT = 1 << 26
MAX_CASES = 10_000
CUT = "[...]"
# What a serial port may leave at the ends of a line: "\x00", "\x1b", "\x9b"
_NOISE = "".join(map(chr, (*range(32), *range(127, 160))))


class State(StrEnum):
    """What is known of a case on one kernel. FLAKY: the script itself says so of a failure.
    UNSTEADY: it came out in one way in one attempt, and otherwise in another. ERROR: we could not
    find out. MISSING: it did not come up."""

    PASS = "pass"
    FAIL = "fail"
    SKIP = "skip"
    FLAKY = "flaky"
    UNSTEADY = "unsteady"
    ERROR = "error"
    MISSING = "missing"


@dataclass(frozen=True)
class Case:
    """One case: its name within its script, and why it is what it is (at most 40 lines, 4 KB).
    ``time_ms`` is guest time. ``attempts`` are, of an unsteady one, those in which it did not pass:
    ``seed 2``."""

    name: str
    state: State
    detail: str = ""
    time_ms: float | None = None
    attempts: tuple[str, ...] = ()


class CaseList:
    """Cases as they come up, the first 10000 of them; ``full``: there are more."""

    def __init__(self) -> None:
        self.cases: list[Case] = []
        self.full = False

    def add(self, case: Case) -> None:
        """One more; each has a name."""
        if not case.name:
            case = replace(case, name="a case without a name")
        if len(self.cases) < MAX_CASES:
            self.cases.append(case)
        else:
            self.full = True


def clean_lines(text: str) -> list[str]:
    """The lines of a log: without a terminal's sequences and carriage returns, a tab is a blank,
    and other control characters are escaped."""
    return list(each_line(text))


def each_line(text: str) -> Iterator[str]:
    """The same, one after the other: a log may have a million."""
    if "\x1b" in text:
        text = SEQUENCE.sub("", text)
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", " ")
    begin = 0
    while (end := text.find("\n", begin)) >= 0:
        line = text[begin:end]
        yield line if line.isprintable() else _escaped(line)
        begin = end + 1
    yield _escaped(text[begin:])


def _escaped(line: str) -> str:
    return escape_controls(line.strip(_NOISE)[: 4 * MAX_LINE])


def tidy(name: str) -> str:
    """A name in one form: single blanks, at most 200 characters; one that is cut ends so:
    ``[...]``."""
    short = " ".join(name[: 4 * MAX_NAME].split())
    if len(short) > MAX_NAME or len(name) > 4 * MAX_NAME:
        short = short[: MAX_NAME - len(CUT)] + CUT
    return short


def is_cut(name: str) -> bool:
    """Whether :func:`tidy` cut a name."""
    return name.endswith(CUT)


def clip(line: str) -> str:
    """A line of at most 2000 characters; one that is cut ends so: ``[...]``."""
    return line if len(line) <= MAX_LINE else line[: MAX_LINE - len(CUT)] + CUT


def bounded(lines: Iterable[str]) -> str:
    """The first 40 lines, or 4096 characters, of a detail."""
    kept: list[str] = []
    for line in lines:
        if len(kept) == DETAIL_LINES:
            kept.append(CUT)
            break
        kept.append(clip(line.rstrip()))
    return "\n".join(kept)[:DETAIL_CHARS].strip("\n")


def unique(cases: Iterable[Case], taken: str) -> tuple[Case, ...]:
    """The cases under names that occur once: a repeat gets `` (2)``, the next `` (3)``. ``taken``
    is the script's."""
    used, next_of, named = {taken}, {taken: 2}, []
    for case in cases:
        name, count = case.name, next_of.get(case.name, 1)
        while name in used:
            count = max(count, 2)
            name, count = f"{case.name} ({count})", count + 1
        next_of[case.name] = count
        used.add(name)
        named.append(replace(case, name=name))
    return tuple(named)
