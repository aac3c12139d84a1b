# SPDX-License-Identifier: GPL-2.0-only
"""Run commands and leave none of their descendants behind, whatever ends them or us.

Started once as ``python -I -S reaper.py FD`` by :mod:`ci.base.launch`, never imported by it:
starting Python for each command would take longer than most of them. FD is a socket. Each message
on it brings six file descriptors: a file with the request in JSON
``(argv, cwd, environment, own session?, limits)``, the command's stdin, stdout and stderr, STATUS
and ALIVE. For each, a supervisor is forked. End of file on the socket ends the server; its
supervisors look after themselves.

A supervisor is a *subreaper* (prctl(2), PR_SET_CHILD_SUBREAPER): a descendant that detaches itself,
as QEMU behind vng's shell can, becomes its child instead of init's. ALIVE is the read end of a pipe
whose only write end the parent holds: end of file means that the parent is gone, by SIGKILL too, or
wants us to stop. On the command's exit, or then, every process that descends from the supervisor is
killed until none is left.

STATUS gets one line: ``<wait status> <CPU seconds>`` with the CPU seconds of all descendants,
``stopped <CPU seconds>`` where the command was ended by ALIVE or SIGTERM, ``over:processes`` or
``over:memory`` where it had more of them at once than its limits ``(processes, bytes)`` say, or
``exec <errno>``. Only the standard library without ``site``.
"""

import ctypes
import json
import os
import select
import signal
import socket
import sys
import warnings  # noqa: F401 - os.execvpe imports it, which every command would do anew
from collections.abc import Sequence

PR_SET_CHILD_SUBREAPER = 36
LIBC = ctypes.CDLL(None, use_errno=True)
LOOK_EVERY_S = 0.3


def descendants(root: int) -> list[int]:
    """Process ids below ``root``, from the parent fields of /proc/PID/stat; zombies excepted."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb") as stat:
                    # "123 (a name) with ) inside) S 45 ...": the fields follow the last
                    # parenthesis.
                    state, parent = stat.read().rpartition(b")")[2].split()[:2]
            except OSError:
                continue
            if state != b"Z":
                children.setdefault(int(parent), []).append(int(entry))
    found: list[int] = []
    queue = [root]
    while queue:
        below = children.get(queue.pop(), [])
        found += below
        queue += below
    return found


def kill_all() -> None:
    """SIGKILL every descendant and reap it, until none is left (a fork between two looks is seen by
    the next)."""
    try:
        # Whoever descends from a subreaper has a parent that does, up to a child of ours: no child,
        # nobody.
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return
    while True:
        alive = descendants(os.getpid())
        for pid in alive:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            # One of the killed is to be reaped first. Then look again: it may have forked since.
            while os.waitpid(-1, 0 if alive else os.WNOHANG)[0]:
                alive = []
        except ChildProcessError:
            return
        if not descendants(os.getpid()):
            return


def start(
    argv: list[str], cwd: str, env: dict[str, str], close: Sequence[int], status_fd: int
) -> int:
    """The process id of ``argv``, which has the standard streams, no other file descriptor and no
    signal ignored."""
    child = os.fork()
    if child:
        return child
    try:
        for number in (
            signal.SIGINT,
            signal.SIGHUP,
            signal.SIGTERM,
            signal.SIGCHLD,
            signal.SIGPIPE,
            signal.SIGXFSZ,
        ):
            signal.signal(number, signal.SIG_DFL)
        for fd in close:
            os.close(fd)
        os.set_inheritable(status_fd, False)
        os.chdir(cwd)
        os.execvpe(argv[0], argv, env)
    except OSError as error:
        os.write(status_fd, f"exec {error.errno}\n".encode())
    finally:
        os._exit(127)


def wake_on_signals(stops: list[int]) -> tuple[int, int]:
    """Both ends of a pipe that SIGCHLD and SIGTERM write to; ``stops`` gets each SIGTERM."""
    wake_r, wake_w = os.pipe()
    os.set_blocking(wake_w, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGTERM, lambda number, _: stops.append(number))
    signal.set_wakeup_fd(wake_w, warn_on_full_buffer=False)
    return wake_r, wake_w


def reap(child: int) -> str:
    """Reap all that has ended; the wait status of ``child`` where it is among that, else empty."""
    how = ""
    try:
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == child:
                how = str(status)
            if pid == 0:
                return how
    except ChildProcessError:
        return how


def find_excess(limits: Sequence[int]) -> str:
    """Which of the limits all descendants together are over, as STATUS has it. Memory is what a
    process shares with no file."""
    alive = descendants(os.getpid())
    if len(alive) > limits[0]:
        return "over:processes"
    pages = 0
    for pid in alive:
        try:
            with open(f"/proc/{pid}/statm", "rb") as statm:
                _, resident, shared = statm.read().split()[:3]  # 5170 1420 790 ...
        except OSError:
            continue
        pages += int(resident) - int(shared)
    return "over:memory" if pages * os.sysconf("SC_PAGE_SIZE") > limits[1] else ""


def wait_for_end(
    child: int, wake_r: int, alive_fd: int, stops: list[int], limits: Sequence[int]
) -> str:
    """The wait status of ``child``, or which limit it is over; empty where the parent is gone or a
    SIGTERM comes before its end."""
    how = ""
    while not how and not stops:
        ready, _, _ = select.select([alive_fd, wake_r], [], [], LOOK_EVERY_S if limits else None)
        if not ready:
            how = find_excess(limits)
        if wake_r in ready:
            os.read(wake_r, 512)
            how = reap(child)
        if alive_fd in ready:
            break
    return how


def supervise(request: int, streams: Sequence[int], status_fd: int, alive_fd: int) -> None:
    """Start what is asked for, wait for its end or the parent's, kill what is left, report."""
    with open(request, "rb") as file:  # as text it would import a codec, for each command
        file.seek(0)
        argv, cwd, env, own_session, limits = json.load(file)
    if own_session:
        os.setsid()
    for number, fd in enumerate(streams):
        os.dup2(fd, number)
        os.close(fd)
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    stops: list[int] = []
    wake_r, wake_w = wake_on_signals(stops)
    child = start(argv, cwd, env, (alive_fd, wake_r, wake_w), status_fd)
    how = wait_for_end(child, wake_r, alive_fd, stops, limits)
    kill_all()
    used = os.times()
    cpu_s = used.children_user + used.children_system
    try:
        os.write(status_fd, f"{how or 'stopped'} {cpu_s:.3f}\n".encode())
    except BrokenPipeError:
        pass


def serve(requests: socket.socket) -> None:
    """Fork a supervisor for each message until the other side is gone."""
    os.umask(0o022)
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD):
        signal.signal(number, signal.SIG_IGN)
    while True:
        _, (*fds,), _, _ = socket.recv_fds(requests, 1, 6)
        if not fds:
            return
        if os.fork() == 0:
            try:
                requests.close()
                supervise(fds[0], fds[1:4], fds[4], fds[5])
            finally:
                os._exit(0)
        for fd in fds:
            os.close(fd)


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
