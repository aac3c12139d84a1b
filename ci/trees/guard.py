# SPDX-License-Identifier: GPL-2.0-only
"""What a series made of a tree, held against the rules of :mod:`ci.series.intake`: whatever the
text of a patch could hide, its tree shows."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from ci.base.git import Git
from ci.series import intake
from ci.series.intake import LINK, MODES

# Of all files that a series changes together, and links that are followed for one path.
MOST_BYTES = 256_000_000
MOST_HOPS = 40
# That a series may make or change: the whole kernel has less than a hundred, of some bytes each.
MOST_LINKS, LONGEST_TARGET = 100, 4096


@dataclass(frozen=True)
class Breach:
    """The path that breaks a rule, empty where it is the change as a whole, and which rule."""

    path: str
    why: str


def find_breach(git: Git, before: str, after: str) -> Breach | None:
    """The first rule that the way from one tree to another breaks."""
    rows = _changed(git, before, after)
    kept = {path: row for path, row in rows.items() if row[1] != "000000"}
    for path, (_, mode, _) in kept.items():
        if why := intake.name_breach(path):
            return Breach(path, why)
        if not MODES.fullmatch(mode):
            return Breach(path, f"{path!r} has the mode {mode}: neither a file nor a link")
    if breach := _too_large(git, kept):
        return breach
    added = [path for path, (old, _, _) in kept.items() if old == "000000"]
    if added and (breach := _same_but_for_case(git, after, added)):
        return breach
    links = [path for path, (_, mode, _) in kept.items() if mode == LINK]
    if len(links) > MOST_LINKS:
        return Breach("", f"it makes {len(links)} links, and {MOST_LINKS} are the most")
    if not links:
        return None
    there = set(_outside(_links(git, before)))
    return next(
        (
            Breach(path, why)
            for path, why in _outside(_links(git, after))
            if (path, why) not in there
        ),
        None,
    )


def _changed(git: Git, before: str, after: str) -> dict[str, tuple[str, str, str]]:
    """Path -> old mode, new mode and new blob of what differs; the mode is 000000 where there is
    none."""
    words = ("diff-tree", "-r", "-z", "--no-renames", "--no-ext-diff", before, after)
    fields = iter(git.run(*words).stdout.split("\0"))
    rows = {}
    for facts in fields:  # :100644 100755 3f9... e69... M
        if facts:
            old, new, _, blob, _ = facts.split()
            rows[next(fields)] = (old[1:], new, blob)
    return rows


def _too_large(git: Git, rows: Mapping[str, tuple[str, str, str]]) -> Breach | None:
    """A file that is too large, or all of them together."""
    asked = "".join(f"{blob}\n" for _, _, blob in rows.values())
    shown = git.run("cat-file", "--batch-check=%(objectsize)", stdin=asked).stdout.split("\n")
    total = 0
    for (path, (_, mode, _)), text in zip(rows.items(), shown, strict=False):
        size = int(text) if text.isdecimal() else 0  # "missing", in a clone that is not whole
        most = LONGEST_TARGET if mode == LINK else intake.MOST_FILE
        total += size
        if size > most:
            return Breach(path, f"{path!r} has {size} bytes, and {most} are the most")
    if total > MOST_BYTES:
        return Breach("", f"its files have {total} bytes, and {MOST_BYTES} are the most")
    return None


def _same_but_for_case(git: Git, tree: str, added: Iterable[str]) -> Breach | None:
    """A new name that another one differs from in case alone: what a disk that ignores case holds,
    and what make reads (makefile, Makefile), would then be the other."""
    words = ("ls-tree", "-r", "-t", "-z", "--name-only", tree)
    folded: dict[str, list[str]] = {}
    for name in git.run(*words).stdout.split("\0"):
        folded.setdefault(name.casefold(), []).append(name)
    for path in added:
        parts = path.casefold().split("/")
        for n in range(len(parts)):
            names = folded["/".join(parts[: n + 1])]
            if len(names) > 1:
                return Breach(path, f"{names[0]!r} and {names[1]!r} differ in case alone")
    return None


def _links(git: Git, tree: str) -> dict[str, str]:
    """Path -> target of all links of a tree."""
    rows = git.run("ls-tree", "-r", "-z", tree).stdout.split("\0")
    links = [(row.split("\t", 1)[1], row.split()[2]) for row in rows if row.startswith(LINK)]
    read = {blob: git.run("cat-file", "blob", blob).stdout for blob in {blob for _, blob in links}}
    return {path: read[blob] for path, blob in links}


def _outside(links: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The links that lead out of their tree, also by way of others, and why."""
    for path, target in links.items():
        why = intake.target_breach(path, target) or _led_out(links, path)
        if why:
            yield path, why


def _led_out(links: Mapping[str, str], path: str) -> str:
    """Where a link leads to, step by step as the kernel goes; what is not there counts as a
    folder."""
    here: list[str] = []
    ahead = path.split("/")[::-1]
    hops = 0
    while ahead:
        part = ahead.pop()
        if part == ".." and not here:
            return f"the link {path!r} points out of the tree, by way of other links"
        if part in ("", "."):
            continue
        if part == "..":
            here.pop()
            continue
        here.append(part)
        target = links.get("/".join(here))
        if target is not None:
            hops += 1
            if hops > MOST_HOPS:
                return f"the link {path!r} leads to itself, or through more than {MOST_HOPS} links"
            if target.startswith("/"):
                return f"the link {path!r} points out of the tree, by way of {'/'.join(here)!r}"
            here.pop()
            ahead += target.split("/")[::-1]
    if ".git" in map(str.casefold, here[:1]):
        return f"the link {path!r} points into .git, by way of other links"
    return ""
