# SPDX-License-Identifier: GPL-2.0-only
"""A kernel of which some objects are compiled to be watched, and what their line tables and their
preprocessor say: of which line each instruction is, and which lines the configuration takes in."""

import os
import re
from collections.abc import Collection as Names
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from ci.base import sandbox
from ci.base.progress import Progress
from ci.base.records import from_json, save_record
from ci.base.sandbox import Mount
from ci.base.untrusted import open_below
from ci.base.workspace import Workspace
from ci.kernel import build, objects
from ci.kernel.build import Kernel, Toolchain
from ci.kernel.configuration import Configuration
from ci.kernel.included import find_users, takes_in
from ci.suites.collection import Collection
from ci.trees.tree import Tree

FACTS = "lines.json"
LIMIT_S = 600.0
MOST_PREPROCESSED, MOST_ROWS, MOST_OBJECTS = 256 << 20, 2_000_000, 20
# objdump --dwarf=decodedline: "pm.c    18  0xffffffff8150  1  x"; before a file's rows its name.
ROW = re.compile(r"\S.*?\s(\d{1,9})\s+(0x[0-9a-f]{1,16}|0)(?:\s+\d+)?\s+x(?:\s+END)?")
HEAD = re.compile(r"(?:CU: )?(\S[^\n]*?)(?:\[\+\+\])?:")
MARKER = re.compile(r'# (\d{1,9}) "([^"]*)"')  # # 12 "net/mptcp/pm.c" 2
Rows = Mapping[str, Mapping[int, Sequence[int]]]


@dataclass(frozen=True)
class Lines:
    """What was compiled of which files, named as the tree has them. ``rows``: file -> line -> the
    addresses of its instructions; ``active``: file -> the lines of which the preprocessor left
    something; ``absent``: source of an object that was asked for and not built -> why."""

    rows: Rows = field(default_factory=dict)
    active: Mapping[str, Sequence[int]] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)


def parse_rows(text: str, name_file: "NameFile") -> Rows:
    """objdump's decoded line tables; a row that begins no statement says nothing of its line."""
    found: dict[str, dict[int, list[int]]] = {}
    name, count = "", 0
    for line in text.splitlines():
        if row := ROW.fullmatch(line.rstrip()):
            if name and (count := count + 1) <= MOST_ROWS:
                found.setdefault(name, {}).setdefault(int(row[1]), []).append(int(row[2], 16))
        elif head := HEAD.fullmatch(line.rstrip()):
            name = name_file(head[1])
    return found


@dataclass(frozen=True)
class NameFile:
    """The tree's name of a file that a compiler in ``folder`` of the tree read; empty for a file of
    no tree. ``src`` is where the compiler saw the tree."""

    src: Path
    folder: str = ""

    def __call__(self, name: str) -> str:
        path = os.path.normpath(name if name.startswith("/") else self.src / self.folder / name)
        root = f"{self.src}/"
        known = path.startswith(root) and not name.startswith("<")  # <built-in>
        return path.removeprefix(root) if known else ""


def parse_active(lines: Iterable[str], name_file: NameFile) -> Mapping[str, set[int]]:
    """File -> the lines that are left, of a preprocessor's output with its line markers."""
    found: dict[str, set[int]] = {}
    name, number = "", 0
    for line in lines:
        if marker := MARKER.match(line):
            number, name = int(marker[1]) - 1, name_file(marker[2])
            continue
        number += 1
        if name and line.strip():
            found.setdefault(name, set()).add(number)
    return found


def list_objects(tree: Tree, home: Path, names: Iterable[str]) -> tuple[str, ...]:
    """The objects that tell of the files ``names`` of the tree: those of C files, and of each
    header the ones that took it in, of its own folder and of those of the C files. ``home`` is
    the object directory of the tree's ground."""
    files = sorted(set(names))
    sources = [name for name in files if name.endswith(".c")]
    wanted = {f"{name[:-2]}.o" for name in sources if not name.startswith("tools/")}
    for header in (name for name in files if name.endswith(".h")):
        near = dict.fromkeys(str(PurePosixPath(one).parent) for one in (header, *sources))
        if not any(takes_in(home, one, header) for one in wanted):
            users = (one for folder in near for one in find_users(home, folder, header))
            wanted.update(one for one, _ in zip(users, range(MOST_OBJECTS), strict=False))
    return tuple(sorted(wanted))


