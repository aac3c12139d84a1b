"""Where a series comes from: a folder, an mbox, a range of the user's tree, a message-id. What is no folder becomes one
in the cache, keyed by its content, which :func:`ci.series.load` reads as any other."""

import contextlib
import hashlib
import re
import sys
import tempfile
import urllib.parse
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ci import command, series
from ci.errors import StageError
from ci.git import ENVIRONMENT, Git, borrow
from ci.mails import PATCHES, patches_of, split
from ci.progress import Progress
from ci.series import Series
from ci.settings import STDIN, Settings
from ci.workspace import Workspace, digest, write_text

FETCH_S = 180.0
MAILS_BYTES = 64_000_000
# v6.12..topic, origin/net~3..HEAD, v6.12.. ; a path such as a/../b is none
RANGE = re.compile(r"(\w[\w./@{}^~+-]*?(?<![./]))\.\.(\.?\w[\w./@{}^~+-]*)?", re.ASCII)
# 20250912-net-mptcp-v1-0-40171884ade8@kernel.org
MESSAGE_ID = re.compile(r"\w[\w.+=$%~-]{0,199}@\w[\w.-]{0,99}", re.ASCII)
# From 98befba9447e6167158771f3f6b4b3d402c585b1 Mon Sep 17 00:00:00 2001
FORMAT_PATCH = re.compile(rb"From [0-9a-f]{40} Mon Sep 17 00:00:00 2001\n")


def _check_size(size: int, where: str) -> None:
    if not 0 < size <= MAILS_BYTES:
        what = f"more than {MAILS_BYTES // 1_000_000} MB of mail" if size else "no mail in it"
        raise StageError("series", f"--series {where}: {what}; give the mails of one series")


def from_mbox(settings: Settings) -> dict[str, bytes]:
    """The patches of an mbox: a file, or stdin."""
    if settings.series == STDIN:
        data = sys.stdin.buffer.read(MAILS_BYTES + 1)
    else:
        try:
            with Path(settings.series).open("rb") as file:
                data = file.read(MAILS_BYTES + 1)
        except OSError as error:
            raise StageError("series", f"--series {settings.series}: {error.strerror}") from None
    _check_size(len(data.strip()), settings.series)
    with tempfile.TemporaryDirectory() as scratch:
        (box := Path(scratch) / "box").write_bytes(data)
        # Everybody but git itself quotes lines of a body that begin with From.
        return patches_of(split(box, Path(scratch) / "mails", *([] if FORMAT_PATCH.match(data) else ["--mboxrd"])))


def from_range(settings: Settings, first: str, last: str) -> dict[str, bytes]:
    """The commits ``first..last`` of ``--tree`` as patches, written in a repository of ours without its settings."""
    spec = settings.series
    if last.startswith("."):
        raise StageError("series", f"--series {spec}: give A..B; what two branches do not share is no series")
    if not settings.tree:
        raise StageError("series", f"--series {spec}: a range is one of your own tree; name it by --tree")
    user = Git(settings.tree, "series")
    ends = [user.run("rev-parse", "--verify", "-q", f"{end}^{{commit}}", ok=None) for end in (first, last or "HEAD")]
    for end, found in zip((first, last or "HEAD"), ends, strict=True):
        if found.returncode != 0:
            raise StageError("series", f"--series {spec}: {end} is no commit of --tree {settings.tree}")
    since, until = (found.stdout.strip() for found in ends)
    with tempfile.TemporaryDirectory() as scratch:
        git = Git(Path(scratch), "series")
        git.run("init", "-q", "--bare")
        borrow(user, Path(scratch))
        commits = git.line("rev-list", f"--max-count={PATCHES + 1}", f"{since}..{until}").split()
        merges = git.line("log", "--merges", "--max-count=3", "--format=%h %s", f"{since}..{until}").splitlines()
        base = git.run("merge-base", since, until, ok=(0, 1)).stdout.split()
        if merges:
            raise StageError("series", f"--series {spec}: the range holds merges, which no patch can say "
                             f"({merges[0][:100]}); rebase it, or give a range behind the merge")  # fmt: skip
        if not commits or len(commits) > PATCHES or not base:
            what = f"more than {PATCHES} commits" if commits else "no commit"
            raise StageError("series", f"--series {spec}: {what if base else 'no common history'} in the range")
        git.run("format-patch", "-q", "-N", "--zero-commit", "--no-signature",
                f"--base={base[0]}", "-o", "patches", f"{since}..{until}")  # fmt: skip
        return {path.name: path.read_bytes() for path in (Path(scratch) / "patches").iterdir()}


