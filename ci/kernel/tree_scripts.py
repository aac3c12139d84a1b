# SPDX-License-Identifier: GPL-2.0-only
"""Scripts of the tree that is trusted, run in the sandbox on what a patch brings: checkpatch, and
the generator of netlink headers."""

import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from ci.base import processes, sandbox
from ci.base.errors import BuildError, StageError
from ci.base.processes import CommandResult
from ci.base.sandbox import Mount
from ci.base.workspace import Workspace
from ci.series.patch import Patch
from ci.trees.tree import Tree

LIMIT_S = 300.0
CHECKPATCH = "scripts/checkpatch.pl"
WORD_LISTS = ("scripts/spelling.txt", "scripts/const_structs.checkpatch")
# We do not know of a patch who wrote it, and look at Fixes tags ourselves, with the history.
LEFT_OUT = "NO_AUTHOR_SIGN_OFF,FROM_SIGN_OFF_MISMATCH,BAD_FIXES_TAG,UNKNOWN_COMMIT_ID"
ENDS = (0, 1)  # of checkpatch: nothing was found, or something
YNL, SPECS = "tools/net/ynl", "Documentation/netlink"
GENERATORS = (f"{YNL}/pyynl/ynl_gen_c.py", f"{YNL}/ynl-gen-c.py")  # since 6.14; before
# Whether a spec is of its schema is not asked here, and few machines have the module for it.
NO_SCHEMA = "def validate(*_):\n    pass\n"
MISSING = re.compile(r"ModuleNotFoundError: No module named '(\w+)'")


def can_check(tree: Tree) -> bool:
    """Whether there is a checkpatch, and perl to run it."""
    return bool(tree.subtree(CHECKPATCH)) and bool(_program("perl"))


def mail_text(patch: Patch) -> str:
    """The patch as the mail that `git format-patch` makes of it."""
    return f"Subject: [PATCH] {patch.title}\n\n{patch.body.strip()}\n---\n\n{patch.diff}-- \n2\n"


def check_patch(mail: str, tree: Tree, workspace: Workspace) -> str:
    """What the checkpatch of ``tree`` says of a patch; a :class:`BuildError` where it fails."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _write(tree, [CHECKPATCH, *WORD_LISTS], folder)
        words = ("--no-tree", "--terse", "--showfile", "--show-types", "--no-summary")
        argv = ("perl", folder / CHECKPATCH, *words, f"--ignore={LEFT_OUT}", "-")
        done = _run(argv, folder, workspace, mail)
    if done.returncode not in ENDS:
        raise BuildError("checkpatch", f"{CHECKPATCH} fails: {_last_line(done, folder)}")
    return done.stdout


def find_generator(tree: Tree) -> str:
    """The script that makes headers of netlink specs, empty where there is none, or no python3."""
    there = tree.subtree(*GENERATORS)
    found = [name for name in GENERATORS if name in there]
    return found[0] if found and _program("python3") else ""


def generate_header(spec: str, text: str, tree: Tree, workspace: Workspace) -> str:
    """The header that the generator of ``tree`` makes of the ``text`` of the file ``spec``; a
    :class:`BuildError` where it fails."""
    script = find_generator(tree)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        listed = tree.source.git.run(
            "ls-tree", "-r", "-z", "--name-only", tree.commit, "--", f"{YNL}/", f"{SPECS}/"
        ).stdout.split("\0")
        shared = [name for name in listed if name.startswith(f"{YNL}/") and name.endswith(".py")]
        shared += [name for name in listed if Path(name).parent == Path(SPECS)]
        _write(tree, shared, folder)
        _put(folder / spec, text)
        _put((folder / script).with_name("jsonschema.py"), NO_SCHEMA)
        _put(folder / "MAINTAINERS", "")  # by which it knows the top
        words = ("--mode", "uapi", "--header", "--spec", folder / spec)
        done = _run(("python3", "-B", folder / script, *words), folder, workspace)
    if done.returncode == 0:
        return done.stdout
    if found := MISSING.search(done.stderr):
        what = f"python3 has no module {found[1]}; install the package python3-{found[1]}"
        raise StageError("findings", what)
    raise BuildError("netlink spec", _last_line(done, folder))


def _program(name: str) -> str | None:
    return shutil.which(name, path=sandbox.PROGRAMS)


def _write(tree: Tree, names: Iterable[str], folder: Path) -> None:
    """Those of the files that a tree has, below ``folder``."""
    for name in names:
        if (text := tree.source.git.text(tree.commit, name)) is not None:
            _put(folder / name, text)


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8", errors="surrogateescape")


def _run(
    words: Sequence[str | Path], folder: Path, workspace: Workspace, stdin: str | None = None
) -> CommandResult:
    """Run a script that lies in ``folder``, which it can only read, to its end."""
    if workspace.confined:
        mounts = (Mount(folder, folder),)
        return sandbox.run_confined(
            words, mounts, stage="findings", timeout_s=LIMIT_S, env={}, stdin=stdin
        )
    env = {"PATH": sandbox.PROGRAMS, "HOME": str(folder), "LC_ALL": "C.UTF-8"}
    return processes.run(
        words, stage="findings", timeout_s=LIMIT_S, cwd=folder, env=env, stdin=stdin, ok=None
    )


def _last_line(done: CommandResult, folder: Path) -> str:
    """What a script that failed says at its end."""
    said = (done.stderr or done.stdout).replace(f"{folder}/", "").strip().splitlines()[-1:]
    return f"{said[0][:200] if said else 'it says nothing'} (exit code {done.returncode})"
