# SPDX-License-Identifier: GPL-2.0-only
"""ci.logs.splats: every row against its example, the reports of four kernels alone and behind each
other, forms of lines, fingerprints, clean consoles, hostile ones."""

import random
import re
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ci.logs.splats import EXCERPT_CHARS, MAX_SPLATS, scan_console, unite_scans
from ci.logs.titles import ROWS, Row, find_titles
from tests.conftest import ROOT
from tests.logs.fuzz_splats import check_once
from tests.logs.reports import VERSIONS, Report, read_reports, stamped

DATA = ROOT / "tests/data"
REPORTS = {version: read_reports(version) for version in VERSIONS}
ALL = [report for reports in REPORTS.values() for report in reports]


def read(name: str) -> str:
    return (DATA / f"dmesg.{name}.log").read_bytes().decode()


CLEAN = read("clean")
SUMMARY = "kmemleak-summary"
QUIET = "".join(CLEAN.splitlines(keepends=True)[:30])


def prints(console: str) -> list[str]:
    return [splat.fingerprint for splat in scan_console(console)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.kind}-{row.example[:20]}")
def test_each_row_knows_its_example(row: Row) -> None:
    found = scan_console(f"[    0.1] x\r\n[    1.000000][   T12] {row.example}\r\n[    1.1] y\r\n")
    assert [(splat.kind, splat.line, splat.title) for splat in found] == [
        (row.kind, 2, row.example[:200])
    ]
    assert next(found for found, _ in find_titles(row.example)) is row


@pytest.mark.parametrize("report", ALL, ids=lambda report: report.name)
def test_each_report_is_one_complaint(report: Report) -> None:
    """Alone, with time stamps, with the caller, with levels, among ordinary lines."""
    want = list(report.fingerprints)
    assert prints(report.text) == want
    assert prints(CLEAN + stamped(report.text) + CLEAN) == want
    assert prints(stamped(report.text, caller="[  T412]")) == want
    assert prints(stamped(report.text, caller="[  T412@C0]").replace("[", "<4>[", 1)) == want
    assert prints(stamped(report.text, caller=" [ C0]").replace("\n", "\r\n")) == want


def test_every_row_has_a_report() -> None:
    seen = {splat.kind for report in ALL for splat in scan_console(report.text)}
    parts = {"kasan-range", "rcu-starved", "hung-owner"}
    assert seen == {row.kind for row in ROWS} - parts | {"trace"}


# One report of each kind, of whatever kernel
KINDS = list({report.fingerprints[0].split()[0]: report for report in ALL}.values())


@pytest.mark.parametrize("between", ["", QUIET], ids=["at-once", "later"])
@pytest.mark.parametrize("first", KINDS, ids=lambda report: report.name)
def test_no_report_hides_behind_another(first: Report, between: str) -> None:
    """Every ordered pair of kinds: each report B stands once, right behind the report A."""
    others = [other for other in KINDS if other is not first]
    console = "".join(first.text + between + other.text + between for other in others)
    assert set(prints(console)) == {report.fingerprints[0] for report in KINDS} - {SUMMARY}


@pytest.mark.parametrize("kind", sorted({report.fingerprints[0].split()[0] for report in ALL}))
def test_no_report_hides_behind_one_of_its_kind(kind: str) -> None:
    same = [report for report in ALL if report.fingerprints[0].split()[0] == kind]
    for first in same:
        for second in same:
            want = [*dict.fromkeys(first.fingerprints + second.fingerprints)]
            assert prints(first.text + second.text) == want, (first.name, second.name)
            assert prints(first.text + QUIET + second.text) == want, (first.name, second.name)


@pytest.mark.parametrize(
    "before", ["", "mptcp: starting...", "  ", "** 12 printk messages dropped ** "]
)
@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.kind}-{row.example[:20]}")
def test_a_title_is_found_anywhere_in_a_line(row: Row, before: str) -> None:
    (splat,) = scan_console(f"[    1.000000] {before}{row.example}\n")
    assert splat.kind == row.kind
    assert row.kind in {
        splat.kind for splat in scan_console(f"x{before}[    1.000000] {row.example}")
    }


