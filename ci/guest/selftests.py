# SPDX-License-Identifier: GPL-2.0-only
"""The selftests of a tree, as its own Makefiles install them for the guest."""

import contextlib
import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from ci.base import sandbox
from ci.base.arch import GUEST
from ci.base.errors import BuildError
from ci.base.sandbox import Mount
from ci.base.untrusted import copy_tree, fresh_folder
from ci.base.workspace import Workspace, digest
from ci.guest import stray_files
from ci.kernel import build, objects
from ci.kernel.build import Toolchain
from ci.suites.collection import SELFTESTS, Collection, Script
from ci.trees.tree import Tree

LIMIT_S = 1800.0
MOST_INSTALLED = 512 << 20  # bytes; mptcp's are 7 MB
# How programs that are to be watched are compiled, and where they begin: each has 16 MB of its own,
# all below the 2 GB that static code reaches.
TRACED = ("-g", "-Og", "-fno-inline-small-functions")
FIRST_SEGMENT, SEGMENT, MOST_TRACED = 0x10000000, 0x1000000, 100
# Where the selftests lie in the guest: kselftest's own layout, so that ../lib.sh is found.
GUEST_SELFTESTS = "selftests"
# What may be a file's name in a script: "mptcp_lib.sh" of ". ./mptcp_lib.sh"
NAME = re.compile(r"[\w.+-]+")


def install_selftests(
    tree: Tree,
    workspace: Workspace,
    tools: Toolchain,
    collection: Collection,
    log: Path,
    *,
    traced: bool = False,
) -> Path:
    """Folder with a collection's selftests, installed by the Makefiles of ``tree``. The programs
    are static and stripped: they run on the guest's C library whatever the host's is, and say
    nothing of the host's paths. ``traced`` ones have the tables of their lines, and no two of them
    share an address.
    """
    inputs = tree.subtree(SELFTESTS, "include/uapi", GUEST.uapi, "usr", "scripts")
    what = (collection.target, collection.variables, *(["traced"] if traced else []))
    folder = workspace.entry("selftests", digest("selftests", inputs, asdict(tools), what))
    segments = place_programs(tree, collection) if traced else {}
    src, home = tree.source.slot / "src", objects.home_folder(tree, workspace)

    def make(fresh: Path) -> None:
        out = tree.source.slot / "selftests"
        with headers(tree, workspace, tools, log, LIMIT_S) as obj, fresh_folder(out):
            for name in ("made", "installed"):
                (out / name).mkdir()
            words = _install_words(collection, src, home, out, segments)
            seen = build.object_mount(tree, workspace, obj, writable=False)
            mounts = (seen, Mount(out, out, writable=True))
            build.run_make(words, tree, workspace, tools, mounts, timeout_s=LIMIT_S, log=log)
            own = src / SELFTESTS / collection.target
            made = ((out / "made", (out, src, home)), (own, (src, home)))
            _take_over(out / "installed", fresh / GUEST_SELFTESTS, made, log)
        if not (fresh / GUEST_SELFTESTS / collection.target).is_dir():
            text = f"`make install` of the selftests installed nothing of {collection.target}"
            raise BuildError("build", text, log=log)

    return workspace.keep(folder, tree.checked_out(workspace), make)


def segment_words(at: int) -> tuple[str, ...]:
    """What tells gcc to link a program for that address."""
    return ("-Xlinker", f"-Ttext-segment={at:#x}")


def _take_over(
    installed: Path, target: Path, made: Iterable[tuple[Path, Sequence[Path]]], log: Path
) -> None:
    """Copy what was installed, unless a guest could get a file of the host with it."""
    if stray := stray_files.find_stray(installed) or stray_files.find_leading_out(made):
        raise BuildError("build", f"the selftests cannot go into a guest: {stray}", log=log)
    copy_tree(installed, target, MOST_INSTALLED)


@contextlib.contextmanager
def headers(
    tree: Tree, workspace: Workspace, tools: Toolchain, log: Path, limit_s: float
) -> Iterator[Path]:
    """The object directory of ``tree`` with its uapi headers, as long as it is needed."""

    def make(obj: Path) -> None:
        words = build.make_words(tree, workspace, f"-j{sandbox.CORES}", "headers")
        mounts = [build.object_mount(tree, workspace, obj)]
        build.run_make(words, tree, workspace, tools, mounts, timeout_s=limit_s, log=log)

    home = objects.home_folder(tree, workspace)
    with objects.object_folder(tree, workspace) as obj:
        objects.use_objects(tree, build.objects_key(tools), make, obj, home)
        yield obj


def script_digest(installed: Path, script: Script) -> str:
    """Digest of a script and of all that it may use: the installed files whose names stand in its
    text, in theirs, and so on. The trusted side's text decides, so a name that it makes up while
    it runs is the only one that is not seen. Empty where the script is not installed."""
    root = installed / GUEST_SELFTESTS
    files: dict[str, list[Path]] = {}
    for path in sorted(path for path in root.rglob("*") if path.is_file() or path.is_symlink()):
        files.setdefault(path.name, []).append(path)
    due, used = [root / script.folder / script.program], dict[str, object]()
    while due:
        path = due.pop()
        name = str(path.relative_to(root))
        if name in used or not path.is_file() or path.is_symlink():
            used.setdefault(name, str(path.readlink()) if path.is_symlink() else "")
            continue
        data = path.read_bytes()
        used[name] = (hashlib.sha256(data).hexdigest(), bool(path.stat().st_mode & 0o100))
        words = set() if b"\0" in data else set(NAME.findall(data.decode("utf-8", "replace")))
        due += [other for word in sorted(words & files.keys()) for other in files[word]]
    return digest("script", sorted(used.items()))


def place_programs(
    tree: Tree, collection: Collection, more: Iterable[str] = ()
) -> Mapping[str, int]:
    """Where the program of each C file of the collection begins in memory when it is traced, and
    that of ``more``."""
    names = [Path(name) for name in sorted(tree.subtree(f"{collection.folder}/"))]
    programs = [*(path.stem for path in names if path.suffix == ".c"), *more][:MOST_TRACED]
    return {name: FIRST_SEGMENT + at * SEGMENT for at, name in enumerate(programs)}


def _install_words(
    collection: Collection, src: Path, obj: Path, out: Path, segments: Mapping[str, int]
) -> list[str | Path]:
    """The command line of kselftest's make. Its programs are compiled and linked in one go, which
    ccache does not keep."""
    flags = f"-ffile-prefix-map={src}=. -ffile-prefix-map={obj}=."
    link = "-static -s"
    if segments:
        flags, link = f"-ffile-prefix-map={obj}=. {' '.join(TRACED)}", "-static"
        for name, at in segments.items():
            link += f" $(if $(filter {name},$(notdir $@)),{' '.join(segment_words(at))})"
    return [
        "make",
        f"-j{sandbox.CORES}",
        "-C",
        src / SELFTESTS,
        f"TARGETS={collection.target}",
        "SKIP_TARGETS=",
        f"O={out / 'made'}",
        f"INSTALL_PATH={out / 'installed'}",
        f"KHDR_INCLUDES=-isystem {obj}/usr/include",
        "CC=gcc",
        f"USERCFLAGS={flags}",
        f"USERLDFLAGS={link}",
        "FORCE_TARGETS=1",
        f"ARCH={GUEST.kbuild}",
        *collection.variables,
        "install",
    ]
