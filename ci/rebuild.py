"""How much of an object directory make will compile again: by make's own rule, from what kbuild noted beside each object."""

import os
import re
from pathlib import Path

SOURCE = re.compile(r"^source_\S+ := (\S+)$", re.M)  # source_net/mptcp/pm.o := ../src/net/mptcp/pm.c
# "  ../src/include/linux/init.h \"; "$(wildcard include/config/NET)" stands for a symbol, not for a file that must be there
NEEDED = re.compile(r"^ +([^$\s]\S*)(?: \\)?$", re.M)


def to_compile(obj: Path) -> int | None:
    """The number of objects that are older than a file they were made of, or gone; ``None`` where none was ever made."""
    times: dict[str, int] = {}

    def written(name: str, missing: int) -> int:
        if name not in times:
            try:
                times[name] = (obj / name).stat().st_mtime_ns
            except OSError:
                times[name] = missing
        return times[name]

    known = stale = 0
    for folder, below, names in os.walk(obj):
        if folder == str(obj) and "tools" in below:
            below.remove("tools")  # objtool: two dozen objects with another notation
        for name in names:
            if not (name.startswith(".") and name.endswith(".o.cmd")):
                continue
            text = (Path(folder) / name).read_text(encoding="utf-8", errors="replace")
            if source := SOURCE.search(text):
                known += 1
                made = written(f"{folder}/{name[1:-4]}", -1)
                stale += any(written(file, 1 << 62) > made for file in (source[1], *NEEDED.findall(text)))
    return stale if known else None
