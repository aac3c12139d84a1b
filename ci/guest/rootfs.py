# SPDX-License-Identifier: GPL-2.0-only
"""The guest's root in RAM: packages from a recipe, the guest's own files, and a tree's selftests,
as one cpio."""

import json
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ci.base import processes
from ci.base.arch import GUEST
from ci.base.errors import StageError
from ci.base.workspace import Workspace, digest, file_digest, read_json, write_text
from ci.guest import cpio

ROOT_LIMIT_S = 1800.0
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
