# SPDX-License-Identifier: GPL-2.0-only
"""How a guest came to its end: the word that control, evidence and reports share."""

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
