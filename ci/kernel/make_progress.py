# SPDX-License-Identifier: GPL-2.0-only
"""How much of an object directory make will compile: by make's own rule, from what kbuild noted
beside each object."""

import os
import re
import time
from pathlib import Path

from ci.base.progress import Progress, duration
from ci.base.untrusted import read_below, walk_below

OBJECT_LINE = re.compile(r"  (?:CC|AS)\s")  # "  AS      arch/x86/lib/clear_page_64.o"
LINK_LINE = re.compile(r"  LD\s+vmlinux")  # "  LD      vmlinux.o"
LEFT_AFTER_S = 10.0
COMPILED_LINE = re.compile(r"  CC\s+(?:\[M\]\s+)?(\S+\.o)$")  # "  CC      net/mptcp/pm.o"
SOURCE = re.compile(
    r"^source_\S+ := (\S+)$", re.M
)  # source_net/mptcp/pm.o := ../src/net/mptcp/pm.c
# "  ../src/include/linux/init.h \"; "$(wildcard include/config/NET)" stands for a symbol, not for a
# file that must be there
NEEDED = re.compile(r"^ +([^$\s]\S*)(?: \\)?$", re.M)
OBJECTS_PER_SYMBOL = 2.1  # a first build on 6.12: 1,300 objects, 625 symbols that are set
HOST = (
    "scripts/",
    "tools/",
)  # programs that run here, four dozen objects; the configuration makes the first of them

MOST_NOTED = 4 << 20  # bytes that kbuild notes beside an object: 200 kB at most


def count_stale(obj: Path) -> int:
    """The number of objects that are older than a file they were made of, or gone; where the kernel
    was never made as a whole, about how many are missing besides."""
    times: dict[str, int] = {}

    def written(name: str, missing: int) -> int:
        if name not in times:
            try:
                times[name] = (obj / name).stat().st_mtime_ns
            except OSError:
                times[name] = missing
        return times[name]

    fresh = stale = 0
    for entry in walk_below(obj):
        name = os.path.relpath(entry.path, obj)
        if not (entry.name.startswith(".") and name.endswith(".o.cmd")) or name.startswith(HOST):
            continue
        text = read_below(obj, name, MOST_NOTED).decode("utf-8", "replace")
        if source := SOURCE.search(text):
            made = written(f"{entry.path.removesuffix(entry.name)}{entry.name[1:-4]}", -1)
            old = any(written(file, 1 << 62) > made for file in (source[1], *NEEDED.findall(text)))
            stale, fresh = stale + old, fresh + (not old)
    if (obj / "vmlinux").exists():
        return stale
    symbols = read_below(obj, ".config", MOST_NOTED).count(b"=y\n")
    return max(stale, int(OBJECTS_PER_SYMBOL * symbols) - fresh)


class Counter:
    """Objects compiled, of about how many, and the time left, from kbuild's lines."""

    def __init__(self, progress: Progress, total: int) -> None:
        self.progress, self.total, self.done, self.begin = progress, total, 0, time.monotonic()
        self.compiled: list[str] = []

    def __call__(self, line: str) -> None:
        if found := COMPILED_LINE.match(line):
            self.compiled.append(found[1])
        if OBJECT_LINE.match(line):
            self.done += 1
            self.progress.update(self.told(time.monotonic() - self.begin))
        elif LINK_LINE.match(line):
            self.progress.update(f"build: {self.done} objects compiled, linking")

    def told(self, spent_s: float) -> str:
        """How far it is; the time left only where enough is done to tell it from."""
        if self.done > self.total:
            return f"build: {self.done} objects"
        left = ""
        if spent_s >= LEFT_AFTER_S and 20 * self.done >= self.total:
            left = f", about {duration(spent_s / self.done * (self.total - self.done))} left"
        return f"build: {self.done} of about {self.total} objects{left}"
