# SPDX-License-Identifier: GPL-2.0-only
"""ci.kernel.build: what a key depends on, what of a failing build is told. Real builds:
test_guests."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ci.base.errors import BuildError, StageError
from ci.base.progress import Progress
from ci.base.settings import Settings, make_settings
from ci.base.workspace import Workspace
from ci.kernel import build, kconfig, make_progress, objects
from ci.kernel.build import Toolchain
from ci.kernel.configuration import NORMAL, read_configuration
from ci.series.patches import load_series
from ci.suites.collection import Collection
from ci.suites.mptcp import COLLECTION
from ci.trees.fetch import fetch_source
from ci.trees.tree import Tree, derive_trees
from tests.conftest import ROOT, commit, write

TOOLS = Toolchain("gcc 12", "ld 2.40")
CONFIG = "tools/testing/selftests/net/mptcp/config"


@pytest.fixture
def tree_with(
    kernel_tree: Path, demo_series: Path, settings_for: Callable[..., Settings], progress: Progress
) -> Callable[..., Tree]:
    """The tree of the checkout after a commit of some files."""

    def made(files: dict[str, str]) -> Tree:
        commit(kernel_tree, files, "change")
        loaded = load_series(demo_series)
        return derive_trees(
            loaded,
            fetch_source(settings_for(tree=str(kernel_tree)), loaded, progress),
            frozenset(),
        ).base

    return made


def test_a_kernels_key_is_of_its_inputs(
    tree_with: Callable[..., Tree], workspace: Workspace
) -> None:
    first = build.kernel_key(
        workspace,
        tree_with({CONFIG: "CONFIG_A=y\n", "tools/objtool/x.c": "1\n"}),
        TOOLS,
        COLLECTION,
    )

    def key(
        files: dict[str, str], tools: Toolchain = TOOLS, collection: Collection = COLLECTION
    ) -> str:
        return build.kernel_key(workspace, tree_with(files), tools, collection)

    # What no kernel is made of
    assert (
        key(
            {
                "Documentation/a.rst": "a",
                "tools/testing/selftests/net/mptcp/x.sh": "a",
                "MAINTAINERS": "a",
            }
        )
        == first
    )
    others = [
        key({"net/other.c": "int changed;\n"}),
        key({"tools/objtool/x.c": "2\n"}),
        key({CONFIG: "CONFIG_A=y\nCONFIG_B=y\n"}),
        key({"x": "y"}, replace(TOOLS, gcc="gcc 13")),
        key({"z": "y"}, collection=replace(COLLECTION, symbols="CONFIG_BRIDGE=y\n")),
    ]
    assert len({first, *others}) == 6


def test_a_tree_without_selftests_is_named(
    tree_with: Callable[..., Tree], workspace: Workspace
) -> None:
    with pytest.raises(
        StageError,
        match="has no tools/testing/selftests/net/mptcp/config: it predates the selftests of mptcp",
    ):
        build.read_fragments(workspace, tree_with({"x": "y"}), COLLECTION)


def test_our_fragment_asks_with_a_reason_for_each_symbol(
    tree_with: Callable[..., Tree], workspace: Workspace
) -> None:
    ours, theirs = build.read_fragments(
        workspace, tree_with({CONFIG: "CONFIG_MPTCP=m\n"}), COLLECTION
    )
    assert theirs.name == CONFIG and len(ours.symbols) > 50
    assert [asked.symbol for asked in ours.symbols if asked.value != "n" and not asked.reason] == []


def test_what_a_configuration_asks_for_comes_after_all_else(
    tree_with: Callable[..., Tree], workspace: Workspace, tmp_path: Path
) -> None:
    (file := tmp_path / "mine.config").write_text("CONFIG_MPTCP=n\n", encoding="utf-8")
    words = make_settings(ROOT, config=f"debug,{file}").config
    config, made = read_configuration(words, workspace), tree_with({CONFIG: "CONFIG_MPTCP=m\n"})
    asked = build.read_fragments(workspace, made, COLLECTION, config)
    names = ["images/kconfig/guest.config", CONFIG, "images/kconfig/debug.config", str(file)]
    assert [one.name for one in asked] == names
    assert asked[:2] == build.read_fragments(workspace, made, COLLECTION)
    keys = [build.kernel_key(workspace, made, TOOLS, COLLECTION, one) for one in (config, NORMAL)]
    assert keys[0] != keys[1] == build.kernel_key(workspace, made, TOOLS, COLLECTION)


def test_the_command_line(tree_with: Callable[..., Tree], workspace: Workspace) -> None:
    made = tree_with({CONFIG: ""})
    words = build.make_words(made, workspace, "-j2", "bzImage")
    assert words == [
        "make",
        "-C",
        made.source.slot / "src",
        f"O={made.source.slot / 'obj'}",
        "ARCH=x86_64",
        "LOCALVERSION=",
        "CC=checked-ccache gcc",
        "-j2",
        "bzImage",
    ]


def test_the_compilers_lines(tree_with: Callable[..., Tree]) -> None:
    made = tree_with({CONFIG: ""})
    noise = "".join(f"  CC      net/a{number}.o\n" for number in range(100))
    said = (
        "net/x.c:7:2: error: expected ';'\n    7 | int x\n      |  ^\nmake[3]: *** [net/x.o]"
        " Error 1\n"
    )
    printed = said.replace("net/x.c", f"{made.source.slot}/src/net/x.c")
    assert build.error_lines(made, noise + printed + noise).splitlines()[:4] == said.splitlines()
    missing = "/bin/sh: 1: lz4: not found"
    assert build.error_lines(made, f"{noise}{missing}\n{noise}").splitlines()[0] == missing
    assert build.error_lines(made, "all is\nlost\n") == "all is\nlost"
    assert len(build.error_lines(made, "x: error: y\n" * 1000).splitlines()) == 30


def test_progress_counts_objects_and_keeps_what_was_compiled(progress: Progress) -> None:
    counter = make_progress.Counter(progress, 100)
    for line in (
        "  CC      net/a.o",
        "  HOSTCC  scripts/x.o",
        "  CC [M]  net/b.o",
        "  AS      arch/x86/c.o",
        "  LD      vmlinux.o",
        "  GEN     x",
        "CC",
    ):
        counter(line)
    assert counter.done == 3 and counter.compiled == ["net/a.o", "net/b.o"]


def test_the_time_left_is_told_where_it_can_be(progress: Progress) -> None:
    counter = make_progress.Counter(progress, 1000)
    counter.done = 49
    assert counter.told(30) == "build: 49 of about 1000 objects"
    counter.done = 250
    assert counter.told(9) == "build: 250 of about 1000 objects"
    assert counter.told(60) == "build: 250 of about 1000 objects, about 3 min 0 s left"
    counter.done = 1001  # more than expected: no total that is wrong
    assert counter.told(60) == "build: 1001 objects"


def test_a_build_says_when_it_links(progress: Progress, capfd: pytest.CaptureFixture[str]) -> None:
    make_progress.Counter(progress, 2)("  LD      vmlinux.o")
    assert capfd.readouterr().err == "| build: 0 objects compiled, linking\n"


def test_a_toolchain_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(StageError, match="install the package gcc"):
        build.find_toolchain()


def test_a_kernel_is_not_configured_again_where_nothing_of_it_changed(
    tree_with: Callable[..., Tree], workspace: Workspace, tmp_path: Path
) -> None:
    """The object directory is a copy of the ground's, and the tree has other C files at most."""
    ground = tree_with({CONFIG: ""})
    made = ground.with_file("net/demo.c", "int other;\n")
    (obj := tmp_path / "obj").mkdir()
    (log := tmp_path / "log").touch()
    asked = kconfig.merge_fragments(build.read_fragments(workspace, made, COLLECTION)).text()
    files = {
        "asked.config": asked,
        ".config": "CONFIG_MPTCP=y\n",
        objects.MADE_OF: f"{build.objects_key(TOOLS)}\n{ground.commit}\n",
    }

    def configures(tree: Tree, **other: str) -> bool:
        write(obj, files | {name.replace("_", "."): text for name, text in other.items()})
        try:
            build.configure_kernel(tree, workspace, TOOLS, COLLECTION, obj, log)
        except BuildError:  # there is nothing that make could make
            return True
        return False

    assert not configures(made)
    assert configures(made, asked_config="CONFIG_OTHER=y\n")
    assert configures(ground)
    assert configures(ground.with_file("net/Kconfig", "config X\n"))
    files[objects.MADE_OF] = f"{build.objects_key(TOOLS)}\n{'0' * 40}\n"
    assert configures(made)
    files[objects.MADE_OF] = f"another\n{ground.commit}\n"
    assert configures(made)
