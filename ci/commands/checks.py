# SPDX-License-Identifier: GPL-2.0-only
"""The project's own checks: format, lint, types, shell scripts, tests."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ci.base import processes
from ci.base.errors import StageError
from ci.base.exit_codes import ExitCode
from ci.base.progress import Progress
from ci.commands import rules

LIMIT_S = 600.0
TESTS_LIMIT_S = 5400.0


def check_project(root: Path, progress: Progress) -> ExitCode:
    """Format, lint, mypy --strict, shellcheck, our own rules; 0 when all are clean, else 1 with
    what they said. A :class:`StageError` where one broke down itself and none found a fault."""
    tool = Path(sys.executable).parent
    if not (tool / "ruff").exists():
        raise StageError(
            "check",
            f"there is no ruff in {tool}: `ci/bootstrap.sh check` installs the tools of the tests",
        )
    scripts = _shell_scripts(root)
    rows: tuple[tuple[str, Sequence[str | Path]], ...] = (
        ("format", (tool / "ruff", "format", "--check", ".")),
        ("lint", (tool / "ruff", "check", ".")),
        ("types", (tool / "mypy",)),
        ("shell", (processes.require("check", "shellcheck", "shellcheck"), *scripts)),
    )
    failed, broken = False, ""
    for name, argv in rows:
        done = processes.run(argv, stage="check", timeout_s=LIMIT_S, cwd=root, ok=None)
        # 1 is their word for faults; what does not parse breaks some of them, but is one for the
        # others.
        word = {0: "clean", 1: "FAILED"}.get(done.returncode, "BROKE DOWN")
        progress.note(f"{name}: {word}")
        if done.returncode != 0:
            print((done.stdout + done.stderr).rstrip())
        failed, broken = (
            failed or done.returncode == 1,
            broken or (name if done.returncode > 1 else ""),
        )
    faults = list(rules.find_faults(root, scripts))
    progress.note(f"rules: {'FAILED' if faults else 'clean'}")
    print("".join(f"{fault}\n" for fault in faults), end="")
    failed = failed or bool(faults)
    if broken and not failed:
        raise StageError("check", f"{broken} did not get to its end; see above")
    return ExitCode.REJECTED if failed else ExitCode.ACCEPTED


def _shell_scripts(root: Path) -> list[str]:
    """Names of the project's shell scripts, below ``root``."""
    words = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = processes.run(words, stage="check", timeout_s=60, cwd=root).stdout
    return [name for name in listed.split("\0") if name and _is_shell(root / name)]


def _is_shell(path: Path) -> bool:
    """Whether the file's first line asks for a shell."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.readline(40).rstrip() in (b"#!/bin/sh", b"#!/bin/bash")


def run_tests(root: Path, *, unit: bool, long: bool, choice: str) -> ExitCode:
    """pytest: what takes seconds on all cores; unless ``unit``, then what runs many whole commands,
    likewise, and what boots guests, one after another, for those use all cores themselves.
    ``long`` adds those of further kernels, ``choice`` is pytest's -k. 0 only when each test passed.
    """
    chosen = ["-k", choice] if choice else []
    # A worker that has nothing left takes tests from the others: some take seconds. Many wait for
    # a limit or a clock, so there are two for each core.
    spread = ["--dist", "worksteal", "-n", str(2 * len(os.sched_getaffinity(0)))]
    rows = [["-m", "not guest and not whole", *spread]]
    guest = "guest" if long else "guest and not long"
    rows += [] if unit else [["-m", "whole", *spread], ["-m", guest, "--durations=25"]]
    print(f"tests of {root}", flush=True)  # a stdout that is full is no failed test
    codes = [
        subprocess.run(
            [sys.executable, "-m", "pytest", *row, *chosen], cwd=root, timeout=TESTS_LIMIT_S
        ).returncode
        for row in rows
    ]
    # pytest's 1: a test failed; 5: nothing was chosen, which is fine for some of them; others: it
    # broke down.
    if 1 not in codes and (set(codes) - {0, 5} or set(codes) == {5}):
        raise StageError(
            "test",
            f"pytest ended with exit code {max(codes)}: "
            + ("nothing is chosen" if max(codes) == 5 else "see above"),
        )
    return ExitCode.REJECTED if 1 in codes else ExitCode.ACCEPTED
