# SPDX-License-Identifier: GPL-2.0-only
"""ci/bin/checked-ccache: what embeds a file never comes from ccache, however it says so. gcc and
ccache are real."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import ROOT, write

INCBIN = '.section .data\\n.incbin \\"data\\"\\n'
# What takes the file "data" in, and what a C file or an assembler's may do to hide it.
EMBEDDING = {
    "plain.S": '.section .data\n.incbin "data"\n',
    "header.S": '#include "header.h"\n',
    "macro.S": '.macro take how\n.section .data\n.inc\\how "data"\n.endm\ntake bin\n',
    "blank.S": '.section .data\n.incbin "the data"\n',
    "include.S": '.include "data.inc"\n',
    "asm.c": f'asm("{INCBIN}");\n',
    "pieces.c": '#define HOW ".inc" "bin"\nasm(".section .data\\n" HOW " \\"data\\"\\n");\n',
    "include.c": 'asm(".include \\"data.inc\\"");\n',
    "header.c": '#include "header.h"\n',
}
HEADER = f'#ifdef __ASSEMBLER__\n.section .data\n.incbin "data"\n#else\nasm("{INCBIN}");\n#endif\n'


@pytest.fixture
def compiled(tmp_path: Path) -> "Compiler":
    """A compiler with a cache of its own."""
    write(tmp_path, {"header.h": HEADER, **EMBEDDING})
    return Compiler(tmp_path)


class Compiler:
    """Compiles as kbuild does, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = os.environ | {
            "PATH": f"{ROOT / 'ci/bin'}:{os.environ['PATH']}",
            "CCACHE_DIR": str(folder / "cache"),
            "CCACHE_DEPEND": "1",
            "EMBEDDING": str(folder / "embedding"),
            "CCACHE_SLOPPINESS": "include_file_mtime,include_file_ctime",
        }

    def __call__(
        self, source: str, data: str = "", *more: str
    ) -> "subprocess.CompletedProcess[str]":
        """Compile ``source``; stdout is what is in the object's data."""
        for name, text in (
            ("data", data),
            ("the data", data),
            ("data.inc", f'.data\n.ascii "{data}"\n'),
        ):
            (self.folder / name).write_text(text, encoding="utf-8")
        words = ["-Wp,-MMD,.a.o.d", *more, "-c", "-o", "a.o", source]
        done = subprocess.run(
            ["checked-ccache", "gcc", *words],
            cwd=self.folder,
            env=self.env,
            capture_output=True,
            text=True,
        )
        if done.returncode == 0:
            cut = ["objcopy", "-O", "binary", "-j", ".data", "a.o", "/dev/stdout"]
            done.stdout = subprocess.run(
                cut, cwd=self.folder, capture_output=True, text=True
            ).stdout
        return done

    def hits(self) -> int:
        """How often ccache had the answer."""
        said = subprocess.run(
            ["ccache", "--print-stats"], env=self.env, capture_output=True, text=True
        ).stdout
        rows = dict(line.split("\t") for line in said.splitlines())
        return int(rows["direct_cache_hit"]) + int(rows["preprocessed_cache_hit"])

    def embedding(self) -> list[str]:
        """The objects that were found to embed a file."""
        found = self.folder / "embedding"
        return found.read_text(encoding="utf-8").splitlines() if found.exists() else []


@pytest.mark.parametrize("source", EMBEDDING)
def test_what_embeds_a_file_holds_that_file(compiled: Compiler, source: str) -> None:
    for number, data in enumerate(("AAAA", "BBBB", "AAAA"), 1):
        assert compiled(source, data).stdout == data
        assert compiled.embedding() == [str(compiled.folder / "a.o")] * number
    assert compiled.hits() == 0


