# SPDX-License-Identifier: GPL-2.0-only
"""ci.kernel.traced: what line tables and preprocessors say; gcc and objdump are real."""

import subprocess
from pathlib import Path

import pytest

from ci.kernel.build import TRACED_FLAGS
from ci.kernel.traced import NameFile, list_objects, parse_active, parse_rows
from ci.trees.source import Source
from ci.trees.tree import Tree
from tests.conftest import write

HEADER = "static inline int twice(int x)\n{\n\tif (x > 3)\n\t\treturn x * 7;\n\treturn x;\n}\n"
SOURCE = """\
#include "deep/a.h"
#ifdef CONFIG_X
int off(void) { return 1; }
#define OFF 1
#else
#define ON 1
#endif
int f(int y);
int f(int y)
{
	int z = twice(y);

	return z + ON;
}
"""


@pytest.fixture
def compiled(tmp_path: Path) -> Path:
    """A folder with an object that was compiled as kbuild does: from elsewhere, by whole paths."""
    write(tmp_path, {"src/net/a.c": SOURCE, "src/net/deep/a.h": HEADER, "obj/of": ""})
    words = ["gcc", "-O2", *TRACED_FLAGS.split(), "-Og", f"{tmp_path}/src/net/a.c"]
    for more in (["-c", "-o", "a.o"], ["-E", "-dD", "-o", "a.i"]):
        subprocess.run([*words, *more], cwd=tmp_path / "obj", check=True)
    return tmp_path


def test_each_instruction_has_its_line(compiled: Path) -> None:
    words = ["objdump", "--dwarf=decodedline", "-w", "obj/a.o"]
    text = subprocess.run(words, cwd=compiled, capture_output=True, text=True, check=True).stdout
    rows = parse_rows(text, NameFile(compiled / "src"))
    assert set(rows) == {"net/a.c", "net/deep/a.h"}
    assert 13 in rows["net/a.c"] and {3, 4} <= set(rows["net/deep/a.h"])
    assert set(rows["net/a.c"]) <= {9, 10, 11, 13, 14}
    assert parse_rows("garbage\nx 1\n: \n", NameFile(compiled)) == {}


def test_the_lines_that_the_preprocessor_leaves(compiled: Path) -> None:
    with (compiled / "obj/a.i").open(encoding="utf-8") as file:
        active = parse_active(file, NameFile(compiled / "src"))
    assert set(active) == {"net/a.c", "net/deep/a.h"}
    assert active["net/deep/a.h"] == {1, 2, 3, 4, 5, 6}
    assert {6, 8, 9, 13} <= active["net/a.c"] and active["net/a.c"].isdisjoint({3, 4})


@pytest.mark.parametrize(
    ("name", "folder", "told"),
    [
        ("/x/src/net/a.c", "", "net/a.c"),
        ("./a.c", "tools/t", "tools/t/a.c"),
        ("../../lib.h", "tools/t/net", "tools/lib.h"),
        ("/usr/include/stdio.h", "tools", ""),
        ("../../../../etc/passwd", "tools", ""),
        ("<built-in>", "net", ""),
    ],
)
def test_the_trees_name_of_a_file(name: str, folder: str, told: str) -> None:
    assert NameFile(Path("/x/src"), folder)(name) == told


def test_the_objects_that_tell_of_a_header(tmp_path: Path) -> None:
    source = Source("demo", tmp_path, "c", "asked for")
    tree = Tree(source, "c", "t", (6, 12))
    deps = "deps_net/x.o := /src/include/net/h.h \\\n  /src/net/x.c\n"
    write(tmp_path, {"net/.x.o.cmd": deps, "net/.y.o.cmd": "", "lib/.z.o.cmd": deps})
    (tmp_path / "net/.x.o.cmd").write_text(deps.replace("\\\n", ""), encoding="utf-8")
    asked = ["include/net/h.h", "net/y.c", "tools/testing/selftests/net/t.c"]
    assert list_objects(tree, tmp_path, asked) == ("net/x.o", "net/y.o")
    assert list_objects(tree, tmp_path, ["net/x.c", "include/net/h.h"]) == ("net/x.o",)
