# SPDX-License-Identifier: GPL-2.0-only
"""Finished runs in virtual time, kept by all that they depend on: the same question is answered
without a guest."""

import importlib.metadata
import json
import shutil
from pathlib import Path

from ci.base.workspace import Workspace, digest, write_text
from ci.guest import modes, vm
from ci.guest.modes import Mode
from ci.guest.rootfs import Image
from ci.guest.vm import LOGS, GuestRun
from ci.kernel.build import Kernel
from ci.logs.ending import Ended
from ci.suites.selection import Script

# Ends that the guest came to by itself, in its own time; the others are of the host's clock or of
# an accident.
OWN_ENDS = (Ended.FINISHED, Ended.PANIC, Ended.HANG_SCRIPT)


def versions() -> dict[str, str]:
    """What emulates a guest: the machine that the same words mean may differ between versions."""
    return {
        "qemu": modes.qemu_version(),
        "qemu build": modes.qemu_build(),
        "virtme-ng": importlib.metadata.version("virtme-ng"),
    }


def key_of(kernel: Kernel, image: Image, script: Script, mode: Mode, workspace: Workspace) -> str:
    """Digest of all that a run in virtual time depends on."""
    anywhere = Path()
    _, *words = vm.vng_argv(
        anywhere, anywhere, mode, vm.cmdline(workspace, mode), anywhere, anywhere
    )
    job = vm.job(script, "", vm.limit_s(script, mode))
    return digest(
        "run", kernel.image_digest, kernel.build_id, image.image_digest, words, job, versions()
    )


def run(
    kernel: Kernel,
    image: Image,
    script: Script,
    mode: Mode,
    workspace: Workspace,
    folder: Path,
    *,
    again: bool = False,
) -> GuestRun:
    """One run, from the record where the mode is repeatable and it is known; ``again`` runs it in
    any case."""
    if not mode.machine.repeatable:
        ran = vm.run(kernel, image, script, mode, workspace, folder)
        _remember(ran, mode, workspace)
        return ran
    key = key_of(kernel, image, script, mode, workspace)
    kept = workspace.entry("runs", key)
    if not again and (known := _known(kept, kernel, script, folder)):
        return known
    # Drawn from the key, the nonce is the same in each run and stands in no other file.
    ran = vm.run(kernel, image, script, mode, workspace, folder, key[:32])
    _remember(ran, mode, workspace)
    if ran.ended in OWN_ENDS and (ran.ended is not Ended.HANG_SCRIPT or ran.timed_out):
        with workspace.lock(f"run-{key[:16]}", stage="run"), workspace.publish(kept) as fresh:
            for name in LOGS:
                shutil.copyfile(folder / f"{name}.log", fresh / f"{name}.log")
            names = ("build_id", "exit_status", "timed_out", "guest_ms", "idle_ms", "cpu_s")
            facts = {name: getattr(ran, name) for name in names}
            write_text(fresh / "run.json", json.dumps(facts | {"ended": ran.ended.name}, indent=1))
    return ran


def _known(kept: Path, kernel: Kernel, script: Script, folder: Path) -> GuestRun | None:
    """The run that ``kept`` holds, with its logs in ``folder``; none where it is damaged, or of
    another kernel. A guest that panicked before it could say which kernel it runs has no build
    id."""
    try:
        facts = json.loads((kept / "run.json").read_text(encoding="utf-8"))
        ran = GuestRun(
            script, folder, **(facts | {"ended": Ended[facts["ended"]]}), from_record=True
        )
        if ran.build_id not in ("", kernel.build_id):
            return None
        logs = {name: (kept / f"{name}.log").read_bytes() for name in LOGS}
    except (OSError, ValueError, TypeError, KeyError):
        return None
    folder.mkdir(parents=True)
    for name, text in logs.items():
        (folder / f"{name}.log").write_bytes(text)
    return ran


def _cost(script: Script, mode: Mode, workspace: Workspace) -> Path:
    return workspace.entry("costs", f"{mode.name}-{script.label}")


def _remember(ran: GuestRun, mode: Mode, workspace: Workspace) -> None:
    path = _cost(ran.script, mode, workspace)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, f"{ran.cpu_s:.1f}\n")


def cost_s(script: Script, mode: Mode, workspace: Workspace) -> float:
    """CPU seconds that the script took last time, infinite where nobody knows: to start the longest
    first."""
    try:
        return float(_cost(script, mode, workspace).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return float("inf")
