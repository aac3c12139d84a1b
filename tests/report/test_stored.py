# SPDX-License-Identifier: GPL-2.0-only
"""ci.report.stored: a stored run judged from its logs alone, again and again."""

import json
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from ci.base.errors import StageError
from ci.base.seals import DIGESTS, file_digest, write_digests
from ci.report import stored
from tests.conftest import ROOT, fingerprint

DATA = ROOT / "tests/data"
FLIP = "Established IPv4 MPTCP Connection ns2 => ns1"


def guest(
    folder: Path,
    side: str,
    tests: str,
    status: int | None,
    console: str = "dmesg.clean.log",
    **more: Any,
) -> dict[str, Any]:
    """The row of one guest of userspace_pm, and its logs as files."""
    logs = folder / side / "userspace_pm"
    logs.mkdir(parents=True)
    shutil.copy(DATA / tests, logs / "tests.log")
    shutil.copy(DATA / console, logs / "kernel.log")
    shutil.copy(DATA / "control.log", logs)
    end = {
        "ended": "finished",
        "build_id": "ab" * 20,
        "exit_status": status,
        "timed_out": False,
        "guest_ms": 5000,
    }
    row = {
        "side": side,
        "script": "userspace_pm",
        "part": "userspace_pm",
        "attempt": 1,
        "seed": 1,
        "tap": True,
        "folder": f"{side}/userspace_pm",
        "end": end | {key: more.pop(key) for key in end if key in more},
        "from_record": False,
        "logs": {},
    }
    return row | more


def store(folder: Path, guests: list[dict[str, Any]], **more: Any) -> Path:
    facts = {
        "schema": 3,
        "series": {"name": "deny-join-id0", "change_id": "x"},
        "suite": {"name": "smoke"},
        "must_flip": [["userspace_pm", FLIP]],
        "guests": guests,
        "troubles": [],
        "prefix": "v6.12.guest",
        "mode": {"name": "virtual", "why": ""},
    }
    return write_run(folder, facts | more)


def write_run(folder: Path, facts: dict[str, Any]) -> Path:
    """A run whose record says so, as if it had been written by a run."""
    (folder / "run.json").write_text(json.dumps(facts), encoding="utf-8")
    write_digests(folder, ["run.json"])
    return folder


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """Base fails at the flag and ends there; its own script passes; patched passes."""
    guests = [
        guest(tmp_path, "base", "userspace_pm.early-fail.log", 1),
        guest(tmp_path, "patched", "userspace_pm.pass.log", 0),
        guest(tmp_path, "base-old", "userspace_pm.pass.log", 0),
        guest(tmp_path, "patched-old", "userspace_pm.pass.log", 0),
    ]
    return store(tmp_path, guests)


def test_the_verdict_of_a_stored_run(good: Path) -> None:
    found = stored.judge_stored(good).verdict
    assert (found.verdict, found.exit_code, found.reasons) == ("accepted", 0, ())
    changes = {case.name: case.change for case in found.cases if case.group == "userspace_pm"}
    assert changes.pop(FLIP) == changes.pop("userspace_pm") == "fixed"
    assert set(changes.values()) == {"kept"} and len(changes) == 5
    facts = json.loads((good / "verdict.json").read_text(encoding="utf-8"))
    assert set(facts) == {
        "schema",
        "verdict",
        "exit_code",
        "reasons",
        "series",
        "patches",
        "cases",
        "slower",
        "counts",
        "run",
    }
    assert facts["counts"]["fixed"] == 2 and facts["run"] == "run.json"
    names = [
        case.attrib["name"] for case in ET.parse(good / "junit.xml").getroot().iter("testcase")
    ]
    assert FLIP in names and len(names) == len(found.cases)
    assert (
        (good / "patched/userspace_pm.ktap")
        .read_text(encoding="utf-8")
        .startswith("KTAP version 1\n1..6\nok 1 ")
    )
    assert f"not ok 2 {FLIP}" in (good / "base/userspace_pm.ktap").read_text(encoding="utf-8")


def test_scripts_that_print_no_tap(tmp_path: Path) -> None:
    """6.1: base's script ends without a word, and base's own has the cases behind."""
    guests = [
        guest(tmp_path, "base", "v6.1.userspace_pm.base.log", 1, tap=False),
        guest(tmp_path, "patched", "v6.1.userspace_pm.log", 0, tap=False),
        guest(tmp_path, "base-old", "v6.1.userspace_pm.log", 0, tap=False),
        guest(tmp_path, "patched-old", "v6.1.userspace_pm.log", 0, tap=False),
    ]
    found = stored.judge_stored(store(tmp_path, guests)).verdict
    assert (found.verdict, found.exit_code, found.reasons) == ("accepted", 0, ())
    changes = {case.name: case.change for case in found.cases if case.group == "userspace_pm"}
    assert changes.pop(FLIP) == changes.pop("userspace_pm") == "fixed"
    assert set(changes.values()) == {"kept"} and len(changes) == 34


