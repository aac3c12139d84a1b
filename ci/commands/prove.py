# SPDX-License-Identifier: GPL-2.0-only
"""`inv prove`: a verdict, and for each patch of the series whether it builds where it stands, and
what tells when it is left out."""

import json
from collections.abc import Iterator
from dataclasses import replace

from ci.base.errors import BuildError
from ci.base.exit_codes import ExitCode
from ci.base.progress import Progress
from ci.base.settings import Settings
from ci.base.workspace import write_text
from ci.commands import stages
from ci.commands.stages import Run, bring_checked
from ci.commands.validate import judge_run, new_run, print_verdict
from ci.report import proof as text
from ci.series.patches import Series
from ci.verdict import proof
from ci.verdict.evidence import PatchRow
from ci.verdict.judge import Verdict
from ci.verdict.proof import PatchProof, Proof

FILE = "proof.json"


def prove_series(settings: Settings, progress: Progress, *, strict: bool) -> ExitCode:
    """The verdict's exit code; 2 where the series does not build up to one of its patches, and
    with ``strict`` 1 where nothing tells that one is left out, and 3 where that is not known."""
    series = bring_checked(settings, progress)
    # What came on stdin, or from an archive, comes once.
    settings = replace(settings, series=series.spec)
    with new_run(settings, progress, loaded=series) as run:
        verdict, whole = judge_run(run)
        found = Proof(())
        if whole and verdict.exit_code is ExitCode.ACCEPTED:
            found = _Prover(run, series, verdict).prove()
    settings.workspace.point_latest(run.folder)
    _publish(run, verdict, found)
    code = ExitCode.BROKEN if found.broken else verdict.exit_code
    if code or not strict or all(one.guarded for one in found.patches):
        return code
    return ExitCode.REJECTED if found.unguarded else ExitCode.UNKNOWN


class _Prover:
    """Runs of a series with some of its patches, below the folder of the run with all."""

    def __init__(self, run: Run, series: Series, verdict: Verdict) -> None:
        self.run, self.series, self.verdict = run, series, verdict
        self.patches = proof.put_on(run.record.patches)

    def prove(self) -> Proof:
        """All that is known of each patch. A series of one patch is its own first step, and left
        out it is base."""
        steps = self._steps()
        return Proof(tuple(self._prove_one(row, steps[row.number]) for row in self.patches))

    def _part(self, name: str, left_out: frozenset[int], suite: str = "") -> Run:
        """A run without some patches, by itself."""
        settings = self.run.settings
        wanted = replace(
            settings, without=settings.without | left_out, suite=suite or settings.suite
        )
        folder = self.run.folder / "parts" / name
        folder.mkdir(parents=True)
        return Run(wanted, self.run.progress, folder, loaded=self.series)

    def _steps(self) -> dict[int, str]:
        """For each patch why base with the patches up to it does not build, empty where it does."""
        found = {}
        numbers = [row.number for row in self.patches]
        for at, number in enumerate(numbers):
            left_out = frozenset(numbers[at + 1 :])
            # The last step is the series, which was built.
            found[number] = self._step(number, left_out) if left_out else ""
        return found

    def _step(self, number: int, left_out: frozenset[int]) -> str:
        run = self._part(f"up-to-{number}", left_out)
        run.progress.note(f"prove: base with the patches up to {number}")
        series, config, tools = (
            stages.load_series(run),
            stages.choose_config(run),
            stages.find_tools(run),
        )
        trees = stages.derive_trees(run, series, stages.fetch_source(run, series))
        if trees.conflict:
            return trees.conflict.text
        suite = stages.choose_suite(run, series, trees)
        try:
            stages.build_sides(run, trees, suite.collection, tools, config)
        except BuildError as error:
            return f"it does not build: {error.message}"
        return ""

    def _prove_one(self, row: PatchRow, step: str) -> PatchProof:
        """Leave one patch out: first with the scripts that are to guard it, then with all."""
        made = PatchProof(row.number, row.title, step)
        for name, suite in self._suites(row.number):
            run = self._part(name, frozenset([row.number]), suite)
            run.progress.note(f"prove: the series without patch {row.number}")
            without, whole = judge_run(run)
            if not whole:
                raise KeyboardInterrupt
            if noticed := proof.find_telling(self.verdict, without):
                return replace(made, noticed=noticed)
            if without.exit_code is ExitCode.UNKNOWN:
                return replace(made, tried=False, why="; ".join(without.reasons[:1]))
        return made

    def _suites(self, number: int) -> Iterator[tuple[str, str]]:
        """Names for the parts, and suites: that of the guarding scripts, and the whole."""
        scripts = dict.fromkeys(
            label.partition(":")[0] for label in self.verdict.guarded.get(number, ())
        )
        if scripts:
            yield f"without-{number}-guards", ",".join(scripts)
        yield f"without-{number}", ""


def _publish(run: Run, verdict: Verdict, found: Proof) -> None:
    """``proof.json``, the verdict with the proof behind it in the summary, and on stdout."""
    folder = run.folder
    if found.patches:
        write_text(folder / FILE, json.dumps(proof.to_json(found), indent=1) + "\n")
        page = (folder / "summary.md").read_text(encoding="utf-8")
        write_text(folder / "summary.md", page + text.markdown_text(found))
    print_verdict(folder, verdict, run.record.replay)
    print("".join(f"{line}\n" for line in text.console_lines(found)), end="")
