# SPDX-License-Identifier: GPL-2.0-only
"""The branches that a series may have to go to: rows of ``ci/commands/branches.toml``, or named on
the command line."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ci.base.errors import StageError
from ci.base.git import split_remote
from ci.trees.fetch import KINDS

TABLE = Path(__file__).with_name("branches.toml")
FIELDS = {"name", *KINDS}
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}")  # 6.1, v5.14, linux-next


@dataclass(frozen=True)
class Branch:
    """One row. ``sources`` are what ``--source`` takes, the preferred one first."""

    name: str
    sources: tuple[str, ...]


def read_branches(path: Path = TABLE) -> Mapping[str, Branch]:
    """All rows by their names; a :class:`StageError` names the row that is wrong."""
    try:
        rows = tomllib.loads(path.read_text(encoding="utf-8")).get("branch", [])
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise StageError("plan", f"{path}: {error}") from None
    found: dict[str, Branch] = {}
    for number, row in enumerate(rows, start=1):
        name = row.get("name", "")
        if (
            not all(isinstance(value, str) for value in row.values())
            or not NAME.fullmatch(name)
            or name in found
        ):
            raise StageError(
                "plan",
                f"{path}: branch {number} needs a name of its own, in letters, digits, dots and -",
            )
        if not set(row) & set(KINDS) or set(row) - FIELDS:
            raise StageError(
                "plan",
                f"{path}: branch {name}: it takes name, git and debian, and needs one of the two",
            )
        found[name] = Branch(name, tuple(f"{kind}:{row[kind]}" for kind in KINDS if kind in row))
    return found


def select_branches(words: str, kind: str = "auto") -> tuple[Branch, ...]:
    """``all``, or names such as ``6.1,6.12`` and new ones such as ``mine=git:file:///linux@next``,
    in this order. ``kind`` keeps the sources of that kind alone; a branch that has none stays, with
    no source."""
    rows = read_branches()
    if kind not in ("auto", *KINDS):
        raise StageError(
            "options",
            f"--source {kind}: there are auto, {' and '.join(KINDS)}; a branch of your own is "
            "--branches NAME=git:URL@REF",
        )
    chosen: dict[str, Branch] = dict(rows) if words == "all" else {}
    for word in words.split(",") if words != "all" else ():
        name, equals, source = word.strip().partition("=")
        if equals and NAME.fullmatch(name) and source.partition(":")[0] in KINDS:
            if source.startswith("git:"):
                split_remote(source.removeprefix("git:"), f"--branches {word!r}")
            chosen[name] = Branch(name, (source,))
        elif not equals and name in rows:
            chosen[name] = rows[name]
        else:
            raise StageError(
                "options",
                f"--branches {word!r}: there are all, {', '.join(rows)}, and "
                "NAME=git:URL@REF or NAME=debian:RELEASE for one of your own",
            )
    return tuple(
        Branch(
            row.name,
            tuple(source for source in row.sources if kind in ("auto", source.partition(":")[0])),
        )
        for row in chosen.values()
    )