def test_again_gives_the_same_bytes(good: Path) -> None:
    stored.judge_stored(good)
    before = fingerprint(good)
    for name in ("verdict.json", "junit.xml", "summary.md"):
        (good / name).unlink()
    stored.judge_stored(good)
    assert fingerprint(good) == before


def test_nothing_of_the_place_or_the_moment_is_in_the_verdict(good: Path, tmp_path: Path) -> None:
    stored.judge_stored(good)
    moved = tmp_path / "elsewhere" / "run"
    shutil.copytree(good, moved, ignore=shutil.ignore_patterns("elsewhere"))
    stored.judge_stored(moved)
    for name in ("verdict.json", "junit.xml"):
        assert (moved / name).read_bytes() == (good / name).read_bytes()


def test_a_new_complaint_of_the_kernel_rejects(tmp_path: Path) -> None:
    guests = [
        guest(tmp_path, "base", "userspace_pm.pass.log", 0),
        guest(tmp_path, "patched", "userspace_pm.pass.log", 0, console="dmesg.warning.log"),
    ]
    found = stored.judge_stored(store(tmp_path, guests, must_flip=[])).verdict
    assert found.exit_code == 1 and "net/mptcp/subflow.c" in found.reasons[0]


def test_a_patched_guest_that_panics_rejects_and_its_logs_say_why(tmp_path: Path) -> None:
    guests = [
        guest(tmp_path, "base", "userspace_pm.pass.log", 0),
        guest(
            tmp_path,
            "patched",
            "userspace_pm.killed.log",
            None,
            console="dmesg.oops-panic.log",
            ended="the kernel panicked",
        ),
    ]
    found = stored.judge_stored(store(tmp_path, guests, must_flip=[])).verdict
    assert found.exit_code == 1 and any("panicked" in reason for reason in found.reasons)


def test_a_guest_of_base_that_was_lost_is_not_the_patchs_fault(tmp_path: Path) -> None:
    guests = [
        guest(tmp_path, "base", "userspace_pm.killed.log", None, ended="the guest was lost"),
        guest(tmp_path, "patched", "userspace_pm.pass.log", 0),
    ]
    assert stored.judge_stored(store(tmp_path, guests, must_flip=[])).verdict.exit_code == 3


def test_a_known_limit_excuses_by_pattern_and_says_why(good: Path) -> None:
    log = good / "patched/userspace_pm/tests.log"
    log.write_text(
        log.read_text(encoding="utf-8")
        .replace("ok 4 -", "not ok 4 -")
        .replace(
            "invalid token                       [ OK ]",
            "invalid token                       [FAIL] x",
        ),
        encoding="utf-8",
    )
    assert stored.judge_stored(good).verdict.exit_code == 1
    facts = json.loads((good / "run.json").read_text(encoding="utf-8"))
    facts["suite"]["known"] = [["userspace*", "ADD_ADDR *", "a reason"]]
    write_run(good, facts)
    found = stored.judge_stored(good).verdict
    assert [
        case.excuse for case in found.cases if case.name.startswith("ADD_ADDR ") and case.excuse
    ] == ["a reason"]
    assert found.exit_code == 3  # the script says that all went well, and its own case is not known


def test_an_empty_console_is_never_a_pass(good: Path) -> None:
    (good / "patched/userspace_pm/kernel.log").write_bytes(b"")
    found = stored.judge_stored(good).verdict
    assert found.exit_code == 3 and "console" in found.reasons[0]


def test_an_empty_log_of_tests_is_never_a_pass(good: Path) -> None:
    log = good / "patched/userspace_pm/tests.log"
    log.write_text("", encoding="utf-8")
    assert stored.judge_stored(good).verdict.exit_code != 0
    log.unlink()
    with pytest.raises(StageError, match=f"{log}: the log of a guest is missing"):
        stored.judge_stored(good)


