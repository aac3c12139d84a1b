# SPDX-License-Identifier: GPL-2.0-only
"""Errors, exit codes and sides: whose fault something is, and which code counts."""

import itertools
import json
from pathlib import Path

import pytest

from ci.base.errors import BuildError, PatchError, PipelineError, StageError, describe
from ci.base.exit_codes import PRECEDENCE, ExitCode, first_code
from ci.base.sides import SIDES, Side

KINDS = (StageError, PatchError, BuildError)


@pytest.mark.parametrize(("one", "other"), [*itertools.permutations(KINDS, 2)])
def test_no_error_is_one_of_another_kind(
    one: type[PipelineError], other: type[PipelineError]
) -> None:
    assert not issubclass(one, other)


@pytest.mark.parametrize("kind", KINDS)
def test_each_is_told_with_its_stage_and_log(kind: type[PipelineError]) -> None:
    error = kind("build", "it broke", log=Path("build.log"))
    assert describe(error) == str(error) == "build: it broke\nlog: build.log"


def test_what_was_asked_for_is_at_fault_in_options_and_series() -> None:
    asked = [StageError(stage, "x").asked for stage in ("options", "series", "fetch")]
    assert asked == [True, True, False] and StageError("fetch", "x", asked=True).asked


def test_the_first_of_2_1_3_0_counts() -> None:
    assert [int(code) for code in PRECEDENCE] == [2, 1, 3, 0]
    for one, other in itertools.combinations(PRECEDENCE, 2):
        assert first_code((one, other)) is first_code((other, one)) is one
    assert first_code(()) is ExitCode.UNKNOWN


def test_codes_and_sides_are_written_as_the_plain_values_that_they_are() -> None:
    assert (
        json.dumps([*ExitCode, *Side])
        == '[0, 1, 2, 3, "base", "patched", "base-old", "patched-old"]'
    )
    assert f"{ExitCode.BROKEN} {Side.BASE}" == "2 base"
    assert [code.verdict for code in ExitCode] == ["accepted", "rejected", "rejected", "error"]
    assert SIDES == (Side.BASE, Side.PATCHED)
