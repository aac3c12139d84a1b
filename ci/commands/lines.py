# SPDX-License-Identifier: GPL-2.0-only
"""What `inv prove` finds out of each changed line: the last tree is traced, then each part of the
series is taken back and the scripts that run it are asked."""

from collections.abc import Iterator
from dataclasses import dataclass

from ci.commands.mutant_trials import MutantTrials
from ci.commands.subject import Step, Subject, compare_trees
from ci.commands.tracer import Tracer
from ci.series.changed_lines import ChangedLine, LineJudge, Traces, Trial
from ci.series.mutants import Patched, list_changed, list_mutants


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
    tracer = Tracer(subject, files)
    traces = tracer.trace()
    mutants = [mutant for file in files for mutant in list_mutants(file)]
    trials = MutantTrials(subject, traces, changed, tracer.objects).try_all(mutants)
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
