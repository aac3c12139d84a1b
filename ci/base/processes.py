# SPDX-License-Identifier: GPL-2.0-only
"""The only door to processes: an argument list in, a :class:`CommandResult` out, nothing left
running.

Every command runs below a supervisor of :mod:`ci.base.reaper` in a session of its own, so a time
limit, Ctrl-C, an exception or the death of this process ends the whole tree of processes, detached
ones included.
"""

import codecs
import contextlib
import os
import shutil
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ci.base.errors import StageError
from ci.base.launch import (
    abort,
    environment,
    last_word,
    launch_command,
    let_go,
    spent_s,
    wait_for_end,
)
from ci.base.text import printable

__all__ = [
    "CommandResult",
    "Limits",
    "abort",
    "environment",
    "interactive",
    "require",
    "run",
    "spent_s",
]

TAIL_LINES = 20
# Where a line without an end is taken in parts, so that a log grows and a watch can see it.
LONGEST_LINE = 1 << 20
# What a line takes of a limit on output besides its bytes: each is kept as a text of its own.
LINE_COST = 64


@dataclass(frozen=True)
class CommandResult:
    """How a command ended. ``returncode`` is negative for a signal; times are in seconds;
    ``stopped`` is what the caller's ``watch`` said when it ended the command, or which of its
    ``limits`` did (``processes``, ``memory``, ``output``), else empty."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    cpu_s: float
    stopped: str = ""


@dataclass(frozen=True)
class Limits:
    """What a command that is not trusted may take: processes at once, the bytes of memory that they
    have together, and the bytes that they may print."""

    processes: int
    memory: int
    output: int


def require(stage: str, program: str, package: str) -> str:
    """Path of ``program``; a :class:`StageError` that names the package when it is missing."""
    found = shutil.which(program)
    if not found:
        raise StageError(
            stage,
            f"{program} is not installed; install the package {package} (or run ci/bootstrap.sh)",
        )
    return found


class _Reader(threading.Thread):
    """Collects one stream as text, line by line, into a list, an optional log and an optional
    callback. With ``most`` bytes, it is text that is not trusted: what comes after them is lost,
    and no control character is kept."""

    def __init__(
        self,
        stream: IO[bytes],
        log: IO[str] | None,
        on_line: Callable[[str], None] | None,
        most: int,
    ) -> None:
        super().__init__(daemon=True)
        self.stream, self.log, self.on_line, self.most = stream, log, on_line, most
        self.lines: list[str] = []
        self.trouble: Exception | None = None
        self.over = False
        self.start()

    def run(self) -> None:
        taken = 0
        taken = 0
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        try:
            with self.stream:
                while True:
                    raw = self.stream.readline(LONGEST_LINE)
                    line = decoder.decode(raw, final=not raw)
                    if not raw and not line:
                        break
                    if self.most:
                        taken += len(raw) + LINE_COST
                        self.over = taken > self.most
                        if self.over:
                            continue
                        line = f"{printable(line.rstrip())}\n"
                    self.lines.append(line)
                    if self.log:
                        self.log.write(line)
                    if self.on_line:
                        self.on_line(line.rstrip("\n"))
        # a full disk, a stderr that is closed; the command cannot write any more, and ends
        except Exception as error:
            self.trouble = error


@dataclass(frozen=True)
class _End:
    """The end of a command: its supervisor's last word, the lines of its streams, and what ended it
    before its time."""

    how: str
    rest: str
    stdout: list[str]
    stderr: list[str]
    timed_out: bool
    stopped: str

    def result(self, words: tuple[str, ...]) -> CommandResult:
        """What the caller of the command gets."""
        code = -9 if self.stopped else os.waitstatus_to_exitcode(int(self.how))
        texts = "".join(self.stdout), "".join(self.stderr)
        return CommandResult(words, code, *texts, float(self.rest or 0), self.stopped)


def _follow(
    words: tuple[str, ...],
    cwd: Path | None,
    env: dict[str, str],
    stdin: str | None,
    limits: Limits | None,
    reader: Callable[[IO[bytes]], _Reader],
    wait: Callable[[int, Callable[[], str]], str],
) -> _End:
    """Start a command with pipes of ours, and stay with it to its end; ``wait`` is told where its
    status comes, and whom to ask whether it has printed too much."""
    in_r, in_w = os.pipe() if stdin is not None else (os.open(os.devnull, os.O_RDONLY), None)
    out_r, out_w = os.pipe()
    err_r, err_w = os.pipe()
    try:
        streams, most = (in_r, out_w, err_w), limits and (limits.processes, limits.memory)
        status_r, alive_w = launch_command(
            words, cwd, env, streams, own_session=True, limits=most or ()
        )
    finally:
        for fd in (in_r, out_w, err_w):
            os.close(fd)
    out, err = reader(os.fdopen(out_r, "rb")), reader(os.fdopen(err_r, "rb"))
    timed_out, stopped = False, ""
    try:
        if in_w is not None:
            with contextlib.suppress(BrokenPipeError), os.fdopen(in_w, "wb") as file:
                file.write((stdin or "").encode("utf-8", "surrogateescape"))
        stopped = wait(status_r, lambda: "output" if out.over or err.over else "")
    except TimeoutError:
        timed_out = True
    finally:
        let_go(alive_w)
        how, rest = last_word(status_r)
        out.join()
        err.join()
    if trouble := out.trouble or err.trouble:
        raise trouble
    over = how.removeprefix("over:") if how.startswith("over:") else ""
    return _End(how, rest, out.lines, err.lines, timed_out, over or stopped)


def run(
    argv: Sequence[str | Path],
    *,
    stage: str,
    timeout_s: float,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: str | None = None,
    log: Path | None = None,
    ok: Collection[int] | None = (0,),
    on_line: Callable[[str], None] | None = None,
    watch: Callable[[], str] | None = None,
    limits: Limits | None = None,
    shown: Sequence[str | Path] = (),
) -> CommandResult:
    """Run ``argv`` to its end, at most ``timeout_s`` seconds.

    ``ok`` holds the exit codes that are answers (``None``: any); another one, a time-out and a
    program that cannot be started are a :class:`StageError` with the last lines of the output.
    ``log`` is appended to. ``on_line`` sees each line of stdout and stderr as it comes (from
    another thread). ``watch`` is asked five times a second: a word from it ends the command, as an
    answer and not an error; so does more than the ``limits`` allow. Errors say ``shown`` for
    ``argv``.
    """
    words = tuple(map(str, argv))
    _check_words(words, stage)
    opened = log.open("a", buffering=1, encoding="utf-8") if log else contextlib.nullcontext()
    with opened as log_file:
        end = _follow(
            words,
            cwd,
            environment(env),
            stdin,
            limits,
            lambda stream: _Reader(stream, log_file, on_line, limits.output if limits else 0),
            lambda status_r, over: wait_for_end(status_r, timeout_s, _both(over, watch, limits)),
        )
    if trouble := _trouble(tuple(map(str, shown or words)), end, timeout_s, ok):
        raise StageError(stage, trouble, log=log)
    return end.result(words)


def _both(
    over: Callable[[], str], watch: Callable[[], str] | None, limits: Limits | None
) -> Callable[[], str] | None:
    """Whom to ask whether a command is to be ended: where nothing can say so, nobody."""
    if not limits:
        return watch
    return lambda: over() or (watch() if watch else "")


def _check_words(words: tuple[str, ...], stage: str) -> None:
    if bad := next((word for word in words if "\0" in word), ""):
        raise StageError(
            stage, f"{words[0]}: no program can be given the word {bad[:100]!r}, which holds a NUL"
        )


def _trouble(
    words: tuple[str, ...], end: _End, timeout_s: float, ok: Collection[int] | None
) -> str:
    """Why the end of a command is no answer, empty where it is one."""
    what = f"`{' '.join(words)[:300]}`"
    tail = "".join((end.stdout + end.stderr)[-TAIL_LINES:])
    if end.timed_out:
        return f"{what} did not end within {timeout_s:.0f} s\n{tail}".rstrip()
    if end.stopped:
        return ""
    if not end.how.isdigit():
        why = os.strerror(int(end.rest)) if end.how == "exec" else "its supervisor was killed"
        return f"{what} could not be run: {why}"
    code = os.waitstatus_to_exitcode(int(end.how))
    if ok is None or code in ok:
        return ""
    ended = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
    return f"{what} {ended}\n{tail}".rstrip()


def interactive(argv: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str]) -> int:
    """Run ``argv`` on this terminal until the user ends it; its exit code, 1 where a signal ended
    it. It dies with us, as every command does, but stays in our session: the terminal is its
    own."""
    terminal = {"TERM": os.environ.get("TERM", "dumb")}
    words = [str(word) for word in argv]
    status_r, alive_w = launch_command(
        words, cwd, environment(terminal | dict(env)), (0, 1, 2), own_session=False
    )
    try:
        how, _ = last_word(status_r)
    finally:
        let_go(alive_w)
    code = os.waitstatus_to_exitcode(int(how)) if how.isdigit() else 1
    return code if code >= 0 else 1
