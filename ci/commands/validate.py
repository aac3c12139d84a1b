# SPDX-License-Identifier: GPL-2.0-only
"""The stages put together: settings in, a run's evidence and verdict out. The only module that sees
all of them."""

import contextlib
import functools
import json
import os
import shutil
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from ci.base.errors import BuildError, PatchError, StageError, describe
from ci.base.exit_codes import ExitCode
from ci.base.progress import Progress
from ci.base.settings import Settings, check_suite
from ci.base.sides import SIDES, Side
from ci.base.workspace import file_digest, write_text
from ci.commands import preflight
from ci.guest import modes, pool, rootfs, run_cache, vm
from ci.guest.modes import Mode
from ci.guest.pool import Job
from ci.guest.rootfs import Image
from ci.guest.vm import GuestRun
from ci.kernel import build
from ci.kernel.build import Kernel
from ci.logs import ktap
from ci.logs.ending import Ended
from ci.logs.outcome import State
from ci.report import stored, summary
from ci.series import patches
from ci.series.locate import bring_series
from ci.series.status import PatchStatus
from ci.suites import selection
from ci.suites.selection import Script, Suite
from ci.trees.fetch import fetch_source
from ci.trees.source import Source
from ci.trees.states import PatchState
from ci.trees.tree import Tree, Trees, derive_trees
from ci.verdict import judge
from ci.verdict.judge import Verdict

# A case that would reject has to do so so many times: with other seeds in virtual time, else in
# other moments.
ATTEMPTS = 3
# How the states of a patch weigh: what was not put on is a skip, whatever the reason.
PATCH_STATES = {
    PatchStatus.CONFLICTS: State.FAIL,
    PatchStatus.DEPENDS: State.MISSING,
    PatchStatus.LEFT_OUT: State.SKIP,
    PatchStatus.NOT_AFFECTED: State.SKIP,
}


