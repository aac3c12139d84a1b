# SPDX-License-Identifier: GPL-2.0-only
"""A patch looked up in the history that a tree comes with, as far as it is there and in bounded
time."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from ci.base.errors import StageError
from ci.base.git import Git
from ci.series.diff import file_names, parse_diff
from ci.series.patch import Patch
from ci.trees.index import MOST_CHANGED

# About two years of the mainline kernel; its messages are read in some seconds.
MOST_COMMITS = 150_000
MOST_TOUCHING = 400
MOST_SECONDS = 60.0
# [ Upstream commit 2293c57484ae64c9a3c847c8807db8c26a3a4d41 ]; commit 2293c57484ae upstream.
_UPSTREAM = re.compile(
    r"^[ \t]*(?:\[ )?(?:upstream )?commit ([0-9a-f]{12,40})(?: upstream\.?)?(?: \])?[ \t]*$"
    r"|\(cherry picked from commit ([0-9a-f]{12,40})\)",
    re.M | re.I,
)

_TAGS = re.compile(
    r"^(?:(?:UPSTREAM|BACKPORT|FROMGIT|FROMLIST): ?|\[[^]]*\] ?)+"
)  # BACKPORT: mptcp: set the flag


@dataclass(frozen=True)
class Found:
    """A commit of the tree's history that is a patch; ``how`` says what it was known by, ``change``
    is what it did."""

    commit: str
    title: str
    how: str
    change: str

    @property
    def words(self) -> str:
        """``commit 1234567890ab ("title", found by its title)``."""
        return f'commit {self.commit[:12]} ("{self.title}", found by {self.how})'


def upstream(message: str) -> tuple[str, ...]:
    """The commits that a message says it is a copy of."""
    return tuple(found[1] or found[2] for found in _UPSTREAM.finditer(message))


class History:
    """The commits behind ``commit``, as far as they are here; nothing is searched where it is the
    only one. ``notes`` say what took too long."""

    def __init__(self, git: Git, commit: str, patches: Sequence[Patch]) -> None:
        self.git, self.commit, self.patches = git, commit, patches
        self.notes: list[str] = []
        self._bounds: list[str] | None = None
        self._messages: dict[str, tuple[str, str]] | None = None
        self._known: dict[int, tuple[Found, ...]] = {}

    def commits(self, patch: Patch) -> tuple[Found, ...]:
        """Commits with the patch's title, or of which one says that it is a copy of the other; the
        newest first."""
        if patch.number not in self._known:
            self._known[patch.number] = self._asked(partial(self._by_message, patch))
        return self._known[patch.number]

    def look_closer(self, patches: Sequence[Patch]) -> bool:
        """Look for commits that make the same change as one of the patches, whatever they are
        called; from now on they are among its :meth:`commits`. Whether there is any."""
        for patch in patches:
            if not self.commits(patch):
                self._known[patch.number] = self._asked(partial(self._by_change, patch))
        return any(self._known.get(patch.number) for patch in patches)

    def _asked(self, ask: Callable[[], Iterable[Found]]) -> tuple[Found, ...]:
        """What was found out. A search that fails or takes too long is a note, and the last one."""
        try:
            return tuple(ask()) if self._deep() else ()
        except StageError as error:
            reason = re.sub(r"^`.*?` ", "git ", error.message.splitlines()[0])
            self.notes.append(f"the tree's history was not searched to its end: {reason}")
            self._bounds = []
            return ()

    def _deep(self) -> bool:
        """Whether there is a history; its bounds are found once."""
        if self._bounds is None:
            alone = self.git.line("rev-list", "--count", "--max-count=2", self.commit) == "1"
            words = [
                "--max-count=1",
                f"--skip={MOST_COMMITS}",
                "--no-commit-header",
                "--format=%ct",
                self.commit,
            ]
            last = "" if alone else self._run("rev-list", *words).strip()
            self._bounds = [] if alone else [*([f"--since={last}"] if last else []), self.commit]
        return bool(self._bounds)

    def _run(self, *words: str, stdin: str | None = None) -> str:
        return self.git.run(*words, stdin=stdin, timeout_s=MOST_SECONDS).stdout

    def _found(self, commit: str, how: str) -> Iterable[Found]:
        """The commit with its change, where the one before it is here, too."""
        if self.git.run("rev-parse", "-q", "--verify", f"{commit}^", ok=None).returncode == 0:
            title = self._run("log", "-1", "--format=%s", commit).strip()
            words = ["-p", "-r", "-M", "--binary", "--full-index", "--no-ext-diff"]
            yield Found(commit, title, how, self._run("diff-tree", *words, f"{commit}^", commit))

    def _by_message(self, patch: Patch) -> Iterable[Found]:
        """One walk over the messages answers for all patches."""
        if self._messages is None:
            sought = {
                text
                for one in self.patches
                for text in (one.title, *(name[:12] for name in upstream(one.body)))
            }
            words = [f"--grep={text}" for text in sorted(filter(None, sought))]
            shown = self._run(
                "log",
                "-F",
                *words,
                "--no-merges",
                "--format=%H%x00%s%x00%b%x01",
                *self._bounds or (),
            )
            rows = (
                row.strip("\n").split("\0") for row in shown.split("\1") if row.count("\0") == 2
            )
            self._messages = {commit: (subject, body) for commit, subject, body in rows}
        ids = upstream(patch.body)
        for commit, (subject, body) in self._messages.items():
            if " ".join(_TAGS.sub("", subject).split()) == " ".join(patch.title.split()):
                yield from self._found(commit, "its title")
            elif any(one[:12] == two[:12] for one in upstream(body) for two in ids):
                yield from self._found(commit, "the commit that both are copies of")
        for name in ids:
            whole = self.git.run(
                "rev-parse", "-q", "--verify", f"{name}^{{commit}}", ok=None
            ).stdout.strip()
            if (
                whole
                and self.git.run(
                    "merge-base", "--is-ancestor", whole, self.commit, ok=None
                ).returncode
                == 0
            ):
                yield from self._found(whole, "its id in the patch's message")

    def _by_change(self, patch: Patch) -> Iterable[Found]:
        """The commits that touch the patch's files, by what they change."""
        paths = [f":(literal){name}" for name in file_names(parse_diff(patch.diff))]
        if not paths or len(paths) > MOST_CHANGED:
            return
        log = self._run(
            "log",
            "-p",
            "--full-index",
            "--no-merges",
            "--no-ext-diff",
            f"--max-count={MOST_TOUCHING}",
            "--format=commit %H",
            *self._bounds or (),
            "--",
            *paths,
        )
        for row in self._run("patch-id", "--stable", stdin=log).splitlines():
            same, commit = row.split()
            if same == patch.patch_id:
                yield from self._found(commit, "what it changes")
