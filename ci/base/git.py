# SPDX-License-Identifier: GPL-2.0-only
"""Git as a function of its arguments: no user or system configuration, hooks, filters, prompts or
clock."""

import os
import re
import tempfile
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from ci.base import processes
from ci.base.errors import StageError
from ci.base.processes import CommandResult
from ci.base.workspace import write_text

TRANSPORTS = ("https", "http", "git", "ssh", "file")
SETTINGS = {
    "core.hooksPath": "/dev/null",
    "core.attributesFile": "/dev/null",
    "core.excludesFile": "/dev/null",
    "core.fsmonitor": "false",
    "core.autocrlf": "false",
    "core.quotePath": "true",
    # Names that another file system would take for .git, on each.
    "core.protectHFS": "true",
    "core.protectNTFS": "true",
    "core.looseCompression": "1",
    "core.packedRefsTimeout": "10000",
    "commit.gpgSign": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "advice.detachedHead": "false",
    "init.defaultBranch": "main",
    "protocol.allow": "never",
    **{f"protocol.{name}.allow": "always" for name in TRANSPORTS},
}
# Commits of ours say nothing of the machine or the moment: the same trees give the same commit ids.
IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (
        ("NAME", "patchverdict"),
        ("EMAIL", "none@invalid"),
        ("DATE", "1700000000 +0000"),
    )
}
ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_CONFIG_GLOBAL": str(Path(__file__).with_name("gitconfig")),
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "true",
    "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    **IDENTITY,
}
# What ssh needs of the user's, besides a home; only git's own remote commands get it.
SSH = ("SSH_AUTH_SOCK", "KRB5CCNAME")
# https://git.kernel.org/pub/scm/linux/kernel/git/netdev/net.git, ssh://git@host/net.git
ADDRESS = re.compile(r"(https?|git|ssh|file)://[^\s\x00-\x1f\x7f-][^\s\x00-\x1f\x7f]*")
WHOLE_ID = re.compile(r"[0-9a-f]{40}")
KEPT = 100  # files, and folders, that are not read again
# v6.12, main, 98befba9447e6167158771f3f6b4b3d402c585b1
REF = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]*")


def split_remote(spec: str, where: str) -> tuple[str, str]:
    """``URL@REF`` taken apart. A :class:`StageError` that begins with ``where`` for what is none:
    both reach command lines."""
    url, at, ref = spec.rpartition("@")
    if not at or not ADDRESS.fullmatch(url):
        raise StageError(
            "fetch", f"{where}: give git:URL@REF with a https, git, ssh or file URL", asked=True
        )
    if not REF.fullmatch(ref):
        raise StageError("fetch", f"{where}: {ref!r} is not a commit, tag or branch", asked=True)
    return url, ref


# All that `git apply` (apply.c) blames a patch for, behind "error: ". The exit code tells nothing:
# a blob that cannot be read ends with 1, as a hunk that does not fit does; a corrupt patch with
# 128, as a full disk does.
REFUSALS = (
    r"patch failed: .+:\d+",
    r".+: (patch does not apply|wrong type|does not match index|does not exist in index)",
    r".+: already exists in (index|working directory)",
    r"(corrupt|unrecognized) (binary )?patch (at line|for submodule) .*|unrecognized input",
    r"(affected file|reading from) '.*' (is )?beyond a symbolic link",
    r"(cannot (reverse-)?apply (a )?|missing )binary patch .*",
    r"binary patch (does not apply )?to '.*",
    r"the patch applies to (an empty )?'.*",
    r"new (mode .* does not match|file .* depends on) old .*",
    (
        r"(invalid (path|mode|start of line)|unable to find filename|inconsistent header"
        r" lines|patch fragment without header)\b.*"
    ),
    (
        r"(git diff header lacks filename|git apply: bad git-diff|recount: unexpected line|patch"
        r" with only garbage)\b.*"
    ),
    r"No valid patches in input.*|path .* has been renamed/deleted",
    r"deleted file .* still has contents|removal patch leaves file contents",
)
REFUSAL = re.compile(f"error: ({'|'.join(REFUSALS)})")


def patch_refused(done: CommandResult) -> bool:
    """Whether ``git apply`` failed because of the patch. Of anything else (no space, an object that
    cannot be read, words that we do not know) nothing can be said about it: see :meth:`Git.judged`.
    """
    complaints = [
        line for line in done.stderr.splitlines() if line.startswith(("error: ", "fatal: "))
    ]
    return (
        done.returncode in (1, 128)
        and bool(complaints)
        and all(REFUSAL.fullmatch(line) for line in complaints)
    )


