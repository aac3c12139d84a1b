# SPDX-License-Identifier: GPL-2.0-only
"""The rules of this code that no linter has: how long a function is, how wide a shell script, what
passes between modules, and which package imports which."""

import ast
from collections.abc import Iterator, Sequence
from pathlib import Path

MOST_LINES = 40
MOST_COLUMNS = 100
LOOSE = "dict[str, Any]"
# What flows from top to bottom; each package may use those before it.
PACKAGES = "base series trees logs suites kernel guest verdict report commands".split()

Function = ast.FunctionDef | ast.AsyncFunctionDef


def find_faults(root: Path, scripts: Sequence[str]) -> Iterator[str]:
    """``file:line: what is wrong`` of `ci/`, `tasks.py` and the shell ``scripts``, names below
    ``root``."""
    for path in [*sorted((root / "ci").rglob("*.py")), root / "tasks.py"]:
        name = str(path.relative_to(root))
        try:
            tree = ast.parse(path.read_bytes(), name)
        except SyntaxError as error:
            yield f"{name}:{error.lineno}: {error.msg}"
            continue
        for line, fault in [*function_faults(tree), *import_faults(name, tree)]:
            yield f"{name}:{line}: {fault}"
    for name in scripts:
        for number, text in enumerate((root / name).read_text(encoding="utf-8").splitlines(), 1):
            if len(text.expandtabs()) > MOST_COLUMNS:
                yield f"{name}:{number}: more than {MOST_COLUMNS} columns"


def function_faults(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Functions that are too long, and public ones that take or give a mapping of anything."""
    for node in ast.walk(tree):
        if not isinstance(node, Function):
            continue
        count = (node.end_lineno or 0) - node.lineno + 1
        if count > MOST_LINES:
            yield node.lineno, f"{node.name} has {count} lines, more than {MOST_LINES}"
        every = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        types = [node.returns, *(arg.annotation for arg in every)]
        if not node.name.startswith("_") and any(LOOSE in ast.unparse(one) for one in types if one):
            yield node.lineno, f"{node.name} passes {LOOSE} between modules"


def import_faults(name: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Imports from a package that comes after that of the file ``name``."""
    parts = Path(name).parts
    if len(parts) < 3 or parts[1] not in PACKAGES:
        return
    later = PACKAGES[PACKAGES.index(parts[1]) + 1 :]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        package = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
        for alias in node.names:
            words = f"{package}{alias.name}".split(".")
            if words[0] == "ci" and words[1] in later:
                yield node.lineno, f"{parts[1]} comes before {words[1]} and cannot import it"
