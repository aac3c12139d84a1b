# SPDX-License-Identifier: GPL-2.0-only
"""The whole way on a real kernel in real guests. Sources, kernels and images are kept in the user's
cache."""

import functools
import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ci.base import settings
from ci.base.progress import Progress
from ci.base.workspace import Workspace, remove_tree
from ci.guest import selftests
from ci.kernel import build
from ci.series.patches import load_series
from ci.suites.mptcp import COLLECTION
from ci.trees import source
from ci.trees.fetch import fetch_source
from ci.trees.source import Source
from ci.trees.tree import Trees, derive_trees
from tests.base.test_processes import gone
from tests.commands.test_tasks import Done, below, command_of
from tests.conftest import ROOT, fingerprint, git

pytestmark = pytest.mark.guest
FLIP = "Established IPv4 MPTCP Connection ns2 => ns1"
SOURCE = "debian:6.12"
JOIN = "net/mptcp/subflow.c"
LIMIT_S = 3600


@pytest.fixture
def inv(project: Path) -> Callable[..., Done]:
    """``inv ARGS`` in a copy of the checkout; its progress is shown with the test's output."""

    def called(*args: str) -> Done:
        argv = [str(Path(sys.executable).with_name("inv")), *args]
        done = subprocess.run(argv, cwd=project, capture_output=True, text=True, timeout=LIMIT_S)
        print(done.stderr, done.stdout)
        return done

    return called


def verdict(project: Path) -> dict[str, Any]:
    return dict(json.loads((project / "results/latest/verdict.json").read_text(encoding="utf-8")))


@functools.cache
def shipped() -> tuple[Source, Trees, Workspace]:
    """The kernel that the tests run on, and the trees of the project's series on it."""
    wanted = settings.make_settings(ROOT, source=SOURCE)
    loaded = load_series(Path(wanted.series))
    found = fetch_source(wanted, loaded, Progress())
    return found, derive_trees(loaded, found, frozenset()), wanted.workspace


def patch(folder: Path, title: str, file: str, old: str, new: str, *, number: int = 1) -> Path:
    """A folder with a patch that replaces ``old`` by ``new`` in a file of the kernel as it
    comes."""
    found, _, _ = shipped()
    text = found.git.run("show", f"{found.commit}:{file}").stdout
    assert old in text
    for side, content in (("a", text), ("b", text.replace(old, new, 1))):
        path = folder / "work" / side / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    diff = subprocess.run(
        ["git", "diff", "--no-index", "--no-prefix", "a", "b"],
        cwd=folder / "work",
        capture_output=True,
        text=True,
    ).stdout
    mail = (
        f"From: Ada <ada@example.org>\nSubject: [PATCH] {title}\n\nA test's patch.\n---\n{diff}--"
        " \n2\n"
    )
    made = folder / "series"
    made.mkdir(exist_ok=True)
    (made / f"{number:04}-patch.patch").write_text(mail, encoding="utf-8")
    shutil.rmtree(folder / "work")
    return made


def entries(kind: str) -> dict[str, float]:
    """Finished entries of the cache with the times at which they appeared."""
    folder = shipped()[2].cache / kind
    return {path.name: path.stat().st_mtime for path in folder.iterdir()} if folder.exists() else {}


def test_the_series_is_accepted_and_a_second_run_builds_nothing(
    inv: Callable[..., Done], project: Path
) -> None:
    done = inv("validate", "--source", SOURCE)
    assert done.returncode == 0 and done.stdout.startswith("accepted (exit 0)")
    found = verdict(project)
    assert (found["verdict"], found["exit_code"], found["reasons"]) == ("accepted", 0, [])
    change = {(case["suite"], case["name"]): case["change"] for case in found["cases"]}
    base = {(case["suite"], case["name"]): case["base"] for case in found["cases"]}
    assert change["userspace_pm", FLIP] == "fixed"
    assert not {"regressed", "new-failure", "lost", "unknown"} & set(change.values())
    assert [row["status"] for row in found["patches"]] == ["already there"] * 5

    # What base does not reach with the patched script has its base from base's own.
    folder = (project / "results/latest").resolve()
    assert (folder / "base-old/userspace_pm/tests.log").exists()
    late = [key for key in change if key[0] == "userspace_pm" and "RM_ADDR" in key[1]]
    assert late and all(base[key] == "pass" and change[key] == "kept" for key in late)

    # A case for each subtest that a script's own TAP names.
    cases = {
        (c.attrib["classname"], c.attrib["name"])
        for c in ET.parse(folder / "junit.xml").getroot().iter("testcase")
    }
    for script in ("userspace_pm", "mptcp_join", "pm_netlink", "mptcp_sockopt", "diag"):
        (path,) = (folder / "patched").glob(f"{script}*/tests.log")
        log = path.read_text(encoding="utf-8")
        names = re.findall(rf"^(?:not )?ok \d+ - {script}: (.+?)(?: # .*)?$", log, re.M)
        assert names and all(
            (f"v6.12.guest.{script}", " ".join(name.split())) in cases for name in names
        )

    facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert facts["trees"]["patched"] == facts["trees"]["shipped"] != facts["trees"]["base"]
    assert facts["kernels"]["base"]["build_id"] != facts["kernels"]["patched"]["build_id"]
    assert facts["mode"]["name"] in ("kvm", "virtual") and facts["mode"]["why"]
    assert {"gcc", "qemu", "virtme-ng"} <= set(facts["versions"]) and facts["packages"]

    # The reports are made from what is stored.
    before = fingerprint(folder)
    assert inv("report").returncode == 0
    assert fingerprint(folder) == before

    kept = {kind: entries(kind) for kind in ("trees", "kernels", "selftests", "roots", "images")}
    assert inv("validate", "--source", SOURCE).returncode == 0
    assert {kind: entries(kind) for kind in kept} == kept
    assert verdict(project) == found


