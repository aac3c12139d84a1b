# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's complaints on its console: one scan, which cuts out a block for each.

A block begins with a title that ``ci.logs.titles`` knows, or with a ``Call Trace:`` that belongs
to none. Each title begins one, except where it is a part of the same complaint: the ``Oops:`` of a
page fault, a panic that only carries out what the block complains of. A block ends at its end mark,
with the trace after its own, where messages were lost, or after some lines that are of no report's
form. ``ci.logs.sites`` makes its fingerprint.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from ci.base.text import SEQUENCE, escape_controls
from ci.logs.outcome import MAX_LINE
from ci.logs.sites import CUT, TRACE, Block, make_fingerprint
from ci.logs.titles import STARTS, Row, any_of, find_titles

MAX_SPLATS = 200
BLOCK_LINES = 400
EXCERPT_LINES = 60
EXCERPT_CHARS = 6000
MAX_TITLE = 200
MAX_SEEN = 100_000
PIECE = 1 << 20
NEAR = 12
DUMP_CHARS = 20


@dataclass(frozen=True)
class Splat:
    """One complaint: ``kind`` is its row's, ``title`` the line as printed (without time stamp),
    ``line`` that line's number in the console counted from 1, ``excerpt`` the block, at most 60
    lines and 6,000 characters."""

    kind: str
    title: str
    fingerprint: str
    excerpt: str
    line: int


# "<4>[    1.234567] ", "[    1.234567][    T1] ", "[   12.345678] [ C0] "; one in the middle of a
# line begins what should have been a line of its own
_STAMP = re.compile(
    r"(?:^<\d{1,3}>)?(?:(?:^|<\d>)\[ {0,8}\d{1,8}\.\d{1,9}\]|\[ {0,8}\d{1,8}\.\d{6}\])"
    r" ?(?:\[ {0,8}[TC]\d{1,9}(?:[@:/][^\]]{1,40})?\] ?)?|^<\d{1,3}>"
)
# Whose panic is only a consequence: "Kernel panic - not syncing: Fatal exception in interrupt"
_DEADLY = (
    "gpf kasan-range page-fault oops bug-on double-fault list usercopy fortify skb cfi ubsan rust"
)
_CONSEQUENCES = (
    (
        re.compile(r"(?:.*: )?Fatal exception|Attempted to kill|Aiee, killing|Oops failed to kill"),
        _DEADLY,
    ),
    (re.compile(r"softlockup: hung"), "soft-lockup"),
    (re.compile(r"scheduling while atomic"), "atomic"),
    (re.compile(r"Hard LOCKUP"), "hard-lockup"),
    (re.compile(r"hung_task: blocked"), "hung-task"),
    (re.compile(r"RCU Stall"), "rcu-stall"),
    (re.compile(r"Out of memory|System is deadlocked on memory"), "oom"),
    (re.compile(r".*(?:panic_on_warn set|warned too often)"), ""),
)
# "---[ end trace 0000000000000000 ]---"
_END = re.compile(r" {0,3}---\[ end (?:trace|Kernel panic)")
# "=================================": before and after a report
_RULE = re.compile(r"={20,}")
# "** 12 printk messages dropped **": what follows may be the trace of a title that was lost
_LOST = re.compile(r"\*\* \d+ printk messages dropped|printk: \d+ messages dropped")
# A trace follows, whatever came before: "NMI backtrace for cpu 1", "task:rcu_preempt state:R",
# "kworker/0:1     D    0    55      2"
_ANOTHER = re.compile(
    r"(?:\w+: ){0,2}NMI backtrace for cpu|task:\S{1,40} {1,20}state:"
    r"|[\w/:.-]{1,24} {1,12}[RSDTIZX] {1,4}(?:running task|stack:|\d)"
)
# What may come with a cut of its own, behind a title that belongs to it
_CUT_OFF = frozenset({"warning", "bug-on"})
# Lines of a report: indented, empty, ruled, a register, "CPU: 0 PID: 412", "f+0x1/0x2"
_FORM = re.compile(
    r" |\Z|[=*-]{3}|(?:[RE]?(?:[A-D]X|[SD]I|[SB]P|IP|FLAGS)|R\d\d|[CDEFGS]S|[CD]R\d|PKRU|CPU)\b ?:"
    r"|(?:x\d+|pc|lr|sp|rcu|raw|flags|page|task|note|kmemleak)\b ?:|\[?<?[0-9a-f]{8,16}\b"
    r"|Modules linked|Hardware name|Call |Code: |Workqueue: |irq event|Object |Redzone |Padding "
    r"|Bytes |Slab |Allocated |Freed |NMI |Sending |Showing |Mem abort|Data abort|#\d|#PF: |-> #"
    r"|\.\.\.|\d+ locks? held|PGD |Stack:|stack backtrace|[\w.]+\+0x"
    r"|INFO: (?:lockdep|Slab|Object|Freed|Allocated)"
)
# "Object   ffff888004a3c000: 6b 6b 6b 6b 6b 6b 6b 6b  kkkkkkkk": the right side is anything
_DUMP = re.compile(r".{0,60}?(?:[0-9a-f]{2} ){8}|.{0,60}?(?:[0-9a-f]{8,16} ){4}")

