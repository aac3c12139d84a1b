# SPDX-License-Identifier: GPL-2.0-only
"""Which kernel configuration is asked for: the normal one, another of ours such as ``debug``, or a
fragment of the user's on top of either. Each has an object directory and a word in the cases'
names of its own."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ci.base.errors import StageError
from ci.base.records import from_facts
from ci.base.settings import CONFIGS
from ci.base.workspace import Workspace, digest
from ci.kernel import kconfig
from ci.kernel.kconfig import Fragment
from ci.trees.source import Source
from ci.trees.tree import Tree

NORMAL_NAME = CONFIGS[0]
TABLE = "images/configs.toml"
# A fragment is a few lines; all symbols of a kernel are 300 KB.
MOST_BYTES = 2**20


@dataclass(frozen=True)
class Needs:
    """What guests of a configuration need besides its kernel. ``time_factor`` is how much slower
    it makes them: it stretches each limit. ``cmdline`` are further parameters of the kernel with
    their reasons, ``environment`` is for the scripts."""

    memory_mb: int = 1024
    time_factor: int = 1
    cmdline: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Configuration:
    """``name`` stands in the cases' class names, ``fragments`` are what it asks for besides what
    all kernels have, ``folder`` is its object directory, beside the work tree. ``traced`` are
    objects, such as ``net/mptcp/pm.o``, that are compiled to be watched
    (:mod:`ci.kernel.traced`)."""

    name: str = NORMAL_NAME
    fragments: tuple[Fragment, ...] = ()
    needs: Needs = field(default_factory=Needs)
    folder: str = Source.objects
    traced: tuple[str, ...] = ()

    def place_objects(self, tree: Tree) -> Tree:
        """The tree, with the object directory of kernels that are so configured."""
        tree = replace(tree, source=replace(tree.source, objects=self.folder))
        # A kernel that is traced is built in a copy, whoever's tree it is of.
        return replace(tree, ground=tree.ground or tree) if self.traced else tree

    def with_tests(self, symbols: str) -> "Configuration":
        """The same with the kernel's own tests, which these ``symbols`` ask for. Most objects are
        others then, so they have a directory of their own."""
        tests = kconfig.parse_fragment(symbols, "the symbols of KUnit")
        fragments = (*self.fragments, tests)
        return replace(self, fragments=fragments, folder=f"{self.folder}-kunit")


NORMAL = Configuration()


def read_configuration(words: Sequence[str], workspace: Workspace) -> Configuration:
    """The configuration for the words of ``--config``: names out of ``CONFIGS`` and absolute paths
    of fragments. A :class:`StageError` names the line that cannot be read."""
    names = [word for word in words if word in CONFIGS and word != NORMAL_NAME]
    files = [word for word in words if word not in CONFIGS]
    if not names and not files:
        return NORMAL
    fragments = [_read_fragment(workspace.root / f"images/kconfig/{one}.config") for one in names]
    fragments += [_read_fragment(Path(one), asked=True) for one in files]
    name = "-".join([*names, *map(_plain_stem, files)])
    # Two files may have one name; that of a file says nothing of what is in it.
    mark = f"-{digest(files)[:8]}" if files else ""
    rows = [Needs(), *(row for one, row in _read_table(workspace).items() if one in names)]
    return Configuration(name, tuple(fragments), rows[-1], f"obj-{name}{mark}")


def _read_table(workspace: Workspace) -> Mapping[str, Needs]:
    try:
        table = tomllib.loads((workspace.root / TABLE).read_text(encoding="utf-8"))
        return {name: from_facts(row, Needs) for name, row in table.items()}
    except (OSError, ValueError) as error:
        raise StageError("build", f"{TABLE}: {error}") from None


def _read_fragment(path: Path, *, asked: bool = False) -> Fragment:
    name = str(path) if asked else f"images/kconfig/{path.name}"
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1).decode()
        if len(text) > MOST_BYTES:
            raise ValueError("larger than 1 MB, so no fragment of a configuration")
        return kconfig.parse_fragment(text, name)
    except (OSError, ValueError) as error:
        raise StageError("options", f"--config {name}: {error}") from None
    except StageError as error:
        raise StageError("options", f"--config: {error.message}") from None


def _plain_stem(path: str) -> str:
    """A file's name as a word of class names and folders, which is none of ours: the normal
    configuration's cases are its own."""
    stem = re.sub(r"[^A-Za-z0-9_]+", "_", Path(path).stem)[:40].strip("_")
    return f"file_{stem}" if stem in ("", *CONFIGS) else stem
