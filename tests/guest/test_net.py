# SPDX-License-Identifier: GPL-2.0-only
"""Another collection of selftests, ci.suites.net, on a real kernel in real guests."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands.test_tasks import Done
from tests.guest.test_guests import SOURCE, inv, patch, verdict

pytestmark = pytest.mark.guest
__all__ = ["inv"]


def test_a_series_that_breaks_routes_is_rejected_by_case(
    inv: Callable[..., Done], project: Path, tmp_path: Path
) -> None:
    """Base runs its scripts to their ends; patched refuses what they ask for."""
    old = '\t\tif (addr_type != RTN_UNICAST) {\n\t\t\tNL_SET_ERR_MSG(extack, "Nexthop has invalid'
    made = patch(
        tmp_path,
        "ipv4: take no onlink next hop",
        "net/ipv4/fib_semantics.c",
        old,
        old.replace("!=", "=="),
    )
    done = inv("validate", "--source", SOURCE, "--series", str(made), "--suite", "net:smoke")
    assert done.returncode == 1 and done.stdout.startswith("rejected (exit 1)")
    found = verdict(project)
    cases = {(case["suite"], case["name"]): case["change"] for case in found["cases"]}
    assert {"fib_nexthop_nongw", "fib-onlink-tests"} <= {script for script, _ in cases}
    broken = {name for (_, name), change in cases.items() if change == "regressed"}
    assert "unicast connected" in " ".join(broken)
    assert {change for (script, _), change in cases.items() if script == "fib_nexthop_nongw"} == {
        "kept"
    }
    folder = (project / "results/latest").resolve()
    facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert facts["suite"]["name"] == "net:smoke"
