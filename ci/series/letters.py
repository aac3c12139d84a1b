# SPDX-License-Identifier: GPL-2.0-only
"""Mails on their way to a series: taken apart, and numbered."""

from dataclasses import dataclass

from ci.series.mails import Mail, Parts, take_apart


@dataclass(frozen=True)
class Letter:
    """A mail of the series, taken apart; its number, 0 for a cover letter."""

    number: int
    mail: Mail
    parts: Parts


@dataclass(frozen=True)
class Posting:
    """The letters of one series in the order of their numbers, cover letter first where there is
    one, and what a reader has to know of how they were chosen."""

    letters: tuple[Letter, ...]
    notes: tuple[str, ...] = ()


class Opened:
    """Mails taken apart, each when it is asked for, once."""

    def __init__(self) -> None:
        self.parts: dict[int, Parts] = {}

    def __call__(self, mail: Mail) -> Parts:
        if id(mail) not in self.parts:
            self.parts[id(mail)] = take_apart(mail.document)
        return self.parts[id(mail)]
