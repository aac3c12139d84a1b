# SPDX-License-Identifier: GPL-2.0-only
"""The way from `inv validate` to junit.xml as ci/README.md tells it, held against the code."""

import ast
import functools
import re
from pathlib import Path

from tests.conftest import ROOT

ROW = re.compile(r"^\| (\d+) \| `([\w.]+)` \| `([\w.]+)` \| (.*) \|$", re.M)


def rows() -> list[tuple[int, str, str, str]]:
    """Number, stage, callee and product of each row of the table."""
    text = (ROOT / "ci/README.md").read_text(encoding="utf-8")
    section = text.partition("\n## From inv validate to junit.xml\n")[2].partition("\n## ")[0]
    return [(int(row[0]), row[1], row[2], row[3]) for row in ROW.findall(section)]


def file_of(module: str) -> Path:
    """The one module of that name."""
    paths = [ROOT / "tasks.py", *(ROOT / "ci").rglob("*.py")]
    (found,) = (path for path in paths if path.stem == module)
    return found


@functools.cache
def functions(module: str) -> dict[str, ast.AST]:
    """The functions of a module, and the tables at its top, by their names."""
    found: dict[str, ast.AST] = {}
    for node in ast.parse(file_of(module).read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = node
    return found


def names_in(node: ast.AST) -> list[str]:
    """The names that a piece of code uses, in their order; of ``module.name`` the last."""
    uses = [
        (one.lineno, one.col_offset, one.attr if isinstance(one, ast.Attribute) else one.id)
        for one in ast.walk(node)
        if isinstance(one, ast.Attribute | ast.Name)
    ]
    return [name for _, _, name in sorted(uses)]


def reaches(module: str, name: str, callee: str) -> bool:
    """Whether a function calls ``callee`` itself, or by what its own module keeps for it, or by the
    table of outputs."""
    seen: set[tuple[str, str]] = set()
    queue = [(module, name)]
    while queue:
        place = queue.pop()
        if place in seen:
            continue
        seen.add(place)
        used = names_in(functions(place[0])[place[1]])
        if callee in used:
            return True
        queue += [(place[0], one) for one in used if one in functions(place[0])]
        queue += [("outputs", "OUTPUTS")] if "OUTPUTS" in used else []
    return False


def test_each_stage_makes_the_call_that_is_told() -> None:
    assert [row[0] for row in rows()] == list(range(1, 17))
    for _, stage, callee, _ in rows():
        module, name = stage.split(".")
        where, called = callee.split(".")
        assert called in functions(where), callee
        assert reaches(module, name, called), f"{stage} does not reach {callee}"


def test_the_stages_stand_in_one_function_in_the_order_that_is_told() -> None:
    """What is nested in a call comes first: it is sorted by where each line ends."""
    told = [stage.removeprefix("stages.") for _, stage, _, _ in rows() if "stages." in stage]
    body = functions("validate")["prepare_guests"]
    calls = [one for one in ast.walk(body) if isinstance(one, ast.Call)]
    calls.sort(key=lambda one: (one.end_lineno, one.end_col_offset))
    made = [one.func.attr for one in calls if isinstance(one.func, ast.Attribute)]
    assert [name for name in made if name in told] == told
    way = names_in(functions("validate")["judge_run"])
    ends = ("prepare_guests", "run_suite", "save_run", "write_reports")
    assert [name for name in way if name in ends] == list(ends)


def test_the_products_are_what_the_stages_return() -> None:
    for _, stage, _, gives in rows():
        module, name = stage.split(".")
        product = re.match(r"`(\w+)`", gives)
        node = functions(module)[name]
        if module == "stages" and product:
            assert isinstance(node, ast.FunctionDef) and node.returns
            assert product[1] in names_in(node.returns), stage
