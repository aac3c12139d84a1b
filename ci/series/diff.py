# SPDX-License-Identifier: GPL-2.0-only
"""The text of a change taken apart into files and hunks; pure. What it reads may be hostile: a hunk
is as long as its header counts, no name is used as one of a file here, and what is no part of a
change is passed over. Git alone changes trees.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

# @@ -10,6 +10,9 @@ int f(void)
HUNK = re.compile(r"@@ -(\d{1,9})(?:,(\d{1,9}))? \+(\d{1,9})(?:,(\d{1,9}))? @@.*")
_QUOTED = re.compile(r'\\([0-7]{3}|[abfnrtv"\\])')
_ESCAPES = {"a": 7, "b": 8, "t": 9, "n": 10, "v": 11, "f": 12, "r": 13, '"': 34, "\\": 92}
_BLOBS = re.compile(
    r"index ([0-9a-f]{4,64})\.\.([0-9a-f]{4,64})(?: (\d{6}))?$"
)  # index 3f9..e69 100644
NULL = "/dev/null"


@dataclass(frozen=True)
class Hunk:
    """``lines`` begin with a blank, ``+`` or ``-`` each; ``old`` and ``new`` are the first line's
    numbers, from 1; ``heading`` is what stands behind the second ``@@`` of ``header``, mostly the
    function's head.
    """

    old: int
    new: int
    header: str
    lines: tuple[str, ...]

    @property
    def heading(self) -> str:
        return self.header.partition(" @@")[2].strip()

    def side(self, sign: str) -> Iterator[str]:
        """The lines before (``-``) or after (``+``) the change, without their first character."""
        return (line[1:] for line in self.lines if line[0] in (" ", sign))

    def only(self, sign: str) -> Iterator[str]:
        """The lines that are removed or added."""
        return (line[1:] for line in self.lines if line[0] == sign)


@dataclass(frozen=True)
class FileDiff:
    """The change of one file; ``old`` is empty where it is created, ``new`` where it is deleted.
    Modes and blobs are as the text has them, empty where it does not say. ``bare`` hunks end
    without a newline on a side."""

    old: str = ""
    new: str = ""
    old_mode: str = ""
    new_mode: str = ""
    blobs: tuple[str, str] = ("", "")
    moved: str = ""
    binary: bool = False
    bare: bool = False
    hunks: tuple[Hunk, ...] = ()

    @property
    def name(self) -> str:
        """What the file is known by."""
        return self.new or self.old


def line_key(line: str) -> str:
    """What makes two lines the same: all but white space."""
    return "".join(line.split())


def tells_something(key: str) -> bool:
    """Whether a line says anything at all: ``}`` and ``*/`` stand everywhere."""
    return sum(map(str.isalnum, key[:64])) >= 3


def _unquoted(text: str) -> str:
    """A name as git or diff writes it, out of its quotes and without a time stamp."""
    if not text.startswith('"'):
        return text.split("\t")[0].rstrip("\r")
    raw = text[1:].rpartition('"')[0].encode("utf-8", "surrogateescape").decode("latin-1")
    escape = _QUOTED.sub(lambda found: chr(_ESCAPES.get(found[1]) or int(found[1], 8) & 255), raw)
    return escape.encode("latin-1").decode("utf-8", "surrogateescape")


def bare_name(text: str) -> str:
    """The name without its first part (``a/``, ``linux.orig/``); empty for no file."""
    name = _unquoted(text)
    return "" if name == NULL else name.partition("/")[2] or name


def _of_git(line: str) -> FileDiff:
    """The names in ``diff --git a/NAME b/NAME``; further lines correct them where they differ."""
    rest = line.removeprefix("diff --git ").rstrip("\r")
    if rest.startswith('"'):
        old, _, new = rest.partition('" ')
        return FileDiff(bare_name(f'{old}"'), bare_name(new))
    half = (len(rest) - 1) // 2
    old, new = (
        (rest[:half], rest[half + 1 :])
        if rest[half : half + 1] == " "
        else rest.partition(" ")[::2]
    )
    return FileDiff(bare_name(old), bare_name(new))


def hunk_end(lines: Sequence[str], head: int) -> tuple[int, bool]:
    """The index behind the hunk whose header is at ``head``, and whether the hunk is whole: as long
    as its header says."""
    found = HUNK.match(lines[head])
    assert found
    old, new = (int(found[n]) if found[n] else 1 for n in (2, 4))
    at = head + 1
    while (old > 0 or new > 0) and at < len(lines):
        mark = lines[at][:1]
        # A blank line that has lost its blank still is one, but not the end of the text.
        if mark == " " or (not lines[at] and at < len(lines) - 1) or lines[at] == "\r":
            old, new = old - 1, new - 1
        elif mark == "-":
            old -= 1
        elif mark == "+":
            new -= 1
        elif mark != "\\":
            return at, False
        if old < 0 or new < 0:
            return at, False
        at += 1
    while at < len(lines) and lines[at].startswith("\\ "):  # \ No newline at end of file
        at += 1
    return at, old == new == 0


def _hunk(lines: list[str], head: int) -> tuple[Hunk, int, bool]:
    """The hunk whose header is at ``head``, where the next thing begins, and whether a side lacks
    its last newline."""
    found = HUNK.match(lines[head])
    assert found
    end, _ = hunk_end(lines, head)
    rows = [line if line.rstrip("\r") else f" {line}" for line in lines[head + 1 : end]]
    body = tuple(row for row in rows if row[0] != "\\")
    return (
        Hunk(int(found[1]), int(found[3]), found[0].rstrip("\r"), body),
        end,
        len(body) < len(rows),
    )


def _begins(lines: list[str], at: int) -> bool:
    """Whether ``--- a/NAME``, ``+++ b/NAME`` and a hunk begin here."""
    return (
        lines[at].startswith("--- ")
        and at + 2 < len(lines)
        and lines[at + 1].startswith("+++ ")
        and bool(HUNK.match(lines[at + 2]))
    )


def _with_header_line(one: FileDiff, line: str) -> FileDiff:
    """The file with what a line of git's header says of it."""
    line = line.rstrip("\r")
    if found := _BLOBS.match(line):
        mode = found[3] or ""
        return replace(
            one,
            blobs=(found[1], found[2]),
            old_mode=one.old_mode or mode,
            new_mode=one.new_mode or mode,
        )
    if found := re.match(r"(old|deleted file) mode (\d{6})$", line):  # deleted file mode 100644
        one = replace(one, old_mode=found[2], new="" if found[1] != "old" else one.new)
    if found := re.match(r"(new|new file) mode (\d{6})$", line):
        one = replace(one, new_mode=found[2], old="" if found[1] != "new" else one.old)
    for kind in ("rename", "copy"):
        if line.startswith(f"{kind} from "):
            one = replace(one, old=_unquoted(line.removeprefix(f"{kind} from ")), moved=kind)
        if line.startswith(f"{kind} to "):
            one = replace(one, new=_unquoted(line.removeprefix(f"{kind} to ")), moved=kind)
    return replace(one, binary=one.binary or line.startswith(("GIT binary patch", "Binary files ")))


