# SPDX-License-Identifier: GPL-2.0-only
"""Runs that are killed at random moments: what each leaves, and what the next one says.

`python -m tests.kills 100` does it a hundred times: real kernels, real guests, the user's cache,
and for each a patch that no cache has seen. `--stand-in` does it on the machine of the tests, in a
tenth of the time.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from ci.base.settings import make_settings
from tests.commands.machine import Machine, make_machine
from tests.conftest import ROOT
from tests.guest.test_guests import SOURCE, patch

# How many each test tries: of those with real kernels, each of which takes a minute, fewer.
KILLS = int(os.environ.get("PATCHVERDICT_KILLS", "3"))
REAL_KILLS = (KILLS + 1) // 2
JOIN, OLD = "net/mptcp/subflow.c", "\tsubflow_req->msk = NULL;\n"


class RealMachine(Machine):
    """This machine: its tools, and the user's cache, with real kernels and guests."""

    @property
    def cache(self) -> Path:
        """The user's."""
        return make_settings(ROOT).workspace.cache

    @property
    def inv(self) -> list[str]:
        """This Python's Invoke."""
        return [sys.executable, str(Path(sys.executable).with_name("inv"))]

    @property
    def env(self) -> Mapping[str, str]:
        """The user's."""
        return os.environ | {"TMPDIR": str(self.scratch)}

    def words(self, number: int = 0, *more: str) -> list[str]:
        """``validate`` of a patch with a line that no kernel had."""
        folder = self.base / str(number)
        if not folder.exists():
            line = f'\tpr_debug("{time.time_ns()}");\n'
            patch(folder, "mptcp: a line", JOIN, OLD, OLD + line)
        given = ["--source", SOURCE, "--series", str(folder / "series")]
        return ["validate", *given, "--suite", "smoke", "--mode", "virtual", *more]


def kill_run(machine: Machine, number: int, after_s: float, *, group: bool) -> bool:
    """Start a run and SIGKILL it, or it and its process group, after so many seconds; whether it
    was still at work."""
    us = machine.start(machine.words(number))
    try:
        us.communicate(timeout=after_s)
        return False
    except subprocess.TimeoutExpired:
        (os.killpg if group else os.kill)(us.pid, signal.SIGKILL)
        us.communicate()
        return True


def try_kills(machine: Machine, times: int, seed: int) -> Iterator[str]:
    """Kill so many runs at random moments, and run each again: a line for each, which begins with
    ``right`` or says what is wrong."""
    # The first makes what all of them need; how long a patch takes then, the second shows.
    first, said = machine.run(machine.words(0)), machine.verdict()
    fresh, begin = machine.words(-1), time.monotonic()
    wrong_ones = first.returncode or machine.run(fresh).returncode or machine.verdict() != said
    whole_s = time.monotonic() - begin
    yield f"{'wrong' if wrong_ones else 'right'}: undisturbed, {whole_s:.1f} s"
    moment = random.Random(seed)
    for number in range(1, times + 1):
        after_s, group = moment.uniform(0, whole_s), moment.random() < 0.5
        killed = kill_run(machine, number, after_s, group=group)
        wrong = [] if machine.all_gone() else [f"still there: {machine.processes()}"]
        again = machine.run(machine.words(number))
        if again.returncode != first.returncode:
            wrong.append(f"exit code {again.returncode}: {again.stderr}{again.stdout}")
        wrong += [
            f"another {name}" for name, text in machine.verdict().items() if said[name] != text
        ]
        if left := machine.leftovers():
            wrong.append(f"left: {' '.join(left)}")
        what = f"{number}: {'killed' if killed else 'ended'} after {after_s:.1f} s"
        yield f"{'; '.join(wrong) or 'right'}: {what}{', with its group' if group else ''}"


def main() -> int:
    """How many were not right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("times", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--stand-in", action="store_true")
    given = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        kind = Machine if given.stand_in else RealMachine
        machine = kind(make_machine(Path(folder)).base)
        for line in try_kills(machine, given.times, given.seed):
            print(line, flush=True)
            wrong += not line.startswith("right")
    return min(wrong, 100)


if __name__ == "__main__":
    sys.exit(main())
