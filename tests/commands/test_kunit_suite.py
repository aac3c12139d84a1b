# SPDX-License-Identifier: GPL-2.0-only
"""The suite kunit from the settings to the verdict, with recorded consoles for guests;
tests/guest/test_kunit.py has real ones."""

from collections.abc import Callable
from pathlib import Path

import pytest

from ci.base.errors import StageError
from ci.base.progress import Progress
from ci.base.settings import Settings
from ci.base.workspace import Workspace
from ci.commands import plan, validate, verify
from ci.commands.branches import Branch
from ci.guest import selftests
from ci.logs.ending import Ended
from tests.commands.stand_in import DATA, DOES_NOT_COMPILE, SELFTESTS, Answer, StandIn, stand_in
from tests.commands.test_validate import stored
from tests.conftest import commit, git
from tests.suites.test_kunit import LACKS, TESTS

pytestmark = pytest.mark.whole
PASS, NOTHING = "kunit.pass.log", "/dev/null"
HMAC = "mptcp-crypto.mptcp_crypto_test_basic"
LAST = "mptcp-token.mptcp_token_test_destroyed"
ENDS = ("", ".2", ".3")


@pytest.fixture
def guests(monkeypatch: pytest.MonkeyPatch, workspace: Workspace) -> StandIn:
    made = stand_in(monkeypatch, workspace)
    for name in ("base", "patched", "time-1", "time-2", "seed-1", "seed-2"):
        for end in ENDS:
            made.answers[f"{name}/kunit{end}"] = Answer(NOTHING, console=PASS)
    return made


@pytest.fixture
def settings(
    guests: StandIn,
    kernel_tree: Path,
    demo_series: Path,
    settings_for: Callable[..., Settings],
) -> Callable[..., Settings]:
    commit(kernel_tree, SELFTESTS | TESTS, "selftests and tests")

    def made(**options: str | bool) -> Settings:
        wanted = {"tree": str(kernel_tree), "series": str(demo_series), "suite": "kunit"}
        return settings_for(**(wanted | {"mode": "virtual"} | options))

    return made


@pytest.fixture
def validated(settings: Callable[..., Settings]) -> Callable[..., int]:
    def made(**options: str | bool) -> int:
        return validate.validate_series(settings(**options), Progress())

    return made


def put(guests: StandIn, folder: Path, text: str, ended: Ended = Ended.FINISHED) -> None:
    """The patched guest's console, in each attempt."""
    (folder / "console.log").write_text(text, encoding="utf-8")
    status = 0 if ended is Ended.FINISHED else None
    for end in ENDS:
        answer = Answer(NOTHING, status, str(folder / "console.log"), ended)
        guests.answers[f"patched/kunit{end}"] = answer


def changes(workspace: Workspace) -> dict[str, str]:
    cases = stored(workspace)["cases"]
    return {case["name"]: case["change"] for case in cases if case["suite"] == "kunit"}


def console() -> str:
    return (DATA / PASS).read_bytes().decode()


