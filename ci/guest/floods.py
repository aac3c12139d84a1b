# SPDX-License-Identifier: GPL-2.0-only
"""Logs of a guest that are longer than any may be. QEMU writes them as fast as the guest prints, so
who looks at them now and then sees an end that depends on the host. What is kept does not: the
flooded log is cut at the same byte each time, and the others, whose ends the moment decides, are
put aside."""

import os
from pathlib import Path

from ci.logs.ending import MOST_CONTROL, MOST_LOG


def most_of(name: str) -> int:
    """The bytes that a log may have."""
    return MOST_CONTROL if name == "control" else MOST_LOG


def find_flooded(folder: Path, names: tuple[str, ...]) -> str:
    """The first of the logs that is too long, empty for none."""
    for name in names:
        path = folder / f"{name}.log"
        if path.exists() and path.stat().st_size > most_of(name):
            return name
    return ""


def cut_logs(folder: Path, names: tuple[str, ...], flooded: str, *, repeatable: bool) -> None:
    """Cut ``flooded``, with a mark. Where runs are to be repeatable, the others say no more than
    why; what they held is in ``NAME.rest``."""
    path = folder / f"{flooded}.log"
    os.truncate(path, most_of(flooded))
    words = f"the guest printed more than {most_of(flooded) // 10**6} MB into {flooded}.log"
    with path.open("ab") as file:
        file.write(f"\n[cut: {words}]\n".encode())
    for name in names if repeatable else ():
        if name != flooded:
            log = folder / f"{name}.log"
            log.rename(log.with_suffix(".rest"))
            log.write_text(f"[left out: {words}]\n", encoding="utf-8")
