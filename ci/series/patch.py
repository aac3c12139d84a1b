# SPDX-License-Identifier: GPL-2.0-only
"""One patch: what it says and does, and how it is read from a mail or a file."""

import functools
import hashlib
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from ci.base.errors import PatchError, StageError
from ci.base.git import Git
from ci.base.processes import CommandResult
from ci.series import change, documents, intake, mails
from ci.series.content import read_content
from ci.series.letters import Letter
from ci.series.mails import KEPT
from ci.series.manifest import PatchFacts, Version

BINARY = "\nGIT binary patch\n"


@dataclass(frozen=True)
class Patch:
    """One patch. ``digest`` names what it says and does, not how it came in: title, body and
    verbatim patch id; ``patch_id`` is git's stable one, of the change alone.

    ``diff`` is what ``git apply`` gets: the change alone; ``crlf`` the same for a file with CRLF,
    where a transport may have taken CRs away, else empty. ``path`` is the file that it came in,
    ``where`` how messages call the mail in it. ``insertions``/``deletions`` count lines; ``facts``
    are what ``series.toml`` says.
    """

    number: int
    title: str
    body: str
    diff: str
    path: Path
    where: str
    digest: str
    patch_id: str
    files: tuple[str, ...]
    insertions: int
    deletions: int
    crlf: str = ""
    message_id: str = ""
    facts: PatchFacts = field(default_factory=PatchFacts)

    @property
    def since(self) -> Version | None:
        """The first affected kernel version, ``None`` for every one."""
        return self.facts.since

    @property
    def introduced(self) -> tuple[str, str] | None:
        """A path of the tree and a text in it that came with what the patch fixes."""
        return self.facts.introduced

    @property
    def depends(self) -> tuple[int, ...]:
        """The patches without which this one is not needed."""
        return self.facts.depends


def patch_of_letter(letter: Letter) -> Patch:
    """The patch in a mail; an error names what the user gave. What is no patch at all is a
    :class:`StageError`; a patch that was damaged, or breaks a rule of :mod:`ci.series.intake`, a
    :class:`PatchError`."""
    where, parts = letter.mail.document.where, letter.parts
    if why := change.refusal_reason(parts.change):
        raise StageError("series", f"{where}: {why}")
    if why := intake.title_breach(parts.title) or intake.find_breach(parts.change):
        raise PatchError("series", f"{where}: refused: {why}", patch=letter.number)
    rows, verbatim, stable = _numbers_and_ids(letter)
    whole = [parts.title, parts.message, verbatim]
    if BINARY in parts.change:
        whole.append(hashlib.sha256(parts.change.encode("utf-8", "surrogateescape")).hexdigest())
    return Patch(
        number=letter.number,
        title=parts.title,
        body=parts.message,
        diff=parts.change,
        crlf=parts.crlf,
        path=letter.mail.document.path,
        where=where,
        digest=hashlib.sha256("\0".join(whole).encode()).hexdigest(),
        patch_id=stable,
        message_id=letter.mail.message_id,
        files=tuple(row[2] for row in rows),
        insertions=sum(int(row[0]) for row in rows if row[0].isdigit()),
        deletions=sum(int(row[1]) for row in rows if row[1].isdigit()),
    )


def _numbers_and_ids(letter: Letter) -> tuple[list[list[str]], str, str]:
    """What git reads of a change: a row (insertions, deletions, name) for each file, its verbatim
    and its stable patch id."""
    where, text = letter.mail.document.where, letter.parts.change
    counts = _numstat(text)
    if counts.returncode != 0:
        damage = _damage(letter, counts.stderr)
        raise PatchError("series", f"{where}: {damage}", patch=letter.number)
    rows = [row.split("\t", 2) for row in counts.stdout.split("\0") if row.count("\t") >= 2]
    for row in rows:  # as git reads the names, which may not be as we do
        if why := intake.name_breach(row[2]):
            raise PatchError("series", f"{where}: refused: {why}", patch=letter.number)
    verbatim, stable = _patch_ids(change.with_git_heads(text))
    if not verbatim or not stable:
        raise StageError("series", f"{where}: not a patch: it changes nothing")
    return rows, verbatim, stable


# What git says of a text is the same each time: a form of a patch is read for each tree that it is
# tried on.
@functools.lru_cache(maxsize=KEPT)
def _numstat(text: str) -> CommandResult:
    with tempfile.TemporaryDirectory() as scratch:
        return Git(Path(scratch), "series").judged("apply", "--numstat", "-z", stdin=text)


@functools.lru_cache(maxsize=KEPT)
def _patch_ids(text: str) -> tuple[str, str]:
    """The verbatim and the stable patch id, each empty where there is none."""
    with tempfile.TemporaryDirectory() as scratch:
        git = Git(Path(scratch), "series")
        verbatim, stable = (
            (git.run("patch-id", kind, stdin=text).stdout.split() or [""])[0]
            for kind in ("--verbatim", "--stable")
        )
    return verbatim, stable


def _damage(letter: Letter, words: str) -> str:
    """What is wrong with a change that git cannot read, and where."""
    what, line = change.find_fault(letter.parts.change)
    if not what:
        return f"git cannot read its change: {words.strip()}"
    raw = line.encode("utf-8", "surrogateescape")
    rows = letter.mail.document.data.split(b"\n")
    return f"{f'line {rows.index(raw) + 1}: ' if raw in rows else ''}{what} (git: {words.strip()})"


def read_patch(path: Path, number: int) -> Patch:
    """The patch of one file."""
    return parse_patch(read_content(path), path, number)


def parse_patch(data: bytes, path: Path, number: int) -> Patch:
    """The patch in ``data``; ``path`` is for errors."""
    mail, *more = [
        mails.read_headers(document) for document in documents.split_mails(data, str(path), path)
    ]
    parts = mails.take_apart(mail.document)
    if more or not parts.change:
        raise StageError(
            "series",
            f"{path}: it holds {'several patches' if more else 'no patch'}; one is wanted here",
        )
    return patch_of_letter(Letter(number, mail, parts))