def check_written(folder: Path, stage: str) -> None:
    """Call it after ``git mailinfo`` and ``git mailsplit`` wrote into ``folder``: on a full disk
    they cut their files short and end with 0. Where nothing more can be written there, a
    :class:`StageError` says so."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(1 << 16))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise StageError(
            stage, f"{folder}: nothing can be written there: {error.strerror}"
        ) from None


def remove_stale(gitdir: Path, *patterns: str) -> None:
    """Remove what a git that was killed left in a repository of ours, such as locks, which would
    stop each later one. The caller holds a lock without which nobody writes such files there."""
    for pattern in patterns:
        for stale in gitdir.glob(pattern):
            stale.unlink(missing_ok=True)


@dataclass(frozen=True)
class Git:
    """One repository, named by a folder inside it (or by its work tree)."""

    folder: Path
    stage: str

    def run(
        self,
        *args: str | Path,
        stdin: str | None = None,
        env: Mapping[str, str] | None = None,
        ok: Collection[int] | None = (0,),
        timeout_s: float = 600,
    ) -> CommandResult:
        """``git ARGS`` in the repository; see :func:`ci.base.processes.run` for errors."""
        options = [word for key, value in SETTINGS.items() for word in ("-c", f"{key}={value}")]
        return processes.run(
            ["git", *options, *args],
            stage=self.stage,
            cwd=self.folder,
            stdin=stdin,
            env=ENVIRONMENT | dict(env or {}),
            ok=ok,
            timeout_s=timeout_s,
        )

    def ask(
        self,
        *args: str | Path,
        stdin: str | None = None,
        ok: Collection[int] | None = (0,),
        timeout_s: float,
    ) -> CommandResult:
        """``git ARGS`` that talks to another repository: ssh may use the user's agent."""
        user = {name: os.environ[name] for name in SSH if name in os.environ}
        return self.run(*args, stdin=stdin, env=user, ok=ok, timeout_s=timeout_s)

    def judged(
        self, *args: str | Path, stdin: str, env: Mapping[str, str] | None = None
    ) -> CommandResult:
        """``git ARGS`` that judges the patch on stdin, as ``git apply`` does: it ends with 0 where
        the patch is taken, else :func:`patch_refused` holds. A failure of git's own, or of the
        machine, is a :class:`StageError`.
        """
        done = self.run(*args, stdin=stdin, env=env, ok=None)
        if done.returncode != 0 and not patch_refused(done):
            reply = (
                done.stderr.strip()[-1000:]
                or f"it ended with exit code {done.returncode} without a word"
            )
            raise StageError(self.stage, f"git {args[0]} could not look at the patch: {reply}")
        return done

    def line(self, *args: str | Path, env: Mapping[str, str] | None = None) -> str:
        """The single line that ``git ARGS`` prints."""
        return self.run(*args, env=env).stdout.strip()

    def text(self, commit: str, path: str) -> str | None:
        """Text of a file of a commit, ``None`` where it has none; one that cannot be read is a
        :class:`StageError`. What is named by its whole id is read once in a process."""
        return (_kept_text if WHOLE_ID.fullmatch(commit) else _text)(self, commit, path)

    def entries(self, commit: str, *paths: str) -> Mapping[str, str]:
        """Ids of the named entries of a commit, of its top level for none (``dir/`` is what is in
        it); missing: left out. What is named by its whole id is read once in a process."""
        return (_kept_entries if WHOLE_ID.fullmatch(commit) else _entries)(self, commit, paths)

    def has(self, commit: str) -> bool:
        """Whether the commit and its tree are here, without asking a remote."""
        return self.run("cat-file", "-e", f"{commit}^{{tree}}", ok=None).returncode == 0


def _text(git: Git, commit: str, path: str) -> str | None:
    entry = git.run("ls-tree", commit, "--", path).stdout
    return git.run("show", f"{commit}:{path}").stdout if entry else None


def _entries(git: Git, commit: str, paths: tuple[str, ...]) -> Mapping[str, str]:
    rows = git.run("ls-tree", "-z", commit, "--", *paths).stdout.split("\0")
    return MappingProxyType({row.partition("\t")[2]: row.split()[2] for row in rows if row})


_kept_text = lru_cache(maxsize=KEPT)(_text)
_kept_entries = lru_cache(maxsize=KEPT)(_entries)


def borrow_objects(lender: Git, gitdir: Path) -> None:
    """Let the repository in ``gitdir`` read the objects of another, in which nothing is written;
    commits end there where they end in the other."""
    common = Path(
        lender.run("rev-parse", "--path-format=absolute", "--git-common-dir").stdout.removesuffix(
            "\n"
        )
    )
    if "\n" in str(common):
        raise StageError(
            lender.stage,
            f"{str(common)!r}: git cannot borrow from a path with a line break; move it",
        )
    write_text(gitdir / "objects/info/alternates", f"{common / 'objects'}\n")
    shallow = common / "shallow"
    if shallow.exists():
        write_text(gitdir / "shallow", shallow.read_text(encoding="ascii"))