# A bell, a C1 byte, half a surrogate pair
_CONTROL = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass
class _Block:
    """A complaint whose lines are coming in. ``row`` is ``None`` for a trace without a title and
    for a cut whose title has not come yet."""

    row: Row | None
    groups: dict[str, str]
    title: str
    line: int
    lines: list[str]
    cut: bool = False
    left: int = 1
    traced: bool = False
    foreign: int = 0
    ended: bool = False
    taken: set[str] = field(default_factory=set)

    @property
    def kind(self) -> str:
        return self.row.kind if self.row else "warning" if self.cut else "trace"

    def add(self, text: str) -> None:
        """One more line, whatever it says."""
        self.foreign = max(0, self.foreign - 1) if _FORM.match(text) else self.foreign + 1
        if not self.ended and len(self.lines) < BLOCK_LINES:
            self.lines.append(text)
        if _ANOTHER.match(text):
            self.left = max(self.left, 1)
        if _END.match(text) or (self.traced and _RULE.match(text)):
            self.ended = True

    def is_over(self) -> bool:
        """Whether nothing that comes can still belong to it."""
        return self.foreign > NEAR

    def takes_trace(self) -> bool:
        """Whether a ``Call Trace:`` is this block's."""
        if self.ended or not self.left:
            return False
        self.left, self.traced = self.left - 1, True
        return True

    def takes_title(self, row: Row, match: re.Match[str]) -> bool:
        """Whether a title is a part of this complaint."""
        if row.kind == "panic":
            return self._carries_out(match["what"])
        if self.ended or self.row is None:
            return False
        if f"{row.kind}*" in self.row.takes:
            self.left = max(self.left, row.traces)
            return True
        takes = set(self.row.takes)
        if self.cut and self.kind not in _CUT_OFF:
            takes |= _CUT_OFF
        if len(self.lines) == 1 and f"{row.kind}=" in takes:
            takes.add(row.kind)
        near = not self.traced and self.foreign < NEAR // 2
        if near and row.kind in takes - self.taken:
            self.taken.add(row.kind)
            self.left = max(self.left, row.traces)
            return True
        return False

    def expects_cut(self) -> bool:
        """Whether a cut may still be a part of this complaint, as after ``list_del corruption``."""
        open_yet = not self.ended and not self.traced and self.foreign < NEAR // 2
        return open_yet and self.row is not None and bool(_CUT_OFF & self.row.takes - self.taken)

    def _carries_out(self, reason: str) -> bool:
        """Whether a panic is only the consequence of this complaint; then its trace follows."""
        of = next((kinds for pattern, kinds in _CONSEQUENCES if pattern.match(reason)), None)
        if of is None or self.kind == "panic" or (of and self.kind not in of.split()):
            return False
        self.ended = False
        if of != _DEADLY:
            self.left = max(self.left, 1)
        return True

    def fingerprint(self) -> str:
        found = make_fingerprint(self.row, self.groups, Block(self.title, self.lines))
        if self.row is None and self.cut:
            found = f"warning without a title {found}"
        return escape_controls(found)[:MAX_TITLE]

    def splat(self, fingerprint: str) -> Splat:
        lines = [escape_controls(line[:300]) for line in self.lines[:EXCERPT_LINES]]
        title = escape_controls(self.title[:MAX_TITLE])[:MAX_TITLE]
        return Splat(self.kind, title, fingerprint, "\n".join(lines)[:EXCERPT_CHARS], self.line)


