# SPDX-License-Identifier: GPL-2.0-only
"""What an option of the command line is, and how the text of one is read and checked: each error
names its option."""

import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ci.base.errors import StageError

Value = str | int | bool

MOST_CPUS = 8  # CONFIG_NR_CPUS of images/kconfig
# smoke, userspace_pm.sh,mptcp_join:d, net:netns-name ; which names there are is for the tree to say
WORD = r" *(?:\w[\w-]*:)?\w[\w.+-]*(?::[\w-]+)? *"
SUITE = re.compile(f"{WORD}(?:,{WORD})*", re.ASCII)


@dataclass(frozen=True)
class Option:
    """A row of the table of options. ``default`` gives its type, too: a ``bool`` is a flag.

    ``read`` turns the value into that of the field of ``Settings`` with the same name; an option
    without goes to its task itself. ``replay`` is its text in the command that asks for the same
    again, of the ``Settings``; empty where it is to be left out, and anything for a flag.
    ``helps`` and ``defaults`` hold what is other for a task.
    """

    name: str
    help: str
    default: Value = ""
    read: Callable[[Any], object] | None = None
    replay: Callable[[Any], str] | None = None
    helps: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Value] = field(default_factory=dict)

    def help_for(self, task: str) -> str:
        """What ``inv --help TASK`` says of it."""
        return self.helps.get(task, self.help)

    def default_for(self, task: str) -> Value:
        """Its value where a task is called without it."""
        return self.defaults.get(task, self.default)


def one_of(option: str, names: Sequence[str], default: str) -> Callable[[str], str]:
    """A reader for ``option`` that takes one of ``names``; empty is ``default``."""

    def read(text: str) -> str:
        if text not in ("", *names):
            raise StageError("options", f"{option} {text}: there are {', '.join(names)}")
        return text or default

    return read


def read_series(text: str) -> str:
    """A name that any file system and git can take; empty is the default series."""
    if any(len(part.encode("utf-8", "surrogateescape")) > 255 for part in text.split("/")):
        raise StageError(
            "options", f"--series {text[:80]}...: too long for a file, a range or a message-id"
        )
    return text


def read_tree(text: str) -> Path | None:
    """A folder, absolute."""
    if text and not Path(text).is_dir():
        raise StageError("options", f"--tree {text}: no such folder")
    return Path(text).resolve() if text else None


def read_suite(text: str) -> str:
    """Names of a suite, of scripts and of their parts."""
    check_suite(text, f"--suite {text[:80]!r}")
    return text


def read_config(text: str, names: Sequence[str]) -> tuple[str, ...]:
    """Words of which each is one of ``names`` or a file, whose path becomes absolute."""
    words = []
    for word in filter(None, map(str.strip, text.split(","))):
        if word not in names and not Path(word).is_file():
            raise StageError(
                "options",
                f"--config {word}: no such file, and none of {', '.join(names)}; give the path of a"
                " file with lines such as CONFIG_SYMBOL=y",
            )
        words.append(word if word in names else str(Path(word).resolve()))
    return tuple(dict.fromkeys(words))


def read_only(text: str) -> frozenset[int]:
    """Patch numbers; none where ``text`` is a message-id."""
    return frozenset() if "@" in text else patch_numbers(text, "--only")


def read_seed(text: str) -> int | None:
    """One seed."""
    return seed_range(text, "--seed")[0] if text else None


def read_cpus(count: int) -> int:
    """How many virtual CPUs; 0: as the mode has them."""
    if not 0 <= count <= MOST_CPUS:
        raise StageError("options", f"--cpus {count}: a guest has 1 to {MOST_CPUS}")
    return count


def read_percent(text: str) -> int | None:
    """A growth in percent; none where it was not asked for."""
    if text and not re.fullmatch(r"\d{1,6}", text, re.ASCII):
        raise StageError("options", f"--max-slowdown {text}: give a number of percent, such as 50")
    return int(text) if text else None


def read_budget(text: str) -> float:
    """``90s``, ``20m`` or ``2h`` in seconds, endless where it was not asked for."""
    found = re.fullmatch(r"(\d{1,5})([smh])", text, re.ASCII)
    if text and not found:
        raise StageError("options", f"--budget {text}: give seconds, minutes or hours, as in 20m")
    factors = {"s": 1.0, "m": 60.0, "h": 3600.0}
    return int(found[1]) * factors[found[2]] if found else float("inf")


def read_qemu(text: str) -> tuple[str, ...]:
    """Words, quoted as for a shell."""
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise StageError("options", f"--qemu {text}: {error}") from None


def patch_numbers(text: str, option: str) -> frozenset[int]:
    """``1,3`` or ``1-4`` as a set of patch numbers."""
    numbers: set[int] = set()
    for word in filter(None, map(str.strip, text.split(","))):
        ends = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", word, re.ASCII)  # 3 or 1-4
        if not ends or int(ends[2] or ends[1]) < int(ends[1]):
            raise StageError(
                "options",
                f"{option} {text}: give patch numbers separated by commas, as in 1,3 or 1-4",
            )
        numbers |= set(range(int(ends[1]), int(ends[2] or ends[1]) + 1))
    return frozenset(numbers)


def seed_range(text: str, option: str) -> tuple[int, ...]:
    """``7`` or ``1..10`` as seeds, each below 2^32."""
    ends = re.fullmatch(r"(\d{1,10})(?:\.\.(\d{1,10}))?", text)  # 1..10
    first, last = (int(ends[1]), int(ends[2] or ends[1])) if ends else (1, 0)
    if not first <= last < 2**32:
        raise StageError(
            "options", f"{option} {text}: give a number below 2^32, or a range such as 1..10"
        )
    return tuple(range(first, last + 1))


def check_suite(name: str, where: str) -> None:
    """A :class:`StageError` that begins with ``where`` for what no tree can have as a suite; empty
    is the default."""
    if name and not SUITE.fullmatch(name):
        raise StageError(
            "options",
            f"{where}: give smoke, default, full, kunit, or names of scripts separated by commas,"
            " as in userspace_pm,mptcp_join:d; net: before them names another collection",
        )
