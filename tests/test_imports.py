# SPDX-License-Identifier: GPL-2.0-only
"""The import graph is the data flow: a package imports only from those above it, and within one
there is no circle."""

import ast
import graphlib
from pathlib import Path

from ci.commands.rules import PACKAGES, import_faults
from tests.conftest import ROOT

# Runs on its own, below every command; nothing imports it.
APART = "base.reaper"
# Of logs that nobody has to believe: these read no file and start nothing.
PURE = ("logs", "verdict")
# What anybody may import: enums and their order, and how text is shown.
TERMS = {"base.exit_codes", "base.sides", "base.text", "base.words"}


def modules() -> dict[str, Path]:
    """``package.module`` -> its file."""
    paths = (path for path in (ROOT / "ci").rglob("*.py") if path.name != "__init__.py")
    return {".".join(path.relative_to(ROOT / "ci").with_suffix("").parts): path for path in paths}


def imported(path: Path) -> set[str]:
    """What ``path`` imports, at whatever depth of its code, as ``ci.package.module`` or the
    library's name."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            deep = (node.module or "").count(".") < 2 and (node.module or "").startswith("ci")
            found |= (
                {f"{node.module}.{alias.name}" for alias in node.names}
                if deep
                else {str(node.module)}
            )
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def ours(path: Path) -> set[str]:
    """The modules of ``ci`` that ``path`` imports, as ``package.module``."""
    return {name.removeprefix("ci.") for name in imported(path) if name.startswith("ci.")}


def test_every_module_is_in_a_package() -> None:
    assert {name.partition(".")[0] for name in modules()} == set(PACKAGES)
    assert all(name.count(".") == 1 for name in modules())
    assert {name for path in modules().values() for name in ours(path)} <= set(modules())


def test_a_package_imports_only_from_above() -> None:
    for path in modules().values():
        name = str(path.relative_to(ROOT))
        assert list(import_faults(name, ast.parse(path.read_bytes()))) == [], name


def test_no_circle_and_nothing_imports_the_reaper() -> None:
    graph = {name: ours(path) for name, path in modules().items()}
    assert len(tuple(graphlib.TopologicalSorter(graph).static_order())) == len(graph)
    assert graph[APART] == set() and not any(APART in used for used in graph.values())


def test_what_reads_logs_and_judges_is_pure() -> None:
    """No file, no process, no clock: the same text gives the same verdict."""
    doors = {
        "os",
        "pathlib",
        "subprocess",
        "time",
        "shutil",
        "socket",
        "random",
        "secrets",
        "tempfile",
    }
    for name, path in modules().items():
        if name.partition(".")[0] in PURE or name in TERMS:
            assert not imported(path) & doors, name
            within = {used.partition(".")[0] for used in ours(path) - TERMS}
            assert within <= set(PURE), name


def test_only_one_module_starts_processes() -> None:
    """``checks`` runs pytest on the terminal itself; everything else goes through ``processes``,
    which alone launches."""
    users = [name for name, path in modules().items() if "subprocess" in imported(path)]
    assert [name for name, path in modules().items() if "base.launch" in ours(path)] == [
        "base.processes"
    ]
    assert sorted(users) == ["base.launch", "commands.checks"]
