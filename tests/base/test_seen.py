# SPDX-License-Identifier: GPL-2.0-only
"""ci.base.seen: what nobody touched is not read again, and whatever happens to it is."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from ci.base import seen
from ci.base.seals import DIGESTS, find_damage, write_digests
from ci.base.seen import whole_since
from tests.conftest import write

LONG_AGO = -100 * 10**9


@pytest.fixture
def old(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written just now counts as written a while ago."""
    monkeypatch.setattr(seen, "TICK_NS", LONG_AGO)


class Files:
    """Three files, and which of them were looked at each time."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.memo = folder / "files", folder / "memo"
        write(self.folder, {"a": "1", "b": "2", "c": "3"})
        self.wrong = ""

    def ask(self) -> str:
        """What is said, after the names that were looked at."""
        looked = list[str]()

        def check(paths: Sequence[Path]) -> str:
            looked.extend(path.name for path in paths)
            return self.wrong

        said = whole_since(self.memo, lambda: sorted(self.folder.iterdir()), check)
        return f"{''.join(looked)} {said}".strip()


@pytest.fixture
def files(tmp_path: Path, old: None) -> Files:
    return Files(tmp_path)


def replace_b(folder: Path) -> None:
    write(folder, {"new": "2"})
    (folder / "new").replace(folder / "b")


def touch_back(folder: Path) -> None:
    times = (folder / "b").stat()
    (folder / "b").write_text("x", encoding="utf-8")
    os.utime(folder / "b", ns=(times.st_atime_ns, times.st_mtime_ns))


CHANGES: list[Callable[[Path], None]] = [
    lambda folder: (folder / "b").chmod(0o600),
    lambda folder: os.utime(folder / "b", ns=(1, 1)),
    replace_b,
    touch_back,
]


def test_each_is_looked_at_once(files: Files) -> None:
    assert [files.ask() for _ in range(3)] == ["abc", "", ""]
    write(files.folder, {"d": "4"})
    assert [files.ask() for _ in range(2)] == ["d", ""]


@pytest.mark.parametrize("change", CHANGES)
def test_what_was_touched_is_looked_at_again(change: Callable[[Path], None], files: Files) -> None:
    files.ask()
    change(files.folder)
    assert [files.ask() for _ in range(2)] == ["b", ""]


def test_what_is_wrong_is_told_each_time(files: Files) -> None:
    files.wrong = "no"
    assert [files.ask() for _ in range(2)] == ["abc no", "abc no"]


def test_of_nothing_nothing_is_known(files: Files, tmp_path: Path) -> None:
    asked = list[Sequence[Path]]()

    def check(paths: Sequence[Path]) -> str:
        asked.append(paths)
        return ""

    for _ in range(2):
        assert whole_since(files.memo, lambda: (), check) == ""
    assert asked == [[], []]


def test_what_was_written_just_now_is_read_each_time(tmp_path: Path) -> None:
    """A write within the same tick would have the same time."""
    files = Files(tmp_path)
    assert [files.ask() for _ in range(2)] == ["abc", "abc"]


def test_what_changes_while_it_is_looked_at_is_not_known(files: Files) -> None:
    def check(_: Sequence[Path]) -> str:
        write(files.folder, {"b": "other"})
        return ""

    assert whole_since(files.memo, lambda: sorted(files.folder.iterdir()), check) == ""
    assert not files.memo.exists()


def test_another_boot_reads_all_again(
    files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files.ask()
    (boot := tmp_path / "boot").write_text("another", encoding="ascii")
    monkeypatch.setattr(seen, "BOOT", boot)
    assert [files.ask() for _ in range(2)] == ["abc", ""]
    monkeypatch.setattr(seen, "BOOT", tmp_path / "none")
    assert [files.ask() for _ in range(2)] == ["abc", "abc"]


@pytest.mark.parametrize("text", ["", "\x00\xff", "x\n" * 1000])
def test_a_memo_that_says_nothing(text: str, files: Files) -> None:
    files.ask()
    files.memo.write_text(text, encoding="utf-8")
    assert [files.ask() for _ in range(2)] == ["abc", ""]


def test_a_sealed_folder(tmp_path: Path, old: None) -> None:
    """Whatever is there that was not, and is not that was, is found; so are other digests."""
    folder, memo = tmp_path / "entry", tmp_path / "seen"
    write(folder, {"image": "0" * 100, "sub/x": "", "sub/y": "1"})
    write_digests(folder)
    assert [find_damage(folder, memo=memo) for _ in range(2)] == ["", ""]
    (folder / "sub/x").unlink()
    assert find_damage(folder, memo=memo) == "sub/x is missing"
    write(folder, {"sub/x": "", "sub/z": ""})
    assert find_damage(folder, memo=memo) == "sub/z does not belong there"
    (folder / "sub/z").unlink()
    assert find_damage(folder, memo=memo) == ""
    sealed = json.loads((folder / DIGESTS).read_bytes())
    write(folder, {DIGESTS: json.dumps(sealed | {"sub/y": "file 0"})})
    assert find_damage(folder, memo=memo) == "sub/y is not what was kept"
    (folder / DIGESTS).unlink()
    assert find_damage(folder, memo=memo) == f"{DIGESTS} is missing"
