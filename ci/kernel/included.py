# SPDX-License-Identifier: GPL-2.0-only
"""Which objects were compiled with a header, as kbuild notes in a file beside each of them."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from ci.base.errors import BuildError
from ci.base.untrusted import read_below

MOST_COMMAND = 1 << 20  # bytes of such a note


def takes_in(obj: Path, name: str, header: str) -> bool:
    """Whether the object ``name`` of an object directory was compiled with ``header``."""
    path = PurePosixPath(name)
    try:
        note = read_below(obj, f"{path.with_name(f'.{path.name}.cmd')}", MOST_COMMAND)
    except BuildError:  # there is none
        return False
    return f"/{header} ".encode() in note


def find_users(obj: Path, folder: str, header: str) -> Iterator[str]:
    """The objects of a folder that were compiled with ``header``, by their names."""
    for path in sorted((obj / folder).glob(".*.o.cmd")):
        name = f"{PurePosixPath(folder) / path.name[1:].removesuffix('.cmd')}"
        if takes_in(obj, name, header):
            yield name
