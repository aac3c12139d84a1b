# SPDX-License-Identifier: GPL-2.0-only
"""What a proof is about: a verdict, the kernels and selftests behind it, and the steps of the
series."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ci.base.sides import Side
from ci.commands.stages import Run
from ci.commands.trials import Bench
from ci.kernel.build import Kernel
from ci.series.diff import FileDiff, parse_diff
from ci.series.patches import Series
from ci.suites.collection import SELFTESTS, Script
from ci.trees.tree import Tree
from ci.verdict.judge import Verdict


@dataclass(frozen=True)
class Step:
    """Patch ``number``: the trees before and with it."""

    number: int
    before: Tree
    after: Tree


@dataclass(frozen=True)
class Subject:
    """A verdict and all that it came from; ``until`` is when the time for mutants is over, on the
    monotonic clock."""

    run: Run
    series: Series
    bench: Bench
    verdict: Verdict
    steps: tuple[Step, ...]
    until: float = float("inf")

    @property
    def patched(self) -> Tree:
        """The tree with the whole series."""
        return self.bench.sides[Side.PATCHED].tree

    @property
    def scripts(self) -> tuple[Script, ...]:
        """What can be watched: not the tests that are in another kernel."""
        return tuple(one for one in self.bench.suite.new if not one.built_in)

    def kernel(self, side: Side) -> Kernel:
        """The kernel that scripts run on."""
        return self.bench.sides[side].kernels[False]

    @property
    def installed(self) -> Path:
        """The patched tree's selftests."""
        folder = self.bench.sides[Side.PATCHED].selftests
        assert folder
        return folder


def compare_trees(before: Tree, after: Tree, *names: str, context: int = 3) -> Sequence[FileDiff]:
    """How files differ between two trees, all of them or those with ``names``."""
    words = ("diff-tree", "-p", f"-U{context}", "--no-renames", "--no-ext-diff")
    git = before.source.git
    return parse_diff(git.run(*words, before.commit, after.commit, "--", *names).stdout)


def is_test(name: str) -> bool:
    """Whether a file of the tree is one of the selftests."""
    return name.startswith(f"{SELFTESTS}/")
