# SPDX-License-Identifier: GPL-2.0-only
"""ci.base.records: what is written is read again, and what is damaged is told."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import pytest

from ci.base.records import from_json, save_record, to_json


class Colour(StrEnum):
    RED = "red"


@dataclass(frozen=True)
class Row:
    name: str
    colour: Colour = Colour.RED


@dataclass(frozen=True)
class Whole:
    rows: tuple[Row, ...]
    status: int | None = None
    logs: Mapping[Colour, str] = field(default_factory=dict)


WHOLE = Whole((Row("one"), Row("\x1b[2J \udc80 \u2028")), 7, {Colour.RED: "x"})


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    text = to_json(WHOLE)
    assert from_json(text.encode(), Whole) == WHOLE
    save_record(tmp_path / "whole.json", WHOLE)
    assert (tmp_path / "whole.json").read_bytes() == text.encode()
    assert text.isascii() and text.endswith("\n") and json.loads(text)["rows"][0]["name"] == "one"
    # What a newer version added does not matter, and what has a default may be missing.
    assert from_json(b'{"rows": [], "more": 1}', Whole) == Whole(())


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"rows": [{}]}', r"missing required field `name`.*\$\.rows\[0\]"),
        ('{"rows": [{"name": 1}]}', r"Expected `str`, got `int`.*name"),
        ('{"rows": [{"name": "a", "colour": "blue"}]}', "colour"),
        ('{"rows": [], "status": "7"}', "status"),
        ('{"rows": [], "logs": {"blue": "x"}}', "logs"),
    ],
)
def test_the_key_that_is_wrong_is_named(text: str, place: str) -> None:
    with pytest.raises(ValueError, match=place):
        from_json(text.encode(), Whole)
