# SPDX-License-Identifier: GPL-2.0-only
"""How long the scan takes, and how much memory: ``python -m tests.logs.measure_splats [MB]``."""

import resource
import subprocess
import sys
import time

from ci.logs.splats import scan_console
from tests.conftest import ROOT
from tests.logs.reports import read_reports, stamped

CLEAN = (ROOT / "tests/data/dmesg.clean.log").read_text()
SPLATS = "".join(stamped(report.text) for report in read_reports("6.12"))
CONSOLES = {
    "clean": CLEAN,
    "full of splats": SPLATS,
    "titles without an end": "".join(f"{line}\n" for line in SPLATS.splitlines() if "WARN" in line),
    "one title on each short line": "BUG: x\n",
    "traces without a title": "Call Trace:\n f+0x1/0x2\n",
    "one line": "mptcp: WARNING INFO: ",
    "one line of titles": "WARNING: inconsistent lock state ",
    "dropped marks": "** 12 printk messages dropped **\n",
    "empty lines": "\n",
}


def measure_one(name: str, size: int) -> None:
    """Scan one console of ``size`` characters in this process."""
    piece = CONSOLES[name]
    console = (piece * (size // len(piece) + 1))[:size]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.process_time()
    found = scan_console(console)
    took = time.process_time() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(
        f"{name:30} {size / 1e6:6.0f} MB {took:7.2f} s, peak {peak / 1024:5.0f} MB"
        f" ({(peak - before) / 1024:4.0f} MB for the scan), {len(found)} found"
    )


if __name__ == "__main__":
    if len(sys.argv) > 2:
        measure_one(sys.argv[2], int(float(sys.argv[1]) * 1e6))
    else:
        for name in CONSOLES:
            size = sys.argv[1] if len(sys.argv) > 1 else "100"
            subprocess.run([sys.executable, "-m", __spec__.name, size, name], check=True)