def test_without_the_fix_it_is_rejected_by_name(inv: Callable[..., Done], project: Path) -> None:
    assert inv("validate", "--source", SOURCE, "--without", "1", "--suite", "smoke").returncode == 1
    assert FLIP in verdict(project)["reasons"][0]
    assert verdict(project)["patches"][0]["status"] == "left out"


@pytest.mark.parametrize(
    ("number", "case"),
    [
        (4, "tfo_deny_join: C flag in the ACK, first ACK out of order must be fixed"),
        (5, "sockopt_messages: mptcpi_rcv_delta is off by 3 must be fixed"),
    ],
)
def test_what_no_selftest_sees_of_the_series_its_own_checks_see(
    number: int, case: str, inv: Callable[..., Done], project: Path
) -> None:
    words = ("--source", SOURCE, "--suite", "tfo_deny_join,sockopt_messages")
    assert inv("validate", *words, "--without", str(number)).returncode == 1
    assert any(reason.startswith(case) for reason in verdict(project)["reasons"])
    fixed = [row["name"] for row in verdict(project)["cases"] if row["change"] == "fixed"]
    assert len(fixed) == {4: 7, 5: 3}[number], fixed


def test_a_warning_on_the_path_of_the_flag_rejects(
    inv: Callable[..., Done], project: Path, tmp_path: Path
) -> None:
    old = "\tsubflow_req->msk = NULL;\n"
    made = patch(tmp_path, "mptcp: warn", JOIN, old, old + "\tWARN_ON(1);\n")
    assert (
        inv("validate", "--source", SOURCE, "--series", str(made), "--suite", "smoke").returncode
        == 1
    )
    reasons = verdict(project)["reasons"]
    assert any("WARNING" in reason and JOIN in reason for reason in reasons)
    assert verdict(project)["counts"]["regressed"] >= 1


def test_a_kernel_that_panics_at_boot_rejects(
    inv: Callable[..., Done], project: Path, tmp_path: Path
) -> None:
    found = shipped()[0].git.run("show", f"{shipped()[0].commit}:{JOIN}").stdout
    start = re.search(r"void __init mptcp_subflow_init\(void\)\n\{\n", found)
    assert start
    made = patch(tmp_path, "mptcp: panic", JOIN, start[0], start[0] + '\tpanic("mptcp: no");\n')
    begin = time.monotonic()
    assert (
        inv("validate", "--source", SOURCE, "--series", str(made), "--suite", "smoke").returncode
        == 1
    )
    assert time.monotonic() - begin < LIMIT_S / 2
    assert any("panicked" in reason for reason in verdict(project)["reasons"])
    log = project / "results/latest/patched/userspace_pm/kernel.log"
    assert "Kernel panic - not syncing: mptcp: no" in log.read_text(encoding="utf-8")


def test_a_script_that_hangs_rejects(
    inv: Callable[..., Done], project: Path, tmp_path: Path
) -> None:
    script = "tools/testing/selftests/net/mptcp/userspace_pm.sh"
    text = shipped()[0].git.run("show", f"{shipped()[0].commit}:{script}").stdout
    call = re.search(r"^make_connection\n", text, re.M)
    assert call
    made = patch(tmp_path, "selftests: hang", script, call[0], "sleep infinity\n" + call[0])
    assert (
        inv("validate", "--source", SOURCE, "--series", str(made), "--suite", "smoke").returncode
        == 1
    )
    assert any("did not end in time" in reason for reason in verdict(project)["reasons"])
    assert (
        "Created network namespaces"
        in (project / "results/latest/patched/userspace_pm/tests.log").read_text()
    )


