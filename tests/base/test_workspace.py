# SPDX-License-Identifier: GPL-2.0-only
"""ci.base.workspace: an entry exists when it is finished, and only then."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ci.base import workspace as workspace_
from ci.base.errors import StageError
from ci.base.seals import DIGESTS
from ci.base.workspace import Workspace, digest, remove_tree, write_text
from tests.base.test_seals import put_zeros
from tests.conftest import ROOT


def test_a_digest_depends_on_all_of_its_parts_and_not_on_the_order_of_keys() -> None:
    assert digest("a", {"x": 1, "y": 2}) == digest("a", {"y": 2, "x": 1})
    assert len({digest("a", "b"), digest("ab"), digest("a", ["b"]), digest("b", "a")}) == 4


def test_a_digest_is_of_the_caches_version(monkeypatch: pytest.MonkeyPatch) -> None:
    old = digest("a")
    monkeypatch.setattr(workspace_, "CACHE_VERSION", workspace_.CACHE_VERSION + 1)
    assert digest("a") != old


def test_publish(workspace: Workspace) -> None:
    entry = workspace.entry("things", "one")
    with workspace.publish(entry) as fresh:
        (fresh / "file").write_text("new", encoding="utf-8")
        assert not entry.exists()
    assert (entry / "file").read_text(encoding="utf-8") == "new"
    with workspace.publish(entry) as fresh:
        (fresh / "other").write_text("newer", encoding="utf-8")
    assert {path.name for path in entry.iterdir()} == {"other", DIGESTS}
    with workspace.publish(entry, sealed=False) as fresh:
        (fresh / "changes").touch()
    assert [path.name for path in entry.iterdir()] == ["changes"]
    assert [path.name for path in entry.parent.iterdir()] == ["one"]


def test_an_entry_is_made_once_and_again_where_it_is_damaged(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = workspace.entry("things", "one")
    made: list[Path] = []

    def make(fresh: Path) -> None:
        made.append(fresh)
        (fresh / "file").write_text("whole", encoding="utf-8")

    def ask() -> Path:
        return workspace.keep(entry, workspace.lock("things", stage="build"), make)

    assert ask() == ask() == entry and len(made) == 1
    assert workspace.ready(entry) and capsys.readouterr().err == ""
    damages: list[Callable[[], None]] = [
        lambda: put_zeros(entry / "file"),
        lambda: (entry / DIGESTS).unlink(),
    ]
    for damage in damages:
        damage()
        assert not workspace.ready(entry, quiet=True)
        ask()
        (said,) = capsys.readouterr().err.splitlines()
        assert f"{entry} is damaged (" in said and said.endswith("; it is made again")
        assert (entry / "file").read_text(encoding="utf-8") == "whole"
    remove_tree(entry)
    entry.touch()  # a file where a folder should be
    ask()
    assert len(made) == 4 and workspace.ready(entry)


def test_two_that_want_the_same_make_it_once(workspace: Workspace) -> None:
    """The second finds it made, and leaves it as it is."""
    entry = workspace.entry("things", "one")
    made: list[Path] = []

    def make(fresh: Path) -> None:
        made.append(fresh)
        time.sleep(0.3)
        (fresh / "file").write_text("whole", encoding="utf-8")

    def ask(_: int) -> str:
        found = workspace.keep(entry, workspace.lock("things", stage="build"), make)
        return (found / "file").read_text(encoding="utf-8")

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(4))) == ["whole"] * 4
    assert len(made) == 1


def test_what_is_being_made_is_nobody_elses_to_remove(workspace: Workspace) -> None:
    with (
        workspace.publish(workspace.entry("things", "one")) as first,
        workspace.publish(workspace.entry("things", "two")) as second,
    ):
        (first / "file").touch()
        (second / "file").touch()
    names = {path.name for path in workspace.entry("things", "one").parent.iterdir()}
    assert names == {"one", "two"}


def test_an_exception_leaves_the_entry_as_it_was(workspace: Workspace) -> None:
    entry = workspace.entry("things", "one")
    with pytest.raises(ValueError, match="no"), workspace.publish(entry) as fresh:
        (fresh / "file").write_text("half", encoding="utf-8")
        raise ValueError("no")
    assert list(entry.parent.iterdir()) == []


def test_a_kill_leaves_no_entry_and_the_next_one_cleans_up(workspace: Workspace) -> None:
    entry = workspace.entry("things", "one")
    script = (
        "import sys, time; from pathlib import Path; from ci.base.workspace import Workspace\n"
        "w = Workspace(Path('.'), Path(sys.argv[1]), Path('.'))\n"
        "with w.publish(w.entry('things', 'one')) as fresh:\n"
        "    (fresh / 'file').write_text('half'); print(1, flush=True); time.sleep(100)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script, workspace.cache], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert process.stdout and process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not entry.exists() and len(list(entry.parent.iterdir())) == 1
    (old := entry.with_name(".old-two-0123")).mkdir()
    other = workspace.entry("things", "two")  # nobody may ever ask for the first one again
    with workspace.publish(other) as fresh:
        (fresh / "file").write_text("whole", encoding="utf-8")
    assert [path.name for path in entry.parent.iterdir()] == ["two"] and not old.exists()


def test_a_lock_that_is_held_is_an_error_that_says_so(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    with workspace.lock("x", stage="build"):
        begin = time.monotonic()
        with (
            pytest.raises(StageError, match=rf"process {os.getpid()} \(stage build\) has held x"),
            workspace.lock("x", stage="fetch", timeout_s=0.2),
        ):
            pass
        assert time.monotonic() - begin < 2
    assert (
        f"fetch: waiting for x, held by process {os.getpid()} (stage build)"
        in capsys.readouterr().err
    )
    with workspace.lock("x", stage="build", timeout_s=0.2):
        pass


def test_write_text_replaces_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")
    write_text(path, "new\n")
    assert path.read_text(encoding="utf-8") == "new\n" and len(list(tmp_path.iterdir())) == 1


def test_runs_latest_and_clean(workspace: Workspace) -> None:
    with pytest.raises(StageError, match="no finished run"):
        workspace.latest()
    (workspace.results / ".gitkeep").touch()
    first, second = workspace.new_run(), workspace.new_run()
    assert first != second
    for run in (first, second):
        workspace.point_latest(run)
        assert workspace.latest() == run.resolve()
    workspace.cache.mkdir()
    workspace.clean(cache=False)
    assert [path.name for path in workspace.results.iterdir()] == [
        ".gitkeep"
    ] and workspace.cache.exists()
    workspace.clean(cache=True)
    assert not workspace.cache.exists()
