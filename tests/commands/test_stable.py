# SPDX-License-Identifier: GPL-2.0-only
"""`inv stable` on branches of Debian: one that is not affected, and one whose scripts print no
TAP."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands.test_tasks import Done
from tests.guest.test_guests import FLIP, inv

pytestmark = [pytest.mark.guest, pytest.mark.long]
__all__ = ["inv"]  # a fixture


def test_two_branches_and_one_answer(inv: Callable[..., Done], project: Path) -> None:
    words = (
        "stable",
        "--branches",
        "5.10,6.1",
        "--source",
        "debian",
        "--suite",
        "userspace_pm",
        "--mode",
        "virtual",
    )
    done = inv(*words)
    assert done.returncode == 0 and "overall: accepted (exit 0)" in done.stdout
    folder = (project / "results/latest").resolve()
    whole = json.loads((folder / "verdict.json").read_text(encoding="utf-8"))
    assert [(row["name"], row["verdict"], row["exit_code"]) for row in whole["branches"]] == [
        ("5.10", "not affected", 0),
        ("6.1", "accepted", 0),
    ]

    found = json.loads((folder / "branches/6.1/verdict.json").read_text(encoding="utf-8"))
    assert [row["status"] for row in found["patches"]] == ["already there"] * 3 + [
        "not affected"
    ] * 2
    change = {(case["suite"], case["name"]): case["change"] for case in found["cases"]}
    assert change["userspace_pm", FLIP] == "fixed"
    assert not {"regressed", "new-failure", "lost", "unknown"} & set(change.values())
    # What 6.1's script says of an address is what 6.12's says, random ids aside.
    assert change["userspace_pm", "ADD_ADDR id:client 10.0.2.2 (ns2) => ns1, reuse port"] == "kept"

    classes = {
        case.attrib["classname"]
        for case in ET.parse(folder / "junit.xml").getroot().iter("testcase")
    }
    assert {"5.10.plan", "6.1.guest.userspace_pm", "6.1.guest.kernel", "6.1.guest.apply"} <= classes
    assert inv(*words).returncode == 0
    again = (project / "results/latest/branches/6.1/verdict.json").read_text(encoding="utf-8")
    assert json.loads(again) == found
