# SPDX-License-Identifier: GPL-2.0-only
"""Finished runs in virtual time, kept by all that they depend on: the same question is answered
without a guest."""

import importlib.metadata
import shutil
from dataclasses import dataclass
from pathlib import Path

from ci.base.records import from_json, save_record
from ci.base.workspace import Workspace, digest, write_text
from ci.guest import vm
from ci.guest.modes import Mode
from ci.guest.qemu import qemu_build, qemu_version
from ci.guest.rootfs import Image
from ci.guest.vm import GuestRun
from ci.kernel.build import Kernel
from ci.logs.ending import LOGS, Ended, GuestEnd
from ci.suites.collection import Script

# Ends that the guest came to by itself, in its own time; the others are of the host's clock or of
# an accident.
OWN_ENDS = (
    Ended.FINISHED,
    Ended.PANIC,
    Ended.RESET,
    Ended.POWER_OFF,
    Ended.HANG_SCRIPT,
    Ended.FLOODED,
)


@dataclass(frozen=True)
class Job:
    """One guest to run: ``name`` is for people, ``folder`` is where its logs go."""

    name: str
    kernel: Kernel
    image: Image
    script: Script
    mode: Mode
    folder: Path


def emulator_versions() -> dict[str, str]:
    """What emulates a guest: the machine that the same words mean may differ between versions."""
    return {
        "qemu": qemu_version(),
        "qemu build": qemu_build(),
        "virtme-ng": importlib.metadata.version("virtme-ng"),
    }


def run_key(job: Job, workspace: Workspace) -> str:
    """Digest of all that a run in virtual time depends on."""
    anywhere, mode = Path(), job.mode
    _, *words = vm.vng_argv(
        anywhere, anywhere, mode, vm.kernel_parameters(workspace, mode), anywhere, anywhere
    )
    orders = vm.job_text(job.script, "", mode)
    kernel, image = job.kernel, job.image
    return digest(
        "run",
        kernel.image_digest,
        kernel.build_id,
        image.image_digest,
        words,
        orders,
        emulator_versions(),
    )


def run_job(job: Job, workspace: Workspace, *, again: bool = False) -> GuestRun:
    """One run, from the record where the mode is repeatable and it is known; ``again`` runs it in
    any case."""
    if not job.mode.machine.repeatable:
        return _run_guest(job, workspace, "")
    key = run_key(job, workspace)
    entry = workspace.entry("runs", key)
    if not again and workspace.ready(entry) and (known := _load(entry, job)):
        return known
    # Drawn from the key, the nonce is the same in each run and stands in no other file.
    run = _run_guest(job, workspace, key[:32])
    if run.end.ended in OWN_ENDS and (run.end.ended is not Ended.HANG_SCRIPT or run.end.timed_out):
        with workspace.publish(entry) as fresh:
            for name in LOGS:
                shutil.copyfile(job.folder / f"{name}.log", fresh / f"{name}.log")
            save_record(fresh / "end.json", run.end)
    return run


def _run_guest(job: Job, workspace: Workspace, nonce: str) -> GuestRun:
    """A guest, and a note of what it cost."""
    run = vm.run_guest(job.kernel, job.image, job.script, job.mode, workspace, job.folder, nonce)
    path = _cost(job.script, job.mode, workspace)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, f"{run.end.cpu_s:.1f}\n")
    return run


def _load(entry: Path, job: Job) -> GuestRun | None:
    """The run that a cache entry holds, with its logs in the job's folder; none where it is of
    another kernel. A guest that panicked before it could say which kernel it runs has no build
    id."""
    end = from_json((entry / "end.json").read_bytes(), GuestEnd)
    if end.build_id not in ("", job.kernel.build_id):
        return None
    job.folder.mkdir(parents=True)
    try:
        for name in LOGS:
            shutil.copyfile(entry / f"{name}.log", job.folder / f"{name}.log")
    except FileNotFoundError:  # somebody runs it again, and has put theirs in its place
        shutil.rmtree(job.folder)
        return None
    return GuestRun(job.script, job.folder, end, from_record=True)


def _cost(script: Script, mode: Mode, workspace: Workspace) -> Path:
    factor = mode.machine.time_factor  # a slow kernel's guests are compared with their own kind
    return workspace.entry("costs", f"{mode.name}-{factor}-{script.label}")


def cost_s(script: Script, mode: Mode, workspace: Workspace) -> float:
    """CPU seconds that the script took last time, infinite where nobody knows: to start the longest
    first."""
    try:
        return float(_cost(script, mode, workspace).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return float("inf")
