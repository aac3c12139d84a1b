# SPDX-License-Identifier: GPL-2.0-only
"""How a guest came to its end: the record that control, cache, evidence and reports share."""

from dataclasses import dataclass
from enum import Enum


class Ended(Enum):
    """How a guest ended. HANG_SHUTDOWN: the script was done, the guest did not power off. LOST:
    QEMU or vng died, or no end came: trouble of ours, not the kernel's. The value is a phrase for
    reports."""

    FINISHED = "finished"
    PANIC = "the kernel panicked"
    HANG_BOOT = "the guest did not boot in time"
    HANG_SCRIPT = "the script did not end in time"
    HANG_SHUTDOWN = "the guest did not power off in time"
    LOST = "the guest was lost"


@dataclass(frozen=True)
class GuestEnd:
    """What is known of a guest that ended, besides its logs. ``build_id`` is that of the kernel
    which it ran, empty where it could not say; ``exit_status`` is the script's, ``None`` where it
    never ended; ``timed_out`` that the guest itself ended it at its limit, healthy enough for that;
    ``guest_ms`` is the script's guest time and ``idle_ms`` how much of it all CPUs slept (in steps
    of 10 ms): in virtual time each millisecond that one CPU is awake is a million instructions.
    ``cpu_s`` is what the host spent."""

    ended: Ended
    build_id: str
    exit_status: int | None
    timed_out: bool
    guest_ms: int
    idle_ms: int = 0
    cpu_s: float = 0.0
