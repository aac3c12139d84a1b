# SPDX-License-Identifier: GPL-2.0-only
"""Trees that were made before: what a series came to, kept by all that it depends on."""

from dataclasses import asdict, dataclass, replace
from operator import attrgetter
from pathlib import Path

from ci.base.records import from_json, save_record
from ci.base.workspace import Workspace, digest, file_digest
from ci.series.patches import Series
from ci.series.status import PatchStatus
from ci.trees.source import Source
from ci.trees.states import PatchState
from ci.trees.tree import Outcome, Trees, prepare_source, replay_series, trees_of

FACTS = "outcome.json"
OURS = ("base", "series", "trees")  # the packages whose code has a say


@dataclass(frozen=True)
class _State:
    """A patch's state, in the order of its fields; the patch by its number."""

    number: int
    status: PatchStatus
    on_patched: bool
    why: str
    form: PatchStatus | None
    adapted: str
    depends_on: int


# All of them but the patch.
_facts = attrgetter("status", "on_patched", "why", "form", "adapted", "depends_on")


@dataclass(frozen=True)
class _Kept:
    """An outcome."""

    base: str
    patched: str
    states: tuple[_State, ...]


def recall_trees(
    workspace: Workspace,
    series: Series,
    source: Source,
    without: frozenset[int],
    *,
    adapt: bool = False,
) -> Trees:
    """As :func:`ci.trees.tree.derive_trees`, but what was found out before is not found out again.
    The lock of the slot's trees is the caller's."""
    prepare_source(source)
    entry = workspace.entry("outcomes", _key(workspace, series, source, without, adapt))
    if outcome := _recall(workspace, entry, series, source):
        return trees_of(outcome, source)
    outcome = replay_series(series, source, without, adapt=adapt)
    if not outcome.notes:  # else a search of the history ran out of time
        states = tuple(_State(one.patch.number, *_facts(one)) for one in outcome.states)
        with workspace.publish(entry) as fresh:
            save_record(fresh / FACTS, _Kept(outcome.base, outcome.patched, states))
    return trees_of(outcome, source)


def _key(
    workspace: Workspace, series: Series, source: Source, without: frozenset[int], adapt: bool
) -> str:
    """Digest of the series with the forms of its patches, the commit with what is there of its
    history, and our code."""
    forms = [
        (str(version), number, [file_digest(path) for path in paths])
        for version, patches in series.backports.items()
        for number, paths in patches.items()
    ]
    shallow = source.slot / "src/.git/shallow"
    return digest(
        "outcome",
        workspace.code_digest(*OURS),
        asdict(replace(series, backports={}, committed={}, checks={})),
        {str(path): asdict(patch) for path, patch in series.committed.items()},
        forms,
        source.slot.name,
        source.commit,
        file_digest(shallow) if shallow.exists() else "",
        sorted(without),
        adapt,
    )


def _recall(workspace: Workspace, entry: Path, series: Series, source: Source) -> Outcome | None:
    """What was kept, where the repository still has the commits."""
    if not workspace.ready(entry):
        return None
    kept = from_json((entry / FACTS).read_bytes(), _Kept)
    commits = [f"{commit}^{{tree}}" for commit in (kept.base, kept.patched)]
    if source.git.run("rev-parse", "-q", *commits, ok=None).returncode != 0:
        return None
    patches = {patch.number: patch for patch in series.patches}
    states = (PatchState(patches[one.number], *_facts(one)) for one in kept.states)
    return Outcome(kept.base, kept.patched, tuple(states))
