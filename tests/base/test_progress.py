# SPDX-License-Identifier: GPL-2.0-only
"""ci.base.progress: hostile text does nothing, pipes get plain lines, GitHub groups."""

import os
import pty
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ci.base import progress as module
from ci.base.progress import Progress, duration
from ci.base.text import marked_lines, printable
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("a\rb\x07c\x9bd", "a b\\x07c\\x9bd"),
        ("up\x1b[2Adown", "updown"),
        ("\x1b\x1b[m[2J", "\\x1b[2J"),
        ("\u202eright", "\\u202eright"),
        ("a\u2028::b\ud800", "a\\u2028::b\\ud800"),
        ("a ##[error]", "a # #[error]"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_every_line_begins_with_a_mark_of_ours() -> None:
    assert marked_lines("one\n::two::\n\n", "error: ") == "error: one\n| ::two::\n| "
    assert marked_lines("") == ""


def test_a_pipe_gets_plain_lines(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    progress = Progress()
    with progress.stage("fetch", "a [bold]kernel[/] :smile:"):
        progress.note("x\x1b[2J\n::error::y")
        for _ in range(100):
            progress.update("working")
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "| fetch: a [bold]kernel[/] :smile:",
        "| x",
        "| ::error::y",
        "| working",
    ]
    assert progress.durations_s["fetch"] >= 0


def test_github_gets_groups_and_no_commands_of_others(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    progress = Progress()
    with pytest.raises(ValueError, match="x"), progress.stage("apply", "evil\n::set-output::"):
        progress.note("\n::warning::boo\n##[group]x")
        raise ValueError("x")
    lines = capfd.readouterr().err.splitlines()
    assert lines[0] == "::group::apply: evil ::set-output::" and lines[-1] == "::endgroup::"
    assert not any(line.lstrip().startswith(("::", "##[")) for line in lines[1:-1])


def live(
    env: dict[str, str], body: str = "with p.stage('build', 'x'): p.update('one'); p.update('two')"
) -> bytes:
    """What a terminal shows of a stage with two updates."""
    script = f"import time; from ci.base.progress import Progress; p = Progress()\n{body}"
    ours, theirs = pty.openpty()
    kept = {
        key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "GITHUB_ACTIONS")
    }
    subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stderr=theirs,
        check=True,
        env=kept | {"TERM": "xterm"} | env,
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:
            return shown
        if not part:
            return shown
        shown += part


def test_a_terminal_gets_a_live_line_without_colour_where_none_is_wanted() -> None:
    assert b"\x1b[32m" in live({})
    plain = live({"NO_COLOR": "1"})
    assert b"build" in plain and b"\x1b[3" not in plain.replace(b"\x1b[?", b"")


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 0 s"), (312, "5 min 12 s"), (7380, "2 h 3 min")],
)
def test_durations(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_the_time_that_a_stage_takes_is_told(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    clock = [100.0]
    monkeypatch.setattr("ci.base.progress.time.monotonic", lambda: clock[0])
    progress = Progress()
    with progress.stage("build", "6.12"):
        clock[0] += 65
        progress.update("build: 5 objects")
        clock[0] += 7
    assert capfd.readouterr().err.splitlines() == [
        "| build: 6.12",
        "| build: 5 objects (1 min 5 s)",
        "| build: took 1 min 12 s",
    ]


def test_a_terminal_gets_the_time_also_where_nothing_is_told() -> None:
    script = "time.sleep(1.3)"
    assert (
        b"fetch (0 s)" in (shown := live({}, f"with p.stage('fetch', 'x'): {script}"))
        and b"fetch (1 s)" in shown
    )


def test_a_file_that_grows_is_told(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "PLAIN_EVERY_S", 0.0)
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.01)
    progress = Progress()
    said = ""
    with progress.growing("downloading", tmp_path, "*.deb", 150_000_000):
        (tmp_path / "other").write_bytes(b"x")
        with (tmp_path / "linux.deb").open("wb") as file:
            file.truncate(42_000_000)
        while not said:
            time.sleep(0.01)
            said = capfd.readouterr().err
    assert said.splitlines()[0] == "| downloading: 42 of 150 MB"
    with progress.growing("fetching", tmp_path, "tmp_pack_*"):
        pass
    assert "fetching" not in capfd.readouterr().err
