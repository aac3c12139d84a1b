# SPDX-License-Identifier: GPL-2.0-only
"""ci.guest.tracing: what QEMU and bash tell of the code that ran."""

import itertools
import os
import subprocess
from pathlib import Path

import pytest

from ci.base.errors import StageError
from ci.guest.modes import Mode, demand_repeatable
from ci.guest.tracing import (
    LONGEST,
    MOST_RANGES,
    list_ranges,
    read_addresses,
    read_lines,
    trace_mode,
)
from ci.suites.collection import Script
from tests.conftest import ROOT, write

SCRIPT = """\
set -eu
f()
{
	local a=$1
	if [ "$a" = 1 ]; then
		return 0
	else
		echo never
	fi
}
for i in 1 1; do
	f "$i" |
		cat
done
x=$(f 1)
( f 1 )
bash ./other.sh
false || true
"""


def test_pieces_of_code() -> None:
    assert list_ranges([]) == []
    assert list_ranges([9000, 10, 20]) == [(10, 20 + LONGEST), (9000, 9000 + LONGEST)]
    many = list_ranges(range(0, 10**9, 10**6))
    assert len(many) == MOST_RANGES and many[0][0] == 0 and many[-1][1] > 999 * 10**6
    assert all(one[1] < two[0] for one, two in itertools.pairwise(many))


def test_a_guest_is_watched_in_virtual_time() -> None:
    mode = trace_mode(Mode("kvm", "asked for"), [0x1000])
    words = mode.qemu
    assert words == ("-d", "in_asm", "-dfilter", f"0x1000..{0x1000 + LONGEST:#x}", "-D", "asm.log")
    assert mode.machine.repeatable and mode.needs.environment["BASH_ENV"] == "/etc/trace.bash"
    demand_repeatable(mode.vcpus, mode.qemu)
    assert trace_mode(Mode("virtual", "", seed=7), []).seed == 7


def test_instructions_in_a_log(tmp_path: Path) -> None:
    (log := tmp_path / "asm.log").write_bytes(
        b"----------------\nIN: mptcp_f\n0xffffffff81000010:  55   pushq    %rbp\n"
        b"0xffffffff81000011:  90\n0xffffffff81000010:  55\n0x00012345:  c3\nx 0x9999999999: \n\xff"
    )
    assert read_addresses(log) == [0x12345, 0xFFFFFFFF81000010, 0xFFFFFFFF81000011]
    assert read_addresses(tmp_path / "none") == []
    log.write_bytes(b"----------------\nIN: mptcp_f\nOBJD-T: 554889e5\n")
    with pytest.raises(StageError, match="without a disassembler"):
        read_addresses(log)


def test_lines_are_told_by_bash_itself(tmp_path: Path) -> None:
    """The real file of the guest, with a file instead of the serial port."""
    write(tmp_path, {"a.sh": SCRIPT, "other.sh": "true\n"})
    text = (ROOT / "images/guest/etc/trace.bash").read_text(encoding="utf-8")
    port = tmp_path / "port"
    (env := tmp_path / "env").write_text(text.replace(">/dev/ttyS0", f">>{port}"), encoding="utf-8")
    done = subprocess.run(
        ["bash", "./a.sh"],
        cwd=tmp_path,
        env=os.environ | {"BASH_ENV": str(env)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    lines = read_lines(port, Script("a.sh", folder="net"))
    assert lines == {
        "tools/testing/selftests/net/a.sh": [1, 3, 4, 5, 6, 11, 12, 13, 15, 16, 17, 18],
        "tools/testing/selftests/net/other.sh": [1],
    }


def test_what_a_guest_says_of_lines_is_data(tmp_path: Path) -> None:
    (log := tmp_path / "vng.log").write_bytes(
        b"ran ./a.sh:3\r\nran ../lib.sh:4\nran ../../../../etc/passwd:5\nran /selftests/x.sh:6\n"
        b"ran a b:7\nran ./a.sh:x\n\x1b[2Jran ./a.sh:9\nran ./a.sh:99999999\n"
    )
    assert read_lines(log, Script("a.sh", folder="net/mptcp")) == {
        "tools/testing/selftests/net/lib.sh": [4],
        "tools/testing/selftests/net/mptcp/a.sh": [3],
        "tools/testing/selftests/x.sh": [6],
    }
