# SPDX-License-Identifier: GPL-2.0-only
"""Where a series comes from: a folder, a file, stdin, a range of the user's tree, a message-id."""

import hashlib
import re
import sys
import tempfile
import urllib.parse
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from ci.base import processes
from ci.base.errors import StageError
from ci.base.git import ENVIRONMENT, Git, borrow
from ci.base.progress import Progress
from ci.base.settings import STDIN, Settings
from ci.base.workspace import digest
from ci.series import documents, known, patches
from ci.series.documents import MAX_PATCHES, Given
from ci.series.mails import Document
from ci.series.manifest import SERIES_TOML, Facts
from ci.series.patches import Series, load_series

FETCH_S = 180.0
# v6.12..topic, origin/net~3..HEAD, v6.12.. ; a path such as a/../b is none
RANGE = re.compile(r"(\w[\w./@{}^~+#-]*?(?<![./]))\.\.(\.?\w[\w./@{}^~+#-]*)?")
# 20250912-net-mptcp-v1-0-40171884ade8@kernel.org
MESSAGE_ID = re.compile(r"\w[\w.+=$%~-]{0,199}@\w[\w.-]{0,99}", re.ASCII)


def _of(
    given: Given,
    path: Path,
    spec: str,
    only: Collection[int],
    wanted: str = "",
    *,
    whole: bool = False,
) -> Series:
    """The series in what was given."""
    posting = patches.letters_of(given, spec, only, wanted, whole=whole)
    return replace(patches.of_posting(posting, path, Facts()), spec=spec)


def _from_stdin(settings: Settings) -> Series:
    """The series on stdin, which is kept: it can be asked for again only there."""
    data = documents.from_stdin()
    given = Given(documents.split(data, "stdin", Path("stdin.mbox")))
    loaded = _of(given, Path("stdin.mbox"), STDIN, settings.only, settings.wanted)
    kept = settings.workspace.entry("series", digest(hashlib.sha256(data).hexdigest()))
    if not kept.exists():
        with settings.workspace.publish(kept) as fresh:
            (fresh / "stdin.mbox").write_bytes(data)
    return replace(loaded, spec=str(kept / "stdin.mbox"))


def _from_range(settings: Settings, first: str, last: str) -> Series:
    """The commits ``first..last`` of ``--tree``, as patches written in a repository of ours without
    its settings."""
    spec = settings.series
    if last.startswith("."):
        raise StageError(
            "series", f"--series {spec}: give A..B; what two branches do not share is no series"
        )
    if not settings.tree:
        raise StageError(
            "series", f"--series {spec}: a range is one of your own tree; name it by --tree"
        )
    user = Git(settings.tree, "series")
    ends = [
        user.run("rev-parse", "--verify", "-q", f"{end}^{{commit}}", ok=None)
        for end in (first, last or "HEAD")
    ]
    for end, found in zip((first, last or "HEAD"), ends, strict=True):
        if found.returncode != 0:
            raise StageError(
                "series", f"--series {spec}: {end} is no commit of --tree {settings.tree}"
            )
    since, until = (found.stdout.strip() for found in ends)
    with tempfile.TemporaryDirectory() as scratch:
        git = Git(Path(scratch), "series")
        git.run("init", "-q", "--bare")
        borrow(user, Path(scratch))
        commits = git.line(
            "rev-list", f"--max-count={MAX_PATCHES + 1}", f"{since}..{until}"
        ).split()
        merges = git.line(
            "log", "--merges", "--max-count=3", "--format=%h %s", f"{since}..{until}"
        ).splitlines()
        base = git.run("merge-base", since, until, ok=(0, 1)).stdout.split()
        if merges:
            raise StageError(
                "series",
                f"--series {spec}: the range holds merges, which no patch can say "
                f"({merges[0][:100]}); rebase it, or give a range behind the merge",
            )
        if not commits or len(commits) > MAX_PATCHES or not base:
            what = f"more than {MAX_PATCHES} commits" if commits else "no commit"
            raise StageError(
                "series", f"--series {spec}: {what if base else 'no common history'} in the range"
            )
        git.run(
            "format-patch",
            "-q",
            "-N",
            "--zero-commit",
            "--no-signature",
            "--full-index",
            "--binary",
            f"--base={base[0]}",
            "-o",
            "patches",
            f"{since}..{until}",
        )
        paths = sorted((Path(scratch) / "patches").iterdir())
        names = [f"commit {commit[:12]} of {spec}" for commit in reversed(commits)]
        rows = zip(paths, names, strict=True)
        given = Given(
            tuple(Document(name, path.read_bytes(), Path(path.name)) for path, name in rows),
            tuple(range(1, len(paths) + 1)),
        )
        loaded = _of(given, settings.tree, spec, settings.only)
        if not settings.only:
            _check_range(git, loaded, base[0], until)
        return loaded


