# SPDX-License-Identifier: GPL-2.0-only
"""ci.guest.kvm: the probe runs real guest code."""

import time
from pathlib import Path

import pytest

from ci.base.workspace import Workspace
from ci.guest import kvm


def test_the_probe_passes_where_guest_code_runs(workspace: Workspace) -> None:
    assert kvm.run_probe("tcg", kvm.make_stub(workspace)) == ""


def test_guest_code_that_hangs_does_not_pass(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kvm, "PROBE_LIMIT_S", 2.0)
    hang = tmp_path / "hang.bin"
    hang.write_bytes(bytes(65536 - 16) + b"\xeb\xfe" + bytes(14))  # jmp . at the reset vector
    begin = time.monotonic()
    assert "did not get through in 2 s" in kvm.run_probe("tcg", hang)
    assert time.monotonic() - begin < 15


def test_an_accelerator_that_is_none(workspace: Workspace) -> None:
    assert "exit code 1" in kvm.run_probe("warp", kvm.make_stub(workspace))
