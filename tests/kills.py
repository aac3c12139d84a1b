# SPDX-License-Identifier: GPL-2.0-only
"""Runs of the pipeline that are killed at random moments: what each leaves, and what the next one
says. ``python -m tests.kills 100`` does it a hundred times on the user's cache."""

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

INV = str(Path(sys.executable).with_name("inv"))
GONE_S = 20.0
# What is there only as long as somebody is at work: entries half made or half removed, git's locks
# and unfinished objects.
LEFT = (".new-*", ".old-*", "*.lock", "tmp_obj_*", "tmp_pack_*")


@dataclass(frozen=True)
class Place:
    """A checkout, the cache and the folder for temporary files that its runs are given."""

    project: Path
    cache: Path
    scratch: Path

    @property
    def env(self) -> dict[str, str]:
        """What runs are started with; TMPDIR marks all of their processes."""
        return os.environ | {
            "XDG_CACHE_HOME": str(self.cache.parent),
            "TMPDIR": str(self.scratch),
        }

    def start(self, words: Sequence[str], output: int) -> "subprocess.Popen[str]":
        """A run in a session of its own, and where its output goes."""
        return subprocess.Popen(
            [sys.executable, INV, *words],
            cwd=self.project,
            env=self.env,
            stdout=output,
            stderr=output,
            text=True,
            start_new_session=True,
        )

    def processes(self) -> list[int]:
        """Who was started by a run here, however it detached itself."""
        mark = f"TMPDIR={self.scratch}".encode()
        return [pid for pid, env in _environments() if mark in env.split(b"\0")]

    def all_gone(self) -> bool:
        """Whether every process of a run is gone within :data:`GONE_S` seconds."""
        end = time.monotonic() + GONE_S
        while self.processes() and time.monotonic() < end:
            time.sleep(0.1)
        return not self.processes()

    def leftovers(self) -> list[str]:
        """What of a run that ended should not be there any more."""
        found = [path for pattern in LEFT for path in self.cache.rglob(pattern)]
        own = self.cache / "locks"
        found = [path for path in found if own not in path.parents] + [*self.scratch.iterdir()]
        return sorted(map(str, found))


def _environments() -> Iterator[tuple[int, bytes]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if b") Z " not in (entry / "stat").read_bytes():
                    yield int(entry.name), (entry / "environ").read_bytes()
            except OSError:
                continue


def kill_run(place: Place, words: Sequence[str], after_s: float, *, group: bool) -> bool:
    """Start a run and SIGKILL it, or it and its process group, after so many seconds; whether it
    was still at work."""
    us = place.start(words, subprocess.DEVNULL)
    try:
        us.wait(after_s)
        return False
    except subprocess.TimeoutExpired:
        (os.killpg if group else os.kill)(us.pid, signal.SIGKILL)
        us.wait()
        return True


def outcome(place: Place, words: Sequence[str]) -> tuple[int, dict[str, bytes]]:
    """Exit code and files of a run that nobody disturbs."""
    done = place.start(words, subprocess.PIPE)
    out, err = done.communicate()
    if done.returncode:
        print(out, err)
    latest = place.project / "results/latest"
    files = ("verdict.json", "junit.xml")
    return done.returncode, {name: (latest / name).read_bytes() for name in files}


def try_kills(
    place: Place, times: int, words: Callable[[int], Sequence[str]], *, seed: int
) -> Iterator[str]:
    """Kill so many runs at random moments, each of other ``words``, and run each again: a line for
    each, which begins with ``right`` or says what is wrong."""
    begin = time.monotonic()
    reference = outcome(place, words(0))
    whole_s = time.monotonic() - begin
    yield f"right: undisturbed, {whole_s:.0f} s, exit {reference[0]}"
    moment = random.Random(seed)
    for number in range(1, times + 1):
        after_s, group = moment.uniform(0, whole_s), moment.random() < 0.5
        killed = kill_run(place, words(number), after_s, group=group)
        gone = place.all_gone()
        again = outcome(place, words(number))
        wrong = [] if gone else [f"processes {place.processes()} are left"]
        if again[0] != reference[0]:
            wrong.append(f"exit {again[0]} instead of {reference[0]}")
        wrong += [f"{name} differs" for name in again[1] if again[1][name] != reference[1][name]]
        if left := place.leftovers():
            wrong.append(f"left: {' '.join(left)}")
        what = f"{number}: {'killed' if killed else 'ended'} after {after_s:.1f} s"
        yield f"{'; '.join(wrong) or 'right'}: {what}{', with its group' if group else ''}"
