# SPDX-License-Identifier: GPL-2.0-only
"""Whether a tree's files have a change in another form, or can take it in one; pure. No git here:
what comes out is the new content of files, and words on what was adapted or what is missing."""

import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ci.series.diff import FileDiff, Hunk, file_names, line_key, tells_something
from ci.trees.place import Stand, Text, find_stands, function_of, line_keys, proving_keys, rows_of

MOST_TOLD = 3


@dataclass(frozen=True)
class Fit:
    """The files as they become: path -> mode and content, None where the file goes; ``notes`` say
    what was adapted."""

    files: Mapping[str, tuple[str, str] | None]
    notes: tuple[str, ...]


class _Work:
    """One change on its way out of (``sign`` is ``+``) or into (``-``) some files."""

    def __init__(self, files: Sequence[FileDiff], sign: str, texts: Mapping[str, Text]) -> None:
        self.sign, self.other, self.texts = sign, "-" if sign == "+" else "+", texts
        self.proofs = proving_keys(files)
        # What has to be gone: the lines of the other side that no side keeps.
        self.gone = line_keys(files, self.other) - line_keys(files, sign, " ")
        self.edits: dict[str, list[tuple[int, int, tuple[str, ...]]]] = {}
        self.files: dict[str, tuple[str, str] | None] = {}
        self.notes: list[str] = []

    def hunk(self, one: FileDiff, number: int, hunk: Hunk) -> bool:
        """Whether the hunk stands at one place, in its own file or else in one other; the place is
        noted."""
        own = self.texts.get(one.new if self.sign == "+" else one.old)
        found = self._good(hunk, own) if own else []
        if not found:
            others = [
                text
                for text in self.texts.values()
                if text is not own and _took_over(hunk, own, text)
            ]
            found = [stand for text in others for stand in self._good(hunk, text)]
            best = max((stand.score for stand in found), default=0.0)
            found = [stand for stand in found if stand.score == best]
        if len(found) != 1:
            return False
        (stand,) = found
        self.edits.setdefault(stand.text.path, []).extend(stand.edits)
        if stand.text is not own or not stand.whole:
            inside, of = stand.context
            self.notes.append(
                f"hunk {number} of {one.name} is at {stand.where}, {inside} of {of} lines of"
                " context are there"
            )
        elif not _as_it_is(hunk.side(self.sign), stand):
            self.notes.append(
                f"hunk {number} of {one.name} is at {stand.where}, with other white space"
            )
        return True

    def _good(self, hunk: Hunk, text: Text) -> list[Stand]:
        """Where the hunk stands in a file and nothing speaks against it."""
        if any(stand.whole for stand in find_stands(hunk, self.other, text)):
            return []  # what is on the other side of it is there just so
        own = {row.key for row in rows_of(hunk, self.sign)[0] if row.block >= 0}
        return [
            stand
            for stand in find_stands(hunk, self.sign, text)
            if (
                self.sign == "-"
                or own & self.proofs
                or stand.context[0] == stand.context[1] > 0
                or not own
            )
            and not any(
                key in self.gone for line, key in text.rows if stand.first <= line <= stand.last
            )
        ]

    def whole(self, one: FileDiff) -> bool:
        """A file that is created or deleted: it is just so, or not there."""
        if not file_names([one]):
            return False  # git refuses it, such as ../x
        here = bool(one.new) == (self.sign == "+")  # whether the file is to go
        path, text = one.name, self.texts.get(one.name)
        lines = [line for hunk in one.hunks for line in hunk.only("+" if one.new else "-")]
        if here:
            if text is None or [key for _, key in text.rows] != [
                key for line in lines if (key := line_key(line))
            ]:
                return False
            self.files[path] = None
            return True
        if text is not None:
            return False
        content = "".join(f"{line}\n" for line in lines)
        self.files[path] = (
            one.new_mode or one.old_mode or "100644",
            content[:-1] if one.bare else content,
        )
        return True

    def mode(self, one: FileDiff) -> bool:
        """The file's mode, where the change has one; False where nothing else shows it and the
        tree's is another."""
        is_, becomes = (
            (one.new_mode, one.old_mode) if self.sign == "+" else (one.old_mode, one.new_mode)
        )
        text = self.texts.get(one.name)
        if is_ == becomes or not text:
            return bool(one.hunks)
        if text.mode != is_:
            self.notes.append(f"{one.name} has mode {text.mode} instead of {is_}")
            return bool(one.hunks)
        self.files[one.name] = (becomes, "".join(text.lines))
        return True

    def done(self) -> Fit | None:
        """All edits made; None where two hunks claim the same lines."""
        for path, edits in self.edits.items():
            text, lines = self.texts[path], list(self.texts[path].lines)
            edits.sort()
            if any(one[1] > two[0] or one[:2] == two[:2] for one, two in itertools.pairwise(edits)):
                return None
            if any("\ufffd" in line for line in lines):
                # bytes that are no UTF-8 were read as this; they could not be written back
                return None
            for start, end, put in reversed(edits):
                lines[start:end] = [f"{line}\n" for line in put]
            mode = (self.files.get(path) or (text.mode, ""))[0]
            self.files[path] = (mode, "".join(lines))
        return Fit(self.files, tuple(self.notes))


