"""Is this machine fit? Tools, versions, modes, disk, memory; each problem with its remedy."""

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ci import accel, command
from ci.errors import StageError
from ci.guest import MEMORY_MB, vng_program
from ci.settings import Settings

DISK_GB = 8
MEMORY_NEEDED_MB = 2 * MEMORY_MB
PACKAGES = "ci/packages.txt"


@dataclass(frozen=True)
class Finding:
    """One line of the report; a ``remedy`` makes it a problem."""

    name: str
    said: str
    remedy: str = ""


def examine(settings: Settings) -> Iterator[Finding]:
    """Everything that a run needs, looked at without changing the machine (the probe's answer is cached)."""
    yield Finding("python", sys.version.split()[0])
    for line in (settings.workspace.root / PACKAGES).read_text(encoding="utf-8").splitlines():
        sign, _, package = line.partition(" ")
        there = Path(sign).exists() if sign.startswith("/") else shutil.which(sign) is not None
        yield Finding(sign, "there" if there else "missing", "" if there else f"install the package {package}")
    for program in ("gcc", "git", "ccache", "mmdebstrap"):
        if shutil.which(program):
            said = command.run([program, "--version"], stage="doctor", timeout_s=20).stdout.splitlines()[0]
            yield Finding(f"{program} version", said)
    try:
        yield Finding("qemu version", f"{accel.qemu_version('doctor')}, build {accel.qemu_build()[:12]}")
        yield Finding("vng", vng_program())
        trouble = accel.kvm_trouble(settings.workspace)
        yield Finding("mode kvm", f"does not work: {trouble}" if trouble else "works: the probe passed")
        yield Finding("mode of auto", "virtual" if trouble else "kvm")
    except StageError as error:
        yield Finding("guests", error.message, "see above")
    yield from _room(settings.workspace.cache)


def _room(cache: Path) -> Iterator[Finding]:
    """Disk, memory, cores."""
    folder = next(path for path in (cache, *cache.parents) if path.exists())
    free_gb = shutil.disk_usage(folder).free // 10**9
    yield Finding("disk", f"{free_gb} GB free for {cache}",
                  "" if free_gb >= DISK_GB else f"free {DISK_GB} GB, or point XDG_CACHE_HOME elsewhere")  # fmt: skip
    total_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    yield Finding(
        "memory",
        f"{total_mb} MB",
        "" if total_mb >= MEMORY_NEEDED_MB else f"{MEMORY_NEEDED_MB} MB are needed",
    )
    yield Finding("cores", str(len(os.sched_getaffinity(0))))


def report(settings: Settings) -> int:
    """Print the findings; 0 when nothing is missing, else 3."""
    bad = 0
    for finding in examine(settings):
        mark = "PROBLEM" if finding.remedy else "ok"
        print(f"{mark:8} {finding.name}: {finding.said}" + (f" -> {finding.remedy}" if finding.remedy else ""))
        bad += bool(finding.remedy)
    print(f"{bad} problems" if bad else "no problems")
    return 3 if bad else 0
