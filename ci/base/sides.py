# SPDX-License-Identifier: GPL-2.0-only
"""The sides of a comparison. Pure."""

from enum import StrEnum


class Side(StrEnum):
    """A kernel with its selftests. Base and patched both run the patched tree's selftests;
    ``BASE_OWN`` is base's kernel with the selftests of its own tree. The value is the name of the
    folder of its logs in a run."""

    BASE = "base"
    PATCHED = "patched"
    BASE_OWN = "base-own"


# The two that are built and compared; base comes first, for one that does not build is no base.
SIDES = (Side.BASE, Side.PATCHED)
