# SPDX-License-Identifier: GPL-2.0-only
"""`inv bench`: this pipeline against `vng` with its defaults, in one run on one machine.

The peer is what a user would otherwise do: ``vng --build`` with its generic configuration plus the
selftests' own, the host's root, two CPUs, one script after another, no icount. What both sides do
is timed by the same clock; the CPU seconds are those of all processes. Wall seconds of emulation
depend on the machine: compare the ratios.

The peer runs a suite's scripts one after another on two kernels that differ in a few lines, so each
script is timed for itself and a suite takes twice the sum. Under the ratios stands what each script
costs here in guest instructions, which virtual time counts exactly, with the fixed layout of
addresses and with a random one.
"""

import json
import os
import re
import shlex
import shutil
import statistics
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

from ci.base import processes
from ci.base.errors import StageError
from ci.base.exit_codes import ExitCode
from ci.base.progress import Progress, cpu_s
from ci.base.settings import BENCH_ROWS, Settings
from ci.base.workspace import Workspace, remove_tree, write_text
from ci.commands import stages
from ci.commands.stages import Run
from ci.commands.validate import new_run
from ci.guest import pool, rootfs, selftests, vm
from ci.guest.modes import Mode
from ci.guest.run_cache import Job
from ci.guest.vm import GuestRun
from ci.kernel import build
from ci.kernel.build import Kernel
from ci.series.patches import Series
from ci.suites import selection
from ci.suites.collection import SELFTESTS, Script
from ci.suites.mptcp import COLLECTION
from ci.trees.fetch import fetch_source
from ci.trees.tree import Tree, Trees, derive_trees

ROWS = tuple(BENCH_ROWS.split(","))
SUITES = ("smoke", "default")
BUILD_LIMIT_S = 4 * 3600.0
GUEST_LIMIT_S = 1800.0
TRIES = 3
# Programs that the scripts ask for, and that the peer has to take from the host.
PEER_NEEDS = {
    "iptables": "iptables",
    "nft": "nftables",
    "tcpdump": "tcpdump",
    "ethtool": "ethtool",
    "ip": "iproute2",
    "script": "bsdutils",
    "depmod": "kmod",
    "/lib/systemd/systemd-udevd": "udev",
}
CHANGED = "net/mptcp/subflow.c"


