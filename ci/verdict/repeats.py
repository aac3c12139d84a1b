# SPDX-License-Identifier: GPL-2.0-only
"""Runs compared: byte for byte where they have to be the same, case by case where only the seed
differs. Pure."""

import hashlib
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ci.logs.outcome import State

# "[    5.100000][  T412] x", "[    5.100000] x"
_STAMP = re.compile(r"\[ *(\d+\.\d+)\]")


def log_digest(text: str) -> str:
    """The first 16 hex digits of a log's SHA-256: enough to compare by eye."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Difference:
    """The first line in which two logs differ, as ``one`` and ``other`` have it (empty past the
    end); ``stamp_s`` is the guest's time of it, or of the last stamp before, where the log has
    stamps."""

    log: str
    line: int
    one: str
    other: str
    stamp_s: float | None

    def __str__(self) -> str:
        when = "" if self.stamp_s is None else f", at {self.stamp_s:.6f} s"
        return f"{self.log}, line {self.line}{when}:\n  one:   {self.one}\n  other: {self.other}"


def first_difference(log: str, one: str, other: str) -> Difference | None:
    """Where two texts part, ``None`` for nowhere."""
    stamp = None
    pairs = itertools.zip_longest(one.splitlines(), other.splitlines(), fillvalue="")
    for number, (left, right) in enumerate(pairs, start=1):
        if found := _STAMP.search(left):
            stamp = float(found[1])
        if left != right:
            return Difference(log, number, left, right, stamp)
    return None if one == other else Difference(log, 0, "", "", stamp)


@dataclass(frozen=True)
class Tally:
    """A case over many seeds: in how many it passed, and the seeds that show something else."""

    script: str
    name: str
    passed: int
    of: int
    others: tuple[tuple[int, State], ...]

    @property
    def flaky(self) -> bool:
        """Whether the seed decides: it neither always passes nor is always the same otherwise."""
        return len({state for _, state in self.others}) + bool(self.passed) > 1


def tally_states(states: Mapping[int, Mapping[tuple[str, str], State]]) -> tuple[Tally, ...]:
    """From seed -> (script, case) -> state to one row for each case; a case that a seed did not
    show is missing."""
    names = dict.fromkeys(key for of_seed in states.values() for key in of_seed)
    return tuple(
        _tally_case(
            key, [(seed, of_seed.get(key, State.MISSING)) for seed, of_seed in states.items()]
        )
        for key in names
    )


def _tally_case(key: tuple[str, str], seen: Sequence[tuple[int, State]]) -> Tally:
    others = tuple((seed, state) for seed, state in seen if state is not State.PASS)
    return Tally(*key, len(seen) - len(others), len(seen), others)


def seed_words(rows: Iterable[tuple[int, State]]) -> str:
    """``3 (fail), 7 (skip)``."""
    return ", ".join(f"{seed} ({state})" for seed, state in rows)