def _thread(settings: Settings, message_id: str) -> dict[str, bytes]:
    """The patches of a thread, fetched by b4 without the user's configuration, home or questions."""
    cache = settings.workspace.cache
    (home := cache / "b4").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home) as folder:
        scratch = Path(folder).resolve()
        places = {"HOME": str(home), "XDG_CACHE_HOME": str(cache), "XDG_DATA_HOME": str(home)}
        b4 = command.run(
            [Path(sys.executable).with_name("b4"), "-n", "--no-stdin", "-c", f"b4.midmask={settings.archive}/%s", "mbox",
             "--no-cache", "--save-as-maildir", "-o", scratch, "-n", "thread", message_id],
            stage="series", cwd=scratch, timeout_s=FETCH_S, ok=None,
            # Above the folder there may be a repository of the user's, with a .b4-config.
            env=ENVIRONMENT | places | {"GIT_CEILING_DIRECTORIES": str(scratch.parent)},
        )  # fmt: skip
        if b4.returncode != 0 or not (scratch / "thread").is_dir():
            said = (b4.stderr.strip().splitlines() or ["b4 says nothing"])[-1]
            raise StageError("series", f"{settings.archive} gives no thread of {message_id}: {said[:300]}\n"
                             "check the message-id and the network; PATCHVERDICT_ARCHIVE names another archive, and a "
                             "thread that was saved as an mbox can be given as a file")  # fmt: skip
        _check_size(sum(path.stat().st_size for path in (scratch / "thread").rglob("*") if path.is_file()), message_id)
        return patches_of(split(scratch / "thread", scratch / "mails"), message_id)


def _keep(workspace: Workspace, files: Mapping[str, bytes]) -> Path:
    """The folder in the cache that holds ``files``; its name is the first title, as a series is called by its folder."""
    key = digest(sorted((name, hashlib.sha256(text).hexdigest()) for name, text in files.items()))
    name = min(files).removesuffix(".patch")[len("0000-") :]
    entry = workspace.entry("series", key)
    if not entry.exists():
        with workspace.publish(entry) as fresh:
            (fresh / name).mkdir()
            for file, text in files.items():
                (fresh / name / file).write_bytes(text)
    return entry / name


def _from_archive(settings: Settings, message_id: str) -> Series:
    """The series of a message-id, from the cache where it was fetched before: what was sent does not change."""
    known = settings.workspace.entry("threads", digest(settings.archive, message_id))
    if known.exists() and (folder := settings.workspace.cache / known.read_text(encoding="utf-8")).is_dir():
        return series.load(folder)
    folder = _keep(settings.workspace, _thread(settings, message_id))
    loaded = series.load(folder)
    known.parent.mkdir(parents=True, exist_ok=True)
    write_text(known, str(folder.relative_to(settings.workspace.cache)))
    return loaded


def _message_id(spec: str) -> str:
    """The message-id that ``spec`` is, in <> or at the end of a URL; empty for none."""
    if spec.startswith(("http://", "https://")):
        parts = [part for part in urllib.parse.urlsplit(spec).path.split("/") if "@" in part or "%40" in part]
        spec = urllib.parse.unquote(parts[-1]) if parts else ""
    elif spec.startswith("<") and spec.endswith(">"):
        spec = spec[1:-1]
    return spec if MESSAGE_ID.fullmatch(spec) else ""


def _of_the_project(loaded: Series, settings: Settings, progress: Progress) -> Series:
    """The series of kernel-patches/ with the same patches, which knows more of them; else the one given."""
    for folder in sorted((settings.workspace.root / "kernel-patches").iterdir()):
        if len(list(folder.glob("*.patch"))) < len(loaded.patches):
            continue
        known = None
        with contextlib.suppress(StageError):
            known = series.load(folder)
        if known and [patch.digest for patch in known.patches] == [patch.digest for patch in loaded.patches]:
            progress.note(
                f"these are the patches of kernel-patches/{folder.name}, which are taken with its series.toml"
            )
            trailer = {"base_commit": loaded.base_commit, "base_from": loaded.base_from} if loaded.base_commit else {}
            return replace(known, **trailer)  # type: ignore[arg-type]
    return loaded


def bring(settings: Settings, progress: Progress) -> Series:
    """The series that ``--series`` names, wherever it is."""
    spec, path = settings.series, Path(settings.series)
    if spec != STDIN and path.is_dir():
        return series.load(path)
    with settings.workspace.lock("series", stage="series"):
        if spec == STDIN or path.exists():
            loaded = series.load(_keep(settings.workspace, from_mbox(settings)))
        elif found := RANGE.fullmatch(spec):
            loaded = series.load(_keep(settings.workspace, from_range(settings, found[1], found[2] or "")))
        elif message_id := _message_id(spec):
            loaded = _from_archive(settings, message_id)
        else:
            raise StageError("series", f"{spec}: no such folder or file; --series takes these, - for stdin, a range A..B "
                             "or a message-id")  # fmt: skip
    return _of_the_project(loaded, settings, progress)
