# SPDX-License-Identifier: GPL-2.0-only
"""Another collection of selftests, ci.suites.net, on a real kernel in real guests."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands.test_tasks import Done
from tests.guest.test_guests import SOURCE, inv, patch, verdict

pytestmark = [pytest.mark.guest, pytest.mark.long]
__all__ = ["inv"]


def test_a_series_that_breaks_routes_is_rejected_by_case(
    inv: Callable[..., Done], project: Path, tmp_path: Path
) -> None:
    """Base runs the script to its end; on patched the next hop has no source address that is
    answered."""
    old = "!fib_nh->fib_nh_scope ? 0 : fib_nh->fib_nh_scope - 1"
    title, file = "nexthop: the scope as it is", "net/ipv4/nexthop.c"
    made = patch(tmp_path, title, file, old, "fib_nh->fib_nh_scope")
    done = inv("validate", "--source", SOURCE, "--series", str(made), "--suite", "net:default")
    assert done.returncode == 1 and done.stdout.startswith("rejected (exit 1)")
    cases = verdict(project)["cases"]
    changes = {(case["suite"], case["name"]): case["change"] for case in cases}
    ping = "nexthop: ping through nexthop without gw"
    assert changes["fib_nexthop_nongw", ping] == "regressed"
    assert changes["netns-name", "netns-name"] == "kept"
    facts = json.loads((project / "results/latest/run.json").read_text(encoding="utf-8"))
    assert facts["suite"]["name"] == "net:default"