def _took_over(hunk: Hunk, own: Text | None, other: Text) -> bool:
    """Whether a hunk's code went from its own file to another: its function did or, where neither
    has that, more than half of its context. A file that merely looks like its neighbour took
    nothing over."""
    name = function_of(hunk.heading)
    if name and ((own and name in own.functions) or name in other.functions):
        return not (own and name in own.functions)
    context = {
        key for line in hunk.lines if line[0] == " " and tells_something(key := line_key(line[1:]))
    }
    left = sum(key in own.where for key in context) if own else 0
    return 2 * left < len(context)


def _as_it_is(side: Iterable[str], stand: Stand) -> bool:
    """Whether the lines of a hunk's side are there with the same white space."""
    lines = {line.rstrip("\n") for line in stand.text.lines[stand.first : stand.last + 1]}
    return all(line in lines for line in side)


def fit_change(files: Sequence[FileDiff], sign: str, texts: Mapping[str, Text]) -> Fit | None:
    """Take a change out of files that have it (``+``) or put it on files that it was not made for
    (``-``); None where it cannot be told, hunk by hunk, that it is there or where it belongs."""
    work = _Work(files, sign, texts)
    for one in files:
        if one.moved or one.binary:
            return None
        if not one.old or not one.new:
            if not work.whole(one):
                return None
        elif not work.mode(one) or not all(
            work.hunk(one, number, hunk) for number, hunk in enumerate(one.hunks, 1)
        ):
            return None
    if sign == "+" and not work.proofs:
        return None  # what it adds, it has elsewhere too: nothing shows it
    return work.done()


def missing_parts(
    files: Sequence[FileDiff], texts: Mapping[str, Text], absent: Collection[str]
) -> list[str]:
    """What a change needs and the tree does not have, files (``absent``) and functions, with the
    file that has the code."""
    words: dict[str, None] = {}
    for one in files:
        own = texts.get(one.old)
        if one.old in absent:
            home = _home(one, texts)
            words[f"the tree has no {one.old}" + (f"; its code is in {home}" if home else "")] = (
                None
            )
        for name in dict.fromkeys(function_of(hunk.heading) for hunk in one.hunks) if own else ():
            if name and own and name not in own.functions:
                homes = [text.path for text in texts.values() if name in text.functions]
                words[
                    f"{one.old} has no {name}()" + (f"; it is in {homes[0]}" if homes else "")
                ] = None
    return list(words)


def _home(one: FileDiff, texts: Mapping[str, Text]) -> str:
    """The file that has at least half of the lines that a file's hunks are about."""
    wanted = line_keys([one], " ", "-") or line_keys([one], "+")
    share = {path: sum(key in text.where for key in wanted) for path, text in texts.items()}
    best = max(share, key=lambda path: share[path], default="")
    return best if wanted and best and 2 * share[best] >= len(wanted) else ""


def shortfall(files: Sequence[FileDiff], texts: Mapping[str, Text]) -> str:
    """``6 of 7 added lines are there, at net/mptcp/pm.c:410``; empty where none is."""
    places: list[str] = []
    found_keys: set[str] = set()
    proofs = proving_keys(files)
    for one in files:
        wanted = proofs & line_keys([one], "+")
        text = max(
            texts.values(),
            key=lambda text: (sum(key in text.where for key in wanted), text.path == one.new),
            default=None,
        )
        key_at = (
            {
                text.rows[text.where[key][0]][0]: key
                for key in wanted - found_keys
                if key in text.where
            }
            if text
            else {}
        )
        found_keys |= set(key_at.values())
        lines = sorted(key_at)
        begins = [
            line for before, line in zip([-9, *lines], lines, strict=False) if line > before + 2
        ]
        places += [f"{text.path}:{line + 1}" for line in begins] if text else []
    if not found_keys:
        return ""
    more = f" and {len(places) - MOST_TOLD} more places" if len(places) > MOST_TOLD else ""
    return (
        f"{len(found_keys)} of {len(proofs)} added lines are there, at"
        f" {', '.join(places[:MOST_TOLD])}{more}"
    )


def all_kept(given: Sequence[FileDiff], made: Sequence[FileDiff]) -> bool:
    """Whether all that shows a change is in what was made of it: no line that it alone adds or
    removes was lost."""
    return all(proving_keys(given, sign) <= line_keys(made, sign) for sign in ("+", "-"))


def same_change(given: Sequence[FileDiff], made: Sequence[FileDiff]) -> bool:
    """Whether two changes do the same, whatever their context and their files."""
    return all(proving_keys(given, sign) == proving_keys(made, sign) for sign in ("+", "-"))
