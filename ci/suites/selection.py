# SPDX-License-Identifier: GPL-2.0-only
"""What to run: a suite is a choice of a collection's scripts, for the tree that has them."""

import functools
import importlib
import pkgutil
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ci.base.errors import StageError
from ci.suites.collection import Collection, Row, Script
from ci.trees.tree import Tree

DEFAULT = "mptcp"
PROGRAM = re.compile(r"[A-Za-z0-9][\w.+-]*", re.ASCII)  # userspace_pm.sh


@dataclass(frozen=True)
class Suite:
    """A named choice of a collection's scripts."""

    name: str
    collection: Collection
    scripts: tuple[Script, ...]

    def words_for(self, scripts: Sequence[Script]) -> str:
        """What --suite says for some of the scripts."""
        names = [f"{one.name}:{one.part}" if one.part else one.name for one in scripts]
        prefix = "" if self.collection.name == DEFAULT else f"{self.collection.name}:"
        return prefix + ",".join(names)


@functools.cache
def all_collections() -> Mapping[str, Collection]:
    """Every collection by its name: each module of this package that defines ``COLLECTION`` is
    one."""
    names = sorted(module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    modules = [vars(importlib.import_module(f"ci.suites.{name}")) for name in names]
    found: list[Collection] = [one["COLLECTION"] for one in modules if "COLLECTION" in one]
    return {collection.name: collection for collection in found}


def split_name(name: str) -> tuple[Collection, str]:
    """The collection that ``net:fib_tests,rtnetlink`` chooses, and its words; without a prefix it
    is mptcp. A :class:`StageError` for two collections in one suite."""
    known = all_collections()
    words = [word.strip() for word in name.split(",")]
    prefixes = [word.partition(":")[0] for word in words if ":" in word]
    chosen = [prefix for prefix in prefixes if prefix in known]
    first = words[0].partition(":")[0]
    named = dict.fromkeys(chosen if first in chosen else [DEFAULT, *chosen])
    if chosen and len(named) > 1:
        raise StageError(
            "options",
            f"suite {name!r} names two collections, {' and '.join(named)}; a run has one kernel,"
            " and so one collection: give each a run of its own",
        )
    if not chosen:
        return known[DEFAULT], ",".join(words)
    bare = [word.removeprefix(f"{chosen[0]}:").strip() for word in words]
    return known[chosen[0]], ",".join(bare)


def _file_text(collection: Collection, tree: Tree, name: str) -> str:
    """Text of a file of the selftests, empty where the tree has none."""
    return tree.source.git.text(tree.commit, f"{collection.folder}/{name}") or ""


def list_programs(collection: Collection, tree: Tree) -> tuple[str, ...]:
    """TEST_PROGS of the tree's own Makefile."""
    joined = _file_text(collection, tree, "Makefile").replace("\\\n", " ")
    lines = re.findall(
        r"^TEST_PROGS\s*[:+]?=([^#\n]*)", joined, re.M
    )  # TEST_PROGS := a.sh b.sh # end of TEST_PROGS
    names = tuple(word for line in lines for word in line.split())
    where = f"{collection.folder}/Makefile of the tree"
    if not names:
        raise StageError("run", f"{where} names no TEST_PROGS")
    if bad := [name for name in names if not PROGRAM.fullmatch(name)]:
        # A run's folder is named by it.
        raise StageError("run", f"{where}: TEST_PROGS names {bad[0]!r}, which is no file name")
    return names


def prints_tap(collection: Collection, tree: Tree) -> bool:
    """Whether the tree's scripts end with TAP."""
    if collection.tap is None:
        return False
    name, word = collection.tap
    return word in _file_text(collection, tree, name)


def _groups(collection: Collection, tree: Tree, program: str) -> dict[str, str]:
    """The groups of a program, letter -> name; none where it lists none."""
    pattern = collection.groups.get(program)
    listed = pattern.search(_file_text(collection, tree, program)) if pattern else None
    return {word[0]: word[2:] for word in listed[1].split()} if listed else {}


def _parts(collection: Collection, tree: Tree, program: str) -> tuple[Script, ...]:
    """A program as scripts that can run at the same time: by its groups, else as it is."""
    letters = _groups(collection, tree, program) or ("",)
    return tuple(collection.script(program, letter) for letter in letters)


def _table(collection: Collection, tree: Tree, rows: Sequence[Row]) -> tuple[Script, ...]:
    """The rows of a table as far as the tree has them."""
    programs = list_programs(collection, tree)
    scripts: list[Script] = []
    for row in rows:
        if row.program not in programs:
            continue
        if row.group:
            groups = _groups(collection, tree, row.program)
            letters = [letter for letter, name in groups.items() if name == row.group]
            scripts += [collection.script(row.program, letter) for letter in letters]
        else:
            scripts.append(collection.script(row.program))
    if not scripts:
        names = ", ".join(dict.fromkeys(row.program.removesuffix(".sh") for row in rows))
        raise StageError(
            "options",
            f"the tree has none of {names}; --suite names scripts that it has:"
            f" {', '.join(programs)}",
        )
    return tuple(scripts)


def _named(collection: Collection, tree: Tree, names: str) -> tuple[Script, ...]:
    """``userspace_pm,mptcp_join:d`` as scripts; a :class:`StageError` lists what there is."""
    programs, chosen = list_programs(collection, tree), []
    for word in names.split(","):
        name, _, part = word.strip().partition(":")
        program = f"{name.removesuffix('.sh')}.sh"
        scripts = _parts(collection, tree, program) if program in programs else ()
        wanted = [one for one in scripts if not part or one.part == part]
        if not wanted:
            others = ", ".join(sorted(set(all_collections()) - {collection.name}))
            raise StageError(
                "options",
                f"suite {word!r}: there are {', '.join(collection.tables)}, full, and scripts of"
                " the tree separated by commas:"
                f" {', '.join(one.removesuffix('.sh') for one in programs)}"
                f" (collection {collection.name}; others, as NAME:script: {others})",
            )
        chosen += wanted
    return tuple(dict.fromkeys(chosen))


def select_suite(name: str, tree: Tree) -> Suite:
    """The suite ``name`` for a tree: one of a collection's tables, ``full``, or names of
    scripts."""
    collection, words = split_name(name)
    if words in collection.tables:
        scripts = _table(collection, tree, collection.tables[words])
    elif words == "full":
        programs = list_programs(collection, tree)
        scripts = tuple(one for program in programs for one in _parts(collection, tree, program))
    else:
        scripts = _named(collection, tree, words)
    return Suite(name, collection, scripts)
