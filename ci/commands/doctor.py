# SPDX-License-Identifier: GPL-2.0-only
"""Is this machine fit? Tools, versions, modes, disk, memory, the guest's root; each problem with
its remedy."""

import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from ci.base import processes
from ci.base.errors import PatchError, StageError
from ci.base.exit_codes import ExitCode
from ci.base.settings import Settings
from ci.base.text import marked_lines
from ci.base.workspace import Workspace
from ci.commands import preflight
from ci.commands.preflight import Finding
from ci.guest import kvm
from ci.guest.qemu import qemu_build, qemu_version
from ci.guest.vm import vng_program
from ci.kernel.configuration import Needs
from ci.series.patches import load_series

MEMORY_NEEDED_MB = 2 * Needs.memory_mb
PACKAGES = "ci/packages.txt"


def examine_machine(settings: Settings) -> Iterator[Finding]:
    """Everything that a run needs but the kernels. The probe's answer and the guest's root stay in
    the cache; nothing else of the machine is changed."""
    yield Finding("python", sys.version.split()[0])
    yield from _tools(settings.workspace.root)
    yield preflight.check_sandbox()
    try:
        yield Finding("qemu version", f"{qemu_version('doctor')}, build {qemu_build()[:12]}")
        yield Finding("vng", vng_program())
        trouble = kvm.find_trouble(settings.workspace)
        yield Finding(
            "mode kvm", f"does not work: {trouble}" if trouble else "works: the probe passed"
        )
        yield Finding("mode of auto", "virtual" if trouble else "kvm")
    except StageError as error:
        yield Finding("guests", error.message, "see above")
    yield from _room(settings.workspace)
    yield _series(settings)
    yield preflight.check_network(settings.workspace)
    yield preflight.try_guest_root(settings.workspace)


def _tools(root: Path) -> Iterator[Finding]:
    """What the distribution's packages bring."""
    for line in (root / PACKAGES).read_text(encoding="utf-8").splitlines():
        sign, _, package = line.partition(" ")
        present = Path(sign).exists() if sign.startswith("/") else shutil.which(sign) is not None
        yield (
            Finding(sign, "there")
            if present
            else Finding(sign, "missing", f"install the package {package}")
        )
    for program in ("gcc", "git", "ccache", "mmdebstrap"):
        if shutil.which(program):
            version = processes.run(
                [program, "--version"], stage="doctor", timeout_s=20
            ).stdout.splitlines()[0]
            yield Finding(f"{program} version", version)


def _room(workspace: Workspace) -> Iterator[Finding]:
    """Disk, memory, cores."""
    yield from preflight.check_disks(workspace, preflight.needed_gb(workspace))
    total_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    yield Finding(
        "memory",
        f"{total_mb} MB",
        "" if total_mb >= MEMORY_NEEDED_MB else f"{MEMORY_NEEDED_MB} MB are needed",
    )
    yield Finding("cores", str(len(os.sched_getaffinity(0))))


def _series(settings: Settings) -> Finding:
    """The project's own series, which is taken where none is named."""
    try:
        loaded = load_series(Path(settings.series))
    except (StageError, PatchError) as error:
        return Finding("series", error.message, "check out kernel-patches/ anew")
    return Finding("series", f"{loaded.name}, {len(loaded.patches)} patches")


def report_machine(settings: Settings) -> ExitCode:
    """Print the findings; 0 when nothing is missing, else 3."""
    problems = 0
    for finding in examine_machine(settings):
        mark = "PROBLEM" if finding.remedy else "ok"
        more = f" -> {finding.remedy}" if finding.remedy else ""
        print(marked_lines(f"{finding.name}: {finding.state}{more}", f"{mark:8} "), flush=True)
        problems += bool(finding.remedy)
    print(f"{problems} problems" if problems else "no problems")
    return ExitCode.UNKNOWN if problems else ExitCode.ACCEPTED
