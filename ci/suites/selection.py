# SPDX-License-Identifier: GPL-2.0-only
"""What to run: a suite is a choice of a collection's scripts, for the tree that has them."""

import functools
import importlib
import pkgutil
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ci.base.errors import StageError
from ci.suites.collection import Collection, Row, Script
from ci.suites.kunit import KUNIT, choose_tests
from ci.trees.tree import Tree

DEFAULT = "mptcp"
PROGRAM = re.compile(r"[A-Za-z0-9][\w.+-]*", re.ASCII)  # userspace_pm.sh
GROUP = re.compile(r"\w@\w+", re.ASCII)  # d@deny_join_id0_tests
COMMENT = re.compile(r"#.*")  # "# sorted by name"


@dataclass(frozen=True)
class Suite:
    """A named choice of a collection's scripts. ``old`` are the same as the base tree has them: a
    label that is in it alone is a script, or a part of one, that the series takes away. ``checks``
    are scripts that the series brings, for both kernels. ``notes`` say what of the suite the tree
    does not have."""

    name: str
    collection: Collection
    scripts: tuple[Script, ...]
    old: tuple[Script, ...] = ()
    checks: tuple[Script, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def new(self) -> tuple[Script, ...]:
        """What both kernels run of the patched tree's: its scripts, and the series' checks."""
        return (*self.scripts, *self.checks)

    @property
    def labels(self) -> Sequence[str]:
        """Every label, of new scripts and old ones."""
        return list(dict.fromkeys(one.label for one in (*self.new, *self.old)))

    @property
    def built_in(self) -> bool:
        """Whether the kernel's own tests are among it."""
        return any(one.built_in for one in self.scripts)

    @property
    def installed(self) -> bool:
        """Whether anything else is, which needs selftests."""
        return not all(one.built_in for one in (*self.new, *self.old))

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


def choose_name(asked: str, of_series: str) -> str:
    """The option wins over the series, which wins over the default."""
    return asked or of_series or "default"


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
    if bad := [name for name in names if name.removesuffix(".sh") == KUNIT]:
        raise StageError("run", f"{where}: TEST_PROGS names {bad[0]!r}; here, that is KUnit")
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
    words = COMMENT.sub("", listed[1]).split() if listed else []
    return {word[0]: word[2:] for word in words if GROUP.fullmatch(word)}


def _parts(collection: Collection, tree: Tree, program: str) -> tuple[Script, ...]:
    """A program as scripts that can run at the same time: by its groups, else as it is."""
    groups = _groups(collection, tree, program) or {"": ""}
    return tuple(collection.script(program, letter, name) for letter, name in groups.items())


def _table(collection: Collection, tree: Tree, rows: Sequence[Row]) -> Iterator[Script]:
    """The rows of a table as far as the tree has them."""
    programs = list_programs(collection, tree)
    for row in rows:
        if row.program not in programs:
            continue
        if not row.group:
            yield collection.script(row.program)
        for part in _parts(collection, tree, row.program) if row.group else ():
            if part.group == row.group:
                yield part


def _choose(collection: Collection, tree: Tree, words: str) -> Mapping[str, tuple[Script, ...]]:
    """What each word of a suite selects in a tree; nothing, where the tree does not have it."""
    if words in collection.tables:
        return {words: tuple(_table(collection, tree, collection.tables[words]))}
    programs = list_programs(collection, tree)
    if words == "full":
        return {words: tuple(one for name in programs for one in _parts(collection, tree, name))}
    chosen: dict[str, tuple[Script, ...]] = {}
    for word in words.split(","):
        name, _, part = word.strip().partition(":")
        program = f"{name.removesuffix('.sh')}.sh"
        scripts = _parts(collection, tree, program) if program in programs else ()
        chosen[word] = tuple(one for one in scripts if not part or one.part == part)
    return chosen


def _unknown(collection: Collection, tree: Tree, word: str) -> StageError:
    """The error for a word that selects nothing: it lists what there is."""
    programs = ", ".join(one.removesuffix(".sh") for one in list_programs(collection, tree))
    if word in (*collection.tables, "full"):
        rows = collection.tables.get(word, ())
        names = ", ".join(dict.fromkeys(row.program.removesuffix(".sh") for row in rows))
        text = f"the tree has none of {names}; --suite names scripts that it has: {programs}"
        return StageError("options", text)
    others = ", ".join(sorted(set(all_collections()) - {collection.name}))
    whole = ", ".join([*collection.tables, "full", *([KUNIT] if collection.kunit else ())])
    return StageError(
        "options",
        f"suite {word!r}: there are {whole}, and scripts of the tree"
        f" separated by commas: {programs} (collection {collection.name}; others, as NAME:script:"
        f" {others})",
    )


def _lacking(collection: Collection, words: str, scripts: Sequence[Script]) -> Iterator[str]:
    """What a table asks for and the tree does not have, in words."""
    for row in collection.tables.get(words, ()):
        if not any(one.program == row.program and one.group == row.group for one in scripts):
            what = f"{row.program}, group {row.group}" if row.group else row.program
            yield f"suite {words}: the tree does not have {what}; it does not run"


def _as_labelled(scripts: Sequence[Script], old: Sequence[Script]) -> Iterator[Script]:
    """The scripts under the labels of their old twins: the letter of a group is the tree's own
    affair. One that is new takes no other one's label."""
    for one in scripts:
        mine = [other for other in old if other.program == one.program]
        twin = next((other for other in mine if other.group == one.group), None)
        if twin:
            yield replace(one, part=twin.part)
        elif one.part in [other.part for other in mine]:
            yield replace(one, part=one.group)
        else:
            yield one


def _choose_checks(
    collection: Collection, words: str, files: Sequence[str]
) -> tuple[tuple[Script, ...], str]:
    """The checks that a suite runs, and the words of it that are for the tree: a table has all of
    them, names of scripts those that they name."""
    checks = [replace(collection.script(program), probe="", check=True) for program in files]
    if words in (*collection.tables, "full"):
        return tuple(checks), words
    named = {word.removesuffix(".sh"): word for word in map(str.strip, words.split(","))}
    ours = tuple(one for one in checks if one.name in named)
    rest = [word for name, word in named.items() if name not in {one.name for one in ours}]
    return ours, ",".join(rest)


def select_suite(
    name: str,
    tree: Tree,
    base: Tree | None = None,
    checks: Sequence[str] = (),
    kernels: Sequence[Tree] = (),
) -> Suite:
    """The suite ``name`` for a tree: one of a collection's tables, ``full``, or names of scripts,
    ``checks`` of the series and the tests of the ``kernels`` (none: of these trees) among them.
    With ``base``, it is chosen from that tree, and what ``tree`` has besides comes to it: a series
    cannot take a script out of its own suite unseen."""
    collection, words = split_name(name)
    own = kernels or tuple(filter(None, (base, tree)))
    has_tests, words, notes = choose_tests(collection.kunit, words, own)
    ours, words = _choose_checks(collection, words, checks)
    tests = (collection.script(KUNIT),) if has_tests else ()
    if not words:
        return Suite(name, collection, tests, checks=ours, notes=tuple(notes))
    chosen: Mapping[str, tuple[Script, ...]] = {}
    before = _choose(collection, base, words) if base else chosen
    try:
        chosen = _choose(collection, tree, words)
    except StageError as error:
        if not base:
            raise
        notes.append(error.message)
    for word in before or chosen:
        if not chosen.get(word) and not before.get(word):
            raise _unknown(collection, tree if base is None else base, word)
    old = tuple(dict.fromkeys(one for scripts in before.values() for one in scripts))
    new = tuple(dict.fromkeys(one for scripts in chosen.values() for one in scripts))
    notes += _lacking(collection, words, new if base is None else old)
    scripts = (*_as_labelled(new, old), *tests)
    return Suite(name, collection, scripts, old, ours, tuple(notes))
