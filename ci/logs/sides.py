# SPDX-License-Identifier: GPL-2.0-only
"""The kernels of a run."""

from enum import StrEnum


class Side(StrEnum):
    """What a guest ran: the base kernel or the patched one, both with the patched tree's scripts,
    or the base kernel with base's own. The value is the name of the folder of its logs."""

    BASE = "base"
    PATCHED = "patched"
    BASE_OWN = "base-own"


BOTH = (Side.BASE, Side.PATCHED)
