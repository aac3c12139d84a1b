# SPDX-License-Identifier: GPL-2.0-only
"""The checks that a series brings, ``checks/`` of its folder: scripts that run beside the tree's
selftests, and C programs for them. Like all of a series they are data here."""

import re
from collections.abc import Collection, Mapping
from pathlib import Path

from ci.base.errors import StageError
from ci.series import content

FOLDER = "checks"
SCRIPT, PROGRAM, HEADER = ".sh", ".c", ".h"
NAME = re.compile(r"[A-Za-z0-9][\w+-]{0,60}\.(?:sh|c|h)", re.ASCII)  # tfo_deny_join.sh
MOST_FILES, MOST_BYTES = 100, 1_000_000


def read_checks(folder: Path) -> Mapping[str, bytes]:
    """The files of the checks of the series in ``folder``, by their names; none where it has none.
    A :class:`StageError` names a file that is no check."""
    where = folder / FOLDER
    content.check_inside(folder, where)
    if not where.is_dir():
        return {}
    paths = sorted(where.iterdir())
    if len(paths) > MOST_FILES:
        raise StageError("series", f"{where}: more than {MOST_FILES} files")
    found: dict[str, bytes] = {}
    for path in paths:
        if not NAME.fullmatch(path.name):
            raise StageError(
                "series", f"{str(path)!r}: {FOLDER}/ takes scripts (NAME.sh), and NAME.c and NAME.h"
            )
        content.check_inside(folder, path)
        found[path.name] = content.read_content(path, MOST_BYTES)
    scripts, programs = (
        {name.rpartition(".")[0] for name in found if name.endswith(kind)}
        for kind in (SCRIPT, PROGRAM)
    )
    if programs and not scripts:
        raise StageError("series", f"{where}: programs, and no script that runs them")
    return found


def list_scripts(files: Collection[str]) -> tuple[str, ...]:
    """The scripts among the files of checks."""
    return tuple(sorted(name for name in files if name.endswith(SCRIPT)))
