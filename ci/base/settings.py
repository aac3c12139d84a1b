# SPDX-License-Identifier: GPL-2.0-only
"""What the user asked for, merged and checked once; no input or output later."""

import os
import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from ci.base.errors import StageError
from ci.base.workspace import PROJECT, Workspace

LAYOUTS = ("fixed", "random")
MODES = ("auto", "kvm", "tcg", "virtual")
DEFAULT_SERIES = "kernel-patches/deny-join-id0"
STDIN = "-"
MOST_CPUS = 8  # CONFIG_NR_CPUS of images/kconfig
# What the kernel's makefiles, make and gcc take in the path of a build, without blanks, colons,
# commas and quotes.
PLAIN = re.compile(r"[\w/.+@~^-]+")
# smoke, userspace_pm.sh,mptcp_join:d, net:fib_tests ; which names there are is for the tree to say
WORD = r" *(?:\w[\w-]*:)?\w[\w.+-]*(?::[\w-]+)? *"
SUITE = re.compile(f"{WORD}(?:,{WORD})*", re.ASCII)
ARCHIVE = "https://lore.kernel.org/all/"


@dataclass(frozen=True)
class Settings:
    """One request. ``series`` is a folder or file, a range, a message-id or ``STDIN``, ``archive``
    where message-ids are looked up; ``suite`` is empty where the series decides; ``without`` holds
    patch numbers, ``only`` those of the patches that are the series (none: all), ``wanted`` a
    message-id that chooses one of several; ``cpus`` (0: as the mode has them) and the words for
    ``qemu`` go to the guests; with ``adapt`` a patch may be put on adapted.
    """

    workspace: Workspace
    series: str
    archive: str
    tree: Path | None
    ignore_dirty: bool
    source: str
    without: frozenset[int]
    only: frozenset[int]
    wanted: str
    suite: str
    mode: str
    seed: int | None
    layout: str
    rerun: bool
    timings: bool
    cpus: int = 0
    qemu: tuple[str, ...] = ()
    adapt: bool = False

    def command(self, task: str, **other: str) -> str:
        """The words that ask for the same again, with ``other`` options in place of ours."""
        asked = {
            "series": (
                os.path.relpath(self.series, self.workspace.root)
                if Path(self.series).exists()
                else self.series
            ),
            "tree": str(self.tree or ""),
            "source": "" if self.tree or self.source == "auto" else self.source,
            "only": ",".join(map(str, sorted(self.only))) or self.wanted,
            "without": ",".join(map(str, sorted(self.without))),
            "suite": self.suite,
            "mode": "" if self.mode == "auto" else self.mode,
            "seed": "" if self.seed is None else str(self.seed),
            "layout": self.layout,
            "cpus": str(self.cpus or ""),
            "qemu": shlex.join(self.qemu),
        }
        if asked["series"] == DEFAULT_SERIES:
            asked["series"] = ""
        options = [
            f"--{name} {shlex.quote(value)}" for name, value in (asked | other).items() if value
        ]
        return " ".join(["inv", task, *options, *(["--adapt"] if self.adapt else [])])


def _numbers(text: str, option: str) -> frozenset[int]:
    """``1,3`` or ``1-4`` as a set of patch numbers."""
    found: set[int] = set()
    for word in filter(None, map(str.strip, text.split(","))):
        ends = re.fullmatch(r"(\d{1,4})(?:-(\d{1,4}))?", word, re.ASCII)  # 3 or 1-4
        if not ends or int(ends[2] or ends[1]) < int(ends[1]):
            raise StageError(
                "options",
                f"{option} {text}: give patch numbers separated by commas, as in 1,3 or 1-4",
            )
        found |= set(range(int(ends[1]), int(ends[2] or ends[1]) + 1))
    return frozenset(found)


