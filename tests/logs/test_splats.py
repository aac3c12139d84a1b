# SPDX-License-Identifier: GPL-2.0-only
"""ci.logs.splats: every row against its example, whole blocks, clean consoles, hostile ones."""

import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ci.logs.splats import EXCERPT_CHARS, MAX_SPLATS, ROWS, Row, scan_console
from tests.conftest import ROOT

DATA = ROOT / "tests/data"


def read(name: str) -> str:
    return (DATA / f"dmesg.{name}.log").read_bytes().decode()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.kind}-{row.pattern.pattern[:20]}")
def test_each_row_knows_its_example(row: Row) -> None:
    found = scan_console(f"[    0.1] x\r\n[    1.000000][   T12] {row.example}\r\n[    1.1] y\r\n")
    assert [(splat.kind, splat.line, splat.title) for splat in found] == [
        (row.kind, 2, row.example[:200])
    ]
    assert next(other for other in ROWS if other.pattern.match(row.example)) is row


def test_an_ordinary_boot_has_no_complaint() -> None:
    assert scan_console(read("clean")) == ()


def test_a_warning_block_is_one_complaint() -> None:
    (splat,) = scan_console(read("warning"))
    assert splat.fingerprint == "warning net/mptcp/subflow.c subflow_syn_recv_sock"
    assert splat.line == 2
    assert "tcp_check_req" in splat.excerpt and "ordinary line" not in splat.excerpt


def test_the_newer_form_has_the_same_fingerprint() -> None:
    text = (
        "WARNING: net/mptcp/subflow.c:900 at subflow_syn_recv_sock+0x1/0x2, CPU#1:"
        " mptcp_connect/9\n"
    )
    assert [splat.fingerprint for splat in scan_console(text)] == [
        "warning net/mptcp/subflow.c subflow_syn_recv_sock"
    ]


def test_a_panic_that_carries_out_an_oops_is_not_another() -> None:
    (splat,) = scan_console(read("oops-panic"))
    assert (splat.kind, splat.fingerprint) == ("gpf", "gpf mptcp_pm_nl_work")
    assert "Fatal exception" in splat.excerpt


def test_a_panic_of_its_own_is_one() -> None:
    text = (
        read("warning")
        + "[    9.0] Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b\n"
    )
    assert [splat.kind for splat in scan_console(text)] == ["warning", "panic"]
    only = scan_console("[    9.0] Kernel panic - not syncing: Fatal exception\n")
    assert [splat.fingerprint for splat in only] == ["panic Fatal exception"]


def test_a_reporter_is_named_after_its_caller() -> None:
    (splat,) = scan_console(read("refcount"))
    assert splat.fingerprint == "refcount underflow mptcp_close_ssk"


def test_a_trace_without_a_title() -> None:
    text = (
        "[ 1.0] Call Trace:\n[ 1.0]  <TASK>\n[ 1.0]  dump_stack_lvl+0x1/0x2\n[ 1.0] "
        " mptcp_close+0x3/0x4\n"
    )
    assert [(splat.kind, splat.fingerprint) for splat in scan_console(text)] == [
        ("trace", "trace mptcp_close")
    ]


@pytest.mark.parametrize("name", ["warning", "oops-panic", "refcount"])
def test_fingerprints_outlive_a_rebuild(name: str) -> None:
    text = read(name)
    other = re.sub(r"\d+\.\d{6}", "77.654321", text)
    other = re.sub(r"\+0x[0-9a-f]+/0x[0-9a-f]+", "+0x99/0xabc", other)
    other = (
        re.sub(r"PID: \d+", "PID: 31", other).replace("CPU: 0", "CPU: 1").replace(".c:8", ".c:9")
    )
    other = other.replace(".constprop.0", ".isra.3").replace("dead000000000122", "dead000000000444")
    assert other != text
    assert [one.fingerprint for one in scan_console(other)] == [
        one.fingerprint for one in scan_console(text)
    ]


def test_repeats_are_dropped_and_others_kept() -> None:
    other = read("warning").replace("subflow_syn_recv_sock", "subflow_v6_conn_request")
    assert len(scan_console(read("warning") * 3 + other)) == 2


def test_there_is_an_end_to_it() -> None:
    text = "".join(f"WARNING: CPU: 0 PID: 1 at a/b{n}.c:1 f{n}+0x1/0x2\n" for n in range(500))
    assert len(scan_console(text)) == MAX_SPLATS


PIECES = st.sampled_from(
    [row.example for row in ROWS]
    + ["Call Trace:", " f+0x1/0x2", "---[ end trace 0 ]---", "\n", "[ 1.2] ", "\x1b[", "é"]
)


@settings(max_examples=120, deadline=None)
@given(st.one_of(st.text(), st.lists(PIECES).map("".join), st.lists(PIECES).map("\n".join)))
def test_nothing_raises(text: str) -> None:
    found = scan_console(text)
    assert found == scan_console(text)
    assert len({splat.fingerprint for splat in found}) == len(found)
    assert all(
        splat.fingerprint and splat.line >= 1 and len(splat.excerpt) <= EXCERPT_CHARS
        for splat in found
    )


HEAVY = {
    "line": "BUG: " * 200_000,
    "warnings": "WARNING: " * 100_000 + "at ",
    "gpf": "general protection fault" * 50_000,
    "trace": "Call Trace:\n" + " f+0x1/0x2\n" * 100_000,
    "titles": "BUG: x\n" * 30_000,
    "stamps": "[" * 500_000,
    "lines": "BUG WARNING: at x INFO: task\n" * 40_000,
    "long": ("WARNING: " + "at a.c at " * 60 + "\n") * 3_000,
}


@pytest.mark.parametrize("kind", HEAVY)
def test_heavy_input_takes_linear_time(kind: str) -> None:
    begin = time.process_time()
    scan_console(HEAVY[kind])
    assert time.process_time() - begin < 4
