# SPDX-License-Identifier: GPL-2.0-only
"""One guest: one selftest script on one kernel. How it ended, and the raw logs; this module knows
no TAP."""

import os
import secrets
import shlex
import shutil
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ci.base import processes
from ci.base.errors import StageError
from ci.base.workspace import Workspace, remove_tree
from ci.guest import events
from ci.guest.events import Events
from ci.guest.floods import cut_logs, find_flooded
from ci.guest.modes import Machine, Mode
from ci.guest.rootfs import Image
from ci.guest.selftests import GUEST_SELFTESTS
from ci.kernel.build import Kernel
from ci.kernel.configuration import Needs
from ci.logs.control import read_control
from ci.logs.ending import LOGS, Ended, GuestEnd, find_forgery, read_numbers
from ci.suites.collection import Script

JOB = "opt/org.patchverdict/job"
HERE = Path()
PLAIN = Needs()
# What images/cmdline says for a fixed layout of addresses.
FIXED_LAYOUT = ("norandmaps", "nokaslr")
BOOT_LIMIT_S = 120.0
SHUTDOWN_LIMIT_S = 60.0
# How many wall seconds a second of the guest's own limit may take: emulated, and on a host that
# others share.
WALL_FACTOR = 3.0
# For how long memory is left to come back, before it is counted.
SETTLE_S = 10
# A program of the guest that does nothing.
NOTHING = "usr/bin/true"
# What the selftests know of us, besides whether all features are expected.
SELFTEST_ENVIRONMENT = {"NO_COLOR": "1"}


@dataclass(frozen=True)
class GuestRun:
    """A script in a guest that ended: ``folder`` holds the logs, kernel.log and so on, and
    vng.log; ``from_record`` says that no guest ran for it."""

    script: Script
    folder: Path
    end: GuestEnd
    from_record: bool = False

    def log(self, name: str) -> str:
        """Text of one of the logs, empty when there is none; bytes that are no UTF-8 are
        replaced."""
        path = self.folder / f"{name}.log"
        return path.read_bytes().decode("utf-8", "replace") if path.exists() else ""


def job_text(script: Script, nonce: str, mode: Mode) -> str:
    """The text that the guest's init reads: what to run, or a shell beside it. Memory is counted
    where waiting for what still frees some costs nothing, and on no kernel that keeps freed memory
    back to find who uses it."""
    where = "" if script.built_in else f"{GUEST_SELFTESTS}/{script.folder}"
    lines = [f"nonce {nonce}", f"dir /{where}"]
    variables = {**script.environment, **SELFTEST_ENVIRONMENT, **mode.needs.environment}
    lines += [f"env {name}={value}" for name, value in variables.items()]
    if mode.interactive:
        return "".join(f"{line}\n" for line in [*lines, "shell yes"])
    lines += [f"limit_s {limit_s(script, mode)}"]
    if script.built_in:  # the kernel has run them when init comes
        return "".join(f"{line}\n" for line in [*lines, f"program {NOTHING}"])
    counts = mode.machine.repeatable and mode.needs == PLAIN
    lines += [f"settle_s {SETTLE_S}"] if counts else []
    lines += [f"probe {script.probe}"] if script.probe else []
    lines += [f"program {script.program}", *(f"arg {arg}" for arg in script.args)]
    return "".join(f"{line}\n" for line in lines)


def limit_s(script: Script, mode: Mode) -> int:
    """Seconds of the guest's time after which it ends the script."""
    return script.limit_s * mode.machine.time_factor


def kernel_parameters(workspace: Workspace, mode: Mode) -> str:
    """The kernel command line: ``images/cmdline`` without its comments, then what the mode adds."""
    text = (workspace.root / "images" / "cmdline").read_text(encoding="utf-8")
    words = [line.partition("#")[0].strip() for line in text.splitlines()]
    drawn = FIXED_LAYOUT if mode.layout == "random" else ()
    return " ".join(word for word in [*words, mode.machine.cmdline] if word and word not in drawn)


def _option(value: Path) -> str:
    """A path inside a QEMU option: commas doubled."""
    return str(value).replace(",", ",,")


def _log_words(mode: Mode, folder: Path) -> list[str]:
    """QEMU's words for the serial ports, a file each, and for what it tells of its own end, where
    nobody types (:mod:`ci.guest.events`)."""
    words: list[str] = []
    for name in LOGS:
        words += ["-chardev", f"file,id={name}log,path={_option(folder / name)}.log"]
        words += ["-serial", f"chardev:{name}log"]
    if not mode.interactive:
        words += ["-chardev", f"pipe,id=events,path={_option(folder / events.NAME)}"]
        words += ["-mon", "chardev=events,mode=control"]
    return words


