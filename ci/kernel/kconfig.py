# SPDX-License-Identifier: GPL-2.0-only
"""Kconfig fragments: what is asked for, why, and what a finished configuration lost of it. Pure.

A fragment is kbuild's own format (``CONFIG_X=y``, ``# CONFIG_X is not set``) plus a reason behind
``#``. A reason that begins with ``[where known]`` marks a symbol that some kernel versions do not
have.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ci.base.errors import StageError

WHERE_KNOWN = "[where known]"
ASSIGNED = re.compile(
    r"(CONFIG_\w+)=(\"(?:[^\"\\]|\\.)*\"|[^\s#]+)\s*(?:#\s*(.*))?$"
)  # CONFIG_NET=y  # why
UNSET = re.compile(r"# (CONFIG_\w+) is not set$")  # # CONFIG_NET is not set
ENTRY = re.compile(r"\s*(?:menu)?config\s+(\w+)\s*$")  # config MPTCP
DEPENDS = re.compile(r"\s+depends\s+on\s+(.+)$")  # 	depends on INET
# What ends an entry's own lines: the next entry or block, at whatever indentation.
BLOCK = re.compile(
    r"\s*(?:menuconfig|config|menu|endmenu|choice|endchoice|if|endif|comment|source|mainmenu)\b"
)
OPENS = re.compile(r"\s*(if|menu|choice)\b\s*(.*)$")  # if NETFILTER_ADVANCED
CLOSES = re.compile(r"\s*end(if|menu|choice)\b")  # endif


@dataclass(frozen=True)
class Asked:
    """One symbol asked for: ``value`` as in .config (``n`` for "is not set"), and the ``where``
    file:line."""

    symbol: str
    value: str
    where: str
    reason: str = ""

    @property
    def may_be_unknown(self) -> bool:
        """Whether a tree without this symbol is fine."""
        return self.reason.startswith(WHERE_KNOWN)


@dataclass(frozen=True)
class Fragment:
    """A parsed fragment; ``text`` is what was parsed."""

    name: str
    text: str
    symbols: tuple[Asked, ...]


def parse_fragment(text: str, name: str) -> Fragment:
    """Read a fragment; a :class:`StageError` names the line that is no assignment, or asks for a
    symbol twice."""
    symbols: dict[str, Asked] = {}
    for number, raw in enumerate(text.splitlines(), start=1):
        line, where = raw.strip(), f"{name}:{number}"
        unset = UNSET.match(line)
        if not unset and (not line or line.startswith("#")):
            continue
        if found := ASSIGNED.match(line):
            asked = Asked(found[1], found[2], where, found[3] or "")
        elif unset:
            asked = Asked(unset[1], "n", where)
        else:
            raise StageError("build", f"{where}: {line!r} is not CONFIG_SYMBOL=value")
        if asked.symbol in symbols and symbols[asked.symbol].value != asked.value:
            raise StageError(
                "build",
                f"{where}: {asked.symbol} is already asked for at {symbols[asked.symbol].where}",
            )
        symbols[asked.symbol] = asked
    return Fragment(name, text, tuple(symbols.values()))


@dataclass(frozen=True)
class Merged:
    """Several fragments as one: a later one wins; modules are built in, for a guest that loads
    none."""

    symbols: tuple[Asked, ...]

    def text(self) -> str:
        """For ``KCONFIG_ALLCONFIG``."""
        return "".join(
            f"# {a.symbol} is not set\n" if a.value == "n" else f"{a.symbol}={a.value}\n"
            for a in self.symbols
        )


def merge_fragments(fragments: Iterable[Fragment]) -> Merged:
    """All that the fragments ask for."""
    chosen: dict[str, Asked] = {}
    for fragment in fragments:
        for asked in fragment.symbols:
            value = "y" if asked.value == "m" else asked.value
            chosen[asked.symbol] = Asked(asked.symbol, value, asked.where, asked.reason)
    return Merged(tuple(chosen.values()))


def parse_config(text: str) -> Mapping[str, str]:
    """Symbol -> value of a finished ``.config``; a symbol that is not set is left out."""
    pairs = (ASSIGNED.match(line) for line in text.splitlines())
    return {found[1]: found[2] for found in pairs if found}


@dataclass(frozen=True)
class Definitions:
    """The Kconfig files of a tree, name -> text."""

    files: Mapping[str, str]

    def conditions(self, symbol: str) -> tuple[str, ...] | None:
        """What ``symbol`` depends on, as ``file:line: condition``, enclosing blocks included;
        ``None``: unknown."""
        plain = symbol.removeprefix("CONFIG_")
        known, found = False, []
        for name, text in self.files.items():
            if not re.search(rf"config\s+{re.escape(plain)}\s*$", text, re.M):
                continue
            for where in _defined(text, name, plain):
                known = True
                found += where
        return tuple(dict.fromkeys(found)) if known else None


def _defined(text: str, name: str, symbol: str) -> Iterable[list[str]]:
    """For each definition of ``symbol`` in one Kconfig file: its conditions and those of the blocks
    around it."""
    around: list[list[str]] = []
    inside: list[str] | None = None
    for number, line in enumerate(text.splitlines(), start=1):
        depends = DEPENDS.match(line)
        if depends and inside is not None:
            inside.append(f"{name}:{number}: {depends[1]}")
        elif depends and around and around[-1] and around[-1][0] == "open":
            around[-1].append(f"{name}:{number}: {depends[1]}")
        if not BLOCK.match(line):
            continue
        if inside is not None:
            yield [*(row for block in around for row in block if row != "open"), *inside]
            inside = None
        if around and around[-1][:1] == ["open"]:
            around[-1] = around[-1][1:]
        opens = OPENS.match(line)
        if CLOSES.match(line):
            if around:
                around.pop()
        elif opens:
            around.append([f"{name}:{number}: {opens[2]}"] if opens[1] == "if" else ["open"])
        elif (entry := ENTRY.match(line)) and entry[1] == symbol:
            inside = []
    if inside is not None:
        yield [*(row for block in around for row in block if row != "open"), *inside]


@dataclass(frozen=True)
class Lost:
    """A symbol that the finished configuration does not have as asked for."""

    asked: Asked
    got: str
    conditions: tuple[str, ...] | None

    def __str__(self) -> str:
        head = (
            f"{self.asked.symbol}={self.asked.value} (asked for at {self.asked.where}) became"
            f" {self.got or 'unset'}"
        )
        if self.conditions is None:
            return (
                f"{head}: this tree does not define it; was it renamed? mark it {WHERE_KNOWN} if it"
                " may be missing"
            )
        needs = "".join(f"\n    depends on {condition}" for condition in self.conditions)
        return head + (needs or ": nothing it depends on is named; something selects against it")


def find_short(asked: Merged, final: Mapping[str, str]) -> tuple[Asked, ...]:
    """What was asked for and did not come out so, in the order of asking."""
    return tuple(
        want
        for want in asked.symbols
        if (got := final.get(want.symbol, "")) != want.value and (want.value != "n" or got)
    )


def find_lost(
    short: Iterable[Asked], final: Mapping[str, str], definitions: Definitions
) -> tuple[Lost, ...]:
    """The symbols of ``short`` that are missed, with what they depend on: all that the tree
    defines, and those that it does not define unless their reason says that they may be unknown.
    ``definitions`` hold every file that has one.
    """
    rows = (
        Lost(want, final.get(want.symbol, ""), definitions.conditions(want.symbol))
        for want in short
    )
    return tuple(row for row in rows if row.conditions is not None or not row.asked.may_be_unknown)