def test_a_patch_that_does_not_compile(
    inv: Callable[..., Done], project: Path, tmp_path: Path
) -> None:
    old = "\tsubflow_req->msk = NULL;\n"
    made = patch(tmp_path, "mptcp: typo", JOIN, old, old + "\tno_such_call(subflow_req)\n")
    assert inv("validate", "--source", SOURCE, "--series", str(made)).returncode == 2
    said = json.dumps(verdict(project)["reasons"])
    assert JOIN in said and "error: expected" in said


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """Where a user's checkout is to lie; what the cache keeps for it goes with the test."""
    folder = tmp_path / "linux"
    yield folder
    remove_tree(source.slot_folder(shipped()[2], "tree", str(folder)))
    shutil.rmtree(tmp_path / "cache", ignore_errors=True)


def test_a_checkout_with_and_without_the_series(
    inv: Callable[..., Done], tmp_path: Path, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A user's own tree gives the trees, and with them the verdict, that the package gives; it
    stays as it is."""
    found, trees, _ = shipped()
    git(tmp_path, "clone", "-q", "--shared", "--no-checkout", f"{found.slot / 'src'}", "linux")
    git(
        checkout, "sparse-checkout", "set", "net/mptcp"
    )  # 90,000 files would take longer than all the rest
    wanted = {side: getattr(trees, side).tree_id for side in ("base", "patched")}
    for commit in (found.commit, trees.base.commit):
        git(checkout, "fetch", "-q", f"{found.slot / 'src'}", "+refs/*:refs/theirs/*")
        git(checkout, "checkout", "-q", "--detach", commit)
        index, refs = (checkout / ".git/index").read_bytes(), git(checkout, "show-ref")
        assert inv("apply", "--tree", str(checkout)).returncode == 0
        stated = inv("apply", "--tree", str(checkout)).stdout
        assert all(f"{side}: tree {tree_id}" in stated for side, tree_id in wanted.items())
        assert (checkout / ".git/index").read_bytes() == index and git(checkout, "show-ref") == refs
        assert git(checkout, "status", "--porcelain") == ""
    monkeypatch.setenv(
        "XDG_CACHE_HOME", str(tmp_path / "cache")
    )  # the user's would share and keep these objects
    stated = inv(
        "apply", "--source", f"git:file://{checkout}@{git(checkout, 'rev-parse', 'HEAD')}"
    ).stdout
    assert all(f"{side}: tree {tree_id}" in stated for side, tree_id in wanted.items())


def test_a_branch_of_a_repository_and_a_series_on_stdin_give_the_plan_of_the_package(
    project: Path, checkout: Path, tmp_path: Path
) -> None:
    """Whichever way branch and series come: the same digests, and the same states."""
    found, _, _ = shipped()
    checkout.mkdir()
    git(checkout, "init", "-q", "--bare")
    git(
        checkout,
        "fetch",
        "-q",
        "--depth=1",
        f"file://{found.slot / 'src'}",
        f"{found.commit}:refs/heads/linux-6.12.y",
    )
    mails = b"".join(
        path.read_bytes()
        for path in sorted((project / "kernel-patches/deny-join-id0").glob("0*.patch"))
    )
    plans = []
    apart = {
        "XDG_CACHE_HOME": str(tmp_path / "cache")
    }  # the user's would share and keep these objects
    for source_, series_, stdin, env in (
        (SOURCE, "kernel-patches/deny-join-id0", b"", {}),
        (f"git:file://{checkout}@linux-6.12.y", "-", mails, apart),
    ):
        argv = [
            str(Path(sys.executable).with_name("inv")),
            "plan",
            "--branches",
            f"one={source_}",
            "--series",
            series_,
            "--format",
            "json",
        ]
        done = subprocess.run(
            argv,
            cwd=project,
            input=stdin,
            capture_output=True,
            timeout=LIMIT_S,
            env=os.environ | env,
        )
        assert done.returncode == 0, done.stderr.decode()
        (branch,) = json.loads(done.stdout)["branches"]
        plans.append(branch["patches"])
    assert plans[0] == plans[1]
    assert [row["status"] for row in plans[0]] == ["already there"] * 5
    assert [row["on_base"] for row in plans[0]] == [
        "applies",
        "applies as backport",
        "applies",
        "applies",
        "applies",
    ]


@pytest.fixture
def quiet(tmp_path: Path) -> Iterator[tuple[Progress, Path]]:
    yield Progress(), tmp_path / "log"


def test_every_step_of_the_series_compiles(quiet: tuple[Progress, Path]) -> None:
    """Base and each base+1..n; what a step compiles is what it touches."""
    found, trees, workspace = shipped()
    loaded, tools = load_series(Path(settings.make_settings(ROOT).series)), build.find_toolchain()
    build_ids: list[str] = []
    for upto in range(len(loaded.patches) + 1):
        left_out = frozenset(range(upto + 1, len(loaded.patches) + 1))
        step = derive_trees(loaded, found, left_out).patched
        assert (upto == 0) == (step.tree_id == trees.base.tree_id)
        built = build.build_kernel(step, workspace, tools, COLLECTION, *quiet)
        assert selftests.install_selftests(step, workspace, tools, COLLECTION, quiet[1]).exists()
        build_ids.append(built.build_id)
    # Patches 3 and 5 are of the selftests alone.
    assert [number for number in range(1, 6) if build_ids[number] != build_ids[number - 1]] == [
        1,
        2,
        4,
    ]


def test_names_that_the_series_adds_are_not_in_base() -> None:
    _, trees, _ = shipped()
    loaded = load_series(Path(settings.make_settings(ROOT).series))
    added = set()
    for one in loaded.patches:
        lines = [
            line[1:]
            for line in one.diff.splitlines()
            if line.startswith("+") and not line.startswith("+++")
        ]
        added |= set(re.findall(r"\bMPTCP_PM_EV_FLAG_\w+|\b\w+_nojoin\b", "\n".join(lines)))
    assert added == {"MPTCP_PM_EV_FLAG_DENY_JOIN_ID0", "client_nojoin", "server_nojoin"}
    for name in added:
        for commit, there in ((trees.base.commit, False), (trees.patched.commit, True)):
            done = trees.base.source.git.run(
                "grep", "-qw", name, commit, "--", "net", "include", "tools/testing", ok=(0, 1)
            )
            assert (done.returncode == 0) == there, name


def test_only_what_a_patch_reaches_is_compiled_and_the_result_is_that_of_an_empty_build(
    quiet: tuple[Progress, Path], tmp_path: Path
) -> None:
    found, trees, workspace = shipped()
    tools = build.find_toolchain()
    # Whatever the object directory holds: build patched in it, then one line more.
    remove_tree(build.build_kernel(trees.patched, workspace, tools, COLLECTION, *quiet).folder)
    build.build_kernel(trees.patched, workspace, tools, COLLECTION, *quiet)
    stamp = f"{time.time_ns()}"
    old = "\tsubflow_req->msk = NULL;\n"
    made = patch(tmp_path, "mptcp: a line", JOIN, old, old + f'\tpr_debug("{stamp}");\n')
    one = derive_trees(load_series(made), found, frozenset()).patched
    built = build.build_kernel(one, workspace, tools, COLLECTION, *quiet)
    # The image's own loader holds the kernel's size, so that it comes with every link.
    assert [name for name in built.compiled if not name.startswith("arch/x86/boot/")] == [
        "net/mptcp/subflow.o"
    ]
    obj, aside = found.slot / "obj", found.slot / "obj-aside"
    remove_tree(built.folder)
    obj.rename(aside)
    try:
        alone = replace(one, ground=None)  # else its base is built first, and compiles the most
        empty = build.build_kernel(alone, workspace, tools, COLLECTION, *quiet)
    finally:
        remove_tree(obj)
        aside.rename(obj)
        remove_tree(built.folder)
    assert len(empty.compiled) > 1000
    assert (empty.image_digest, empty.build_id) == (built.image_digest, built.build_id)


def test_a_shell_in_the_guest(project: Path) -> None:
    """`inv boot` on a terminal: the prompt answers, `exit` ends the guest; killed, it leaves
    nothing running."""
    argv = [str(Path(sys.executable).with_name("inv")), "boot", "--source", SOURCE]
    for farewell in ("exit", "kill"):
        ours, theirs = pty.openpty()
        us = subprocess.Popen(
            argv,
            cwd=project,
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(theirs)
        try:
            assert _read(ours, b"mptcp# ").count(b"leave with exit") == 1
            os.write(ours, b"echo $((6*7)) in $PWD\n")
            assert b"42 in /selftests/net/mptcp" in _read(ours, b"\n42 in /selftests/net/mptcp")
            children = [int(pid) for pid in below(us.pid)]
            assert any("qemu" in command_of(pid) for pid in children)
            if farewell == "exit":
                os.write(ours, b"exit\n")
                assert us.wait(60) == 0
            else:
                us.kill()
            assert all(map(gone, children))
        finally:
            us.kill()
            us.wait()
            os.close(ours)


def _read(terminal: int, until: bytes) -> bytes:
    """What the terminal shows, up to ``until``."""
    shown, end = b"", time.monotonic() + LIMIT_S
    while until not in shown and time.monotonic() < end:
        if select.select([terminal], [], [], 1)[0]:
            shown += os.read(terminal, 4096)
    return shown
