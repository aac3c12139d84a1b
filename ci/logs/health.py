# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel counts of its own troubles, beside what it prints: taint flags, and how often it
warned. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ci.logs.control import Control
from ci.logs.memory import Growth, least_growth, read_growth

# kernel/panic.c, taint_flags: bit by bit the letter, and in short what sets it.
TAINTS = (
    ("P", "proprietary module"),
    ("F", "module loaded by force"),
    ("S", "CPU out of specification"),
    ("R", "module removed by force"),
    ("M", "machine check"),
    ("B", "bad page"),
    ("U", "set by a program"),
    ("D", "oops or BUG"),
    ("A", "ACPI table overridden"),
    ("W", "warning"),
    ("C", "staging driver"),
    ("I", "workaround for firmware"),
    ("O", "module from outside the tree"),
    ("E", "unsigned module"),
    ("L", "soft lockup"),
    ("K", "live patch"),
    ("X", "set by the distribution"),
    ("T", "random structure layout"),
    ("N", "test of the kernel"),
    ("J", "firmware call"),
)
_TESTED = 1 << [letter for letter, _ in TAINTS].index("N")
# What kernel/panic.c counts in warn_count: "WARNING: CPU: 0 PID: 412 at net/x.c:8 f+0x1/0x2", since
# 6.18 "WARNING: net/x.c:8 at f+0x1/0x2", and what else calls check_panic_on_warn().
_COUNTED = re.compile(
    r"^\[ *\d+\.\d+\](?: *\[[^\]]*\])? *(?:WARNING: (?:CPU: |[\w./-]+:\d+ at )"
    r"|BUG: (?:KASAN|KFENCE|KCSAN|KMSAN|scheduling while atomic)|UBSAN: )",
    re.M,
)


@dataclass(frozen=True)
class Troubles:
    """At one moment: ``taint`` is the mask of flags, ``warnings`` and ``oopses`` are counted since
    boot, ``None`` where the kernel has no such counter (before 6.2)."""

    taint: int
    warnings: int | None = None
    oopses: int | None = None


@dataclass(frozen=True)
class Health:
    """Of one guest: ``before`` and ``after`` its script (``None`` where it did not come to that);
    ``seen`` counts the warnings of its log, ``lost`` the records that are missing in it;
    ``ended`` says that the log came whole up to the script's end. ``growth`` is the memory that is
    held after it, and was not before, ``None`` where nobody counted. ``script_ms`` and ``probe_ms``
    are for how long the CPUs were busy with the script, and with the probe of its collection where
    that went well (in steps of 10 ms): in virtual time, a millisecond is a million instructions."""

    before: Troubles | None = None
    after: Troubles | None = None
    seen: int = 0
    lost: int = 0
    ended: bool = False
    growth: Mapping[str, Growth] | None = None
    script_ms: int | None = None
    probe_ms: int | None = None

    @property
    def taint(self) -> int:
        """All flags that were seen."""
        return (self.before.taint if self.before else 0) | (self.after.taint if self.after else 0)

    @property
    def cleared(self) -> str:
        """Which counter or flag went down, which none may; empty for none."""
        if not (self.before and self.after):
            return ""
        gone = [flag_name(bit) for bit in bits(self.before.taint & ~self.after.taint)]
        for what in ("warnings", "oopses"):
            old, new = getattr(self.before, what), getattr(self.after, what)
            if old is not None and (new is None or new < old):
                gone.append(f"the count of {what} (from {old} to {new})")
        return ", ".join(gone)

    @property
    def hidden(self) -> int:
        """How many warnings the kernel counted and did not print."""
        counted = self.after.warnings if self.after else None
        return max(0, (counted or 0) - self.seen)


def bits(mask: int) -> list[int]:
    """The numbers of the bits that are set."""
    return [bit for bit in range(64) if mask >> bit & 1]


def flag_name(bit: int) -> str:
    """``taint W (warning)``."""
    letter, what = TAINTS[bit] if bit < len(TAINTS) else (f"bit {bit}", "unknown")
    return f"taint {letter} ({what})"


def without_tests(health: Health) -> Health:
    """The same of a kernel that ran its own tests: they set a flag, and the guest has no script
    whose time could be compared."""
    before, after = (
        one and replace(one, taint=one.taint & ~_TESTED) for one in (health.before, health.after)
    )
    return replace(health, before=before, after=after, script_ms=None)


def least_measured(attempts: Sequence[Health]) -> tuple[Health, ...]:
    """The attempts of one script: what is measured counts as far as each attempt shows it, and is
    the first one's."""
    if len(attempts) < 2:
        return tuple(attempts)
    growths = [one.growth for one in attempts if one.growth is not None]
    first = replace(
        attempts[0],
        growth=least_growth(growths) if growths else None,
        script_ms=min(
            (one.script_ms for one in attempts if one.script_ms is not None), default=None
        ),
        probe_ms=min((one.probe_ms for one in attempts if one.probe_ms is not None), default=None),
    )
    others = (replace(one, growth=None, script_ms=None, probe_ms=None) for one in attempts[1:])
    return (first, *others)


def _troubles(words: Sequence[str] | None) -> Troubles | None:
    """From ``512 3 -``."""
    if words is None or len(words) != 3 or not all(map(re.compile(r"\d{1,20}|-").fullmatch, words)):
        return None
    taint, *counts = (None if word == "-" else int(word) for word in words)
    return None if taint is None else Troubles(taint, *counts)


def _busy_ms(words: Sequence[str] | None) -> int | None:
    """From ``0 2318 1980``: a status, milliseconds, those of them that the CPUs were idle."""
    if words is None or len(words) != 3 or not all(word.isdecimal() for word in words):
        return None
    return max(0, int(words[1][:15]) - int(words[2][:15]))


def read_health(control: Control) -> Health:
    """What a control log says of it."""
    return Health(
        _troubles(control.first("before")),
        _troubles(control.first("after")),
        len(_COUNTED.findall(control.log.text)),
        control.log.lost,
        control.log.ended,
        read_growth(control),
        _busy_ms(control.first("end")),
        _busy_ms(probe) if (probe := control.first("probe")) and probe[0] == "0" else None,
    )
