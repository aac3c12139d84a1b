"""The only door to processes: an argument list in, a :class:`CommandResult` out, nothing left running.

Every command runs below :mod:`ci.reaper` in a session of its own, so a time limit, Ctrl-C, an exception or the
death of this process ends the whole tree of processes, detached ones included.
"""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from ci.errors import StageError

_live: set[int] = set()
_live_lock = threading.Lock()
REAPER = Path(__file__).with_name("reaper.py")
TAIL_LINES = 20
WATCH_EVERY_S = 0.2
# What a command may know of us: enough to find programs, caches and proxies, nothing that changes its output.
PASSED_ON = (
    "PATH", "HOME", "USER", "LOGNAME", "TMPDIR", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "APT_CONFIG", "CCACHE_DIR",
    "CCACHE_MAXSIZE", "http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE",
)  # fmt: skip


@dataclass(frozen=True)
class CommandResult:
    """How a command ended. ``returncode`` is negative for a signal; times are in seconds; ``stopped`` is what the
    caller's ``watch`` said when it ended the command, else empty."""

    argv: tuple[str, ...]
    returncode: int
    stdout: str
    stderr: str
    cpu_s: float
    stopped: str = ""


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of every command: an allow list of ours, fixed locale and time zone, then ``extra``."""
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return kept | {"LC_ALL": "C.UTF-8", "TZ": "UTC", "TERM": "dumb"} | dict(extra or {})


def require(stage: str, program: str, package: str) -> str:
    """Path of ``program``; a :class:`StageError` that names the package when it is missing."""
    found = shutil.which(program)
    if not found:
        raise StageError(stage, f"{program} is not installed; install the package {package} (or run ci/bootstrap.sh)")
    return found


class _Reader(threading.Thread):
    """Collects one stream as text, line by line, into a list, an optional log and an optional callback."""

    def __init__(self, stream: IO[bytes], log: IO[str] | None, on_line: Callable[[str], None] | None) -> None:
        super().__init__(daemon=True)
        self.stream, self.log, self.on_line = stream, log, on_line
        self.lines: list[str] = []
        self.start()

    def run(self) -> None:
        for raw in self.stream:
            line = raw.decode("utf-8", "replace")
            self.lines.append(line)
            if self.log:
                self.log.write(line)
            if self.on_line:
                self.on_line(line.rstrip("\n"))


def _let_go(alive: int) -> None:
    """Tell a command's supervisor to end it, by closing our end of its pipe, once."""
    with _live_lock:
        if alive in _live:
            _live.remove(alive)
            os.close(alive)


def abort() -> None:
    """End every command that other threads are running; their calls raise or return as for a killed command."""
    for alive in tuple(_live):
        _let_go(alive)


def _wait(process: subprocess.Popen[bytes], timeout_s: float, watch: Callable[[], str] | None) -> str:
    """Wait for the end, at most ``timeout_s`` seconds (then subprocess.TimeoutExpired); what ``watch`` said, if it did."""
    if not watch:
        process.wait(timeout_s)
        return ""
    end = time.monotonic() + timeout_s
    while True:
        try:
            process.wait(WATCH_EVERY_S)
            return ""
        except subprocess.TimeoutExpired:
            if word := watch():
                return word
            if time.monotonic() > end:
                raise


def _supervised(status_w: int, alive_r: int) -> list[str]:
    """What goes before a command so that it runs below the supervisor."""
    return [sys.executable, "-I", "-S", str(REAPER), str(status_w), str(alive_r)]


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
) -> CommandResult:
    """Run ``argv`` to its end, at most ``timeout_s`` seconds.

    ``ok`` holds the exit codes that are answers (``None``: any); another one, a time-out and a program that can
    not be started are a :class:`StageError` with the last lines of the output. ``log`` is appended to.
    ``on_line`` sees each line of stdout and stderr as it comes (from another thread). ``watch`` is asked five times
    a second: a word from it ends the command, as an answer and not an error.
    """
    words = tuple(str(word) for word in argv)
    alive_r, alive_w = os.pipe()
    with _live_lock:
        _live.add(alive_w)
    status_r, status_w = os.pipe()
    log_file = log.open("a", buffering=1, encoding="utf-8") if log else None
    try:
        process = subprocess.Popen(
            [*_supervised(status_w, alive_r), *words],
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env=environment(env),
            pass_fds=(alive_r, status_w),
            start_new_session=True,
            umask=0o022,
        )
        os.close(alive_r)
        os.close(status_w)
        assert process.stdout and process.stderr
        out = _Reader(process.stdout, log_file, on_line)
        err = _Reader(process.stderr, log_file, on_line)
        timed_out, stopped = False, ""
        try:
            if process.stdin:
                try:
                    process.stdin.write((stdin or "").encode("utf-8", "surrogateescape"))
                    process.stdin.close()
                except BrokenPipeError:
                    pass
            stopped = _wait(process, timeout_s, watch)
        except subprocess.TimeoutExpired:
            timed_out = True
        finally:
            _let_go(alive_w)
            process.wait()
            out.join()
            err.join()
        with os.fdopen(status_r, encoding="ascii") as status_file:
            status = status_file.readline().split()
    finally:
        if log_file:
            log_file.close()
    what = f"`{' '.join(words)[:300]}`"
    tail = "".join((out.lines + err.lines)[-TAIL_LINES:]).rstrip()
    if timed_out:
        raise StageError(stage, f"{what} did not end within {timeout_s:.0f} s\n{tail}".rstrip(), log=log)
    if stopped:
        return CommandResult(words, -9, "".join(out.lines), "".join(err.lines), 0.0, stopped)
    if len(status) != 3:
        why = os.strerror(int(status[1])) if len(status) == 2 else "its supervisor was killed"
        raise StageError(stage, f"{what} could not be run: {why}", log=log)
    code = os.waitstatus_to_exitcode(int(status[0]))
    if ok is not None and code not in ok:
        how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
        raise StageError(stage, f"{what} {how}\n{tail}".rstrip(), log=log)
    return CommandResult(words, code, "".join(out.lines), "".join(err.lines), float(status[1]) + float(status[2]))


def interactive(argv: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str]) -> int:
    """Run ``argv`` on this terminal until the user ends it; its exit code, 1 where a signal ended it. It dies with us,
    as every command does, but stays in our session: the terminal is its own."""
    alive_r, alive_w = os.pipe()
    status_r, status_w = os.pipe()
    terminal = {"TERM": os.environ.get("TERM", "dumb")}
    try:
        subprocess.run(
            [*_supervised(status_w, alive_r), *(str(word) for word in argv)],
            cwd=cwd, env=environment(terminal | dict(env)), pass_fds=(alive_r, status_w),
        )  # fmt: skip
    finally:
        for fd in (alive_r, alive_w, status_w):
            os.close(fd)
    with os.fdopen(status_r, encoding="ascii") as status_file:
        status = status_file.readline().split()
    code = os.waitstatus_to_exitcode(int(status[0])) if len(status) == 3 else 1
    return code if code >= 0 else 1
