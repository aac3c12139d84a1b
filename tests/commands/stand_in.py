# SPDX-License-Identifier: GPL-2.0-only
"""A machine without a compiler or guests: all of a run is real, but for the kernels that it builds,
the selftests that it installs, and what a guest leaves. Trees, the guest's root, records, judgement
and reports are the pipeline's own."""

import io
import shutil
import tarfile
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from collections.abc import Collection as Names
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ci.base.errors import BuildError
from ci.base.progress import Progress
from ci.base.seals import write_digests
from ci.base.workspace import Workspace, digest
from ci.commands import prove
from ci.guest import rootfs, selftests, tracing, vm
from ci.guest.modes import Mode
from ci.guest.rootfs import Image
from ci.guest.run_cache import Job
from ci.guest.selftests import GUEST_SELFTESTS
from ci.guest.tracing import Ran
from ci.guest.vm import GuestRun
from ci.kernel import build, traced
from ci.kernel.build import Kernel, Toolchain
from ci.kernel.configuration import Configuration
from ci.kernel.traced import Lines
from ci.logs.ending import Ended, GuestEnd
from ci.series.patch import Patch
from ci.suites.collection import Collection, Script
from ci.trees.tree import Tree
from ci.verdict.patch_findings import PatchFinding
from tests.conftest import ROOT

DATA = ROOT / "tests/data"
MPTCP = "tools/testing/selftests/net/mptcp"
# What the project's suites and builds ask of a tree.
SELFTESTS = {
    f"{MPTCP}/Makefile": "TEST_PROGS := userspace_pm.sh diag.sh\n",
    f"{MPTCP}/mptcp_lib.sh": "mptcp_lib_result_print_all_tap() { :; }\n",
    f"{MPTCP}/config": "CONFIG_MPTCP=y\n",
}
DOES_NOT_COMPILE = "#error"
LINES = range(1, 100)


@dataclass(frozen=True)
class Answer:
    """What a guest leaves: recorded logs of tests and of the console, and how it ended. ``raised``
    comes instead of an answer."""

    tests: str = "userspace_pm.pass.log"
    status: int | None = 0
    console: str = "dmesg.clean.log"
    ended: Ended = Ended.FINISHED
    raised: BaseException | None = None


PASS = Answer()
FAIL = Answer("userspace_pm.early-fail.log", 1)


