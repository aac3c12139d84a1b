# SPDX-License-Identifier: GPL-2.0-only
"""The suite kunit on real kernels: their own tests, in a kernel beside the normal one."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.commands.test_tasks import Done
from tests.conftest import write
from tests.guest.test_guests import SOURCE, inv, patch, verdict

pytestmark = [pytest.mark.guest, pytest.mark.long]
__all__ = ["inv"]
HMAC = "mptcp-crypto.mptcp_crypto_test_basic"
GONE = "mptcp-token.mptcp_token_test_destroyed"
CASES = {
    "kunit",
    "mptcp-crypto",
    HMAC,
    "mptcp-token",
    "mptcp-token.mptcp_token_test_req_basic",
    "mptcp-token.mptcp_token_test_msk_basic",
    "mptcp-token.mptcp_token_test_accept",
    GONE,
}


def changes(project: Path) -> dict[str, str]:
    """What became of each case of the group kunit."""
    cases = verdict(project)["cases"]
    return {case["name"]: case["change"] for case in cases if case["suite"] == "kunit"}


def stored(project: Path) -> dict[str, Any]:
    return dict(json.loads((project / "results/latest/run.json").read_text(encoding="utf-8")))


def test_a_series_that_does_not_touch_them(inv: Callable[..., Done], project: Path) -> None:
    done = inv("validate", "--source", SOURCE, "--suite", "kunit")
    assert done.returncode == 0 and "in kunit: 8 kept" in done.stdout
    assert changes(project) == dict.fromkeys(CASES, "kept")
    facts, folder = stored(project), (project / "results/latest").resolve()
    assert facts["kernels"] == {} and set(facts["kunit"]) == {"base", "patched"}
    assert [row["name"] for row in facts["builds"]] == ["kunit kernel"]
    assert "CONFIG_MPTCP_KUNIT_TEST=y" in (folder / "patched/kunit.config").read_text()
    # The reports come again from the logs alone, and say the same.
    text = (folder / "verdict.json").read_bytes()
    (folder / "verdict.json").unlink()
    assert inv("report").returncode == 0 and (folder / "verdict.json").read_bytes() == text
    junit = ET.parse(folder / "junit.xml").getroot()
    classes = {one.attrib["classname"] for one in junit.iter("testcase")}
    assert "v6.12.guest.kunit" in classes


def test_scripts_run_on_the_normal_kernel_beside_them(
    inv: Callable[..., Done], project: Path
) -> None:
    done = inv("validate", "--source", SOURCE, "--suite", "diag,kunit")
    facts = stored(project)
    assert done.returncode == 0 and set(changes(project)) == CASES
    ran = {(row["script"], row["side"]): row["end"]["build_id"] for row in facts["guests"]}
    for side in ("base", "patched"):
        assert ran["diag", side] == facts["kernels"][side]["build_id"]
        assert ran["kunit", side] == facts["kunit"][side]["build_id"]
    assert len(set(ran.values())) == 4


def test_a_case_that_fails_and_one_that_is_gone_are_named(
    inv: Callable[..., Done], project: Path, tmp_path: Path
) -> None:
    patch(tmp_path, "mptcp: a wrong pad", "net/mptcp/crypto.c", "0x5C", "0x5D")
    old = "\tKUNIT_CASE(mptcp_token_test_destroyed),\n"
    series = patch(tmp_path, "mptcp: less", "net/mptcp/token_test.c", old, "", number=2)
    done = inv("validate", "--source", SOURCE, "--suite", "kunit", "--series", str(series))
    assert done.returncode == 1 and f"kunit: {HMAC} passes on base and fails" in done.stdout
    wrong = {"kunit": "regressed", "mptcp-crypto": "regressed", HMAC: "regressed"}
    assert changes(project) == dict.fromkeys(CASES, "kept") | wrong | {
        GONE: "removed by the series"
    }
    assert "the series changes KUnit tests" in done.stdout
    write(series, {"series.toml": f'[[allow]]\nscript = "kunit"\ncase = "{GONE}"\nwhy = "old"\n'})
    done = inv("validate", "--source", SOURCE, "--suite", "kunit", "--series", str(series))
    assert done.returncode == 1 and GONE not in str(verdict(project)["reasons"])


def test_a_kernel_that_dies_in_a_test_keeps_the_cases_before(
    inv: Callable[..., Done], project: Path, tmp_path: Path
) -> None:
    old = "\t/* pedantic lookup check for the moved token */\n"
    series = patch(tmp_path, "mptcp: bug", "net/mptcp/token.c", old, "\tBUG();\n")
    done = inv("validate", "--source", SOURCE, "--suite", "kunit", "--series", str(series))
    assert done.returncode == 1 and "panicked" in done.stdout
    lost = {"mptcp-token", "mptcp-token.mptcp_token_test_accept", GONE}
    assert changes(project) == dict.fromkeys(CASES, "kept") | dict.fromkeys(lost, "lost") | {
        "kunit": "regressed"
    }
