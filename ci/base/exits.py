# SPDX-License-Identifier: GPL-2.0-only
"""The way in and out of every task: exit codes, signals, streams that are closed or full, one line
for whatever went wrong.

It imports next to nothing, for it has to stand before anything else is imported."""

import contextlib
import functools
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn

from ci.base.errors import PatchError, describe
from ci.base.exit_codes import ExitCode
from ci.base.text import marked_lines

DEBUG = ("-d", "--debug")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_working = False
_error_shown = False


class Ended(SystemExit):
    """A task ended with a code of its own. Any other exit with a code is Invoke's, whose 1 would
    read as "rejected"."""


def enter(root: Path) -> None:
    """Call it first. From here on no exception, signal or closed stream ends this process with 1,
    and modules come from ``root`` and its environment: what PYTHONPATH names is other people's."""
    sys.excepthook = _last_word
    strangers = {
        str(Path(entry).absolute())
        for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep)
        if entry
    }
    sys.path[:] = [
        str(root),
        *(entry for entry in sys.path if entry not in strangers | {str(root)}),
    ]
    # Invoke never keeps compiled modules; compiling ours takes longer than all the rest of a start.
    sys.dont_write_bytecode = False
    for fd, mode in enumerate("rww"):
        try:
            os.fstat(fd)
        except OSError:
            # Else the next file that is opened, or pipe to a command, would be our stdout. Writing
            # to this one fails.
            os.open(os.devnull, os.O_RDONLY)
            setattr(sys, ("stdin", "stdout", "stderr")[fd], os.fdopen(fd, mode))
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup, or a shell's background
            signal.signal(number, _on_signal)


def _on_signal(number: int, _frame: FrameType | None) -> None:
    """The first signal interrupts a task, which then cleans up; a second one, or one with no task
    to interrupt, ends us: what we started dies with us."""
    global _working
    if _working:
        _working = False
        raise KeyboardInterrupt(signal.Signals(number).name)
    with contextlib.suppress(OSError):
        # Rich hides the cursor.
        os.write(2, b"interrupted\n" + (b"\033[?25h" if os.isatty(2) else b""))
    os._exit(ExitCode.UNKNOWN)


def _last_word(
    _kind: type[BaseException], error: BaseException, _where: TracebackType | None
) -> NoReturn:
    """What no one caught, at import too."""
    os._exit(_show_error(error))


def _show_error(error: BaseException) -> ExitCode:
    """Say on stderr what went wrong, the first thing alone, with the traceback where --debug asks
    for it; the exit code: a series at fault is rejected, whatever the task."""
    global _error_shown
    if _error_shown:
        return ExitCode.UNKNOWN
    _error_shown = True
    at_fault = isinstance(error, PatchError)
    text = (
        "interrupted"
        if isinstance(error, KeyboardInterrupt)
        else marked_lines(describe(error), "rejected: " if at_fault else "error: ")
    )
    with contextlib.suppress(OSError, ValueError):
        if any(word in DEBUG for word in sys.argv[1:]):
            traceback.print_exception(error)
        print(text, file=sys.stderr, flush=True)
    return ExitCode.BROKEN if at_fault else ExitCode.UNKNOWN


def guarded(body: Callable[..., int | None]) -> Callable[..., None]:
    """Turn what a task returns or raises, and a signal, into the exit codes that the README
    promises."""

    @functools.wraps(body)
    def run(*args: Any, **options: Any) -> None:
        global _working
        try:
            _working = True
            code = body(*args, **options) or ExitCode.ACCEPTED
        except BaseException as error:
            code = _show_error(error)
        finally:
            _working = False
        if code:
            raise Ended(code)

    return run


def leave(program: Callable[[], None]) -> NoReturn:
    """Run Invoke's program and end with the code of its task; what was said has to have arrived."""
    code: int = ExitCode.ACCEPTED
    try:
        program()
    except Ended as end:
        code = int(str(end.code))
    except SystemExit as end:
        code = ExitCode.UNKNOWN if end.code else ExitCode.ACCEPTED
    except BaseException as error:
        code = _show_error(error)
    for name, stream in (("stdout", sys.stdout), ("stderr", sys.stderr)):
        try:
            stream.flush()
        except OSError as error:
            code = _show_error(OSError(error.errno, error.strerror, name))
            # The interpreter flushes again when it ends, and would end with 120.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(code)
