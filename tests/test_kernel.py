"""ci.kernel: what a key depends on, what of a failing build is told. Real builds: test_guests."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ci import kernel, series, source, tree
from ci.errors import StageError
from ci.kernel import Toolchain
from ci.progress import Progress
from ci.settings import Settings
from ci.tree import Tree
from ci.workspace import Workspace
from tests.conftest import commit

TOOLS = Toolchain("gcc 12", "ld 2.40")
CONFIG = "tools/testing/selftests/net/mptcp/config"


@pytest.fixture
def tree_with(
    kernel_tree: Path, demo_series: Path, settings_for: Callable[..., Settings], progress: Progress
) -> Callable[..., Tree]:
    """The tree of the checkout after a commit of some files."""

    def made(files: dict[str, str]) -> Tree:
        commit(kernel_tree, files, "change")
        loaded = series.load(demo_series)
        return tree.derive(
            loaded, source.fetch(settings_for(tree=str(kernel_tree)), loaded, progress), frozenset()
        ).base

    return made


def test_a_kernels_key_is_of_its_inputs(tree_with: Callable[..., Tree], workspace: Workspace) -> None:
    first = kernel.key_of(workspace, tree_with({CONFIG: "CONFIG_A=y\n", "tools/objtool/x.c": "1\n"}), TOOLS)

    def key(files: dict[str, str], tools: Toolchain = TOOLS) -> str:
        return kernel.key_of(workspace, tree_with(files), tools)

    # What no kernel is made of
    assert key({"Documentation/a.rst": "a", "tools/testing/selftests/net/mptcp/x.sh": "a", "MAINTAINERS": "a"}) == first
    others = [
        key({"net/other.c": "int changed;\n"}),
        key({"tools/objtool/x.c": "2\n"}),
        key({CONFIG: "CONFIG_A=y\nCONFIG_B=y\n"}),
        key({"x": "y"}, replace(TOOLS, gcc="gcc 13")),
    ]
    assert len({first, *others}) == 5


def test_a_tree_without_selftests_is_named(tree_with: Callable[..., Tree], workspace: Workspace) -> None:
    with pytest.raises(StageError, match="predates MPTCP's selftests"):
        kernel.fragments(workspace, tree_with({"x": "y"}))


def test_our_fragment_asks_with_a_reason_for_each_symbol(tree_with: Callable[..., Tree], workspace: Workspace) -> None:
    ours, theirs = kernel.fragments(workspace, tree_with({CONFIG: "CONFIG_MPTCP=m\n"}))
    assert theirs.name == CONFIG and len(ours.symbols) > 50
    assert [asked.symbol for asked in ours.symbols if asked.value != "n" and not asked.reason] == []


def test_the_command_line(tree_with: Callable[..., Tree]) -> None:
    made = tree_with({CONFIG: ""})
    words = kernel.make(made, "-j2", "bzImage")
    assert words == [
        "make", "-C", made.source.slot / "src", f"O={made.source.slot / 'obj'}", "ARCH=x86_64", "LOCALVERSION=",
        "CC=checked-ccache gcc", "-j2", "bzImage",
    ]  # fmt: skip


def test_the_compilers_lines(tree_with: Callable[..., Tree]) -> None:
    made = tree_with({CONFIG: ""})
    noise = "".join(f"  CC      net/a{number}.o\n" for number in range(100))
    said = "net/x.c:7:2: error: expected ';'\n    7 | int x\n      |  ^\nmake[3]: *** [net/x.o] Error 1\n"
    printed = said.replace("net/x.c", f"{made.source.slot}/src/net/x.c")
    assert kernel.errors(made, noise + printed + noise).splitlines()[:4] == said.splitlines()
    missing = "/bin/sh: 1: lz4: not found"
    assert kernel.errors(made, f"{noise}{missing}\n{noise}").splitlines()[0] == missing
    assert kernel.errors(made, "all is\nlost\n") == "all is\nlost"
    assert len(kernel.errors(made, "x: error: y\n" * 1000).splitlines()) == 30


def test_progress_counts_objects_and_keeps_what_was_compiled(progress: Progress) -> None:
    counter = kernel._Counter(progress, 0)
    for line in (
        "  CC      net/a.o",
        "  HOSTCC  scripts/x.o",
        "  CC [M]  net/b.o",
        "  LD      vmlinux.o",
        "  GEN     x",
        "CC",
    ):
        counter(line)
    assert counter.done == 4 and counter.compiled == ["net/a.o", "net/b.o"]


def test_a_toolchain_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(StageError, match="install the package gcc"):
        kernel.toolchain()
