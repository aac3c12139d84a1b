# SPDX-License-Identifier: GPL-2.0-only
"""Whether KVM works here: a probe that runs guest code says so, as /dev/kvm may open and hang."""

import os
import platform
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from ci.base import processes
from ci.base.arch import GUEST
from ci.base.records import from_json, save_record
from ci.base.workspace import Workspace, digest, file_digest
from ci.guest.qemu import qemu_version

PROBE_LIMIT_S = 5.0
# isa-debug-exit ends QEMU with (value << 1) | 1; images/kvm-probe.S writes 0x15.
PROBE_PASSED = 43
PROBE_MACHINE = ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-m", "64"]


def run_probe(accelerator: str, stub: Path) -> str:
    """Run the probe's firmware under ``accelerator``: an empty string when it came through, else
    what happened."""
    argv: list[str | Path] = [
        "timeout",
        "--signal=KILL",
        str(PROBE_LIMIT_S),
        GUEST.qemu,
        "-accel",
        accelerator,
        *PROBE_MACHINE,
        "-bios",
        stub,
        "-device",
        "isa-debug-exit,iobase=0xf4,iosize=4",
    ]
    done = processes.run(argv, stage="run", timeout_s=3 * PROBE_LIMIT_S, ok=None)
    if done.returncode == PROBE_PASSED:
        return ""
    if done.returncode in (137, -9):
        return f"guest code did not get through in {PROBE_LIMIT_S:.0f} s"
    last_line = (done.stderr.strip().splitlines() or ["nothing"])[-1][:200]
    return f"QEMU ended with exit code {done.returncode} and said: {last_line}"


def make_stub(workspace: Workspace) -> Path:
    """The probe's firmware, assembled from ``images/kvm-probe.S``."""
    source = workspace.root / "images" / "kvm-probe.S"

    def make(fresh: Path) -> None:
        gcc = processes.require("run", "gcc", "gcc")
        flags = [
            "-nostdlib",
            "-static",
            "-Wl,--build-id=none,-Ttext=0,--oformat=binary,-e,_start",
            "-o",
        ]
        processes.run([gcc, *flags, fresh / "stub.bin", source], stage="run", timeout_s=60)

    entry, lock = workspace.entry("probe", file_digest(source)), _lock(workspace)
    return workspace.keep(entry, lock, make) / "stub.bin"


def _lock(workspace: Workspace) -> AbstractContextManager[None]:
    return workspace.lock("probe", stage="run")


@dataclass(frozen=True)
class Answer:
    """What the probe found; ``trouble`` is empty where KVM works."""

    trouble: str


def find_trouble(workspace: Workspace) -> str:
    """Why KVM cannot be used here, empty when it can. The answer is kept for this boot, kernel and
    QEMU."""
    device = Path("/dev/kvm")
    if platform.machine() != GUEST.machine:
        return f"this host is {platform.machine()}, the guest {GUEST.machine}"
    if not device.exists():
        return "there is no /dev/kvm"
    if not os.access(device, os.R_OK | os.W_OK):
        return "/dev/kvm may not be opened by this user (join the group kvm)"
    image = make_stub(workspace)
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    key = digest(boot, platform.release(), qemu_version(), file_digest(image))

    def make(fresh: Path) -> None:
        save_record(fresh / "answer.json", Answer(run_probe("kvm", image)))

    kept = workspace.keep(workspace.entry("probe", f"kvm-{key[:16]}"), _lock(workspace), make)
    return from_json((kept / "answer.json").read_bytes(), Answer).trouble
