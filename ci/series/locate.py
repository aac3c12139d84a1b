# SPDX-License-Identifier: GPL-2.0-only
"""Where a series comes from: a folder, a file, stdin, a range of the user's tree, a message-id."""

import hashlib
import re
from dataclasses import replace
from pathlib import Path

from ci.base.errors import StageError
from ci.base.progress import Progress
from ci.base.settings import STDIN, Settings
from ci.base.workspace import digest
from ci.series.archive import message_id_of, series_of_thread
from ci.series.content import read_stdin
from ci.series.documents import Given, read_path, split_mails
from ci.series.known import recognise_series
from ci.series.manifest import SERIES_TOML
from ci.series.patches import Series, load_series, series_of_given
from ci.series.range import series_of_range

# v6.12..topic, origin/net~3..HEAD, v6.12.. ; a path such as a/../b is none
RANGE = re.compile(r"(\w[\w./@{}^~+#-]*?(?<![./]))\.\.(\.?\w[\w./@{}^~+#-]*)?")


def _series_of_stdin(settings: Settings) -> Series:
    """The series on stdin, which is kept: it can be asked for again only there."""
    data = read_stdin()
    given = Given(split_mails(data, "stdin", Path("stdin.mbox")))
    loaded = series_of_given(given, Path("stdin.mbox"), STDIN, settings.only, settings.wanted)
    kept = settings.workspace.entry("series", digest(hashlib.sha256(data).hexdigest()))
    if not settings.workspace.ready(kept):
        with settings.workspace.publish(kept) as fresh:
            (fresh / "stdin.mbox").write_bytes(data)
    return replace(loaded, spec=str(kept / "stdin.mbox"))


def _named_series(settings: Settings) -> Series:
    """What ``--series`` names, wherever it is."""
    spec, path, only, wanted = (
        settings.series,
        Path(settings.series),
        settings.only,
        settings.wanted,
    )
    if spec == STDIN:
        return _series_of_stdin(settings)
    if path.is_dir():
        return load_series(path, only, wanted)
    if path.exists() or path.is_symlink():
        return series_of_given(read_path(path), path, spec, only, wanted)
    if found := RANGE.fullmatch(spec):
        return series_of_range(settings, found[1], found[2] or "")
    if message_id := message_id_of(spec):
        with settings.workspace.lock("series", stage="series"):
            return series_of_thread(settings, message_id)
    raise StageError(
        "series",
        f"{spec}: no such folder or file; --series takes these, - for stdin, a range A..B or a "
        "message-id",
    )


def bring_series(settings: Settings, progress: Progress) -> Series:
    """The series that ``--series`` names, with what the project knows of it where it is one of
    ``kernel-patches/``."""
    loaded, only = _named_series(settings), settings.only
    if not (loaded.folder / SERIES_TOML).exists():
        loaded = recognise_series(loaded, settings.workspace.root, only)
    if only:
        loaded = loaded.part(only)
    for note in loaded.notes:
        progress.note(note)
    return loaded
