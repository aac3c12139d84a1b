# SPDX-License-Identifier: GPL-2.0-only
"""tasks.py as users call it: exit codes, words on the right stream, verdicts of runs that end
before a guest."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ci.base.workspace import Workspace
from ci.guest import rootfs
from tests.base.test_processes import gone
from tests.conftest import DEMO_C, KERNEL_FILES, commit, fingerprint, git

pytestmark = pytest.mark.whole

Done = subprocess.CompletedProcess[str]
CONFIG = "tools/testing/selftests/net/mptcp/config"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    kept = {
        key: value
        for key, value in os.environ.items()
        if key not in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY")
    }
    return kept | {"XDG_CACHE_HOME": str(tmp_path / "xdg"), "NO_COLOR": "1"}


@pytest.fixture
def inv(project: Path, env: dict[str, str]) -> Callable[..., Done]:
    def called(*args: str, **more: str) -> Done:
        argv = [str(Path(sys.executable).with_name("inv")), *args]
        return subprocess.run(
            argv, cwd=project, env=env | more, capture_output=True, text=True, timeout=120
        )

    return called


def verdict(project: Path) -> dict[str, object]:
    return dict(json.loads((project / "results/latest/verdict.json").read_text(encoding="utf-8")))


def test_the_list_reads_like_a_manual(inv: Callable[..., Done]) -> None:
    done = inv("--list")
    assert done.returncode == 0
    for (
        name
    ) in "apply bisect boot build check clean doctor fetch image report run test validate".split():
        assert f"\n  {name} " in done.stdout


@pytest.mark.parametrize(
    "args", [["validate", "--sute", "smoke"], ["valdate"], ["validate", "--mode"], ["--nope"]]
)
def test_a_mistyped_command_line_is_no_rejection(args: list[str], inv: Callable[..., Done]) -> None:
    done = inv(*args)
    assert done.returncode == 3 and done.stdout == "" and "error" in done.stderr


def test_help_is_not_mistaken(inv: Callable[..., Done]) -> None:
    for args in (["--help", "validate"], ["validate", "--help"], ["--help"], ["--list"]):
        done = inv(*args)
        assert done.returncode == 0 and done.stderr == "" and len(done.stdout.splitlines()) > 10


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--mode", "warp"], "--mode warp"),
        (["--seed", "-1"], "--seed"),
        (["--seed", "5", "--mode", "tcg"], "real time"),
        (["--layout", "odd"], "--layout odd"),
        (["--tree", "nowhere"], "nowhere: no such folder"),
        (["--series", "nowhere"], "nowhere: no such folder"),
        (["--source", "tar:x", "--mode", "virtual"], "--source tar:x"),
    ],
)
def test_a_wrong_value_is_no_rejection(
    args: list[str], said: str, inv: Callable[..., Done], project: Path
) -> None:
    git(project, "init", "-q")
    commit(project, KERNEL_FILES, "so that --tree . is a kernel")
    done = inv("validate", *args)
    assert done.returncode == 3 and said in done.stderr + done.stdout


def test_apply_tells_what_became_of_each_patch(
    inv: Callable[..., Done], kernel_tree: Path, demo_series: Path
) -> None:
    done = inv("apply", "--tree", str(kernel_tree), "--series", str(demo_series))
    assert done.returncode == 0, done.stderr
    assert "1: demo: start line 10 at one: applies" in done.stderr
    assert f"patched: tree {git(kernel_tree, 'rev-parse', 'with-series^{tree}')}" in done.stdout


def test_a_patch_is_put_on_adapted_only_where_that_is_asked_for(
    inv: Callable[..., Done], kernel_tree: Path, demo_series: Path, project: Path
) -> None:
    commit(kernel_tree, {"net/demo.c": DEMO_C.replace("int line33;", "long line33;")}, "in the way")
    words = ("apply", "--tree", str(kernel_tree), "--series", str(demo_series))
    done = inv(*words)
    assert done.returncode == 2 and "with --adapt it can be put on" in done.stderr
    done = inv(*words, "--adapt")
    assert done.returncode == 0, done.stderr
    assert "2: demo: start more lines elsewhere: applies adapted" in done.stderr
    log = max(
        (project / "results").glob("*/patched/apply.log"), key=lambda path: path.stat().st_mtime_ns
    )
    assert "- int line33;\n+ long line33;\n" in log.read_text(encoding="utf-8")


def test_a_conflict_is_exit_2_and_leaves_the_checkout_alone(
    inv: Callable[..., Done], kernel_tree: Path, demo_series: Path, project: Path
) -> None:
    commit(kernel_tree, {"net/demo.c": DEMO_C.replace("int line29;", "long line29;")}, "in the way")
    before = fingerprint(kernel_tree)
    done = inv(
        "validate", "--mode", "virtual", "--tree", str(kernel_tree), "--series", str(demo_series)
    )
    assert done.returncode == 2, done.stderr
    said = str(verdict(project)["reasons"])
    assert (
        "0002-demo-start-more-lines-elsewhere.patch" in done.stderr
        and "hunk 2 of net/demo.c" in done.stderr
    )
    assert "2: demo: start more lines elsewhere" in said and "net/demo.c" in said
    assert verdict(project)["verdict"] == "rejected" and verdict(project)["exit_code"] == 2
    assert [row["status"] for row in verdict(project)["patches"]] == ["applies", "conflicts"]  # type: ignore[attr-defined]
    assert fingerprint(kernel_tree) == before
    (src,) = (project.parent / "xdg/patchverdict/trees").glob("*/src")
    assert [path.name for path in src.iterdir()] == [
        ".git"
    ]  # patches are tried in an index: no file was ever written
    assert inv("apply", "--tree", str(kernel_tree), "--series", str(demo_series)).returncode == 2
    again = inv("report")
    assert again.returncode == 2 and "rejected (exit 2)" in again.stdout


def test_a_missing_tool_is_no_rejection(
    inv: Callable[..., Done], tmp_path: Path, project: Path
) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("git", "env", "sh"):
        (tools / name).symlink_to(str(shutil.which(name)))
    done = inv("validate", PATH=str(tools))
    assert done.returncode == 3
    assert verdict(project)["verdict"] == "error"
    assert "gcc is not installed; install the package gcc" in str(verdict(project)["reasons"])


SUITE = {
    "tools/testing/selftests/net/mptcp/Makefile": "TEST_PROGS := diag.sh\n",
    CONFIG: "CONFIG_MPTCP=y\n",
}


def test_what_needs_no_kernel_is_tried_before_one_is_built(
    inv: Callable[..., Done], kernel_tree: Path, demo_series: Path, tmp_path: Path, project: Path
) -> None:
    """The guest's root cannot be made: told with the last lines, the log, and before the first
    object."""
    commit(kernel_tree, SUITE, "a suite")
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "mmdebstrap").write_text(
        '#!/bin/sh\necho I: at work >&2\necho "env: cannot change directory: Permission denied"'
        " >&2\nexit 13\n",
        encoding="ascii",
    )
    (tools / "mmdebstrap").chmod(0o755)
    args = (
        "--mode",
        "virtual",
        "--suite",
        "diag",
        "--tree",
        str(kernel_tree),
        "--series",
        str(demo_series),
    )
    done = inv("validate", *args, PATH=f"{tools}:{os.environ['PATH']}")
    assert done.returncode == 3
    (log,) = (project / "results").resolve().glob("2*/root.log")
    assert "Permission denied" in log.read_text(encoding="utf-8")
    for said in (done.stderr, str(verdict(project)["reasons"])):
        assert (
            "ended with exit code 13" in said
            and "cannot change directory: Permission denied" in said
        )
        assert f"log: {log}" in said
    (slot,) = (tmp_path / "xdg/patchverdict/trees").glob("tree-*")
    assert not (slot / "obj").exists()


@pytest.fixture
def silent_server() -> Iterator[int]:
    """The port of a server that accepts and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_and_what_it_started(
    number: signal.Signals, project: Path, env: dict[str, str], silent_server: int
) -> None:
    argv = [
        str(Path(sys.executable).with_name("inv")),
        "validate",
        "--mode",
        "virtual",
        "--source",
        f"git:git://127.0.0.1:{silent_server}/net.git@main",
    ]
    us = subprocess.Popen(
        argv, cwd=project, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    children: list[int] = []
    for _ in range(400):
        children = [int(word) for word in below(us.pid)]
        if any("fetch" in command_of(pid) for pid in children):
            break
        time.sleep(0.05)
    assert any("fetch" in command_of(pid) for pid in children)
    us.send_signal(number)
    us.communicate(timeout=30)
    assert us.returncode == 3
    assert all(map(gone, children))
    assert verdict(project)["verdict"] == "error" and "interrupted" in str(
        verdict(project)["reasons"]
    )


def below(pid: int) -> list[str]:
    """Process ids below a process, at any depth."""
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return []
    return children + [inner for child in children for inner in below(int(child))]


def command_of(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode().replace("\0", " ")
    except OSError:
        return ""


def test_the_job_summary_gets_the_summary(
    inv: Callable[..., Done], kernel_tree: Path, demo_series: Path, tmp_path: Path
) -> None:
    note = tmp_path / "summary"
    commit(kernel_tree, {"net/demo.c": "int nothing;\n"}, "in the way")
    done = inv(
        "validate",
        "--mode",
        "virtual",
        "--tree",
        str(kernel_tree),
        "--series",
        str(demo_series),
        GITHUB_STEP_SUMMARY=str(note),
        GITHUB_ACTIONS="true",
    )
    assert done.returncode == 2
    assert note.read_text(encoding="utf-8").startswith("## rejected (exit 2)")
    assert done.stderr.count("::group::") == done.stderr.count("::endgroup::") > 1


def test_clean_takes_results_and_the_cache_only_when_asked(
    inv: Callable[..., Done], kernel_tree: Path, demo_series: Path, project: Path
) -> None:
    before = fingerprint(kernel_tree)
    inv("apply", "--tree", str(kernel_tree), "--series", str(demo_series))
    cache = project.parent / "xdg/patchverdict"
    assert cache.exists() and list((project / "results").iterdir())
    assert inv("clean").returncode == 0
    assert cache.exists() and not list((project / "results").iterdir())
    assert inv("clean", "--cache").returncode == 0
    assert not cache.exists() and fingerprint(kernel_tree) == before


def test_doctor_names_the_remedy(inv: Callable[..., Done], tmp_path: Path, project: Path) -> None:
    wanted = Workspace(project, tmp_path / "xdg/patchverdict", project / "results")
    rootfs.root_folder(wanted).mkdir(
        parents=True
    )  # as if it had been made: no test needs a network
    (wanted.cache / "trees").mkdir()
    done = inv("doctor")
    assert done.returncode == 0 and "no problems" in done.stdout
    assert (
        "series: deny-join-id0, 5 patches" in done.stdout
        and "guest root: in the cache" in done.stdout
    )
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "git").symlink_to(str(shutil.which("git")))
    done = inv("doctor", PATH=str(tools))
    assert (
        done.returncode == 3
        and "PROBLEM  ccache: missing -> install the package ccache" in done.stdout
    )


def test_check_finds_what_is_wrong(inv: Callable[..., Done], project: Path) -> None:
    """One fault for each of the five checkers."""
    git(project, "init", "-q")
    (project / "tests").mkdir()
    (project / "tests/__init__.py").touch()
    assert inv("check").returncode == 0
    for name, text in (
        ("ci/ugly.py", "x = {  'a':1 }\n"),
        ("ci/lint.py", "import os\n"),
        ("ci/types.py", "def f(x):\n    return x\n"),
        ("ci/shell.sh", "#!/bin/sh\nrm $1\n"),
        ("ci/base/upward.py", "from ci.commands import plan\n\nUSED = plan\n"),
    ):
        (project / name).write_text(text, encoding="utf-8")
    done = inv("check")
    assert done.returncode == 1
    for checker, fault in (
        ("format", "ugly.py"),
        ("lint", "lint.py"),
        ("types", "types.py"),
        ("shell", "shell.sh"),
        ("rules", "ci/base/upward.py:1: base comes before commands and cannot import it"),
    ):
        assert f"{checker}: FAILED" in done.stderr and fault in done.stdout
