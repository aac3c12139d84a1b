# SPDX-License-Identifier: GPL-2.0-only
"""One mail or patch file, taken apart: its headers, its message, and the change alone.

Mails are by strangers. git takes every one of them apart (``git mailinfo``), whichever way it came,
so that encodings, prefixes, footers and in-body headers are gone before anything else looks at it.
What git takes for the change may begin in the message, where that quotes a diff;
:func:`ci.series.change.separate_change` finds the change itself.
"""

import email.errors
import email.header
import email.parser
import email.policy
import email.utils
import functools
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ci.base.errors import StageError
from ci.base.git import Git, check_written
from ci.base.processes import CommandResult
from ci.series import change

# [PATCH net v2 3/5] mptcp: set the flag; [PATCH [RESEND] 1/2]; [RFC][PATCH 2/3]
TAGS = re.compile(r"\s*((?:\[(?:[^\[\]]|\[[^\[\]]*\])*\]\s*)+)")
# 3/5, and hg's 3 of 5
NUMBERS = re.compile(r"(?<![\w.])(\d{1,4})(?:/| of )(\d{1,4})(?![\w.])", re.ASCII)
VERSION = re.compile(r"(?:\b|PATCH)v(\d{1,3})\b", re.I | re.ASCII)
# Re: [PATCH 3/5] mptcp: set the flag
REPLY = re.compile(r"\s*(?:re|aw|sv|antw|fwd?|wg)\s*(?:\[\d+\])?:", re.I)
# Where scissors are meant for git, the real headers follow; kernel messages also frame quotations
# with them.
SCISSORS = re.compile(rb"^[ -]*(?:>8|8<|%<|>%)[ 8<>%-]*\n\s*(?:From|Subject|Date): ", re.M)
BASE_COMMIT = re.compile(r"^base-commit: ([0-9a-f]{40})\s*$", re.M)
CHANGE_ID = re.compile(r"^change-id: ([!-~]{1,200})\s*$", re.M)
BOMS = ((b"\xef\xbb\xbf", "utf-8"), (b"\xff\xfe", "utf-16-le"), (b"\xfe\xff", "utf-16-be"))
TITLE_LENGTH = 200
# 60 MB take git some seconds; of a subject of many tags it moves all that follows each.
MAILINFO_S = 60.0
# So many answers of git on a text are kept; the texts of a series are 64 MB at most.
KEPT = 256
# A long subject may begin on the line behind its name, as Python's own mails have it.
SUBJECT = re.compile(rb"^Subject:[ \t]*(?:\n[ \t]+)?\S", re.M | re.I)
# Lines before a diff that are no title: of git show, of Debian's and others' headers, of CVS and
# hg.
NO_TITLE = re.compile(
    r"(?:commit [0-9a-f]{7,40}\b|From |[A-Z][A-Za-z-]*:(?<!Description:)(?:\s|$)|#|=+$|-+$|@@ )"
)


@dataclass(frozen=True)
class Document:
    """The bytes of one mail or patch file. ``where`` is how messages call it: a path, or
    ``x.mbox, mail 3``; ``path`` the file that the user gave; ``crs`` tells that a transport had
    ended each line with a CR."""

    where: str
    data: bytes
    path: Path
    crs: bool = False


@dataclass(frozen=True)
class Mail:
    """What the headers say of a mail's place in a series: ``number`` of ``total`` in ``version``, 0
    of 0 where its subject has no such numbers; ``tagged`` where it has [PATCH]; ``date`` in seconds
    since 1970, 0 for none.
    """

    document: Document
    subject: str
    message_id: str
    parents: frozenset[str]
    reply: bool
    resend: bool
    tagged: bool
    version: int
    number: int
    total: int
    date: float

    @property
    def title(self) -> str:
        """The subject without its tags."""
        return TAGS.sub("", self.subject, count=1)

    @property
    def series(self) -> tuple[int, int]:
        """What the mails of one series have in common."""
        return self.version, self.total


@dataclass(frozen=True)
class Parts:
    """A mail taken apart: ``change`` is empty where there is none. ``crlf`` is the change with CRs
    at the ends of its lines where a transport may have put them there, or not; else empty."""

    title: str
    message: str
    change: str
    crlf: str
    base_commit: str
    change_id: str
    quoted: tuple[str, ...] = ()


def plain_bytes(data: bytes) -> bytes:
    """``data`` in bytes that git reads: without a byte order mark, and without the CRs that a
    transport put at the end of each line, which are those of all lines that a diff or a mail is
    made of."""
    for mark, encoding in BOMS:
        if data.startswith(mark):
            data = data.removeprefix(mark)
            if encoding != "utf-8":
                data = data.decode(encoding, "replace").encode()
            break
    return data.replace(b"\r\n", b"\n") if has_crs(data) else data


def has_crs(data: bytes) -> bool:
    """Whether every line that makes a mail or a diff ends with a CR: a patch of a file with CRLF
    has it in hunks alone."""
    begin = re.match(rb"[^\n]*\n", data)
    frame = [
        begin[0] if begin else b"",
        *re.findall(rb"^(?:diff --git |index |--- |\+\+\+ |@@ )[^\n]*\n", data, re.M),
    ]
    return all(line.endswith(b"\r\n") for line in frame)


