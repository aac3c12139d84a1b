# SPDX-License-Identifier: GPL-2.0-only
"""The guest's root in RAM: packages from a recipe, the guest's own files, and a tree's selftests,
as one cpio."""

import json
import os
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ci.base import processes
from ci.base.arch import GUEST
from ci.base.errors import BuildError, StageError
from ci.base.workspace import Workspace, digest, file_digest, read_json, write_text
from ci.guest import cpio
from ci.kernel import build, objects
from ci.kernel.build import Toolchain
from ci.trees.tree import Tree

ROOT_LIMIT_S = 1800.0
SELFTESTS_LIMIT_S = 1800.0
# Where the selftests lie in the guest: kselftest's own layout, so that ../lib.sh is found.
GUEST_SELFTESTS = "selftests"
# mmdebstrap's hook, run when the packages are unpacked: their names and versions, for the record.
LIST_PACKAGES = 'cd "$1/var/cache/apt/archives" && ls *.deb >"$1/packages.txt"'
EMPTY = ("dev", "proc", "sys", "tmp", "run", "root", "etc", "var/run", "var/lib")


@dataclass(frozen=True)
class Image:
    """A finished guest root: an uncompressed cpio. ``packages`` are names with versions."""

    path: Path
    image_digest: str
    packages: tuple[str, ...]


def recipe(workspace: Workspace) -> Mapping[str, Any]:
    """``images/guest-root.toml``; a :class:`StageError` names what is wrong with it."""
    path = workspace.root / "images" / "guest-root.toml"
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise StageError("image", f"{path}: {error}") from None


def packages_command(table: Mapping[str, Any], target: Path, *, as_root: bool) -> list[str | Path]:
    """mmdebstrap's words for the packages of a recipe, unpacked into the archive ``target``."""
    return [
        "--mode=root" if as_root else "--mode=chrootless",
        f"--variant={table['variant']}",
        f"--include={','.join(sorted(table['packages']))}",
        f"--architectures={GUEST.debian}",
        "--components=main",
        f"--extract-hook={LIST_PACKAGES}",
        table["release"],
        target,
    ]


def root_folder(workspace: Workspace) -> Path:
    """Where the root of the recipe lies in the cache, once it is made."""
    table = recipe(workspace)
    wanted = {
        "release": table["release"],
        "variant": table["variant"],
        "packages": sorted(table["packages"]),
    }
    return workspace.entry("roots", digest("root", wanted, LIST_PACKAGES))


def root(workspace: Workspace, log: Path) -> Path:
    """Folder with ``root.tar`` and ``packages.txt``, made by mmdebstrap once for each recipe.

    An ordinary user needs no user namespace for it, so neither subuids, nor AppArmor's leave, nor a
    home that others may enter: nothing of the packages is run, and all files of the guest are
    root's anyway (:func:`ci.guest.cpio.from_tar`).
    """
    folder = root_folder(workspace)
    if folder.exists():
        return folder
    mmdebstrap = processes.require("image", "mmdebstrap", "mmdebstrap")
    with workspace.lock("root", stage="image"):
        if folder.exists():
            return folder
        with workspace.publish(folder) as fresh:
            words = packages_command(
                recipe(workspace), fresh / "root.tar", as_root=os.geteuid() == 0
            )
            processes.run([mmdebstrap, *words], stage="image", timeout_s=ROOT_LIMIT_S, log=log)
            names = [
                e.data.decode()
                for e in cpio.from_tar(fresh / "root.tar", ())
                if e.path == "packages.txt"
            ]
            if not names or not names[0].strip():
                raise StageError(
                    "image", "mmdebstrap made a root without a list of packages", log=log
                )
            write_text(fresh / "packages.txt", names[0].replace(".deb\n", "\n"))
    return folder


def selftests(tree: Tree, workspace: Workspace, tools: Toolchain, log: Path) -> Path:
    """Folder with the mptcp selftests of ``tree``, installed by its own Makefiles. The programs are
    static and stripped: they run on the guest's C library whatever the host's is, and say nothing
    of the host's paths.
    """
    paths = ("tools/testing/selftests", "include/uapi", GUEST.uapi, "usr", "scripts")
    inputs = tree.subtree(*paths)
    folder = workspace.entry("selftests", digest("selftests", inputs, asdict(tools)))
    if folder.exists():
        return folder
    src, obj = tree.source.slot / "src", tree.source.slot / "obj"
    jobs = f"-j{len(os.sched_getaffinity(0))}"

    def run_make(argv: list[str | Path]) -> None:
        env = build.environment(workspace, tools, obj)
        done = processes.run(
            argv, stage="build", timeout_s=SELFTESTS_LIMIT_S, env=env, log=log, ok=None
        )
        if done.returncode != 0:
            raise BuildError("build", build.errors(tree, done.stdout + done.stderr), log=log)

    with tree.checked_out(workspace), workspace.publish(folder) as fresh:
        if folder.exists():
            return folder
        objects.used(
            tree, build.objects_key(tools), lambda _: run_make(build.make(tree, jobs, "headers"))
        )
        out, installed = fresh / "out", fresh / GUEST_SELFTESTS
        out.mkdir()
        # Compiled and linked in one go, which ccache does not keep.
        run_make(
            [
                "make",
                jobs,
                "-C",
                src / "tools/testing/selftests",
                "TARGETS=net/mptcp",
                "SKIP_TARGETS=",
                f"O={out}",
                f"INSTALL_PATH={installed}",
                f"KHDR_INCLUDES=-isystem {obj}/usr/include",
                "CC=gcc",
                f"USERCFLAGS=-ffile-prefix-map={src}=. -ffile-prefix-map={obj}=.",
                "USERLDFLAGS=-static -s",
                "FORCE_TARGETS=1",
                f"ARCH={GUEST.kbuild}",
                "install",
            ]
        )
        if not (installed / "net/mptcp/mptcp_join.sh").exists():
            raise StageError(
                "build",
                "`make install` of the selftests installed no net/mptcp/mptcp_join.sh",
                log=log,
            )
        shutil.rmtree(out)
    return folder


def make(selftests_folder: Path, workspace: Workspace, root_folder: Path) -> Image:
    """One cpio of the packages, the files under ``images/guest`` and the selftests, named by its
    inputs."""
    table = recipe(workspace)
    guest = workspace.root / "images" / "guest"
    ours = sorted((entry.path, entry.mode, entry.data.hex()) for entry in cpio.from_folder(guest))
    key = digest(
        "image", root_folder.name, selftests_folder.name, ours, table["links"], table["trim"], EMPTY
    )
    folder = workspace.entry("images", key)
    if not folder.exists():
        with workspace.lock("image", stage="image"), workspace.publish(folder) as fresh:
            entries = (
                *cpio.folders(EMPTY),
                *cpio.from_tar(root_folder / "root.tar", table["trim"]["paths"]),
                *cpio.links(table["links"]),
                *cpio.from_folder(guest),
                *cpio.from_folder(selftests_folder),
            )
            with (fresh / "root.cpio").open("wb") as out:
                cpio.write(entries, out)
            facts = {
                "image_digest": file_digest(fresh / "root.cpio"),
                "packages": (root_folder / "packages.txt").read_text(encoding="utf-8").split(),
            }
            write_text(fresh / "image.json", json.dumps(facts, indent=1))
    known = read_json(folder / "image.json", "image")
    return Image(folder / "root.cpio", str(known["image_digest"]), tuple(known["packages"]))
