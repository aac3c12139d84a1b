"""Where long work tells how far it is: a live line in a terminal, plain lines in a pipe, groups on GitHub."""

import contextlib
import os
import re
import sys
import time
from collections.abc import Iterator

from rich.console import Console
from rich.status import Status

from ci import command

PLAIN_EVERY_S = 15.0
# Anything that could move a terminal's cursor, colour it or start a line of its own.
CONTROL = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """``text`` without control characters and terminal sequences; it may come from a patch or a guest."""
    return CONTROL.sub(" ", text).replace("##[", "# #[").encode("utf-8", "replace").decode()


def lines(text: str, first: str = "| ") -> str:
    """The lines of ``text``, each behind a mark of ours: GitHub's runner obeys ``::word::`` at the start of a line,
    blanks before it included, and ``##[word]`` anywhere."""
    return "\n".join(("| " if number else first) + printable(line) for number, line in enumerate(text.splitlines()))


def cpu_s() -> float:
    """CPU seconds of this process and of every command that has ended."""
    used = os.times()
    return used.user + used.system + command.spent_s()


class Progress:
    """Writes to stderr only; results go to stdout. ``durations_s`` and ``cpu_s`` collect the wall and CPU seconds of
    each stage, those of the commands that it ran included."""

    def __init__(self) -> None:
        self.console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
        self.github = os.environ.get("GITHUB_ACTIONS") == "true"
        self.durations_s: dict[str, float] = {}
        self.cpu_s: dict[str, float] = {}
        self._status: Status | None = None
        self._last = 0.0

    @contextlib.contextmanager
    def stage(self, name: str, what: str) -> Iterator[None]:
        """Work on stage ``name`` goes on inside; its time is taken."""
        begin, cpu = time.monotonic(), cpu_s()
        if self.github:
            print(f"::group::{name}: {printable(what)}", file=sys.stderr, flush=True)
        else:
            self.note(f"{name}: {what}")
        if self.console.is_terminal and not self.github:
            self._status = self.console.status(f"{name}", spinner="line")
            self._status.start()
        try:
            yield
        finally:
            if self._status:
                self._status.stop()
                self._status = None
            self.durations_s[name] = round(self.durations_s.get(name, 0.0) + time.monotonic() - begin, 2)
            self.cpu_s[name] = round(self.cpu_s.get(name, 0.0) + cpu_s() - cpu, 2)
            if self.github:
                print("::endgroup::", file=sys.stderr, flush=True)

    def note(self, text: str) -> None:
        """Lines that stay."""
        self.console.print(lines(text))

    def timings(self) -> str:
        """A table of the stages: wall and CPU seconds."""
        rows = [f"{'stage':<16}{'wall s':>9}{'CPU s':>9}"]
        rows += [f"{name:<16}{wall:>9.1f}{self.cpu_s[name]:>9.1f}" for name, wall in self.durations_s.items()]
        rows.append(f"{'together':<16}{sum(self.durations_s.values()):>9.1f}{sum(self.cpu_s.values()):>9.1f}")
        return "\n".join(rows)

    def update(self, text: str) -> None:
        """How far it is: replaces the live line; in a pipe at most one line in ``PLAIN_EVERY_S`` seconds."""
        if self._status:
            self._status.update(printable(text))
        elif time.monotonic() - self._last > PLAIN_EVERY_S:
            self._last = time.monotonic()
            self.note(text)
