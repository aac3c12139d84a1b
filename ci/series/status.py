# SPDX-License-Identifier: GPL-2.0-only
"""The words for what becomes of a patch on a tree. Pure."""

from enum import StrEnum


class PatchStatus(StrEnum):
    """What became of a patch, or which of its forms did it. ``REFUSED`` breaks a rule of intake,
    ``DEPENDS`` is told with the number of the patch without which it cannot be tried; ``EDITED`` is
    a form alone: the patch as it was committed, before its file was edited."""

    APPLIES = "applies"
    BACKPORT = "applies as backport"
    ADAPTED = "applies adapted"
    THERE = "already there"
    NOT_AFFECTED = "not affected"
    LEFT_OUT = "left out"
    CONFLICTS = "conflicts"
    REFUSED = "refused"
    DEPENDS = "depends on"
    EDITED = "edited since"
