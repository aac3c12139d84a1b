# SPDX-License-Identifier: GPL-2.0-only
"""`inv bisect` over real histories, with real git and recorded logs for guests;
tests/guest/test_bisect.py has real kernels."""

import json
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

from ci.base.errors import StageError
from ci.base.progress import Progress
from ci.base.settings import Settings
from ci.base.workspace import Workspace
from ci.commands import bisect
from ci.logs.ending import Ended
from ci.logs.splats import scan_console
from tests.commands.stand_in import (
    DOES_NOT_COMPILE,
    FAIL,
    MPTCP,
    PASS,
    SELFTESTS,
    Answer,
    StandIn,
    stand_in,
)
from tests.commands.test_tasks import Done, env, inv
from tests.conftest import DEMO_C, commit, fingerprint, git, write
from tests.suites.test_kunit import TESTS

__all__ = ["env", "inv"]  # fixtures
pytestmark = pytest.mark.whole
FLIP = "Established IPv4 MPTCP Connection ns2 => ns1"
CASE = f"userspace_pm: {FLIP}"
CHAIN = 18
LOST = Answer(status=None, ended=Ended.LOST)

Bisect = Callable[..., int]


@pytest.fixture
def guests(monkeypatch: pytest.MonkeyPatch, workspace: Workspace) -> StandIn:
    return stand_in(monkeypatch, workspace)


@pytest.fixture
def chain(kernel_tree: Path) -> list[str]:
    """The good end, and the commits behind it."""
    made, text = [commit(kernel_tree, SELFTESTS, "selftests")], DEMO_C
    for number in range(1, CHAIN + 1):
        text = text.replace(f"int line{number};", f"int line{number} = 1;")
        made.append(commit(kernel_tree, {"net/demo.c": text}, f"demo: line {number}"))
    return made


@pytest.fixture
def run(
    guests: StandIn, kernel_tree: Path, chain: list[str], settings_for: Callable[..., Settings]
) -> Bisect:
    """The exit code of `inv bisect` in virtual mode."""

    def made(good: str = "", bad: str = "HEAD", case: str = CASE, selftests: str = "bad") -> int:
        settings = settings_for(tree=str(kernel_tree), mode="virtual")
        return bisect.find_commit(settings, Progress(), good or chain[0], bad, case, selftests)

    return made


def fail(guests: StandIn, commits: Iterable[str], answer: Answer = FAIL) -> None:
    for one in commits:
        guests.answers[f"{one[:12]}/userspace_pm"] = answer


def record(workspace: Workspace) -> dict[str, Any]:
    """What the last run wrote down."""
    files = workspace.results.glob("*/bisect.json")
    file = max(files, key=lambda path: path.stat().st_mtime_ns)
    return dict(json.loads(file.read_bytes()))


def forget(workspace: Workspace) -> None:
    """Guests run again: they are to answer otherwise."""
    shutil.rmtree(workspace.cache / "runs")


def places(guests: StandIn, chain: Sequence[str]) -> list[int]:
    """The places in the chain of what was tested, in turn."""
    of = {one[:12]: place for place, one in enumerate(chain)}
    return [of[name.partition("/")[0]] for name, _ in guests.asked]


@pytest.mark.parametrize("first", [1, 11, CHAIN])
def test_the_first_bad_commit_is_found_and_the_checkout_is_not_touched(
    first: int,
    run: Bisect,
    guests: StandIn,
    chain: list[str],
    kernel_tree: Path,
    workspace: Workspace,
    capfd: pytest.CaptureFixture[str],
) -> None:
    fail(guests, chain[first:])
    write(kernel_tree, {"net/other.c": "int at_work;\n", "net/more.c": "int more;\n"})
    git(kernel_tree, "add", "net/more.c")
    before = fingerprint(kernel_tree)
    assert run() == 0
    assert fingerprint(kernel_tree) == before
    out, err = capfd.readouterr()
    assert out.startswith(f"first bad commit: {chain[first]}\ntitle: demo: line {first}\n")
    assert "\nauthor date: 2020-09-13T12:26:40+00:00\n" in out and f"\ncase: {CASE}\n" in out
    assert f"\nbefore: pass at {chain[first - 1][:12]} " in out
    assert f"\nin it: fail at {chain[first][:12]} (demo: line {first})\n| " in out
    assert "bisect: about 4 steps left, testing " in err
    assert len(guests.asked) == len(set(guests.asked)) <= 2 + 5
    assert places(guests, chain)[:2] == [CHAIN, 0]
    # Nothing is left of git's search, there or here.
    refs = git(workspace.cache / "trees" / slot(workspace) / "src", "for-each-ref")
    assert "bisect" not in refs
    asked = len(guests.asked)
    assert run() == 0 and len(guests.asked) == asked  # all of it is known