class _Scan:
    """The state of a scan: what was found, and the block that is open."""

    def __init__(self) -> None:
        self.found: dict[str, Splat] = {}
        self.seen: set[int] = set()
        self.block: _Block | None = None
        self.line = 1
        self.full = False

    def read(self, piece: str) -> None:
        """Whole lines. Outside a block only those are looked at that may begin one."""
        at = counted = 0
        while at < len(piece) and not self.full:
            begin = at
            if self.block is None:
                if not (mark := _MARK.search(piece, at)):
                    break
                begin = piece.rfind("\n", at, mark.start()) + 1 or at
            if (end := piece.find("\n", begin)) < 0:
                end = len(piece)
            self.line += piece.count("\n", counted, begin)
            counted = begin
            self._read_line(piece[begin:end], piece[max(0, begin - 300) : begin])
            at = end + 1
        self.line += piece.count("\n", counted)

    def _read_line(self, line: str, before: str) -> None:
        for text in _STAMP.split(line):
            if text or not line:
                self._read_text(text, before)
        if self.block and self.block.is_over():
            self.keep()

    def _read_text(self, text: str, before: str) -> None:
        begun = False
        for row, match in find_titles(text):
            dumped = len(text) - match.start() <= DUMP_CHARS and _DUMP.match(text)
            if not begun and (dumped or _END.match(text)):
                break
            if not (self.block and self.block.takes_title(row, match)):
                self._begin(row, match, text)
                begun = True
        if begun:
            return
        short = text[:MAX_LINE]
        if CUT in text:
            self._read_cut(short)
        elif TRACE.match(text) and not (self.block and self.block.takes_trace()):
            self.keep()
            context = [_STAMP.sub("", line) for line in before.split("\n")[-4:-1]]
            lines = [*context, short]
            self.block = _Block(None, {}, short.strip(), self.line, lines, left=0, traced=True)
        elif _LOST.search(text):
            self.keep()
        elif self.block:
            self.block.add(short)

    def _begin(self, row: Row, match: re.Match[str], text: str) -> None:
        """A complaint begins with this title; the cut before it, if any, is its first line."""
        begin = match.start() if match.start() > MAX_TITLE // 2 else 0
        title = text[begin : begin + MAX_LINE]
        groups = {name: value or "" for name, value in match.groupdict().items()}
        lines = [title]
        cut = self.block is not None and self.block.row is None and self.block.cut
        if cut and self.block and not self.block.traced and len(self.block.lines) <= NEAR:
            lines = [*self.block.lines, title]
            self.block = None
        self.keep()
        self.block = _Block(row, groups, title.strip(), self.line, lines, bool(cut), row.traces)

    def _read_cut(self, text: str) -> None:
        """What follows a cut is a complaint, with which one may have begun before it."""
        if not (self.block and self.block.expects_cut()):
            self.keep()
            self.block = _Block(None, {}, text.strip(), self.line, [], cut=True)
        self.block.add(text)

    def keep(self) -> None:
        """Close the block that is open. The same lines again are nothing new."""
        block, self.block = self.block, None
        if not block or self.full or (same := hash((block.kind, *block.lines))) in self.seen:
            return
        if len(self.seen) < MAX_SEEN:
            self.seen.add(same)
        fingerprint = block.fingerprint()
        if fingerprint not in self.found:
            self.full = len(self.found) >= MAX_SPLATS
            if not self.full:
                self.found[fingerprint] = block.splat(fingerprint)


# What may begin a block
_MARK = re.compile(any_of({*STARTS, CUT, "Call Trace:", "Call trace:", "Backtrace: "}))


def _clean(text: str) -> str:
    """Without a terminal's sequences and what cannot be seen; a tab is a blank. Lines stay whole,
    however long: a title may be anywhere."""
    if "\x1b" in text:
        text = SEQUENCE.sub("", text)
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\t", " ")
    return _CONTROL.sub("", text)


def _pieces(console: str) -> Iterator[str]:
    """The console, cleaned, in pieces of whole lines and about a million characters."""
    at = 0
    while at < len(console):
        end = console.find("\n", at + PIECE) + 1 or len(console)
        yield _clean(console[at:end])
        at = end


def scan_console(console: str) -> tuple[Splat, ...]:
    """The distinct complaints on a console (decoded text, any line ends), in their order, at most
    200. Where there are more, the last is of the kind ``capped``, and two of them are alike only
    where all that follows is."""
    scan = _Scan()
    at = 0
    for piece in _pieces(console):
        scan.read(piece)
        if scan.full:
            break
        at += len(piece)
    scan.keep()
    found = list(scan.found.values())
    if any(splat.kind == "kmemleak" for splat in found):
        found = [splat for splat in found if splat.kind != "kmemleak-summary"]
    if scan.full:
        rest = hashlib.sha256(console[at:].encode("utf-8", "replace")).hexdigest()[:16]
        title = f"more than {MAX_SPLATS} kinds of complaints"
        found.append(Splat("capped", title, f"{title} {rest}", title, scan.line))
    return tuple(found)


def unite_scans(*scans: tuple[Splat, ...]) -> tuple[Splat, ...]:
    """The complaints of several logs of one guest, each once. One log may lack what another has of
    a report, its trace or the text of a WARN: of two with the same title the one that knows less
    falls away."""
    found: dict[str, Splat] = {}
    fuller: dict[tuple[str, str], str] = {}
    for splat in (splat for scan in scans for splat in scan):
        found.setdefault(splat.fingerprint, splat)
        key = (splat.kind, splat.title)
        fuller[key] = max(fuller.get(key, ""), splat.fingerprint, key=len)
    return tuple(
        splat
        for splat in found.values()
        if not fuller[splat.kind, splat.title].startswith(f"{splat.fingerprint} ")
    )
