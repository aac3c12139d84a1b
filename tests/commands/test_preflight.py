# SPDX-License-Identifier: GPL-2.0-only
"""ci.commands.preflight: what is found out before anything is built, and what it costs where
nothing is to be built."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from ci.base import sandbox
from ci.base.errors import StageError
from ci.base.progress import Progress
from ci.base.settings import Settings
from ci.base.workspace import Workspace
from ci.commands import preflight, stages
from ci.guest import rootfs
from ci.trees import apt


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk with 100 MB left."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=100_000_000))


def test_a_full_disk_is_told_with_what_is_needed_and_where(
    workspace: Workspace, full: None
) -> None:
    found = list(preflight.check_disks(workspace, preflight.needed_gb(workspace)))
    assert [row.state.partition(" for ")[0] for row in found] == ["0.1 GB free", "0.1 GB free"]
    assert (
        "4 GB are needed" in found[0].remedy
        and "XDG_CACHE_HOME" in found[0].remedy
        and "TMPDIR" in found[1].remedy
    )
    with pytest.raises(
        StageError, match=f"disk: 0.1 GB free for {workspace.cache}; 4 GB are needed"
    ):
        preflight.demand_sound(found[0])


def test_what_is_in_the_cache_needs_no_room(workspace: Workspace) -> None:
    rootfs.root_folder(workspace).mkdir(parents=True)
    (workspace.cache / "trees").mkdir()
    assert preflight.needed_gb(workspace) == preflight.BUILD_GB
    assert len(list(preflight.check_disks(workspace, preflight.BUILD_GB))) == 1
    assert preflight.try_guest_root(workspace).state == "in the cache"


def test_no_source_is_fetched_onto_a_full_disk(
    settings_for: Callable[..., Settings],
    progress: Progress,
    full: None,
    tmp_path: Path,
    kernel_tree: Path,
    demo_series: Path,
) -> None:
    wanted = settings_for(tree=str(kernel_tree), series=str(demo_series))
    (tmp_path / "run").mkdir()
    run = stages.Run(wanted, progress, tmp_path / "run")
    with pytest.raises(StageError, match="4 GB are needed"):
        stages.fetch_source(run, stages.load_series(run))
    assert not (wanted.workspace.cache / "trees").exists()


def test_a_root_that_can_not_be_made_is_a_problem(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "mmdebstrap"
    program.write_text("#!/bin/sh\necho E: no such suite >&2\nexit 2\n", encoding="ascii")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = preflight.try_guest_root(workspace)
    log = workspace.cache / "guest-root.log"
    assert found.remedy and "E: no such suite" in found.state and f"log: {log}" in found.state
    assert log.read_text(encoding="utf-8") == "E: no such suite\n"


def test_a_network_that_is_away_is_a_problem_only_where_it_is_needed(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(apt, "MIRROR", "http://127.0.0.1:9/")
    found = preflight.check_network(workspace)
    assert (
        found.state.startswith("http://127.0.0.1:9/debian/dists/trixie/InRelease: E: ")
        and "http_proxy" in found.remedy
    )
    rootfs.root_folder(workspace).mkdir(parents=True)
    (workspace.cache / "trees").mkdir()
    assert preflight.check_network(workspace).remedy == ""


def test_a_network_that_is_there(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    there = tmp_path / "mirror/debian/dists/trixie"
    there.mkdir(parents=True)
    (there / "InRelease").write_text("x", encoding="ascii")
    monkeypatch.setattr(apt, "MIRROR", f"file://{tmp_path}/mirror/")
    assert preflight.check_network(workspace).state.endswith("InRelease can be read")
    monkeypatch.setattr(preflight, "APT_HELPER", "/nonexistent/apt-helper")
    assert preflight.check_network(workspace).remedy


def test_what_confines_builds_is_found_out_first(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert preflight.demand_sandbox(workspace).startswith("bubblewrap ")
    monkeypatch.setattr(sandbox, "PROGRAMS", "/nonexistent")
    with pytest.raises(StageError, match=r"sandbox: it cannot be made; .*package bubblewrap"):
        preflight.demand_sandbox(workspace)
    open_ = replace(workspace, confined=False)
    assert preflight.demand_sandbox(open_) == "none (--no-sandbox)"
