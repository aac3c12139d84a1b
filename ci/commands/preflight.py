# SPDX-License-Identifier: GPL-2.0-only
"""What can be found out before anything is built, for `doctor` and for each run that has something
to build."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ci.base import processes, sandbox
from ci.base.errors import StageError
from ci.base.workspace import Workspace
from ci.guest import rootfs
from ci.trees import apt

# Measured with 6.12 from nothing to the default suite's verdict: 2.5 GB, of which the source is
# 1.7; ccache may grow to 2.
FROM_NOTHING_GB = 4.0
BUILD_GB = 2.0
SCRATCH_GB = 0.5  # mmdebstrap unpacks there: packages 45 MB, root 105 MB, its archive
APT_HELPER = "/usr/lib/apt/apt-helper"
ANSWERS_S = 30.0


@dataclass(frozen=True)
class Finding:
    """Something that was looked at; a ``remedy`` makes it a problem."""

    name: str
    state: str
    remedy: str = ""


def demand_sound(finding: Finding) -> None:
    """A :class:`StageError` where the finding is a problem."""
    if finding.remedy:
        raise StageError(finding.name, f"{finding.state}; {finding.remedy}")


def check_disk(folder: Path, needed_gb: float, variable: str) -> Finding:
    """Whether the disk of a folder (that need not be there yet) has so much left; ``variable``
    names another place."""
    present = next(path for path in (folder, *folder.parents) if path.exists())
    free_gb = shutil.disk_usage(present).free / 10**9
    enough = free_gb >= needed_gb
    remedy = (
        ""
        if enough
        else f"{needed_gb:g} GB are needed: free some, or let {variable} name another place"
    )
    return Finding("disk", f"{free_gb:.1f} GB free for {folder}", remedy)


def _sources(workspace: Workspace) -> Path:
    return workspace.cache / "trees"


def needed_gb(workspace: Workspace) -> float:
    """Room for the first kernel source and its builds, or for builds alone."""
    return BUILD_GB if _sources(workspace).exists() else FROM_NOTHING_GB


def check_disks(workspace: Workspace, needed_gb: float) -> Iterator[Finding]:
    """The disks that a run writes much to."""
    yield check_disk(workspace.cache, needed_gb, "XDG_CACHE_HOME")
    if not rootfs.root_folder(workspace).exists():
        yield check_disk(Path(tempfile.gettempdir()), SCRATCH_GB, "TMPDIR")


def check_sandbox() -> Finding:
    """Whether a kernel can be built in the sandbox here."""
    trouble = sandbox.find_trouble()
    if trouble:
        return Finding("sandbox", "it cannot be made", trouble)
    return Finding("sandbox", sandbox.sandbox_version())


def demand_sandbox(workspace: Workspace) -> str:
    """What confines builds, for the record; a :class:`StageError` where it is to and cannot."""
    if not workspace.confined:
        return "none (--no-sandbox)"
    demand_sound(finding := check_sandbox())
    return finding.state


def try_guest_root(workspace: Workspace) -> Finding:
    """Make the guest's root, where it is not there yet: tries mmdebstrap, the keyring, the mirror
    and this user's rights."""
    log, begin = workspace.cache / "guest-root.log", time.monotonic()
    if rootfs.root_folder(workspace).exists():
        return Finding("guest root", "in the cache")
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        rootfs.make_root(workspace, log)
    except (StageError, OSError) as error:
        return Finding(
            "guest root", str(error), "see the last lines; without network nothing can be fetched"
        )
    return Finding("guest root", f"made in {time.monotonic() - begin:.0f} s")


def check_network(workspace: Workspace) -> Finding:
    """Whether Debian's mirror answers apt, with apt's own proxies; a problem only where something
    is yet to be fetched."""
    needed = not (_sources(workspace).exists() and rootfs.root_folder(workspace).exists())
    url = f"{apt.MIRROR}debian/dists/{rootfs.read_recipe(workspace).release}/InRelease"
    with tempfile.TemporaryDirectory() as scratch:
        argv = [
            APT_HELPER,
            "-o",
            "Acquire::Retries=0",
            "download-file",
            url,
            f"{scratch}/InRelease",
        ]
        try:
            processes.run(argv, stage="doctor", timeout_s=ANSWERS_S)
        except StageError as error:
            why = error.message.splitlines()[-1]
            remedy = (
                "connect this machine, or set http_proxy; what is in the cache needs no network"
                if needed
                else ""
            )
            return Finding("network", f"{url}: {why}", remedy)
    return Finding("network", f"{url} can be read")