OLDER = {
    "[ INFO: possible circular locking dependency detected ]": "lockdep possible circular locking"
    " dependency detected",
    "[ INFO: inconsistent lock state ]": "lockdep inconsistent lock state",
    "[ INFO: possible recursive locking detected ]": "lockdep possible recursive locking detected",
    "[ INFO: SOFTIRQ-safe -> SOFTIRQ-unsafe lock order detected ]": "lockdep SOFTIRQ-safe ->"
    " SOFTIRQ-unsafe lock order detected",
    "[ INFO: suspicious RCU usage. ]": "rcu-usage",
    "[ BUG: bad unlock balance detected! ]": "lockdep bad unlock balance detected",
    "[ BUG: held lock freed! ]": "lockdep held lock freed",
    "[ BUG: mptcp_connect/412 still has locks held! ]": "lockdep still has locks held!",
    "[ BUG: lock held when returning to user space! ]": "lockdep lock held when returning to user"
    " space",
    "WARNING: at net/mptcp/pm.c:12 mptcp_pm_rm+0x12/0x34()": "warning net/mptcp/pm.c"
    " mptcp_pm_rm+0x12/0x34",
    "PANIC: early exception 0e rip 10:ffffffff81a2b3c4 error 0 cr2 0": "double-fault early"
    " exception",
    "BUG: unable to handle kernel paging request at ffff888004a3c0a8": "page-fault",
    "IPv4: Attempt to release alive inet socket 00000000a1b2c3d4": "state Attempt to release alive"
    " inet socket",
}


@pytest.mark.parametrize("line", OLDER)
def test_forms_of_other_kernels(line: str) -> None:
    assert prints(f"[    1.000000] {line}\n") == [OLDER[line]]


@pytest.mark.parametrize(
    "line",
    [
        "ODEBUG: Out of memory. ODEBUG disabled",
        "ODEBUG: selftest passed",
        "kmemleak: Kernel memory leak detector initialized (mem pool available: 15709)",
        "kmemleak: Kernel memory leak detector disabled",
        "mptcp_connect[412]: segfault at 8 ip 00007f2a1b2c3d4e sp 00007ffd1b2c3d40 error 4",
        "traps: mptcp_connect[412] general protection fault ip:7f2a1b2c3d4e error:0 in a",
        "Spectre V2 : WARNING: Unprivileged eBPF is enabled with eIBRS on, data leaks possible!",
        "WARNING: at least two of them are old",
        "DEBUG: a line of a program",
        "CONFIG_DEBUG: y",
        "INFO: lockdep is turned off.",
        "rcu: INFO: Stall ended before state dump start",
        "INFO: NMI handler (perf_event_nmi_handler) took too long to run: 1.234 msecs",
        "LSM: initializing lsm=lockdown,capability,landlock,yama,integrity",
        "x86/mm: Checked W+X mappings: passed, no W+X pages found.",
        "PCI: BIOS BUG #81[49435000] found",
        "TCP: request_sock_TCP: Possible SYN flooding on port 10000. Sending cookies.",
        "Code: 42 55 47 3a 20 61 20 62 <0f> 0b",
        "Object   ffff888004a3c080: 42 55 47 3a 20 61 20 62 20 63 20 64  BUG: a b c d",
        "---[ end Kernel panic - not syncing: Fatal exception ]---",
        "# INFO: task of this test is to block for more than 10 seconds",
    ],
)
def test_what_is_no_complaint(line: str) -> None:
    assert prints(f"[    1.000000] {line}\n") == []


def test_an_ordinary_boot_has_no_complaint() -> None:
    assert scan_console(CLEAN * 3) == ()


def test_a_block_is_what_belongs_to_it() -> None:
    (splat,) = scan_console(read("warning"))
    assert splat.fingerprint.startswith("warning net/mptcp/subflow.c subflow_syn_recv_sock+0x")
    assert splat.line == 2
    assert "tcp_check_req" in splat.excerpt and "ordinary line" not in splat.excerpt


def test_a_panic_that_carries_out_an_oops_is_not_another() -> None:
    (splat,) = scan_console(read("oops-panic"))
    assert (splat.kind, splat.fingerprint) == ("gpf", "gpf mptcp_pm_nl_work")
    assert "Fatal exception" in splat.excerpt


PANIC = "[    9.000000] Kernel panic - not syncing: "


