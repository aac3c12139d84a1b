# SPDX-License-Identifier: GPL-2.0-only
"""What to run: suites are rows of scripts."""

import re
from dataclasses import dataclass, replace

from ci.base.errors import StageError
from ci.trees.tree import Tree

SELFTESTS = "tools/testing/selftests/net/mptcp"


@dataclass(frozen=True)
class Script:
    """One selftest program and its arguments. ``limit_s`` counts guest seconds (times the mode's
    factor); ``part`` names what of the program runs, empty for all of it; ``all_features``: a case
    that skips is a failure to look into.
    """

    program: str
    args: tuple[str, ...] = ()
    limit_s: int = 600
    part: str = ""
    all_features: bool = True

    @property
    def name(self) -> str:
        """The program without ``.sh``: how its cases are known, in whatever parts it runs."""
        return self.program.removesuffix(".sh")

    @property
    def label(self) -> str:
        """Name and part: distinct within a suite, fit for a folder."""
        return f"{self.name}-{self.part}" if self.part else self.name


@dataclass(frozen=True)
class Suite:
    """A named selection of scripts. ``known`` are (script, case, reason why it may not pass);
    ``tap`` is whether the tree's scripts end with TAP."""

    name: str
    scripts: tuple[Script, ...]
    known: tuple[tuple[str, str, str], ...] = ()
    tap: bool = True


# The group of mptcp_join.sh that smoke runs; what letter selects it is for the tree to say.
DENY_JOIN = "deny_join_id0_tests"
# MPTCP's own settings file allows 1800 s; only these programs may take it. A script has the same
# limit in each suite: the guest's timer for it is part of a run.
LONG_S = 1800
LONG = ("mptcp_connect", "mptcp_join", "simult_flows")
SMOKE = (Script("userspace_pm.sh"), Script("mptcp_join.sh", ("-d",), LONG_S, "d"))
DEFAULT = (*SMOKE, Script("pm_netlink.sh"), Script("mptcp_sockopt.sh"), Script("diag.sh"))
SUITES = {"smoke": SMOKE, "default": DEFAULT}
# What may fail or skip though every feature is expected: (script, case, why), the first two as
# shell patterns. Seen on 6.12.117 in virtual time. A script that is named with its cases fails
# where one of them does.
DISCONNECT = (
    "mptcp_connect's client disconnects as soon as it has read all: a server that has not read the"
    " end yet gets a reset instead. On one virtual CPU it may have had no turn since; the tests"
    " that follow are then not run"
)
BALANCE = (
    "simult_flows compares transfer times with a limit of its own; the script itself marks this one"
    " as flaky"
)
KNOWN: tuple[tuple[str, str, str], ...] = (
    ("mptcp_connect*", "full disconnect: *", DISCONNECT),
    ("mptcp_connect*", "mptcp_connect*", DISCONNECT),
    ("simult_flows", "unbalanced bwidth*", BALANCE),
)
PROGRAM = re.compile(r"[A-Za-z0-9][\w.+-]*", re.ASCII)  # userspace_pm.sh
# mptcp_join.sh lists its groups with the letter that selects each: "f@subflows_tests"
GROUPS = re.compile(r"^all_tests_sorted=\(\n((?:\s+\w@\w+\n)+)\)$", re.M)


def _shown(tree: Tree, name: str) -> str:
    """Text of a file of the selftests, empty where the tree has none."""
    return tree.source.git.text(tree.commit, f"{SELFTESTS}/{name}") or ""


def programs(tree: Tree) -> tuple[str, ...]:
    """TEST_PROGS of the tree's own Makefile."""
    joined = _shown(tree, "Makefile").replace("\\\n", " ")
    lines = re.findall(
        r"^TEST_PROGS\s*[:+]?=([^#\n]*)", joined, re.M
    )  # TEST_PROGS := a.sh b.sh # end of TEST_PROGS
    names = tuple(word for line in lines for word in line.split())
    if not names:
        raise StageError("run", f"{SELFTESTS}/Makefile of the tree names no TEST_PROGS")
    if bad := [name for name in names if not PROGRAM.fullmatch(name)]:
        # A run's folder is named by it.
        raise StageError(
            "run",
            f"{SELFTESTS}/Makefile of the tree: TEST_PROGS names {bad[0]!r}, which is no file name",
        )
    return names


def prints_tap(tree: Tree) -> bool:
    """Whether the tree's scripts end with TAP, as MPTCP's do since v6.6: its library has the
    function."""
    return "mptcp_lib_result_print_all_tap" in _shown(tree, "mptcp_lib.sh")


def _groups(tree: Tree) -> dict[str, str]:
    """The groups of mptcp_join.sh, letter -> name; none where the script lists none (5.10)."""
    found = GROUPS.search(_shown(tree, "mptcp_join.sh"))
    return {word[0]: word[2:] for word in found[1].split()} if found else {}


def _parts(tree: Tree, program: str) -> tuple[Script, ...]:
    """A program as scripts that can run at the same time: mptcp_join.sh by its groups, any other as
    it is."""
    letters = _groups(tree) if program == "mptcp_join.sh" else ()
    whole = (Script(program, limit_s=LONG_S) if program.startswith(LONG) else Script(program),)
    return tuple(Script(program, (f"-{one}",), LONG_S, one) for one in letters) or whole


def _table(tree: Tree, scripts: tuple[Script, ...]) -> tuple[Script, ...]:
    """The rows of a table as far as the tree has them."""
    there, letters = (
        programs(tree),
        [one for one, name in _groups(tree).items() if name == DENY_JOIN],
    )
    rows = []
    for script in scripts:
        if script.part and script.program in there:
            rows += [replace(script, args=(f"-{one}",), part=one) for one in letters]
        elif script.program in there:
            rows.append(script)
    if not rows:
        names = ", ".join(dict.fromkeys(script.name for script in scripts))
        raise StageError(
            "options",
            f"the tree has none of {names}; --suite names scripts that it has: {', '.join(there)}",
        )
    return tuple(rows)


def _named(tree: Tree, names: str) -> tuple[Script, ...]:
    """``userspace_pm,mptcp_join:d`` as scripts; a :class:`StageError` lists what there is."""
    there, chosen = programs(tree), []
    for word in names.split(","):
        name, _, part = word.strip().partition(":")
        program = f"{name.removesuffix('.sh')}.sh"
        scripts = _parts(tree, program) if program in there else ()
        wanted = [one for one in scripts if not part or one.part == part]
        if not wanted:
            raise StageError(
                "options",
                f"suite {word!r}: there are {', '.join(SUITES)}, full, and scripts of the tree "
                f"separated by commas: {', '.join(one.removesuffix('.sh') for one in there)}",
            )
        chosen += wanted
    return tuple(dict.fromkeys(chosen))


def select(name: str, tree: Tree) -> Suite:
    """The suite ``name`` for a tree: one of the table, ``full``, or names of scripts."""
    if name in SUITES:
        scripts = _table(tree, SUITES[name])
    elif name == "full":
        scripts = tuple(part for program in programs(tree) for part in _parts(tree, program))
    else:
        scripts = _named(tree, name)
    return Suite(name, scripts, KNOWN, prints_tap(tree))
