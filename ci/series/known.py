# SPDX-License-Identifier: GPL-2.0-only
"""The series of ``kernel-patches/`` that a series is, however it came: what is known of that one
then counts for it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ci.base.errors import PatchError, StageError
from ci.series.diff import diff_lines, parse_diff
from ci.series.patch import Patch
from ci.series.patches import Series, load_series

SAME, MESSAGE, CONTEXT, CHANGE = "nothing", "message", "context", "change"


@dataclass(frozen=True)
class Match:
    """How a series matches a known one: ``by`` what it was recognised, and for each number what
    differs."""

    by: str
    differs: Mapping[int, str]


def what_differs(given: Patch, known: Patch) -> str:
    """What differs between two forms of a patch: the change itself, its context alone, the message
    alone, or nothing."""
    if given.patch_id == known.patch_id:
        return SAME if given.digest == known.digest else MESSAGE
    return CONTEXT if _changed(given) == _changed(known) else CHANGE


def _changed(patch: Patch) -> list[str]:
    """What is left of a patch without its context: files, modes, and the lines that it puts in and
    takes out."""
    files = parse_diff(patch.diff)
    lines = [line.rstrip("\r") for line in diff_lines(files) if not line.startswith((" ", "@@"))]
    return [*(one.moved for one in files), *lines]


def match_series(given: Series, known: Series) -> Match | None:
    """Whether ``given`` is ``known`` or a part of it: by a message-id or the change-id, else by the
    titles and changes of all of its patches. ``None`` where nothing tells so; a patch whose change
    differs is left to the caller.
    """
    identities = {one.message_id for one in given.patches} | {given.message_id}
    theirs = {one.facts.message_id for one in known.patches} | {known.message_id}
    by = "message-id" if (identities & theirs) - {""} else ""
    if not by and given.change_id and given.change_id == known.change_id:
        by = "change-id"
    titles = {patch.title: patch for patch in known.patches}
    numbers = {patch.number: patch for patch in known.patches}
    pairs = [
        (patch, titles.get(patch.title) or (numbers.get(patch.number) if by else None))
        for patch in given.patches
    ]
    differs = {
        patch.number: what_differs(patch, other) if other else CHANGE for patch, other in pairs
    }
    if not by and all(how in (SAME, MESSAGE) for how in differs.values()):
        by = "titles and patch-ids"
    return (
        Match(by, differs)
        if by and [o.number for _, o in pairs if o] == [p.number for p in given.patches]
        else None
    )


def recognise_series(given: Series, root: Path, only: Collection[int]) -> Series:
    """``given`` with what ``kernel-patches/`` knows of it: its series.toml, backports and base
    repository. The patches stay the ones that were given."""
    for folder in sorted((root / "kernel-patches").glob("*/")):
        try:
            known = load_series(folder)
        except (StageError, PatchError) as error:
            given = _noted(
                given,
                f"not compared with kernel-patches/{folder.name}, which cannot be read:"
                f" {error.message}",
            )
            continue
        found = match_series(given, known)
        if not found:
            continue
        name = f"kernel-patches/{folder.name}"
        other = [str(number) for number, how in found.differs.items() if how == CHANGE]
        lacks = (
            [str(p.number) for p in known.patches if p.number not in found.differs]
            if not only
            else []
        )
        if other or lacks:
            what = (
                f"patch {', '.join(other)} changes other lines"
                if other
                else f"it lacks patch {', '.join(lacks)}"
            )
            return _noted(
                given, f"by its {found.by} this is {name}, but {what}: taken as a series of its own"
            )
        return _joined(given, known, found, name)
    return given


def _noted(given: Series, note: str) -> Series:
    return replace(given, notes=(*given.notes, note))


def _joined(given: Series, known: Series, found: Match, name: str) -> Series:
    """The patches of ``given`` with all else of ``known``."""
    ours = {patch.number: patch for patch in known.patches}
    kinds = {
        how: [str(n) for n, one in found.differs.items() if one == how]
        for how in (CONTEXT, MESSAGE)
    }
    parts = [f"the {how} of patch {', '.join(of)}" for how, of in kinds.items() if of]
    text = (
        f"these are the patches of {name}, by their {found.by}: its series.toml, backports and base"
        " repository count"
    )
    return replace(
        known.part(found.differs),
        folder=given.folder,
        spec=given.spec,
        patches=tuple(replace(patch, facts=ours[patch.number].facts) for patch in given.patches),
        base_commit=given.base_commit or known.base_commit,
        base_from=given.base_from if given.base_commit else "",
        others={number: (ours[number],) for number, how in found.differs.items() if how == CONTEXT},
        notes=(*given.notes, f"{text}; what differs: {' and '.join(parts) or 'nothing'}"),
    )