def test_a_panic_of_its_own_is_one() -> None:
    killed = f"{PANIC}Attempted to kill init! exitcode=0x0000000b\n"
    assert [splat.kind for splat in scan_console(read("warning") + killed)] == ["warning", "panic"]
    fatal = f"{PANIC}Fatal exception\n"
    assert prints(fatal) == ["panic Fatal exception"]
    # A WARN does not end in "Fatal exception": the oops that did is lost
    assert len(scan_console(read("warning") + fatal)) == 2
    assert len(scan_console(read("oops-panic") + QUIET + fatal)) == 2


def test_a_trace_after_a_gap_belongs_to_nobody() -> None:
    title, trace = (
        "INFO: task a:1 blocked for more than 120 seconds.\n",
        "Call Trace:\n f+0x1/0x2\n",
    )
    assert prints(title + trace) == ["hung-task f"]
    assert prints(title + "** 7 printk messages dropped **\n" + trace) == ["hung-task", "trace f"]
    assert prints("unregister_netdevice: waiting for lo to become free\n" + trace) == [
        "netdev-leak lo",
        "trace f",
    ]


def warned(place: str, text: str = "", line: int = 12) -> str:
    said = f"{text}\n" if text else ""
    return (
        f"------------[ cut here ]------------\n{said}"
        f"WARNING: CPU: 0 PID: 4 at net/mptcp/pm.c:{line} mptcp_pm_rm+{place}\n"
        "---[ end trace 0000000000000000 ]---\n"
    )


def test_two_warnings_in_one_function_are_two() -> None:
    assert len(scan_console(warned("0x12/0x340") + warned("0x52/0x340"))) == 2
    assert (
        len(scan_console(warned("0x12/0x340", "gone: 12") + warned("0x52/0x340", "odd: 12"))) == 2
    )
    # A series moves lines; where it leaves the function alone, the place in the code stays
    assert prints(warned("0x12/0x340", line=12)) == prints(warned("0x12/0x340", line=99))
    # With a text the place does not matter, nor do the numbers in it
    assert prints(warned("0x12/0x340", "gone: 12")) == prints(warned("0x92/0x390", "gone: 7"))


def hung(task: str, function: str) -> str:
    return (
        f"INFO: task {task} blocked for more than 120 seconds.\nCall Trace:\n"
        f" __schedule+0x1/0x2\n schedule+0x1/0x2\n {function}+0x1/0x2\n"
    )


def test_who_hangs_is_known_by_the_function() -> None:
    assert prints(hung("kworker/0:2:55", "f") + hung("kworker/1:1:12", "f")) == ["hung-task f"]
    assert prints(hung("a:1", "f") + hung("a:1", "g")) == ["hung-task f", "hung-task g"]
    assert prints(hung("a:1", "synchronize_rcu_expedited")) == ["hung-task synchronize_rcu"]


@pytest.mark.parametrize("name", ["warning", "oops-panic", "refcount"])
def test_fingerprints_outlive_another_run(name: str) -> None:
    text = read(name)
    other = re.sub(r"\d+\.\d{6}", "77.654321", text)
    other = (
        re.sub(r"PID: \d+", "PID: 31", other).replace("CPU: 0", "CPU: 1").replace(".c:8", ".c:9")
    )
    other = other.replace(".constprop.0", ".isra.3").replace("dead000000000122", "dead000000000444")
    assert other != text
    assert prints(other) == prints(text)


def test_leaks_are_told_by_their_backtraces() -> None:
    summary = "kmemleak: 2 new suspected memory leaks (see /sys/kernel/debug/kmemleak)\n"
    leak = "unreferenced object 0xffff888004a3c000 (size 64):\n  backtrace (crc 0):\n"
    of = {name: f"{leak}    __kmalloc_noprof+0x1/0x2\n    {name}+0x1/0x2\n" for name in "fg"}
    assert prints(summary + of["f"] + of["g"] + of["f"]) == ["kmemleak f", "kmemleak g"]
    assert prints(summary) == ["kmemleak-summary"]


def test_logs_of_one_guest_are_united() -> None:
    whole = REPORTS["6.12"]
    stamps = scan_console("".join(stamped(report.text) for report in whole))
    records = scan_console("".join(f"<4>{line}\n" for report in whole for line in report.lines))
    assert [splat.fingerprint for splat in records] == [splat.fingerprint for splat in stamps]
    assert len(unite_scans(stamps, records)) == len(stamps)
    bare, full = scan_console(hung("a:1", "f").splitlines()[0]), scan_console(hung("a:1", "f"))
    assert [splat.fingerprint for splat in unite_scans(bare, full)] == ["hung-task f"]
    assert [splat.fingerprint for splat in unite_scans(full, bare)] == ["hung-task f"]
    other = scan_console(hung("b:1", "g"))
    assert {splat.fingerprint for splat in unite_scans(bare, other)} == {"hung-task", "hung-task g"}


