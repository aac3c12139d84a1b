# SPDX-License-Identifier: GPL-2.0-only
"""Where the hunks of a change stand in the files of a tree that has them, or what they are made
for, in another form; pure.

A hunk *stands* at a place of a file when all of its own lines (those that it adds, for what is
there; those that it removes, for what it fits on) are there as whole lines: the lines of a block
together, the blocks in their order and close to each other; when at least half of its context is
around them, in order, and touches each block; and when it is the function that the hunk names, if
the file has that one. White space and blank lines do not count.
"""

import functools
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ci.series.diff import FileDiff, Hunk, line_key, tells_something

SKIP = 4  # rows that may be between two lines of context that are neighbours in the hunk
SLACK = 10  # rows that may be between context and a block, or two blocks
MOST_PLACES = 64  # a line that is more often in a file tells no place
# static int mptcp_pm_parse(struct sock *sk, - not a label, a declaration or a use of a macro
_FUNCTION = re.compile(r"(?=[A-Za-z_$])[^;:(]*?\b([A-Za-z_]\w*)\s*\([^;]*$")


@dataclass(frozen=True)
class Row:
    """A line that is not blank, by its key; ``block`` numbers the hunk's own lines, and is -1 for
    context."""

    key: str
    block: int


@dataclass(frozen=True)
class Block:
    """One change of a hunk: its own rows ``first`` to ``last`` (exclusive), what stands on the
    other side, the blank lines that go with it (before its rows, behind them) and those between it
    and the context before."""

    first: int
    last: int
    put: tuple[str, ...]
    blanks: tuple[int, int]
    away: int


@dataclass(frozen=True)
class Text:
    """A file of the tree: lines with their ends, and the keys of those that are not blank, in order
    and by place."""

    path: str
    mode: str
    lines: Sequence[str]
    rows: Sequence[tuple[int, str]] = field(repr=False)
    where: Mapping[str, Sequence[int]] = field(repr=False)

    @classmethod
    def of(cls, path: str, mode: str, content: str) -> "Text":
        """The file with its index."""
        lines = re.findall(
            r"[^\n]*\n|[^\n]+", content
        )  # not splitlines: a form feed is part of a line
        rows = [(number, key) for number, line in enumerate(lines) if (key := line_key(line))]
        where: dict[str, list[int]] = {}
        for place, (_, key) in enumerate(rows):
            where.setdefault(key, []).append(place)
        return cls(path, mode, lines, rows, where)

    def key(self, place: int) -> str:
        """The key of a row, empty outside of the file."""
        return self.rows[place][1] if 0 <= place < len(self.rows) else ""

    def function(self, line: int) -> str:
        """The function that a line is in, as far as one can see; empty for none."""
        for number in range(line, -1, -1):
            if found := _FUNCTION.match(self.lines[number]):
                return found[1]
        return ""

    @functools.cached_property
    def functions(self) -> frozenset[str]:
        """The functions that begin in the file."""
        return frozenset(filter(None, map(function_of, self.lines)))


@dataclass(frozen=True)
class Stand:
    """A place where a hunk stands: ``edits`` replace lines from ``start`` to ``end`` (exclusive,
    from 0) by others."""

    text: Text
    edits: tuple[tuple[int, int, tuple[str, ...]], ...]
    first: int
    last: int
    context: tuple[int, int]
    whole: bool

    @property
    def score(self) -> float:
        """The share of the context that is there."""
        return self.context[0] / self.context[1] if self.context[1] else 1.0

    @property
    def where(self) -> str:
        """``net/mptcp/pm.c:410``, where the first change is."""
        return f"{self.text.path}:{self.edits[0][0] + 1}"


def function_of(line: str) -> str:
    """The function that begins on a line or is named in a hunk's header; empty for none."""
    found = _FUNCTION.match(line)
    return found[1] if found else ""


def rows_of(hunk: Hunk, sign: str) -> tuple[list[Row], list[Block]]:
    """A side of the hunk: rows, and the changes in them. ``sign`` is what its own lines begin
    with."""
    rows: list[Row] = []
    blocks: list[Block] = []
    away, at = 0, 0
    while at < len(hunk.lines):
        if hunk.lines[at][0] == " ":
            key = line_key(hunk.lines[at][1:])
            away = 0 if key else away + 1
            rows += [Row(key, -1)] if key else []
            at += 1
            continue
        end = at
        while end < len(hunk.lines) and hunk.lines[end][0] != " ":
            end += 1
        own = [line_key(line[1:]) for line in hunk.lines[at:end] if line[0] == sign]
        put = tuple(line[1:] for line in hunk.lines[at:end] if line[0] != sign)
        full = [place for place, key in enumerate(own) if key]
        blanks = (full[0], len(own) - 1 - full[-1]) if full else (len(own), 0)
        blocks.append(Block(len(rows), len(rows) + len(full), put, blanks, away))
        rows += [Row(own[place], len(blocks)) for place in full]
        away, at = 0, end
    return rows, blocks


def _walk(rows: Sequence[Row], text: Text, at: int, place: int, step: int) -> dict[int, int] | None:
    """Rows -> rows of the file, from a known pair on in one direction; None where an own line is
    missing."""
    mapped: dict[int, int] = {}
    while 0 <= at + step < len(rows):
        before, at = rows[at], at + step
        row = rows[at]
        same = row.block >= 0 and row.block == before.block
        reach = (
            1
            if same
            else 1 + SLACK
            if row.block >= 0
            else 1 + SKIP
            if tells_something(row.key)
            else 1
        )
        found = None
        for away in range(1, reach + 1):
            if text.key(place + step * away) == row.key and (
                same or _stands(rows, text, at, place + step * away, step)
            ):
                found = place + step * away
                break
        if found is not None:
            mapped[at] = place = found
        elif row.block >= 0:
            return None
    return mapped


