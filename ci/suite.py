"""What to run: suites are rows of scripts."""

import re
from dataclasses import dataclass

from ci.errors import StageError
from ci.tree import Tree

SELFTESTS = "tools/testing/selftests/net/mptcp"


@dataclass(frozen=True)
class Script:
    """One selftest program and its arguments. ``limit_s`` counts guest seconds (times the mode's factor)."""

    program: str
    args: tuple[str, ...] = ()
    limit_s: int = 600

    @property
    def name(self) -> str:
        """The program without ``.sh``: how its cases are known, in whatever parts it runs."""
        return self.program.removesuffix(".sh")


@dataclass(frozen=True)
class Suite:
    """A named selection of scripts. ``known`` maps (script, case) to the reason why it may not pass."""

    name: str
    scripts: tuple[Script, ...]
    known: tuple[tuple[str, str, str], ...] = ()


SMOKE = (Script("userspace_pm.sh"), Script("mptcp_join.sh", ("-d",)))
DEFAULT = (*SMOKE, Script("pm_netlink.sh"), Script("mptcp_sockopt.sh"), Script("diag.sh"))
SUITES = {"smoke": SMOKE, "default": DEFAULT}
# MPTCP's own settings file allows 1800 s for the long ones.
LONG_S = 1800


def _full(tree: Tree) -> tuple[Script, ...]:
    """TEST_PROGS of the tree's own Makefile."""
    text = tree.source.git.run("show", f"{tree.commit}:{SELFTESTS}/Makefile", ok=None).stdout
    joined = text.replace("\\\n", " ")
    names = [
        word
        for line in re.findall(r"^TEST_PROGS\s*[:+]?=(.*)$", joined, re.M)  # TEST_PROGS := a.sh b.sh
        for word in line.split()
    ]
    if not names:
        raise StageError("run", f"{SELFTESTS}/Makefile of the tree names no TEST_PROGS")
    return tuple(Script(name, limit_s=LONG_S) for name in names)


def known(name: str) -> str:
    """``name``, which has to be a suite's; a :class:`StageError` lists those there are."""
    if name != "full" and name not in SUITES:
        raise StageError("options", f"suite {name!r}: there are {', '.join(SUITES)} and full")
    return name


def select(name: str, tree: Tree) -> Suite:
    """The suite ``name`` for a tree."""
    return Suite(name, _full(tree) if name == "full" else SUITES[name])
