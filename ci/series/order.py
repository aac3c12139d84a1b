# SPDX-License-Identifier: GPL-2.0-only
"""The patches of a folder whose names, or a ``series`` file, give their order."""

from collections.abc import Collection, Sequence
from dataclasses import replace

from ci.base.errors import StageError
from ci.series.documents import Given
from ci.series.letters import Letter, Posting
from ci.series.mails import Mail, read_headers, take_apart
from ci.series.thread import choose_series


def order_letters(given: Given, where: str, only: Collection[int] = ()) -> Posting:
    """The patches of a folder in the order that it gives; where only the subjects have numbers, in
    theirs."""
    mails = [read_headers(document) for document in given.documents]
    kinds = {mail.series for mail in mails}
    if given.by_name and len(mails) > 1 and all(mail.number for mail in mails) and len(kinds) == 1:
        return choose_series(mails, where, only=only)
    letters = [
        Letter(number, mail, take_apart(mail.document))
        for number, mail in zip(given.numbers, mails, strict=True)
    ]
    notes = given.notes
    if any(not (letter.number or letter.mail.total) and letter.parts.change for letter in letters):
        letters = [replace(letter, number=letter.number + 1) for letter in letters]
        note = (
            f"{where}: its names count from 0, and that one is a patch: it is patch 1 here, and"
            " so on"
        )
        notes = (*notes, note)
    _check_complete(letters, mails, where, only)
    return Posting(tuple(sorted(letters, key=lambda letter: letter.number)), notes)


def _check_complete(
    letters: Sequence[Letter], mails: Sequence[Mail], where: str, only: Collection[int]
) -> None:
    """There is a patch, each letter with a number is one, and none is missing that is asked for."""
    numbers = [letter.number for letter in letters if letter.number]
    if not numbers:
        raise StageError("series", f"{where}: a cover letter and no patch")
    for letter in letters:
        if letter.number and not letter.parts.change:
            raise StageError(
                "series", f"{letter.mail.document.where}: not a patch: there is no diff in it"
            )
    # Subjects such as [PATCH 3/5] tell of a last patch that is missing, where they are those of the
    # names.
    agree = (
        all(letter.mail.number == letter.number for letter in letters if letter.number)
        and len({mail.series for mail in mails}) == 1
    )
    last = max(*numbers, mails[-1].total if agree else 0, 0)
    missing = [
        str(number)
        for number in range(1, last + 1)
        if number not in numbers and (not only or number in only)
    ]
    if missing and len(numbers) > 1:
        raise StageError(
            "series",
            f"{where}: {', '.join(missing)} missing of {last} patches, by their numbers; "
            "--only NUMBERS takes those that are there",
        )
