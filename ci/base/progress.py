# SPDX-License-Identifier: GPL-2.0-only
"""Where long work tells how far it is: a live line in a terminal, plain lines in a pipe, groups on
GitHub."""

import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.status import Status
from rich.text import Text

from ci.base import processes
from ci.base.text import marked_lines, printable

PLAIN_EVERY_S = 15.0
WORTH_TELLING_S = 5.0
LOOK_EVERY_S = 0.3


def duration(seconds: float) -> str:
    """``40 s``, ``5 min 12 s`` or ``2 h 3 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return (
        f"{whole // 60} min {whole % 60} s"
        if whole < 3600
        else f"{whole // 3600} h {whole % 3600 // 60} min"
    )


def cpu_s() -> float:
    """CPU seconds of this process and of every command that has ended."""
    used = os.times()
    return used.user + used.system + processes.spent_s()


class _Line:
    """The live line: what was told last, and for how long the stage has been at work, also while
    nothing is told."""

    def __init__(self, text: str, begin: float) -> None:
        self.text, self.begin = text, begin

    def __rich__(self) -> Text:
        return Text(f"{printable(self.text)} ({duration(time.monotonic() - self.begin)})")


class Progress:
    """Writes to stderr only; results go to stdout. ``durations_s`` and ``cpu_s`` collect the wall
    and CPU seconds of each stage, those of the commands that it ran included."""

    def __init__(self) -> None:
        self.console = Console(
            stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True
        )
        self.github = os.environ.get("GITHUB_ACTIONS") == "true"
        self.durations_s: dict[str, float] = {}
        self.cpu_s: dict[str, float] = {}
        self._status: Status | None = None
        self._last, self._begin = 0.0, time.monotonic()

    @contextlib.contextmanager
    def stage(self, name: str, what: str) -> Iterator[None]:
        """Work on stage ``name`` goes on inside; its time is taken."""
        begin, cpu = time.monotonic(), cpu_s()
        self._begin = begin
        if self.github:
            print(f"::group::{name}: {printable(what)}", file=sys.stderr, flush=True)
        else:
            self.note(f"{name}: {what}")
        if self.console.is_terminal and not self.github:
            self._status = self.console.status(_Line(name, begin), spinner="line")
            self._status.start()
        try:
            yield
        finally:
            if self._status:
                self._status.stop()
                self._status = None
            spent = time.monotonic() - begin
            if spent >= WORTH_TELLING_S:
                self.note(f"{name}: took {duration(spent)}")
            self.durations_s[name] = round(self.durations_s.get(name, 0.0) + spent, 2)
            self.cpu_s[name] = round(self.cpu_s.get(name, 0.0) + cpu_s() - cpu, 2)
            if self.github:
                print("::endgroup::", file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """Lines that stay."""
        self.console.print(marked_lines(text))

    def timings(self) -> str:
        """A table of the stages: wall and CPU seconds."""
        rows = [f"{'stage':<16}{'wall s':>9}{'CPU s':>9}"]
        rows += [
            f"{name:<16}{wall:>9.1f}{self.cpu_s[name]:>9.1f}"
            for name, wall in self.durations_s.items()
        ]
        rows.append(
            f"{'together':<16}{sum(self.durations_s.values()):>9.1f}{sum(self.cpu_s.values()):>9.1f}"
        )
        return "\n".join(rows)

    def update(self, text: str) -> None:
        """How far it is: replaces the live line; in a pipe at most one line in ``PLAIN_EVERY_S``
        seconds."""
        now = time.monotonic()
        if self._status:
            self._status.update(_Line(text, self._begin))
        elif now - self._last > PLAIN_EVERY_S:
            self._last = now
            spent = now - self._begin
            self.note(f"{text} ({duration(spent)})" if spent >= WORTH_TELLING_S else text)

    @contextlib.contextmanager
    def growing(self, what: str, folder: Path, pattern: str, total: int = 0) -> Iterator[None]:
        """Tell the size of the files in ``folder`` that match ``pattern``, of ``total`` bytes where
        that is known, as long as it goes on inside."""
        of = f" of {total / 10**6:.0f}" if total else ""
        done = threading.Event()

        def look() -> None:
            while not done.wait(LOOK_EVERY_S):
                with contextlib.suppress(OSError):  # a file that was renamed meanwhile
                    have = sum(path.stat().st_size for path in folder.glob(pattern))
                    if have:
                        self.update(f"{what}: {have / 10**6:.0f}{of} MB")

        looker = threading.Thread(target=look, daemon=True)
        looker.start()
        try:
            yield
        finally:
            done.set()
            looker.join()
