# SPDX-License-Identifier: GPL-2.0-only
"""ci.base.settings: options checked once, each error naming its option."""

from pathlib import Path
from typing import Any

import pytest

from ci.base.errors import StageError
from ci.base.settings import cache_folder, make
from tests.conftest import ROOT


def test_defaults() -> None:
    made = make(ROOT)
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
    ],
)
def test_a_wrong_option_is_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(StageError, match="options") as caught:
        make(ROOT, **options)
    assert said in caught.value.message


def test_what_goes_to_the_guest_is_part_of_a_replay() -> None:
    made = make(ROOT, mode="tcg", cpus=4, qemu="-s -D 'a file'")
    assert made.qemu == ("-s", "-D", "a file")
    assert made.command("run") == "inv run --mode tcg --cpus 4 --qemu '-s -D '\"'\"'a file'\"'\"''"


def test_a_patch_that_may_be_adapted_may_be_so_in_a_replay() -> None:
    assert (
        make(ROOT, adapt=True).command("validate", source="debian:6.1")
        == "inv validate --source debian:6.1 --adapt"
    )
    assert "--adapt" not in make(ROOT).command("validate")


def test_patch_numbers() -> None:
    assert make(ROOT, without="1, 3,").without == {1, 3}


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
        make(ROOT)
    monkeypatch.setenv("XDG_CACHE_HOME", "/home/zoë/work_dir@2/~x^y+z")
    assert make(ROOT).workspace.cache.name == "patchverdict"


def test_names_of_suites() -> None:
    for name in (
        "smoke",
        "full",
        "userspace_pm.sh",
        "mptcp_join:d, diag",
        "mptcp_join:d,mptcp_join:f",
    ):
        assert make(ROOT, suite=name).suite == name
