# SPDX-License-Identifier: GPL-2.0-only
"""The control log of a guest: what its init said, and the kernel's log as it stands in the ring
buffer, where no log level hides anything. Pure, linear, and nothing raises."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

END = "patchverdict: end"
# "6,339,5140900,-;NET: Registered PF_INET6 protocol family", "4,7,12,-,caller=T1;text"
_RECORD = re.compile(r"\d{1,4},(\d{1,20}),(\d{1,20}),[^;]{1,200};(.*)")
# "c0ffeec0ffeec0ffeec0ffeec0ffee00 boot 4fd2... 6.12.1": init's first words, before any script runs
_BOOT = re.compile(r"^([0-9a-f]{32}) boot ", re.M)
# "\x0a" in a record is a byte that may not stand there itself
_ESCAPED = re.compile(rb"\\x([0-9a-f]{2})")


@dataclass(frozen=True)
class KernelLog:
    """The ring buffer's records as a console shows them, each once. ``lost`` is how many are
    missing among them; ``ended`` says that all came that were logged before the script's end."""

    text: str = ""
    lost: int = 0
    ended: bool = False


@dataclass(frozen=True)
class Control:
    """``records`` are init's, kind -> the words of each of that kind."""

    records: Mapping[str, list[list[str]]] = field(default_factory=dict)
    log: KernelLog = KernelLog()

    def first(self, kind: str) -> list[str] | None:
        """The words of the first record of a kind; what follows may be another's."""
        return self.records[kind][0] if kind in self.records else None


def find_nonce(text: str) -> str:
    """The word that begins each record of init, empty where there is none yet."""
    found = _BOOT.search(text)
    return found[1] if found else ""


def read_control(text: str, nonce: str = "") -> Control:
    """A control log. Without the ``nonce`` it is the one of the first record."""
    nonce = nonce or find_nonce(text)
    records: dict[str, list[list[str]]] = {}
    shown: list[str] = []
    after, lost, ended = 0, 0, False
    for line in text.split("\n"):
        if record := _RECORD.match(line):
            number = int(record[1])
            if number < after:
                continue
            lost, after = lost + number - after, number + 1
            ended = ended or record[3] == END
            shown += _console_lines(int(record[2]), record[3])
        elif len(words := line.split()) > 1 and words[0] == nonce:
            records.setdefault(words[1], []).append(words[2:])
    return Control(records, KernelLog("\n".join(shown), lost, ended))


def _console_lines(microseconds: int, text: str) -> list[str]:
    """A record as the console prints it: a stamp before each of its lines."""
    stamp = f"[{microseconds // 1_000_000:5}.{microseconds % 1_000_000:06}] "
    if "\\x" in text:
        plain = _ESCAPED.sub(lambda found: bytes([int(found[1], 16)]), text.encode())
        text = plain.decode("utf-8", "replace")
    return [stamp + line for line in text.split("\n")]
