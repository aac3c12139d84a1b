# SPDX-License-Identifier: GPL-2.0-only
"""ci.base.settings: options checked once, each error naming its option."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from ci.base.errors import StageError
from ci.base.options import read_budget
from ci.base.settings import OPTIONS, Settings, cache_folder, make_settings
from tests.conftest import ROOT


def test_defaults() -> None:
    made = make_settings(ROOT)
    assert made.series == str(ROOT / "kernel-patches/deny-join-id0")
    assert (made.source, made.mode, made.suite, made.without, made.tree) == (
        "auto",
        "auto",
        "",
        frozenset(),
        None,
    )
    assert made.workspace.results == ROOT / "results"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"without": "1;2"}, "--without 1;2"),
        ({"series": "x" * 300}, "--series xxx"),
        ({"mode": "fast"}, "--mode fast"),
        ({"tree": "/no/such/folder"}, "--tree /no/such/folder"),
        ({"tree": "/", "source": "auto"}, "--tree and --source"),
        ({"suite": "a/b"}, "--suite 'a/b'"),
        ({"suite": "/tmp"}, "--suite '/tmp'"),
        ({"suite": "a\0b"}, "--suite 'a"),
        ({"suite": " "}, "--suite ' '"),
        ({"suite": "a b"}, "--suite 'a b'"),
        ({"suite": "-x,,y"}, "--suite '-x,,y'"),
        ({"cpus": 9}, "--cpus 9: a guest has 1 to 8"),
        ({"qemu": "-s 'x"}, "--qemu -s 'x"),
        ({"max_slowdown": "50%"}, "--max-slowdown 50%: give a number of percent"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(StageError, match="options") as caught:
        make_settings(ROOT, **options)
    assert said in caught.value.message


def test_what_goes_to_the_guest_is_part_of_a_replay() -> None:
    made = make_settings(ROOT, mode="tcg", cpus=4, qemu="-s -D 'a file'")
    assert made.qemu == ("-s", "-D", "a file")
    assert made.command("run") == "inv run --mode tcg --cpus 4 --qemu '-s -D '\"'\"'a file'\"'\"''"


def test_a_patch_that_may_be_adapted_may_be_so_in_a_replay() -> None:
    assert (
        make_settings(ROOT, adapt=True).command("validate", source="debian:6.1")
        == "inv validate --source debian:6.1 --adapt"
    )
    assert "--adapt" not in make_settings(ROOT).command("validate")


def test_an_option_of_the_command_takes_the_place_of_ours_even_where_it_is_empty() -> None:
    asked = make_settings(ROOT, suite="full", mode="tcg")
    assert asked.command("run", suite="", mode="virtual") == "inv run --mode virtual"


def test_the_table_has_each_field_of_the_settings_and_no_option_twice() -> None:
    """``wanted`` is the other half of ``only``; the rest is what no option says."""
    read = {option.name for option in OPTIONS if option.read}
    fields = {field.name for field in dataclasses.fields(Settings)}
    assert fields - read == {"workspace", "archive", "wanted"} and read <= fields
    assert len({option.name for option in OPTIONS}) == len(OPTIONS)


def test_what_is_no_setting_is_not_taken_in_silence() -> None:
    with pytest.raises(AssertionError, match="no settings: sute"):
        make_settings(ROOT, sute="smoke")


def test_patch_numbers() -> None:
    assert make_settings(ROOT, without="1, 3,").without == {1, 3}


@pytest.mark.parametrize("value", [None, "", "relative/path"])
def test_the_cache_folder(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    if value is not None:
        monkeypatch.setenv("XDG_CACHE_HOME", value)
    assert cache_folder() == Path("/home/ada/.cache/patchverdict")
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    assert cache_folder() == Path("/caches/patchverdict")


@pytest.mark.parametrize(
    "name", ["a b", "a:b", "a#b", "a$b", "a'b", 'a"b', "a,b", "a;b", "a%b", "a\nb", "a\\b", "a=b"]
)
def test_a_cache_in_which_no_kernel_builds_is_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", f"/tmp/{name}")
    with pytest.raises(StageError, match="no kernel can be built"):
        make_settings(ROOT)
    monkeypatch.setenv("XDG_CACHE_HOME", "/home/zoë/work_dir@2/~x^y+z")
    assert make_settings(ROOT).workspace.cache.name == "patchverdict"


def test_names_of_suites() -> None:
    for name in (
        "smoke",
        "full",
        "userspace_pm.sh",
        "mptcp_join:d, diag",
        "mptcp_join:d,mptcp_join:f",
    ):
        assert make_settings(ROOT, suite=name).suite == name


def test_a_run_without_the_sandbox_is_one_in_its_replay() -> None:
    made = make_settings(ROOT, no_sandbox=True, suite="smoke")
    assert not made.workspace.confined and make_settings(ROOT).workspace.confined
    assert made.command("run") == "inv run --suite smoke --no-sandbox"


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("20m", 1200), ("2h", 7200), ("", float("inf"))]
)
def test_a_budget_is_a_time(text: str, seconds: float) -> None:
    assert read_budget(text) == seconds


@pytest.mark.parametrize("text", ["20", "m", "-5m", "1.5h", "20 m", "999999h", "٢m"])
def test_what_is_no_budget_is_told(text: str) -> None:
    with pytest.raises(StageError, match=r"--budget .*: give seconds, minutes or hours"):
        read_budget(text)
