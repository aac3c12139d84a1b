"""The guest's root in RAM: packages from a recipe, the guest's own files, and a tree's selftests, as one cpio."""

import functools
import json
import os
import shlex
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ci import command, cpio, kernel
from ci.errors import PatchError, StageError
from ci.kernel import Toolchain
from ci.tree import Tree
from ci.workspace import Workspace, digest, file_digest, read_json, write_text

ROOT_LIMIT_S = 1800.0
SELFTESTS_LIMIT_S = 1800.0
# Where the selftests lie in the guest: kselftest's own layout, so that ../lib.sh is found.
GUEST_SELFTESTS = "selftests"
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


def root(workspace: Workspace, log: Path) -> Path:
    """Folder with ``root.tar`` and ``packages.txt``, made by mmdebstrap once for each recipe."""
    table = recipe(workspace)
    hook = workspace.root / "images" / "guest-root.hook"
    wanted = {"release": table["release"], "variant": table["variant"], "packages": sorted(table["packages"])}
    folder = workspace.entry("roots", digest("root", wanted, file_digest(hook)))
    if folder.exists():
        return folder
    mmdebstrap = command.require("image", "mmdebstrap", "mmdebstrap")
    with workspace.lock("root", stage="image"):
        if folder.exists():
            return folder
        with workspace.publish(folder) as fresh:
            argv = [
                mmdebstrap, f"--variant={table['variant']}", f"--include={','.join(wanted['packages'])}",
                "--architectures=amd64", "--components=main",
                f"--extract-hook={shlex.quote(str(hook))} \"$1\"", table["release"], fresh / "root.tar",
            ]  # fmt: skip
            command.run(argv, stage="image", timeout_s=ROOT_LIMIT_S, log=log)
            names = [e.data.decode() for e in cpio.from_tar(fresh / "root.tar", ()) if e.path == "packages.txt"]
            if not names or not names[0].strip():
                raise StageError("image", "mmdebstrap made a root without a list of packages", log=log)
            write_text(fresh / "packages.txt", names[0])
    return folder


def selftests(tree: Tree, workspace: Workspace, tools: Toolchain, log: Path) -> Path:
    """Folder with the mptcp selftests of ``tree``, installed by its own Makefiles. The programs are static and
    stripped: they run on the guest's C library whatever the host's is, and say nothing of the host's paths."""
    paths = ("tools/testing/selftests", "include/uapi", "arch/x86/include/uapi", "usr", "scripts")
    inputs = tree.subtree(*paths)
    folder = workspace.entry("selftests", digest("selftests", inputs, asdict(tools)))
    if folder.exists():
        return folder
    src = tree.source.slot / "src"
    with tree.checked_out(workspace), kernel.objects(tree) as obj, workspace.publish(folder) as fresh:
        if folder.exists():
            return folder
        build = functools.partial(
            command.run, stage="build", timeout_s=SELFTESTS_LIMIT_S, env=kernel.environment(workspace), log=log, ok=None
        )
        jobs = f"-j{len(os.sched_getaffinity(0))}"
        done = build(kernel.make(tree, jobs, "headers"))
        if done.returncode == 0:
            out, installed = fresh / "out", fresh / GUEST_SELFTESTS
            out.mkdir()
            argv: list[str | Path] = [
                "make", jobs, "-C", src / "tools/testing/selftests", "TARGETS=net/mptcp", "SKIP_TARGETS=",
                f"O={out}", f"INSTALL_PATH={installed}", f"KHDR_INCLUDES=-isystem {obj}/usr/include",
                "CC=ccache gcc", f"USERCFLAGS=-ffile-prefix-map={src}=. -ffile-prefix-map={obj}=.", "USERLDFLAGS=-static -s",
                "FORCE_TARGETS=1", "ARCH=x86_64", "install",
            ]  # fmt: skip
            done = build(argv)
        if done.returncode != 0:
            raise PatchError("build", kernel.errors(tree, done.stdout + done.stderr), log=log)
        if not (installed / "net/mptcp/mptcp_join.sh").exists():
            raise StageError("build", "`make install` of the selftests installed no net/mptcp/mptcp_join.sh", log=log)
        shutil.rmtree(out)
    return folder


def make(selftests_folder: Path, workspace: Workspace, root_folder: Path) -> Image:
    """One cpio of the packages, the files under ``images/guest`` and the selftests, named by its inputs."""
    table = recipe(workspace)
    guest = workspace.root / "images" / "guest"
    ours = sorted((entry.path, entry.mode, entry.data.hex()) for entry in cpio.from_folder(guest))
    key = digest("image", root_folder.name, selftests_folder.name, ours, table["links"], table["trim"], EMPTY)
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
            facts = {"image_digest": file_digest(fresh / "root.cpio"),
                     "packages": (root_folder / "packages.txt").read_text(encoding="utf-8").split()}  # fmt: skip
            write_text(fresh / "image.json", json.dumps(facts, indent=1))
    known = read_json(folder / "image.json", "image")
    return Image(folder / "root.cpio", str(known["image_digest"]), tuple(known["packages"]))
