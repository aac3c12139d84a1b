"""`inv bench`: this pipeline against `vng` with its defaults, in one run on one machine.

The peer is what a user would otherwise do: ``vng --build`` with its generic configuration plus the selftests' own, the
host's root, two CPUs, one script after another, no icount. What both sides do is timed by the same clock; the CPU seconds
are those of all processes. Wall seconds of emulation depend on the machine: compare the ratios.
"""

import json
import os
import shlex
import shutil
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ci import command, guest, image, kernel, pool, series, source, suite, tree
from ci.errors import StageError
from ci.kernel import Kernel
from ci.pipeline import Run
from ci.pool import Job
from ci.progress import Progress, cpu_s
from ci.settings import Settings
from ci.suite import SELFTESTS, Script
from ci.tree import Tree
from ci.workspace import Workspace, remove_tree, write_text

ROWS = ("build", "rebuild", "boot", "smoke", "default")
LIMIT_S = 4 * 3600.0
# Programs that the scripts ask for, and that the peer has to take from the host.
PEER_NEEDS = {"iptables": "iptables", "nft": "nftables", "tcpdump": "tcpdump", "ethtool": "ethtool", "ip": "iproute2",
              "script": "bsdutils", "depmod": "kmod", "/lib/systemd/systemd-udevd": "udev"}  # fmt: skip
CHANGED = "net/mptcp/subflow.c"


@dataclass(frozen=True)
class Spent:
    """What one measurement took, in seconds."""

    wall_s: float
    cpu_s: float


def _timed(work: Callable[[], object]) -> Spent:
    begin, cpu = time.monotonic(), cpu_s()
    work()
    return Spent(round(time.monotonic() - begin, 2), round(cpu_s() - cpu, 2))


class _Ours:
    """This pipeline, in a cache of its own that begins empty."""

    def __init__(self, run: Run, folder: Path) -> None:
        self.run, self.folder, self.log = run, folder, folder / "ours.log"
        self.workspace = Workspace(run.workspace.root, folder / "cache", folder)
        shipped = run.trees
        wanted = replace(run.settings, workspace=self.workspace, tree=shipped.base.source.slot / "src", source="auto",
                         ignore_dirty=True)  # fmt: skip
        loaded = series.load(run.settings.series)
        borrowed = source.fetch(wanted, loaded, run.progress)
        self.trees = tree.derive(loaded, replace(borrowed, commit=shipped.shipped.commit), frozenset())
        self.tools = kernel.toolchain()

    def build(self) -> None:
        self.kernels = [self._kernel(made) for made in (self.trees.base, self.trees.patched)]
        self.selftests = image.selftests(self.trees.patched, self.workspace, self.tools, self.log)

    def cold(self) -> None:
        self._kernel(self.trees.base)

    def _kernel(self, made: Tree) -> Kernel:
        return kernel.build(made, self.workspace, self.tools, self.run.progress, self.log)

    def rebuild(self) -> None:
        """Build a commit with one line more than patched."""
        made = self.trees.patched
        git, src = made.source.git, made.source.slot / "src"
        with made.checked_out(self.workspace):
            _one_line_more(src)
            git.run("commit", "-q", "-a", "--no-verify", "-m", "one line")
            commit = git.line("rev-parse", "HEAD")
        self._kernel(replace(made, commit=commit, tree_id=git.line("rev-parse", "HEAD^{tree}")))

    def guests(self, scripts: Sequence[Script], name: str) -> None:
        mode = self.run.mode
        root = image.root(self.run.workspace, self.log)
        made = image.make(self.selftests, self.workspace, root)
        folder = self.folder / f"guests-{time.monotonic_ns()}"
        jobs = [
            Job(f"{name} {number}", ready, made, script, mode, folder / str(number) / script.label)
            for number, ready in enumerate(self.kernels)
            for script in scripts
        ]
        ran = pool.run(jobs, self.workspace, self.run.progress, again=True)
        _expect(len([one for one in ran if one.exit_status is not None]) == len(jobs), "a guest did not end")


