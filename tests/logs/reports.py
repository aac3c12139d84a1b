# SPDX-License-Identifier: GPL-2.0-only
"""Whole reports of four kernels, written after their format strings, with the right answers.

A line ``@ fingerprint`` in ``tests/data/splats.VERSION.txt`` begins a report (one such line for
each complaint in it). ``%code FUNCTION`` stands for the lines that show where the processor was,
``%trace FUNCTION...`` for a call trace; a function without a place is at ``+0x1a/0x2b0``.
"""

from dataclasses import dataclass

from tests.conftest import ROOT

VERSIONS = ("5.10", "6.1", "6.12", "7.3")
REGISTERS = (
    "Code: 48 89 df e8 a7 35 09 00 4c 89 f7 e8 3f 63 ce 06 e9 b5 00 00 <0f> 0b c6 05 92 7d 18 08",
    "RSP: 0018:ffffc90000a5bc48 EFLAGS: 00010246 ORIG_RAX: ffffffffffffffff",
    "RAX: 0000000000000000 RBX: ffff888004a3c000 RCX: 0000000000000000",
    "R13: ffff888004a3c0a8 R14: ffff888004a3c0c0 R15: dffffc0000000000",
    "FS:  0000000000000000(0000) GS:ffff88803ec00000(0000) knlGS:0000000000000000",
    "CS:  0010 DS: 0000 ES: 0000 CR0: 0000000080050033",
)


@dataclass(frozen=True)
class Report:
    """A report of a kernel: its lines without time stamps, the fingerprints it has to have."""

    version: str
    fingerprints: tuple[str, ...]
    lines: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.version} {self.fingerprints[0]}"

    @property
    def text(self) -> str:
        return "".join(f"{line}\n" for line in self.lines)


def _placed(function: str) -> str:
    return function if "+" in function else f"{function}+0x1a/0x2b0"


def _expanded(line: str, version: str) -> list[str]:
    word, *functions = line.split()
    if word == "%code":
        cpu = f"CPU: 0 UID: 0 PID: 412 Comm: mptcp_connect Not tainted {version}.0 #1"
        place = [f"RIP: 0010:{_placed(functions[0])}", *REGISTERS]
        return ["Modules linked in:", cpu, "Hardware name: QEMU Ubuntu 24.04 PC", *place]
    if word == "%trace":
        frames = [f" {_placed(name)}" for name in functions]
        return ["Call Trace:", " <TASK>", " ? asm_exc_page_fault+0x22/0x30", *frames, " </TASK>"]
    return [line]


def read_reports(version: str) -> list[Report]:
    """The reports of one kernel."""
    found: list[tuple[list[str], list[str]]] = []
    for line in (ROOT / f"tests/data/splats.v{version}.txt").read_text().splitlines():
        if line.startswith("@ "):
            if not found or found[-1][1]:
                found.append(([], []))
            found[-1][0].append(line[2:])
        else:
            found[-1][1].extend(_expanded(line, version) if line.startswith("%") else [line])
    return [Report(version, tuple(names), tuple(lines)) for names, lines in found]


def stamped(text: str, begin: int = 5, caller: str = "") -> str:
    """A text as the console shows it: each line with a time stamp, and the caller if one is
    given."""
    lines = text.removesuffix("\n").split("\n")
    return "".join(f"[{begin:5}.{at:06}]{caller} {line}\n" for at, line in enumerate(lines))
