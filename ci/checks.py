"""The project's own checks: format, lint, types, shell scripts, tests."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ci import command
from ci.errors import StageError
from ci.progress import Progress

LIMIT_S = 600.0
TESTS_LIMIT_S = 5400.0


def check(root: Path, progress: Progress) -> int:
    """Format, lint, mypy --strict, shellcheck; 0 when all are clean, else 1 with what they said."""
    tool = Path(sys.executable).parent
    if not (tool / "ruff").exists():
        raise StageError(
            "check", f"there is no ruff in {tool}: `ci/bootstrap.sh check` installs the tools of the tests"
        )
    files = command.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], stage="check",
                        timeout_s=60, cwd=root).stdout.split("\0")  # fmt: skip
    scripts = [name for name in files if name and _is_shell(root / name)]
    rows: tuple[tuple[str, Sequence[str | Path]], ...] = (
        ("format", (tool / "ruff", "format", "--check", ".")),
        ("lint", (tool / "ruff", "check", ".")),
        ("types", (tool / "mypy",)),
        ("shell", (command.require("check", "shellcheck", "shellcheck"), *scripts)),
    )
    failed = 0
    for name, argv in rows:
        done = command.run(argv, stage="check", timeout_s=LIMIT_S, cwd=root, ok=None)
        progress.note(f"{name}: {'clean' if done.returncode == 0 else 'FAILED'}")
        if done.returncode != 0:
            failed = 1
            print((done.stdout + done.stderr).rstrip())
    return failed


def _is_shell(path: Path) -> bool:
    """Whether the file's first line asks for a shell."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.readline(40).rstrip() in (b"#!/bin/sh", b"#!/bin/bash")


def test(root: Path, *, unit: bool, choice: str) -> int:
    """pytest: what takes seconds on all cores, then, unless ``unit``, what boots guests, one after another, for those
    use all cores themselves. ``choice`` is pytest's -k. 0 only when every test passed."""
    chosen = ["-k", choice] if choice else []
    rows = [["-m", "not guest", "-n", "auto"], *([] if unit else [["-m", "guest"]])]
    codes = [
        subprocess.run([sys.executable, "-m", "pytest", *row, *chosen], cwd=root, timeout=TESTS_LIMIT_S).returncode
        for row in rows
    ]
    # pytest's 5: nothing was chosen, which is fine for one of the two.
    bad = [code for code in codes if code not in (0, 5)]
    return bad[0] if bad else int(all(code == 5 for code in codes))
