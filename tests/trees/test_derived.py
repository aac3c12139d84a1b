# SPDX-License-Identifier: GPL-2.0-only
"""ci.trees.derived: trees that were made before come back, and only those."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ci.base.progress import Progress
from ci.base.settings import Settings
from ci.base.workspace import remove_tree
from ci.series.patches import Series, load_series
from ci.trees.derived import recall_trees
from ci.trees.fetch import fetch_source
from ci.trees.source import Source
from ci.trees.tree import Outcome, Trees, derive_trees, replay_series
from tests.conftest import DEMO_C, commit, write

ALL = frozenset[int]()


@pytest.fixture
def brought(
    settings_for: Callable[..., Settings], kernel_tree: Path, demo_series: Path, progress: Progress
) -> tuple[Settings, Series, Source]:
    settings = settings_for(tree=str(kernel_tree), series=str(demo_series))
    series = load_series(demo_series)
    return settings, series, fetch_source(settings, series, progress)


@pytest.fixture
def replays(monkeypatch: pytest.MonkeyPatch) -> list[frozenset[int]]:
    """The patches left out in each replay that took place."""
    seen = list[frozenset[int]]()

    def counted(series: Series, source: Source, without: frozenset[int], *, adapt: bool) -> Outcome:
        seen.append(without)
        return replay_series(series, source, without, adapt=adapt)

    monkeypatch.setattr("ci.trees.derived.replay_series", counted)
    return seen


def test_the_same_question_is_answered_once(
    brought: tuple[Settings, Series, Source], replays: list[frozenset[int]]
) -> None:
    """With each answer the two references point to the trees that it is about."""
    settings, series, source = brought
    for without in (ALL, frozenset([2]), ALL, frozenset([2])):
        (source.slot / "src/.git/refs/patched.lock").touch()  # of a git that was killed
        trees = recall_trees(settings.workspace, series, source, without)
        assert source.git.line("rev-parse", "refs/patched") == trees.patched.commit
        assert trees == derive_trees(series, source, without)
    assert replays == [ALL, frozenset([2])]


def test_what_conflicts_is_told_again(
    brought: tuple[Settings, Series, Source], replays: list[frozenset[int]]
) -> None:
    settings, series, source = brought
    first, second = series.patches
    diff = second.diff.replace("int line30;", "int line99;")
    broken = replace(series, patches=(first, replace(second, diff=diff)))
    made: list[Trees] = [recall_trees(settings.workspace, broken, source, ALL) for _ in range(2)]
    assert made[0] == made[1] and made[0].conflict and made[0].conflict.patches == (2,)
    assert len(replays) == 1


def test_another_form_of_a_patch_another_commit_and_lost_objects_are_another_question(
    brought: tuple[Settings, Series, Source],
    replays: list[frozenset[int]],
    demo_series: Path,
    kernel_tree: Path,
    progress: Progress,
) -> None:
    settings, series, source = brought
    recall_trees(settings.workspace, series, source, ALL)

    form = demo_series / "backports/6.12/0001-demo.patch"
    write(demo_series, {str(form.relative_to(demo_series)): series.patches[0].path.read_text()})
    series = load_series(demo_series)
    recall_trees(settings.workspace, series, source, ALL)
    form.write_text(form.read_text().replace("= 1;", "= 7;"), encoding="utf-8")
    recall_trees(settings.workspace, series, source, ALL)
    assert len(replays) == 3

    text = DEMO_C.replace("int line40;", "int line41;")
    commit(kernel_tree, {"net/demo.c": text}, "demo: another last line")
    later = fetch_source(settings, series, progress)
    assert later.commit != source.commit
    moved = recall_trees(settings.workspace, series, later, ALL)
    assert len(replays) == 4

    # A repository that was made again does not have what was made of it.
    remove_tree(later.slot)
    again = fetch_source(settings, series, progress)
    assert again.commit == later.commit
    assert recall_trees(settings.workspace, series, again, ALL) == moved
    assert len(replays) == 5
