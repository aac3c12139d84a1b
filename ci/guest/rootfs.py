# SPDX-License-Identifier: GPL-2.0-only
"""The guest's root in RAM: packages from a recipe, the guest's own files, and a tree's selftests,
as one cpio."""

import os
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ci.base import processes
from ci.base.arch import GUEST
from ci.base.errors import StageError
from ci.base.records import from_facts, from_json, save_record
from ci.base.workspace import Workspace, digest, file_digest, write_text
from ci.guest import cpio
from ci.guest.selftests import GUEST_SELFTESTS

ROOT_LIMIT_S = 1800.0
# mmdebstrap's hook, run when the packages are unpacked: their names and versions, for the record.
LIST_PACKAGES = 'cd "$1/var/cache/apt/archives" && ls *.deb >"$1/packages.txt"'
EMPTY = ("dev", "proc", "sys", "tmp", "run", "root", "etc", "var/run", "var/lib")


@dataclass(frozen=True)
class Trim:
    """What of the packages a guest does not need: ``paths`` are shell patterns."""

    paths: tuple[str, ...]


@dataclass(frozen=True)
class Recipe:
    """``images/guest-root.toml``: ``packages`` are names with what needs them, ``links`` path ->
    target."""

    release: str
    variant: str
    packages: Mapping[str, str]
    links: Mapping[str, str]
    trim: Trim


@dataclass(frozen=True)
class ImageFacts:
    """What is kept beside an image."""

    image_digest: str
    packages: tuple[str, ...]


@dataclass(frozen=True)
class Image:
    """A finished guest root: an uncompressed cpio. ``packages`` are names with versions."""

    path: Path
    image_digest: str
    packages: tuple[str, ...]


def read_recipe(workspace: Workspace) -> Recipe:
    """``images/guest-root.toml``; a :class:`StageError` names what is wrong with it."""
    path = workspace.root / "images" / "guest-root.toml"
    try:
        return from_facts(tomllib.loads(path.read_text(encoding="utf-8")), Recipe)
    except (OSError, ValueError) as error:
        raise StageError("image", f"{path}: {error}") from None


def packages_command(recipe: Recipe, target: Path, *, as_root: bool) -> list[str | Path]:
    """mmdebstrap's words for the packages of a recipe, unpacked into the archive ``target``."""
    return [
        "--mode=root" if as_root else "--mode=chrootless",
        f"--variant={recipe.variant}",
        f"--include={','.join(sorted(recipe.packages))}",
        f"--architectures={GUEST.debian}",
        "--components=main",
        f"--extract-hook={LIST_PACKAGES}",
        recipe.release,
        target,
    ]


def root_folder(workspace: Workspace) -> Path:
    """Where the root of the recipe lies in the cache, once it is made."""
    recipe = read_recipe(workspace)
    wanted = {
        "release": recipe.release,
        "variant": recipe.variant,
        "packages": sorted(recipe.packages),
    }
    return workspace.entry("roots", digest("root", wanted, LIST_PACKAGES))


def make_root(workspace: Workspace, log: Path) -> Path:
    """Folder with ``root.tar`` and ``packages.txt``, made by mmdebstrap once for each recipe.

    An ordinary user needs no user namespace for it, so neither subuids, nor AppArmor's leave, nor a
    home that others may enter: nothing of the packages is run, and all files of the guest are
    root's anyway (:func:`ci.guest.cpio.tar_entries`).
    """
    mmdebstrap = processes.require("image", "mmdebstrap", "mmdebstrap")

    def make(fresh: Path) -> None:
        words = packages_command(
            read_recipe(workspace), fresh / "root.tar", as_root=os.geteuid() == 0
        )
        processes.run([mmdebstrap, *words], stage="image", timeout_s=ROOT_LIMIT_S, log=log)
        names = [
            e.data.decode()
            for e in cpio.tar_entries(fresh / "root.tar", ())
            if e.path == "packages.txt"
        ]
        if not names or not names[0].strip():
            raise StageError("image", "mmdebstrap made a root without a list of packages", log=log)
        write_text(fresh / "packages.txt", names[0].replace(".deb\n", "\n"))

    return workspace.keep(root_folder(workspace), workspace.lock("root", stage="image"), make)


def make_image(
    selftests_folder: Path | None,
    workspace: Workspace,
    root_folder: Path,
    checks: Path | None = None,
) -> Image:
    """One cpio of the packages, the files under ``images/guest``, the selftests, where there are
    any, and the ``checks`` of a series, named by its inputs."""
    recipe = read_recipe(workspace)
    guest = workspace.root / "images" / "guest"
    folders = [one for one in (selftests_folder, checks) if one]
    ours = sorted((entry.path, entry.mode, entry.data.hex()) for entry in cpio.tree_entries(guest))
    root = (root_folder.name, recipe.links, asdict(recipe.trim), EMPTY)
    key = digest("image", root, ours, [one.name for one in folders])

    def make(fresh: Path) -> None:
        entries = (
            *cpio.folder_entries(EMPTY),
            *cpio.tar_entries(root_folder / "root.tar", recipe.trim.paths),
            *cpio.link_entries(recipe.links),
            *cpio.tree_entries(guest),
            *cpio.folder_entries((GUEST_SELFTESTS,)),
            *(
                e
                for one in folders
                for e in cpio.tree_entries(one / GUEST_SELFTESTS, GUEST_SELFTESTS)
            ),
        )
        with (fresh / "root.cpio").open("wb") as out:
            cpio.write_archive(entries, out)
        packages = (root_folder / "packages.txt").read_text(encoding="utf-8").split()
        facts = ImageFacts(file_digest(fresh / "root.cpio"), tuple(packages))
        save_record(fresh / "image.json", facts)

    entry, lock = workspace.entry("images", key), workspace.lock("image", stage="image")
    folder = workspace.keep(entry, lock, make)
    facts = from_json((folder / "image.json").read_bytes(), ImageFacts)
    return Image(folder / "root.cpio", facts.image_digest, facts.packages)