def parse_diff(text: str) -> tuple[FileDiff, ...]:
    """The files of a change, with or without ``diff --git`` lines; never an error: git says what is
    wrong with it."""
    lines = text.split("\n")  # not splitlines: a form feed is part of a line
    files: list[FileDiff] = []
    hunks: list[list[Hunk]] = []  # of each file
    at, open_header = 0, False
    while at < len(lines):
        line = lines[at]
        if line.startswith("diff --git "):
            files.append(_of_git(line))
            hunks.append([])
            open_header = True
        elif _begins(lines, at):
            old, new = bare_name(line[4:]), bare_name(lines[at + 1][4:])
            if not open_header:
                files.append(FileDiff())
                hunks.append([])
            if not files[-1].moved:
                files[-1] = replace(files[-1], old=old, new=new)
            open_header, at = False, at + 2
            continue
        elif files and not open_header and HUNK.match(line):
            hunk, at, bare = _hunk(lines, at)
            hunks[-1].append(hunk)
            files[-1] = replace(files[-1], bare=True) if bare else files[-1]
            continue
        elif open_header:
            files[-1] = _with_header_line(files[-1], line)
            open_header = not files[-1].binary
        at += 1
    return tuple(replace(one, hunks=tuple(of)) for one, of in zip(files, hunks, strict=True))


def file_names(files: Iterable[FileDiff]) -> list[str]:
    """All names in a change that a tree can have; git refuses the others, such as ``../x``."""
    given = {name for one in files for name in (one.old, one.new) if name}
    return sorted(
        name
        for name in given
        if not {"", ".", "..", ".git"} & set(name.split("/")) and "\0" not in name
    )


def diff_lines(files: Iterable[FileDiff]) -> Iterator[str]:
    """A change as lines to compare with another: no line numbers, no blobs."""
    for one in files:
        yield f"--- {one.old or NULL}"
        yield f"+++ {one.new or NULL}"
        if one.old_mode != one.new_mode:
            yield f"mode {one.old_mode or '-'} => {one.new_mode or '-'}"
        if one.binary:
            yield "binary"
        for hunk in one.hunks:
            yield "@@"
            yield from hunk.lines
