# SPDX-License-Identifier: GPL-2.0-only
"""ci.commands.rules: what it finds, and that it finds no more."""

import ast
from pathlib import Path

import pytest

from ci.commands import rules


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("def f():\n" + "    x = 1\n" * 39, []),
        ("def f():\n" + "    x = 1\n" * 40, [(1, "f has 41 lines, more than 40")]),
        (
            "\nasync def f() -> dict[str, Any]: ...",
            [(2, "f passes dict[str, Any] between modules")],
        ),
        (
            "def f(*, x: list[dict[str, Any]]): ...",
            [(1, "f passes dict[str, Any] between modules")],
        ),
        ("def _f(x: dict[str, Any]): ...\ndef g(x: dict[str, int]): ...", []),
    ],
)
def test_functions(text: str, faults: list[tuple[int, str]]) -> None:
    assert list(rules.function_faults(ast.parse(text))) == faults


def test_imports() -> None:
    tree = ast.parse("from ci.guest import vm\nimport ci.base.text, os\nimport ci.report.junit\n")
    assert list(rules.import_faults("ci/guest/pool.py", tree)) == [
        (3, "guest comes before report and cannot import it")
    ]
    assert next(iter(rules.import_faults("ci/logs/ktap.py", tree)))[0] == 1
    assert list(rules.import_faults("tasks.py", tree)) == []


def test_each_fault_names_its_file_and_line(tmp_path: Path) -> None:
    (tmp_path / "ci/base").mkdir(parents=True)
    (tmp_path / "tasks.py").write_text("", encoding="ascii")
    (tmp_path / "ci/base/one.py").write_text("\nfrom ci.logs import ktap\n", encoding="ascii")
    (tmp_path / "run.sh").write_text("#!/bin/sh\n" + "x" * 101 + "\n", encoding="ascii")
    assert list(rules.find_faults(tmp_path, ["run.sh"])) == [
        "ci/base/one.py:2: base comes before logs and cannot import it",
        "run.sh:2: more than 100 columns",
    ]
