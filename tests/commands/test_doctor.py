# SPDX-License-Identifier: GPL-2.0-only
"""`inv doctor`: each thing that is missing is a line with its remedy, and exit code 3; the rest
is fine."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ci.base.settings import Settings
from ci.base.workspace import Workspace
from ci.commands import doctor, preflight
from ci.guest import kvm, rootfs
from tests.conftest import ROOT

PROGRAMS = [
    line.split()[0]
    for line in (ROOT / "ci/packages.txt").read_text(encoding="utf-8").splitlines()
    if not line.startswith("/")
]


@pytest.fixture
def tools(tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of all programs that there are, on a machine that is fit: KVM works, the guest's
    root is made, nothing is to be fetched."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in (*PROGRAMS, "env", "sh", "git"):
        if program := shutil.which(name):
            (folder / name).symlink_to(program)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(kvm, "find_trouble", lambda workspace: "")
    monkeypatch.setattr(preflight, "APT_HELPER", str(shutil.which("true", path=os.defpath)))
    rootfs.root_folder(workspace).mkdir(parents=True)
    (workspace.cache / "trees").mkdir()
    return folder


@pytest.fixture
def told(
    tools: Path, settings_for: Callable[..., Settings], capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, list[str], list[str]]]:
    """Exit code, problems and what is fine of `inv doctor`."""

    def made(**options: str) -> tuple[int, list[str], list[str]]:
        code = doctor.report_machine(settings_for(**options))
        *lines, last = capsys.readouterr().out.splitlines()
        problems = [line for line in lines if line.startswith("PROBLEM ")]
        assert last == (f"{len(problems)} problems" if problems else "no problems")
        return code, problems, [line for line in lines if line.startswith("ok ")]

    return made


def test_a_machine_that_is_fit(told: Callable[..., tuple[int, list[str], list[str]]]) -> None:
    code, problems, fine = told()
    assert (code, problems) == (0, [])
    text = "\n".join(fine)
    for name in (*PROGRAMS, "python", "qemu version", "vng", "memory", "cores", "disk", "network"):
        assert f" {name}: " in text
    assert "mode kvm: works" in text and "mode of auto: kvm" in text
    assert "series: deny-join-id0, 5 patches" in text and "guest root: in the cache" in text


@pytest.mark.parametrize("missing", ["ccache", "flex", "mmdebstrap"])
def test_a_tool_that_is_missing(
    missing: str, tools: Path, told: Callable[..., tuple[int, list[str], list[str]]]
) -> None:
    (tools / missing).unlink()
    code, problems, fine = told()
    assert code == 3
    assert problems == [f"PROBLEM  {missing}: missing -> install the package {missing}"]
    assert not any(f"{missing} version" in line for line in fine)


def test_an_emulator_that_is_missing(
    tools: Path, told: Callable[..., tuple[int, list[str], list[str]]]
) -> None:
    """Two lines say so, and the rest is looked at all the same."""
    (tools / "qemu-system-x86_64").unlink()
    code, problems, fine = told()
    assert code == 3 and len(problems) == 2
    assert all("install the package qemu-system-x86" in line for line in problems)
    assert any("guest root: in the cache" in line for line in fine)


def test_kvm_that_does_not_work_is_no_problem(
    told: Callable[..., tuple[int, list[str], list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kvm, "find_trouble", lambda workspace: "there is no /dev/kvm")
    code, problems, fine = told()
    assert (code, problems) == (0, [])
    assert "mode kvm: does not work: there is no /dev/kvm" in "\n".join(fine)
    assert "mode of auto: virtual" in "\n".join(fine)


def test_a_machine_that_is_too_small(
    told: Callable[..., tuple[int, list[str], list[str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight, "BUILD_GB", 1e9)
    monkeypatch.setattr(doctor, "MEMORY_NEEDED_MB", 10**9)
    code, problems, _ = told()
    assert code == 3
    disk, memory = problems
    assert "1e+09 GB are needed" in disk and "XDG_CACHE_HOME" in disk
    assert memory.endswith(" -> 1000000000 MB are needed")


def test_a_series_that_is_damaged(
    told: Callable[..., tuple[int, list[str], list[str]]], tmp_path: Path
) -> None:
    (tmp_path / "series").mkdir()
    (tmp_path / "series/series.toml").write_text("name = 7\n", encoding="utf-8")
    code, problems, _ = told(series=str(tmp_path / "series"))
    assert code == 3 and len(problems) == 1
    assert problems[0].startswith("PROBLEM  series: ")
    assert problems[0].endswith(" -> check out kernel-patches/ anew")
