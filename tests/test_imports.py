"""The import graph is the data flow: a module imports only from the rows above its own (design: one way)."""

import ast

from tests.conftest import ROOT

ORDER = (
    "cli text errors door command workspace progress settings git gitstore diff change place fit mails documents thread facts "
    "series known intake debian source index history carry states tree suite branches plan kconfig "
    "bzimage objects rebuild kernel cpio image preflight accel ended "
    "guest record pool cases livelog ktap splats evidence merged compare findings verdict junit summary report pipeline "
    "stable verify bench doctor checks"
).split()
# Runs on its own, below every command; nothing imports it.
APART = {"reaper", "__init__"}


def imported(module: str) -> set[str]:
    """Modules of ``ci`` that ``module`` imports, at whatever depth of its code."""
    found = set()
    for node in ast.walk(ast.parse((ROOT / "ci" / f"{module}.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "ci":
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("ci."):
            found.add(str(node.module).removeprefix("ci."))
        elif isinstance(node, ast.Import):
            found |= {alias.name.removeprefix("ci.") for alias in node.names if alias.name.startswith("ci.")}
    return found


def test_every_module_has_its_place() -> None:
    assert {path.stem for path in (ROOT / "ci").glob("*.py")} == {*ORDER, *APART}


def test_a_module_imports_only_from_above() -> None:
    for place, module in enumerate(ORDER):
        assert imported(module) <= set(ORDER[:place]), module
    assert imported("reaper") == set()


def test_only_one_module_starts_processes() -> None:
    """``checks`` runs pytest on the terminal itself; everything else goes through ``command``."""
    users = [
        path.stem
        for path in (ROOT / "ci").glob("*.py")
        if any(
            isinstance(node, ast.Import) and any(alias.name == "subprocess" for alias in node.names)
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        )
    ]
    assert sorted(users) == ["checks", "command"]
