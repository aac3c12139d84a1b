# SPDX-License-Identifier: GPL-2.0-only
"""Parts of a series taken back one by one: each is built, and the scripts that run it are asked
whether a case notices."""

import itertools
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from ci.base.errors import BuildError, StageError
from ci.base.records import from_json, save_record
from ci.base.sides import Side
from ci.base.words import Outcome, Word
from ci.base.workspace import digest, remove_tree
from ci.commands.subject import Subject, is_test
from ci.commands.trials import read_guest
from ci.guest import pool, rootfs, run_cache, selftests, series_checks, vm
from ci.guest.rootfs import Image
from ci.guest.run_cache import Job
from ci.kernel import build, traced
from ci.kernel.build import Kernel
from ci.series.changed_lines import Traces, Trial, place_fate
from ci.series.mutants import Changed, Mutant
from ci.suites.collection import Script
from ci.trees.tree import Tree
from ci.verdict.evidence import Guest
from ci.verdict.judge import Change
from ci.verdict.telling import find_telling

# In real time a case notices only what it notices each time.
TIMES = 2
NO_TIME = "the budget is spent"


@dataclass(frozen=True)
class Told:
    """A trial as it is kept."""

    outcome: Outcome
    by: str = ""


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


class MutantTrials:
    """Mutants, built one after another while guests of the earlier ones run."""

    def __init__(
        self,
        subject: Subject,
        traces: Traces,
        changed: Sequence[Changed],
        objects_: Sequence[str],
    ) -> None:
        self.subject, self.run, self.bench = subject, subject.run, subject.bench
        self.traces, self.changed = traces, [one for one in changed if one.is_code]
        self.workspace = self.run.workspace
        self.known = {
            (row.side, row.part): guest
            for row, guest in zip(self.run.record.guests, self.run.guests, strict=True)
            if row.attempt == 1
        }
        self.log = self.run.folder / "mutants.log"
        self.objects, self.numbers = objects_, itertools.count(1)

    def try_all(self, mutants: Sequence[Mutant]) -> list[Trial]:
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
            self.run.progress.stage("mutants", what),
            ThreadPoolExecutor(max_workers=width) as workers,
            pool.ending_guests(lambda: pending, workers),
        ):
            for mutant in mutants:
                self.run.progress.update(f"mutants: {len(mutants) - len(pending)} to build")
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
        if self.workspace.ready(entry) and not self.run.settings.rerun:
            return from_json((entry / "told.json").read_bytes(), Told)
        try:
            return self._build(mutant, tree, scripts, entry.name)
        except BuildError as error:
            what = "selftests" if is_test(mutant.file) else "kernel"
            self._note(error.message)
            return self._keep(entry.name, Told(Outcome.NOTICED, f"build: {what}"))
        except StageError as error:
            return Told(Outcome.NOT_TRIED, error.message.splitlines()[0])

    def _scripts(self, labels: Sequence[str] | None) -> tuple[Script, ...]:
        """Those that run it, the longest last in the guest's time, which is the same each time; all
        where nobody can tell."""
        rows = self.run.record.guests
        took = {row.part: row.end.guest_ms for row in rows if row.side is Side.PATCHED}
        wanted = [one for one in self.subject.scripts if labels is None or one.label in labels]
        return tuple(sorted(wanted, key=lambda one: (took.get(one.label, 0), one.label)))

    def _key(self, tree: Tree, scripts: Sequence[Script]) -> str:
        """Digest of all that the outcome depends on."""
        record, sides = self.run.record, self.bench.sides
        return digest(
            "trial",
            tree.tree_id,
            [(one.tree.tree_id, self.subject.kernel(side).key) for side, one in sides.items()],
            [image.image_digest for image in self.bench.images.values()],
            [image.image_digest for image in self.bench.checks.values()],
            sorted(one.label for one in scripts),
            asdict(self.bench.mode.machine),
            record.versions,
            record.suite and record.suite.name,
        )

    def _build(
        self, mutant: Mutant, tree: Tree, scripts: tuple[Script, ...], key: str
    ) -> "_Built | Told":
        bench, workspace = self.bench, self.workspace
        own, collection = self.subject.kernel(Side.PATCHED), bench.suite.collection
        kernel, installed, of_test = own, self.subject.installed, is_test(mutant.file)
        words = (tree, workspace, bench.tools, collection)
        if not of_test:
            progress = self.run.progress
            if mutant.file.endswith(".h") and tree.ground and self.objects:
                traced.try_objects(*words, self.log, bench.config, self.objects)
            kernel = build.build_kernel(*words, progress, self.log, bench.config)
        if of_test or mutant.file.startswith("include/uapi/"):
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
        base = self.subject.kernel(Side.BASE) if of_test else None
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
        folder = self.run.folder / "mutants" / f"{next(self.numbers)}-{script.label}"
        image = made.images[script.check]
        job = Job(f"mutant on {side}", kernel, image, script, self.bench.mode, folder)
        ran = run_cache.run_job(job, self.workspace, again=self.run.settings.rerun)
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
