# SPDX-License-Identifier: GPL-2.0-only
"""What ``series.toml`` says of a series beyond its patches; each key is read here, and an unknown
one is refused."""

import re
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ci.base.errors import StageError

Version = tuple[int, int]
SERIES_TOML = "series.toml"
MAX_BYTES = 1_000_000
# Key -> its type; a list's says of what.
TOP = {
    "name": str,
    "base_commit": str,
    "base_url": str,
    "change_id": str,
    "message_id": str,
    "suite": str,
    "patch": [dict],
    "must_flip": [dict],
    "allow": [dict],
}
PATCH = {
    "number": int,
    "message_id": str,
    "fixes": str,
    "affects_since": str,
    "introduced": dict,
    "depends": [int],
}
INTRODUCED = {"path": str, "text": str}
FLIP = {"script": str, "case": str, "patches": [int]}
ALLOW = {"script": str, "case": str, "why": str}
WORDS = {str: "a text", int: "a number", dict: "a table"}


@dataclass(frozen=True)
class PatchFacts:
    """``since`` is the first affected kernel version (``None``: every one), ``fixes`` the commit
    that came with it, ``introduced`` a path of the tree and a text in it that came with what the
    patch fixes, ``depends`` the patches without which this one is not needed."""

    message_id: str = ""
    fixes: str = ""
    since: Version | None = None
    introduced: tuple[str, str] | None = None
    depends: tuple[int, ...] = ()


@dataclass(frozen=True)
class MustFlip:
    """A case that has to go from fail on base to pass on patched; it speaks where all of
    ``patches`` are affected."""

    script: str
    case: str
    patches: tuple[int, ...] = ()


@dataclass(frozen=True)
class Allowed:
    """A case that the series may take out of the tests, or turn from pass to fail in the form that
    the base tree's script has; without a case, the whole script. ``why`` is for people."""

    script: str
    case: str
    why: str


@dataclass(frozen=True)
class Facts:
    """The whole file; empty where there is none."""

    name: str = ""
    base_commit: str = ""
    base_url: str = ""
    change_id: str = ""
    message_id: str = ""
    suite: str = ""
    patches: Mapping[int, PatchFacts] = field(default_factory=dict)
    must_flip: tuple[MustFlip, ...] = ()
    allowed: tuple[Allowed, ...] = ()


def parse_version(text: str, where: str) -> Version:
    """``5.14`` or ``v5.14`` as ``(5, 14)``; a :class:`StageError` that names ``where``
    otherwise."""
    found = re.fullmatch(r"v?(\d{1,3})\.(\d{1,4})", text, re.ASCII)  # v5.14
    if not found:
        raise StageError("series", f"{where}: {text!r} is not a kernel version such as 5.14")
    return int(found[1]), int(found[2])


def _is(value: object, kind: type) -> bool:
    """Whether ``value`` is of the kind: a text of one line, or a number that is no truth value."""
    if kind is str:
        return isinstance(value, str) and value.isprintable()
    return type(value) is kind


def _checked(table: Mapping[str, Any], allowed: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    """``table``, all of whose keys are ``allowed`` and of the type that they should be."""
    for key, value in table.items():
        if key not in allowed:
            raise StageError(
                "series", f"{where}: unknown key {key!r}; known are {', '.join(sorted(allowed))}"
            )
        kind = allowed[key]
        one = kind[0] if isinstance(kind, list) else kind
        sound = (
            isinstance(value, list) and all(_is(row, one) for row in value)
            if isinstance(kind, list)
            else _is(value, one)
        )
        if not sound:
            words = f"a list, each row {WORDS[one]}" if isinstance(kind, list) else WORDS[one]
            raise StageError(
                "series", f"{where}: {key} has to be {words}, not {str(value)[:100]!r}"
            )
    return table


def _patch(row: Mapping[str, Any], numbers: Collection[int], where: str) -> PatchFacts:
    """What a row of ``[[patch]]`` says."""
    introduced = _checked(row.get("introduced", {}), INTRODUCED, f"{where}: introduced")
    if introduced and set(introduced) != set(INTRODUCED):
        raise StageError("series", f"{where}: introduced needs path and text")
    if unknown := [number for number in row.get("depends", ()) if number not in numbers]:
        raise StageError("series", f"{where}: depends on {unknown[0]}, and there is no such patch")
    return PatchFacts(
        message_id=row.get("message_id", ""),
        fixes=row.get("fixes", ""),
        since=parse_version(row["affects_since"], where) if "affects_since" in row else None,
        introduced=(introduced["path"], introduced["text"]) if introduced else None,
        depends=tuple(row.get("depends", ())),
    )


def _flip(row: Mapping[str, Any], numbers: Collection[int], where: str) -> MustFlip:
    """A row of ``[[must_flip]]``."""
    _checked(row, FLIP, where)
    if not {"script", "case"} <= set(row):
        raise StageError("series", f"{where} needs script and case")
    if unknown := [number for number in row.get("patches", ()) if number not in numbers]:
        raise StageError(
            "series",
            f"{where} of {row['case']!r}: there is no patch {unknown[0]}; with that number the case"
            " would never be looked at",
        )
    return MustFlip(row["script"], row["case"], tuple(row.get("patches", ())))


def _allow(row: Mapping[str, Any], where: str) -> Allowed:
    """A row of ``[[allow]]``."""
    _checked(row, ALLOW, where)
    if not row.get("script") or not row.get("why"):
        raise StageError("series", f"{where} needs script and why")
    return Allowed(row["script"], row.get("case", ""), row["why"])


def read_manifest(path: Path, numbers: Collection[int]) -> Facts:
    """The file at ``path`` for a series whose patches have ``numbers``; a :class:`StageError` names
    what is wrong."""
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            raise StageError("series", f"{path}: no file of less than {MAX_BYTES // 1_000_000} MB")
        table = _checked(tomllib.loads(path.read_bytes().decode()), TOP, str(path))
    except (OSError, ValueError, RecursionError) as error:  # a number of 5,000 digits, too
        raise StageError("series", f"{path}: {error}") from None
    base = table.get("base_commit", "")
    if base and not re.fullmatch(r"[0-9a-f]{40}", base):
        raise StageError(
            "series", f"{path}: base_commit {base[:60]!r} is no full commit id (40 hex digits)"
        )
    patches: dict[int, PatchFacts] = {}
    for row in table.get("patch", []):
        _checked(row, PATCH, f"{path}: [[patch]]")
        number = row.get("number")
        if number not in numbers or number in patches:
            what = "is there twice" if number in patches else "has no patch file"
            raise StageError("series", f"{path}: [[patch]] number {number} {what}")
        patches[number] = _patch(row, numbers, f"{path}: patch {number}")
    flips = tuple(
        _flip(row, numbers, f"{path}: [[must_flip]]") for row in table.get("must_flip", [])
    )
    words = {
        key: table.get(key, "")
        for key in ("name", "base_commit", "base_url", "change_id", "message_id", "suite")
    }
    allowed = tuple(_allow(row, f"{path}: [[allow]]") for row in table.get("allow", []))
    return Facts(**words, patches=patches, must_flip=flips, allowed=allowed)
