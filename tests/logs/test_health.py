# SPDX-License-Identifier: GPL-2.0-only
"""ci.logs.control and ci.logs.health: what init and the kernel's ring buffer say."""

import time

import pytest

from ci.logs.control import read_control
from ci.logs.health import (
    TAINTS,
    Health,
    Troubles,
    bits,
    flag_name,
    least_measured,
    read_health,
    without_tests,
)
from ci.logs.memory import Growth
from ci.logs.splats import scan_console
from tests.conftest import ROOT

NONCE = "c0ffee" * 5 + "00"
CLEAN = (ROOT / "tests/data/control.log").read_text(encoding="utf-8")
WARNING = "WARNING: CPU: 0 PID: 71 at net/mptcp/protocol.c:11 mptcp_accept+0x1/0x2"
BOOT = f"{NONCE} boot {'ab' * 20} 6.12.1\n"


def log(*records: tuple[int, str]) -> str:
    """A control log with these records of the kernel, (number, text)."""
    return BOOT + "".join(f"4,{number},1500000,-;{text}\n" for number, text in records)


def test_a_clean_log() -> None:
    control = read_control(CLEAN)
    assert control.first("end") == ["0", "5000", "1980"]
    assert control.first("nothing") is None
    lines = control.log.text.splitlines()
    assert lines[2] == "[    0.156013] Run /init as init process"
    assert lines[-1] == "[    8.441761] patchverdict: end" and len(lines) == 5
    found = read_health(control)
    none = Troubles(0, 0, 0)
    assert found == Health(none, none, 0, 0, ended=True, script_ms=3020)
    assert (found.taint, found.cleared, found.hidden) == (0, "", 0)


def test_of_the_kernels_own_tests_the_flag_that_they_set_is_nothing() -> None:
    said = CLEAN.replace(" before 0 ", f" before {1 << 18} ").replace(
        " after 0 ", f" after {1 << 18 | 1 << 9} "
    )
    found = without_tests(read_health(read_control(said)))
    assert [flag_name(bit) for bit in bits(found.taint)] == ["taint W (warning)"]
    assert found.script_ms is None and found.cleared == ""
    assert without_tests(Health()) == Health()


def test_records_are_inits_and_the_first_of_a_kind_counts() -> None:
    text = f"noise\n{BOOT}other end 0 1\n{NONCE} end 1 2500 100\n{NONCE} end 0 1 1\n{NONCE}\n"
    control = read_control(text)
    assert dict(control.records) == {
        "boot": [["ab" * 20, "6.12.1"]],
        "end": [["1", "2500", "100"], ["0", "1", "1"]],
    }
    assert control.first("end") == ["1", "2500", "100"]
    assert read_control(text, "other").first("end") == ["0", "1"]
    assert read_control("").records == {}


def test_the_kernel_cannot_forge_a_record() -> None:
    """A line break in its text is written as an escape, and stays in its record."""
    control = read_control(log((0, f"x\\x0a{NONCE} end 0 1 1")))
    assert control.first("end") is None
    assert control.log.text.splitlines() == [
        "[    1.500000] x",
        f"[    1.500000] {NONCE} end 0 1 1",
    ]


@pytest.mark.parametrize(
    ("numbers", "lost"),
    [([0, 1, 2], 0), ([0, 1, 0, 1, 2], 0), ([0, 3, 4], 2), ([5], 5), ([0, 4, 2, 3, 6], 4)],
)
def test_numbers_tell_what_is_double_and_what_is_lost(numbers: list[int], lost: int) -> None:
    found = read_control(log(*((number, f"line {number}") for number in numbers))).log
    assert found.lost == lost and not found.ended
    shown = [line.split()[-1] for line in found.text.splitlines()]
    assert shown == sorted(set(shown))


def test_a_warning_is_seen_whatever_the_console_shows() -> None:
    text = log((0, "------------[ cut here ]------------"), (1, WARNING), (2, "Call Trace:"))
    (splat,) = scan_console(read_control(text).log.text)
    assert splat.fingerprint == "warning net/mptcp/protocol.c mptcp_accept+0x1/0x2"


@pytest.mark.parametrize(
    ("line", "counted"),
    [
        (WARNING, 1),
        ("WARNING: net/mptcp/protocol.c:11 at mptcp_accept+0x1/0x2, CPU#0: mptcp/71", 1),
        ("BUG: KASAN: slab-use-after-free in mptcp_close+0x1/0x2", 1),
        ("UBSAN: shift-out-of-bounds in net/mptcp/options.c:12:3", 1),
        ("BUG: scheduling while atomic: mptcp/71/0x00000002", 1),
        ("WARNING: possible circular locking dependency detected", 0),
        ("mptcp: a WARNING: CPU: 0", 0),
    ],
)
def test_what_the_kernel_counts_as_a_warning(line: str, counted: int) -> None:
    assert read_health(read_control(log((0, line)))).seen == counted


