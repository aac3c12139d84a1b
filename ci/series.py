"""A patch series: a folder of ``git format-patch`` files, with an optional ``series.toml`` that says more of it."""

import hashlib
import re
import tempfile
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from ci.errors import PatchError, StageError
from ci.git import Git

Version = tuple[int, int]
# The form of a patch that is in the tree, while another is to be put on.
EDITED = "edited since"
# Where a base commit is from, if series.toml does not say it: `git format-patch --base` and b4 write that line.
TRAILER = "trailer"
BASE_COMMIT = re.compile(r"^base-commit: ([0-9a-f]{40})\s*$", re.M)


@dataclass(frozen=True)
class Patch:
    """One patch. ``digest`` names what it says and does, not how it came in: subject, body and verbatim patch id.

    ``diff`` is what ``git apply`` gets: the change alone, without mail headers and message.
    ``since`` is the first affected kernel version (``None``: every one), ``introduced`` a path of the tree and a text in
    it that came with what the patch fixes, ``depends`` the patches without which this one is not needed;
    ``insertions``/``deletions`` count lines.
    """

    number: int
    title: str
    body: str
    text: str
    diff: str
    path: Path
    digest: str
    files: tuple[str, ...]
    insertions: int
    deletions: int
    since: Version | None = None
    introduced: tuple[str, str] | None = None
    depends: tuple[int, ...] = ()


@dataclass(frozen=True)
class MustFlip:
    """A case that has to go from fail on base to pass on patched; it speaks where all of ``patches`` are affected."""

    script: str
    case: str
    patches: tuple[int, ...] = ()


@dataclass(frozen=True)
class Series:
    """The ordered patches and what ``series.toml`` says; without one every patch is affected, nothing must flip.

    ``committed`` holds, for each file that was edited since, the patch that is committed in the series' own repository:
    a tree that carries the series carries that one. ``base_from`` is ``TRAILER`` where a mail named the base commit.
    """

    name: str
    folder: Path
    patches: tuple[Patch, ...]
    base_commit: str = ""
    base_from: str = ""
    base_url: str = ""
    change_id: str = ""
    suite: str = ""
    must_flip: tuple[MustFlip, ...] = ()
    backports: Mapping[Version, Mapping[int, Path]] = field(default_factory=dict)
    committed: Mapping[Path, Patch] = field(default_factory=dict)

    def forms(self, patch: Patch, version: Version) -> tuple[tuple[str, Patch], ...]:
        """What may stand for ``patch`` on a tree of ``version``: the patch itself, then its backport, if any."""
        path = self.backports.get(version, {}).get(patch.number)
        # Read when it is asked for: a run is of one version, and each patch costs three processes.
        backport = read_patch(path, patch.number) if path else None
        return (("applies", patch), *((("applies as backport", backport),) if backport else ()))

    def merged_forms(self, patch: Patch, version: Version) -> tuple[tuple[str, Patch], ...]:
        """What a tree may carry of ``patch``: its forms; where a file was edited, as its repository has it, too."""
        forms = self.forms(patch, version)
        old = (self.committed.get(form.path) for _, form in forms)
        return (*forms, *((EDITED, form) for form in old if form))


def parse_version(text: str, where: str) -> Version:
    """``5.14`` or ``v5.14`` as ``(5, 14)``; a :class:`StageError` that names ``where`` otherwise."""
    found = re.fullmatch(r"v?(\d{1,3})\.(\d{1,4})", text)  # v5.14
    if not found:
        raise StageError("series", f"{where}: {text!r} is not a kernel version such as 5.14")
    return int(found[1]), int(found[2])


def read_patch(path: Path, number: int) -> Patch:
    """One mail or format-patch file; a :class:`PatchError` names the file."""
    try:
        text = path.read_bytes().decode("utf-8", "surrogateescape")
    except OSError as error:
        raise StageError("series", f"{path}: {error.strerror}") from None
    return parse_patch(text, path, number)