def test_no_line_is_too_long_for_a_title() -> None:
    for before in ("x" * 50_000, "x\x07" * 50_000, "\u202e" * 50_000):
        (splat,) = scan_console(f"{before}unregister_netdevice: waiting for lo to become free")
        assert splat.fingerprint == "netdev-leak lo" and splat.title.startswith("unregister")


def test_what_is_kept_can_be_seen() -> None:
    text = "BUG: \u202etnorw\u2028\x07 \ud800\n \x1b[31mnext\u200e\n"
    (splat,) = scan_console(text)
    assert (splat.title + splat.fingerprint + splat.excerpt.replace("\n", "")).isprintable()
    assert "\\u202e" in splat.title and "next" in splat.excerpt


def test_repeats_are_dropped_and_others_kept() -> None:
    other = read("warning").replace("subflow_syn_recv_sock", "subflow_v6_conn_request")
    assert len(scan_console(read("warning") * 3 + other)) == 2


def test_there_is_an_end_to_it_that_is_told() -> None:
    many = [f"WARNING: CPU: 0 PID: 1 at a/b{n}.c:1 f{n}+0x1/0x2\n" for n in range(500)]
    assert len(scan_console("".join(many[:MAX_SPLATS]))) == MAX_SPLATS
    found, other = scan_console("".join(many)), scan_console("".join(many) + "BUG: more\n")
    assert len(found) == MAX_SPLATS + 1 and found[-1].kind == "capped"
    assert found[-1].fingerprint != other[-1].fingerprint
    assert scan_console("".join(many)) == found


NOISE = st.lists(
    st.sampled_from(
        [*QUIET.splitlines(), "Call Trace:", " f+0x1/0x2", "=" * 40, "RIP: 0010:f+0x1/0x2"]
    )
    | st.text(max_size=60),
    max_size=12,
).map(lambda lines: "".join(f"{line}\n" for line in lines))


@settings(max_examples=100, deadline=None)
@given(NOISE, st.sampled_from(ALL), st.sampled_from(ALL), NOISE)
def test_noise_hides_no_report(before: str, other: Report, report: Report, after: str) -> None:
    kinds = {splat.kind for splat in scan_console(report.text)}
    console = f"{before}\n{other.text}{before}\n{report.text}{after}"
    assert kinds - {SUMMARY} <= {splat.kind for splat in scan_console(console)}


def test_random_consoles_break_no_rule() -> None:
    for seed in range(30):
        check_once(random.Random(seed))


PIECES = st.sampled_from(
    [row.example for row in ROWS]
    + [
        "Call Trace:",
        " f+0x1/0x2",
        "---[ end trace 0 ]---",
        "[ cut here ]",
        "=" * 30,
        "\n",
        "[ 1.2] ",
    ]
    + ["\x1b[", "é", "[    1.234567]", "** 1 printk messages dropped **"]
)


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.text(), st.lists(PIECES).map("".join), st.lists(PIECES).map("\n".join)))
def test_nothing_raises(text: str) -> None:
    found = scan_console(text)
    assert found == scan_console(text)
    assert len({splat.fingerprint for splat in found}) == len(found)
    assert all(
        0 < len(splat.fingerprint) <= 200
        and splat.line >= 1
        and len(splat.excerpt) <= EXCERPT_CHARS
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
    "died": ": 0000 [#" * 100_000,
    "dropped": "** 1 printk messages dropped **\n" * 40_000,
    "lock": ("WARNING: possible recursive locking detected\n" + "(" * 1999 + "\n") * 500,
    "cuts": "------------[ cut here ]------------\n" * 30_000,
    **{f"start-{at}": start * 5_000 for at, row in enumerate(ROWS) for start in row.starts[:1]},
}


@pytest.mark.parametrize("kind", HEAVY)
def test_heavy_input_takes_linear_time(kind: str) -> None:
    begin = time.process_time()
    scan_console(HEAVY[kind])
    assert time.process_time() - begin < 4
