# SPDX-License-Identifier: GPL-2.0-only
"""The sides of a comparison. Pure."""

from enum import StrEnum


class Side(StrEnum):
    """A kernel with selftests. Base and patched both run the patched tree's selftests. The two
    ``OLD`` ones are the same kernels with the selftests of the base tree: what a series does to
    the tests cannot hide there what it does to the kernel. The value is the name of the folder of
    its logs in a run."""

    BASE = "base"
    PATCHED = "patched"
    BASE_OLD = "base-old"
    PATCHED_OLD = "patched-old"

    @property
    def kernel(self) -> "Side":
        """Whose kernel it is: base's or patched's."""
        return Side.BASE if self in (Side.BASE, Side.BASE_OLD) else Side.PATCHED

    @property
    def scripts(self) -> "Side":
        """Whose selftests it runs: base's or patched's."""
        return Side.PATCHED if self in SIDES else Side.BASE


# The two that are built and compared; base comes first, for one that does not build is no base.
SIDES = (Side.BASE, Side.PATCHED)
# Both kernels with the base tree's selftests.
OLD_SIDES = (Side.BASE_OLD, Side.PATCHED_OLD)