def vng_argv(
    kernel: Path, initrd: Path, mode: Mode, parameters: str, folder: Path, empty_root: Path
) -> list[str]:
    """The whole command line of vng. ``empty_root`` is what the guest may see of the host: an empty
    folder. vng makes a line for a shell of it: names relative to the folder in which it runs say
    nothing of where the checkout is.

    Our -append comes last and replaces the one that vng composes, which carries values of the host.
    The first serial port is vng's own; ours follow.
    """
    machine = mode.machine
    qemu = ["-no-reboot", "-initrd", str(initrd), *machine.qemu, *_log_words(mode, folder)]
    qemu += ["-fw_cfg", f"name={JOB},file={_option(folder / 'job')}", "-append", parameters]
    return [
        vng_program(),
        "--run",
        shlex.quote(str(kernel)),
        "--root",
        str(empty_root),
        "--force-9p",
        "--disable-monitor",
        "--disable-microvm",
        "--cpus",
        str(machine.vcpus),
        "--memory",
        f"{machine.memory_mb}M",
        "--verbose",
        *machine.vng,
        f"--qemu-opts={shlex.join(qemu)}",
    ]


def vng_program() -> str:
    """vng of the environment that runs us, else the one on the path."""
    beside = Path(sys.executable).with_name("vng")
    found = str(beside) if beside.exists() else shutil.which("vng")
    if not found:
        raise StageError(
            "run",
            "vng is not installed; install the Python package virtme-ng (or run ci/bootstrap.sh)",
        )
    return found


def vng_environment() -> Mapping[str, str]:
    """vng is a shell around virtme-run, which it looks for on the path."""
    return {"PATH": f"{Path(vng_program()).parent}:{os.environ['PATH']}"}


# What QEMU says of such a guest (system/cpu-timers.c, with -icount sleep=off).
NO_TIMERS = "icount sleep disabled and no active timers"


class _Watch:
    """Ends a guest that is over its time in one of its three parts, each with a wall-clock limit of
    its own, one that can never go on (idle in virtual time, with no timer that could wake it), and
    one that floods a log."""

    def __init__(
        self, folder: Path, nonce: str, script_s: float, told: Events, slow: int = 1
    ) -> None:
        self.folder, self.told = folder, told
        self.control, self.vng, self.nonce = folder / "control.log", folder / "vng.log", nonce
        self.limits = {
            "boot": BOOT_LIMIT_S * slow,
            "script": script_s,
            "shutdown": SHUTDOWN_LIMIT_S * slow,
        }
        self.part, self.since = "boot", time.monotonic()

    def __call__(self) -> str:
        self.told.drain()
        if find_flooded(self.folder, WATCHED):
            return FLOOD
        control = self.control.read_text(encoding="utf-8", errors="replace")
        done, booted = (f"{self.nonce} {kind}" in control for kind in ("done", "boot"))
        part = "shutdown" if done else "script" if booted else "boot"
        if part != self.part:
            self.part, self.since = part, time.monotonic()
        asleep = NO_TIMERS in self.vng.read_text(encoding="utf-8", errors="replace")
        return part if asleep or time.monotonic() - self.since > self.limits[part] else ""


# What no guest may make too long: vng's output has its first serial port, ``asm`` what QEMU tells
# of the code that ran (:mod:`ci.guest.tracing`).
WATCHED = (*LOGS, "vng", "asm")
FLOOD, FLOODED = "flood", GuestEnd(Ended.FLOODED, "", None, timed_out=False, guest_ms=0)
HANGS = {"boot": Ended.HANG_BOOT, "script": Ended.HANG_SCRIPT, "shutdown": Ended.HANG_SHUTDOWN}


def _lay_out(folder: Path, orders: str) -> tuple[Path, Path]:
    """Make the folder of a guest, with its logs; the file of its job and its empty root."""
    folder.mkdir(parents=True)
    job, empty = folder / "job", folder / "root"
    job.write_text(orders, encoding="utf-8")
    empty.mkdir()
    for name in LOGS:
        (folder / f"{name}.log").touch()
    return job, empty