def _stands(rows: Sequence[Row], text: Text, at: int, place: int, step: int) -> bool:
    """Whether the whole block that begins with a row stands at a place; context is a block of
    one."""
    block = rows[at].block
    while block >= 0 and 0 <= at < len(rows) and rows[at].block == block:
        if text.key(place) != rows[at].key:
            return False
        at, place = at + step, place + step
    return True


def _pivots(rows: Sequence[Row], text: Text) -> Iterator[tuple[int, int]]:
    """Pairs to begin from: the rarest own line, which has to be there; without own lines the three
    rarest of context."""
    own = [at for at, row in enumerate(rows) if row.block >= 0]
    seen = {at: len(text.where.get(rows[at].key, ())) for at in own or range(len(rows))}
    if own and not all(seen.values()):
        return
    usable = [at for at in seen if own or (seen[at] and tells_something(rows[at].key))]
    for at in sorted(usable, key=lambda at: seen[at])[: 1 if own else 3]:
        if seen[at] <= MOST_PLACES:
            yield from ((at, place) for place in text.where[rows[at].key])


def find_stands(hunk: Hunk, sign: str, text: Text) -> list[Stand]:
    """Where the hunk stands in the file, the best first; of several as good as the first, all."""
    rows, blocks = rows_of(hunk, sign)
    named = "" if any(function_of(line[1:]) for line in hunk.lines) else function_of(hunk.heading)
    named = named if named in text.functions else ""
    found: dict[tuple[int, ...], Stand] = {}
    for at, place in _pivots(rows, text):
        back, on = _walk(rows, text, at, place, -1), _walk(rows, text, at, place, 1)
        if back is None or on is None:
            continue
        mapped = back | {at: place} | on
        stand = _stand(
            rows, blocks, mapped, text, (hunk.lines[0][0] != " ", hunk.lines[-1][0] != " ")
        )
        if stand and stand.score >= 0.5 and (not named or text.function(stand.first) == named):
            found[tuple(edit[0] for edit in stand.edits)] = stand
    best = max((stand.score for stand in found.values()), default=0.0)
    return [stand for stand in found.values() if stand.score == best]


def _stand(
    rows: Sequence[Row],
    blocks: Sequence[Block],
    mapped: Mapping[int, int],
    text: Text,
    ends: tuple[bool, bool],
) -> Stand | None:
    """The place that a mapping means; None where a change has no place of its own. ``ends`` tell
    whether the hunk is at the beginning and at the end of its file, as it has no context there."""
    edits = []
    for block in blocks:
        edit = _edit(block, rows, mapped, text)
        if not edit:
            return None
        edits.append(edit)
    if not edits or any(one[1] > two[0] for one, two in itertools.pairwise(edits)):
        return None
    context = [at for at, row in enumerate(rows) if row.block < 0 and tells_something(row.key)]
    places = sorted(mapped.values())
    return Stand(
        text,
        tuple(edits),
        text.rows[places[0]][0],
        text.rows[places[-1]][0],
        (sum(at in mapped for at in context), len(context)),
        len(mapped) == len(rows) == places[-1] - places[0] + 1
        and (not ends[0] or places[0] == 0)
        and (not ends[1] or places[-1] == len(text.rows) - 1),
    )


def _edit(
    block: Block, rows: Sequence[Row], mapped: Mapping[int, int], text: Text
) -> tuple[int, int, tuple[str, ...]] | None:
    """What a change replaces; its neighbours have to be where they are in the hunk: one of them for
    lines that are found themselves, both for a place between lines."""
    before, behind = mapped.get(block.first - 1), mapped.get(block.last)
    has = (block.first > 0, block.last < len(rows))
    if block.first < block.last:
        first, last = mapped[block.first], mapped[block.last - 1]
        if any(has) and before != first - 1 and behind != last + 1:
            return None
        start, end = text.rows[first][0], text.rows[last][0] + 1
    else:
        if not any(has) or (has[0] and before is None) or (has[1] and behind is None):
            return None
        if before is not None and behind is not None and behind != before + 1:
            return None
        start = (
            text.rows[before][0] + 1
            if before is not None
            else text.rows[behind][0]
            if behind is not None
            else 0
        )
        for _ in range(block.away if before is not None else 0):
            start += start < len(text.lines) and not line_key(text.lines[start])
        end = start
    for _ in range(block.blanks[0] if block.first < block.last else 0):
        start -= start > 0 and not line_key(text.lines[start - 1])
    for _ in range(block.blanks[1] if block.first < block.last else block.blanks[0]):
        end += end < len(text.lines) and not line_key(text.lines[end])
    return start, end, block.put


def line_keys(files: Sequence[FileDiff], *signs: str) -> frozenset[str]:
    """The keys of all lines of a change that begin with one of the signs and say something."""
    lines = (line for one in files for hunk in one.hunks for line in hunk.lines if line[0] in signs)
    return frozenset(key for line in lines if tells_something(key := line_key(line[1:])))


def proving_keys(files: Sequence[FileDiff], sign: str = "+") -> frozenset[str]:
    """The own lines that show whether a change is there: those which it has on no other side."""
    return line_keys(files, sign) - line_keys(files, " ", "-" if sign == "+" else "+")
