# SPDX-License-Identifier: GPL-2.0-only
"""How a guest came to its end: the record that control, cache, evidence and reports share."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

# What a guest leaves, a file each: the kernel's console, what the script printed, and what init
# said, with the kernel's log from its ring buffer.
LOGS = ("kernel", "tests", "control")
# Bytes of each log of a guest, of which the suites make 0.1 MB. The control log may have more: it
# repeats what the console has in longer lines, and that one has to be the first that is too long.
MOST_LOG, MOST_CONTROL = 16_000_000, 32_000_000
# The records of init that tell an end, in the order in which it writes them, each once at most.
ORDER = ("boot", "start", "timeout", "end", "done")


class Ended(Enum):
    """How a guest ended. RESET, POWER_OFF: by the guest itself, as QEMU says, without a panic, and
    before init was done. HANG_SHUTDOWN: the script was done, the guest did not power off. FLOODED:
    one of its logs is longer than MOST_LOG, and was cut there. FORGED: what it said of its end is
    not what init says. LOST: QEMU or vng died: trouble of ours, not the kernel's. The value is a
    phrase for reports."""

    FINISHED = "finished"
    PANIC = "the kernel panicked"
    RESET = "the guest was reset"
    POWER_OFF = "the guest powered off before its script was done"
    HANG_BOOT = "the guest did not boot in time"
    HANG_SCRIPT = "the script did not end in time"
    HANG_SHUTDOWN = "the guest did not power off in time"
    FLOODED = f"the guest printed more than {MOST_LOG // 10**6} MB"
    FORGED = "the guest's control records contradict each other"
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


def find_forgery(control: str, nonce: str) -> str:
    """Why the records cannot be those of init, which others in the guest may copy; empty for
    none."""
    before = -1
    for line in control.split("\n"):
        words = line.split(maxsplit=2)
        if len(words) > 1 and words[0] == nonce and words[1] in ORDER:
            place = ORDER.index(words[1])
            if place <= before:
                return f"a record {words[1]!r} behind {ORDER[before]!r}"
            before = place
    return ""


def read_numbers(words: Sequence[str]) -> tuple[int, int, int] | None:
    """Exit status, guest time and idle time (ms) of a record ``end``; ``None`` where it is none."""
    found = re.fullmatch(r"(\d{1,3}) (\d{1,12}) (\d{1,12})", " ".join(words[:4]), re.ASCII)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None
