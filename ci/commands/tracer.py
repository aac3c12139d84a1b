# SPDX-License-Identifier: GPL-2.0-only
"""The last tree of a proof, compiled to be watched, and what its scripts run of it."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ci.base.sides import Side
from ci.commands.subject import Subject, is_test
from ci.guest import rootfs, selftests, series_checks, tracing
from ci.guest.rootfs import Image
from ci.guest.run_cache import Job
from ci.guest.selftests import GUEST_SELFTESTS
from ci.guest.series_checks import list_programs
from ci.kernel import objects, traced
from ci.kernel.build import Kernel
from ci.kernel.traced import Lines
from ci.series.changed_lines import Traces
from ci.series.mutants import Patched
from ci.series.outline import read_outline
from ci.suites.collection import SELFTESTS, Script


class Tracer:
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
            installed, programs = self._selftests()
            checks = self._checks(installed, scripts)
            own = list_programs(self.subject.series.checks)
            rows = self._rows([(installed, programs), *([(checks, own)] if checks else [])])
            images = self._images(installed, checks)
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
        names = [name for name in self.last if not is_test(name)]
        home = objects.home_folder(bench.config.place_objects(tree), workspace)
        self.objects = wanted = traced.list_objects(tree, home, names)
        if not wanted:
            return self.subject.kernel(Side.PATCHED), Lines()
        words = (tree, workspace, bench.tools, bench.suite.collection, self.run.progress)
        return traced.build_traced(*words, self.log, bench.config, wanted)

    def _selftests(self) -> tuple[Path, Sequence[str]]:
        """The installed selftests, to be watched where the series changes a program, and the
        programs that are watched."""
        names = [name for name in self.last if is_test(name) and name.endswith((".c", ".h"))]
        if not names:
            return self.subject.installed, ()
        tree, collection = self.subject.patched, self.bench.suite.collection
        words = (tree, self.run.workspace, self.bench.tools, collection, self.log)
        return selftests.install_selftests(*words, traced=True), [
            name
            for name in selftests.place_programs(tree, collection)
            if f"{collection.folder}/{name}.c" in names or any(one.endswith(".h") for one in names)
        ]

    def _checks(self, installed: Path, scripts: Sequence[Script]) -> Path | None:
        """The checks of the series, where some run: their programs may have taken in sources of
        the tree."""
        if not any(one.check for one in scripts):
            return None
        tools, collection = self.bench.tools, self.bench.suite.collection
        words = (self.subject.patched, self.run.workspace, tools, collection, installed, self.log)
        return series_checks.install_checks(self.subject.series.checks, *words, traced=True)

    def _rows(self, parts: Iterable[tuple[Path, Iterable[str]]]) -> dict[str, dict[int, list[int]]]:
        """The line tables of the programs in folders, several of which may have taken a file
        in."""
        collection = self.bench.suite.collection
        found: dict[str, dict[int, list[int]]] = {}
        words = (self.subject.patched, self.run.workspace, self.bench.tools)
        for folder, programs in parts:
            for name in programs:
                path = folder / GUEST_SELFTESTS / collection.target / name
                if not path.is_file():
                    continue
                for file, of in traced.read_rows(*words, path, collection.folder, self.log).items():
                    for line, addresses in of.items():
                        found.setdefault(file, {}).setdefault(line, []).extend(addresses)
        return found

    def _images(self, installed: Path, checks: Path | None) -> Mapping[bool, Image]:
        """The roots for the tree's own scripts, and for the checks of the series."""
        workspace, root = self.run.workspace, self.bench.root
        images = {False: rootfs.make_image(installed, workspace, root)}
        if checks:
            images[True] = rootfs.make_image(installed, workspace, root, checks)
        return images
