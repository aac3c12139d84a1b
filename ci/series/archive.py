# SPDX-License-Identifier: GPL-2.0-only
"""A series of a mail archive, by a message-id; b4 fetches its thread."""

import re
import sys
import tempfile
import urllib.parse
from collections.abc import Sequence
from pathlib import Path

from ci.base import processes
from ci.base.errors import StageError
from ci.base.git import ENVIRONMENT
from ci.base.processes import CommandResult
from ci.base.settings import Settings
from ci.base.workspace import digest
from ci.series.content import MAX_BYTES
from ci.series.documents import Given, read_path
from ci.series.mails import Document
from ci.series.patches import Series, series_of_given

FETCH_S = 180.0
# 20250912-net-mptcp-v1-0-40171884ade8@kernel.org
MESSAGE_ID = re.compile(r"\w[\w.+=$%~-]{0,199}@\w[\w.-]{0,99}", re.ASCII)


def message_id_of(spec: str) -> str:
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


def series_of_thread(settings: Settings, message_id: str) -> Series:
    """The series of a message-id, from the cache where its thread was fetched before: what was sent
    does not change."""
    kept = settings.workspace.entry("threads", digest(settings.archive, message_id))
    known = settings.workspace.ready(kept)
    rows = (
        [path.read_bytes() for path in sorted(kept.glob("*.eml"))]
        if known
        else _fetch_thread(settings, message_id)
    )
    given = Given(_mails(rows, f"thread of {message_id}"))
    loaded = series_of_given(
        given,
        Path(message_id),
        message_id,
        settings.only,
        settings.wanted or message_id,
        whole=True,
    )
    if not known:
        with settings.workspace.publish(kept) as fresh:
            for number, row in enumerate(rows):
                (fresh / f"{number:05}.eml").write_bytes(row)
    return loaded


def _fetch_thread(settings: Settings, message_id: str) -> list[bytes]:
    """The mails of a thread, fetched by b4 without the user's configuration, home or questions."""
    cache = settings.workspace.cache
    (home := cache / "b4").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=home) as folder:
        scratch = Path(folder).resolve()
        b4 = _run_b4(settings.archive, message_id, scratch, cache)
        if b4.returncode != 0 or not (scratch / "thread").is_dir():
            last = (b4.stderr.strip().splitlines() or ["b4 says nothing"])[-1]
            raise StageError(
                "series",
                f"{settings.archive} gives no thread of {message_id}: {last[:300]}\ncheck the"
                " message-id and the network; PATCHVERDICT_ARCHIVE names another archive, and a"
                " thread that was saved as an mbox can be given as a file",
            )
        rows = [document.data for document in read_path(scratch / "thread").documents]
        if sum(map(len, rows)) > MAX_BYTES:
            raise StageError(
                "series",
                f"{message_id}: more than {MAX_BYTES // 1_000_000} MB of mail in its thread",
            )
        return rows


def _run_b4(archive: str, message_id: str, scratch: Path, cache: Path) -> CommandResult:
    """Let b4 put a thread into the maildir ``scratch/thread``."""
    home = str(cache / "b4")
    places = {"HOME": home, "XDG_CACHE_HOME": str(cache), "XDG_DATA_HOME": home}
    # Above the folder there may be a repository of the user's, with a .b4-config.
    places["GIT_CEILING_DIRECTORIES"] = str(scratch.parent)
    options = ["-n", "--no-stdin", "-c", f"b4.midmask={archive}/%s"]
    target: list[str | Path] = ["--no-cache", "--save-as-maildir", "-o", scratch, "-n", "thread"]
    return processes.run(
        [Path(sys.executable).with_name("b4"), *options, "mbox", *target, "--", message_id],
        stage="series",
        cwd=scratch,
        timeout_s=FETCH_S,
        ok=None,
        env=ENVIRONMENT | places,
    )


def _mails(rows: Sequence[bytes], where: str) -> tuple[Document, ...]:
    return tuple(
        Document(f"{where}, mail {number}", row, Path(where)) for number, row in enumerate(rows, 1)
    )
