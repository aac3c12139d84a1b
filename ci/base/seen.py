# SPDX-License-Identifier: GPL-2.0-only
"""What was read and found whole is not read again, as long as the file system says that nobody
touched it, and the machine was not started anew: a disk that lost its power may give back other
bytes under the same times."""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

BOOT = Path("/proc/sys/kernel/random/boot_id")
# What is written within one tick of a file system's clock has one time: 2 s at worst.
TICK_NS = 2_500_000_000


def whole_since(
    memo: Path, paths: Callable[[], Iterable[Path]], check: Callable[[Sequence[Path]], str]
) -> str:
    """What ``check`` says is wrong of those ``paths`` of which the file ``memo`` does not know that
    they were found whole, empty for nothing. An OSError where a path is not there."""
    states = _states(paths())
    try:
        known = set(memo.read_text(encoding="ascii").splitlines())
    except (OSError, ValueError):
        known = set()
    unknown = [path for path, (state, _) in states.items() if state not in known]
    if states and not unknown:
        return ""
    if wrong := check(unknown):
        return wrong
    with contextlib.suppress(OSError):  # a cache that nobody can write to is read each time
        if states and _states(paths()) == states:
            _keep(memo, states)
    return ""


def _states(paths: Iterable[Path]) -> Mapping[Path, tuple[str, int]]:
    """For each path a digest of what the file system says of it, and when it changed, in ns."""
    found = {}
    boot = BOOT.read_text(encoding="ascii") if BOOT.exists() else os.urandom(16).hex()
    for path in paths:
        now = path.lstat()
        kept = (now.st_dev, now.st_ino, now.st_mode, now.st_size, now.st_mtime_ns, now.st_ctime_ns)
        text = f"{boot} {os.fsencode(path)!r} {kept}"
        found[path] = hashlib.sha256(text.encode()).hexdigest(), now.st_ctime_ns
    return found


def _keep(memo: Path, states: Mapping[Path, tuple[str, int]]) -> None:
    """Write down those states after which a change has another time. Each line is true by itself,
    so it does no harm where two write at once, or one is killed."""
    memo.parent.mkdir(parents=True, exist_ok=True)
    beside = memo.with_name(f".{memo.name}")
    with beside.open("w", encoding="ascii") as file:
        file.write("\n")
        file.flush()
        settled = os.fstat(file.fileno()).st_ctime_ns - TICK_NS
        file.writelines(f"{state}\n" for state, changed in states.values() if changed < settled)
    beside.rename(memo)