def explain_absent(tree: Tree, name: str) -> str:
    """Why no object of the C file ``name`` is built: the line of the Makefile that it hangs on."""
    path = PurePosixPath(name)
    makefile = tree.source.git.text(tree.commit, f"{path.parent}/Makefile") or ""
    for line in makefile.replace("\\\n", " ").splitlines():
        if re.search(rf"\b{re.escape(path.stem)}\.o\b", line) and "$(" in line:
            head = " ".join(line.partition("=")[0].split()).rstrip("+: ")
            return f"{path.parent}/Makefile: {head} has {path.stem}.o"
    return "no object of it is built"


def build_traced(
    tree: Tree,
    workspace: Workspace,
    tools: Toolchain,
    collection: Collection,
    progress: Progress,
    log: Path,
    config: Configuration,
    traced: Names[str],
) -> tuple[Kernel, Lines]:
    """The kernel of ``tree`` with the objects ``traced`` compiled to be watched, and its lines."""
    config = replace(config, traced=tuple(sorted(traced)))
    placed = config.place_objects(tree)

    def tell(obj: Path, fresh: Path) -> None:
        made = [one for one in config.traced if (obj / one).is_file()]
        sources = [name for one in made if _is_source(placed, name := f"{one[:-2]}.c")]
        active = _read_active(placed, workspace, tools, obj, log, sources)
        rows = read_rows(placed, workspace, tools, fresh / "vmlinux", "", log)
        absent = {
            name: explain_absent(placed, name)
            for one in config.traced
            if one not in made and _is_source(placed, name := f"{one[:-2]}.c")
        }
        lines = {name: sorted(of) for name, of in sorted(active.items())}
        save_record(fresh / FACTS, Lines(rows, lines, absent))

    kernel = build.build_kernel(
        tree, workspace, tools, collection, progress, log, config, more=tell
    )
    return kernel, from_json((kernel.folder / FACTS).read_bytes(), Lines)


def try_objects(
    tree: Tree,
    workspace: Workspace,
    tools: Toolchain,
    collection: Collection,
    log: Path,
    config: Configuration,
    names: Sequence[str],
) -> None:
    """Compile some objects of a kernel and no others: a :class:`BuildError` comes soon then, where
    a header that many take in is wrong."""
    tree = config.place_objects(tree)
    home = objects.home_folder(tree, workspace)

    def work(obj: Path) -> None:
        build.configure_kernel(tree, workspace, tools, collection, obj, log, config)
        words = build.make_words(tree, workspace, f"-j{sandbox.CORES}", *names)
        mounts = [build.object_mount(tree, workspace, obj)]
        build.run_make(
            words, tree, workspace, tools, mounts, timeout_s=LIMIT_S, log=log, kernel=True
        )

    with tree.checked_out(workspace), objects.object_folder(tree, workspace) as obj:
        objects.use_objects(tree, build.objects_key(tools), work, obj, home)


def _is_source(tree: Tree, name: str) -> bool:
    return bool(tree.subtree(name))


def _read_active(
    tree: Tree,
    workspace: Workspace,
    tools: Toolchain,
    obj: Path,
    log: Path,
    sources: Sequence[str],
) -> Mapping[str, set[int]]:
    """What the preprocessor leaves of C files and of the headers that they take in; with -dD also
    of what they define."""
    if not sources:
        return {}
    wanted = [f"{name[:-2]}.i" for name in sources]
    words = build.make_words(tree, workspace, "KCPPFLAGS=-dD", *wanted)
    mounts = [build.object_mount(tree, workspace, obj)]
    build.run_make(words, tree, workspace, tools, mounts, timeout_s=LIMIT_S, log=log)
    found: dict[str, set[int]] = {}
    name_file = NameFile(tree.source.slot / "src")
    for name in wanted:
        with open_below(obj, name, MOST_PREPROCESSED) as file:
            lines = (line.decode("utf-8", "replace") for line in file)
            for one, numbers in parse_active(lines, name_file).items():
                found.setdefault(one, set()).update(numbers)
    return found


def read_rows(
    tree: Tree, workspace: Workspace, tools: Toolchain, program: Path, folder: str, log: Path
) -> Rows:
    """The line table of a program that was compiled in ``folder`` of the tree."""
    words: list[str | Path] = ["objdump", "--dwarf=decodedline", "-w", program]
    mounts = [Mount(program, program)]
    done = build.run_make(words, tree, workspace, tools, mounts, timeout_s=LIMIT_S, log=log)
    return parse_rows(done.stdout, NameFile(tree.source.slot / "src", folder))
