# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's own tests (KUnit), and whether a suite has them. They are compiled into a kernel of
their own, which runs them as it boots: each kernel has those of its own tree."""

from collections.abc import Sequence
from dataclasses import dataclass

from ci.base.errors import StageError
from ci.trees.tree import Tree

# Their name among the scripts, which no script of a tree may have.
KUNIT = "kunit"


@dataclass(frozen=True)
class KernelTests:
    """The tests of a collection. ``symbols`` are the lines that ask for them; a tree has them where
    its file ``kconfig`` has the text ``entry``. ``sources`` are the files that they are in, as a
    pattern."""

    symbols: str
    kconfig: str
    entry: str
    sources: str

    def are_in(self, tree: Tree) -> bool:
        """Whether a tree has them."""
        return self.entry in (tree.source.git.text(tree.commit, self.kconfig) or "")

    def changed_files(self, before: Tree, after: Tree) -> list[str]:
        """Their files that differ between two trees of one source."""
        words = ("diff", "--name-only", "--no-renames", "-z", before.commit, after.commit)
        pattern = f":(glob){self.sources}"
        found = before.source.git.run(*words, "--", pattern).stdout
        return [name for name in found.split("\0") if name]


def choose_tests(
    tests: KernelTests | None, words: str, kernels: Sequence[Tree]
) -> tuple[bool, str, list[str]]:
    """Whether a suite has the kernel's own tests, the words of it that are for the selftests, and
    notes. ``kernels`` are the trees of base and patched; one that has them is enough. ``full`` has
    them where they are; by their name they have to be there."""
    rest = ",".join(word for word in words.split(",") if word.strip() != KUNIT)
    if not tests or (words != "full" and rest == words):
        return False, words, []
    if not any(map(tests.are_in, kernels)):
        lacks = f"the tree has no KUnit tests, as its {tests.kconfig} has no {tests.entry!r}"
        if words != "full":
            raise StageError("options", f"suite {words!r}: {lacks}")
        return False, words, [f"suite full: {lacks}; they do not run"]
    changed = tests.changed_files(kernels[0], kernels[-1])
    note = f"the series changes KUnit tests, and each kernel runs its own: {', '.join(changed)}"
    return True, rest, [note] if changed else []
