# SPDX-License-Identifier: GPL-2.0-only
"""ci.commands.shards: shards of about the same length, and how long guests take on more cores."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from ci.base.settings import Settings
from ci.commands.shards import (
    UNKNOWN_S,
    Load,
    deal_loads,
    forecast_line,
    list_loads,
    wall_s,
)
from ci.guest.modes import MACHINES, Mode
from ci.suites.mptcp import COLLECTION
from ci.suites.selection import Suite
from tests.conftest import write


def loads(*seconds: float, guests: int = 2) -> list[Load]:
    return [
        Load(COLLECTION.script(f"s{number}.sh"), guests, one, True)
        for number, one in enumerate(seconds)
    ]


def lengths(dealt: Sequence[Sequence[Load]]) -> list[float]:
    return [sum(one.together for one in shard) for shard in dealt]


def test_shards_have_about_the_same_length_and_hold_each_script_once() -> None:
    given = loads(100, 1, 1, 50, 40, 60, 3, 45)
    dealt = deal_loads(given, 3)
    assert sorted(lengths(dealt)) == [200, 200, 200]
    assert sorted(one.script.name for shard in dealt for one in shard) == [
        f"s{number}" for number in range(8)
    ]
    assert all(shard == [one for one in given if one in shard] for shard in dealt)


def test_there_are_no_more_shards_than_scripts() -> None:
    assert [len(shard) for shard in deal_loads(loads(1, 2), 5)] == [1, 1]
    assert deal_loads([], 3) == []


@pytest.mark.parametrize(
    ("cores", "wall"), [(1, 24.0), (2, 12.0), (3, 8.0), (4, 7.0), (6, 5.0), (64, 5.0)]
)
def test_the_longest_begin_first(cores: int, wall: float) -> None:
    """Guests of 5, 5, 4, 4, 3 and 3 seconds."""
    assert wall_s(loads(3, 5, 4), cores) == wall


def test_the_mode_in_which_the_most_was_run_says_what_they_take(
    settings_for: Callable[..., Settings],
) -> None:
    settings = settings_for()
    suite = Suite("x", COLLECTION, tuple(COLLECTION.script(f"{name}.sh") for name in "abc"))
    assert [one.seconds for one in list_loads(suite, settings)] == [UNKNOWN_S] * 3
    factor = {name: Mode(name, "").machine.time_factor for name in MACHINES}
    costs = {"kvm-a": 1, "virtual-a": 10, "virtual-b": 30}
    for key, seconds in costs.items():
        mode, _, label = key.partition("-")
        name = f"costs/{mode}-{factor[mode]}-{label}"
        write(settings.workspace.cache, {name: f"{seconds}\n"})
    loads = list_loads(suite, settings)
    assert [(one.seconds, one.known) for one in loads] == [(10, True), (30, True), (20, False)]
    assert [one.guests for one in loads] == [2, 2, 2]


def test_what_is_told_of_a_suite() -> None:
    suite = Suite("full", COLLECTION, ())
    given = [*loads(60, 30), replace(loads(45)[0], known=False)]
    assert forecast_line(suite, given, 2) == (
        "guests of full: 6, 4 min 30 s of CPU time; 2 min 15 s on 2, 1 min 15 s on 4, 1 min 0 s on"
        " 16, 1 min 0 s on 64 cores; 2 jobs of 2 cores: 1 min 0 s to 1 min 15 s; the longest is s0:"
        " 1 min 0 s; never run, and so guessed: s0"
    )