@pytest.mark.parametrize("source", ["one.c", "sub/one.c", "one.S"])
@pytest.mark.parametrize("more", [(), ("-g",), ("-pipe",), ("-O2", "-g", "-gdwarf-4")])
def test_all_else_comes_from_ccache(compiled: Compiler, source: str, more: tuple[str, ...]) -> None:
    asm = (
        'static inline void nop(void) { asm volatile ("nop"); }\nvoid one(void);\nvoid one(void) {'
        " nop(); }\n"
    )
    write(
        compiled.folder,
        {
            "asm.h": asm,
            "quiet.h": "",
            source: f'#include "{"asm" if source[-1] == "c" else "quiet"}.h"\n',
        },
    )
    for number in range(3):
        done = compiled(source, "", "-I", str(compiled.folder), *more)
        assert done.returncode == 0, done.stderr
        assert compiled.hits() == number
        assert sorted(path.name for path in compiled.folder.glob("a.o*")) == ["a.o"]
    assert compiled.embedding() == []


def test_an_error_is_the_compilers_own(compiled: Compiler) -> None:
    write(compiled.folder, {"bad.c": "int x\n"})
    for _ in range(2):
        done = compiled("bad.c")
        assert done.returncode == 1 and "bad.c:1:" in done.stderr
    write(compiled.folder, {"gone.S": '.incbin "gone"\n'})
    done = compiled("gone.S")
    assert done.returncode == 1 and "gone" in done.stderr


@pytest.mark.parametrize(
    "words",
    [["--version"], ["-E", "plain.S"], ["-c", "plain.S"], ["-c", "plain.S", "-o", "/dev/null"]],
)
def test_what_is_no_compilation_to_keep_goes_to_the_compiler(
    compiled: Compiler, words: list[str]
) -> None:
    (compiled.folder / "data").touch()
    done, bare = (
        subprocess.run(
            [*argv, *words], cwd=compiled.folder, env=compiled.env, capture_output=True, text=True
        )
        for argv in (["checked-ccache", "gcc"], ["gcc"])
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, bare.stdout, bare.stderr)


def test_what_is_traced_has_its_lines_and_an_entry_of_its_own(compiled: Compiler) -> None:
    write(compiled.folder, {"one.c": "int one(int);\nint one(int x)\n{\n\treturn x + 1;\n}\n"})
    compiled("one.c")
    compiled.env |= {"TRACED": "b.o sub/a.o", "TRACED_FLAGS": "-g"}
    compiled("one.c")
    assert compiled.hits() == 1 and not has_lines(compiled.folder)
    compiled.env["TRACED"] = "b.o a.o"
    for number in (1, 2):
        compiled("one.c")
        assert compiled.hits() == number and has_lines(compiled.folder)


ASSERTS = """\
void never(void) __attribute__((error("a call that never is")));
static unsigned low(unsigned x)
{
	unsigned i;

	for (i = 0; i < 3; i++)
		x >>= 8;
	return x;
}
int one(unsigned x);
int one(unsigned x)
{
	if (low(x) > 255)
		never();
	return x;
}
"""


def test_what_the_least_optimization_refuses_is_traced_with_more(compiled: Compiler) -> None:
    """With -Og gcc does not look into a function."""
    words = ["gcc", "-Og", "-c", "one.c", "-o", "a.o"]
    write(compiled.folder, {"one.c": ASSERTS})
    bare = subprocess.run(words, cwd=compiled.folder, capture_output=True)
    assert bare.returncode == 1 and b"a call that never is" in bare.stderr
    compiled.env |= {"TRACED": "a.o", "TRACED_FLAGS": "-g"}
    assert compiled("one.c").returncode == 0 and has_lines(compiled.folder)
    write(compiled.folder, {"one.c": f"{ASSERTS}int bad\n"})
    done = compiled("one.c")
    assert done.returncode == 1 and done.stderr.count("error:") == 1


def has_lines(folder: Path) -> bool:
    words = ["objdump", "--dwarf=decodedline", "a.o"]
    return b"one.c" in subprocess.run(words, cwd=folder, capture_output=True).stdout
