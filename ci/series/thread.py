# SPDX-License-Identifier: GPL-2.0-only
"""Which of many mails make up the series: its version, its numbers, each patch once and none
missing."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from ci.base.errors import StageError
from ci.series.documents import MAX_PATCHES, Given
from ci.series.mails import Mail, Parts, read, take_apart


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


class _Opened:
    """Mails taken apart, each when it is asked for, once."""

    def __init__(self) -> None:
        self.known: dict[int, Parts] = {}

    def __call__(self, mail: Mail) -> Parts:
        if id(mail) not in self.known:
            self.known[id(mail)] = take_apart(mail.document)
        return self.known[id(mail)]


def choose(
    mails: Sequence[Mail],
    where: str,
    wanted: str = "",
    only: Collection[int] = (),
    *,
    whole: bool = False,
) -> Posting:
    """The one series in ``mails``; ``wanted`` is a message-id of it, ``only`` are the numbers that
    are asked for. With ``whole`` (an archive's thread) a single patch of many is an incomplete
    series; in a file it is that patch.
    """
    opened = _Opened()
    posted = [mail for mail in mails if not mail.reply]
    asked = [mail for mail in posted if wanted and mail.message_id == wanted]
    if wanted and not asked and not whole:
        raise StageError("series", f"{where}: no mail in it has the message-id {wanted}")
    if asked and not asked[0].total:
        return Posting((Letter(1, asked[0], opened(asked[0])),))
    if not whole and not asked:
        holding = [mail for mail in posted if mail.number or not mail.total]
        holding = (
            [mail for mail in holding if opened(mail).change]
            if len(posted) <= MAX_PATCHES
            else holding
        )
        if not holding:
            return _loose([], where, posted, opened)
        if lost := [
            mail
            for mail in posted
            if mail.tagged and not (mail.total or mail.parents or opened(mail).change)
        ]:
            raise StageError(
                "series",
                f"{where}: {lost[0].subject[:80]!r} is no answer and has no diff; give the patches "
                "without it, or one by its message-id with --only",
            )
        if len(holding) == 1 and len({mail.series for mail in posted if mail.total}) <= 1:
            return _alone(holding[0], where, posted, opened, only)
    groups = {
        key: [mail for mail in posted if mail.total and mail.series == key]
        for key in sorted(_keys(posted))
    }
    loose = [mail for mail in posted if not mail.total and opened(mail).change]
    notes: tuple[str, ...] = ()
    if asked:
        chosen = groups[asked[0].series]
    elif groups:
        strangers = [mail for mail in loose if not mail.parents]
        if len(groups) > 1 or strangers:
            raise StageError("series", _several(where, groups.values(), strangers, opened))
        notes = tuple(
            f"{mail.subject[:100]!r} is left out: an answer, not of the series" for mail in loose
        )
        (chosen,) = groups.values()
    else:
        return _loose(loose, where, posted, opened)
    chosen, more = _sent_again(chosen, where, asked, opened)
    return _complete(chosen, where, only, opened, (*notes, *more))


def _keys(mails: Iterable[Mail]) -> set[tuple[int, int]]:
    return {mail.series for mail in mails if mail.total}


def _alone(
    mail: Mail, where: str, posted: Sequence[Mail], opened: _Opened, only: Collection[int]
) -> Posting:
    """The only patch of a file."""
    number = mail.number or 1
    if only and number not in only:
        raise StageError(
            "series", f"{where}: it holds patch {number} alone, and --only asks for another"
        )
    covers = [
        Letter(0, one, opened(one))
        for one in posted
        if one.total and not one.number and one.series == mail.series
    ]
    if covers and mail.total > 1 and not only:
        missing = ", ".join(str(other) for other in range(1, mail.total + 1) if other != number)
        raise StageError(
            "series",
            f"{where}: v{mail.version} of {mail.total} patches: {missing} missing or without a"
            f" diff; --only {number} takes the one that is there",
        )
    note = f"{where}: patch {number} of {mail.total} alone; the rest of its series is not there"
    return Posting(
        (*covers[:1], Letter(number, mail, opened(mail))), (note,) if mail.total > 1 else ()
    )


def _loose(loose: Sequence[Mail], where: str, posted: Sequence[Mail], opened: _Opened) -> Posting:
    """Patches without numbers, in the order in which they stand: what ``git am`` would take."""
    if not loose:
        first = f", the first is {posted[0].subject[:80]!r}" if posted else ""
        raise StageError(
            "series",
            f"{where}: none of the mails in it is a patch{first}; a patch has a diff, and its"
            " subject is no answer (Re:)",
        )
    identities = {mail.message_id for mail in loose if mail.message_id}
    versions = {mail.version for mail in loose}
    if len(versions) > 1 or any(mail.parents & identities for mail in loose):
        rows = ", ".join(repr(mail.subject[:60]) for mail in loose[:8])
        raise StageError(
            "series",
            f"{where}: {len(loose)} patches that are no series: {rows}; give one alone, or its "
            "message-id by --only",
        )
    note = f"{where}: {len(loose)} patches without numbers, taken in the order in which they stand"
    letters = tuple(Letter(number, mail, opened(mail)) for number, mail in enumerate(loose, 1))
    return Posting(letters, (note,) if len(letters) > 1 else ())


def _several(
    where: str, groups: Iterable[Sequence[Mail]], strangers: Sequence[Mail], opened: _Opened
) -> str:
    """The words on mails of more than one series."""
    rows = []
    for mails in groups:
        version, total = mails[0].series
        there = {mail.number for mail in mails if mail.number and opened(mail).change}
        lacks = f", {total - len(there)} missing" if len(there) < total else ""
        rows.append(f"v{version} of {total} ({mails[0].subject[:60]!r}{lacks})")
    rows += [f"{mail.subject[:60]!r}" for mail in strangers]
    return (
        f"{where}: there are {len(rows)} series: {', '.join(rows)}; give one alone, or a message-id"
        " of it by --only"
    )


def _sent_again(
    mails: Sequence[Mail], where: str, asked: Sequence[Mail], opened: _Opened
) -> tuple[list[Mail], tuple[str, ...]]:
    """Of a series that was sent more than once under the same numbers the sending of the mail that
    is asked for, else the newest that is whole. The sendings are told apart by RESEND, or by the
    mail that they answer to; without a title in common they are other series of the same length."""
    unique = {(mail.number, mail.message_id or id(mail)): mail for mail in mails}
    if len({mail.number for mail in unique.values()}) == len(unique):
        return list(mails), ()
    for apart in (lambda mail: str(mail.resend), _root):
        sendings: dict[str, list[Mail]] = {}
        for mail in mails:
            sendings.setdefault(apart(mail), []).append(mail)
        if len(sendings) > 1:
            break
    else:
        return list(mails), ()
    if asked:
        return next(group for group in sendings.values() if asked[0] in group), ()
    total = mails[0].total
    whole = [
        group
        for group in sendings.values()
        if {mail.number for mail in group if mail.number and opened(mail).change}
        == set(range(1, total + 1))
    ]
    if not whole:
        return list(mails), ()
    newest = max(whole, key=lambda group: max(mail.date for mail in group))
    titles = {mail.title for mail in newest if mail.number}
    if any(
        titles.isdisjoint(mail.title for mail in group if mail.number)
        for group in sendings.values()
    ):
        raise StageError("series", _several(where, sendings.values(), (), opened))
    first = min(newest, key=lambda mail: mail.number)
    return newest, (
        (
            f"sent {len(sendings)} times: the newest complete one is taken, {first.subject[:100]!r}"
            f" <{first.message_id}>; --only MESSAGE-ID takes another"
        ),
    )


def _root(mail: Mail) -> str:
    """What the patches of one sending answer to: their cover letter, which answers to none of
    them."""
    return next(iter(sorted(mail.parents)), "") if mail.number else mail.message_id


def _complete(
    mails: Sequence[Mail],
    where: str,
    only: Collection[int],
    opened: _Opened,
    notes: tuple[str, ...],
) -> Posting:
    """Each patch of a sending once, and none missing that is asked for."""
    version, total = mails[0].series
    if total > MAX_PATCHES:
        raise StageError(
            "series",
            f"{where}: {mails[0].subject[:100]!r}: more than {MAX_PATCHES} patches are no series",
        )
    named: dict[int, Letter] = {}
    for mail in mails:
        if mail.number > total:
            raise StageError(
                "series", f"{where}: {mail.subject[:100]!r}: there is no {mail.number} of {total}"
            )
        parts = opened(mail)
        if mail.number and not parts.change:
            continue
        other = named.get(mail.number)
        # Sent to two lists, a mail comes twice.
        if other and not (
            mail.message_id and mail.message_id == other.mail.message_id and parts == other.parts
        ):
            raise StageError(
                "series",
                f"{where}: patch {mail.number}/{total} is there twice: {other.mail.subject[:100]!r}"
                f" and {mail.subject[:100]!r}",
            )
        named[mail.number] = Letter(mail.number, mail, parts)
    missing = [str(number) for number in sorted(only or range(1, total + 1)) if number not in named]
    if missing:
        raise StageError(
            "series",
            f"{where}: v{version} of {total} patches: {', '.join(missing)} missing or without a"
            " diff; --only NUMBERS takes those that are there",
        )
    return Posting(tuple(named[number] for number in sorted(named)), notes)


def in_order(given: Given, where: str, only: Collection[int] = ()) -> Posting:
    """The patches of a folder in the order that it gives; where only the subjects have numbers, in
    theirs."""
    mails = [read(document) for document in given.documents]
    kinds = {mail.series for mail in mails}
    if given.by_name and len(mails) > 1 and all(mail.number for mail in mails) and len(kinds) == 1:
        return choose(mails, where, only=only)
    letters = [
        Letter(number, mail, take_apart(mail.document))
        for number, mail in zip(given.numbers, mails, strict=True)
    ]
    notes = given.notes
    if any(not (letter.number or letter.mail.total) and letter.parts.change for letter in letters):
        letters = [replace(letter, number=letter.number + 1) for letter in letters]
        notes = (
            *notes,
            (
                f"{where}: its names count from 0, and that one is a patch: it is patch 1 here, and"
                " so on"
            ),
        )
    there = [letter.number for letter in letters if letter.number]
    if not there:
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
        and len(kinds) == 1
    )
    last = max(*there, mails[-1].total if agree else 0, 0)
    missing = [
        str(number)
        for number in range(1, last + 1)
        if number not in there and (not only or number in only)
    ]
    if missing and len(there) > 1:
        raise StageError(
            "series",
            f"{where}: {', '.join(missing)} missing of {last} patches, by their numbers; "
            "--only NUMBERS takes those that are there",
        )
    return Posting(tuple(sorted(letters, key=lambda letter: letter.number)), notes)