DAMAGES: dict[str, Any] = {
    "no series": lambda facts: facts.pop("series"),
    "no end": lambda facts: facts["guests"][0].pop("end"),
    "guests are a number": lambda facts: facts.update(guests=7),
    "a guest is a list": lambda facts: facts.update(guests=[[]]),
    "a patch of another kind": lambda facts: facts.update(patches=[{"number": 1}]),
    "an end that is none": lambda facts: facts["guests"][0].update(end={"ended": "never"}),
    "a side that is a list": lambda facts: facts["guests"][0].update(side=[]),
    "a folder that is a number": lambda facts: facts["guests"][0].update(folder=5),
    "a case that is one word": lambda facts: facts.update(must_flip=["x"]),
    "a mode without a name": lambda facts: facts.update(mode={}),
    "a log that was cut": lambda facts: facts["guests"][0].update(logs={"tests": "0" * 64}),
    "a build that is a word": lambda facts: facts.update(builds=["kernel"]),
    "known that is true": lambda facts: facts["suite"].update(known=True),
    "a trouble of one": lambda facts: facts.update(troubles=[["x"]]),
    "a script above the folder": lambda facts: facts["guests"][0].update(script="../../x"),
    "a script with a long name": lambda facts: facts["guests"][0].update(script="x" * 300),
    "a folder elsewhere": lambda facts: facts["guests"][0].update(folder="/etc"),
    "a folder above": lambda facts: facts["guests"][0].update(folder="../base"),
    "a folder with a long name": lambda facts: facts["guests"][0].update(folder="x" * 300),
    "series by name": lambda facts: facts.update(series="deny"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_run_is_told(damage: str, good: Path) -> None:
    facts = json.loads((good / "run.json").read_text(encoding="utf-8"))
    DAMAGES[damage](facts)
    write_run(good, facts)
    with pytest.raises(StageError, match=r"run\.json does not hold|the run is damaged"):
        stored.judge_stored(good)
    assert not (good / "verdict.json").exists()


ALTERED = {
    "sed -i 's/early-fail/pass/;s/\\[\\[.*\\]\\]/[]/' run.json": "run.json is not what was kept",
    'sed -i \'s/"exit_status": 1/"exit_status": 0/\' run.json': "run.json is not what was kept",
    "truncate -s -2 run.json": r"no stored run: run\.json: ",
    f"rm {DIGESTS}": r"digests\.json is missing",
    f": >{DIGESTS}": r"digests\.json",
    ": >patched/userspace_pm/tests.log": r"tests\.log: not what the guest left",
    "sed -i 's/^ok 2/not ok 2/' patched/userspace_pm/tests.log": r"tests\.log: not what",
    "rm base/userspace_pm/kernel.log": r"kernel\.log: the log of a guest is missing",
    "rm base/userspace_pm/control.log": r"control\.log: the log of a guest is missing",
}


@pytest.mark.parametrize("words", ALTERED)
def test_a_run_that_was_altered_is_told_and_not_believed(words: str, good: Path) -> None:
    facts = json.loads((good / "run.json").read_text(encoding="utf-8"))
    for row in facts["guests"]:
        row["logs"] = {path.stem: file_digest(path) for path in (good / row["folder"]).iterdir()}
    write_run(good, facts)
    assert stored.judge_stored(good).verdict.exit_code == 0
    before = (good / "verdict.json").read_bytes()
    subprocess.run(["sh", "-ec", words], cwd=good, check=True)
    with pytest.raises(StageError, match=ALTERED[words]):
        stored.judge_stored(good)
    assert (good / "verdict.json").read_bytes() == before


def test_a_run_that_ended_before_any_guest_is_not_accepted(tmp_path: Path) -> None:
    assert stored.judge_stored(store(tmp_path, [], must_flip=[])).verdict.exit_code == 3
    found = stored.judge_stored(
        store(tmp_path, [], must_flip=[], troubles=[{"stage": "fetch", "text": "no route"}])
    ).verdict
    assert found.exit_code == 3 and "no route" in found.reasons[0]


def test_bytes_that_are_no_text(good: Path) -> None:
    log = good / "patched/userspace_pm/tests.log"
    log.write_bytes(b"\xff\x00\x1b[2J" + log.read_bytes())
    stored.judge_stored(good)
    ET.parse(good / "junit.xml")


@pytest.mark.parametrize("content", [None, "{", "[]", "\ufffe", "[" * 100_000])
def test_a_folder_that_is_no_run(content: str | None, tmp_path: Path) -> None:
    if content:
        (tmp_path / "run.json").write_text(content, encoding="utf-8")
    with pytest.raises(StageError, match="no stored run"):
        stored.judge_stored(tmp_path)
