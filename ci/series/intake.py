# SPDX-License-Identifier: GPL-2.0-only
"""What no honest patch holds: the rules by which a change is refused before anything is applied.
Pure.

git refuses a part of it (paths out of the tree, ``.git``), each version and platform in its own
way, and takes the rest: links that lead out, submodules, ``.gitattributes``. The rules here speak
of the text of a patch; :mod:`ci.trees.guard` asks the same of the trees that come of it, whatever a
text could hide from us.

The limits are several times what the largest of 25,000 patches had that distributions carry: 3.4
MB, 2,088 files, 5,307 hunks, 104,597 lines, 357,709 characters in a line.
"""

import base64
import itertools
import posixpath
import re
import zlib
from collections.abc import Iterable, Sequence

from ci.series.change import walk_hunks
from ci.series.diff import HUNK, FileDiff, parse_diff

MOST_BYTES = 16_000_000
MOST_FILES = 10_000
MOST_HUNKS = 50_000
MOST_LINES = 1_000_000
LONGEST_LINE = 1_000_000
# Of a file, and of all that a patch's binary parts unpack to.
MOST_FILE = 32_000_000
# git holds each copy in memory, and only `git format-patch -C` writes any.
MOST_COPIES = 64
# ext4's NAME_MAX, and far more than any path of the kernel (130).
LONGEST_NAME, LONGEST_PATH = 255, 1024
# Regular files, whatever the umask of their author was, and links; no setuid, folder, device or
# submodule (160000).
MODES = re.compile(r"100[0-7]{3}|120000")
LINK = "120000"
# new file mode 100644; index 3f9..e69 160000
_MODE_LINE = re.compile(
    r"(?:(?:old|new|new file|deleted file) mode |index [0-9a-f]+\.\.[0-9a-f]+ )(\S+)"
)
# Names that begin with .git and that neither git nor we obey.
HARMLESS = (".gitignore", ".gitkeep", ".github", ".gitlab-ci.yml")
_SHORT_GIT = re.compile(r"gi[a-z0-9]{1,4}~\d+")  # git~1, gitatt~1, gi7eba~1: NTFS's short names
# What may not stand in a title: control characters, bidi marks and line separators. (A tab, a blank
# that does not break, or a zero-width space out of a browser, may.)
_UNFIT = re.compile("[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]")
_PART = re.compile(r"(literal|delta) (\d{1,12})$")  # literal 1234, of a binary patch


def title_breach(title: str) -> str:
    """Why a title is refused, empty for none."""
    if found := _UNFIT.search(title):
        return f"a control character or bidi mark ({found[0]!a}) in the title {title[:200]!r}"
    return ""


def name_breach(name: str) -> str:
    """Why a path is refused, empty for none."""
    parts = name.split("/")
    if {"", ".", ".."} & set(parts):
        return f"a path out of the tree, or none: {name[:200]!r}"
    if not name.isprintable() or "\\" in name:
        return f"a control character, invisible character or backslash in the name {name[:200]!a}"
    if len(name) > LONGEST_PATH or max(len(part.encode()) for part in parts) > LONGEST_NAME:
        return f"a name longer than {LONGEST_NAME} bytes, or a path than {LONGEST_PATH}"
    if own := next((part for part in parts if _is_gits(part)), ""):
        return f"{own[:60]!r} in {name[:200]!r} is git's own: git may obey what stands there"
    return ""


def _is_gits(part: str) -> bool:
    """Whether git takes a part of a path for one of its own files, on any file system: HFS+ and
    NTFS ignore case, NTFS blanks and dots at the end and all behind a colon. (What HFS+ ignores is
    not printable.)"""
    folded = part.casefold().partition(":")[0].rstrip(" .")
    return part not in HARMLESS and (
        folded.startswith(".git") or _SHORT_GIT.fullmatch(folded) is not None
    )


def target_breach(name: str, target: str) -> str:
    """Why the target of the link ``name`` is refused by itself, empty for none; whether it leads
    out by way of other links, only their tree tells."""
    if target.startswith("/"):
        return f"the link {name[:200]!r} points out of the tree, to {target[:200]!r}"
    where = posixpath.normpath(posixpath.join(posixpath.dirname(name), target or "."))
    if where.split("/")[0] == "..":
        return f"the link {name[:200]!r} points out of the tree, to {target[:200]!r}"
    if ".git" in map(str.casefold, where.split("/")):
        return f"the link {name[:200]!r} points into .git, to {target[:200]!r}"
    return ""


def find_breach(change: str) -> str:
    """The rule that a change breaks, and by what; empty for none."""
    if why := _size_breach(change):
        return why
    lines = change.split("\n")
    outside, _ = walk_hunks(lines)
    files = parse_diff(change)
    for line in (lines[at] for at in outside):
        if (found := _MODE_LINE.match(line)) and not MODES.fullmatch(found[1]):
            return f"the mode {found[1][:20]!r}: files and links only, no submodule, device, setuid"
    for name in sorted({name for one in files for name in (one.old, one.new) if name}):
        if why := name_breach(name):
            return why
    links = [why for one in files if (why := _link_breach(one))]
    return links[0] if links else _binary_breach(lines, outside)


def _size_breach(change: str) -> str:
    lines = change.split("\n")
    for what, count, most in (
        ("bytes", len(change), MOST_BYTES),
        ("lines", len(lines), MOST_LINES),
        ("characters in a line", max(map(len, lines)), LONGEST_LINE),
        ("hunks", sum(1 for line in lines if HUNK.match(line)), MOST_HUNKS),
        ("files", sum(1 for line in lines if line.startswith(("diff -", "+++ "))), 2 * MOST_FILES),
        ("copies", sum(1 for line in lines if line.startswith("copy to ")), MOST_COPIES),
    ):
        if count > most:
            return f"too large: {count} {what}, and {most} are the most"
    return ""


def _link_breach(one: FileDiff) -> str:
    """What is wrong with the targets of a link, which may be put on or taken out."""
    for name, mode, sign in ((one.new, one.new_mode, "+"), (one.old, one.old_mode, "-")):
        target = "\n".join(line for hunk in one.hunks for line in hunk.side(sign))
        if name and mode == LINK and (why := target_breach(name, target)):
            return why
    return ""


def _binary_breach(lines: Sequence[str], outside: Sequence[int]) -> str:
    """Whether the binary parts of a patch say that they unpack to more than they may. git takes a
    literal only where it is as long as it says; a delta says inside how long its result is."""
    size = 0
    for at in outside:
        if found := _PART.match(lines[at]):
            size += int(found[2])
            if found[1] == "delta" and size <= MOST_FILE:
                rest = (lines[row] for row in range(at + 1, len(lines)))
                size += _delta_result(itertools.takewhile(bool, rest))
        if size > MOST_FILE:
            return f"too large: it unpacks to {size} bytes, and {MOST_FILE} are the most"
    return ""


def _delta_result(lines: Iterable[str]) -> int:
    """The size that a delta says its result has, 0 where it is damaged, which git tells. Each line
    is a letter for its length, then base 85; unpacked, it begins with two numbers of 7 bits a byte,
    the lowest first: the sizes before and after (gitformat-pack(5))."""
    try:
        packed = b"".join(base64.b85decode(line[1:]) for line in lines)
        head = zlib.decompressobj().decompress(packed, 20)
    except (ValueError, zlib.error):
        return 0
    numbers, value, shift = [], 0, 0
    for byte in head:
        value |= (byte & 0x7F) << shift
        shift += 7
        if not byte & 0x80:
            numbers.append(value)
            value = shift = 0
    return numbers[1] if len(numbers) > 1 else 0
