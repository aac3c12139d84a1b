# SPDX-License-Identifier: GPL-2.0-only
"""git's own bisection, in a bare repository of ours: nothing is checked out, and the repository
that the commits come from is only read."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ci.base.git import Git, borrow_objects

# What a test of a commit ends with, as `git bisect run` takes it, and what git is told then.
GOOD, BAD, SKIP = CODES = (0, 1, 125)
WORDS = dict(zip(CODES, ("good", "bad", "skip"), strict=True))
ALL_SKIPPED = 2  # how git ends where only skipped commits are left


@dataclass(frozen=True)
class Commit:
    """A commit as it is told. The title is as the commit has it: whoever prints it cleans it."""

    commit: str
    title: str
    date: str
    parents: tuple[str, ...]


def read_commit(git: Git, commit: str) -> Commit:
    """What is told of a commit."""
    shown = git.run("log", "-1", "--format=%H%n%aI%n%P%n%s", commit).stdout
    name, date, parents, title = shown.removesuffix("\n").split("\n", 3)
    return Commit(name, title, date, tuple(parents.split()))


class Bisection:
    """A search between two commits of ``lender`` for the first bad one. git says which is next."""

    def __init__(self, lender: Git, folder: Path, good: str, bad: str) -> None:
        self.git = Git(folder, "bisect")
        self.git.run("init", "-q", "--bare")
        borrow_objects(lender, folder)
        # git wants to know where to go back to.
        self.git.run("update-ref", "--no-deref", "HEAD", bad)
        self.git.run("bisect", "start", "--no-checkout", bad, good, "--")
        self.stuck = False

    @property
    def candidates(self) -> Sequence[str]:
        """Any of these may be the first bad commit, as far as is known; the one that is known to be
        bad is the first of them."""
        return self._list()

    @property
    def next(self) -> str:
        """The commit to test; empty where git has come to its end: it wrote down which one it is,
        or can find out no more."""
        ended = self.stuck or re.search(r"^# first bad commit: ", self.log(), re.M)
        return "" if ended else self.git.line("rev-parse", "--verify", "BISECT_HEAD")

    @property
    def steps(self) -> int:
        """How many commits are to be tested yet, roughly: git's estimate counts those behind the
        next one."""
        found = re.search(r"^bisect_steps=(\d+)$", "\n".join(self._list("--bisect-vars")), re.M)
        return int(found[1]) + 1 if found else 1

    def tell(self, code: int) -> None:
        """How the test of the next commit ended: one of ``CODES``."""
        words = ("bisect", WORDS[code], self.next)
        self.stuck = self.git.run(*words, ok=(0, ALL_SKIPPED)).returncode == ALL_SKIPPED

    def log(self) -> str:
        """What `git bisect replay` takes."""
        return self.git.run("bisect", "log").stdout

    def _list(self, *words: str) -> Sequence[str]:
        """What is reached from the bad commit, and from no good one."""
        return self.git.run(
            "rev-list", *words, "refs/bisect/bad", "--not", "--glob=refs/bisect/good-*"
        ).stdout.splitlines()