def troubles(before: str, after: str, *texts: str) -> Health:
    """Health of a guest with these counters."""
    text = log(*enumerate(texts)) + f"{NONCE} before {before}\n{NONCE} after {after}\n"
    return read_health(read_control(text))


def test_warnings_that_were_counted_and_not_shown() -> None:
    assert troubles("0 0 0", "512 2 0", WARNING).hidden == 1
    assert troubles("0 0 0", "512 1 0", WARNING).hidden == 0
    assert troubles("0 - -", "512 - -").hidden == 0


def test_counters_that_go_down() -> None:
    assert troubles("512 1 0", "512 1 0").cleared == ""
    assert troubles("512 1 0", "0 1 0").cleared == "taint W (warning)"
    found = troubles("640 3 1", "512 0 -")
    assert found.cleared == (
        "taint D (oops or BUG), the count of warnings (from 3 to 0),"
        " the count of oopses (from 1 to None)"
    )
    assert found.taint == 640


@pytest.mark.parametrize("words", ["", "x 0 0", "0 0", "0 0 0 0", "- 0 0", "-1 0 0"])
def test_counters_that_cannot_be_read(words: str) -> None:
    assert read_health(read_control(f"{BOOT}{NONCE} after {words}\n")).after is None


def test_flags_have_names() -> None:
    assert bits(0) == [] and bits(1 << 9 | 1 << 63) == [9, 63]
    assert flag_name(9) == "taint W (warning)" and flag_name(63) == "taint bit 63 (unknown)"
    assert len({letter for letter, _ in TAINTS}) == len(TAINTS)


def test_a_flood_is_read_in_linear_time() -> None:
    text = log(*((number, "x" * 100) for number in range(100_000))) + "\\x" * 1_000_000
    begin = time.process_time()
    assert read_health(read_control(text)).lost == 0
    assert time.process_time() - begin < 10


def counted(moment: str, mptcp: int, free: int, stack: int = 800) -> str:
    """What init says of memory."""
    pages = {
        "nr_free_pages": free,
        "nr_anon_pages": 10,
        "nr_file_pages": 20,
        "nr_slab_reclaimable": 30,
        "nr_slab_unreclaimable": 40,
        "nr_page_table_pages": 5,
        "nr_kernel_stack": stack,
        "ready": 100,
        "percpu": 60,
    }
    lines = [f"{moment}-cache MPTCP {mptcp} 1984", f"{moment}-cache TCP 4 2240"]
    lines += [f"{moment}-pages {name} {count}" for name, count in pages.items()]
    return "".join(f"{NONCE} {line}\n" for line in lines)


def test_memory_that_is_held_after_a_script() -> None:
    text = BOOT + counted("before", 2, 5000) + counted("after", 22, 4900, 880)
    found = read_health(read_control(text)).growth
    # A hundred pages less are free, of which twenty are stacks.
    assert found == {"MPTCP": Growth(20, 1984), "pages": Growth(80, 4096)}
    new = text.replace("after-cache TCP 4 2240", "after-cache new 9 96")
    grown = read_health(read_control(new)).growth
    assert grown and grown["new"] == Growth(9, 96)


@pytest.mark.parametrize("text", ["", counted("before", 2, 5000), f"{NONCE} after-cache x y z\n"])
def test_memory_that_was_not_counted(text: str) -> None:
    assert read_health(read_control(BOOT + text)).growth is None


@pytest.mark.parametrize(
    ("words", "busy"),
    [("0 2318 1980", 338), ("0 5 10", 0), ("0 5", None), ("0 x 10", None), ("0 -5 10", None)],
)
def test_the_time_that_the_cpus_were_busy(words: str, busy: int | None) -> None:
    text = f"{BOOT}{NONCE} end {words}\n{NONCE} probe {words}\n"
    found = read_health(read_control(text))
    assert (found.script_ms, found.probe_ms) == (busy, busy)
    assert read_health(read_control(text.replace("probe 0", "probe 1"))).probe_ms is None


def test_what_is_measured_counts_as_far_as_each_attempt_shows_it() -> None:
    one = Health(lost=1, growth={"a": Growth(9, 8), "b": Growth(1, 8)}, script_ms=90, probe_ms=None)
    other = Health(lost=2, growth={"a": Growth(4, 8)}, script_ms=70, probe_ms=5)
    first, second = least_measured([one, other])
    assert first == Health(lost=1, growth={"a": Growth(4, 8)}, script_ms=70, probe_ms=5)
    assert second == Health(lost=2)
    assert least_measured([one]) == (one,)
