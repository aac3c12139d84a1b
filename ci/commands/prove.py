# SPDX-License-Identifier: GPL-2.0-only
"""`inv prove`: a verdict, and for each patch of the series whether it builds where it stands, what
tells when it is left out, and what is known of each of its lines."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace

from ci.base.errors import BuildError, StageError
from ci.base.exit_codes import ExitCode
from ci.base.progress import Progress
from ci.base.records import from_json, save_record
from ci.base.settings import Settings
from ci.base.sides import Side
from ci.base.workspace import digest
from ci.commands import stages
from ci.commands.findings import find_findings
from ci.commands.lines import Proved, prove_lines
from ci.commands.stages import Run, bring_checked
from ci.commands.subject import Step, Subject, compare_trees
from ci.commands.trials import Bench
from ci.commands.validate import Judged, judge_run, new_run, print_verdict
from ci.kernel import extra_warnings
from ci.report import proof as text
from ci.report import stored
from ci.series.changed_lines import ChangedLine
from ci.series.patches import Series
from ci.verdict import judge, proof
from ci.verdict.evidence import PatchRow
from ci.verdict.patch_findings import PatchFinding
from ci.verdict.proof import DiffLine, MutantRow, PatchProof, Proof

FACTS = "proof.json"


def prove_series(
    settings: Settings, progress: Progress, *, strict: bool, budget_s: float = float("inf")
) -> ExitCode:
    """The verdict's exit code; 2 where the series does not build up to one of its patches, and
    with ``strict`` 1 where nothing tells that one is left out, and 3 where that is not known.
    ``budget_s`` is how long lines may take."""
    series = bring_checked(settings, progress)
    # What came on stdin, or from an archive, comes once.
    settings = replace(settings, series=series.spec)
    with new_run(settings, progress, loaded=series) as run:
        judged = judge_run(run)
        verdict = judged.verdict
        if judged.whole and judged.bench and verdict.exit_code is ExitCode.ACCEPTED:
            found = _find_proof(run, series, judged, judged.bench, budget_s)
            run.record = replace(run.record, proof=replace(found, strict=strict))
            stored.save_run(run.folder, run.record)
            report = stored.write_reports(run.folder, run.record, run.recorded_guests)
            verdict = report.verdict
    settings.workspace.point_latest(run.folder)
    if settings.timings:
        progress.note(progress.timings())
    code = print_verdict(run.folder, verdict, run.record.replay)
    told = text.console_lines(run.record.proof) if run.record.proof else ()
    print("".join(f"{line}\n" for line in told), end="")
    return code


def _find_proof(run: Run, series: Series, judged: Judged, bench: Bench, budget_s: float) -> Proof:
    """What is known of the patches, from the cache where all that it comes from is the same."""
    entry = run.workspace.entry("proofs", _key(run, series, judged, bench))
    if run.workspace.ready(entry) and not run.settings.rerun:
        return from_json((entry / FACTS).read_bytes(), Proof)
    found = _Prover(run, series, judged, bench, budget_s).prove()
    if found.whole:
        with run.workspace.publish(entry) as fresh:
            save_record(fresh / FACTS, found)
    return found


def _key(run: Run, series: Series, judged: Judged, bench: Bench) -> str:
    """Digest of what a proof depends on: what was asked and found, and our own code."""
    record = run.record
    return digest(
        "proof",
        run.workspace.code_digest(),
        judge.to_json(judged.verdict),
        asdict(record.trees) if record.trees else "",
        [asdict(row) for row in record.patches],
        {side: asdict(row) for side, row in record.kernels.items()},
        [one.key for side in bench.sides.values() for one in side.kernels.values()],
        [image.image_digest for image in bench.checks.values()],
        record.versions,
        extra_warnings.sparse_version(),
        asdict(bench.mode.machine),
        sorted(run.settings.without),
        bench.suite.name,
    )


class _Prover:
    """Runs of a series with some of its patches, below the folder of the run with all."""

    def __init__(
        self, run: Run, series: Series, judged: Judged, bench: Bench, budget_s: float
    ) -> None:
        self.run, self.series, self.verdict, self.bench = run, series, judged.verdict, bench
        self.patches = proof.put_on(run.record.patches)
        self.budget_s = budget_s
        self.trees = {self.patches[-1].number: bench.sides[Side.PATCHED].tree}

    def prove(self) -> Proof:
        """All that is known of each patch. A series of one patch is its own first step, and left
        out it is base."""
        steps = self._steps()
        made = [self._prove_one(row, steps[row.number]) for row in self.patches]
        chain, before = list[Step](), self.bench.sides[Side.BASE].tree
        for row in self.patches:
            if steps[row.number] or row.number not in self.trees:
                note = f"the series does not build up to patch {row.number}"
                return Proof(tuple(made), note=note)
            chain.append(Step(row.number, before, self.trees[row.number]))
            before = self.trees[row.number]
        told = map(self._find, chain)
        made = [
            replace(one, findings=found, unasked=unknown)
            for one, (found, unknown) in zip(made, told, strict=True)
        ]
        if all(one.built_in for one in self.bench.suite.new):
            return Proof(tuple(made), note="the suite has no script that could run them")
        until = time.monotonic() + self.budget_s
        words = (self.run, self.series, self.bench, self.verdict)
        try:
            found = prove_lines(Subject(*words, tuple(chain), until))
        except BuildError as error:
            note = f"the series does not build to be watched: {error.message}"
            return Proof(tuple(made), note=note)
        except StageError as error:  # of the patches much is known by now
            return Proof(tuple(made), note=f"it was not found out: {error.message}")
        known = {
            (one.changed.number, one.changed.file, one.changed.sign, one.changed.line): one
            for one in found.lines
        }
        whole = (
            replace(one, lines=tuple(_diff_lines(step, known)))
            for one, step in zip(made, chain, strict=True)
        )
        return Proof(tuple(whole), _mutant_rows(found))

    def _find(self, step: Step) -> tuple[tuple[PatchFinding, ...], tuple[str, ...]]:
        """What tools say of a patch, and what they could not."""
        (patch,) = (one for one in self.series.patches if one.number == step.number)
        bench, run = self.bench, self.run
        trusted = step.after.ground or step.after
        trees = (step.before, step.after, trusted, run.workspace)
        words = (bench.tools, bench.suite.collection, bench.config, run.progress)
        return find_findings(patch, *trees, *words, run.folder / "findings.log")

    def _part(self, name: str, left_out: frozenset[int], suite: str = "") -> Run:
        """A run without some patches, by itself."""
        settings = self.run.settings
        wanted = replace(
            settings, without=settings.without | left_out, suite=suite or settings.suite
        )
        folder = self.run.folder / "parts" / name
        folder.mkdir(parents=True)
        return Run(wanted, self.run.progress, folder, loaded=self.series, once=True)

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
        self.trees[number] = trees.patched
        suite = stages.choose_suite(run, series, trees)
        try:
            stages.build_sides(run, trees, suite, tools, config)
        except BuildError as error:
            return f"it does not build: {error.message}"
        return ""

    def _prove_one(self, row: PatchRow, step: str) -> PatchProof:
        """Leave one patch out: first with the scripts that are to guard it, then with all."""
        made = PatchProof(row.number, row.title, step)
        for name, suite in self._suites(row.number):
            run = self._part(name, frozenset([row.number]), suite)
            run.progress.note(f"prove: the series without patch {row.number}")
            without = judge_run(run)
            if not without.whole:
                raise KeyboardInterrupt
            if noticed := proof.find_noticed(self.verdict, without.verdict):
                return replace(made, noticed=noticed)
            if without.verdict.exit_code is ExitCode.UNKNOWN:
                return replace(made, tried=False, why="; ".join(without.verdict.reasons[:1]))
        return made

    def _suites(self, number: int) -> Iterator[tuple[str, str]]:
        """Names for the parts, and suites: that of the guarding scripts, and the whole."""
        scripts = dict.fromkeys(
            label.partition(":")[0] for label in self.verdict.guarded.get(number, ())
        )
        if scripts:
            yield f"without-{number}-guards", ",".join(scripts)
        yield f"without-{number}", ""


def _diff_lines(
    step: Step, known: Mapping[tuple[int, str, str, int], ChangedLine]
) -> Iterator[DiffLine]:
    """The diff of a step, with the word of each changed line."""
    for file in compare_trees(step.before, step.after):
        for hunk in file.hunks:
            old, new, head = hunk.old, hunk.new, hunk.header
            for row in hunk.lines:
                sign, line = row[0], old if row[0] == "-" else new
                one = known.get((step.number, file.name, sign, line))
                facts = (one.word.value, one.by, one.why) if one else ("", "", "")
                yield DiffLine(file.name, sign, line, row[1:], *facts, head)
                old, new = old + (sign != "+"), new + (sign != "-")
                head = ""


def _mutant_rows(found: Proved) -> tuple[MutantRow, ...]:
    return tuple(
        MutantRow(
            one.mutant.number,
            one.mutant.file,
            one.mutant.grain.value,
            one.mutant.added,
            one.mutant.removed,
            one.outcome.value,
            one.by,
        )
        for one in found.trials
    )
