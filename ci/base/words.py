# SPDX-License-Identifier: GPL-2.0-only
"""The words that a proof has for lines and for what was taken back."""

from enum import StrEnum


class Word(StrEnum):
    """What holds of a changed line, the strongest first."""

    GUARDED = "guarded"
    EXECUTED = "executed"
    COMPILED = "compiled"
    NOT_COMPILED = "not compiled"
    NOT_CODE = "not code"


class Outcome(StrEnum):
    """How a part of a series that was taken back came out."""

    NOTICED = "noticed"
    UNNOTICED = "unnoticed"
    EQUIVALENT = "equivalent"
    NOT_TRIED = "not tried"