class Run:
    """One run: each stage is a property that first runs what it needs and keeps its record.
    ``tests`` is another tree whose selftests both kernels run instead of the patched tree's;
    ``branch`` is what the run is known by; ``loaded`` is the series where it was brought
    already."""

    def __init__(
        self,
        settings: Settings,
        progress: Progress,
        folder: Path,
        *,
        tests: Tree | None = None,
        branch: str = "",
        loaded: patches.Series | None = None,
    ) -> None:
        self.settings, self.progress, self.folder = settings, progress, folder
        self.tests, self.branch, self.loaded = tests, branch, loaded
        self.workspace = settings.workspace
        self.facts: dict[str, Any] = {
            "schema": stored.SCHEMA,
            "series": {"name": Path(settings.series).name, "change-id": ""},
            "trees": {},
            "kernel": {},
            "mode": {"name": settings.mode, "why": ""},
            "suite": settings.suite,
            "versions": {},
            "patches": [],
            "builds": {},
            "must_flip": [],
            "known": [],
            "guests": [],
            "troubles": [],
            "prefix": "",
        }
        for side in SIDES:
            (folder / side).mkdir()

    @functools.cached_property
    def series(self) -> patches.Series:
        """The patches."""
        loaded = self.loaded or bring_series(self.settings, self.progress)
        # What came on stdin can be asked for again only where it is kept.
        self.settings = replace(self.settings, series=loaded.spec)
        check_suite(loaded.suite, f"suite {loaded.suite[:80]!r} of {loaded.folder / 'series.toml'}")
        self.facts["series"] = {
            "name": loaded.name,
            "change-id": loaded.change_id,
            "notes": list(loaded.notes),
        }
        return loaded

    @functools.cached_property
    def source(self) -> Source:
        """The kernel as it comes."""
        wanted = self.series
        if not (self.workspace.cache / "trees").exists():
            self._room()
        with self.progress.stage("fetch", str(self.settings.tree or self.settings.source)):
            found = fetch_source(self.settings, wanted, self.progress)
            self.progress.note(f"{found.name} ({found.why})")
        self.facts["trees"]["source"] = {"name": found.name, "why": found.why}
        return found

    @functools.cached_property
    def trees(self) -> Trees:
        """Shipped, base and patched; a conflict is a record of it."""
        origin = self.source
        with self.progress.stage(
            "apply", f"{self.series.name}, {len(self.series.patches)} patches"
        ):
            with self.workspace.lock(f"trees-{origin.slot.name}", stage="apply"):
                made = derive_trees(
                    self.series, origin, self.settings.without, adapt=self.settings.adapt
                )
            lines = list(made.notes)
            for state in made.states:
                why = f" ({state.why.splitlines()[0]})" if state.why else ""
                lines.append(f"{state.patch.number}: {state.patch.title}: {state.words}{why}")
                self.facts["patches"].append(
                    {
                        "number": state.patch.number,
                        "title": state.patch.title,
                        "digest": state.patch.digest,
                        "status": state.words,
                        "state": _weight(state).value,
                        "detail": (
                            f"{state.patch.path.name}: {state.why}"
                            if state.status is PatchStatus.CONFLICTS
                            else state.why
                        ),
                        "adapted": state.adapted,
                    }
                )
            if made.conflict:
                lines.append(made.conflict.text)
            self.progress.note("\n".join(lines))
            lines += [
                f"\npatch {state.patch.number}, {state.why}:\n{state.adapted}"
                for state in made.states
                if state.adapted
            ]
            write_text(self.folder / "patched" / "apply.log", "\n".join(lines) + "\n")
        affected = {state.patch.number for state in made.states if state.affected}
        self.facts["must_flip"] = [
            [flip.script, flip.case]
            for flip in self.series.must_flip
            if set(flip.patches) <= affected
        ]
        self.facts["trees"] |= {
            "shipped": made.shipped.tree_id,
            "base": made.base.tree_id,
            "patched": made.patched.tree_id,
        }
        release = f"v{made.base.version[0]}.{made.base.version[1]}"
        self.facts["prefix"] = f"{self.branch or release}.guest"
        return made

    def tree(self, side: str) -> Tree:
        """The tree of one side; a conflict is raised here."""
        if side == Side.PATCHED and self.trees.conflict:
            raise self.trees.conflict.error()
        return self.trees.base if side == Side.BASE else self.trees.patched

    @functools.cached_property
    def tools(self) -> build.Toolchain:
        """The compilers."""
        found = build.toolchain()
        self.facts["versions"] |= asdict(found)
        return found

    def _room(self) -> None:
        """Room for what is about to be written; a run from the cache needs none."""
        for finding in preflight.rooms(self.workspace, preflight.needed_gb(self.workspace)):
            preflight.demand(finding)

    @functools.cached_property
    def root(self) -> Path:
        """The packages of the guest's root, made before any kernel is built: what may fail soon
        fails soon."""
        with self.progress.stage("root", "packages of the guest's root"):
            return rootfs.root(self.workspace, self.folder / "root.log")

    @functools.cached_property
    def built(self) -> dict[str, tuple[Kernel, Path]]:
        """Kernel and selftests of both sides; the base is built first, and what does not build is
        recorded."""
        tools = self.tools
        made: dict[str, tuple[Kernel, Path]] = {}
        keys = [build.key_of(self.workspace, self.tree(side), tools) for side in SIDES]
        if not all(self.workspace.entry("kernels", key).exists() for key in keys):
            self._room()
        for side in SIDES:
            built = self.tree(side)
            log = self.folder / side / "build.log"
            with self.progress.stage(
                f"build {side}", f"{built.version[0]}.{built.version[1]}, tree {built.tree_id[:12]}"
            ):
                with self._recorded("kernel", side):
                    ready = build.build(built, self.workspace, tools, self.progress, log)
                with self._recorded("selftests", side):
                    made[side] = ready, rootfs.selftests(built, self.workspace, tools, log)
                self.progress.note(f"kernel {ready.release}, build id {ready.build_id[:12]}")
            write_text(
                self.folder / side / "config", (ready.folder / "config").read_text(encoding="utf-8")
            )
            self.facts["kernel"][side] = {
                "release": ready.release,
                "build_id": ready.build_id,
                "image_digest": ready.image_digest,
            }
        return made

    @contextlib.contextmanager
    def _recorded(self, what: str, side: str) -> Iterator[None]:
        """Note in ``builds`` whether ``what`` builds on ``side``."""
        row = self.facts["builds"].setdefault(
            what, {"base": "missing", "patched": "missing", "detail": ""}
        )
        try:
            yield
        except BuildError as error:
            row[side], row["detail"] = "fail", error.message
            if side == Side.PATCHED:  # base builds, for it came first
                raise PatchError(error.stage, error.message, log=error.log) from None
            raise
        row[side] = "pass"

    @functools.cached_property
    def images(self) -> dict[str, Image]:
        """The guest's root with each side's selftests."""
        root = self.root
        folders = {side: selftests for side, (_, selftests) in self.built.items()}
        with self.progress.stage("image", "guest root with the selftests"):
            if self.tests:
                theirs = rootfs.selftests(
                    self.tests, self.workspace, self.tools, self.folder / "image.log"
                )
                folders = dict.fromkeys(SIDES, theirs)
            made = {
                side: rootfs.make(folder, self.workspace, root) for side, folder in folders.items()
            }
        self.facts["versions"]["image"] = list(made["patched"].packages)
        for side in SIDES:
            self.facts["kernel"][side]["root_digest"] = made[side].image_digest
        return made

    @functools.cached_property
    def mode(self) -> Mode:
        """How guests run, found out before anything is built."""
        wanted = self.settings
        chosen = modes.choose(
            wanted.mode,
            self.workspace,
            seed=wanted.seed,
            layout=wanted.layout,
            vcpus=wanted.cpus,
            qemu=wanted.qemu,
        )
        self.facts["mode"] = asdict(chosen)
        self.facts["versions"] |= run_cache.versions()
        self.progress.note(f"mode: {chosen.name} ({chosen.why})")
        return chosen

    @functools.cached_property
    def suite(self) -> Suite:
        """What to run: the option wins over the series, which wins over the default."""
        name = self.settings.suite or self.series.suite or "default"
        own = self.trees.base if self.trees.conflict else self.trees.patched
        chosen = selection.select(name, self.tests or own)
        if self.tests and self.tests.tree_id != own.tree_id:
            # Scripts that are newer than the kernel skip what it does not have.
            scripts = tuple(replace(script, all_features=False) for script in chosen.scripts)
            chosen = replace(chosen, scripts=scripts)
        self.facts["suite"] = chosen.name
        self.facts["selftests"] = self.tests.source.name if self.tests else "own"
        self.facts["known"] = [list(row) for row in chosen.known]
        return chosen

    def _run(
        self, wanted: Sequence[tuple[str, str, Script]], attempt: int, later: int = 0
    ) -> dict[tuple[str, str], list[GuestRun]]:
        """Run (kernel's side, selftests' side, script) and note the guests; (name, script's name)
        -> runs of its parts. Each attempt in virtual time has a seed of its own, or it would be the
        same again."""
        mode = (
            replace(self.mode, seed=self.mode.seed + attempt - 1)
            if self.mode.machine.repeatable
            else self.mode
        )
        jobs = []
        # A tree's scripts print TAP or not, whichever kernel they run on.
        taps = {
            self.images[tests]: selection.prints_tap(self.tests or self.tree(tests))
            for tests in {row[1] for row in wanted}
        }
        for side, tests, script in wanted:
            name = "base-own" if (side, tests) == ("base", "base") else side
            folder = (
                self.folder / name / (script.label if attempt == 1 else f"{script.label}.{attempt}")
            )
            jobs.append(Job(name, self.built[side][0], self.images[tests], script, mode, folder))
        done: dict[tuple[str, str], list[GuestRun]] = {}
        for job, ran in zip(
            jobs,
            pool.run(jobs, self.workspace, self.progress, again=self.settings.rerun, later=later),
            strict=True,
        ):
            done.setdefault((job.name, job.script.name), []).append(ran)
            self.facts["guests"].append(
                {
                    "side": job.name.replace("-", "_"),
                    "script": ran.script.name,
                    "part": ran.script.label,
                    "attempt": attempt,
                    "seed": mode.seed,
                    "tap": taps[job.image],
                    "folder": str(ran.folder.relative_to(self.folder)),
                    "ended": ran.ended.name,
                    "exit_status": ran.exit_status,
                    "timed_out": ran.timed_out,
                    "logs": {name: file_digest(ran.folder / f"{name}.log") for name in vm.LOGS},
                    "guest_ms": ran.guest_ms,
                    "idle_ms": ran.idle_ms,
                    "cpu_s": ran.cpu_s,
                    "from_record": ran.from_record,
                }
            )
        return done

    @functools.cached_property
    def guests(self) -> None:
        """Both kernels through the suite, with the patched tree's scripts; then the base kernel
        with the base tree's own script wherever the patched one did not reach all of its cases.
        What would reject runs again, up to twice.
        """
        scripts, width = self.suite.scripts, vm.at_once(self.mode.machine)
        self.images  # noqa: B018 - made in stages of their own, before that of the guests
        with self.progress.stage(
            "run",
            f"suite {self.suite.name}, {len(scripts)} guests for each kernel, {width} at once",
        ):
            doubtful: Sequence[Script] = scripts
            for attempt in range(1, ATTEMPTS + 1):
                if attempt > 1:
                    self.progress.note(
                        f"again, attempt {attempt}:"
                        f" {', '.join(script.label for script in doubtful)}"
                    )
                doubtful = self._both(doubtful, attempt)
                if not doubtful:
                    break

    def _both(self, scripts: Sequence[Script], attempt: int) -> Sequence[Script]:
        """The scripts on both kernels, and those that came short on base with base's own; those
        with a case that would reject the series as things stand."""
        differ = self.images["base"].image_digest != self.images["patched"].image_digest
        both = [(side, "patched", script) for script in scripts for side in SIDES]
        done = self._run(both, attempt, later=len(scripts) if differ else 0)
        if differ:
            own = [
                script
                for script in scripts
                if _short(
                    done["base", script.name], done["patched", script.name], tap=self.suite.tap
                )
            ]
            done |= self._run([("base", "base", script) for script in own], attempt)
        judged = judge.decide(stored.evidence(self.folder, self.facts))
        rejecting = {
            (case.suite, case.name) for case in judged.cases if case.exit_code is ExitCode.REJECTED
        }
        return [
            script for script in scripts if _doubtful(script, done, rejecting, tap=self.suite.tap)
        ]