@dataclass
class StandIn:
    """``answers`` by folder, ``patched/userspace_pm`` or ``time-2/userspace_pm``, where there are
    several runs ``6.1/patched/userspace_pm``; a guest that is not named passes. ``asked`` are the
    guests that ran, as (folder, seed); ``config`` is that of the kernels; ``dead`` are lines that
    no script runs, ``findings`` what tools say of patch 1, ``unasked`` which could not."""

    answers: dict[str, Answer] = field(default_factory=lambda: defaultdict(Answer))
    asked: list[tuple[str, int]] = field(default_factory=list)
    built: list[str] = field(default_factory=list)
    config: str = "CONFIG_MPTCP=y\n"
    lock: threading.Lock = field(default_factory=threading.Lock)
    dead: frozenset[int] = frozenset()
    findings: tuple[PatchFinding, ...] = ()
    unasked: tuple[str, ...] = ()

    def run(
        self,
        kernel: Kernel,
        image: Image,
        script: Script,
        mode: Mode,
        workspace: Workspace,
        folder: Path,
        nonce: str = "",
    ) -> GuestRun:
        name = f"{folder.parent.name}/{folder.name}"
        with self.lock:
            self.asked.append((name, mode.seed))
            part = f"{folder.parent.parent.name}/{name}"
            answer = self.answers[part if part in self.answers else name]
        if answer.raised:
            raise answer.raised
        folder.mkdir(parents=True)
        shutil.copy(DATA / answer.tests, folder / "tests.log")
        shutil.copy(DATA / answer.console, folder / "kernel.log")
        shutil.copy(DATA / "control.log", folder)
        end = GuestEnd(answer.ended, kernel.build_id, answer.status, False, 5000, cpu_s=1.0)
        return GuestRun(script, folder, end)

    def build(
        self,
        tree: Tree,
        workspace: Workspace,
        tools: Toolchain,
        collection: Collection,
        progress: Progress,
        log: Path,
        config: Configuration,
    ) -> Kernel:
        self.built.append(tree.tree_id)
        if DOES_NOT_COMPILE in (tree.source.git.text(tree.commit, "net/demo.c") or ""):
            log.write_text("net/demo.c:1:2: error: #error\n", encoding="utf-8")
            raise BuildError("build", "net/demo.c:1:2: error: #error", log=log)
        build_id = digest(tree.tree_id, config.folder.endswith("-kunit"))[:40]
        folder = workspace.entry("kernels", build_id)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config").write_text(self.config, encoding="utf-8")
        return Kernel(folder, build_id, "6.12.1", build_id, digest(build_id), ())

    def build_traced(
        self,
        tree: Tree,
        workspace: Workspace,
        tools: Toolchain,
        collection: Collection,
        progress: Progress,
        log: Path,
        config: Configuration,
        traced: Names[str],
    ) -> tuple[Kernel, Lines]:
        kernel = self.build(tree, workspace, tools, collection, progress, log, config)
        lines = {name.replace(".o", ".c"): {line: [line] for line in LINES} for name in traced}
        return kernel, Lines(lines, {name: list(LINES) for name in lines})

    def find(self, patch: Patch, *more: object) -> tuple[tuple[PatchFinding, ...], tuple[str, ...]]:
        return (self.findings, self.unasked) if patch.number == 1 else ((), ())

    def trace(self, jobs: Sequence[Job], workspace: Workspace) -> list[Ran]:
        """Each script runs each line but those that are dead."""
        return [Ran([line for line in LINES if line not in self.dead]) for _ in jobs]

    def selftests(
        self,
        tree: Tree,
        workspace: Workspace,
        tools: Toolchain,
        collection: Collection,
        log: Path,
    ) -> Path:
        of = digest(tree.subtree("tools/testing/selftests"))
        folder = workspace.entry("selftests", of)
        (folder / GUEST_SELFTESTS).mkdir(parents=True, exist_ok=True)
        (folder / GUEST_SELFTESTS / "of").write_text(of, encoding="utf-8")
        for name in tree.source.git.run(
            "ls-tree", "-r", "--name-only", tree.commit, f"{MPTCP}/"
        ).stdout.splitlines():
            path = folder / GUEST_SELFTESTS / name.removeprefix("tools/testing/selftests/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(tree.source.git.text(tree.commit, name) or "", encoding="utf-8")
        write_digests(folder)
        return folder


def make_root(workspace: Workspace) -> None:
    """A guest's root of one package in the cache, as if it had been made from the network."""
    with workspace.publish(rootfs.root_folder(workspace)) as folder:
        with tarfile.open(folder / "root.tar", "w") as tar:
            program = tarfile.TarInfo("./usr/bin/bash")
            program.mode, program.size = 0o755, 4
            tar.addfile(program, io.BytesIO(b"bash"))
        (folder / "packages.txt").write_text("bash_5.2.37-2_amd64\n", encoding="utf-8")


def stand_in(monkeypatch: pytest.MonkeyPatch, workspace: Workspace) -> StandIn:
    """Put it in place of compilers and guests, one guest at a time."""
    made = StandIn()
    make_root(workspace)
    one_at_a_time: Callable[[object], int] = lambda machine: 1  # noqa: E731
    for module, name, value in (
        (vm, "run_guest", made.run),
        (vm, "guests_at_once", one_at_a_time),
        (build, "build_kernel", made.build),
        (traced, "build_traced", made.build_traced),
        (tracing, "trace_jobs", made.trace),
        (prove, "find_findings", made.find),
        (selftests, "install_selftests", made.selftests),
    ):
        monkeypatch.setattr(module, name, value)
    return made
