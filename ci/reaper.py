"""Run one command and leave none of its descendants behind, whatever ends it or us.

Run as ``python -I -S reaper.py STATUS_FD ALIVE_FD ARGV...`` by :mod:`ci.command`, never imported by it. The
process is a *subreaper* (prctl(2), PR_SET_CHILD_SUBREAPER): a descendant that detaches itself, as QEMU behind
vng's shell can, becomes our child instead of init's. ALIVE_FD is the read end of a pipe whose only write end
the parent holds: end of file means that the parent is gone, by SIGKILL too, or wants us to stop. On the
command's exit, or then, every process that descends from us is killed until none is left.

STATUS_FD gets one line: ``<wait status> <user CPU seconds> <system CPU seconds>``, or ``exec <errno>``.
Only the standard library without ``site``: this starts for each command, so it has to start fast.
"""

import ctypes
import os
import select
import signal
import sys

PR_SET_CHILD_SUBREAPER = 36


def descendants(root: int) -> list[int]:
    """Process ids below ``root``, from the parent fields of /proc/PID/stat; zombies excepted."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/stat", "rb") as stat:
                    # "123 (a name) with ) inside) S 45 ...": the fields follow the last parenthesis.
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
    """SIGKILL every descendant and reap it, until none is left (a fork between two looks is seen by the next)."""
    try:
        # Whoever descends from a subreaper has a parent that does, up to a child of ours: no child, nobody.
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
            while os.waitpid(-1, 0 if alive else os.WNOHANG)[0]:
                if not descendants(os.getpid()):
                    alive = []
        except ChildProcessError:
            return
        if not alive:
            return


def main(status_fd: int, alive_fd: int, argv: list[str]) -> None:
    """Start ``argv``, wait for its end or the parent's, kill what is left, report."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    wake_r, wake_w = os.pipe()
    os.set_blocking(wake_w, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_w, warn_on_full_buffer=False)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    stopped = False

    def stop(*_: object) -> None:
        nonlocal stopped
        stopped = True

    signal.signal(signal.SIGTERM, stop)
    child = os.fork()
    if child == 0:
        try:
            for number in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE):
                signal.signal(number, signal.SIG_DFL)
            for fd in (alive_fd, wake_r, wake_w):
                os.close(fd)
            os.set_inheritable(status_fd, False)
            os.execvp(argv[0], argv)
        except OSError as error:
            os.write(status_fd, f"exec {error.errno}\n".encode())
        finally:
            os._exit(127)
    report = ""
    while not report and not stopped:
        ready, _, _ = select.select([alive_fd, wake_r], [], [])
        if wake_r in ready:
            os.read(wake_r, 512)
            while True:
                try:
                    pid, status, usage = os.wait4(-1, os.WNOHANG)
                except ChildProcessError:
                    break
                if pid == child:
                    report = f"{status} {usage.ru_utime:.3f} {usage.ru_stime:.3f}\n"
                if pid == 0:
                    break
        if alive_fd in ready:
            break
    kill_all()
    try:
        os.write(status_fd, report.encode())
    except BrokenPipeError:
        pass


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
