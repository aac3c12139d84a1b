# SPDX-License-Identifier: GPL-2.0-only
"""A test case and the text it is made of: the leaf that the readers of logs share.

Logs are hostile: what is kept of them is cleaned and bounded here, in linear time, and nothing
raises.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

MAX_NAME = 200
MAX_LINE = 2000
DETAIL_LINES = 40
DETAIL_CHARS = 4096


# "\x1b[1;32m", "\x1b]0;title\x07", "\x1bM"
_ANSI = re.compile(r"\x1b(?:\[[0-?]*+[ -/]*+[@-~]|\][^\x07\x1b\r\n]*+(?:\x07|\x1b\\)|[@-Z\\^_])")
# A bell, a C1 byte, a line separator, a right-to-left override, half a surrogate pair
_CONTROL = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)


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


def clean_lines(text: str) -> list[str]:
    """The lines of a log without colours, control characters and carriage returns; tabs are
    blanks."""
    text = _ANSI.sub("", text).replace("\r\n", "\n").replace("\r", "\n").replace("\t", " ")
    return _CONTROL.sub("", text).split("\n")


def tidy(name: str) -> str:
    """A name in one form: single blanks, at most 200 characters."""
    return " ".join(name[: 4 * MAX_NAME].split())[:MAX_NAME].rstrip()


def bounded(lines: Iterable[str]) -> str:
    """The first 40 lines, or 4096 characters, of a detail."""
    kept: list[str] = []
    for line in lines:
        if len(kept) == DETAIL_LINES:
            kept.append("[...]")
            break
        kept.append(line[:MAX_LINE].rstrip())
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