def slot(workspace: Workspace) -> str:
    (found,) = (workspace.cache / "trees").glob("tree-*")
    return found.name


def test_what_is_written_down_can_be_replayed_by_git(
    run: Bisect, guests: StandIn, chain: list[str], kernel_tree: Path, workspace: Workspace
) -> None:
    fail(guests, chain[7:])
    assert run() == 0
    found = record(workspace)
    assert found["candidates"] == [chain[7]] and found["selftests"] == "bad"
    assert (found["good"], found["bad"], found["case"]) == (chain[0], chain[-1], FLIP)
    codes = {step["commit"]["commit"]: step["code"] for step in found["steps"]}
    assert codes[chain[7]] == 1 and codes[chain[6]] == 0
    assert found["mode"]["name"] == "virtual" and "gcc" in found["versions"]
    (log,) = workspace.results.glob("*/bisect.log")
    assert f"{chain[7]} is the first bad commit" in git(kernel_tree, "bisect", "replay", str(log))


@pytest.mark.parametrize("reason", ["does not build", "lost"])
def test_what_cannot_be_found_out_is_skipped(
    reason: str,
    run: Bisect,
    guests: StandIn,
    kernel_tree: Path,
    chain: list[str],
    workspace: Workspace,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Beside the first bad commit that leaves several, elsewhere it does not matter."""
    if reason == "lost":
        guests.answers[f"{chain[9][:12]}/userspace_pm"] = LOST
    else:
        git(kernel_tree, "checkout", "-q", "-b", "broken", chain[8])
        broken = git(kernel_tree, "show", f"{chain[9]}:net/demo.c")
        chain[9] = commit(kernel_tree, {"net/demo.c": broken + DOES_NOT_COMPILE}, "demo: broken")
        for place in range(10, CHAIN + 1):
            text = git(kernel_tree, "show", f"{chain[place]}:net/demo.c")
            chain[place] = commit(kernel_tree, {"net/demo.c": text + "\n"}, f"demo: line {place}")
    fail(guests, chain[4:9] + chain[10:])
    assert run() == 0
    assert record(workspace)["candidates"] == [chain[4]]
    fail(guests, chain[4:9], PASS)
    forget(workspace)
    capsys.readouterr()
    assert run() == 3
    found = record(workspace)
    assert found["candidates"] == [chain[10], chain[9]]
    (skipped,) = [step for step in found["steps"] if step["code"] == 125]
    assert skipped["commit"]["commit"] == chain[9] and skipped["outcome"]["state"] == "error"
    out = capsys.readouterr().out
    assert out.startswith("the first bad commit is one of 2: the others are skipped\n")
    why = "the guest was lost" if reason == "lost" else "build: net/demo.c:1:2: error: #error"
    assert (
        f"  {chain[9][:12]} (" in out
        and f") skip: {why}\n" in out
        and "first bad commit: " not in out
    )
    assert f"\nin it: fail at {chain[10][:12]} " in out


def test_ends_that_are_none_are_told_with_both_outcomes(
    run: Bisect, guests: StandIn, chain: list[str], workspace: Workspace
) -> None:
    for commits, good, bad in (((), "pass", "pass"), (chain, "fail", "fail")):
        fail(guests, commits)
        with pytest.raises(StageError, match="has to pass at the good end") as caught:
            run(bad="HEAD" if commits else "HEAD~1")
        assert f"--good: {good} at {chain[0][:12]}" in caught.value.message
        assert f"--bad: {bad} at " in caught.value.message
        assert len(record(workspace)["steps"]) == 2 and record(workspace)["candidates"] == []
        forget(workspace)
    with pytest.raises(
        StageError, match=r"--bad: error at .*\nthe case did not come up, and the k"
    ):
        fail(guests, chain[-3:-2], Answer(status=None, ended=Ended.PANIC))
        run(bad="HEAD~2", case="userspace_pm: gone")
    with pytest.raises(StageError, match=r"--bad: missing at .*\n.*; there is 'Established IPv4 M"):
        run(bad="HEAD~3", case=CASE.replace("=> ns1", "to ns1"))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"good": "-x"}, "--good -x: no commit"),
        ({"good": "--all"}, "--good --all: no commit"),
        ({"bad": "nowhere"}, "--bad nowhere: no commit"),
        ({"case": "userspace_pm"}, 'give "SCRIPT: CASE"'),
        ({"case": "userspace_pm: "}, 'give "SCRIPT: CASE"'),
        ({"case": "userspace_pm,diag: x"}, 'give "SCRIPT: CASE"'),
        ({"case": "../x: y"}, "--case '../x: y'"),
        ({"case": "-x: y"}, "--case '-x: y'"),
        ({"case": "nothing: x"}, "there are smoke"),
        ({"case": "full: x"}, "--case full: give one of userspace_pm, diag"),
        ({"selftests": "newest"}, "--selftests newest: there are bad, own"),
    ],
)
def test_a_wrong_word_is_told_and_leaves_nothing(
    options: dict[str, str], said: str, run: Bisect, guests: StandIn, workspace: Workspace
) -> None:
    with pytest.raises(StageError) as caught:
        run(**options)
    assert said in caught.value.message and not list(workspace.results.iterdir())
    assert guests.built == []


def test_an_interrupt_leaves_what_is_known_and_the_next_run_goes_on(
    run: Bisect, guests: StandIn, chain: list[str], kernel_tree: Path, workspace: Workspace
) -> None:
    fail(guests, chain[6:])
    before = fingerprint(kernel_tree)
    guests.answers[f"{chain[9][:12]}/userspace_pm"] = Answer(raised=KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        run()
    assert fingerprint(kernel_tree) == before
    found = record(workspace)
    codes = {step["commit"]["commit"]: step["code"] for step in found["steps"]}
    assert codes == {chain[-1]: 1, chain[0]: 0} and len(found["candidates"]) == CHAIN
    fail(guests, [chain[9]])
    asked = len(guests.asked)
    assert run() == 0 and record(workspace)["candidates"] == [chain[6]]
    assert not {0, CHAIN} & set(places(guests, chain)[asked:])


def test_a_history_with_merges(
    run: Bisect, guests: StandIn, chain: list[str], kernel_tree: Path, workspace: Workspace
) -> None:
    """The first bad commit is on the side that was merged; a good end that is on another branch is
    one where git finds so, and where it was mended there is none."""
    git(kernel_tree, "checkout", "-q", "-b", "side", chain[3])
    side = [
        commit(kernel_tree, {"net/side.c": f"int side{n};\n"}, f"side: {n}") for n in range(1, 5)
    ]
    git(kernel_tree, "checkout", "-q", "main")
    git(kernel_tree, "merge", "-q", "--no-ff", "-m", "merge", "side")
    merged = git(kernel_tree, "rev-parse", "HEAD")
    fail(guests, [*side[2:], merged])
    assert run() == 0
    assert record(workspace)["candidates"] == [side[2]]
    assert run(good=chain[-1], bad="side") == 0
    assert record(workspace)["candidates"] == [side[2]]
    guests.answers[f"{chain[3][:12]}/userspace_pm"] = FAIL
    forget(workspace)
    with pytest.raises(StageError, match=r"merge base .* is bad"):
        run(good=chain[-1], bad="side")


def test_what_the_kernel_does_can_be_the_case(
    run: Bisect, guests: StandIn, chain: list[str], workspace: Workspace
) -> None:
    """A complaint, which is no case where it does not show, and an end."""
    fail(guests, chain[13:], Answer(console="dmesg.warning.log"))
    with pytest.raises(StageError, match="missing"):
        run(case="userspace_pm: warning nowhere")
    (console,) = workspace.results.glob(f"*/{chain[-1][:12]}/userspace_pm/kernel.log")
    name = fingerprint_of(console)
    assert run(case=f"userspace_pm: {name}") == 0
    assert record(workspace)["candidates"] == [chain[13]]
    fail(guests, chain[5:], Answer(status=None, ended=Ended.PANIC))
    forget(workspace)
    assert run(case="userspace_pm: guest finished") == 0
    assert record(workspace)["candidates"] == [chain[5]]


def fingerprint_of(console: Path) -> str:
    (splat,) = scan_console(console.read_text(encoding="utf-8"))
    return splat.fingerprint


def test_the_bad_ends_selftests_run_on_all_unless_each_runs_its_own(
    run: Bisect, guests: StandIn, chain: list[str], kernel_tree: Path, workspace: Workspace
) -> None:
    """The script came into the tree behind the first bad commit."""
    git(kernel_tree, "checkout", "-q", "-b", "late", chain[0])
    makefile = f"{MPTCP}/Makefile"
    first = commit(kernel_tree, {makefile: "TEST_PROGS := diag.sh\n"}, "without the script")
    bad = commit(kernel_tree, {"net/demo.c": "int bad;\n"}, "demo: bad")
    last = commit(kernel_tree, {makefile: SELFTESTS[makefile]}, "with the script")
    fail(guests, [bad, last])
    assert run() == 0 and record(workspace)["candidates"] == [bad]
    assert run(selftests="own") == 3
    found = record(workspace)
    assert found["candidates"] == [last, bad, first] and found["selftests"] == "own"
    assert {step["code"] for step in found["steps"]} == {0, 1, 125}


def test_a_title_says_nothing_to_a_terminal(
    run: Bisect,
    guests: StandIn,
    chain: list[str],
    kernel_tree: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    hostile = "demo: \x1b]0;owned\x07\x1b[2J##[error]\u202e last"
    fail(guests, [commit(kernel_tree, {"net/demo.c": "int hostile;\n"}, hostile)])
    assert run() == 0
    out, err = capfd.readouterr()
    assert "title: demo: # #[error]\\u202e last\n" in out
    for text in (out, err):
        assert "\x1b" not in text and "\u202e" not in text and "\n##[" not in text


def test_a_commit_without_a_title(
    run: Bisect, guests: StandIn, kernel_tree: Path, workspace: Workspace
) -> None:
    write(kernel_tree, {"net/demo.c": "int untitled;\n"})
    git(kernel_tree, "commit", "-q", "-a", "--allow-empty-message", "-m", "")
    last = git(kernel_tree, "rev-parse", "HEAD")
    fail(guests, [last])
    assert run() == 0 and record(workspace)["candidates"] == [last]


def test_a_partial_clone_fetches_what_is_tested(
    guests: StandIn,
    chain: list[str],
    kernel_tree: Path,
    tmp_path: Path,
    settings_for: Callable[..., Settings],
) -> None:
    git(kernel_tree, "config", "uploadpack.allowFilter", "true")
    git(kernel_tree, "config", "uploadpack.allowAnySHA1InWant", "true")
    clone = tmp_path / "partial"
    words = ("clone", "-q", "--filter=blob:none", "--no-checkout", f"file://{kernel_tree}")
    subprocess.run(["git", *words, clone], check=True)
    fail(guests, chain[5:])
    settings = settings_for(tree=str(clone), mode="virtual")
    before = fingerprint(clone)
    assert bisect.find_commit(settings, Progress(), chain[0], "HEAD", CASE, "bad") == 0
    assert fingerprint(clone) == before


def test_the_task_ends_with_3_for_what_is_no_commit(
    inv: Callable[..., Done], kernel_tree: Path, chain: list[str]
) -> None:
    before = fingerprint(kernel_tree)
    words = ("bisect", "--tree", str(kernel_tree), "--case", CASE)
    for good, said in (
        ("--good=--output=/dev/full", "--good --output=/dev/full: no commit of --tree"),
        ("--good=", "--good COMMIT"),
    ):
        done = inv(*words, good)
        assert done.returncode == 3 and said in done.stderr and done.stdout == ""
    assert fingerprint(kernel_tree) == before


def test_a_test_of_the_kernels_own_can_be_the_case(
    run: Bisect, guests: StandIn, kernel_tree: Path, workspace: Workspace
) -> None:
    """Each commit runs its own, on a kernel that has them."""
    made = [commit(kernel_tree, TESTS, "tests")]
    made += [
        commit(kernel_tree, {"net/other.c": f"int other{n};\n"}, f"other: {n}") for n in range(8)
    ]
    for place, one in enumerate(made):
        console = "kunit.fail.log" if place >= 5 else "kunit.pass.log"
        guests.answers[f"{one[:12]}/kunit"] = Answer("/dev/null", console=console)
    case = "kunit: mptcp-crypto.mptcp_crypto_test_basic"
    assert run(good=made[0], case=case) == 0
    assert record(workspace)["candidates"] == [made[5]]
    assert not (workspace.cache / "selftests").exists()
