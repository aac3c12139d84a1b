# SPDX-License-Identifier: GPL-2.0-only
"""A series as a value: its patches in order, what its ``series.toml`` says more of it, and how a
folder is read."""

import contextlib
import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ci.base.errors import PatchError, StageError
from ci.base.git import TRANSPORTS, Git
from ci.series import check_files, content, documents, mails, manifest
from ci.series.documents import Given
from ci.series.letters import Posting
from ci.series.manifest import SERIES_TOML, Allowed, Facts, MustFlip, PatchFacts, Version
from ci.series.order import order_letters
from ci.series.patch import Patch, parse_patch, patch_of_letter, read_patch
from ci.series.status import PatchStatus
from ci.series.thread import choose_series

# Where a base commit is from, if series.toml does not say it: `git format-patch --base` and b4
# write that line.
TRAILER = "trailer"


@dataclass(frozen=True)
class Series:
    """The ordered patches and what ``series.toml`` says; without one every patch is affected,
    nothing must flip.

    ``spec`` is what ``--series`` takes to bring the same series again. ``checks`` are the files of
    its own checks, by their names. ``committed`` holds, for
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
    allowed: tuple[Allowed, ...] = ()
    backports: Mapping[Version, Mapping[int, tuple[Path, ...]]] = field(default_factory=dict)
    checks: Mapping[str, bytes] = field(default_factory=dict)
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

    def flips_for(self, affected: Collection[int]) -> tuple[MustFlip, ...]:
        """The cases that must flip on a tree that these patches concern."""
        return tuple(flip for flip in self.must_flip if set(flip.patches) <= set(affected))

    def checks_for(self, affected: Collection[int]) -> tuple[str, ...]:
        """The scripts of its checks that run on such a tree: not those all of whose cases that must
        flip are of other patches."""
        asked = {flip.script for flip in self.flips_for(affected)}
        silent = {flip.script for flip in self.must_flip} - asked
        scripts = check_files.list_scripts(self.checks)
        return tuple(name for name in scripts if name.removesuffix(".sh") not in silent)

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


def load_series(folder: Path, only: Collection[int] = (), wanted: str = "") -> Series:
    """The series in ``folder``: patch files, a quilt series, mails. A :class:`StageError` names the
    file and what is wrong with it. ``only`` are the numbers that are wanted, ``wanted`` a
    message-id."""
    if not folder.is_dir():
        raise StageError("series", f"{folder}: no such folder; --series takes a folder of patches")
    given = documents.read_path(folder)
    posting = _letters_of(given, str(folder), only, wanted)
    numbers = {letter.number for letter in posting.letters if letter.number}
    content.check_inside(folder, toml := folder / SERIES_TOML)
    facts = manifest.read_manifest(toml, numbers) if toml.exists() or toml.is_symlink() else Facts()
    loaded = _series_of_posting(
        posting, folder, replace(facts, name=facts.name or folder.resolve().name)
    )
    backports = _backport_files(folder)
    files = [(patch.number, patch.path) for patch in loaded.patches]
    files += [(n, path) for of in backports.values() for n, paths in of.items() for path in paths]
    return replace(
        loaded,
        spec=str(folder),
        backports=backports,
        checks=check_files.read_checks(folder),
        committed=_committed_forms(folder, files),
    )


def series_of_given(
    given: Given,
    path: Path,
    spec: str,
    only: Collection[int],
    wanted: str = "",
    *,
    whole: bool = False,
) -> Series:
    """The series in what was given, which has no ``series.toml``."""
    posting = _letters_of(given, spec, only, wanted, whole=whole)
    return replace(_series_of_posting(posting, path, Facts()), spec=spec)


def _letters_of(
    given: Given, where: str, only: Collection[int] = (), wanted: str = "", *, whole: bool = False
) -> Posting:
    """The letters of the one series that was given."""
    if given.numbers and not wanted:
        return order_letters(given, where, only)
    posted = [mails.read_headers(document) for document in given.documents]
    chosen = choose_series(posted, where, wanted, only, whole=whole)
    return replace(chosen, notes=(*given.notes, *chosen.notes))


def _series_of_posting(posting: Posting, folder: Path, facts: Facts) -> Series:
    """The series of the letters, with what a ``series.toml`` says."""
    patches = tuple(patch_of_letter(letter) for letter in posting.letters if letter.number)
    trailers = [letter.parts.base_commit for letter in posting.letters if letter.parts.base_commit]
    trailer = "" if facts.base_commit or not trailers else trailers[0]
    changes = [letter.parts.change_id for letter in posting.letters if letter.parts.change_id]
    covers = [letter.mail.message_id for letter in posting.letters if not letter.number]
    quoting = tuple(
        f"{letter.mail.document.where}: its message quotes a diff of"
        f" {letter.parts.quoted[0][:100]}, which is not of the patch and is not applied"
        for letter in posting.letters
        if letter.number and letter.parts.quoted
    )
    return Series(
        name=facts.name
        or re.sub(r"[^A-Za-z0-9_]+", "-", patches[0].title).strip("-")[:52]
        or "untitled",
        folder=folder,
        patches=tuple(
            replace(patch, facts=facts.patches.get(patch.number, PatchFacts())) for patch in patches
        ),
        base_commit=trailer or facts.base_commit,
        base_from=TRAILER if trailer else "",
        base_url=facts.base_url,
        change_id=facts.change_id or (changes or [""])[0],
        message_id=facts.message_id or (covers or [""])[0],
        suite=facts.suite,
        must_flip=facts.must_flip,
        allowed=facts.allowed,
        notes=(*posting.notes, *quoting),
    )


def _backport_files(folder: Path) -> dict[Version, dict[int, tuple[Path, ...]]]:
    """``backports/<version>/NNNN-title.patch``: version -> patch number -> its forms."""
    found: dict[Version, dict[int, tuple[Path, ...]]] = {}
    for sub in sorted((folder / "backports").glob("*")):
        if not sub.is_dir():
            continue
        rows = found.setdefault(manifest.parse_version(sub.name, str(sub)), {})
        for path in sorted(sub.glob("*.patch")):
            content.check_inside(folder, path)
            number = documents.NUMBERED.match(path.name)
            if not number:
                raise StageError(
                    "series",
                    f"{path}: a backport's name begins with its patch's number: 0001-title.patch",
                )
            rows[int(number[1])] = (*rows.get(int(number[1]), ()), path)
    return found


def _committed_forms(folder: Path, patches: Iterable[tuple[int, Path]]) -> dict[Path, Patch]:
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
    for entry, _, name in (row.partition("\t") for row in rows):
        if name not in names:
            continue
        (number, path), blob = names[name], entry.split()[-1]
        raw = path.read_bytes()
        if blob in {_blob(data, len(blob)) for data in (raw, mails.plain_bytes(raw))}:
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
