# SPDX-License-Identifier: GPL-2.0-only
"""What `inv prove` finds out of each changed line: the last tree is traced, then each part of the
series is taken back and the scripts that run it are asked."""

import itertools
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from ci.base.errors import BuildError, StageError
from ci.base.records import from_json, save_record
from ci.base.sides import Side
from ci.base.words import Outcome, Word
from ci.base.workspace import digest, remove_tree
from ci.commands.stages import Run
from ci.commands.trials import Bench, read_guest
from ci.guest import pool, rootfs, run_cache, selftests, series_checks, tracing, vm
from ci.guest.rootfs import Image
from ci.guest.run_cache import Job
from ci.guest.selftests import GUEST_SELFTESTS
from ci.guest.series_checks import list_programs
from ci.kernel import build, objects, traced
from ci.kernel.build import Kernel
from ci.kernel.traced import Lines
from ci.series.changed_lines import ChangedLine, LineJudge, Traces, Trial, place_fate
from ci.series.diff import FileDiff, parse_diff
from ci.series.mutants import Changed, Mutant, Patched, list_changed, list_mutants
from ci.series.outline import read_outline
from ci.series.patches import Series
from ci.suites.collection import SELFTESTS, Script
from ci.trees.tree import Tree
from ci.verdict.evidence import Guest
from ci.verdict.judge import Change, Verdict
from ci.verdict.telling import find_telling

# In real time a case notices only what it notices each time.
TIMES = 2
NO_TIME = "the budget is spent"


@dataclass(frozen=True)
class Step:
    """Patch ``number``: the trees before and with it."""

    number: int
    before: Tree
    after: Tree


@dataclass(frozen=True)
class Told:
    """A trial as it is kept."""

    outcome: Outcome
    by: str = ""


@dataclass(frozen=True)
class Subject:
    """A verdict and all that it came from; ``until`` is when the time for mutants is over, on the
    monotonic clock."""

    run: Run
    series: Series
    bench: Bench
    verdict: Verdict
    steps: tuple[Step, ...]
    until: float = float("inf")

    @property
    def patched(self) -> Tree:
        """The tree with the whole series."""
        return self.bench.sides[Side.PATCHED].tree

    @property
    def scripts(self) -> tuple[Script, ...]:
        """What can be watched: not the tests that are in another kernel."""
        return tuple(one for one in self.bench.suite.new if not one.built_in)

    def kernel(self, side: Side) -> Kernel:
        """The kernel that scripts run on."""
        return self.bench.sides[side].kernels[False]

    @property
    def installed(self) -> Path:
        """The patched tree's selftests."""
        folder = self.bench.sides[Side.PATCHED].selftests
        assert folder
        return folder


@dataclass(frozen=True)
class Proved:
    """The words of all changed lines, in the order of the patches, and the trials behind them."""

    lines: tuple[ChangedLine, ...] = ()
    trials: tuple[Trial, ...] = ()


def prove_lines(subject: Subject) -> Proved:
    """All of it. A :class:`BuildError` where what is to be traced does not build."""
    files = [file for step in subject.steps for file in _changed_files(subject, step)]
    changed = [one for file in files for one in list_changed(file)]
    if not any(one.is_code for one in changed):
        judge = LineJudge(Traces({}), ())
        return Proved(tuple(map(judge.judge, changed)))
    tracer = _Tracer(subject, files)
    traces = tracer.trace()
    mutants = [mutant for file in files for mutant in list_mutants(file)]
    trials = _Trials(subject, traces, changed, tracer.objects).run(mutants)
    judge = LineJudge(traces, trials)
    return Proved(tuple(map(judge.judge, changed)), tuple(trials))


