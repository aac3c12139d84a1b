# SPDX-License-Identifier: GPL-2.0-only
"""A git index of our own, on which changes are tried: no work tree is touched, nothing is left half
done."""

import re
import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from ci.base.git import Git
from ci.series.diff import FileDiff, file_names, line_key, parse_diff, tells_something
from ci.trees.place import Text

# As far as files are read that may have taken code over.
MOST_READ = 32_000_000
MOST_FILES = 64
MOST_NAMESAKES = 8
# A change of more files is put on as it is, or not at all: each is an argument of git's commands.
MOST_CHANGED = 1000
TELLTALES = 8
_WORDS = re.compile(r"[^\0\ud800-\udfff]+")  # what a command line can hold


class Index:
    """An index in a temporary file that holds a tree; whatever fails leaves it as it was."""

    def __init__(self, git: Git, file: Path, tree: str) -> None:
        # Of version 4, paths are compressed: a third less to read and to write in each command.
        self.git, self.env = git, {"GIT_INDEX_FILE": str(file), "GIT_INDEX_VERSION": "4"}
        self.texts: dict[tuple[str, str], Text] = {}
        self.tree, self.written = "", False
        self.reset(tree)

    def reset(self, tree: str) -> None:
        """Hold another tree, or the last one as it was written. Between two that hardly differ only
        what differs is written: to read a whole tree costs four times as much."""
        if (tree, True) == (self.tree, self.written):
            return
        rows = list(self._between(tree)) if self.written else None
        if rows is None or len(rows) > MOST_CHANGED:
            self.git.run("read-tree", tree, env=self.env)
        elif rows:
            rows.sort(key=lambda row: not row.startswith("0 "))  # a file may have become a folder
            self._enter(rows)
        self.tree, self.written = tree, True

    def _between(self, tree: str) -> Iterator[str]:
        """What makes another tree of the one that is held, as :meth:`_enter` takes it."""
        words = ("diff-tree", "-r", "-z", "--no-renames", "--no-ext-diff", self.tree, tree)
        fields = self.git.run(*words).stdout.split("\0")
        for facts, path in zip(fields[0::2], fields[1::2], strict=False):
            mode, blob = facts.split()[1], facts.split()[3]  # :100644 100644 3f1b.. f31a.. M
            yield f"{'0' if mode == '000000' else mode} {blob}\t{path}\0"

    def _enter(self, rows: Iterable[str]) -> None:
        """Write rows of mode, blob and path; of mode 0 to remove the path."""
        self.git.run("update-index", "-z", "--index-info", stdin="".join(rows), env=self.env)

    def write(self) -> str:
        """Git id of the tree, which is kept as ``tree``."""
        self.tree, self.written = self.git.line("write-tree", env=self.env), True
        return self.tree

    def apply(self, change: str, *, reverse: bool = False) -> str:
        """Apply whole or not at all: every line of context has to match, only line numbers may
        differ. Git's words when it does not apply, else an empty string."""
        words = [
            "apply",
            "--cached",
            "--whitespace=nowarn",
            *(["--reverse"] if reverse else []),
            "-",
        ]
        done = self.git.judged(*words, stdin=change, env=self.env)
        self.written = self.written and done.returncode != 0
        return "" if done.returncode == 0 else done.stderr.strip()

    def differs_in_blanks(self, change: str) -> bool:
        """Whether a change that does not apply would, if white space did not count."""
        words = ("apply", "--cached", "--check", "--ignore-whitespace", "-")
        return self.git.judged(*words, stdin=change, env=self.env).returncode == 0

    def merge(self, change: str, *, reverse: bool = False) -> bool:
        """Apply by a three-way merge with the blobs that the change names; False where they are not
        here, or it conflicts."""
        files = [
            one for one in parse_diff(change) if one.hunks and (one.new if reverse else one.old)
        ]
        old = [one.blobs[1 if reverse else 0] for one in files]
        asked = self.git.run(
            "cat-file", "--batch-check", stdin="".join(f"{blob or 'none'}\n" for blob in old)
        ).stdout
        if not old or any(" blob " not in line for line in asked.splitlines()):
            return False
        self.written = False
        words = [
            "apply",
            "--3way",
            "--cached",
            "--whitespace=nowarn",
            *(["--reverse"] if reverse else []),
            "-",
        ]
        if self.git.run(*words, stdin=change, env=self.env, ok=None).returncode == 0:
            return True
        self.reset(self.tree)
        return False

    def put(self, files: Mapping[str, tuple[str, str] | None]) -> None:
        """Write files: path -> mode and content, None to remove."""
        self.written, rows = False, []
        for path, wanted in files.items():
            blob = "0" * 40
            if wanted:
                blob = self.git.run("hash-object", "-w", "--stdin", stdin=wanted[1]).stdout.strip()
            rows.append(f"{wanted[0] if wanted else '0'} {blob}\t{path}\0")
        self._enter(rows)

    def change(self, before: str, after: str) -> str:
        """The change from one tree to another, with whole blob names."""
        return self.git.run(
            "diff-tree",
            "-p",
            "-r",
            "--binary",
            "--full-index",
            "-M",
            "--no-ext-diff",
            before,
            after,
        ).stdout

    def absent(self, paths: Iterable[str]) -> set[str]:
        """Those of the names that the tree has not."""
        return set(paths) - set(self.git.run("ls-files", "-z", env=self.env).stdout.split("\0"))

    def read(self, files: Sequence[FileDiff]) -> dict[str, Text]:
        """The files of a change, as far as they are there, and those that may have taken their code
        over: in the same folders, or, for a file that is not there, of the same name elsewhere,
        with one of the change's longest lines.
        """
        given = file_names(files)
        if len(given) > MOST_CHANGED:
            return {}
        own = [f":(literal){name}" for name in given]
        wanted = dict(self._listed(*own)) if own else {}
        lines = _telltales(files)
        folders = {str(PurePosixPath(name).parent) for name in given}
        where = [
            f":(glob){'' if folder == '.' else f'{_literal(folder)}/'}*"
            for folder in sorted(folders)
        ]
        where += [f":(literal){path}" for path in self._namesakes(set(given) - set(wanted))]
        if lines and where:
            words = [word for line in lines for word in ("-e", line)]
            hits = self.git.run(
                "grep", "--cached", "-lzFI", *words, "--", *where, env=self.env, ok=(0, 1)
            ).stdout
            others = [path for path in hits.split("\0") if path and path not in wanted]
            wanted |= (
                dict(self._listed(*(f":(literal){path}" for path in others[:MOST_FILES])))
                if others
                else {}
            )
        return self._texts(wanted)

    def _namesakes(self, absent: Collection[str]) -> list[str]:
        """Files elsewhere with the names of those that are not there, but for names such as
        Makefile, which many have."""
        sought: dict[str, list[str]] = {PurePosixPath(path).name: [] for path in absent}
        for path, _ in self._listed() if sought else ():
            if (found := sought.get(path.rpartition("/")[2])) is not None:
                found.append(path)
        return [path for of in sought.values() if len(of) <= MOST_NAMESAKES for path in of]

    def _listed(self, *patterns: str) -> Iterator[tuple[str, tuple[str, str]]]:
        """Path, mode and blob of the regular files that a pattern matches, of all without any."""
        for row in self.git.run("ls-files", "-s", "-z", "--", *patterns, env=self.env).stdout.split(
            "\0"
        ):
            facts, _, path = row.partition("\t")
            if facts[:6] in ("100644", "100755"):
                yield path, (facts[:6], facts.split()[1])

    def _texts(self, wanted: Mapping[str, tuple[str, str]]) -> dict[str, Text]:
        """Files by their blobs, each read once."""
        new = {blob: None for path, (_, blob) in wanted.items() if (path, blob) not in self.texts}
        contents = dict(self._contents(new)) if new else {}
        for path, (mode, blob) in wanted.items():
            if (path, blob) not in self.texts and blob in contents:
                self.texts[path, blob] = Text.of(path, mode, contents[blob])
        return {
            path: self.texts[path, blob]
            for path, (_, blob) in wanted.items()
            if (path, blob) in self.texts
        }

    def _contents(self, blobs: Iterable[str]) -> Iterator[tuple[str, str]]:
        """Blob -> content, of as many as may be read; what is no UTF-8 in them becomes U+FFFD."""
        words = "".join(f"{blob}\n" for blob in blobs)
        sizes = self.git.run(
            "cat-file", "--batch-check=%(objectname) %(objectsize)", stdin=words
        ).stdout
        total, asked = 0, []
        for blob, size in (line.split() for line in sizes.splitlines()):
            if (
                size.isdigit() and total + int(size) <= MOST_READ
            ):  # "missing", in a clone that is not whole
                total += int(size)
                asked.append(blob)
        # The sizes are of bytes; a mark that no file has tells where each begins in what was
        # decoded.
        mark = secrets.token_hex(16)
        shown = self.git.run(
            "cat-file",
            f"--batch={mark} %(objectname)",
            stdin="".join(f"{blob}\n" for blob in asked),
        )
        for part in shown.stdout.split(f"{mark} ")[1:]:
            blob, _, content = part.partition("\n")
            yield blob, content[:-1]


def _telltales(files: Sequence[FileDiff]) -> list[str]:
    """The longest lines that a change adds, and those that it needs: who has taken its code over
    has one of them."""
    found: list[str] = []
    for signs in ("+", "-", " "):
        lines = {
            line[1:].strip()
            for one in files
            for hunk in one.hunks
            for line in hunk.lines
            if line[0] in signs
        }
        usable = [
            line
            for line in lines
            if len(line) < 500 and _WORDS.fullmatch(line) and tells_something(line_key(line))
        ]
        found += sorted(usable, key=lambda line: (-len(line), line))[:TELLTALES]
    return found


def _literal(name: str) -> str:
    """A name as a pattern that means it alone."""
    return re.sub(r"([][*?\\])", r"\\\1", name)
