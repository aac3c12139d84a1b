"""What the user asked for, merged and checked once; no input or output later."""

import os
from dataclasses import dataclass
from pathlib import Path

from ci.errors import StageError
from ci.workspace import PROJECT, Workspace

MODES = ("auto", "kvm", "tcg", "virtual")
DEFAULT_SERIES = "kernel-patches/deny-join-id0"


@dataclass(frozen=True)
class Settings:
    """One request. ``suite`` is empty where the series decides; ``without`` holds patch numbers."""

    workspace: Workspace
    series: Path
    tree: Path | None
    ignore_dirty: bool
    source: str
    without: frozenset[int]
    suite: str
    mode: str
    jobs: int


def _numbers(text: str) -> frozenset[int]:
    """``1,3`` as a set of patch numbers."""
    try:
        return frozenset(int(word) for word in text.split(",") if word.strip())
    except ValueError:
        raise StageError("options", f"--without {text}: give patch numbers separated by commas, as in 1,3") from None


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/<project>``, or below ``~/.cache`` where that is unset or not absolute (XDG rule)."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / PROJECT


def make(
    root: Path,
    *,
    series: str = "",
    tree: str = "",
    source: str = "",
    without: str = "",
    suite: str = "",
    mode: str = "",
    ignore_dirty: bool = False,
) -> Settings:
    """Settings from the options of a task; a :class:`StageError` names the option that is wrong."""
    if tree and source:
        raise StageError("options", "--tree and --source exclude each other: the kernel comes from one place")
    if tree and not Path(tree).is_dir():
        raise StageError("options", f"--tree {tree}: no such folder")
    if (mode or "auto") not in MODES:
        raise StageError("options", f"--mode {mode}: there are {', '.join(MODES)}")
    return Settings(
        workspace=Workspace(root=root, cache=cache_folder(), results=root / "results"),
        series=Path(series) if series else root / DEFAULT_SERIES,
        tree=Path(tree).resolve() if tree else None,
        ignore_dirty=ignore_dirty,
        source=source or "auto",
        without=_numbers(without),
        suite=suite,
        mode=mode or "auto",
        jobs=len(os.sched_getaffinity(0)),
    )