def parse_patch(text: str, path: Path, number: int) -> Patch:
    """A patch read by ``git mailinfo``; ``path`` is for errors."""
    with tempfile.TemporaryDirectory() as scratch:
        git = Git(Path(scratch), "series")
        info = git.run("mailinfo", "--no-scissors", "msg", "patch", stdin=text, ok=None)
        if info.returncode != 0:
            raise PatchError("series", f"{path}: git can not read it as a patch: {info.stderr.strip()}", patch=number)
        body = (Path(scratch) / "msg").read_text(encoding="utf-8", errors="replace").strip()
        diff = (Path(scratch) / "patch").read_bytes().decode("utf-8", "surrogateescape")
        titles = re.findall(r"^Subject: (.+)$", info.stdout, re.M)  # Subject: mptcp: set the flag
        counts = git.run("apply", "--numstat", "-z", stdin=diff, ok=None)
        patch_id = git.run("patch-id", "--verbatim", stdin=diff).stdout.split()
    if not titles:
        raise PatchError("series", f"{path}: no Subject line; write it with `git format-patch`", patch=number)
    if counts.returncode != 0 or not patch_id:
        raise PatchError(
            "series", f"{path}: not a patch: {counts.stderr.strip() or 'it changes nothing'}", patch=number
        )
    rows = [row.split("\t") for row in counts.stdout.split("\0") if row.count("\t") == 2]
    return Patch(
        number=number,
        title=titles[0],
        body=body,
        text=text,
        diff=diff,
        path=path,
        digest=hashlib.sha256("\0".join((titles[0], body, patch_id[0])).encode()).hexdigest(),
        files=tuple(row[2] for row in rows),
        insertions=sum(int(row[0]) for row in rows if row[0].isdigit()),
        deletions=sum(int(row[1]) for row in rows if row[1].isdigit()),
    )


def _patch_files(folder: Path) -> dict[int, Path]:
    """Patch number -> file, from names such as ``0003-title.patch``; cover letters (0000) are left out."""
    numbered: dict[int, Path] = {}
    for path in sorted(folder.glob("*.patch")):
        found = re.match(r"v?\d*-?(\d{4})-", path.name)  # 0003-title.patch or v2-0003-title.patch
        if not found:
            raise StageError("series", f"{path}: the name has to begin with the patch's number, as in 0001-title.patch")
        if int(found[1]) in numbered:
            raise StageError("series", f"{path}: number {found[1]} is taken by {numbered[int(found[1])].name}")
        if int(found[1]) > 0:
            numbered[int(found[1])] = path
    return numbered


def _strings(table: Mapping[str, Any], allowed: Mapping[str, type], where: str) -> None:
    """Refuse keys that are not ``allowed`` and values of another type, naming the place."""
    for key, value in table.items():
        if key not in allowed:
            raise StageError("series", f"{where}: unknown key {key!r}; known are {', '.join(sorted(allowed))}")
        if not isinstance(value, allowed[key]):
            raise StageError("series", f"{where}: {key} has to be a {allowed[key].__name__}, not {value!r}")


TOP = {
    "name": str, "base_commit": str, "base_url": str, "change_id": str, "message_id": str, "suite": str,
    "patch": list, "must_flip": list,
}  # fmt: skip
PATCH = {
    "number": int,
    "message_id": str,
    "fixes": str,
    "affects_since": str,
    "introduced": dict,
    "depends": list,
    "scripts": list,
}
FLIP = {"script": str, "case": str, "patches": list}


INTRODUCED = {"path": str, "text": str}


