# SPDX-License-Identifier: GPL-2.0-only
"""`inv bisect`: the commit of a history that made a case fail, found by git's own bisection."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from ci.base.errors import StageError
from ci.base.exit_codes import ExitCode
from ci.base.options import check_suite, one_of
from ci.base.progress import Progress
from ci.base.records import save_record
from ci.base.settings import Settings
from ci.base.text import marked_lines, printable
from ci.base.workspace import write_text
from ci.commands.stages import Run
from ci.commands.tester import Outcome, Tester
from ci.commands.validate import new_run
from ci.guest.modes import Mode
from ci.logs.outcome import State
from ci.trees.bisection import BAD, GOOD, SKIP, WORDS, Bisection, Commit, read_commit
from ci.trees.checkout import from_names

SCHEMA = 1
FILE, LOG = "bisect.json", "bisect.log"
# Whose selftests run: those of the bad end on all commits, or each commit's.
SELFTESTS = ("bad", "own")


@dataclass(frozen=True)
class Step:
    """A commit that was tested, and what came of it: ``code`` is what `git bisect run` takes."""

    commit: Commit
    code: int
    outcome: Outcome


@dataclass(frozen=True)
class BisectRecord:
    """What was asked for and found out. ``candidates`` is the first bad commit, or are those of
    which one is it; none as long as an end has not been tested."""

    schema: int
    script: str
    case: str
    selftests: str
    good: str
    bad: str
    candidates: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    mode: Mode | None = None
    versions: Mapping[str, str] = field(default_factory=dict)


def split_case(text: str) -> tuple[str, str]:
    """``SCRIPT: CASE`` taken apart, as verdicts have it; a part of a script, or a collection's, is
    ``mptcp_join:d: CASE``."""
    script, colon, case = text.partition(": ")
    check_suite(script, f"--case {text[:80]!r}")
    if not colon or not script or not case.strip() or "," in script:
        raise StageError(
            "options", f'--case {text[:80]!r}: give "SCRIPT: CASE", as a verdict names it'
        )
    return script, case.strip()


def find_commit(
    settings: Settings, progress: Progress, good: str, bad: str, case: str, selftests: str
) -> ExitCode:
    """Print the first bad commit; UNKNOWN where it is one of several. A :class:`StageError` where
    the case does not pass at the good end and fail at the bad one."""
    script, name = split_case(case)
    whose = one_of("--selftests", SELFTESTS, "bad")(selftests)
    if not settings.tree or not good:
        raise StageError("options", "give your checkout by --tree, and --good COMMIT")
    with new_run(settings, progress) as run:
        with run.workspace.lock("trees", stage="fetch"):
            source, (first, last) = from_names(settings, {"--good": good, "--bad": bad})
        tester = Tester(run, source, script, name, last if whose == "bad" else "")
        asked = BisectRecord(SCHEMA, script, name, whose, first, last, mode=tester.mode)
        search = _Search(run, tester, asked)
        with tempfile.TemporaryDirectory() as scratch:
            search.find_first(Path(scratch))
    if settings.timings:
        progress.note(progress.timings())
    print("".join(f"{line}\n" for line in search.report()), end="")
    found = len(search.candidates) == 1
    return ExitCode.ACCEPTED if found else ExitCode.UNKNOWN


class _Search:
    """The commits that were tested, each once, and what is known by them."""

    def __init__(self, run: Run, tester: Tester, asked: BisectRecord) -> None:
        self.run, self.tester, self.asked = run, tester, asked
        self.steps: dict[str, Step] = {}
        self.candidates: tuple[str, ...] = ()
        self.complaint = False

    def find_first(self, scratch: Path) -> None:
        """Test both ends, then what git says; what is known is written down, however it ends."""
        log, asked = "", self.asked
        try:
            self._check_ends()
            bisection = Bisection(self.tester.source.git, scratch, asked.good, asked.bad)
            while True:
                self.candidates, log = tuple(bisection.candidates), bisection.log()
                if not (commit := bisection.next):
                    break
                more = bisection.steps
                step = self._test(commit, f"about {more} step{'s' * (more > 1)} left")
                bisection.tell(step.code)
        finally:
            record = replace(
                asked,
                candidates=self.candidates,
                steps=tuple(self.steps.values()),
                versions=self.run.record.versions,
            )
            save_record(self.run.folder / FILE, record)
            write_text(self.run.folder / LOG, log)

    def _check_ends(self) -> None:
        """What the search rests on; the bad end is tested first: it tells what kind of case it
        is."""
        bad = self._test(self.asked.bad, "the bad end")
        self.complaint = bad.outcome.complaint
        good = self._test(self.asked.good, "the good end")
        if (good.code, bad.code) != (GOOD, BAD):
            ends = {"--good": good, "--bad": bad}
            told = "\n".join(f"{option}: {_told(step)}" for option, step in ends.items())
            what = f"{self.asked.script}: {self.asked.case}"
            raise StageError(
                "bisect", f"{what}: has to pass at the good end and to fail at the bad one\n{told}"
            )

    def _test(self, commit: str, where: str) -> Step:
        if commit not in self.steps:
            named = read_commit(self.tester.source.git, commit)
            with self.run.progress.stage("bisect", f"{where}, testing {_short(named)}"):
                outcome = self.tester.test(commit)
            step = self.steps[commit] = Step(named, self._code(outcome), outcome)
            self.run.progress.note(f"{commit[:12]}: {outcome.state} ({WORDS[step.code]})")
        return self.steps[commit]

    def _code(self, outcome: Outcome) -> int:
        if outcome.state is State.FAIL:
            return BAD
        unseen = self.complaint and outcome.state is State.MISSING
        return GOOD if unseen or outcome.state is State.PASS else SKIP

    def report(self) -> Iterator[str]:
        """What was found, in lines."""
        first = self.steps[self.candidates[0]]
        git = self.tester.source.git
        if len(self.candidates) == 1:
            yield f"first bad commit: {first.commit.commit}"
            yield f"title: {printable(first.commit.title)}"
            yield f"author date: {first.commit.date}"
        else:
            yield f"the first bad commit is one of {len(self.candidates)}: the others are skipped"
            for one in self.candidates:
                step = self.steps.get(one)
                why = step.outcome.detail.partition("\n")[0] if step else "not tested"
                word = f"{WORDS[step.code]}: " if step else ""
                yield printable(f"  {_short(read_commit(git, one))} {word}{why}")
        before = [self.steps[one] for one in first.commit.parents if one in self.steps]
        passed = next((step for step in before if step.code == GOOD), self.steps[self.asked.good])
        yield printable(f"case: {self.asked.script}: {self.asked.case}")
        yield marked_lines(_told(passed), "before: ")
        yield marked_lines(_told(first), "in it: ")
        yield f"look at: {os.path.relpath(self.run.folder / FILE)}"


def _short(commit: Commit) -> str:
    return f"{commit.commit[:12]} ({commit.title})"


def _told(step: Step) -> str:
    detail = f"\n{step.outcome.detail}" if step.outcome.detail else ""
    return f"{step.outcome.state} at {_short(step.commit)}{detail}"
