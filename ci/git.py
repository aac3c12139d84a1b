"""Git as a function of its arguments: no user or system configuration, hooks, filters, prompts or clock."""

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from ci import command
from ci.command import CommandResult
from ci.workspace import write_text

SETTINGS = {
    "core.hooksPath": "/dev/null",
    "core.attributesFile": "/dev/null",
    "core.excludesFile": "/dev/null",
    "core.fsmonitor": "false",
    "core.autocrlf": "false",
    "core.quotePath": "true",
    "core.looseCompression": "1",
    "core.packedRefsTimeout": "10000",
    "commit.gpgSign": "false",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "advice.detachedHead": "false",
    "init.defaultBranch": "main",
    "protocol.allow": "never",
    **{f"protocol.{name}.allow": "always" for name in ("https", "http", "git", "ssh", "file")},
    # The user's checkout may belong to somebody else than who runs us; we only ever read it.
    "safe.directory": "*",
}
# Commits of ours say nothing of the machine or the moment: the same trees give the same commit ids.
IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "patchverdict"), ("EMAIL", "none@invalid"), ("DATE", "1700000000 +0000"))
}
ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ASKPASS": "true",
    "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_NO_REPLACE_OBJECTS": "1",
    **IDENTITY,
}


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
        """``git ARGS`` in the repository; see :func:`ci.command.run` for errors."""
        options = [word for key, value in SETTINGS.items() for word in ("-c", f"{key}={value}")]
        return command.run(
            ["git", *options, *args],
            stage=self.stage,
            cwd=self.folder,
            stdin=stdin,
            env=ENVIRONMENT | dict(env or {}),
            ok=ok,
            timeout_s=timeout_s,
        )

    def line(self, *args: str | Path, env: Mapping[str, str] | None = None) -> str:
        """The single line that ``git ARGS`` prints."""
        return self.run(*args, env=env).stdout.strip()

    def has(self, commit: str) -> bool:
        """Whether the commit and its tree are here, without asking a remote."""
        return self.run("cat-file", "-e", f"{commit}^{{tree}}", ok=None).returncode == 0


def borrow(lender: Git, gitdir: Path) -> None:
    """Let the repository in ``gitdir`` read the objects of another, in which nothing is written; commits end there where
    they end in the other."""
    common = Path(lender.line("rev-parse", "--path-format=absolute", "--git-common-dir"))
    write_text(gitdir / "objects/info/alternates", f"{common / 'objects'}\n")
    shallow = common / "shallow"
    if shallow.exists():
        write_text(gitdir / "shallow", shallow.read_text(encoding="ascii"))