def _told(row: Mapping[str, Any], numbers: Collection[int], where: str) -> dict[str, Any]:
    """What a row of ``[[patch]]`` says, as fields of a :class:`Patch`."""
    fields: dict[str, Any] = {}
    if "affects_since" in row:
        fields["since"] = parse_version(row["affects_since"], where)
    if "introduced" in row:
        _strings(row["introduced"], INTRODUCED, f"{where}: introduced")
        if set(row["introduced"]) != set(INTRODUCED):
            raise StageError("series", f"{where}: introduced needs path and text")
        fields["introduced"] = row["introduced"]["path"], row["introduced"]["text"]
    fields["depends"] = tuple(row.get("depends", ()))
    if unknown := [number for number in fields["depends"] if number not in numbers]:
        raise StageError("series", f"{where}: depends on {unknown[0]}, and there is no such patch")
    return fields


def load(folder: Path) -> Series:
    """The series in ``folder``; a :class:`StageError` names the file and what is wrong with it."""
    if not folder.is_dir():
        raise StageError("series", f"{folder}: no such folder; --series takes a folder of *.patch files")
    files = _patch_files(folder)
    if not files:
        raise StageError("series", f"{folder}: holds no *.patch file; write them with `git format-patch`")
    facts: dict[str, Any] = {}
    toml = folder / "series.toml"
    if toml.exists():
        try:
            facts = tomllib.loads(toml.read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise StageError("series", f"{toml}: {error}") from None
        _strings(facts, TOP, str(toml))
    told: dict[int, dict[str, Any]] = {}
    for row in facts.get("patch", []):
        _strings(row, PATCH, f"{toml}: [[patch]]")
        if row.get("number") not in files:
            raise StageError("series", f"{toml}: [[patch]] number {row.get('number')} has no file in {folder}")
        told[row["number"]] = _told(row, files, f"{toml}: patch {row['number']}")
    flips = []
    for row in facts.get("must_flip", []):
        _strings(row, FLIP, f"{toml}: [[must_flip]]")
        if not {"script", "case"} <= set(row):
            raise StageError("series", f"{toml}: [[must_flip]] needs script and case")
        flips.append(MustFlip(row["script"], row["case"], tuple(row.get("patches", ()))))
    numbered = tuple(replace(read_patch(path, n), **told.get(n, {})) for n, path in sorted(files.items()))
    backports = {
        parse_version(sub.name, str(sub)): _patch_files(sub)
        for sub in sorted((folder / "backports").glob("*"))
        if sub.is_dir()
    }
    trailer = "" if facts.get("base_commit") else _trailer(folder, numbered)
    return Series(
        name=facts.get("name", folder.resolve().name),
        folder=folder,
        patches=numbered,
        base_commit=trailer or facts.get("base_commit", ""),
        base_from=TRAILER if trailer else "",
        base_url=facts.get("base_url", ""),
        change_id=facts.get("change_id", ""),
        suite=facts.get("suite", ""),
        must_flip=tuple(flips),
        backports=backports,
        committed=_committed(folder, [(n, path) for of in (files, *backports.values()) for n, path in of.items()]),
    )


def _trailer(folder: Path, patches: Iterable[Patch]) -> str:
    """The first base-commit that the cover letter or a patch names, empty for none."""
    covers = [path.read_text(encoding="utf-8", errors="replace") for path in sorted(folder.glob("*0000-*.patch"))]
    found = [match for text in (*covers, *(patch.text for patch in patches)) if (match := BASE_COMMIT.search(text))]
    return found[0][1] if found else ""


def _committed(folder: Path, patches: Iterable[tuple[int, Path]]) -> dict[Path, Patch]:
    """The committed forms of those patches whose files were edited; none where the folder is in no git repository."""
    git = Git(folder, "series")
    changed = git.run("diff", "--name-only", "--relative", "-z", "HEAD", "--", ".", ok=None)
    names = set(changed.stdout.split("\0")) if changed.returncode == 0 else set()
    found = {}
    for number, path in patches:
        name = path.relative_to(folder).as_posix()
        if name in names and (old := git.run("show", f"HEAD:./{name}", ok=None)).returncode == 0:
            found[path] = parse_patch(old.stdout, path, number)
    return found