class _Peer:
    """vng with its defaults, in a work tree of its own."""

    def __init__(self, run: Run, folder: Path) -> None:
        self.src, self.log = folder / "vng", folder / "vng.log"
        missing = [package for program, package in PEER_NEEDS.items() if not shutil.which(program)]
        if missing:
            raise StageError("bench", f"vng takes its scripts' programs from the host; install {' '.join(missing)}")
        made = run.trees.patched
        made.source.git.run("worktree", "prune")
        made.source.git.run("worktree", "add", "-q", "-f", "--detach", self.src, made.commit)

    def _command(self, argv: Sequence[str | Path], cwd: Path) -> command.CommandResult:
        return command.run(argv, stage="bench", timeout_s=LIMIT_S, cwd=cwd, log=self.log, env=guest.environment())

    def cold(self) -> None:
        self._command([guest.vng_program(), "--build", "--config", f"{SELFTESTS}/config"], self.src)

    def build(self) -> None:
        """What is not timed: the selftests."""
        self._command(["make", "headers"], self.src)
        self._command(["make", f"-j{os.cpu_count()}", "-C", "tools/testing/selftests", "TARGETS=net/mptcp"], self.src)

    def rebuild(self) -> None:
        _one_line_more(self.src)
        self._command(["make", f"-j{os.cpu_count()}"], self.src)

    def boot(self, line: str = "true") -> command.CommandResult:
        words = [guest.vng_program(), "--run", str(self.src), "--disable-kvm", "--cpus", "2", "--memory", "2G", "--user",
                 "root", "--cwd", str(self.src / SELFTESTS), "--exec", line]  # fmt: skip
        # vng asks for a terminal.
        return self._command(["script", "-qec", shlex.join(words), "/dev/null"], self.src)

    def guests(self, scripts: Sequence[Script]) -> None:
        """Each script in turn, twice: once for each of the two kernels that the pipeline compares."""
        for script in (*scripts, *scripts):
            said = self.boot(shlex.join([f"./{script.program}", *script.args]) + "; echo ended $?")
            _expect(
                "ended 0" in said.stdout or "ended 4" in said.stdout,
                f"{script.program} under vng:\n{said.stdout[-500:]}",
            )


def _expect(good: bool, what: str) -> None:
    if not good:
        raise StageError("bench", what)


def _one_line_more(src: Path) -> None:
    path = src / CHANGED
    line = (
        f"\nint mptcp_bench_{time.monotonic_ns()}(void);\nint mptcp_bench_{time.monotonic_ns()}(void) {{ return 1; }}\n"
    )
    path.write_text(path.read_text(encoding="utf-8") + line, encoding="utf-8")


def bench(settings: Settings, progress: Progress, rows: Sequence[str], times: int) -> int:
    """Measure the named rows, guests ``times`` times; the figures as JSON, the ratios on stdout."""
    unknown = set(rows) - set(ROWS)
    if unknown:
        raise StageError("options", f"--rows {','.join(sorted(unknown))}: there are {', '.join(ROWS)}")
    run = Run(settings, progress, settings.workspace.new_run())
    git = run.trees.patched.source.git
    folder = settings.workspace.entry("bench", "now")
    remove_tree(folder)
    folder.mkdir(parents=True)
    figures: dict[str, dict[str, list[Spent]]] = {}

    def measure(row: str, side: str, work: Callable[[], object]) -> None:
        if row in rows:
            figures.setdefault(row, {}).setdefault(side, []).append(_timed(work))
            spent = figures[row][side][-1]
            progress.note(f"{row}, {side}: {spent.wall_s:.1f} s, {spent.cpu_s:.1f} CPU seconds")

    try:
        with progress.stage("bench", ", ".join(rows)):
            run.mode  # noqa: B018
            ours, peer = _Ours(run, folder), _Peer(run, folder)
            measure("build", "ours", ours.cold)
            ours.build()
            if "build" in rows:
                measure("build", "vng", peer.cold)
            else:
                peer.cold()
            peer.build()
            measure("rebuild", "ours", ours.rebuild)
            measure("rebuild", "vng", peer.rebuild)
            for _ in range(times):
                measure("boot", "ours", lambda: ours.guests([Script("mptcp_lib.sh")], "boot"))
                measure("boot", "vng", lambda: (peer.boot(), peer.boot()))
                for name in ("smoke", "default"):
                    measure(name, "ours", lambda name=name: ours.guests(suite.SUITES[name], name))  # type: ignore[misc]
                    measure(name, "vng", lambda name=name: peer.guests(suite.SUITES[name]))  # type: ignore[misc]
    finally:
        # The work tree is 6 GB of objects; git forgets it with the folder.
        remove_tree(folder)
        git.run("worktree", "prune")
    return _show(run, figures)


def _show(run: Run, figures: dict[str, dict[str, list[Spent]]]) -> int:
    print(f"{'median of each':<16}{'ours: wall':>12}{'CPU s':>9}{'vng: wall':>12}{'CPU s':>9}{'wall':>9}{'CPU':>8}")
    for row, sides in figures.items():
        wall = {side: statistics.median(one.wall_s for one in many) for side, many in sides.items()}
        cpu = {side: statistics.median(one.cpu_s for one in many) for side, many in sides.items()}
        print(
            f"{row:<16}{wall['ours']:>12.1f}{cpu['ours']:>9.1f}{wall['vng']:>12.1f}{cpu['vng']:>9.1f}"
            f"{wall['vng'] / wall['ours']:>8.1f}x{cpu['vng'] / cpu['ours']:>7.1f}x"
        )
    raw = {row: {side: [vars(one) for one in many] for side, many in sides.items()} for row, sides in figures.items()}
    write_text(
        run.folder / "bench.json",
        json.dumps({"mode": run.mode.name, "cores": os.cpu_count(), "figures": raw}, indent=1),
    )
    print(f"raw figures: {run.folder / 'bench.json'}")
    return 0
