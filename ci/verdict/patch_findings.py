# SPDX-License-Identifier: GPL-2.0-only
"""What tools say of one patch, which rejects nothing by itself: their lines read into findings, and
those that are new with the patch. Pure."""

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace

from ci.base.text import printable

WARNING, CHECKPATCH, SPARSE, SPEC, FIXES = (
    "warning",
    "checkpatch",
    "sparse",
    "netlink spec",
    "Fixes",
)
MOST_FINDINGS, MOST_CHARS = 50, 300
_FILE = r"(?P<file>\w[\w.+-]*(?:/\w[\w.+-]*)*)"
# net/mptcp/pm.c:12:5: warning: unused variable 'x' [-Wunused-variable]; kernel-doc names no column
_MESSAGE = re.compile(
    rf"{_FILE}:(?P<line>\d{{1,9}}):(?:\d{{1,9}}:)?"
    r" (?P<word>warning|error|fatal error): (?P<text>.+)",
    re.ASCII,
)
# Warning: net/mptcp/pm.c:12 function parameter 'x' not described in 'f': kernel-doc since 6.16
_OF_DOC = re.compile(
    rf"(?P<word>[Ww]arning|[Ee]rror): {_FILE}:(?P<line>\d{{1,9}}) (?P<text>.+)",
    re.ASCII,
)
# net/mptcp/pm.c:12: WARNING:LONG_LINE: line length of 101 exceeds 100 columns; no file where it is
# of the message
_TERSE = re.compile(
    r"(?P<file>.{0,1024}?):(?P<line>\d{1,9}): (?:ERROR|WARNING|CHECK):(?P<text>[A-Z0-9_]+: .+)"
)
# What checkpatch finds missing in the message it tells at the end, of the last file.
_OF_MESSAGE = "MISSING_SIGN_OFF:"
_QUOTES = str.maketrans("\u2018\u2019", "''")
_PLACE = re.compile(r"(\.[chS]):\d+(?::\d+)?")


@dataclass(frozen=True, order=True)
class PatchFinding:
    """What a tool says of a patch. ``kind`` is ``warning`` (the compiler's and kernel-doc's),
    ``checkpatch``, ``sparse``, ``netlink spec`` or ``Fixes``. ``file`` is one of the tree, empty
    where it is the patch's message; ``line`` is 0 where there is none; ``text`` is one line."""

    kind: str
    file: str
    line: int
    text: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(part for part in (self.kind, place, self.text) if part)


def make_finding(kind: str, text: str, file: str = "", line: int = 0) -> PatchFinding:
    """A finding whose text, and whose file's name, may be anything."""
    return PatchFinding(kind, printable(file)[:MOST_CHARS], line, printable(text)[:MOST_CHARS])


def parse_messages(kind: str, lines: Iterable[str]) -> Iterator[PatchFinding]:
    """What gcc, kernel-doc or sparse says, files as they name them. An error keeps that word."""
    for line in lines:
        if found := _MESSAGE.fullmatch(line) or _OF_DOC.fullmatch(line):
            error = "" if found["word"].lower() == "warning" else "error: "
            text = error + found["text"].translate(_QUOTES)
            yield make_finding(kind, text, found["file"], int(found["line"]))


def parse_checkpatch(output: str, files: Collection[str]) -> Iterator[PatchFinding]:
    """What checkpatch says of a patch that changes ``files``, asked with --terse, --showfile and
    --show-types."""
    for line in output.splitlines():
        if not (found := _TERSE.fullmatch(line)):
            continue
        if found["file"] in files and not found["text"].startswith(_OF_MESSAGE):
            yield make_finding(CHECKPATCH, found["text"], found["file"], int(found["line"]))
        else:
            yield make_finding(CHECKPATCH, found["text"])


def new_messages(
    before: Iterable[PatchFinding], after: Iterable[PatchFinding]
) -> Iterator[PatchFinding]:
    """What is said after a patch and was not before. A line that moved is the same, and what is
    said of a line once for each object that includes it is one. Of several that are the same, the
    last are the new ones."""
    known = Counter(map(_without_lines, set(before)))
    for one in sorted(set(after)):
        same = _without_lines(one)
        if known[same] > 0:
            known[same] -= 1
        else:
            yield one


def _without_lines(one: PatchFinding) -> PatchFinding:
    return replace(one, line=0, text=_PLACE.sub(r"\1", one.text))


def limit_findings(found: Iterable[PatchFinding]) -> tuple[PatchFinding, ...]:
    """At most ``MOST_FINDINGS``, of which the last then tells how many more there are."""
    every = tuple(found)
    if len(every) <= MOST_FINDINGS:
        return every
    kept, more = every[: MOST_FINDINGS - 1], every[MOST_FINDINGS - 1 :]
    return (*kept, make_finding(more[0].kind, f"and {len(more)} more findings of this patch"))