def _doubtful(
    script: Script,
    done: Mapping[tuple[str, str], Sequence[GuestRun]],
    rejecting: Set[tuple[str, str]],
    *,
    tap: bool,
) -> bool:
    """Whether the script, or the part of one, showed a rejecting case, or went wrong where its own
    case or end is one."""
    runs = [
        ran
        for side in (*SIDES, "base-own")
        for ran in done.get((side, script.name), ())
        if ran.script == script
    ]
    wrong = any(ran.exit_status != 0 or ran.ended is not Ended.FINISHED for ran in runs)
    own = {(script.name, script.name), ("kernel", f"{script.name}: guest finished")}
    return (wrong and bool(own & rejecting)) or any(
        (script.name, name) in rejecting for ran in runs for name in _reached(ran, tap=tap)
    )


def _reached(ran: GuestRun, *, tap: bool) -> set[str]:
    """The cases that a run showed."""
    parsed = ktap.parse_script(ran.script.name, ran.log("tests"), ran.exit_status, expect_tap=tap)
    return {case.name for case in parsed.cases}


def _short(base: Sequence[GuestRun], patched: Sequence[GuestRun], *, tap: bool) -> bool:
    """Whether base did not reach a case that patched has, or the script ended on neither."""
    reached = [
        {name for ran in runs for name in _reached(ran, tap=tap)} for runs in (base, patched)
    ]
    stuck = [any(ran.ended is not Ended.FINISHED for ran in runs) for runs in (base, patched)]
    return bool(reached[1] - reached[0]) or all(stuck)