def numbers(text: str, option: str) -> tuple[int, ...]:
    """``7`` or ``1..10`` as seeds, each below 2^32."""
    found = re.fullmatch(r"(\d{1,10})(?:\.\.(\d{1,10}))?", text)  # 1..10
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (1, 0)
    if not first <= last < 2**32:
        raise StageError(
            "options", f"{option} {text}: give a number below 2^32, or a range such as 1..10"
        )
    return tuple(range(first, last + 1))


def check_suite(name: str, where: str) -> None:
    """A :class:`StageError` that begins with ``where`` for what no tree can have as a suite; empty
    is the default."""
    if name and not SUITE.fullmatch(name):
        raise StageError(
            "options",
            f"{where}: give smoke, default, full, or names of scripts separated by commas, as in "
            "userspace_pm,mptcp_join:d; net: before them names another collection",
        )


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/<project>``, or below ``~/.cache`` where that is unset or not absolute (XDG
    rule)."""
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    folder = (base if base.is_absolute() else Path.home() / ".cache") / PROJECT
    if not PLAIN.fullmatch(str(folder)):
        raise StageError(
            "options",
            f"the cache would be {str(folder)!r}, where no kernel can be built: let XDG_CACHE_HOME"
            " name a folder in letters, digits and / . _ + @ ~ ^ -",
        )
    return folder


def make(
    root: Path,
    *,
    series: str = "",
    tree: str = "",
    source: str = "",
    without: str = "",
    only: str = "",
    suite: str = "",
    mode: str = "",
    ignore_dirty: bool = False,
    seed: str = "",
    layout: str = "",
    rerun: bool = False,
    timings: bool = False,
    cpus: int = 0,
    qemu: str = "",
    adapt: bool = False,
) -> Settings:
    """Settings from the options of a task; a :class:`StageError` names the option that is wrong."""
    if tree and source:
        raise StageError(
            "options", "--tree and --source exclude each other: the kernel comes from one place"
        )
    if tree and not Path(tree).is_dir():
        raise StageError("options", f"--tree {tree}: no such folder")
    if (mode or "auto") not in MODES:
        raise StageError("options", f"--mode {mode}: there are {', '.join(MODES)}")
    if layout not in ("", *LAYOUTS):
        raise StageError("options", f"--layout {layout}: there are {', '.join(LAYOUTS)}")
    check_suite(suite, f"--suite {suite[:80]!r}")
    if not str(root).isprintable():
        raise StageError(
            "options",
            f"this checkout is in {str(root)!r}; move it to where its path has no control"
            " characters",
        )
    if not 0 <= cpus <= MOST_CPUS:
        raise StageError("options", f"--cpus {cpus}: a guest has 1 to {MOST_CPUS}")
    try:
        words = tuple(shlex.split(qemu))
    except ValueError as error:
        raise StageError("options", f"--qemu {qemu}: {error}") from None
    if any(len(part.encode("utf-8", "surrogateescape")) > 255 for part in series.split("/")):
        raise StageError(
            "options", f"--series {series[:80]}...: too long for a file, a range or a message-id"
        )
    archive = os.environ.get("PATCHVERDICT_ARCHIVE") or ARCHIVE
    if not re.fullmatch(r"https?://[^\s%]+", archive):  # https://lore.kernel.org/all/
        raise StageError(
            "options", f"PATCHVERDICT_ARCHIVE={archive}: give the address of a public-inbox archive"
        )
    return Settings(
        workspace=Workspace(root=root, cache=cache_folder(), results=root / "results"),
        series=series or str(root / DEFAULT_SERIES),
        archive=archive.rstrip("/"),
        tree=Path(tree).resolve() if tree else None,
        ignore_dirty=ignore_dirty,
        source=source or "auto",
        without=_numbers(without, "--without"),
        only=frozenset() if "@" in only else _numbers(only, "--only"),
        wanted=only.strip("<>") if "@" in only else "",
        suite=suite,
        mode=mode or "auto",
        seed=numbers(seed, "--seed")[0] if seed else None,
        layout=layout,
        rerun=rerun,
        timings=timings,
        cpus=cpus,
        qemu=words,
        adapt=adapt,
    )
