# SPDX-License-Identifier: GPL-2.0-only
"""A patch series as a value: its patches in order, and what its ``series.toml`` says more of it."""

import contextlib
import hashlib
import re
import tempfile
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ci.base.errors import PatchError, StageError
from ci.base.git import TRANSPORTS, Git
from ci.series import change, documents, mails, manifest, thread
from ci.series.documents import Given
from ci.series.manifest import SERIES_TOML, Facts, MustFlip, PatchFacts, Version
from ci.series.status import PatchStatus
from ci.series.thread import Letter, Posting

# Where a base commit is from, if series.toml does not say it: `git format-patch --base` and b4
# write that line.
TRAILER = "trailer"
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


@dataclass(frozen=True)
class Series:
    """The ordered patches and what ``series.toml`` says; without one every patch is affected,
    nothing must flip.

    ``spec`` is what ``--series`` takes to bring the same series again. ``committed`` holds, for
    each file that was edited since, the patch that is committed in the series' own repository: a
    tree that carries the series carries that one. ``others`` are further forms of a patch, by its
    number. ``base_from`` is ``TRAILER`` where a mail named the base commit. ``notes`` are what a
    reader of the verdict has to know of how the series was read.
    """

    name: str
    folder: Path
    patches: tuple[Patch, ...]
    spec: str = ""
    base_commit: str = ""
    base_from: str = ""
    base_url: str = ""
    change_id: str = ""
    message_id: str = ""
    suite: str = ""
    must_flip: tuple[MustFlip, ...] = ()
    backports: Mapping[Version, Mapping[int, tuple[Path, ...]]] = field(default_factory=dict)
    committed: Mapping[Path, Patch] = field(default_factory=dict)
    others: Mapping[int, tuple[Patch, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def titles(self) -> Mapping[int, str]:
        """Number -> title."""
        return {patch.number: patch.title for patch in self.patches}

    def forms(self, patch: Patch, version: Version) -> tuple[tuple[PatchStatus, Patch], ...]:
        """What may stand for ``patch`` on a tree of ``version``: the patch itself, then its
        backports in the order of their names, each to be tried in turn."""
        own = [patch, *([replace(patch, diff=patch.crlf)] if patch.crlf else [])]
        # Read when they are asked for: a run is of one version, and each patch costs three
        # processes.
        paths = self.backports.get(version, {}).get(patch.number, ())
        backports = [(PatchStatus.BACKPORT, read_patch(path, patch.number)) for path in paths]
        others = [(PatchStatus.BACKPORT, one) for one in self.others.get(patch.number, ())]
        return (*((PatchStatus.APPLIES, one) for one in own), *others, *backports)

    def merged_forms(self, patch: Patch, version: Version) -> tuple[tuple[PatchStatus, Patch], ...]:
        """What a tree may carry of ``patch``: its forms; where a file was edited, as its repository
        has it, too."""
        forms = self.forms(patch, version)
        old = (self.committed.get(form.path) for _, form in forms)
        return (*forms, *((PatchStatus.EDITED, form) for form in old if form))

    def part(self, numbers: Collection[int]) -> "Series":
        """The patches of those ``numbers`` alone, and the cases that they have to flip by
        themselves."""
        if unknown := sorted(set(numbers) - {patch.number for patch in self.patches}):
            raise StageError(
                "series", f"--only: {self.spec or self.folder} has no patch {unknown[0]}"
            )
        kept = tuple(patch for patch in self.patches if patch.number in numbers)
        flips = tuple(
            flip for flip in self.must_flip if flip.patches and set(flip.patches) <= set(numbers)
        )
        return replace(
            self,
            patches=kept,
            must_flip=self.must_flip if len(kept) == len(self.patches) else flips,
        )


def patch_of(letter: Letter) -> Patch:
    """The patch in a mail; an error names what the user gave. What is no patch at all is a
    :class:`StageError`, a patch that was damaged a :class:`PatchError`."""
    where, number, parts = letter.mail.document.where, letter.number, letter.parts
    if why := change.refusal(parts.change):
        raise StageError("series", f"{where}: {why}")
    with tempfile.TemporaryDirectory() as scratch:
        git = Git(Path(scratch), "series")
        counts = git.judged("apply", "--numstat", "-z", stdin=parts.change)
        if counts.returncode != 0:
            raise PatchError("series", f"{where}: {_damage(letter, counts.stderr)}", patch=number)
        headed = change.with_git_heads(parts.change)
        verbatim, stable = (
            git.run("patch-id", kind, stdin=headed).stdout.split()[:1]
            for kind in ("--verbatim", "--stable")
        )
    if not verbatim or not stable:
        raise StageError("series", f"{where}: not a patch: it changes nothing")
    rows = [row.split("\t") for row in counts.stdout.split("\0") if row.count("\t") == 2]
    binary = (
        [hashlib.sha256(parts.change.encode("utf-8", "surrogateescape")).hexdigest()]
        if BINARY in parts.change
        else []
    )
    return Patch(
        number=number,
        title=parts.title,
        body=parts.message,
        diff=parts.change,
        crlf=parts.crlf,
        path=letter.mail.document.path,
        where=where,
        digest=hashlib.sha256(
            "\0".join((parts.title, parts.message, verbatim[0], *binary)).encode()
        ).hexdigest(),
        patch_id=stable[0],
        message_id=letter.mail.message_id,
        files=tuple(row[2] for row in rows),
        insertions=sum(int(row[0]) for row in rows if row[0].isdigit()),
        deletions=sum(int(row[1]) for row in rows if row[1].isdigit()),
    )


def _damage(letter: Letter, said: str) -> str:
    """What is wrong with a change that git cannot read, and where."""
    what, line = change.fault(letter.parts.change)
    if not what:
        return f"git cannot read its change: {said.strip()}"
    raw = line.encode("utf-8", "surrogateescape")
    rows = letter.mail.document.data.split(b"\n")
    return f"{f'line {rows.index(raw) + 1}: ' if raw in rows else ''}{what} (git: {said.strip()})"


def read_patch(path: Path, number: int) -> Patch:
    """The patch of one file."""
    return parse_patch(documents.content(path), path, number)


def parse_patch(data: bytes, path: Path, number: int) -> Patch:
    """The patch in ``data``; ``path`` is for errors."""
    mail, *more = [mails.read(document) for document in documents.split(data, str(path), path)]
    parts = mails.take_apart(mail.document)
    if more or not parts.change:
        raise StageError(
            "series",
            f"{path}: it holds {'several patches' if more else 'no patch'}; one is wanted here",
        )
    return patch_of(Letter(number, mail, parts))


def _backports(folder: Path) -> dict[Version, dict[int, tuple[Path, ...]]]:
    """``backports/<version>/NNNN-title.patch``: version -> patch number -> its forms."""
    found: dict[Version, dict[int, tuple[Path, ...]]] = {}
    for sub in sorted((folder / "backports").glob("*")):
        if not sub.is_dir():
            continue
        rows = found.setdefault(manifest.parse_version(sub.name, str(sub)), {})
        for path in sorted(sub.glob("*.patch")):
            number = documents.NUMBERED.match(path.name)
            if not number:
                raise StageError(
                    "series",
                    f"{path}: a backport's name begins with its patch's number: 0001-title.patch",
                )
            rows[int(number[1])] = (*rows.get(int(number[1]), ()), path)
    return found


def of_posting(posting: Posting, folder: Path, told: Facts) -> Series:
    """The series of the letters, with what a ``series.toml`` told."""
    patches = tuple(patch_of(letter) for letter in posting.letters if letter.number)
    trailers = [letter.parts.base_commit for letter in posting.letters if letter.parts.base_commit]
    trailer = "" if told.base_commit or not trailers else trailers[0]
    changes = [letter.parts.change_id for letter in posting.letters if letter.parts.change_id]
    covers = [letter.mail.message_id for letter in posting.letters if not letter.number]
    quoting = tuple(
        f"{letter.mail.document.where}: its message quotes a diff of"
        f" {letter.parts.quoted[0][:100]}, which is not of the patch and is not applied"
        for letter in posting.letters
        if letter.number and letter.parts.quoted
    )
    return Series(
        name=told.name
        or re.sub(r"[^A-Za-z0-9_]+", "-", patches[0].title).strip("-")[:52]
        or "untitled",
        folder=folder,
        patches=tuple(
            replace(patch, facts=told.patches.get(patch.number, PatchFacts())) for patch in patches
        ),
        base_commit=trailer or told.base_commit,
        base_from=TRAILER if trailer else "",
        base_url=told.base_url,
        change_id=told.change_id or (changes or [""])[0],
        message_id=told.message_id or (covers or [""])[0],
        suite=told.suite,
        must_flip=told.must_flip,
        notes=(*posting.notes, *quoting),
    )


def load_series(folder: Path, only: Collection[int] = (), wanted: str = "") -> Series:
    """The series in ``folder``: patch files, a quilt series, mails. A :class:`StageError` names the
    file and what is wrong with it. ``only`` are the numbers that are wanted, ``wanted`` a
    message-id."""
    if not folder.is_dir():
        raise StageError("series", f"{folder}: no such folder; --series takes a folder of patches")
    given = documents.from_path(folder)
    posting = letters_of(given, str(folder), only, wanted)
    numbers = {letter.number for letter in posting.letters if letter.number}
    toml = folder / SERIES_TOML
    told = manifest.read(toml, numbers) if toml.exists() or toml.is_symlink() else Facts()
    loaded = of_posting(posting, folder, replace(told, name=told.name or folder.resolve().name))
    backports = _backports(folder)
    files = [(patch.number, patch.path) for patch in loaded.patches]
    files += [(n, path) for of in backports.values() for n, paths in of.items() for path in paths]
    return replace(
        loaded, spec=str(folder), backports=backports, committed=_committed(folder, files)
    )


def letters_of(
    given: Given, where: str, only: Collection[int] = (), wanted: str = "", *, whole: bool = False
) -> Posting:
    """The letters of the one series that was given."""
    if given.numbers and not wanted:
        return thread.in_order(given, where, only)
    posted = [mails.read(document) for document in given.documents]
    chosen = thread.choose(posted, where, wanted, only, whole=whole)
    return replace(chosen, notes=(*given.notes, *chosen.notes))


def _committed(folder: Path, patches: Iterable[tuple[int, Path]]) -> dict[Path, Patch]:
    """The committed forms of those patches whose files were edited; none where the folder is in no
    git repository. That may be a stranger's, as the patches are: only commands that look at no file
    and start no program of its settings.
    """
    git, names = (
        Git(folder, "series"),
        {path.relative_to(folder).as_posix(): (n, path) for n, path in patches},
    )
    local = [word for kind in TRANSPORTS for word in ("-c", f"protocol.{kind}.allow=never")]
    rows = git.run(*local, "ls-tree", "-z", "HEAD", "--", *names, ok=None).stdout.split("\0")
    found = {}
    for facts_, _, name in (row.partition("\t") for row in rows):
        if name not in names:
            continue
        (number, path), blob = names[name], facts_.split()[-1]
        raw = path.read_bytes()
        if blob in {_blob(data, len(blob)) for data in (raw, mails.plain(raw))}:
            continue
        old = git.run(*local, "cat-file", "blob", blob, ok=None)
        # It may have been edited because it was no patch.
        with contextlib.suppress(StageError, PatchError):
            found[path] = parse_patch(old.stdout.encode("utf-8", "surrogateescape"), path, number)
    return found


def _blob(data: bytes, length: int) -> str:
    """What git calls a file, in a repository whose ids have that length."""
    return (hashlib.sha1 if length == 40 else hashlib.sha256)(
        b"blob %d\0%b" % (len(data), data)
    ).hexdigest()