def _changed_files(subject: Subject, step: Step) -> Iterator[Patched]:
    """The files that a step changes, as text."""
    git, last = subject.patched.source.git, subject.patched
    for change in compare_trees(step.before, step.after):
        if change.hunks:
            before, after, now = (
                git.text(commit, change.name) or ""
                for commit in (step.before.commit, step.after.commit, last.commit)
            )
            later = compare_trees(step.after, last, change.name, context=0)
            hunks = later[0].hunks if later else ()
            yield Patched(step.number, change, before, after, now, hunks)


def compare_trees(before: Tree, after: Tree, *names: str, context: int = 3) -> Sequence[FileDiff]:
    """How files differ between two trees, all of them or those with ``names``."""
    words = ("diff-tree", "-p", f"-U{context}", "--no-renames", "--no-ext-diff")
    git = before.source.git
    return parse_diff(git.run(*words, before.commit, after.commit, "--", *names).stdout)


def _is_test(name: str) -> bool:
    return name.startswith(f"{SELFTESTS}/")


class _Tracer:
    """The last tree's kernel and selftests, compiled to be watched, and what its scripts ran."""

    def __init__(self, subject: Subject, files: Sequence[Patched]) -> None:
        self.subject, self.run, self.bench = subject, subject.run, subject.bench
        self.last = {file.name: file.last for file in files}
        self.log = self.run.folder / "traced.log"
        self.objects: tuple[str, ...] = ()

    def trace(self) -> Traces:
        with self.run.progress.stage("trace", "what the scripts run of the series"):
            kernel, lines = self._kernel()
            scripts = self.subject.scripts
            installed, rows = self._selftests()
            images = self._images(installed, scripts, rows)
            names = self.last.keys()
            every = {name: of for name, of in {**lines.rows, **rows}.items() if name in names}
            addresses = [one for of in every.values() for line in of.values() for one in line]
            mode = tracing.trace_mode(self.bench.mode, addresses)
            jobs = [
                Job("traced", kernel, images[one.check], one, mode, self._folder(one))
                for one in scripts
            ]
            ran = dict(zip(scripts, tracing.trace_jobs(jobs, self.run.workspace), strict=True))
        for script, one in ran.items():
            if not one.whole:
                self.run.progress.note(f"trace: {script.label} did not come to its end")
        root = installed / GUEST_SELFTESTS
        return Traces(
            {name: read_outline(name, text) for name, text in self.last.items()},
            every,
            {name: frozenset(of) for name, of in lines.active.items() if name in names},
            lines.absent,
            frozenset(
                f"{SELFTESTS}/{path.relative_to(root)}"
                for path in root.rglob("*")
                if path.is_file()
            ),
            {script.label: frozenset(one.addresses) for script, one in ran.items()},
            {script.label: one.lines for script, one in ran.items()},
        )

    def _folder(self, script: Script) -> Path:
        return self.run.folder / "traced" / script.label

    def _kernel(self) -> tuple[Kernel, Lines]:
        tree, bench, workspace = self.subject.patched, self.bench, self.run.workspace
        names = [name for name in self.last if not _is_test(name)]
        home = objects.home_folder(bench.config.place_objects(tree), workspace)
        self.objects = wanted = traced.list_objects(tree, home, names)
        if not wanted:
            return self.subject.kernel(Side.PATCHED), Lines()
        words = (tree, workspace, bench.tools, bench.suite.collection, self.run.progress)
        return traced.build_traced(*words, self.log, bench.config, wanted)

    def _selftests(self) -> tuple[Path, dict[str, dict[int, list[int]]]]:
        """The installed selftests, to be watched where the series changes a program; the line
        tables of those programs."""
        names = [name for name in self.last if _is_test(name) and name.endswith((".c", ".h"))]
        if not names:
            return self.subject.installed, {}
        tree, collection = self.subject.patched, self.bench.suite.collection
        words = (tree, self.run.workspace, self.bench.tools, collection, self.log)
        installed = selftests.install_selftests(*words, traced=True)
        programs = [
            name
            for name in selftests.place_programs(tree, collection)
            if f"{collection.folder}/{name}.c" in names or any(one.endswith(".h") for one in names)
        ]
        found: dict[str, dict[int, list[int]]] = {}
        self._add_rows(found, installed, programs)
        return installed, found

    def _add_rows(
        self, found: dict[str, dict[int, list[int]]], folder: Path, programs: Iterable[str]
    ) -> None:
        """The line tables of programs, several of which may have taken a file in."""
        collection = self.bench.suite.collection
        for name in programs:
            path = folder / GUEST_SELFTESTS / collection.target / name
            if path.is_file():
                words = (self.subject.patched, self.run.workspace, self.bench.tools)
                for file, of in traced.read_rows(*words, path, collection.folder, self.log).items():
                    for line, addresses in of.items():
                        found.setdefault(file, {}).setdefault(line, []).extend(addresses)

    def _images(
        self,
        installed: Path,
        scripts: Sequence[Script],
        rows: dict[str, dict[int, list[int]]],
    ) -> Mapping[bool, Image]:
        """The roots for the tree's own scripts, and for the checks of the series, whose programs
        may have taken in sources of the tree: their ``rows`` are added."""
        workspace, root = self.run.workspace, self.bench.root
        images = {False: rootfs.make_image(installed, workspace, root)}
        if any(one.check for one in scripts):
            collection, tools = self.bench.suite.collection, self.bench.tools
            words = (self.subject.patched, workspace, tools, collection, installed, self.log)
            made = series_checks.install_checks(self.subject.series.checks, *words, traced=True)
            images[True] = rootfs.make_image(installed, workspace, root, made)
            self._add_rows(rows, made, list_programs(self.subject.series.checks))
        return images