def apply(settings: Settings, progress: Progress) -> ExitCode:
    """Make the trees; BROKEN where a patch conflicts, whose words have been shown."""
    with new_run(settings, progress) as run:
        trees = run.trees
    for side, made in (
        ("shipped", trees.shipped),
        ("base", trees.base),
        ("patched", trees.patched),
    ):
        print(f"{side}: tree {made.tree_id}, commit {made.commit} of {made.source.slot / 'src'}")
    if trees.conflict and not trees.conflict.at_fault:
        raise trees.conflict.error()
    return trees.conflict.exit_code if trees.conflict else ExitCode.ACCEPTED


@contextlib.contextmanager
def new_run(settings: Settings, progress: Progress) -> Iterator[Run]:
    """A run in a new folder, which goes again where what was asked for cannot be done."""
    folder = settings.workspace.new_run()
    try:
        yield Run(settings, progress, folder)
    except StageError as error:
        if error.asked:
            shutil.rmtree(folder)
        raise


def show(folder: Path) -> ExitCode:
    """Rebuild the reports of a stored run and print the summary; the verdict's exit code."""
    return _print(folder, stored.write(folder))


def _print(folder: Path, judged: Verdict) -> ExitCode:
    """Print the summary of a run whose reports are written; the verdict's exit code."""
    replay = stored.read(folder).get("replay", "")
    width = shutil.get_terminal_size().columns
    color = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
    print(
        summary.console(
            judged, width=width, color=color, where=os.path.relpath(folder), replay=replay
        ),
        end="",
    )
    stored.to_job_summary(folder)
    return judged.exit_code


