# SPDX-License-Identifier: GPL-2.0-only
"""The change in the text of a patch: where it begins, and what is wrong with one that git refuses.
Pure.

``git mailinfo`` lets the change begin at the first line that looks like a diff, and ``git apply``
takes every diff that it finds from there on. A message that quotes a diff would thus change files.
What format-patch writes tells more: the message ends at a line ``---``, and a diffstat follows,
before the change itself.
"""

import bisect
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ci.series.diff import HUNK, bare_name, hunk_end

SEPARATOR = re.compile(r"---\s*")
DIFFSTAT = re.compile(
    r" \d+ files? changed(?:, \d+ \w+\([+-]\))*\s*"
)  # " 2 files changed, 3 insertions(+)"
COMBINED = re.compile(r"(?:diff --(?:cc|combined) |@@@ )")
BINARY = re.compile(r"(?:Binary files|Files) .* differ\s*$")
COMMIT = re.compile(r"commit [0-9a-f]{40}\b")  # what git log and git show begin with
GIT_NAMES = re.compile(r"diff --git (\S+) (\S+)$")  # diff --git a/net/core.c b/net/core.c
NAME = re.compile(r"(?:---|\+\+\+) ([^\t\n]+)")  # --- a/net/core.c<tab>2025-01-01
WRAPPED_AT = 60


@dataclass(frozen=True)
class Separated:
    """``change`` begins with its first diff, empty for none; ``message`` is what of the commit
    message stood before it, and ``quoted`` the files of the diffs in there."""

    message: str
    quoted: tuple[str, ...]
    change: str


@dataclass(frozen=True)
class Broken:
    """A hunk that does not hold what its header says: the index of the header and of the first line
    that is not of it."""

    head: int
    end: int


def walk_hunks(lines: Sequence[str]) -> tuple[list[int], list[Broken]]:
    """Indexes of the lines that stand in no whole hunk, and the hunks that are broken."""
    outside, broken, at, in_file = [], [], 0, False
    while at < len(lines):
        if in_file and HUNK.match(lines[at]):
            end, whole = hunk_end(lines, at)
            if whole:
                at = end
                continue
            broken.append(Broken(at, end))
        in_file = lines[at].startswith("+++ ")
        outside.append(at)
        at += 1
    return outside, broken


def _begins(lines: Sequence[str], at: int) -> bool:
    """Whether a diff of a file begins at ``at``."""
    if lines[at].startswith(("diff -", "Index: ")):
        return True
    return (
        lines[at].startswith("--- ")
        and lines[at + 1 : at + 2] != []
        and lines[at + 1].startswith("+++ ")
    )


def _message_end(
    lines: Sequence[str], begins: Sequence[int], outside: Sequence[int], broken: Sequence[Broken]
) -> int:
    """Index of the line behind which the change begins, the first that can be it; -1 for none. A
    line ``---`` in a hunk that is broken may be a line ``--`` that was taken out: it counts only
    where a diffstat follows."""
    stats = [at for at in outside if begins and at < begins[-1] and DIFFSTAT.fullmatch(lines[at])]
    doubtful = {at for one in broken for at in range(one.head, one.end)}
    for at in outside:
        if not begins or at > begins[-1]:
            break
        if SEPARATOR.fullmatch(lines[at]):
            follow, stat = begins[bisect.bisect(begins, at)], bisect.bisect(stats, at)
            if at not in doubtful or (stat < len(stats) and stats[stat] < follow):
                return at
    return stats[0] if stats else -1


def _named(lines: Sequence[str], at: int) -> str:
    """The file of the diff that begins at ``at``."""
    if lines[at].startswith("--- "):
        return bare_name(lines[at + 1][4:]) or bare_name(lines[at][4:])
    return lines[at].split()[-1].removeprefix("b/")


def separate_change(text: str, *, mail: bool = True) -> Separated:
    """What ``git mailinfo`` took for the change, as what is still of the message, and the change.
    All that stands behind the message counts, as it does for ``git am``. What is no ``mail`` has no
    message: each diff counts, as for patch and quilt.
    """
    lines = text.split("\n")
    outside, broken = walk_hunks(lines)
    begins = [at for at in outside if _begins(lines, at)]
    end = _message_end(lines, begins, outside, broken) if mail else -1
    first = next((at for at in begins if at > end), len(lines))
    quoted = dict.fromkeys(_named(lines, at) for at in begins if at < end)
    return Separated("\n".join(lines[: max(end, 0)]), tuple(quoted), "\n".join(lines[first:]))


