# SPDX-License-Identifier: GPL-2.0-only
"""Records as JSON and back: the one way for what a run, a cache entry or a probe leaves behind."""

import json
from pathlib import Path
from typing import TypeVar

import msgspec

from ci.base.workspace import write_text

Record = TypeVar("Record")


def to_json(record: object) -> str:
    """A frozen record as text: keys in the order of its fields, a newline at the end."""
    return json.dumps(msgspec.to_builtins(record), indent=1) + "\n"


def from_json(text: bytes, kind: type[Record]) -> Record:
    """The record of that kind in ``text``; see :func:`from_facts`."""
    try:
        return from_facts(json.loads(text), kind)
    except RecursionError as error:
        raise ValueError(str(error)) from None


def from_facts(facts: object, kind: type[Record]) -> Record:
    """The record of that kind in plain data; a ValueError names the key that is missing or of a
    wrong type. What a newer version added is left out."""
    try:
        return msgspec.convert(facts, kind, str_keys=True)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None


def save_record(path: Path, record: object) -> None:
    """Write a record into a file, whole or not at all."""
    write_text(path, to_json(record))
