# SPDX-License-Identifier: GPL-2.0-only
"""The selftests of a tree, as its own Makefiles install them for the guest."""

import os
import shutil
from dataclasses import asdict
from pathlib import Path

from ci.base import processes
from ci.base.arch import GUEST
from ci.base.errors import BuildError, StageError
from ci.base.workspace import Workspace, digest
from ci.kernel import build, objects
from ci.kernel.build import Toolchain
from ci.suites.collection import SELFTESTS, Collection
from ci.trees.tree import Tree

SELFTESTS_LIMIT_S = 1800.0
# Where the selftests lie in the guest: kselftest's own layout, so that ../lib.sh is found.
GUEST_SELFTESTS = "selftests"


def install_selftests(
    tree: Tree, workspace: Workspace, tools: Toolchain, collection: Collection, log: Path
) -> Path:
    """Folder with a collection's selftests, installed by the Makefiles of ``tree``. The programs
    are static and stripped: they run on the guest's C library whatever the host's is, and say
    nothing of the host's paths.
    """
    inputs = tree.subtree(SELFTESTS, "include/uapi", GUEST.uapi, "usr", "scripts")
    what = (collection.target, collection.variables)
    folder = workspace.entry("selftests", digest("selftests", inputs, asdict(tools), what))
    if folder.exists():
        return folder
    src, obj = tree.source.slot / "src", tree.source.slot / "obj"

    def run_make(argv: list[str | Path]) -> None:
        env = build.build_environment(workspace, tools, obj)
        done = processes.run(
            argv, stage="build", timeout_s=SELFTESTS_LIMIT_S, env=env, log=log, ok=None
        )
        if done.returncode != 0:
            raise BuildError("build", build.error_lines(tree, done.stdout + done.stderr), log=log)

    with tree.checked_out(workspace), workspace.publish(folder) as fresh:
        if folder.exists():
            return folder
        words = build.make_words(tree, f"-j{len(os.sched_getaffinity(0))}", "headers")
        objects.use_objects(tree, build.objects_key(tools), lambda _: run_make(words))
        out, installed = fresh / "out", fresh / GUEST_SELFTESTS
        out.mkdir()
        run_make(_install_words(collection, src, obj, out, installed))
        needed = f"{collection.target}/{collection.installed}"
        if not (installed / needed).exists():
            text = f"`make install` of the selftests installed no {needed}"
            raise StageError("build", text, log=log)
        shutil.rmtree(out)
    return folder


def _install_words(
    collection: Collection, src: Path, obj: Path, out: Path, installed: Path
) -> list[str | Path]:
    """The command line of kselftest's make. Its programs are compiled and linked in one go, which
    ccache does not keep."""
    return [
        "make",
        f"-j{len(os.sched_getaffinity(0))}",
        "-C",
        src / SELFTESTS,
        f"TARGETS={collection.target}",
        "SKIP_TARGETS=",
        f"O={out}",
        f"INSTALL_PATH={installed}",
        f"KHDR_INCLUDES=-isystem {obj}/usr/include",
        "CC=gcc",
        f"USERCFLAGS=-ffile-prefix-map={src}=. -ffile-prefix-map={obj}=.",
        "USERLDFLAGS=-static -s",
        "FORCE_TARGETS=1",
        f"ARCH={GUEST.kbuild}",
        *collection.variables,
        "install",
    ]