def decoded_header(raw: object) -> str:
    """A header's value, decoded as far as possible, on one line."""
    try:
        text = str(email.header.make_header(email.header.decode_header(str(raw))))
    except (LookupError, ValueError, email.errors.MessageError):
        text = str(raw)
    return " ".join(text.split())


def read_headers(document: Document) -> Mail:
    """What the headers of a mail say; a patch without any is a mail with its own file's name as
    subject."""
    head = document.data.lstrip()[:65536].partition(b"\n\n")[0]
    parsed = email.parser.BytesHeaderParser(policy=email.policy.compat32).parsebytes(head)
    subject = decoded_header(parsed.get("Subject", ""))
    tags = found[1] if (found := TAGS.match(subject)) else ""
    version = int(found[1]) if (found := VERSION.search(tags)) else 1
    number, total = ([(int(n), int(m)) for n, m in NUMBERS.findall(tags)] or [(0, 0)])[-1]
    date = email.utils.parsedate_tz(decoded_header(parsed.get("Date", "")))
    try:
        sent = email.utils.mktime_tz(date) if date else 0.0
    except (OverflowError, ValueError):
        sent = 0.0
    return Mail(
        document=document,
        subject=subject,
        message_id=decoded_header(parsed.get("Message-ID", "")).strip("<>"),
        parents=frozenset(
            re.findall(r"<([^<>\s]+)>", " ".join(map(str, parsed.get_all("In-Reply-To", []))))
        ),
        reply=bool(REPLY.match(subject)),
        resend="RESEND" in tags.upper(),
        tagged="PATCH" in tags.upper(),
        version=version,
        number=number,
        total=total,
        date=sent,
    )


def take_apart(document: Document) -> Parts:
    """The parts of a mail, or of a patch without headers; a :class:`StageError` names what is
    neither."""
    data, title = document.data, ""
    if not SUBJECT.search(data.lstrip().partition(b"\n\n")[0]):
        title = first_words(data) or re.sub(r"(\.(patch|diff|txt|gz))+$", "", document.path.name)
        data = b"From: nobody <nobody@invalid>\nSubject: x\n\n" + data
    reply, message, raw = _mailinfo(data)
    if reply.returncode != 0:
        why = reply.stderr.strip() or "it has no headers, or no text"
        raise StageError("series", f"{document.where}: git cannot read it as a mail: {why}")
    body = plain_bytes(raw)
    found = change.separate_change(body.decode("utf-8", "surrogateescape"), mail=not title)
    # Where a transport put CRs everywhere, only the tree can tell whether the file has some of its
    # own.
    dressed_up = document.crs or body != raw
    whole = f"{message}\n{body.decode('utf-8', 'replace')}"
    # not splitlines: a form feed in a subject would let it say what it is
    info = dict(line.partition(": ")[::2] for line in reply.stdout.split("\n") if line)
    base, named = BASE_COMMIT.search(whole), CHANGE_ID.search(whole)
    return Parts(
        title=title or info.get("Subject", ""),
        message=f"{message}\n{found.message}".strip(),
        change=found.change,
        crlf=change.with_crs(found.change) if found.change and dressed_up else "",
        base_commit=base[1] if base else "",
        change_id=named[1] if named else "",
        quoted=found.quoted,
    )


@functools.lru_cache(maxsize=KEPT)  # the same mail gives the same each time
def _mailinfo(data: bytes) -> tuple[CommandResult, str, bytes]:
    """What git says of a mail, its message, and the rest of its body."""
    with tempfile.TemporaryDirectory() as scratch:
        git, message, rest = (
            Git(Path(scratch), "series"),
            Path(scratch) / "msg",
            Path(scratch) / "patch",
        )
        for scissors in ("--no-scissors", "--scissors"):
            for charset in ((), ("-n",)):  # as it stands where its charset is none that git knows
                reply = git.run(
                    "mailinfo",
                    "--quoted-cr=nowarn",
                    scissors,
                    *charset,
                    "msg",
                    "patch",
                    stdin=data.decode("utf-8", "surrogateescape"),
                    ok=None,
                    timeout_s=MAILINFO_S,
                )
                if "cannot convert from" not in reply.stderr:
                    break
            if reply.returncode != 0:
                return reply, "", b""
            if not SCISSORS.search(message.read_bytes()):
                break
        check_written(git.folder, "series")
        text = message.read_bytes().decode("utf-8", "replace").replace("\r\n", "\n")
        return reply, text, rest.read_bytes()


def first_words(data: bytes) -> str:
    """What a patch without a subject says first of itself, as its title; empty where it says
    nothing."""
    for raw in data.split(b"\n")[:50]:
        line = raw.decode("utf-8", "replace").strip()
        if line.startswith(("diff ", "--- ", "Index: ")):
            break
        if line and not NO_TITLE.match(line):
            return line.removeprefix("Description: ")[:TITLE_LENGTH]
    return ""
