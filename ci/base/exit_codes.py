# SPDX-License-Identifier: GPL-2.0-only
"""The exit codes that the README promises, and which one counts where several hold. Pure."""

from collections.abc import Iterable
from enum import IntEnum


class ExitCode(IntEnum):
    """How a task ended. Those without a verdict have 0 for "done" and 1 for "not as it should
    be"."""

    ACCEPTED = 0
    REJECTED = 1
    BROKEN = 2  # the series is rejected before any test: it does not apply, or does not build
    UNKNOWN = 3

    @property
    def verdict(self) -> str:
        """The word of the verdict: accepted, rejected or error."""
        return ("accepted", "rejected", "rejected", "error")[self]


# Where several codes hold, the first of these counts.
PRECEDENCE = (ExitCode.BROKEN, ExitCode.REJECTED, ExitCode.UNKNOWN, ExitCode.ACCEPTED)


def first_code(codes: Iterable[ExitCode]) -> ExitCode:
    """The exit code of the whole, from those of its parts; UNKNOWN where there is none: nothing was
    found out."""
    return min(codes, key=PRECEDENCE.index, default=ExitCode.UNKNOWN)
