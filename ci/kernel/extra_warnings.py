# SPDX-License-Identifier: GPL-2.0-only
"""What the compiler (W=1) and sparse (C=2) say of some sources of a tree. The objects of it are in
a copy of the object directory that goes at the end: no kernel is made of them."""

import os
import re
import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from ci.base import processes, sandbox
from ci.base.errors import BuildError
from ci.base.untrusted import remove_untrusted
from ci.base.workspace import Workspace
from ci.kernel import build, objects
from ci.kernel.build import Toolchain
from ci.kernel.configuration import Configuration
from ci.kernel.included import find_users
from ci.suites.collection import Collection as Selftests
from ci.trees.tree import Tree

LIMIT_S = 1800.0
MOST_FILES, MOST_INCLUDING = 40, 10
# What a kernel may be made of, and is a word to make and no more.
SOURCE = re.compile(r"(?!(?:Documentation|samples|scripts|tools|usr)/)\w[\w.+/-]*\.[ch]", re.ASCII)


@dataclass(frozen=True)
class Said:
    """The lines of the tools, files by their names in the tree."""

    compiler: tuple[str, ...]
    sparse: tuple[str, ...]


def sparse_version() -> str:
    """What sparse says of its version, empty where it is not installed."""
    if not (program := shutil.which("sparse", path=sandbox.PROGRAMS)):
        return ""
    return processes.run([program, "--version"], stage="sparse", timeout_s=20).stdout.strip()


def ask_tools(
    tree: Tree,
    names: Collection[str],
    new: Collection[str],
    workspace: Workspace,
    tools: Toolchain,
    selftests: Selftests,
    config: Configuration,
    log: Path,
) -> Said:
    """What the tools say of the C files among ``names``, each a ``SOURCE``, and of some beside a
    header among them that include it, as far as the kernel is made of them: of what is ``new``,
    the last build cannot tell. What does not compile has errors among its lines."""
    placed = config.place_objects(tree)
    home = objects.home_folder(placed, workspace)
    source = replace(placed.source, objects=f"{placed.source.objects}-findings")
    apart = replace(placed, source=source)
    obj, key = objects.home_folder(apart, workspace), build.objects_key(tools)
    # In the sandbox, the copy is seen in the place of the other: no program has to be made anew.
    tree = placed if workspace.confined else apart

    def work(obj: Path) -> Said:
        targets = _targets(tree, names, new, obj, known=objects.are_there(obj, key))
        build.configure_kernel(tree, workspace, tools, selftests, obj, log, config)
        if not targets:
            return Said((), ())
        compiled = _make(tree, workspace, tools, obj, log, "W=1", *targets)
        if not sparse_version():
            return Said(compiled, ())
        # What is compiled by now is only checked.
        return Said(compiled, _make(tree, workspace, tools, obj, log, "W=1", "C=2", *targets))

    with tree.checked_out(workspace):
        try:
            return objects.use_objects(tree, key, work, obj, home)
        finally:
            remove_untrusted(obj)


def _targets(
    tree: Tree, names: Collection[str], new: Collection[str], obj: Path, *, known: bool
) -> Sequence[str]:
    """The objects to be made; where it is ``known`` what the kernel is made of, no others."""
    headers = sorted(name for name in names if name.endswith(".h"))
    users = {
        f"{name.removesuffix('.o')}.c"
        for header in headers
        for name in find_users(obj, f"{PurePosixPath(header).parent}", header)
    }
    including = sorted(users)
    sources = {*names, *including[:MOST_INCLUDING]} - {*headers}
    there = tree.subtree(*sources) if sources else {}
    targets = {name: f"{name.removesuffix('.c')}.o" for name in sorted(there)}
    return [
        target
        for name, target in targets.items()
        if not known or name in new or os.path.lexists(obj / target)
    ]


def _make(
    tree: Tree, workspace: Workspace, tools: Toolchain, obj: Path, log: Path, *words: str
) -> tuple[str, ...]:
    """The lines of make, which goes on to the other objects where one does not compile."""
    lines: list[str] = []
    argv = build.make_words(tree, workspace, f"-j{sandbox.CORES}", "-k", *words)
    mounts = [build.object_mount(tree, workspace, obj)]
    try:
        build.run_make(
            argv,
            tree,
            workspace,
            tools,
            mounts,
            timeout_s=LIMIT_S,
            log=log,
            on_line=lines.append,
        )
    except BuildError:
        if not any("***" in line for line in lines):  # it did not come to its own end
            raise
    src = tree.source.slot / "src"
    return tuple(line.replace(f"{src}/", "").replace(f"../{src.name}/", "") for line in lines)
