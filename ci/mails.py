"""The patches among mails: which of them make up a series, and each written anew as a file.

Mails are by strangers. Numbers and cleaned titles name the files, git takes the mails apart, and a patch is written from
what git found, so that encodings, prefixes, footers and replies are gone before anything else looks at it.
"""

import email.errors
import email.header
import email.parser
import email.policy
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ci.errors import StageError
from ci.git import Git

MAILS = 2000
PATCHES = 500
# [PATCH net v2 3/5] mptcp: set the flag
TAGS = re.compile(r"\s*((?:\[[^\]]*\]\s*)+)")
NUMBERS = re.compile(r"(?<![\w.])(\d{1,4})/(\d{1,4})(?![\w.])", re.ASCII)
VERSION = re.compile(r"(?:\b|PATCH)v(\d{1,3})\b", re.I | re.ASCII)
# Re: [PATCH 3/5] mptcp: set the flag
REPLY = re.compile(r"\s*(?:re|aw|sv|antw|fwd?|wg)\s*(?:\[\d+\])?:", re.I)
# Where scissors are meant for git, the real headers follow; kernel messages also frame quotations with them.
SCISSORS = re.compile(rb"^[ -]*(?:>8|8<|%<|>%)[ 8<>%-]*\n\s*(?:From|Subject|Date): ", re.M)
DIFF = re.compile(rb"^(?:diff -|--- \S)", re.M)


@dataclass(frozen=True)
class Mail:
    """One mail: ``number`` of ``total`` in ``version`` of a series, 0 of 0 where its subject has no such numbers."""

    subject: str
    message_id: str
    reply: bool
    version: int
    number: int
    total: int
    path: Path

    @property
    def series(self) -> tuple[int, int]:
        """What the mails of one series have in common."""
        return self.version, self.total


def _header(raw: str) -> str:
    """A header's value, decoded as far as possible, on one line."""
    try:
        text = str(email.header.make_header(email.header.decode_header(raw)))
    except (LookupError, ValueError, email.errors.MessageError):
        text = raw
    return " ".join(text.split())


def read_mail(path: Path) -> Mail:
    """What the headers of a mail say of its place in a series."""
    with path.open("rb") as file:
        head = file.read(65536).partition(b"\n\n")[0]
    parsed = email.parser.BytesHeaderParser(policy=email.policy.compat32).parsebytes(head)
    subject = _header(str(parsed.get("Subject", "")))
    tags = found[1] if (found := TAGS.match(subject)) else ""
    version = int(found[1]) if (found := VERSION.search(tags)) else 1
    number, total = ([(int(n), int(m)) for n, m in NUMBERS.findall(tags)] or [(0, 0)])[-1]
    if not total and "PATCH" in tags.upper():
        number = total = 1
    identity = _header(str(parsed.get("Message-ID", ""))).strip("<>")
    return Mail(subject, identity, bool(REPLY.match(subject)), version, number, total, path)


def split(box: Path, folder: Path, *options: str) -> list[Mail]:
    """The mails of an mbox or a maildir, each in a file of ``folder``."""
    folder.mkdir()
    Git(folder, "series").run("mailsplit", "-d5", "-b", *options, f"-o{folder}", box)
    paths = sorted(folder.iterdir())
    if len(paths) > MAILS:
        raise StageError("series", f"{len(paths)} mails are more than one series ({MAILS}); give its thread alone")
    return [read_mail(path) for path in paths]


def _patch(mail: Mail) -> tuple[str, bytes]:
    """File name and text of the patch (or cover letter) in a mail; the text is empty where a patch has no diff."""
    with tempfile.TemporaryDirectory() as scratch:
        git, message, change = Git(Path(scratch), "series"), Path(scratch) / "msg", Path(scratch) / "patch"
        text = mail.path.read_bytes().decode("utf-8", "surrogateescape")
        for scissors in ("--no-scissors", "--scissors"):
            # Some mailers send whole bodies with CRs, in an encoding that hides them from mailsplit.
            said = git.run("mailinfo", "--quoted-cr=strip", scissors, "msg", "patch", stdin=text, ok=None)
            if said.returncode != 0:
                raise StageError("series", f"mail {mail.subject[:100]!r}: git can not read it: {said.stderr.strip()}")
            if not SCISSORS.search(message.read_bytes()):
                break
        body, diff = message.read_bytes(), change.read_bytes()
    info = dict(line.partition(": ")[::2] for line in said.stdout.splitlines() if line)
    title = info.get("Subject", "")
    if mail.number and not DIFF.search(diff):
        return "", b""
    head = [
        f"From: {info.get('Author', '')} <{info.get('Email', '')}>", f"Date: {info.get('Date', '')}",
        f"Subject: [PATCH {mail.number}/{mail.total}] {title}", "MIME-Version: 1.0",
        "Content-Type: text/plain; charset=UTF-8", "Content-Transfer-Encoding: 8bit", "", "",
    ]  # fmt: skip
    slug = re.sub(r"[^A-Za-z0-9_]+", "-", title).strip("-")[:52] or "untitled"
    return f"{mail.number:04}-{slug}.patch", "\n".join(head).encode("utf-8", "surrogateescape") + body + diff


def _chosen(mails: Sequence[Mail], wanted: str) -> list[Mail]:
    """The mails of the one series: of the message-id ``wanted`` where there are several."""
    posted = [mail for mail in mails if not mail.reply]
    kinds = {mail.series: mail.subject for mail in posted if mail.total}
    if not kinds and len(posted) == 1:
        return [replace(posted[0], number=1, total=1)]
    if not kinds:
        raise StageError("series", f"none of the {len(mails)} mails has a subject such as [PATCH 1/3] title")
    asked = [mail.series for mail in posted if mail.message_id == wanted and mail.total]
    if not asked and len(kinds) > 1:
        list_of = ", ".join(
            f"v{version} of {total} ({kinds[version, total][:60]!r})" for version, total in sorted(kinds)
        )
        raise StageError("series", f"there are {len(kinds)} series: {list_of}; give one alone, or a message-id of it")
    return [mail for mail in posted if mail.series == (asked or list(kinds))[0]]


def patches_of(mails: Sequence[Mail], wanted: str = "") -> dict[str, bytes]:
    """The files of the one series in ``mails``, complete and each once; replies are left out."""
    chosen = _chosen(mails, wanted)
    version, total = chosen[0].series
    if total > PATCHES:
        raise StageError("series", f"{chosen[0].subject[:100]!r}: more than {PATCHES} patches are no series")
    named: dict[int, tuple[Mail, str, bytes]] = {}
    for mail in chosen:
        if mail.number > total:
            raise StageError("series", f"{mail.subject[:100]!r}: there is no {mail.number} of {total}")
        name, text = _patch(mail)
        if not name:
            continue
        if mail.number in named:
            other, _, had = named[mail.number]
            # Sent to two lists, a mail comes twice.
            if not (mail.message_id and mail.message_id == other.message_id and text == had):
                raise StageError("series", f"patch {mail.number}/{total} is there twice: {other.subject[:100]!r} and "
                                 f"{mail.subject[:100]!r}")  # fmt: skip
        named[mail.number] = mail, name, text
    missing = [str(number) for number in range(1, total + 1) if number not in named]
    if missing:
        raise StageError("series", f"v{version} of {total} patches: {', '.join(missing)} missing or without a diff")
    return {name: text for _, name, text in named.values()}
