"""ci.progress: hostile text does nothing, pipes get plain lines, GitHub groups."""

import os
import pty
import subprocess
import sys

import pytest

from ci.progress import Progress
from ci.text import lines, printable
from tests.conftest import ROOT


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", " red "),
        ("a\rb\x07c\x9bd", "a b c d"),
        ("up\x1b[2Adown", "up down"),
        ("\u202eright", " right"),
        ("a ##[error]", "a # #[error]"),
    ],
)
def test_printable(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_every_line_begins_with_a_mark_of_ours() -> None:
    assert lines("one\n::two::\n\n", "error: ") == "error: one\n| ::two::\n| "
    assert lines("") == ""


def test_a_pipe_gets_plain_lines(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GITHUB_ACTIONS", raising=False)
    progress = Progress()
    with progress.stage("fetch", "a [bold]kernel[/] :smile:"):
        progress.note("x\x1b[2J\n::error::y")
        for _ in range(100):
            progress.update("working")
    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines() == ["| fetch: a [bold]kernel[/] :smile:", "| x ", "| ::error::y", "| working"]
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


def live(env: dict[str, str]) -> bytes:
    """What a terminal shows of a stage with two updates."""
    script = (
        "from ci.progress import Progress; p = Progress()\nwith p.stage('build', 'x'): p.update('one'); p.update('two')"
    )
    ours, theirs = pty.openpty()
    kept = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "GITHUB_ACTIONS")}
    subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, stderr=theirs, check=True, env=kept | {"TERM": "xterm"} | env
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
