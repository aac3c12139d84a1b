# SPDX-License-Identifier: GPL-2.0-only
"""The checks of a series, made for the guest: its scripts, and its C programs, compiled for each
side with that side's own sources."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from ci.base.errors import BuildError
from ci.base.sandbox import Mount
from ci.base.untrusted import copy_below, fresh_folder
from ci.base.workspace import Workspace, digest
from ci.guest.selftests import GUEST_SELFTESTS, TRACED, headers, place_programs, segment_words
from ci.kernel import build, objects
from ci.kernel.build import Toolchain
from ci.series.check_files import PROGRAM, SCRIPT
from ci.suites.collection import SELFTESTS, Collection
from ci.suites.kunit import KUNIT
from ci.trees.tree import Tree

LIMIT_S = 300.0
MOST_BYTES = 64 << 20  # of a program
# Where a selftest that a check takes in may have its headers from, besides its own folder and the
# kernel's: since 7.0 those of mptcp ask for the tools' headers.
SHARED, LAST = "tools/testing/selftests", "tools/include"


def install_checks(
    files: Mapping[str, bytes],
    tree: Tree,
    workspace: Workspace,
    tools: Toolchain,
    collection: Collection,
    installed: Path,
    log: Path,
    *,
    traced: bool = False,
) -> Path:
    """Folder with the checks among whose ``files`` are scripts and the sources of programs, laid
    out as the selftests that are ``installed`` of ``tree``. A program is compiled with the headers
    of that tree's kernel, and finds the sources of its selftests: it may take one in, to watch what
    it does. A :class:`BuildError` where one does not compile. ``traced``: as in
    :func:`ci.guest.selftests.install_selftests`.
    """
    key = digest(
        "checks",
        (SHARED, LAST),
        sorted((name, data.hex()) for name, data in files.items()),
        installed.name,
        *(["traced"] if traced else []),
    )
    entry, programs = workspace.entry("checks", key), list_programs(files)

    def make(fresh: Path) -> None:
        target = fresh / GUEST_SELFTESTS / collection.target
        target.mkdir(parents=True)
        for name in (name for name in files if name.endswith(SCRIPT)):
            (target / name).write_bytes(files[name])
            (target / name).chmod(0o755)
        if programs:
            segments = place_programs(tree, collection, programs) if traced else {}
            _compile(files, tree, workspace, tools, collection, target, log, segments)

    return workspace.keep(entry, tree.checked_out(workspace), make)


def check_names(files: Mapping[str, bytes], collection: Collection, installed: Path) -> None:
    """A :class:`BuildError` where a check has the name of a selftest that is ``installed``, or of
    the kernel's own tests."""
    folder = installed / GUEST_SELFTESTS / collection.target
    for name in files:
        there = (folder / name.removesuffix(PROGRAM)).exists() or (folder / name).exists()
        if there or name.removesuffix(SCRIPT) == KUNIT:
            raise BuildError("build", f"checks/{name}: a selftest of the tree has that name")


def list_programs(files: Mapping[str, bytes]) -> Sequence[str]:
    """The programs that the C files among the checks make."""
    return sorted(name.removesuffix(PROGRAM) for name in files if name.endswith(PROGRAM))


def _compile(
    files: Mapping[str, bytes],
    tree: Tree,
    workspace: Workspace,
    tools: Toolchain,
    collection: Collection,
    target: Path,
    log: Path,
    segments: Mapping[str, int],
) -> None:
    """The programs in ``target``, linked as the selftests are."""
    src, home = tree.source.slot / "src", objects.home_folder(tree, workspace)
    own, out = src / SELFTESTS / collection.target, tree.source.slot / "checks"

    with headers(tree, workspace, tools, log, LIMIT_S) as obj, fresh_folder(out):
        (out / "made").mkdir()
        for name, data in files.items():
            (out / name).write_bytes(data)
        mounts = (
            build.object_mount(tree, workspace, obj, writable=False),
            Mount(out, out),
            Mount(out / "made", out / "made", writable=True),
        )
        for made in list_programs(files):
            words = ["gcc", "-O2", "-Wall", "-static", f"-ffile-prefix-map={out}=."]
            at = segments.get(made)
            words += [*TRACED, *segment_words(at)] if at else ["-s"]
            words += [f"-I{own}", f"-I{src / SHARED}", f"-isystem{home}/usr/include"]
            words += ["-idirafter", f"{src / LAST}"]
            argv: list[str | Path] = [*words, "-o", out / "made" / made, out / f"{made}{PROGRAM}"]
            build.run_make(argv, tree, workspace, tools, mounts, timeout_s=LIMIT_S, log=log)
            copy_below(out / "made", made, target / made, MOST_BYTES)