def run_guest(
    kernel: Kernel,
    image: Image,
    script: Script,
    mode: Mode,
    workspace: Workspace,
    folder: Path,
    nonce: str = "",
) -> GuestRun:
    """Boot ``kernel``, run ``script``, power off; logs into ``folder``, which is made. A guest that
    dies or hangs is an answer; a :class:`StageError` is left to vng that is missing and a build id
    that is not the kernel's, which then goes from the cache. ``nonce`` (32 hex digits, drawn where
    none is given) begins each control record."""
    nonce = nonce or secrets.token_hex(16)
    limit = limit_s(script, mode)
    job, empty = _lay_out(folder, job_text(script, nonce, mode))
    words = kernel_parameters(workspace, mode)
    argv = vng_argv(kernel.bzimage, image.path, mode, words, HERE, HERE / empty.name)
    slow = mode.needs.time_factor
    most_s = limit * WALL_FACTOR + 60 * slow
    with Events(folder) as told:
        # vng's own exit status says nothing (always 255 with a command line that is not its own).
        done = processes.run(
            argv,
            stage="run",
            timeout_s=most_s + (BOOT_LIMIT_S + SHUTDOWN_LIMIT_S + 60) * slow,
            cwd=folder,
            env=vng_environment(),
            log=folder / "vng.log",
            ok=None,
            watch=_Watch(folder, nonce, most_s, told, slow),
        )
        reason = told.find_reason()
    job.unlink()
    empty.rmdir()
    if flooded := find_flooded(folder, WATCHED):
        cut_logs(folder, LOGS, flooded, repeatable=mode.machine.repeatable)
    end = FLOODED if flooded else _read_end(folder, nonce, done.stopped, reason, kernel)
    return GuestRun(script, folder, replace(end, cpu_s=done.cpu_s))


# What a guest that its kernel ended before init was done came to, by QEMU's reason.
BY_ITSELF = {"guest-reset": Ended.RESET, "guest-shutdown": Ended.POWER_OFF}


def _read_end(folder: Path, nonce: str, stopped: str, reason: str, kernel: Kernel) -> GuestEnd:
    """What the logs, and QEMU's ``reason``, say of the end."""
    text = (folder / "control.log").read_text(encoding="utf-8", errors="replace")
    control = read_control(text, nonce)
    console = (folder / "kernel.log").read_text(encoding="utf-8", errors="replace")
    if find_forgery(text, nonce):
        ended = Ended.FORGED
    elif stopped:
        ended = HANGS[stopped]
    elif "done" in control.records:
        ended = Ended.HANG_SCRIPT if "timeout" in control.records else Ended.FINISHED
    elif "Kernel panic - not syncing" in console:
        ended = Ended.PANIC
    else:
        ended = BY_ITSELF.get(reason, Ended.LOST)
    build_id = (control.first("boot") or [""])[0]
    if build_id and build_id != kernel.build_id:
        remove_tree(kernel.folder)
        raise StageError(
            "run",
            f"the guest runs the kernel {build_id}, not {kernel.build_id} that was built; what the"
            " cache had of it is removed, so run this again, which builds it anew",
            log=folder / "control.log",
        )
    end = read_numbers(control.first("end") or []) if ended is not Ended.FORGED else None
    return GuestEnd(
        ended=ended,
        build_id=build_id,
        exit_status=end[0] if end else None,
        timed_out="timeout" in control.records,
        guest_ms=end[1] if end else 0,
        idle_ms=end[2] if end else 0,
    )


def guests_at_once(machine: Machine) -> int:
    """How many guests fit on this host: a core for each vCPU, and memory for each."""
    cores = len(os.sched_getaffinity(0)) // machine.vcpus
    free_mb = 0
    for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
        if line.startswith("MemAvailable:"):  # MemAvailable:   24000000 kB
            free_mb = int(line.split()[1]) // 1024
    return max(1, min(cores, free_mb // (machine.memory_mb + 256)))


def open_shell(
    kernel: Kernel, image: Image, script: Script, mode: Mode, workspace: Workspace, folder: Path
) -> int:
    """An interactive shell in a guest where ``script`` lies, on this terminal; vng's exit code (255
    is its usual one)."""
    mode = replace(mode, interactive=True)
    _, empty = _lay_out(folder, job_text(script, secrets.token_hex(16), mode))
    words = kernel_parameters(workspace, mode)
    argv = vng_argv(kernel.bzimage, image.path, mode, words, HERE, HERE / empty.name)
    return processes.interactive(argv, cwd=folder, env=vng_environment())
