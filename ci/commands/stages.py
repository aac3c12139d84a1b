# SPDX-License-Identifier: GPL-2.0-only
"""The stages of a run, each a function from what the ones before it gave to its own product. What a
reader of the verdict has to know of it goes into the run's record, which is whole at any moment."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ci.base.errors import BuildError, StageError
from ci.base.options import check_suite
from ci.base.progress import Progress
from ci.base.settings import Settings
from ci.base.sides import SIDES, Side
from ci.base.workspace import Workspace, write_text
from ci.commands import preflight
from ci.guest import modes, rootfs, run_cache, selftests, series_checks
from ci.guest.modes import Mode
from ci.guest.rootfs import Image
from ci.kernel import build, decode
from ci.kernel.build import Kernel, Toolchain
from ci.kernel.configuration import Configuration, read_configuration
from ci.logs.outcome import State
from ci.report.record import SCHEMA, KernelRow, RunRecord, SeriesRow, SuiteRow, TreesRow
from ci.series.locate import bring_series
from ci.series.patches import Series
from ci.series.status import PatchStatus
from ci.suites import selection
from ci.suites.collection import Collection, Script
from ci.suites.kunit import KUNIT
from ci.suites.selection import Suite
from ci.trees import fetch
from ci.trees.derived import recall_trees
from ci.trees.source import Source
from ci.trees.states import PatchState
from ci.trees.tree import Tree, Trees
from ci.verdict.evidence import BuildRow, Guest, PatchRow

# How the states of a patch weigh: what was not put on is a skip, whatever the reason.
PATCH_STATES = {
    PatchStatus.CONFLICTS: State.FAIL,
    PatchStatus.REFUSED: State.FAIL,
    PatchStatus.DEPENDS: State.MISSING,  # what another patch keeps from being tried
    PatchStatus.LEFT_OUT: State.SKIP,
    PatchStatus.NOT_AFFECTED: State.SKIP,
}


class Run:
    """A run under way: what was asked for, where its logs go, and its record so far. ``tests`` is
    another tree whose selftests both kernels run instead of the patched tree's; ``branch`` is what
    the run is known by; ``loaded`` is the series where it was brought already; ``once``: nothing
    runs again where the first time would be the same. ``guests`` are what
    the guests of the record showed, row by row."""

    def __init__(
        self,
        settings: Settings,
        progress: Progress,
        folder: Path,
        *,
        tests: Tree | None = None,
        branch: str = "",
        loaded: Series | None = None,
        once: bool = False,
    ) -> None:
        self.settings, self.progress, self.folder = settings, progress, folder
        self.tests, self.branch, self.loaded, self.once = tests, branch, loaded, once
        self.record = RunRecord(
            SCHEMA, SeriesRow(Path(settings.series).name), replay=_replay(settings)
        )
        self.guests: list[Guest] = []
        for side in SIDES:
            (folder / side).mkdir()

    @property
    def recorded_guests(self) -> Sequence[Guest]:
        """The guests that the record has: a signal may come between what they showed and their
        rows."""
        return self.guests[: len(self.record.guests)]

    @property
    def workspace(self) -> Workspace:
        """Where things lie."""
        return self.settings.workspace


def _replay(settings: Settings) -> str:
    return settings.command("validate", mode="virtual", suite="")


@dataclass(frozen=True)
class Sides:
    """What was built on one side, as far as the suite needs it: the kernel, that with its own tests
    (True), the selftests."""

    tree: Tree
    kernels: Mapping[bool, Kernel]
    selftests: Path | None


def bring_checked(settings: Settings, progress: Progress) -> Series:
    """The series that the settings name; a :class:`StageError` where no tree can have the suite
    that its series.toml asks for."""
    series = bring_series(settings, progress)
    check_suite(series.suite, f"suite {series.suite[:80]!r} of {series.folder / 'series.toml'}")
    return series


def load_series(run: Run) -> Series:
    """The patches."""
    series = run.loaded or bring_checked(run.settings, run.progress)
    allowed = tuple((one.script, one.case, one.why) for one in series.allowed)
    row = SeriesRow(series.name, series.change_id, tuple(series.notes), allowed)
    # What came on stdin can be asked for again only where it is kept.
    replay = _replay(replace(run.settings, series=series.spec))
    run.record = replace(run.record, series=row, replay=replay)
    return series


def find_tools(run: Run) -> Toolchain:
    """The compilers, and the sandbox in which they run."""
    tools = build.find_toolchain()
    boxed = {"sandbox": preflight.demand_sandbox(run.workspace)}
    if not run.workspace.confined:
        run.progress.note(f"sandbox: {boxed['sandbox']}")
    run.record = replace(run.record, versions={**run.record.versions, **asdict(tools), **boxed})
    return tools


def choose_config(run: Run) -> Configuration:
    """How the kernels are configured."""
    config = read_configuration(run.settings.config, run.workspace)
    run.record = replace(run.record, config=config.name)
    return config


def choose_mode(run: Run, config: Configuration) -> Mode:
    """How guests run, found out before anything is built."""
    settings = run.settings
    mode = modes.choose_mode(
        settings.mode,
        run.workspace,
        seed=settings.seed,
        layout=settings.layout,
        vcpus=settings.cpus,
        qemu=settings.qemu,
        needs=config.needs,
    )
    versions = {**run.record.versions, **run_cache.emulator_versions()}
    run.record = replace(run.record, mode=mode, versions=versions)
    run.progress.note(f"mode: {mode.name} ({mode.why})")
    return mode


def fetch_source(run: Run, series: Series) -> Source:
    """The kernel as it comes."""
    if not (run.workspace.cache / "trees").exists():
        _demand_room(run.workspace)
    with run.progress.stage("fetch", str(run.settings.tree or run.settings.source)):
        fetched = fetch.fetch_source(run.settings, series, run.progress)
        run.progress.note(f"{fetched.name} ({fetched.why})")
    run.record = replace(run.record, trees=TreesRow(fetched.name, fetched.why))
    return fetched


def _demand_room(workspace: Workspace) -> None:
    """Room for what is about to be written; a run from the cache needs none."""
    for finding in preflight.check_disks(workspace, preflight.needed_gb(workspace)):
        preflight.demand_sound(finding)


def derive_trees(run: Run, series: Series, fetched: Source) -> Trees:
    """Shipped, base and patched; a conflict is a record of it."""
    with run.progress.stage("apply", f"{series.name}, {len(series.patches)} patches"):
        with run.workspace.lock(f"trees-{fetched.slot.name}", stage="apply"):
            words = (run.workspace, series, fetched, run.settings.without)
            trees = recall_trees(*words, adapt=run.settings.adapt)
        lines = [*trees.notes, *map(_state_line, trees.states)]
        if trees.conflict:
            lines.append(trees.conflict.text)
        run.progress.note("\n".join(lines))
        lines += [
            f"\npatch {state.patch.number}, {state.why}:\n{state.adapted}"
            for state in trees.states
            if state.adapted
        ]
        write_text(run.folder / Side.PATCHED / "apply.log", "\n".join(lines) + "\n")
    affected = {state.patch.number for state in trees.states if state.affected}
    flips = series.flips_for(affected)
    version = trees.base.version
    run.record = replace(
        run.record,
        patches=tuple(map(_patch_row, trees.states)),
        must_flip=tuple((flip.script, flip.case) for flip in flips),
        guards=tuple(
            (number, flip.script, flip.case)
            for flip in flips
            for number in flip.patches or (series.titles if len(series.titles) == 1 else ())
        ),
        trees=TreesRow(
            fetched.name,
            fetched.why,
            trees.shipped.tree_id,
            trees.base.tree_id,
            trees.patched.tree_id,
        ),
        prefix=f"{run.branch or f'v{version[0]}.{version[1]}'}.{run.record.config}",
    )
    return trees


def _state_line(state: PatchState) -> str:
    why = f" ({state.why.splitlines()[0]})" if state.why else ""
    return f"{state.patch.number}: {state.patch.title}: {state.words}{why}"


def _patch_row(state: PatchState) -> PatchRow:
    conflicts = state.status in (PatchStatus.CONFLICTS, PatchStatus.REFUSED)
    return PatchRow(
        number=state.patch.number,
        title=state.patch.title,
        digest=state.patch.digest,
        status=state.words,
        state=PATCH_STATES.get(state.status, State.PASS),
        detail=f"{state.patch.path.name}: {state.why}" if conflicts else state.why,
        adapted=state.adapted,
    )


def choose_suite(run: Run, series: Series, trees: Trees) -> Suite:
    """What to run. Base chooses, so that the series has no say in how it is tested."""
    name = selection.choose_name(run.settings.suite, series.suite)
    own = trees.base if trees.conflict else trees.patched
    base = None if run.tests else trees.base
    checks = series.checks_for({state.patch.number for state in trees.states if state.affected})
    kernels = (trees.base, own)
    suite = selection.select_suite(name, run.tests or own, base, checks, kernels)
    if run.tests and run.tests.tree_id != own.tree_id:
        # Scripts that are newer than the kernel skip what it does not have.
        scripts = tuple(replace(script, all_features=False) for script in suite.scripts)
        suite = replace(suite, scripts=scripts)
    origin = run.tests.source.name if run.tests else "own"
    allow = run.settings.allow
    notes = (*suite.notes, *_leave_flips(run, suite), *allow.notes)
    for note in notes:
        run.progress.note(note)
    limit = run.settings.max_slowdown
    if limit is None and run.record.mode and run.record.mode.machine.repeatable:
        limit = suite.collection.max_slowdown
    row = SuiteRow(suite.name, origin, (*suite.collection.known, *allow.known), notes, limit)
    run.record = replace(run.record, suite=row)
    return suite


def _leave_flips(run: Run, suite: Suite) -> list[str]:
    """Where the option names a suite, what must flip in scripts that it leaves out is not asked
    for, and told: it may be the part of a whole that another run has the rest of."""
    names = {one.name for one in (*suite.new, *suite.old)}
    flips = run.record.must_flip if run.settings.suite else ()
    left = [flip for flip in flips if flip[0] not in names]
    kept = tuple(flip for flip in run.record.must_flip if flip not in left)
    run.record = replace(run.record, must_flip=kept)
    return [f"not in the suite, and so not asked for: {one}: {case}" for one, case in left]


def keep_changed(suite: Suite, sides: Mapping[Side, Sides]) -> Suite:
    """The suite without the old scripts of which the patched tree's are the same, with all that
    they use: they would show the same."""
    new = {one.label: one for one in suite.scripts}

    def changed(old: Script) -> bool:
        now = new.get(old.label)
        before, after = (
            one and folder and selftests.script_digest(folder, one)
            for folder, one in (
                (sides[Side.BASE].selftests, old),
                (sides[Side.PATCHED].selftests, now),
            )
        )
        return now != old or before != after

    return replace(suite, old=tuple(filter(changed, suite.old)))


def make_checks(
    run: Run,
    series: Series,
    suite: Suite,
    sides: Mapping[Side, Sides],
    root: Path,
    tools: Toolchain,
) -> Mapping[Side, Image]:
    """Where the series brings checks that run: the patched tree's selftests with them, their
    programs compiled for each side."""
    images, own = {}, sides[Side.PATCHED].selftests
    if not suite.checks or not own:
        return {}
    with run.progress.stage("checks", f"of {series.name}: {len(suite.checks)}"):
        with _recorded(run, "checks", Side.PATCHED):
            series_checks.check_names(series.checks, suite.collection, own)
        for side, one in sides.items():
            with _recorded(run, "checks", side):
                log = run.folder / side / "build.log"
                words = (run.workspace, tools, suite.collection, one.selftests or own, log)
                made = series_checks.install_checks(series.checks, one.tree, *words)
            images[side] = rootfs.make_image(own, run.workspace, root, made)
    return images


def demand_whole(trees: Trees) -> None:
    """Raise what keeps the series from being whole: trees that conflict are none to be built."""
    if trees.conflict:
        raise trees.conflict.error()


def make_root(run: Run) -> Path:
    """The packages of the guest's root, made before any kernel is built: what may fail soon fails
    soon."""
    with run.progress.stage("root", "packages of the guest's root"):
        return rootfs.make_root(run.workspace, run.folder / "root.log")


def build_sides(
    run: Run, trees: Trees, suite: Suite, tools: Toolchain, config: Configuration
) -> Mapping[Side, Sides]:
    """Kernels and selftests of both sides for a suite; base is built first, and what does not build
    is recorded."""
    of_side = {Side.BASE: trees.base, Side.PATCHED: trees.patched}
    configs = {False: config} if suite.installed else {}
    if suite.built_in and suite.collection.kunit:
        configs[True] = config.with_tests(suite.collection.kunit.symbols)
    keys = [
        build.kernel_key(run.workspace, tree, tools, suite.collection, one)
        for tree in of_side.values()
        for one in configs.values()
    ]
    if not all(run.workspace.entry("kernels", key).exists() for key in keys):
        _demand_room(run.workspace)
    return {
        side: _build_side(run, side, one, suite, tools, configs) for side, one in of_side.items()
    }


def _build_side(
    run: Run,
    side: Side,
    made: Tree,
    suite: Suite,
    tools: Toolchain,
    configs: Mapping[bool, Configuration],
) -> Sides:
    log, collection = run.folder / side / "build.log", suite.collection
    what = f"{made.version[0]}.{made.version[1]}, tree {made.tree_id[:12]}"
    kernels, installed = dict[bool, Kernel](), None
    with run.progress.stage(f"build {side}", what):
        for tested, config in configs.items():
            name = "kunit kernel" if tested else "kernel"
            with _recorded(run, name, side):
                kernels[tested] = build.build_kernel(
                    made, run.workspace, tools, collection, run.progress, log, config
                )
            _note_kernel(run, side, name, kernels[tested])
        if suite.installed:
            with _recorded(run, "selftests", side):
                installed = selftests.install_selftests(made, run.workspace, tools, collection, log)
    return Sides(made, kernels, installed)


def _note_kernel(run: Run, side: Side, name: str, kernel: Kernel) -> None:
    """A kernel that was built, in the record, and its configuration beside the log."""
    run.progress.note(f"{name} {kernel.release}, build id {kernel.build_id[:12]}")
    settled = (kernel.folder / "config").read_text(encoding="utf-8")
    row = {side: KernelRow(kernel.release, kernel.build_id, kernel.image_digest)}
    if name == "kernel":
        write_text(run.folder / side / "config", settled)
        run.record = replace(run.record, kernels={**run.record.kernels, **row})
    else:
        write_text(run.folder / side / "kunit.config", settled)
        run.record = replace(run.record, kunit={**run.record.kunit, **row})


@contextlib.contextmanager
def _recorded(run: Run, what: str, side: Side) -> Iterator[None]:
    """Note in the record whether ``what`` builds on ``side``."""
    _note_build(run, what, side, State.MISSING)
    try:
        yield
    except BuildError as error:
        _note_build(run, what, side, State.FAIL, error.message)
        raise
    _note_build(run, what, side, State.PASS)


def _note_build(run: Run, what: str, side: Side, state: State, detail: str = "") -> None:
    rows = {row.name: row for row in run.record.builds}
    row = rows.get(what, BuildRow(what, State.MISSING, State.MISSING))
    base, patched = (state, row.patched) if side is Side.BASE else (row.base, state)
    rows[what] = BuildRow(what, base, patched, detail or row.detail)
    run.record = replace(run.record, builds=tuple(rows.values()))


def make_images(
    run: Run,
    sides: Mapping[Side, Sides],
    root: Path,
    collection: Collection,
    tools: Toolchain,
) -> Mapping[Side, Image]:
    """The guest's root with each side's selftests, or with those of another tree."""
    folders = {side: one.selftests for side, one in sides.items()}
    with run.progress.stage("image", "guest root with the selftests"):
        if run.tests and all(folders.values()):
            log = run.folder / "image.log"
            foreign = selftests.install_selftests(run.tests, run.workspace, tools, collection, log)
            folders = dict.fromkeys(folders, foreign)
        images = {
            side: rootfs.make_image(folder, run.workspace, root) for side, folder in folders.items()
        }
    kernels, kunit = (
        {side: replace(row, root_digest=images[side].image_digest) for side, row in rows.items()}
        for rows in (run.record.kernels, run.record.kunit)
    )
    packages = images[Side.PATCHED].packages
    run.record = replace(run.record, kernels=kernels, kunit=kunit, packages=packages)
    return images


def decode_splats(run: Run, sides: Mapping[Side, Sides]) -> None:
    """Beside each kernel.log that has a stack trace its complaints with files and lines, where the
    kernel has debug info: for people, the verdict does not ask."""
    built = [(side, *row) for side, one in sides.items() for row in one.kernels.items()]
    for side, tested, kernel in built:
        texts = {
            run.folder / row.folder / "decoded.log": traces
            for row, guest in zip(run.record.guests, run.recorded_guests, strict=True)
            if row.side.kernel is side and (row.script == KUNIT) is tested
            if (traces := _traces(guest))
        }
        if not texts or not decode.has_debug_info(kernel):
            continue
        try:
            for log, text in decode.decode_traces(texts, sides[side].tree, kernel, run.workspace):
                write_text(log, text)
                run.progress.note(f"decoded: {log}")
        except (BuildError, StageError) as error:
            run.progress.note(f"stack traces are not decoded: {error.text}")


def _traces(guest: Guest) -> str:
    """The complaints of a guest that have a stack trace."""
    return "\n".join(
        f"{splat.excerpt}\n" for splat in guest.splats if "call trace:" in splat.excerpt.lower()
    )
