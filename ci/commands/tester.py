# SPDX-License-Identifier: GPL-2.0-only
"""One commit of a history, tested: its kernel is built, one script runs in a guest, and what became
of one case is read."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ci.base.errors import BuildError, StageError
from ci.base.git import Git
from ci.base.sides import SIDES
from ci.commands import stages
from ci.commands.stages import Run
from ci.guest import pool, rootfs, selftests
from ci.guest.run_cache import Job
from ci.kernel import build
from ci.logs.ending import LOGS, Ended
from ci.logs.outcome import State, tidy
from ci.report import stored
from ci.suites import selection
from ci.suites.collection import Collection, Script
from ci.trees.checkout import complete_clone
from ci.trees.source import Source
from ci.trees.tree import Tree, version_of
from ci.verdict.evidence import Guest

FINISHED = "guest finished"


@dataclass(frozen=True)
class Outcome:
    """What became of the case, and why. ``complaint``: it is one of the kernel's, which is no case
    where it does not show."""

    state: State
    detail: str = ""
    complaint: bool = False


class Tester:
    """Tests commits of a source. Its own commit, the good end, is the ground that all others are
    built on. ``tests`` is the commit whose selftests run on all; empty: each runs its own."""

    def __init__(self, run: Run, source: Source, script: str, case: str, tests: str) -> None:
        self.run, self.source, self.word, self.case = run, source, script, tidy(case)
        for side in SIDES:  # a run of one kernel has none
            (run.folder / side).rmdir()
        git = source.git
        with run.workspace.lock(f"trees-{source.slot.name}", stage="bisect"):
            source.overrule_attributes()
        self._fetch_files(source.commit)
        self.good = Tree(
            source,
            source.commit,
            git.line("rev-parse", f"{source.commit}^{{tree}}"),
            version_of(git, source.commit),
        )
        self.tests = self._tree(tests) if tests else None
        self._script(self.tests or self.good)
        self.config = stages.choose_config(run)
        self.tools = stages.find_tools(run)
        self.mode = stages.choose_mode(run, self.config)
        self.root = stages.make_root(run)

    def test(self, commit: str) -> Outcome:
        """What becomes of the case at a commit; an error where that cannot be found out."""
        folder = self.run.folder / commit[:12]
        folder.mkdir()
        try:
            return read_case(self._run_guest(commit, folder), self.case)
        except (BuildError, StageError) as error:
            return Outcome(State.ERROR, str(error))

    def _fetch_files(self, commit: str) -> None:
        """Have the files of a commit here, of a partial clone as well."""
        user = self.run.settings.tree
        assert user
        with self.run.workspace.lock("trees", stage="fetch"):
            complete_clone(Git(user, "fetch"), self.source.git, commit, self.run.progress)

    def _tree(self, commit: str) -> Tree:
        self._fetch_files(commit)
        return self.good.with_commit(commit)

    def _script(self, tree: Tree) -> tuple[Collection, Script]:
        """The one script that runs on a tree's kernel. One that is another tree's skips what a
        kernel does not have."""
        suite = selection.select_suite(self.word, self.tests or tree, kernels=(tree,))
        if len(suite.scripts) != 1:
            names = ", ".join(
                f"{one.name}:{one.part} ({one.group})" if one.part else one.name
                for one in suite.scripts
            )
            raise StageError("options", f"--case {self.word}: give one of {names}")
        (script,) = suite.scripts
        return suite.collection, replace(script, all_features=self.tests is None)

    def _run_guest(self, commit: str, folder: Path) -> Guest:
        run, tree = self.run, self._tree(commit)
        tests, log, config = self.tests or tree, folder / "build.log", self.config
        collection, script = self._script(tree)
        words, installed = (run.workspace, self.tools, collection), None
        if script.built_in and collection.kunit:
            config = config.with_tests(collection.kunit.symbols)
        kernel = build.build_kernel(tree, *words, run.progress, log, config)
        if not script.built_in:
            installed = selftests.install_selftests(tests, *words, log)
        image = rootfs.make_image(installed, run.workspace, self.root)
        job = Job(commit[:12], kernel, image, script, self.mode, folder / script.label)
        (ran,) = pool.run_jobs([job], run.workspace, run.progress, again=run.settings.rerun)
        logs = {name: ran.log(name) for name in LOGS}
        tap = selection.prints_tap(collection, tests)
        return stored.parse_logs(script.name, ran.end, collection, logs, tap=tap)


def read_case(guest: Guest, name: str) -> Outcome:
    """What a guest showed of a case: one of its script's, that of its end, or a complaint of the
    kernel. A case of a guest that was cut short may have been still to come; of one that was lost,
    or told two stories, nothing is known."""
    how = guest.ended.value + (f": {guest.note}" if guest.note else "")
    finished = guest.ended is Ended.FINISHED
    if guest.ended in (Ended.LOST, Ended.FORGED):
        return Outcome(State.ERROR, how)
    if name == FINISHED:
        return Outcome(State.PASS if finished else State.FAIL, how)
    cases = (guest.result.own, *guest.result.cases) if guest.result else ()
    shown = {tidy(one.fingerprint): Outcome(State.FAIL, one.excerpt, True) for one in guest.splats}
    shown |= {one.name: Outcome(one.state, one.detail) for one in cases}
    if name in shown:
        return shown[name]
    if not finished or not guest.scanned:
        return Outcome(State.ERROR, f"the case did not come up, and {how}")
    return Outcome(State.MISSING, f"the case did not come up{_meant(name, list(shown))}")


def _meant(name: str, shown: Sequence[str]) -> str:
    close = difflib.get_close_matches(name, shown, n=1)
    return f"; there is {close[0]!r}" if close else ""
