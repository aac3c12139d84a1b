# SPDX-License-Identifier: GPL-2.0-only
"""How a command starts and ends: below a supervisor of :mod:`ci.base.reaper`, which ends the whole
tree of its processes. Only :mod:`ci.base.processes` uses this."""

import json
import os
import select
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_live: set[int] = set()
_lock = threading.Lock()
_reaper: tuple["subprocess.Popen[bytes]", socket.socket] | None = None
_spent_s = 0.0
REAPER = Path(__file__).with_name("reaper.py")
WATCH_EVERY_S = 0.2
# What a command may know of us: enough to find programs, caches and proxies, nothing that changes
# its output.
PASSED_ON = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "TMPDIR",
    "XDG_CACHE_HOME",
    "XDG_RUNTIME_DIR",
    "APT_CONFIG",
    "CCACHE_DIR",
    "CCACHE_MAXSIZE",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE",
)


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of every command: an allow list of ours, fixed locale and time zone, then
    ``extra``."""
    kept = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return kept | {"LC_ALL": "C.UTF-8", "TZ": "UTC", "TERM": "dumb"} | dict(extra or {})


def let_go(alive: int) -> None:
    """Tell a command's supervisor to end it, by closing our end of its pipe, once."""
    with _lock:
        if alive in _live:
            _live.remove(alive)
            os.close(alive)


def abort() -> None:
    """End every command that other threads are running; their calls raise or return as for a killed
    command."""
    for alive in tuple(_live):
        let_go(alive)


def spent_s() -> float:
    """CPU seconds of every command that has ended."""
    return _spent_s


def _requests() -> socket.socket:
    """Where :mod:`ci.base.reaper` takes requests; it is started with the first, and again should
    somebody have killed it."""
    global _reaper
    if _reaper and _reaper[0].poll() is None:
        return _reaper[1]
    ours, theirs = socket.socketpair()
    with theirs:
        argv = [sys.executable, "-I", "-S", str(REAPER), str(theirs.fileno())]
        void = subprocess.DEVNULL
        process = subprocess.Popen(
            argv,
            stdin=void,
            stdout=void,
            stderr=void,
            cwd="/",
            env=environment(),
            pass_fds=[theirs.fileno()],
        )
    _reaper = process, ours
    return ours


def launch_command(
    words: Sequence[str],
    cwd: Path | None,
    env: dict[str, str],
    streams: Sequence[int],
    *,
    own_session: bool,
    limits: Sequence[int] = (),
) -> tuple[int, int]:
    """Start a command below a supervisor of its own: the end of its status pipe to read from, and
    that of the pipe which ends it when it is closed, by us or with us. ``limits`` are the most
    processes at once, and the most bytes of memory that they have together."""
    alive_r, alive_w = os.pipe()
    with _lock:
        _live.add(alive_w)  # from here on abort() ends what is started below
    status_r, status_w = os.pipe()
    request = os.memfd_create("request")
    try:
        folder = str((cwd or Path.cwd()).absolute())
        os.write(request, json.dumps([words, folder, env, own_session, limits]).encode())
        with _lock:
            socket.send_fds(_requests(), [b"\0"], [request, *streams, status_w, alive_r])
    except BaseException:
        let_go(alive_w)
        os.close(status_r)
        raise
    finally:
        for fd in (request, status_w, alive_r):
            os.close(fd)
    return status_r, alive_w


def last_word(status_r: int) -> tuple[str, str]:
    """Wait for a supervisor's last word: how the command ended, or ``exec`` with the errno, or
    nothing where it was killed itself."""
    global _spent_s
    with os.fdopen(status_r, encoding="ascii") as file:
        how, _, rest = file.readline().strip().partition(" ")
    if how not in ("", "exec"):
        with _lock:
            _spent_s += float(rest)
    return how, rest


def wait_for_end(status_r: int, timeout_s: float, watch: Callable[[], str] | None) -> str:
    """Wait for the end, at most ``timeout_s`` seconds (then TimeoutError); what ``watch`` said, if
    it did."""
    end = time.monotonic() + timeout_s
    status = select.poll()
    status.register(status_r, select.POLLIN)
    while True:
        left = end - time.monotonic()
        if status.poll(max(0.0, 1000 * (min(left, WATCH_EVERY_S) if watch else left))):
            return ""
        if watch and (word := watch()):
            return word
        if time.monotonic() > end:
            raise TimeoutError