def test_alone_it_needs_a_kernel_of_its_own_and_no_selftests(
    validated: Callable[..., int],
    guests: StandIn,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(selftests, "install_selftests", None)
    assert validated() == 0
    assert sorted(name for name, _ in guests.asked) == ["base/kunit", "patched/kunit"]
    assert len(guests.built) == 2 and set(changes(workspace).values()) == {"kept"}
    assert {HMAC, LAST, "mptcp-crypto", "mptcp-token", "kunit"} < set(changes(workspace))
    run = stored(workspace, "run.json")
    assert run["kernels"] == {} and set(run["kunit"]) == {"base", "patched"}
    assert {row["root_digest"] for row in run["kunit"].values()} != {""}
    assert (workspace.latest() / "base/kunit.config").read_text(encoding="utf-8") == guests.config
    # What KUnit sets by itself is no case, and nothing is measured of a guest that does nothing.
    names = {case["name"] for case in stored(workspace)["cases"]}
    assert not [name for name in names if "taint" in name or "CPU time" in name]
    text = (workspace.latest() / "verdict.json").read_bytes()
    assert validate.show_run(workspace.latest()) == 0
    assert (workspace.latest() / "verdict.json").read_bytes() == text


def test_full_has_it_beside_the_scripts(
    validated: Callable[..., int], guests: StandIn, workspace: Workspace
) -> None:
    assert validated(suite="full") == 0
    ran = {name.partition("/")[2] for name, _ in guests.asked}
    assert ran == {"userspace_pm", "diag", "kunit"} and len(guests.built) == 4
    assert changes(workspace)[HMAC] == "kept"
    rows = stored(workspace, "run.json")["guests"]
    kernels = {(row["script"], row["side"]): row["end"]["build_id"] for row in rows}
    for side in ("base", "patched"):
        assert kernels["diag", side] == kernels["userspace_pm", side] != kernels["kunit", side]


def test_a_case_that_fails_rejects_under_each_seed(
    validated: Callable[..., int], guests: StandIn, workspace: Workspace, tmp_path: Path
) -> None:
    text = console()
    for line in ("ok 1 mptcp_crypto_test_basic", "ok 1 mptcp-crypto"):
        assert text.count(line) == 1
        text = text.replace(line, f"not {line}")
    put(guests, tmp_path, text)
    assert validated() == 1
    assert ("base/kunit.3", 3) in guests.asked
    assert f"kunit: {HMAC} passes on base and fails" in str(stored(workspace)["reasons"])
    assert changes(workspace)[LAST] == "kept"


def test_a_kernel_that_dies_in_a_test(
    validated: Callable[..., int], guests: StandIn, workspace: Workspace, tmp_path: Path
) -> None:
    before, mark, _ = console().partition("    ok 4 mptcp_token_test_destroyed")
    assert mark
    stamp = before.rpartition("\n")[2]
    put(guests, tmp_path, f"{before}Kernel panic - not syncing: x\r\n{stamp}", Ended.PANIC)
    assert validated() == 1
    found = changes(workspace)
    assert (found["kunit"], found["mptcp-token"], found[LAST]) == ("regressed", "lost", "lost")
    assert found[HMAC] == found["mptcp-token.mptcp_token_test_accept"] == "kept"


@pytest.mark.parametrize("what", ["short", "twice", "quiet", "empty"])
def test_what_cannot_be_believed_is_an_error(
    what: str,
    validated: Callable[..., int],
    guests: StandIn,
    workspace: Workspace,
    tmp_path: Path,
) -> None:
    text = console()
    begin = text.index("KTAP version 1")
    end = text.index("\n", text.index("ok 2 mptcp-token")) + 1
    texts = {
        "short": text.replace("ok 2 mptcp-token", "mptcp-token"),
        "twice": text[:end] + "[    0.500000] " + text[begin:],
        "quiet": text[:begin] + text[end:],
        "empty": "",
    }
    put(guests, tmp_path, texts[what])
    assert validated() == 3
    assert stored(workspace)["verdict"] == "error"


def test_a_kernel_that_does_not_build_is_the_series_fault(
    validated: Callable[..., int], guests: StandIn, workspace: Workspace, demo_series: Path
) -> None:
    patch = max(demo_series.glob("*.patch"))
    text = patch.read_text(encoding="utf-8")
    patch.write_text(text.replace("int line30 = 3;", DOES_NOT_COMPILE), encoding="utf-8")
    assert validated() == 2 and guests.asked == []
    assert "build: kunit kernel does not build with the series" in str(stored(workspace)["reasons"])


def test_a_tree_without_tests(
    validated: Callable[..., int], guests: StandIn, workspace: Workspace, kernel_tree: Path
) -> None:
    git(kernel_tree, "rm", "-q", "-r", "net/mptcp")
    git(kernel_tree, "commit", "-q", "-m", "no tests")
    with pytest.raises(StageError, match="the tree has no KUnit tests"):
        validated()
    assert [*workspace.results.iterdir()] == [] and guests.built == []
    assert validated(suite="full") == 0 and len(guests.built) == 2
    assert (
        f"suite full: {LACKS}; they do not run" in stored(workspace, "run.json")["suite"]["notes"]
    )


def test_it_is_verified_and_planned_as_a_script(
    settings: Callable[..., Settings],
    guests: StandIn,
    kernel_tree: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert verify.repeat_suite(settings(), Progress(), 2) == 0
    assert "3 of 3 logs are the same in 2 runs" in capsys.readouterr().out
    assert verify.try_seeds(settings(), Progress(), (1, 2)) == 0
    assert "8 of 8 cases pass with each of 2 seeds" in capsys.readouterr().out
    branch = Branch("own", (f"git:file://{kernel_tree}@main",))
    wanted = settings(suite="full")
    assert plan.show_plan(wanted, Progress(), [branch], form="json", shards=3) == 0
    assert '"suite": "kunit"' in capsys.readouterr().out