@dataclass(frozen=True)
class _Built:
    """A mutant that is ready for guests: on which kernel which scripts run with which root. Those
    of ``base`` are the same scripts on the base kernel, where the mutant is one of a test."""

    mutant: Mutant
    key: str
    scripts: tuple[Script, ...]
    kernel: Kernel
    images: Mapping[bool, Image]
    base: Kernel | None = None


class _Trials:
    """Mutants, built one after another while guests of the earlier ones run."""

    def __init__(
        self,
        subject: Subject,
        traces: Traces,
        changed: Sequence[Changed],
        objects_: Sequence[str],
    ) -> None:
        self.subject, self.run_, self.bench = subject, subject.run, subject.bench
        self.traces, self.changed = traces, [one for one in changed if one.is_code]
        self.workspace = self.run_.workspace
        self.known = {
            (row.side, row.part): guest
            for row, guest in zip(self.run_.record.guests, self.run_.guests, strict=True)
            if row.attempt == 1
        }
        self.log = self.run_.folder / "mutants.log"
        self.objects, self.numbers = objects_, itertools.count(1)

    def run(self, mutants: Sequence[Mutant]) -> list[Trial]:
        """First those that hold no smaller one; then those that are the smallest for some line, and
        those of which no line is guarded so far. What else there is, is noticed by its parts."""
        least = [one for one in mutants if not any(self._holds(one, other) for other in mutants)]
        found = dict(self._wave(least))
        guarded = {
            line
            for line in self.changed
            for mutant, trial in found.items()
            if trial.outcome is Outcome.NOTICED and mutant.covers(line)
        }
        smallest = set[Mutant]()
        for line in self.changed:
            of_line = [one for one in mutants if one.covers(line)]
            smallest |= {min(of_line, key=lambda one: one.size)} if of_line else set()
        rest = [
            one
            for one in mutants
            if one not in found
            and (one in smallest or not any(one.covers(line) for line in guarded))
        ]
        found |= dict(self._wave(rest))
        return [found[one] for one in mutants if one in found]

    def _holds(self, one: Mutant, other: Mutant) -> bool:
        return (
            (one.number, one.file) == (other.number, other.file)
            and other.size < one.size
            and set(other.added) <= set(one.added)
            and set(other.removed) <= set(one.removed)
        )

    def _wave(self, mutants: Sequence[Mutant]) -> Iterator[tuple[Mutant, Trial]]:
        width = vm.guests_at_once(self.bench.mode.machine)
        what = f"{len(mutants)} parts of the series, each taken back"
        pending: list[Future[Told]] = []
        with (
            self.run_.progress.stage("mutants", what),
            ThreadPoolExecutor(max_workers=width) as workers,
            pool.ending_guests(lambda: pending, workers),
        ):
            for mutant in mutants:
                self.run_.progress.update(f"mutants: {len(mutants) - len(pending)} to build")
                pending.append(workers.submit(self._ask, self._prepare(mutant)))
            told = [future.result() for future in pending]
        for mutant, one in zip(mutants, told, strict=True):
            yield mutant, Trial(mutant, one.outcome, one.by)

    def _prepare(self, mutant: Mutant) -> _Built | Told:
        """Build it, unless it is known how it comes out."""
        fate = place_fate(self.traces, mutant.file, mutant.at)
        if fate.word is Word.NOT_COMPILED:
            return Told(Outcome.EQUIVALENT)
        if time.monotonic() > self.subject.until:
            return Told(Outcome.NOT_TRIED, NO_TIME)
        scripts = self._scripts(fate.scripts)
        lock = f"trees-{self.subject.patched.source.slot.name}"
        with self.workspace.lock(lock, stage="mutants"):
            tree = self.subject.patched.with_file(mutant.file, mutant.text)
        entry = self.workspace.entry("trials", self._key(tree, scripts))
        if self.workspace.ready(entry):
            return from_json((entry / "told.json").read_bytes(), Told)
        try:
            return self._build(mutant, tree, scripts, entry.name)
        except BuildError as error:
            what = "selftests" if _is_test(mutant.file) else "kernel"
            self._note(error.message)
            return self._keep(entry.name, Told(Outcome.NOTICED, f"build: {what}"))
        except StageError as error:
            return Told(Outcome.NOT_TRIED, error.message.splitlines()[0])

    def _scripts(self, labels: Sequence[str] | None) -> tuple[Script, ...]:
        """Those that run it, the longest last in the guest's time, which is the same each time; all
        where nobody can tell."""
        rows = self.run_.record.guests
        took = {row.part: row.end.guest_ms for row in rows if row.side is Side.PATCHED}
        wanted = [one for one in self.subject.scripts if labels is None or one.label in labels]
        return tuple(sorted(wanted, key=lambda one: (took.get(one.label, 0), one.label)))

    def _key(self, tree: Tree, scripts: Sequence[Script]) -> str:
        """Digest of all that the outcome depends on."""
        record, sides = self.run_.record, self.bench.sides
        return digest(
            "trial",
            tree.tree_id,
            [(one.tree.tree_id, self.subject.kernel(side).key) for side, one in sides.items()],
            [image.image_digest for image in self.bench.images.values()],
            [image.image_digest for image in self.bench.checks.values()],
            sorted(one.label for one in scripts),
            asdict(self.bench.mode),
            record.versions,
            record.suite and record.suite.name,
        )

    def _build(
        self, mutant: Mutant, tree: Tree, scripts: tuple[Script, ...], key: str
    ) -> "_Built | Told":
        bench, workspace = self.bench, self.workspace
        own, collection = self.subject.kernel(Side.PATCHED), bench.suite.collection
        kernel, installed, is_test = own, self.subject.installed, _is_test(mutant.file)
        words = (tree, workspace, bench.tools, collection)
        if not is_test:
            progress = self.run_.progress
            if mutant.file.endswith(".h") and tree.ground and self.objects:
                traced.try_objects(*words, self.log, bench.config, self.objects)
            kernel = build.build_kernel(*words, progress, self.log, bench.config)
        if is_test or mutant.file.startswith("include/uapi/"):
            installed = selftests.install_selftests(*words, self.log)
        same = installed == self.subject.installed or _contents(installed) == _contents(
            self.subject.installed
        )
        if kernel.build_id == own.build_id and same:
            return self._keep(key, Told(Outcome.EQUIVALENT))
        if not scripts:
            self._forget(kernel)
            return self._keep(key, Told(Outcome.UNNOTICED))
        images = dict(zip((False, True), self._own_images(), strict=False))
        if not same:
            images = {False: rootfs.make_image(installed, workspace, bench.root)}
            if any(one.check for one in scripts):
                made = series_checks.install_checks(
                    self.subject.series.checks, *words, installed, self.log
                )
                images[True] = rootfs.make_image(installed, workspace, bench.root, made)
        base = self.subject.kernel(Side.BASE) if is_test else None
        return _Built(mutant, key, scripts, kernel, images, base)

    def _own_images(self) -> Iterator[Image]:
        yield self.bench.images[Side.PATCHED]
        yield from [self.bench.checks[Side.PATCHED]] if self.bench.checks else []

    def _ask(self, made: "_Built | Told") -> Told:
        """The scripts, one after another, until a case notices."""
        if isinstance(made, Told):
            return made
        try:
            for script in made.scripts:
                if time.monotonic() > self.subject.until:
                    return Told(Outcome.NOT_TRIED, NO_TIME)
                if by := self._notices(made, script):
                    return self._keep(made.key, Told(Outcome.NOTICED, by))
            return self._keep(made.key, Told(Outcome.UNNOTICED))
        finally:
            self._forget(made.kernel)

    def _notices(self, made: _Built, script: Script) -> str:
        by = self._compare(made, script, Side.PATCHED, made.kernel, ())
        if not by and made.base:
            fixed = [
                case.name
                for case in self.subject.verdict.cases
                if case.group == script.name and case.change is Change.FIXED
            ]
            by = self._compare(made, script, Side.BASE, made.base, fixed) if fixed else ""
        return by

    def _compare(
        self, made: _Built, script: Script, side: Side, kernel: Kernel, fixed: Sequence[str]
    ) -> str:
        """What tells the mutant's guest from the one that ran for the verdict."""
        known = self.known.get((side, script.label))
        if not known:
            return ""
        times = 1 if self.bench.mode.machine.repeatable else TIMES
        found = set[str]()
        for _ in range(times):
            guest = self._guest(made, script, side, kernel)
            by = find_telling(script.name, known, guest, fixed)
            # On base a case may well fail: what tells there is that it does not.
            by = "" if side is Side.BASE and by.partition(": ")[2] not in fixed else by
            found.add(by)
        return found.pop() if len(found) == 1 else ""

    def _guest(self, made: _Built, script: Script, side: Side, kernel: Kernel) -> Guest:
        folder = self.run_.folder / "mutants" / f"{next(self.numbers)}-{script.label}"
        image = made.images[script.check]
        job = Job(f"mutant on {side}", kernel, image, script, self.bench.mode, folder)
        again = self.run_.settings.rerun
        ran = run_cache.run_job(job, self.workspace, again=again)
        try:
            return read_guest(self.bench, side, ran)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _keep(self, key: str, told: Told) -> Told:
        with self.workspace.publish(self.workspace.entry("trials", key)) as fresh:
            save_record(fresh / "told.json", told)
        return told

    def _forget(self, kernel: Kernel) -> None:
        """A mutant's kernel is not needed again: how it came out is kept."""
        if kernel.key not in {self.subject.kernel(side).key for side in self.bench.sides}:
            remove_tree(kernel.folder)

    def _note(self, text: str) -> None:
        with self.log.open("a", encoding="utf-8") as file:
            file.write(f"{text}\n")


def _contents(folder: Path) -> bytes:
    """What tells one folder of selftests from another: the digests of its files."""
    return (folder / "digests.json").read_bytes()
