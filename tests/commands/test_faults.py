# SPDX-License-Identifier: GPL-2.0-only
"""Every task with every fault of the machine: none ends with 1, which would read as "rejected", or
with a traceback."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import tasks as project_tasks
from ci.base.workspace import PROJECT, Workspace
from tests.conftest import DEMO_C, KERNEL_FILES, ROOT, commit, git
from tests.report import test_stored

pytestmark = pytest.mark.whole

INV = str(Path(sys.executable).with_name("inv"))
PROGRAMS = ("git", "env", "sh", "mount", "umount", "unshare", "mkdir", "dd")
FOREIGN = ("ci/__init__.py", "rich/__init__.py", "filelock.py", "tasks.py", "sitecustomize.py")
NEEDS_KERNEL = "build image run validate boot verify bench stable".split()
SILENT = ("clean",)  # on stdout


@dataclass(frozen=True)
class Place:
    """A project with what its tasks need, but for the compiler: whatever builds ends there, with
    3."""

    project: Path
    env: dict[str, str]
    words: dict[str, list[str]]

    def inv(
        self, task: str, prefix: str = "", suffix: str = "", **env: str
    ) -> "subprocess.CompletedProcess[str]":
        """`inv TASK` below a shell that runs ``prefix`` first and redirects as ``suffix`` says."""
        words = self.words.get(task, [task])
        argv = ["sh", "-c", f'{prefix} exec "$0" "$@" {suffix}', sys.executable, INV, *words]
        if "mount" in prefix:
            argv = [*NAMESPACE, *argv]
        return subprocess.run(
            argv, cwd=self.project, env=self.env | env, capture_output=True, text=True, timeout=180
        )


NAMESPACE = ["unshare", "-m"] if os.getuid() == 0 else ["unshare", "-rm"]
# What each task comes to on a machine without a fault.
HEALTHY = dict.fromkeys(project_tasks.ns.task_names, 3) | {
    "apply": 0,
    "clean": 0,
    "fetch": 0,
    "plan": 0,
    "report": 0,
}
ALL = (*sorted(HEALTHY, key=lambda name: name == "clean"), "--list", "validate --sute")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    base = tmp_path_factory.mktemp("faults")
    project, kernel, series, tools = (
        base / name for name in ("project", "kernel", "series", "tools")
    )
    for folder in (project / "results", kernel, tools, base / "tmp", base / "run"):
        folder.mkdir(parents=True)
    for name in ("ci", "images", "kernel-patches"):
        shutil.copytree(ROOT / name, project / name)
    for name in ("tasks.py", "pyproject.toml"):
        shutil.copy(ROOT / name, project / name)
    for name in PROGRAMS:
        (tools / name).symlink_to(str(shutil.which(name)))
    git(kernel, "init", "-q", "-b", "main")
    commit(kernel, KERNEL_FILES, "v6.12")
    git(kernel, "checkout", "-q", "-b", "topic")
    commit(
        kernel,
        {"net/demo.c": DEMO_C.replace("int line9;", "int line9 = 9;")},
        "demo: start line 9 at nine",
    )
    git(kernel, "format-patch", "-q", "-o", str(series), "main..topic")
    git(kernel, "checkout", "-q", "main")
    guests = [
        test_stored.guest(base / "run", side, "userspace_pm.pass.log", 0)
        for side in ("base", "patched")
    ]
    test_stored.store(base / "run", guests, must_flip=[])
    given = ["--tree", str(kernel), "--series", str(series)]
    branch = ["--branches", f"mine=git:file://{kernel}@main", "--series", str(series)]
    words = {name: [name, *given] for name in ("fetch", "apply", *NEEDS_KERNEL)} | {
        "bench": ["bench", *given[:2]],
        "plan": ["plan", *branch],
        "stable": ["stable", *branch],
        "report": ["report", "--run", str(base / "run")],
        "clean": ["clean", "--cache"],
        "validate --sute": ["validate", "--sute"],
    }
    env = {
        "PATH": str(tools),
        "HOME": str(base / "home"),
        "XDG_CACHE_HOME": str(base / "cache"),
        "TMPDIR": str(base / "tmp"),
        "LC_ALL": "C.UTF-8",
        "BASE": str(base),
    }
    yield Place(project, env, words)
    shutil.rmtree(base)


def ends_well(done: "subprocess.CompletedProcess[str]") -> bool:
    """Whether it says what is wrong in one error at most, and not by a traceback."""
    said = done.stdout + done.stderr
    return (
        done.returncode in (0, 3) and "Traceback" not in said and done.stderr.count("error: ") <= 1
    )


def needs_mounts() -> None:
    """Skip where the machine lets us mount nothing, in a namespace of our own."""
    if subprocess.run(
        [*NAMESPACE, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True
    ).returncode:
        pytest.skip("this machine lets us mount nothing")


def full(folder: str) -> str:
    """Words for a shell: a disk that is full, at ``folder``."""
    return (
        f"mkdir -p {folder}; mount -t tmpfs -o size=4k none {folder}; dd if=/dev/zero of={folder}/x"
        " 2>/dev/null;"
    )


def read_only(folder: str) -> str:
    return f"mkdir -p {folder}; mount --bind {folder} {folder}; mount -o remount,bind,ro {folder};"


# Name -> what a shell does first, how it redirects.
FAULTS: dict[str, tuple[str, str]] = {
    "stdout closed": ("", ">&-"),
    "stdout full": ("", ">/dev/full"),
    "stderr closed": ("", "2>&-"),
    "both full": ("", ">/dev/full 2>&1"),
    "results read-only": (read_only("results"), ""),
    "results and cache full": (full("results") + full("$XDG_CACHE_HOME"), ""),
    "cache read-only": (read_only("$XDG_CACHE_HOME"), ""),
    "TMPDIR full": (full("$TMPDIR"), ""),
    "no file may grow": ("ulimit -f 0;", ""),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_no_task_blames_the_series(fault: str, place: Place) -> None:
    prefix, suffix = FAULTS[fault]
    if "mount" in prefix:
        needs_mounts()
    ended = {task: place.inv(task, prefix, suffix) for task in ALL}
    wrong = {
        task: (done.returncode, done.stdout, done.stderr)
        for task, done in ended.items()
        if not ends_well(done)
    }
    assert not wrong
    codes = {task: done.returncode for task, done in ended.items()}
    if fault.startswith("stdout"):
        # What was asked for could not be said.
        assert {task for task, code in codes.items() if code == 0} <= {"clean"}
    if fault.startswith("results"):
        for task in ("apply", "fetch", "validate", "stable"):
            assert codes[task] == 3, task
            said = r"No space left|0\.0 GB free" if "full" in fault else "results/"
            assert re.search(said, ended[task].stderr), task
        assert codes["plan"] == (3 if "full" in fault else 0) and codes["report"] == 0
    if fault == "cache read-only":
        assert (
            codes["apply"] == codes["plan"] == 3
            and "Read-only file system" in ended["apply"].stderr
        )


@pytest.mark.parametrize("size", ["64k", "600m"])
def test_a_patch_for_which_tmpdir_has_no_room(size: str, place: Place, tmp_path: Path) -> None:
    """What git cut short, or could not write, is no conflict."""
    needs_mounts()
    kernel = place.project.parent / "kernel"
    git(kernel, "checkout", "-q", "-b", f"doc-{size}", "main")
    commit(kernel, {"Documentation/long.rst": "a long text\n" * 50_000}, "a document")
    git(kernel, "format-patch", "-q", "-o", str(tmp_path / "doc"), "main..")
    git(kernel, "checkout", "-q", "main")
    place.words["doc"] = ["apply", "--tree", str(kernel), "--series", str(tmp_path / "doc")]
    done = place.inv("doc", f"mkdir -p $TMPDIR; mount -t tmpfs -o size={size} none $TMPDIR;")
    assert done.returncode == (3 if size == "64k" else 0), done.stderr
    assert size != "64k" or re.search(
        "No space left|nothing can be written|0\\.0 GB free", done.stderr
    )


def test_what_others_left_in_the_environment_does_no_harm(place: Place) -> None:
    """Modules of the same names, a broken sitecustomize, no stdin and no home."""
    foreign = place.project.parent / "foreign"
    for name in FOREIGN:
        (foreign / name).parent.mkdir(parents=True, exist_ok=True)
        (foreign / name).write_text("raise RuntimeError('foreign')\n", encoding="utf-8")
    ended = {task: place.inv(task, "unset HOME;", "<&-", PYTHONPATH=str(foreign)) for task in ALL}
    assert {task: done.returncode for task, done in ended.items() if task in HEALTHY} == HEALTHY
    for task, done in ended.items():
        assert (
            "Error in sitecustomize" in done.stderr and "(most recent call last)" not in done.stderr
        ), task


def test_a_module_that_does_not_import(place: Place) -> None:
    (broken := place.project / "ci/logs/splats.py").write_text(
        "import nothing_that_is_there\n", encoding="utf-8"
    )
    try:
        for task, more in (("report", []), ("--list", []), ("apply", ["--debug"])):
            place.words["broken"] = [task, *more]
            done = place.inv("broken")
            assert (
                done.returncode == 3
                and "No module named 'nothing_that_is_there' (splats.py:1)" in done.stderr
            )
            assert len(done.stderr.splitlines()) == 1 or more
            assert ("Traceback" in done.stderr) == bool(more)
    finally:
        shutil.copy(ROOT / "ci/logs/splats.py", broken)


def test_nobody_reads_what_is_said(place: Place) -> None:
    argv = [sys.executable, INV, *place.words["report"]]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        argv, cwd=place.project, env=place.env, stdout=writing, stderr=subprocess.PIPE, text=True
    )
    os.close(writing)
    assert done.returncode == 3 and done.stderr.count("\n") == 1 and "Broken pipe" in done.stderr


@pytest.mark.parametrize("options", [["--run", "{}"], ["--tree", "{}"], ["--suite", "{}"]])
def test_a_fifo_hangs_nothing(options: list[str], place: Place, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    os.mkfifo(tmp_path / "run.json")
    task = "report" if "--run" in options else "apply"
    for name in (tmp_path / "fifo", tmp_path, Path("/dev/zero")):
        place.words["fifo"] = [task, *(word.format(name) for word in options)]
        done = place.inv("fifo", PATH=os.environ["PATH"])
        assert done.returncode == 3 and done.stderr.count("error: ") == 1 and done.stdout == ""


WRONG = {
    "validate": [
        "--suite /",
        "--source git:--upload-pack=x@main",
        "--series nowhere",
        "--tree {project}",
        "--suite no_such --tree {kernel} --series {series}",
        "--without 7 --tree {kernel} --series {series}",
    ],
    "apply": ["--source git:x", "--without 7 --tree {kernel} --series {series}"],
    "run": ["--suite no_such --tree {kernel} --series {series} --mode virtual"],
    "verify": ["--seeds 5..1", "--suite no_such --tree {kernel} --series {series}"],
    "boot": ["--seed 7 --mode tcg --tree {kernel} --series {series}"],
    "bench": ["--rows x", "--source debian:x --mode virtual"],
    "stable": ["--selftests x", "--branches m=git:--all@x", "--series nowhere"],
    "plan": ["--shards 0"],
    "fetch": ["--tree {project}"],
}


@pytest.mark.parametrize("task", WRONG)
def test_a_wrong_option_makes_no_run(task: str, place: Place) -> None:
    """The machine is whole here: were it not for the option, the task would go on."""
    base, results = place.project.parent, place.project / "results"
    shutil.rmtree(results)
    (results / "a-run").mkdir(parents=True)
    (results / "latest").symlink_to("a-run")
    kernel = base / "with-selftests"
    if not kernel.exists():
        git(base, "clone", "-q", str(base / "kernel"), str(kernel))
        commit(
            kernel,
            {"tools/testing/selftests/net/mptcp/Makefile": "TEST_PROGS := diag.sh\n"},
            "selftests",
        )
    for line in WRONG[task]:
        words = line.format(kernel=kernel, series=base / "series", project=place.project).split()
        place.words["wrong"] = [
            task,
            *words,
            *(["--mode", "virtual"] if task == "validate" else []),
        ]
        done = place.inv("wrong", PATH=os.environ["PATH"])
        assert done.returncode == 3 and done.stdout == "" and done.stderr.count("error: ") == 1, (
            line,
            done.stderr,
        )
        assert sorted(path.name for path in results.iterdir()) == ["a-run", "latest"], line
    assert (results / "latest").readlink() == Path("a-run")


def test_a_signal_that_is_ignored_stays_ignored(place: Place, tmp_path: Path) -> None:
    """nohup; a shell's background job."""
    with lock_held(place, "trees"):
        us = subprocess.Popen(
            [
                "sh",
                "-c",
                'trap \'\' HUP; exec "$0" "$@"',
                sys.executable,
                INV,
                *place.words["apply"],
            ],
            cwd=place.project,
            env=place.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert us.stderr
        assert any("waiting for trees, held by process" in line for line in us.stderr)
        us.send_signal(signal.SIGHUP)
        us.send_signal(signal.SIGHUP)
        time.sleep(0.3)
        assert us.poll() is None
    assert "patched: tree" in us.communicate(timeout=60)[0] and us.returncode == 0


@contextlib.contextmanager
def lock_held(place: Place, name: str) -> Iterator[None]:
    """Somebody else holds a lock of the cache."""
    workspace = Workspace(
        place.project, Path(place.env["XDG_CACHE_HOME"]) / PROJECT, place.project / "results"
    )
    with workspace.lock(name, stage="build"):
        yield


def test_a_second_signal_ends_at_once_with_3(place: Place) -> None:
    """The first waits for what it cleans up: here a command that takes its time to be let go of."""
    slow = (
        "import signal, sys, time; from ci.base import exits as door;"
        " door.enter(__import__('pathlib').Path.cwd())\n"
    )
    slow += (
        "def body():\n"
        "    try:\n"
        "        print('working', flush=True); time.sleep(60)\n"
        "    finally:\n"
        "        print('cleaning', flush=True); time.sleep(60)\n"
        "door.leave(door.guarded(body))\n"
    )
    us = subprocess.Popen(
        [sys.executable, "-c", slow],
        cwd=place.project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert us.stdout and us.stdout.readline() == "working\n"
    us.send_signal(signal.SIGINT)
    assert us.stdout.readline() == "cleaning\n"
    us.send_signal(signal.SIGINT)
    assert us.communicate(timeout=10)[1] == "interrupted\n" and us.returncode == 3


@pytest.fixture(scope="module")
def slots(place: Place) -> list[str]:
    """The sources in the cache, once `plan` and `apply` have brought theirs."""
    assert place.inv("plan").returncode == place.inv("apply").returncode == 0
    trees = Path(place.env["XDG_CACHE_HOME"]) / PROJECT / "trees"
    return [path.name for path in trees.iterdir() if path.name != "git.git"]


@pytest.mark.parametrize("task", ["apply", "plan", "report", "doctor", "--list"])
def test_what_needs_no_lock_does_not_wait(task: str, place: Place, slots: list[str]) -> None:
    """Another run builds on the same source, for hours."""
    assert len(slots) >= 2
    with contextlib.ExitStack() as held:
        for slot in slots:
            held.enter_context(lock_held(place, f"work-{slot}"))
        done = place.inv(task)
    assert done.returncode == HEALTHY.get(task, 0) and "waiting" not in done.stderr
