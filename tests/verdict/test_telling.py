# SPDX-License-Identifier: GPL-2.0-only
"""ci.verdict.telling: which case tells a guest from a better one."""

from dataclasses import replace

from ci.logs.ending import Ended
from ci.logs.ktap import ScriptResult
from ci.logs.outcome import Case, State
from ci.logs.splats import scan_console
from ci.verdict.evidence import Guest
from ci.verdict.telling import find_telling

WARNING = (
    "[    1.0] WARNING: CPU: 0 PID: 1 at net/mptcp/protocol.c:10 mptcp_close+0x1/0x2\n"
    "[    1.1] Call Trace:\n[    1.2]  mptcp_close+0x1/0x2\n[    1.3] ---[ end trace 0 ]---\n"
)


def guest(own: State = State.PASS, ended: Ended = Ended.FINISHED, **cases: State) -> Guest:
    rows = tuple(Case(name, state) for name, state in cases.items())
    return Guest(ScriptResult("diag", Case("diag", own), rows), ended)


GOOD = guest(a=State.PASS, b=State.PASS, c=State.FAIL)


def told(other: Guest, fixed: tuple[str, ...] = ()) -> str:
    return find_telling("diag", GOOD, other, fixed)


def test_the_same_tells_nothing() -> None:
    assert told(GOOD) == ""
    assert told(replace(GOOD, result=None), ()) != ""
    assert find_telling("diag", replace(GOOD, ended=Ended.LOST), guest(a=State.FAIL)) == ""


def test_a_case_that_fails_tells_first() -> None:
    worse = guest(State.FAIL, Ended.PANIC, b=State.FAIL, c=State.FAIL)
    assert told(worse) == "diag: b"
    assert told(guest(State.FAIL, Ended.PANIC, a=State.PASS, b=State.PASS)) == (
        "kernel: diag: guest finished"
    )
    assert told(guest(State.FAIL, b=State.PASS)) == "diag: a"
    assert told(guest(State.FAIL, a=State.PASS, b=State.PASS)) == "diag: diag"


def test_what_failed_before_or_is_better_now_does_not_tell() -> None:
    assert told(guest(a=State.PASS, b=State.PASS, c=State.PASS)) == ""
    assert told(guest(a=State.PASS, b=State.PASS, d=State.FAIL)) == ""
    assert told(guest(a=State.PASS, b=State.SKIP, c=State.FAIL)) == ""


def test_a_case_that_the_series_fixes_tells_where_it_passes_on_base() -> None:
    assert told(guest(a=State.PASS, b=State.PASS, c=State.PASS), ("c",)) == "diag: c"


def test_a_complaint_of_the_kernel_tells() -> None:
    splats = scan_console(WARNING)
    assert splats and told(replace(GOOD, splats=splats)).startswith("kernel: ")
    assert find_telling("diag", replace(GOOD, splats=splats), replace(GOOD, splats=splats)) == ""
