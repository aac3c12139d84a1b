# SPDX-License-Identifier: GPL-2.0-only
"""`inv stable` and `inv validate` killed at random moments and started again: the same verdict, and
nothing half-written in the cache."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ci.base.progress import Progress
from ci.base.workspace import remove_tree
from ci.kernel import build
from ci.series.patches import load_series
from ci.suites.mptcp import COLLECTION
from ci.trees.tree import derive_trees
from tests.base.test_processes import gone
from tests.commands.machine import make_machine
from tests.commands.test_tasks import Done, below
from tests.guest.test_guests import JOIN, SOURCE, inv, patch, shipped
from tests.kills import REAL_KILLS, RealMachine, try_kills

pytestmark = pytest.mark.guest
TIMES = 3
__all__ = ["inv"]  # a fixture


def test_it_completes_whenever_it_was_killed(
    inv: Callable[..., Done], project: Path, tmp_path: Path
) -> None:
    found, _, workspace = shipped()
    old = "\tsubflow_req->msk = NULL;\n"
    # A patch that no cache has seen: something is left to compile, to link and to boot.
    folder = patch(tmp_path, "mptcp: a line", JOIN, old, old + f'\tpr_debug("{time.time_ns()}");\n')
    words = [
        "stable",
        "--branches",
        f"one={SOURCE}",
        "--series",
        str(folder),
        "--suite",
        "userspace_pm",
        "--mode",
        "virtual",
    ]
    moment = random.Random(TIMES)
    for _ in range(TIMES):
        argv = [str(Path(sys.executable).with_name("inv")), *words]
        us = subprocess.Popen(
            argv, cwd=project, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(moment.uniform(1, 40))
        children = [int(pid) for pid in below(us.pid)]
        us.kill()
        us.wait()
        end = time.monotonic() + 20
        while not all(map(gone, children)) and time.monotonic() < end:
            time.sleep(0.1)
        assert all(map(gone, children))
    done = inv(*words)
    verdict = json.loads((project / "results/latest/verdict.json").read_text(encoding="utf-8"))
    assert done.returncode == verdict["exit_code"] == 0
    assert [(row["name"], row["verdict"]) for row in verdict["branches"]] == [("one", "accepted")]

    # What it built is what a build that nobody disturbed makes, and the guests say the same again.
    tools = build.find_toolchain()
    trees = derive_trees(load_series(folder), found, frozenset())
    built = build.build_kernel(
        trees.patched, workspace, tools, COLLECTION, Progress(), tmp_path / "log"
    )
    remove_tree(built.folder)
    remove_tree(found.slot / "obj/net/mptcp")
    again = build.build_kernel(
        trees.patched, workspace, tools, COLLECTION, Progress(), tmp_path / "log"
    )
    assert (again.image_digest, again.build_id) == (built.image_digest, built.build_id)
    before = (project / "results/latest/branches/one/verdict.json").read_bytes()
    assert inv(*words, "--rerun").returncode == 0
    assert (project / "results/latest/branches/one/verdict.json").read_bytes() == before
    remove_tree(again.folder)


@pytest.mark.long
def test_validate_says_the_same_whenever_one_was_killed(tmp_path: Path) -> None:
    """Each with a patch that no cache has seen."""
    machine = RealMachine(make_machine(tmp_path / "machine").base)
    lines = list(try_kills(machine, REAL_KILLS, seed=TIMES))
    assert len(lines) == REAL_KILLS + 1
    assert [line for line in lines if not line.startswith("right")] == []
    assert any(": killed after " in line for line in lines)
