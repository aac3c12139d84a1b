# SPDX-License-Identifier: GPL-2.0-only
"""What the user asked for, merged and checked once; no input or output later.

``OPTIONS`` is the table of all options: the tasks' signatures and help, the checks, ``Settings``
and the command of a replay come from it. The fields of ``Settings`` are written out beside it,
because mypy has to know their types; a test holds the two together.
"""

import os
import re
import shlex
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from ci.base import options
from ci.base.allow_list import AllowList, read_allow
from ci.base.errors import StageError
from ci.base.options import Option, Value, one_of
from ci.base.workspace import PROJECT, Workspace

LAYOUTS = ("fixed", "random")
MODES = ("auto", "kvm", "tcg", "virtual")
# Kernel configurations of ours, the normal one first: images/kconfig/NAME.config.
CONFIGS = ("guest", "debug")
DEFAULT_SERIES = "kernel-patches/deny-join-id0"
STDIN = "-"
BENCH_ROWS = "build,rebuild,boot,smoke,default,scripts"
# What the kernel's makefiles, make and gcc take in the path of a build, without blanks, colons,
# commas and quotes.
PLAIN = re.compile(r"[\w/.+@~^-]+")
ARCHIVE = "https://lore.kernel.org/all/"


@dataclass(frozen=True)
class Settings:
    """One request. ``series`` is a folder or file, a range, a message-id or ``STDIN``, ``archive``
    where message-ids are looked up; ``suite`` is empty where the series decides; ``without`` holds
    patch numbers, ``only`` those of the patches that are the series (none: all), ``wanted`` a
    message-id that chooses one of several; ``config`` are names out of ``CONFIGS`` and absolute
    paths of fragments; ``cpus`` (0: as the mode has them) and the words for ``qemu`` go to the
    guests; with ``adapt`` a patch may be put on adapted; ``allow`` says what may fail;
    with ``no_sandbox`` the trees' own programs run as the user's.
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
    config: tuple[str, ...] = ()
    cpus: int = 0
    qemu: tuple[str, ...] = ()
    adapt: bool = False
    max_slowdown: int | None = None
    allow: AllowList = field(default_factory=AllowList)
    no_sandbox: bool = False

    def command(self, task: str, **other: str) -> str:
        """The words that ask for the same again, with ``other`` options in place of ours."""
        words = ["inv", task]
        for option in OPTIONS:
            value = option.replay(self) if option.replay else ""
            if value := other.get(option.name, value):
                flag = option.default is False
                name = option.name.replace("_", "-")
                words.append(f"--{name}" + ("" if flag else f" {shlex.quote(value)}"))
        return " ".join(words)


def _series_again(settings: Settings) -> str:
    if not Path(settings.series).exists():
        return settings.series
    name = os.path.relpath(settings.series, settings.workspace.root)
    return "" if name == DEFAULT_SERIES else name


def _config_again(settings: Settings) -> str:
    root = settings.workspace.root
    words = [os.path.relpath(one, root) if "/" in one else one for one in settings.config]
    return ",".join(words)


def _numbers_again(numbers: frozenset[int]) -> str:
    return ",".join(map(str, sorted(numbers)))


_RANGE_TREE = "the checkout of which a series A..B is a range"
_KINDS = "where the branches' kernels come from: auto, git or debian (default: auto)"
_MODE_NAMES = f"{', '.join(MODES[:-1])} or {MODES[-1]}"

OPTIONS = (
    Option(
        "series",
        "folder of patches or mails, quilt series, maildir, mbox, diff, - (stdin), A..B of --tree,"
        f" message-id (default: {DEFAULT_SERIES})",
        read=options.read_series,
        replay=_series_again,
    ),
    Option(
        "tree",
        "your own kernel checkout, which is only read",
        read=options.read_tree,
        replay=lambda asked: str(asked.tree or ""),
        helps={"plan": _RANGE_TREE, "stable": _RANGE_TREE},
    ),
    Option(
        "source",
        "auto, git:URL@REF or debian:RELEASE[@SUITE] (default: auto)",
        read=lambda text: text or "auto",
        replay=lambda asked: "" if asked.tree or asked.source == "auto" else asked.source,
        helps={"plan": _KINDS, "stable": _KINDS},
    ),
    Option(
        "only",
        "numbers of the patches that are the series, as in 9 or 1-4, or a message-id that chooses"
        " one of several series",
        read=options.read_only,
        replay=lambda asked: _numbers_again(asked.only) or asked.wanted,
    ),
    Option(
        "without",
        "numbers of patches not to put on, as in 1,3",
        read=partial(options.patch_numbers, option="--without"),
        replay=lambda asked: _numbers_again(asked.without),
    ),
    Option(
        "suite",
        "smoke, default, full, kunit, or scripts and parts such as diag,mptcp_join:d (default: what"
        " the series says)",
        read=options.read_suite,
        replay=lambda asked: asked.suite,
    ),
    Option(
        "config",
        "debug, or a file with kernel symbols to add, or both: debug,FILE (default: guest)",
        read=partial(options.read_config, names=CONFIGS),
        replay=_config_again,
    ),
    Option(
        "mode",
        f"{_MODE_NAMES} (default: auto)",
        read=one_of("--mode", MODES, "auto"),
        replay=lambda asked: "" if asked.mode == "auto" else asked.mode,
        helps={"bench": f"{_MODE_NAMES} (default: virtual)"},
        defaults={"bench": "virtual"},
    ),
    Option(
        "seed",
        "in virtual mode: where all random numbers come from (default: 1)",
        read=options.read_seed,
        replay=lambda asked: "" if asked.seed is None else str(asked.seed),
    ),
    Option(
        "layout",
        "fixed or random: whether the guest's addresses are drawn, too (default: fixed)",
        read=one_of("--layout", LAYOUTS, ""),
        replay=lambda asked: asked.layout,
    ),
    Option(
        "cpus",
        "virtual CPUs of a guest, not in virtual mode (default: 2)",
        0,
        read=options.read_cpus,
        replay=lambda asked: str(asked.cpus or ""),
    ),
    Option(
        "qemu",
        "further words for QEMU, such as '-s' for gdb; virtual mode takes only those that change"
        " nothing",
        read=options.read_qemu,
        replay=lambda asked: shlex.join(asked.qemu),
    ),
    Option(
        "adapt",
        "put a patch that does not apply as it is on adapted, where it is clear how: a merge, less"
        " context, moved code",
        False,
        read=bool,
        replay=lambda asked: "yes" if asked.adapt else "",
    ),
    Option(
        "allow",
        "TOML file of failures and complaints that may be, each with why, link and until",
        read=read_allow,
        replay=lambda asked: str(asked.allow.path or ""),
    ),
    Option(
        "no_sandbox",
        "build without the sandbox, for patches of your own: what their Makefiles run can do all"
        " that you can",
        False,
        read=bool,
        replay=lambda asked: "yes" if asked.no_sandbox else "",
    ),
    Option(
        "max_slowdown",
        "percent of CPU time that a script may take more on patched (default: 100 in virtual mode,"
        " any in the others)",
        read=options.read_percent,
    ),
    Option(
        "ignore_dirty",
        "with --tree: take HEAD, leave uncommitted changes out",
        False,
        read=bool,
    ),
    Option("rerun", "run guests even where the record knows the answer", False, read=bool),
    Option("timings", "show wall and CPU seconds of each stage", False, read=bool),
    # What no kernel, series or guest depends on goes to its task.
    Option(
        "times",
        "how often (default: 2)",
        2,
        helps={"bench": "how often (default: 3)"},
        defaults={"bench": 3},
    ),
    Option("strict", "a patch that nothing tells of rejects, and what tools find does", False),
    Option("budget", "such as 20m: what was not tried of the lines by then is told as such"),
    Option("seeds", "a range such as 1..10: the suite once for each seed"),
    Option("rows", f"what to measure (default: {BENCH_ROWS})", BENCH_ROWS),
    Option("branches", "all, or names such as 6.1,6.12, or NAME=git:URL@REF (default: all)", "all"),
    Option("on", "base: judge each branch's base, the tree with the series taken out"),
    Option("format", "text or json, which a CI matrix takes (default: text)", "text"),
    Option("shards", "with --format json: so many jobs for each branch (default: 1)", 1),
    Option(
        "selftests",
        "own or newest: the branch's scripts, or the newest branch's on all (default: own)",
        "own",
        helps={
            "bisect": "bad or own: those of the bad end on all, or each commit's (default: bad)"
        },
        defaults={"bisect": "bad"},
    ),
    Option("good", "commit of --tree at which the case passes"),
    Option("bad", "commit of --tree at which it fails (default: HEAD)", "HEAD"),
    Option("case", 'what to look at, "SCRIPT: CASE", as a verdict names it'),
    Option("run", "folder of a stored run (default: results/latest)"),
    Option("unit", "only what takes seconds and boots no guest", False),
    Option("long", "also what builds kernels of another configuration from nothing", False),
    Option("k", "pytest's choice of tests, as in -k 'series or tree'"),
    Option("cache", "also what was downloaded and built", False),
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


def _archive() -> str:
    archive = os.environ.get("PATCHVERDICT_ARCHIVE") or ARCHIVE
    if not re.fullmatch(r"https?://[^\s%]+", archive):  # https://lore.kernel.org/all/
        raise StageError(
            "options", f"PATCHVERDICT_ARCHIVE={archive}: give the address of a public-inbox archive"
        )
    return archive.rstrip("/")


def make_settings(root: Path, **asked: Value) -> Settings:
    """Settings from the options of a task, by their names in ``OPTIONS``; a :class:`StageError`
    names the option that is wrong."""
    if not str(root).isprintable():
        raise StageError(
            "options",
            f"this checkout is in {str(root)!r}; move it to where its path has no control"
            " characters",
        )
    if asked.get("tree") and asked.get("source"):
        raise StageError(
            "options", "--tree and --source exclude each other: the kernel comes from one place"
        )
    only = str(asked.get("only", ""))
    fields: dict[str, Any] = {
        option.name: option.read(asked.pop(option.name, option.default))
        for option in OPTIONS
        if option.read
    }
    assert not asked, f"no settings: {', '.join(asked)}"
    fields["series"] = fields["series"] or str(root / DEFAULT_SERIES)
    return Settings(
        workspace=Workspace(
            root, cache_folder(), root / "results", confined=not fields["no_sandbox"]
        ),
        archive=_archive(),
        wanted=only.strip("<>") if "@" in only else "",
        **fields,
    )
