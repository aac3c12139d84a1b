# SPDX-License-Identifier: GPL-2.0-only
"""Random consoles for the scan of the kernel's complaints:
``python -m tests.logs.fuzz_splats SECONDS SEED``. It ends with status 1 at the first that breaks a
rule."""

import random
import sys
import time

from ci.logs.splats import EXCERPT_CHARS, MAX_TITLE, Splat, scan_console
from ci.logs.titles import ROWS
from tests.conftest import ROOT
from tests.logs.reports import VERSIONS, Report, read_reports

REPORTS = [report for version in VERSIONS for report in read_reports(version)]
QUIET = (ROOT / "tests/data/dmesg.clean.log").read_text().splitlines()
MARKS = ["CPU: 0 PID: 1", " <IRQ>", "", "  indented", "-" * 40, "=" * 40, "\x1b[31m", "x\x07y" * 99]
PIECES = [
    *(row.example for row in ROWS), "[    1.234567] ", "\n", "[    1.234567][  T12] ", "<4>", "\r",
    "** 3 printk messages dropped **\n", "Call Trace:\n", "------------[ cut here ]------------\n",
    "=" * 66, " </TASK>\n", "\x1b[31m", " f+0x1/0x2\n", "RIP: 0010:f+0x1/0x2\n", "\ud800", "\0",
]  # fmt: skip
# It belongs to whatever oops stands before it, and a lone trace to a report that has none
SHARED = ("panic Attempted to kill", "trace ", "kmemleak-summary")


def scan(text: str) -> set[str]:
    """The fingerprints, bounded and in linear time: 40 microseconds for each character at most."""
    begin = time.process_time()
    found: tuple[Splat, ...] = scan_console(text)
    assert time.process_time() - begin < 0.05 + len(text) * 40e-6, text
    prints = {splat.fingerprint for splat in found}
    assert len(prints) == len(found), text
    for splat in found:
        assert splat.fingerprint and len(splat.fingerprint) <= MAX_TITLE, text
        assert len(splat.title) <= MAX_TITLE and len(splat.excerpt) <= EXCERPT_CHARS, text
        assert (splat.title + splat.excerpt.replace("\n", "")).isprintable(), text
    return prints


def mutate(text: str, random_: random.Random) -> str:
    for _ in range(random_.randint(1, 12)):
        at, end = sorted(random_.choices(range(len(text) + 1), k=2))
        middle = random_.choice(["", text[at:end] * 3, random_.choice(PIECES), chr(end % 0x3000)])
        text = text[:at] + middle + text[at + len(middle) // 2 :]
    return text


def noise(random_: random.Random) -> str:
    """Lines that are of no report."""
    lines = random_.choices([*QUIET, *MARKS], k=random_.randint(0, 40))
    return "".join(f"{line}\n" for line in lines)


def check_once(random_: random.Random) -> None:
    """Any text; and one report behind another, with noise around both, each with its answer."""
    first, second = (random_.choice(REPORTS) for _ in range(2))
    scan(mutate(first.text + second.text, random_))
    scan("".join(map(chr, random_.choices(range(random_.choice([128, 0x3000])), k=2000))))
    found = scan(noise(random_) + first.text + noise(random_) + second.text + noise(random_))
    wanted = {name for report in (first, second) for name in shown(report)}
    assert wanted <= found, (first.name, second.name, found)


def shown(report: Report) -> list[str]:
    return [name for name in report.fingerprints if not name.startswith(SHARED)]


if __name__ == "__main__":
    seconds, seed = float(sys.argv[1]), int(sys.argv[2])
    rounds, source, until = 0, random.Random(seed), time.monotonic() + seconds
    while time.monotonic() < until:
        check_once(source)
        rounds += 1
    print(f"{rounds} rounds, seed {seed}: no rule is broken")