def validate(settings: Settings, progress: Progress) -> ExitCode:
    """Everything, to a verdict in a new folder under ``results/``; whatever happens on the way is
    part of it."""
    with new_run(settings, progress) as run:
        collect(run)
    judged = stored.write(run.folder)
    settings.workspace.point_latest(run.folder)
    if settings.timings:
        progress.note(progress.timings())
    return _print(run.folder, judged)


def collect(run: Run) -> bool:
    """Run all stages and write ``run.json``, the evidence of a verdict; what goes wrong is
    evidence, too, unless what was asked for cannot be done (of one branch among several it is).
    False where we were interrupted.
    """
    progress, whole = run.progress, True
    try:
        run.series  # noqa: B018 - the stages are properties
        run.tools  # noqa: B018
        run.mode  # noqa: B018
        run.suite  # noqa: B018
        run.tree("patched")
        run.guests  # noqa: B018
    except (PatchError, BuildError) as error:
        progress.note(str(error))
        if not _blamed(run):
            run.facts["troubles"].append([error.stage, error.text])
    except StageError as error:
        if error.asked and not run.branch:
            raise
        progress.note(str(error))
        run.facts["troubles"].append([error.stage, error.text])
    except KeyboardInterrupt as signal:
        run.facts["troubles"].append(
            ["pipeline", f"interrupted ({signal})" if str(signal) else "interrupted"]
        )
        whole = False
    except Exception as error:
        run.facts["troubles"].append(["pipeline", describe(error)])
        (log := run.folder / "traceback.log").write_text(
            "".join(traceback.format_exception(error)), encoding="utf-8"
        )
        progress.note(f"pipeline: {describe(error)} (log: {log})")
    run.facts["durations_s"] = progress.durations_s
    run.facts["cpu_s"] = progress.cpu_s
    run.facts["replay"] = run.settings.command("validate", mode="virtual", suite="")
    write_text(run.folder / "run.json", json.dumps(run.facts, indent=1, sort_keys=True) + "\n")
    return whole


def _weight(state: PatchState) -> State:
    """How the state of a patch weighs in the verdict; what another patch keeps from being tried was
    never tried."""
    return PATCH_STATES.get(state.status, State.PASS)


def _blamed(run: Run) -> bool:
    """Whether a row of the evidence already carries what the error says."""
    return any(row["state"] == "fail" for row in run.facts["patches"]) or any(
        row["patched"] == "fail" or row["base"] == "fail" for row in run.facts["builds"].values()
    )


def open_shell(settings: Settings, progress: Progress) -> ExitCode:
    """An interactive shell in the patched guest, on this terminal."""
    with new_run(settings, progress) as run:
        mode = run.mode  # a wrong one is told before anything is built
        images, kernels = run.images, run.built  # the guest's root before the kernels
    folder = run.folder
    if mode.name == "virtual":
        # In virtual time the guest's clock runs on while it waits for a key.
        mode = Mode("tcg", f"a shell waits for people; {mode.why}")
    progress.note(f"the kernel's log: {folder / 'shell' / 'kernel.log'}")
    return (
        ExitCode.ACCEPTED
        if vm.shell(
            kernels["patched"][0], images["patched"], mode, settings.workspace, folder / "shell"
        )
        in (0, 255)
        else ExitCode.UNKNOWN
    )