def with_crs(change: str) -> str:
    """The change with a CR at the end of each line of its hunks, as a file with CRLF has them."""
    lines = change.split("\n")
    outside = set(walk_hunks(lines)[0])
    whole = enumerate(lines)
    return "\n".join(
        line if at in outside or line.startswith(("@@", "\\")) else f"{line}\r"
        for at, line in whole
    )


def with_git_heads(change: str) -> str:
    """The change as git writes it: each file's diff behind a ``diff --git`` line, which quilt
    leaves out. git finds the id of a patch only with these, and so it is the same with and
    without."""
    lines = change.split("\n")
    outside, has_git, made = set(walk_hunks(lines)[0]), False, []
    for at, line in enumerate(lines):
        if at in outside and line.startswith("diff --git "):
            has_git = True
        if at in outside and line.startswith("--- ") and _begins(lines, at):
            old, new = bare_name(line[4:]), bare_name(lines[at + 1][4:])
            if not has_git:
                made.append(f"diff --git a/{old or new} b/{new or old}")
                made += (
                    ["new file mode 100644"]
                    if not old
                    else ["deleted file mode 100644"]
                    if not new
                    else []
                )
                line, lines[at + 1] = (
                    f"--- a/{old}" if old else line,
                    f"+++ b/{new}" if new else lines[at + 1],
                )
            has_git = False
        made.append(line)
    return "\n".join(made)


def refusal_reason(change: str) -> str:
    """Why such a change is not taken, whatever git says; empty for none."""
    lines = change.split("\n")
    outside, _ = walk_hunks(lines)
    for at in outside:
        line = lines[at]
        if COMBINED.match(line):
            return (
                "it is the combined diff of a merge (--cc), which no tool can apply; give the"
                " commits that were merged, or `git diff MERGE^1 MERGE`"
            )
        if BINARY.match(line):
            return (
                f"{line.strip()!r}: what is binary is not in it; write it with `git format-patch`"
                " or `git diff --binary`"
            )
        if _bare_names(lines, at):
            return (
                f"{line.strip()!r}: its names have no prefix such as a/ and b/; write it without"
                " --no-prefix"
            )
    last = max((at for at in outside if _begins(lines, at)), default=-1)
    if any(COMMIT.match(lines[at]) for at in outside if at < last):
        return (
            "it holds several commits, as `git log -p` shows them; write them with `git"
            " format-patch`"
        )
    return ""


def _bare_names(lines: Sequence[str], at: int) -> bool:
    """Whether a line that names the two sides of a file does so without a prefix."""
    if pair := GIT_NAMES.match(lines[at]):
        old, new = pair[1], pair[2]
    elif lines[at].startswith("--- ") and _begins(lines, at):
        names = [NAME.match(lines[i]) for i in (at, at + 1)]
        old, new = (found[1].strip() if found else "" for found in names)
    else:
        return False
    return old == new != "" and not old.startswith(("a/", "b/", "/dev/null"))


def find_fault(change: str) -> tuple[str, str]:
    """What is wrong with a change that git cannot read, and the line where it shows; empty where it
    looks sound."""
    lines = change.split("\n")
    _, broken = walk_hunks(lines)
    if not broken:
        return "", ""
    one = broken[0]
    line, before = (lines[one.end], lines[one.end - 1]) if one.end < len(lines) else ("", lines[-1])
    ended = (
        not line
        or before == "-- "
        or line.startswith(("diff ", "-- ", "--- ", "@@ "))
        or one.end >= len(lines) - 1
    )
    if ended or line.startswith(("+", "-", " ")):
        return (
            (
                f"the hunk {lines[one.head].strip()!r} has other line counts than it says: it was"
                " edited, or cut short"
            ),
            lines[one.head],
        )
    if len(before) >= WRAPPED_AT:
        return (
            (
                f"the line before {line[:60]!r} was wrapped, by a mailer most likely; send it"
                " unwrapped"
            ),
            line,
        )
    return (
        (
            f"the line {line[:60]!r} in a hunk begins with no blank, + or -: white space was"
            " mangled, or lines wrapped"
        ),
        line,
    )
