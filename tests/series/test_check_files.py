# SPDX-License-Identifier: GPL-2.0-only
"""ci.series.check_files: what a series may bring to be run beside the selftests."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ci.base.errors import StageError
from ci.series.check_files import list_scripts, read_checks
from ci.series.patches import load_series
from tests.conftest import ROOT, write

SCRIPT = "#!/bin/sh\necho 1..0\n"


def test_scripts_programs_and_what_these_include(tmp_path: Path) -> None:
    assert read_checks(tmp_path) == {}
    files = {"checks/tfo.sh": SCRIPT, "checks/off.c": "int x;\n", "checks/off.h": "\n"}
    write(tmp_path, files)
    found = read_checks(tmp_path)
    assert found == {name.partition("/")[2]: text.encode() for name, text in files.items()}
    assert list_scripts(found) == ("tfo.sh",)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("README.md", "words\n", "takes scripts"),
        ("-n.sh", SCRIPT, "takes scripts"),
        ("a b.sh", SCRIPT, "takes scripts"),
        ("a\n.sh", SCRIPT, r"'.*a\\n.sh': checks/ takes scripts"),
        ("off.c", "int x;\n", "programs, and no script"),
        ("large.sh", "#" * 1_000_001, "more than 1 MB"),
    ],
)
def test_what_is_no_check_is_named(name: str, text: str, said: str, tmp_path: Path) -> None:
    write(tmp_path, {f"checks/{name}": text})
    with pytest.raises(StageError, match=said):
        read_checks(tmp_path)


def test_no_file_of_the_hosts_and_nothing_that_is_waited_for(tmp_path: Path) -> None:
    write(tmp_path, {"series/checks/a.sh": SCRIPT, "secret": "password\n"})
    link = tmp_path / "series/checks/b.sh"
    link.symlink_to("../../secret")
    with pytest.raises(StageError, match="a link that leads out"):
        read_checks(tmp_path / "series")
    link.unlink()
    os.mkfifo(link)
    with pytest.raises(StageError, match="neither a file nor a folder"):
        read_checks(tmp_path / "series")
    write(tmp_path, {f"many/checks/{number}.sh": SCRIPT for number in range(101)})
    with pytest.raises(StageError, match="more than 100 files"):
        read_checks(tmp_path / "many")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/checks").symlink_to(tmp_path / "many/checks")
    with pytest.raises(StageError, match="a link that leads out"):
        read_checks(tmp_path / "out")


def test_which_run_on_a_tree_that_some_patches_concern() -> None:
    series = load_series(ROOT / "kernel-patches/deny-join-id0")
    assert series.checks_for({1, 2, 3, 4, 5}) == ("sockopt_messages.sh", "tfo_deny_join.sh")
    assert series.checks_for({1, 2, 3}) == () and len(series.flips_for({1, 2, 3})) == 1
    assert series.checks_for({1, 2, 3, 4}) == ("tfo_deny_join.sh",)
    free = replace(series, must_flip=())
    assert free.checks_for(()) == ("sockopt_messages.sh", "tfo_deny_join.sh")


def test_each_patch_of_the_default_series_has_a_case_that_must_flip() -> None:
    series = load_series(ROOT / "kernel-patches/deny-join-id0")
    flips = {number for flip in series.must_flip for number in flip.patches}
    assert flips == set(series.titles)
    names = {flip.script for flip in series.must_flip} - {"userspace_pm"}
    assert names == {name.removesuffix(".sh") for name in list_scripts(series.checks)}
    for flip in series.must_flip:
        text = series.checks.get(f"{flip.script}.sh", flip.case.encode()).decode()
        assert flip.case.removesuffix(" by 3").removesuffix(" by 9").split(" is off")[0] in text