@dataclass(frozen=True)
class Spent:
    """What one measurement took, in seconds."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Cost:
    """What a script took in virtual time: millions of guest instructions, and the host's CPU
    seconds, boot included."""

    instructions_m: int
    cpu_s: float


def _cost(run: GuestRun) -> Cost:
    return Cost(run.end.guest_ms - run.end.idle_ms, round(run.end.cpu_s, 2))


def _timed(work: Callable[[], object]) -> Spent:
    begin, cpu = time.monotonic(), cpu_s()
    work()
    return Spent(round(time.monotonic() - begin, 2), round(cpu_s() - cpu, 2))


@dataclass(frozen=True)
class _Subject:
    """What is measured: a series, its trees, and the mode of the guests."""

    run: Run
    series: Series
    trees: Trees
    mode: Mode


class _Ours:
    """This pipeline, in a cache of its own that begins empty."""

    def __init__(self, subject: _Subject, folder: Path) -> None:
        run, self.mode = subject.run, subject.mode
        self.run, self.folder, self.log = run, folder, run.folder / "ours.log"
        self.workspace = Workspace(run.workspace.root, folder / "cache", folder)
        shipped = subject.trees
        wanted = replace(
            run.settings,
            workspace=self.workspace,
            tree=shipped.base.source.slot / "src",
            source="auto",
            ignore_dirty=True,
        )
        loaded = subject.series
        borrowed = fetch_source(wanted, loaded, run.progress)
        self.trees = derive_trees(
            loaded, replace(borrowed, commit=shipped.shipped.commit), frozenset()
        )
        self.tools = build.find_toolchain()

    def build(self) -> None:
        self.kernels = [self._kernel(made) for made in (self.trees.base, self.trees.patched)]
        self.selftests = selftests.install_selftests(
            self.trees.patched, self.workspace, self.tools, COLLECTION, self.log
        )

    def cold(self) -> None:
        self._kernel(self.trees.base)

    def _kernel(self, made: Tree) -> Kernel:
        return build.build_kernel(
            made, self.workspace, self.tools, COLLECTION, self.run.progress, self.log
        )

    def rebuild(self) -> None:
        """Build a commit with one line more than patched."""
        made = self.trees.patched
        git, src = made.source.git, made.source.slot / "src"
        with made.checked_out(self.workspace):
            _one_line_more(src)
            git.run("commit", "-q", "-a", "--no-verify", "-m", "one line")
            commit = git.line("rev-parse", "HEAD")
        tree_id = git.line("rev-parse", "HEAD^{tree}")
        self._kernel(replace(made, commit=commit, tree_id=tree_id, ground=made.ground or made))

    def guests(self, scripts: Sequence[Script], name: str) -> None:
        """A suite on both kernels."""
        self._guests(self.kernels, scripts, name, self.mode)

    def _guests(
        self, kernels: Sequence[Kernel], scripts: Sequence[Script], name: str, mode: Mode
    ) -> list[GuestRun]:
        root = rootfs.make_root(self.run.workspace, self.log)
        made = rootfs.make_image(self.selftests, self.workspace, root)
        folder = self.folder / f"guests-{time.monotonic_ns()}"
        jobs = [
            Job(f"{name} {number}", ready, made, script, mode, folder / str(number) / script.label)
            for number, ready in enumerate(kernels)
            for script in scripts
        ]
        ran = pool.run_jobs(jobs, self.workspace, self.run.progress, again=True)
        _expect(all(one.end.exit_status is not None for one in ran), "a guest did not end")
        return ran

    def cost(self, layout: str) -> dict[str, Cost]:
        """What each script of the default suite costs on the patched kernel."""
        mode = replace(self.mode, layout=layout)
        scripts = selection.select_suite("default", self.trees.patched).scripts
        ran = self._guests(self.kernels[1:], scripts, layout, mode)
        return {one.script.label: _cost(one) for one in ran}


class _Peer:
    """vng with its defaults, in a work tree of its own."""

    def __init__(self, subject: _Subject, folder: Path) -> None:
        self.src, self.log = folder / "vng", subject.run.folder / "vng.log"
        self.failed: Counter[str] = Counter()
        self.broken: Counter[str] = Counter()
        missing = [package for program, package in PEER_NEEDS.items() if not shutil.which(program)]
        if missing:
            raise StageError(
                "bench",
                f"vng takes its scripts' programs from the host; install {' '.join(missing)}",
            )
        made = subject.trees.patched
        made.source.git.run("worktree", "prune")
        made.source.git.run("worktree", "add", "-q", "-f", "--detach", self.src, made.commit)

    def _command(
        self, *argv: str | Path, timeout_s: float = BUILD_LIMIT_S
    ) -> processes.CommandResult:
        return processes.run(
            argv,
            stage="bench",
            timeout_s=timeout_s,
            cwd=self.src,
            log=self.log,
            env=vm.vng_environment(),
        )

    def cold(self) -> None:
        self._command(vm.vng_program(), "--build", "--config", *COLLECTION.configs)

    def build(self) -> None:
        """What is not timed: the selftests."""
        self._command("make", "headers")
        self._command(
            "make", f"-j{os.cpu_count()}", "-C", SELFTESTS, f"TARGETS={COLLECTION.target}"
        )

    def rebuild(self) -> None:
        _one_line_more(self.src)
        self._command("make", f"-j{os.cpu_count()}")

    def boot(self, line: str = "true") -> processes.CommandResult:
        words = [
            vm.vng_program(),
            "--run",
            str(self.src),
            "--disable-kvm",
            "--cpus",
            "2",
            "--memory",
            "2G",
            "--user",
            "root",
            "--cwd",
            str(self.src / COLLECTION.folder),
            "--exec",
            line,
        ]
        # vng asks for a terminal.
        return self._command(
            "script", "-qec", shlex.join(words), "/dev/null", timeout_s=GUEST_LIMIT_S
        )

    def script(self, script: Script) -> None:
        """One script on one kernel. A case that fails is of the peer's making, and told; one that
        skips would be fast."""
        console = self.boot(
            shlex.join([f"./{script.program}", *script.args]) + "; echo ended $?"
        ).stdout
        statuses = re.findall(r"^ended (\d+)", console, re.M)  # ended 0
        _expect(statuses in (["0"], ["1"]), f"{script.label} under vng:\n{console[-500:]}")
        self.failed[script.label] += statuses == ["1"]

    def again(self, label: str, measured: Callable[[], None], progress: Progress) -> None:
        """``measured`` runs guests; where one breaks down it is told, not counted, and tried again,
        up to twice."""
        for left in reversed(range(TRIES)):
            try:
                return measured()
            except StageError as error:
                self.broken[label] += 1
                progress.note(error.message)
                if not left:
                    raise


def _expect(good: bool, what: str) -> None:
    if not good:
        raise StageError("bench", what)


def _one_line_more(src: Path) -> None:
    """A function that is new each time; declared, as a kernel may be built with
    -Werror=missing-prototypes."""
    path, name = src / CHANGED, f"mptcp_bench_{time.monotonic_ns()}"
    more = f"\nint {name}(void);\nint {name}(void) {{ return 1; }}\n"
    path.write_text(path.read_text(encoding="utf-8") + more, encoding="utf-8")


Figures = dict[str, dict[str, list[Spent]]]


@dataclass
class _Measured:
    """The figures so far, which are written with each new one: what took an hour is not lost by
    what fails after it."""

    run: Run
    figures: Figures = field(default_factory=dict)
    costs: dict[str, dict[str, Cost]] = field(default_factory=dict)

    def measure(self, row: str, side: str, work: Callable[[], object]) -> None:
        """Do the work and keep what it took."""
        spent = _timed(work)
        self.figures.setdefault(row, {}).setdefault(side, []).append(spent)
        self.run.progress.note(
            f"{row}, {side}: {spent.wall_s:.1f} s, {spent.cpu_s:.1f} CPU seconds"
        )
        _keep(self.run, self.figures, self.costs)


def compare_with_vng(
    settings: Settings, progress: Progress, rows: Sequence[str], times: int
) -> ExitCode:
    """Measure the named rows, guests ``times`` times; the figures as JSON, the ratios on stdout."""
    unknown = set(rows) - set(ROWS)
    if unknown:
        raise StageError(
            "options", f"--rows {','.join(sorted(unknown))}: there are {', '.join(ROWS)}"
        )
    with new_run(settings, progress) as run:
        series = stages.load_series(run)
        mode = stages.choose_mode(run, stages.choose_config(run))
        trees = stages.derive_trees(run, series, stages.fetch_source(run, series))
        stages.demand_whole(trees)
    subject, git = _Subject(run, series, trees, mode), trees.patched.source.git
    folder = settings.workspace.entry("bench", "now")
    remove_tree(folder)
    folder.mkdir(parents=True)
    suites = {
        name: selection.select_suite(name, trees.patched).scripts for name in SUITES if name in rows
    }
    measured = _Measured(run)
    try:
        with progress.stage("bench", ", ".join(rows)):
            ours, peer = _Ours(subject, folder), _Peer(subject, folder)
            _measure_builds(measured, ours, peer, rows)
            for _ in range(times):
                _measure_guests(measured, ours, peer, suites, boot="boot" in rows)
    finally:
        # The work tree is 6 GB of objects; git forgets it with the folder.
        remove_tree(folder)
        git.run("worktree", "prune")
    _print_failures(peer, times)
    return _show(run, suites, measured.figures, measured.costs)


def _measure_builds(measured: _Measured, ours: _Ours, peer: _Peer, rows: Sequence[str]) -> None:
    """Both kernels from nothing, the cost of each script, and a build after one line more."""
    measured.measure("build", "ours", ours.cold)
    ours.build()
    if "scripts" in rows:
        measured.costs = {layout: ours.cost(layout) for layout in ("fixed", "random")}
    if set(rows) - {"scripts"}:
        measured.measure("build", "vng", peer.cold)
        peer.build()
    if "rebuild" in rows:
        measured.measure("rebuild", "ours", ours.rebuild)
        measured.measure("rebuild", "vng", peer.rebuild)


def _measure_guests(
    measured: _Measured,
    ours: _Ours,
    peer: _Peer,
    suites: Mapping[str, Sequence[Script]],
    *,
    boot: bool,
) -> None:
    """A boot and the suites, once."""
    measure, progress = measured.measure, measured.run.progress
    if boot:
        script = COLLECTION.script("mptcp_lib.sh")
        measure("boot", "ours", partial(ours.guests, [script], "boot"))
        twice = partial(measure, "boot", "vng", lambda: (peer.boot(), peer.boot()))
        peer.again("boot", twice, progress)
    for name, scripts in suites.items():
        measure(name, "ours", partial(ours.guests, scripts, name))
    for script in dict.fromkeys(one for scripts in suites.values() for one in scripts):
        once = partial(measure, script.label, "vng", partial(peer.script, script))
        peer.again(script.label, once, progress)


def _print_failures(peer: _Peer, times: int) -> None:
    for what, counts in (
        ("ended with exit code 1", peer.failed),
        ("broke down (not counted)", peer.broken),
    ):
        for label, count in (+counts).items():
            print(f"vng: {label} {what}: {count} of {times + peer.broken[label]} times")


def _keep(run: Run, figures: Figures, costs: Mapping[str, Mapping[str, Cost]]) -> None:
    """Write the raw figures, as far as there are any."""
    facts = {
        "mode": run.record.mode.name if run.record.mode else "",
        "cores": os.cpu_count(),
        "figures": {
            row: {side: list(map(asdict, many)) for side, many in of.items()}
            for row, of in figures.items()
        },
        "scripts": {
            layout: {label: asdict(cost) for label, cost in of.items()}
            for layout, of in costs.items()
        },
    }
    write_text(run.folder / "bench.json", json.dumps(facts, indent=1))


def _median(spent: Sequence[Spent]) -> Spent:
    return Spent(
        statistics.median(one.wall_s for one in spent),
        statistics.median(one.cpu_s for one in spent),
    )


def _peer_suite(figures: Figures, scripts: Sequence[Script]) -> Spent:
    """Twice the sum of the scripts: the peer runs them one after another, on one kernel and then on
    the other."""
    medians = [_median(figures[script.label]["vng"]) for script in scripts]
    return Spent(2 * sum(one.wall_s for one in medians), 2 * sum(one.cpu_s for one in medians))


def _show(
    run: Run,
    suites: Mapping[str, Sequence[Script]],
    figures: Figures,
    costs: Mapping[str, Mapping[str, Cost]],
) -> ExitCode:
    print(
        f"{'median of each':<16}{'ours: wall':>12}{'CPU s':>9}{'vng: wall':>12}{'CPU s':>9}"
        f"{'wall':>9}{'CPU':>8}"
    )
    for row, sides in figures.items():
        if "ours" not in sides or not (row in suites or "vng" in sides):
            continue
        ours, vng = (
            _median(sides["ours"]),
            _peer_suite(figures, suites[row]) if row in suites else _median(sides["vng"]),
        )
        print(
            f"{row:<16}{ours.wall_s:>12.1f}{ours.cpu_s:>9.1f}{vng.wall_s:>12.1f}{vng.cpu_s:>9.1f}"
            f"{vng.wall_s / ours.wall_s:>8.1f}x{vng.cpu_s / ours.cpu_s:>7.1f}x"
        )
    _keep(run, figures, costs)
    if costs:
        print(
            f"{'script':<16}{'10^6 instructions':>18}{'CPU s':>9}{'random layout':>18}{'CPU s':>9}"
            f"{'vng: CPU s':>12}"
        )
        for label, fixed in costs["fixed"].items():
            drawn, vng_s = costs["random"][label], "-"
            if label in figures:
                vng_s = f"{_median(figures[label]['vng']).cpu_s:.1f}"
            print(
                f"{label:<16}{fixed.instructions_m:>18}{fixed.cpu_s:>9.1f}"
                f"{drawn.instructions_m:>18}{drawn.cpu_s:>9.1f}{vng_s:>12}"
            )
    print(f"raw figures: {run.folder / 'bench.json'}")
    return ExitCode.ACCEPTED
