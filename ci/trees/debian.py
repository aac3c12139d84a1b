# SPDX-License-Identifier: GPL-2.0-only
"""A kernel from Debian's source packages (``--source debian:RELEASE[@SUITE]``)."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from ci.base import processes
from ci.base.errors import StageError
from ci.base.git import Git
from ci.base.progress import Progress
from ci.base.settings import Settings
from ci.base.workspace import tell_damage, write_text
from ci.trees import apt
from ci.trees.soundness import is_sound
from ci.trees.source import Source, replace_slot, slot_folder


def from_debian(settings: Settings, spec: str, why: str, progress: Progress) -> Source:
    """``RELEASE`` or ``RELEASE@SUITE``: Debian's ``linux-source-RELEASE`` of the host's apt
    sources, else of any suite that has it, or of that suite; unpacked and committed to a
    repository."""
    release, suite = _release_and_suite(spec)
    processes.require("fetch", "apt-get", "apt")
    workspace, name = settings.workspace, f"linux-source-{release}"
    slot = slot_folder(workspace, "debian", spec)
    version, commit = _imported_version(slot)
    where = (
        f"the suite {suite} does not"
        if suite
        else "neither this host's sources nor Debian's suites"
    )
    trouble = StageError(
        "fetch",
        f"apt knows no package {name}: {where} carry it; use --source git:URL@REF or --tree DIR",
    )
    for options, fields in apt.package_offers(workspace, name, suite):
        if fields["Version"] == version:
            return Source(f"debian:{version}", slot, commit, why)
        try:
            with replace_slot(workspace, slot) as fresh:
                commit = _import_package(options, fields, fresh, progress)
            return Source(f"debian:{fields['Version']}", slot, commit, why)
        except StageError as error:
            trouble = error
    if version:
        progress.note(
            f"{trouble.message.splitlines()[0]}; taking version {version}, which is in the cache"
        )
        return Source(f"debian:{version}", slot, commit, why)
    raise trouble


def _release_and_suite(spec: str) -> tuple[str, str]:
    """``6.12@trixie`` taken apart; no suite where none is named."""
    release, at, suite = spec.partition("@")
    if not re.fullmatch(r"\d+\.\d+", release) or not re.fullmatch(
        r"[a-z][a-z0-9-]*" if at else "", suite
    ):
        raise StageError(
            "fetch",
            f"--source debian:{spec}: give a release such as debian:6.12, "
            "or one of a suite such as debian:7.3@trixie-backports",
            asked=True,
        )
    return release, suite


def _import_package(
    options: apt.Options, fields: Mapping[str, str], slot: Path, progress: Progress
) -> str:
    """Fill a new slot with the package's kernel as one commit, whose id is returned."""
    name = fields["Package"]
    progress.note(f"downloading {name} {fields['Version']} ({int(fields['Size']) / 10**6:.0f} MB)")
    with progress.growing("downloading", slot, "*.deb", int(fields["Size"])):
        deb = apt.download_package(options, fields, slot)
    progress.note("unpacking")
    processes.run(["dpkg-deb", "-x", deb, slot / "deb"], stage="fetch", timeout_s=600)
    (tar,) = (slot / "deb/usr/src").glob("linux-source-*.tar.*")
    (slot / "src").mkdir()
    processes.run(
        ["tar", "-xf", tar, "--strip-components=1", "--no-same-owner", "-C", slot / "src"],
        stage="fetch",
        timeout_s=600,
    )
    deb.unlink()
    shutil.rmtree(slot / "deb")
    progress.note("importing into git")
    git = Git(slot / "src", "fetch")
    git.run("init", "-q")
    # Streamed into one pack instead of 90,000 loose objects: a fifth less CPU, half the disk.
    git.run("-c", "core.bigFileThreshold=1", "-c", "core.compression=1", "add", "-A", "-f", ".")
    git.run("commit", "-q", "--no-verify", "-m", f"{name} {fields['Version']}")
    commit = git.line("rev-parse", "HEAD")
    write_text(slot / "version", f"{fields['Version']} {commit}\n")
    return commit


def _imported_version(slot: Path) -> tuple[str, str]:
    """Version and commit that the slot holds, empty for none and where it is damaged."""
    if not slot.exists():
        return "", ""
    try:
        text = (slot / "version").read_text(encoding="utf-8")
    except (OSError, ValueError):
        text = ""
    # 6.12.117-1 98befba9447e6167158771f3f6b4b3d402c585b1
    version, _, commit = text.rstrip("\n").partition(" ")
    if not re.fullmatch(r"[0-9a-f]{40}", commit):
        tell_damage(slot, "its file version names no commit")
        return "", ""
    return (version, commit) if is_sound(slot, slot / "src/.git", commit) else ("", "")
