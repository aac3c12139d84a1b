"""ci.settings: options checked once, each error naming its option."""

from pathlib import Path

import pytest

from ci.errors import StageError
from ci.settings import cache_folder, make
from tests.conftest import ROOT


def test_defaults() -> None:
    made = make(ROOT)
    assert made.series == str(ROOT / "kernel-patches/deny-join-id0")
    assert (made.source, made.mode, made.suite, made.without, made.tree) == ("auto", "auto", "", frozenset(), None)
    assert made.workspace.results == ROOT / "results"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"without": "1;2"}, "--without 1;2"),
        ({"series": "x" * 300}, "--series xxx"),
        ({"mode": "fast"}, "--mode fast"),
        ({"tree": "/no/such/folder"}, "--tree /no/such/folder"),
        ({"tree": "/", "source": "auto"}, "--tree and --source"),
    ],
)
def test_a_wrong_option_is_named(options: dict[str, str], said: str) -> None:
    with pytest.raises(StageError, match="options") as caught:
        make(ROOT, **options)  # type: ignore[arg-type]
    assert said in caught.value.message


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
