# SPDX-License-Identifier: GPL-2.0-only
"""The user's list of what may fail: each row with a reason, a link and a day on which it ends."""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime
from pathlib import Path

from ci.base.errors import StageError
from ci.base.records import from_facts

MAX_BYTES = 1_000_000


@dataclass(frozen=True)
class AllowedRow:
    """A row: ``script`` and ``case`` are shell patterns, of a complaint of the kernel ``kernel``
    and how reports name it. ``until`` is the last day on which the row holds."""

    script: str
    case: str
    why: str
    link: str
    until: date


@dataclass(frozen=True)
class AllowList:
    """What a file allows. ``known`` are (script, case, reason with its link) of the rows that hold
    today; ``notes`` tell of those that have ended."""

    path: Path | None = None
    known: tuple[tuple[str, str, str], ...] = ()
    notes: tuple[str, ...] = ()


def read_allow(text: str) -> AllowList:
    """The list in a TOML file with tables ``[[allow]]``; empty: none. A :class:`StageError` names
    the file, the row and what is wrong with it."""
    if not text:
        return AllowList()
    path, today = Path(text).resolve(), datetime.now(UTC).date()
    rows = list(_read_rows(path))
    known = tuple(
        (row.script, row.case, f"{row.why} ({row.link}, until {row.until})")
        for row in rows
        if row.until >= today
    )
    notes = tuple(
        f"{path.name}: allowed until {row.until}, no more: {row.script}: {row.case} ({row.link})"
        for row in rows
        if row.until < today
    )
    return AllowList(path, known, notes)


def _read_rows(path: Path) -> Iterator[AllowedRow]:
    """The rows of the file, each whole."""
    where = f"--allow {path}"
    try:
        if not path.is_file() or path.stat().st_size > MAX_BYTES:
            raise StageError("options", f"{where}: no file of less than {MAX_BYTES // 10**6} MB")
        table = tomllib.loads(path.read_bytes().decode())
    except (OSError, ValueError, RecursionError) as error:
        raise StageError("options", f"{where}: {error}") from None
    rows = table.get("allow", [])
    if set(table) - {"allow"} or not isinstance(rows, list):
        raise StageError("options", f"{where}: give tables [[allow]], and nothing else")
    names = {field.name for field in fields(AllowedRow)}
    for number, row in enumerate(rows, start=1):
        try:
            made = from_facts(row, AllowedRow)
        except ValueError as error:
            raise StageError("options", f"{where}: [[allow]] {number}: {error}") from None
        texts = (made.script, made.case, made.why, made.link)
        if set(row) - names or not all(text.strip() and text.isprintable() for text in texts):
            what = "script, case, why and link, each a line of text, and until, a day as 2027-01-31"
            raise StageError("options", f"{where}: [[allow]] {number}: give {what}")
        yield made