def _check_range(git: Git, loaded: Series, base: str, until: str) -> None:
    """A range's patches have to lead to its own tree: a message that looks like a diff could say
    otherwise."""
    env = {"GIT_INDEX_FILE": str(git.folder / "check")}
    git.run("read-tree", base, env=env)
    for patch in loaded.patches:
        said = git.judged(
            "apply", "--cached", "--whitespace=nowarn", "-", stdin=patch.diff, env=env
        )
        if said.returncode != 0:
            raise StageError(
                "series",
                f"{patch.where}: its patch does not apply to its own parent: {said.stderr.strip()}",
            )
    if git.line("write-tree", env=env) != git.line("rev-parse", f"{until}^{{tree}}"):
        raise StageError(
            "series",
            f"--series {loaded.spec}: its patches do not lead to its tree; does a commit message"
            " hold a diff? Give the patches as files",
        )


def _thread(settings: Settings, message_id: str) -> list[bytes]:
    """The mails of a thread, fetched by b4 without the user's configuration, home or questions."""
    cache = settings.workspace.cache
    (home := cache / "b4").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home) as folder:
        scratch = Path(folder).resolve()
        places = {"HOME": str(home), "XDG_CACHE_HOME": str(cache), "XDG_DATA_HOME": str(home)}
        b4 = processes.run(
            [
                Path(sys.executable).with_name("b4"),
                "-n",
                "--no-stdin",
                "-c",
                f"b4.midmask={settings.archive}/%s",
                "mbox",
                "--no-cache",
                "--save-as-maildir",
                "-o",
                scratch,
                "-n",
                "thread",
                "--",
                message_id,
            ],
            stage="series",
            cwd=scratch,
            timeout_s=FETCH_S,
            ok=None,
            # Above the folder there may be a repository of the user's, with a .b4-config.
            env=ENVIRONMENT | places | {"GIT_CEILING_DIRECTORIES": str(scratch.parent)},
        )
        if b4.returncode != 0 or not (scratch / "thread").is_dir():
            said = (b4.stderr.strip().splitlines() or ["b4 says nothing"])[-1]
            raise StageError(
                "series",
                f"{settings.archive} gives no thread of {message_id}: {said[:300]}\ncheck the"
                " message-id and the network; PATCHVERDICT_ARCHIVE names another archive, and a"
                " thread that was saved as an mbox can be given as a file",
            )
        rows = [document.data for document in documents.from_path(scratch / "thread").documents]
        if sum(map(len, rows)) > documents.MAX_BYTES:
            raise StageError(
                "series",
                f"{message_id}: more than {documents.MAX_BYTES // 1_000_000} MB of mail in its"
                " thread",
            )
        return rows


def _from_archive(settings: Settings, message_id: str) -> Series:
    """The series of a message-id, from the cache where its thread was fetched before: what was sent
    does not change."""
    kept = settings.workspace.entry("threads", digest(settings.archive, message_id))
    rows = (
        [path.read_bytes() for path in sorted(kept.iterdir())]
        if kept.exists()
        else _thread(settings, message_id)
    )
    given = Given(_mails(rows, f"thread of {message_id}"))
    loaded = _of(
        given,
        Path(message_id),
        message_id,
        settings.only,
        settings.wanted or message_id,
        whole=True,
    )
    if not kept.exists():
        with settings.workspace.publish(kept) as fresh:
            for number, row in enumerate(rows):
                (fresh / f"{number:05}.eml").write_bytes(row)
    return loaded


def _mails(rows: Sequence[bytes], where: str) -> tuple[Document, ...]:
    return tuple(
        Document(f"{where}, mail {number}", row, Path(where)) for number, row in enumerate(rows, 1)
    )


def _message_id(spec: str) -> str:
    """The message-id that ``spec`` is, in <> or at the end of a URL; empty for none."""
    if spec.startswith(("http://", "https://")):
        parts = [
            part
            for part in urllib.parse.urlsplit(spec).path.split("/")
            if "@" in part or "%40" in part
        ]
        spec = urllib.parse.unquote(parts[-1]) if parts else ""
    elif spec.startswith("<") and spec.endswith(">"):
        spec = spec[1:-1]
    return spec if MESSAGE_ID.fullmatch(spec) else ""


def _given(settings: Settings) -> Series:
    """What ``--series`` names, wherever it is."""
    spec, path, only, wanted = (
        settings.series,
        Path(settings.series),
        settings.only,
        settings.wanted,
    )
    if spec == STDIN:
        return _from_stdin(settings)
    if path.is_dir():
        return load_series(path, only, wanted)
    if path.exists() or path.is_symlink():
        return _of(documents.from_path(path), path, spec, only, wanted)
    if found := RANGE.fullmatch(spec):
        return _from_range(settings, found[1], found[2] or "")
    if message_id := _message_id(spec):
        with settings.workspace.lock("series", stage="series"):
            return _from_archive(settings, message_id)
    raise StageError(
        "series",
        f"{spec}: no such folder or file; --series takes these, - for stdin, a range A..B or a "
        "message-id",
    )


def bring_series(settings: Settings, progress: Progress) -> Series:
    """The series that ``--series`` names, with what the project knows of it where it is one of
    ``kernel-patches/``."""
    loaded, only = _given(settings), settings.only
    if not (loaded.folder / SERIES_TOML).exists():
        loaded = known.recognised(loaded, settings.workspace.root, only)
    if only:
        loaded = loaded.part(only)
    for note in loaded.notes:
        progress.note(note)
    return loaded
