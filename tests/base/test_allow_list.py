# SPDX-License-Identifier: GPL-2.0-only
"""ci.base.allow_list: what may fail, for a reason, and not for ever."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ci.base.allow_list import AllowList, read_allow
from ci.base.errors import StageError

TODAY = datetime.now(UTC).date()
ROW = """[[allow]]
script = "{script}"
case = "warning *"
why = "a race of the driver"
link = "https://example.org/1"
until = {until}
"""


def test_rows_hold_until_their_day(tmp_path: Path) -> None:
    """The last day is a day; what has ended excuses nothing and is told."""
    path = tmp_path / "allow.toml"
    ended = TODAY - timedelta(days=1)
    rows = ROW.format(script="kernel", until=TODAY) + ROW.format(script="diag", until=ended)
    path.write_text(rows, encoding="utf-8")
    found = read_allow(str(path))
    why = f"a race of the driver (https://example.org/1, until {TODAY})"
    assert found.known == (("kernel", "warning *", why),)
    (note,) = found.notes
    assert f"allowed until {ended}, no more: diag: warning *" in note
    assert read_allow("") == AllowList()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("allow = 1", "give tables [[allow]]"),
        ("[[allowed]]\nscript = 'a'", "give tables [[allow]]"),
        ("[[allow]]\nscript = 'a'", "[[allow]] 1: Object missing required field `case`"),
        (ROW.format(script="a", until='"soon"'), "[[allow]] 1: "),
        (ROW.format(script=" ", until=TODAY), "[[allow]] 1: give script, case, why and link"),
        (ROW.format(script="a", until=TODAY) + "more = 1", "[[allow]] 1: give script"),
        ("allow = [1]", "[[allow]] 1: "),
        ("[[allow]", "--allow"),
        ("\x00", "--allow"),
    ],
)
def test_what_is_wrong_with_a_list(text: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "allow.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(StageError) as raised:
        read_allow(str(path))
    assert words in raised.value.message and str(path) in raised.value.message


def test_a_list_that_is_no_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(StageError, match="no file of less than 1 MB"):
            read_allow(str(path))
