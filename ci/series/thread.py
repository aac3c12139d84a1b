# SPDX-License-Identifier: GPL-2.0-only
"""Which of many mails make up the series: its version, its numbers, each patch once and none
missing."""

from collections.abc import Collection, Iterable, Mapping, Sequence

from ci.base.errors import StageError
from ci.series.documents import MAX_PATCHES
from ci.series.letters import Letter, Opened, Posting
from ci.series.mails import Mail


def choose_series(
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
    opened = Opened()
    posted = [mail for mail in mails if not mail.reply]
    asked = [mail for mail in posted if wanted and mail.message_id == wanted]
    if wanted and not asked and not whole:
        raise StageError("series", f"{where}: no mail in it has the message-id {wanted}")
    if asked and not asked[0].total:
        return Posting((Letter(1, asked[0], opened(asked[0])),))
    if not whole and not asked and (alone := _one_patch(posted, where, only, opened)):
        return alone
    groups = {
        key: [mail for mail in posted if mail.total and mail.series == key]
        for key in sorted({mail.series for mail in posted if mail.total})
    }
    loose = [mail for mail in posted if not mail.total and opened(mail).change]
    notes: tuple[str, ...] = ()
    if asked:
        chosen = groups[asked[0].series]
    elif groups:
        chosen = _only_group(groups, loose, where, opened)
        notes = tuple(
            f"{mail.subject[:100]!r} is left out: an answer, not of the series" for mail in loose
        )
    else:
        return _loose(loose, where, posted, opened)
    chosen, more = _one_sending(chosen, where, asked, opened)
    return _complete(chosen, where, only, opened, (*notes, *more))


def _one_patch(
    posted: Sequence[Mail], where: str, only: Collection[int], opened: Opened
) -> Posting | None:
    """The only patch of a file; ``None`` where there are several."""
    holding = [mail for mail in posted if mail.number or not mail.total]
    if len(posted) <= MAX_PATCHES:
        holding = [mail for mail in holding if opened(mail).change]
    if not holding:
        return _loose([], where, posted, opened)
    for mail in posted:
        if mail.tagged and not (mail.total or mail.parents or opened(mail).change):
            raise StageError(
                "series",
                f"{where}: {mail.subject[:80]!r} is no answer and has no diff; give the patches "
                "without it, or one by its message-id with --only",
            )
    if len(holding) == 1 and len({mail.series for mail in posted if mail.total}) <= 1:
        return _alone(holding[0], where, posted, opened, only)
    return None


def _only_group(
    groups: Mapping[tuple[int, int], list[Mail]],
    loose: Sequence[Mail],
    where: str,
    opened: Opened,
) -> list[Mail]:
    """The mails of the one series that is there."""
    strangers = [mail for mail in loose if not mail.parents]
    if len(groups) > 1 or strangers:
        raise StageError("series", _several(where, groups.values(), strangers, opened))
    (chosen,) = groups.values()
    return chosen


def _alone(
    mail: Mail, where: str, posted: Sequence[Mail], opened: Opened, only: Collection[int]
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


def _loose(loose: Sequence[Mail], where: str, posted: Sequence[Mail], opened: Opened) -> Posting:
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
    where: str, groups: Iterable[Sequence[Mail]], strangers: Sequence[Mail], opened: Opened
) -> str:
    """The words on mails of more than one series."""
    rows = []
    for mails in groups:
        version, total = mails[0].series
        numbers = {mail.number for mail in mails if mail.number and opened(mail).change}
        lacks = f", {total - len(numbers)} missing" if len(numbers) < total else ""
        rows.append(f"v{version} of {total} ({mails[0].subject[:60]!r}{lacks})")
    rows += [f"{mail.subject[:60]!r}" for mail in strangers]
    return (
        f"{where}: there are {len(rows)} series: {', '.join(rows)}; give one alone, or a message-id"
        " of it by --only"
    )


def _one_sending(
    mails: list[Mail], where: str, asked: Sequence[Mail], opened: Opened
) -> tuple[list[Mail], tuple[str, ...]]:
    """Of a series that was sent more than once under the same numbers the sending of the mail that
    is asked for, else the newest that is whole, and a note on that. Without a title in common the
    sendings are other series of the same length."""
    sendings = _sendings(mails)
    if asked and sendings:
        return next(sending for sending in sendings if asked[0] in sending), ()
    numbers = set(range(1, mails[0].total + 1))
    whole = [
        sending
        for sending in sendings
        if {mail.number for mail in sending if mail.number and opened(mail).change} == numbers
    ]
    if not whole:
        return mails, ()
    newest = max(whole, key=lambda sending: max(mail.date for mail in sending))
    titles = {mail.title for mail in newest if mail.number}
    if any(
        titles.isdisjoint(mail.title for mail in sending if mail.number) for sending in sendings
    ):
        raise StageError("series", _several(where, sendings, (), opened))
    first = min(newest, key=lambda mail: mail.number)
    note = (
        f"sent {len(sendings)} times: the newest complete one is taken, {first.subject[:100]!r}"
        f" <{first.message_id}>; --only MESSAGE-ID takes another"
    )
    return newest, (note,)


def _sendings(mails: Sequence[Mail]) -> list[list[Mail]]:
    """The mails of each sending of a series, told apart by RESEND, or by the mail that they answer
    to; empty where no number is there twice, or nothing tells them apart."""
    unique = {(mail.number, mail.message_id or id(mail)): mail for mail in mails}
    if len({mail.number for mail in unique.values()}) == len(unique):
        return []
    for apart in (lambda mail: str(mail.resend), _root):
        sendings: dict[str, list[Mail]] = {}
        for mail in mails:
            sendings.setdefault(apart(mail), []).append(mail)
        if len(sendings) > 1:
            return list(sendings.values())
    return []


def _root(mail: Mail) -> str:
    """What the patches of one sending answer to: their cover letter, which answers to none of
    them."""
    return next(iter(sorted(mail.parents)), "") if mail.number else mail.message_id


def _complete(
    mails: Sequence[Mail],
    where: str,
    only: Collection[int],
    opened: Opened,
    notes: tuple[str, ...],
) -> Posting:
    """Each patch of a sending once, and none missing that is asked for."""
    version, total = mails[0].series
    if total > MAX_PATCHES:
        raise StageError(
            "series",
            f"{where}: {mails[0].subject[:100]!r}: more than {MAX_PATCHES} patches are no series",
        )
    letters = _unique_letters(mails, where, opened)
    missing = [
        str(number) for number in sorted(only or range(1, total + 1)) if number not in letters
    ]
    if missing:
        raise StageError(
            "series",
            f"{where}: v{version} of {total} patches: {', '.join(missing)} missing or without a"
            " diff; --only NUMBERS takes those that are there",
        )
    return Posting(tuple(letters[number] for number in sorted(letters)), notes)


def _unique_letters(mails: Sequence[Mail], where: str, opened: Opened) -> dict[int, Letter]:
    """The letters of a sending by their numbers; what has a patch's number and no diff is none."""
    letters: dict[int, Letter] = {}
    for mail in mails:
        if mail.number > mail.total:
            raise StageError(
                "series",
                f"{where}: {mail.subject[:100]!r}: there is no {mail.number} of {mail.total}",
            )
        parts = opened(mail)
        if mail.number and not parts.change:
            continue
        other = letters.get(mail.number)
        # Sent to two lists, a mail comes twice.
        if other and not (
            mail.message_id and mail.message_id == other.mail.message_id and parts == other.parts
        ):
            raise StageError(
                "series",
                f"{where}: patch {mail.number}/{mail.total} is there twice:"
                f" {other.mail.subject[:100]!r} and {mail.subject[:100]!r}",
            )
        letters[mail.number] = Letter(mail.number, mail, parts)
    return letters
