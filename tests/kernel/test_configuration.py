# SPDX-License-Identifier: GPL-2.0-only
"""ci.kernel.configuration: which kernels --config asks for, and what their guests need."""

from pathlib import Path

import pytest

from ci.base.errors import StageError
from ci.base.settings import CONFIGS, make_settings
from ci.base.workspace import Workspace
from ci.guest import vm
from ci.guest.modes import MACHINES, Mode
from ci.kernel import configuration
from ci.kernel.configuration import NORMAL, Configuration, Needs
from ci.suites.mptcp import COLLECTION
from ci.trees.source import Source
from ci.trees.tree import Tree
from tests.conftest import ROOT

SCRIPT = COLLECTION.script("diag.sh")


def chosen(text: str, workspace: Workspace) -> Configuration:
    return configuration.read_configuration(make_settings(ROOT, config=text).config, workspace)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "my kasan.config"
    path.write_text("CONFIG_KASAN=y\nCONFIG_KASAN_OUTLINE=y\n", encoding="utf-8")
    return path


def test_the_normal_one_has_nothing_of_its_own(workspace: Workspace) -> None:
    assert chosen("", workspace) == chosen("guest", workspace) == NORMAL == Configuration()
    assert (NORMAL.name, NORMAL.fragments, NORMAL.folder) == ("guest", (), "obj")


def test_each_of_ours_has_a_fragment_with_reasons_and_perhaps_needs(workspace: Workspace) -> None:
    there = {path.stem for path in (ROOT / "images/kconfig").glob("*.config")}
    assert there == set(CONFIGS)
    assert set(configuration._read_table(workspace)) <= set(CONFIGS) - {NORMAL.name}
    for name in CONFIGS[1:]:
        (fragment,) = chosen(name, workspace).fragments
        assert fragment.name == f"images/kconfig/{name}.config"
        assert [one.symbol for one in fragment.symbols if not one.reason] == []


def test_debug_needs_more_memory_and_time(workspace: Workspace) -> None:
    needs = chosen("debug", workspace).needs
    assert needs.memory_mb > Needs.memory_mb and needs.time_factor > 1
    assert needs.environment == {"KSFT_MACHINE_SLOW": "yes"}
    assert all(needs.cmdline.values())


def test_each_has_an_object_directory_and_a_name_of_its_own(
    workspace: Workspace, file: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    twin, taken = tmp_path / "other" / file.name, tmp_path / "debug.config"
    for path in (twin, taken):
        path.write_text("CONFIG_KASAN=y\n", encoding="utf-8")
    words = ("", "debug", str(file), str(twin), str(taken), f"debug,{file}")
    all_of_them = [chosen(word, workspace) for word in words]
    assert len({one.folder for one in all_of_them}) == len(words)
    assert [one.name for one in all_of_them] == [
        "guest",
        "debug",
        "my_kasan",
        "my_kasan",
        "file_debug",
        "debug-my_kasan",
    ]
    tree = Tree(Source("test", tmp_path / "slot", "", ""), "", "", (6, 12))
    assert [chosen(one, workspace).place_objects(tree).source.obj for one in ("", "debug")] == [
        tmp_path / "slot/obj",
        tmp_path / "slot/obj-debug",
    ]
    # What is in a file is changed in its own directory.
    before = chosen(str(file), workspace)
    file.write_text("CONFIG_KASAN=n\n", encoding="utf-8")
    after = chosen(str(file), workspace)
    assert before.folder == after.folder and before.fragments != after.fragments


def test_with_the_kernels_own_tests_it_has_a_directory_more(
    workspace: Workspace, file: Path
) -> None:
    assert COLLECTION.kunit
    symbols = COLLECTION.kunit.symbols
    for words in ("", "debug", f"debug,{file}"):
        plain = chosen(words, workspace)
        tested = plain.with_tests(symbols)
        assert (tested.name, tested.needs) == (plain.name, plain.needs)
        assert tested.fragments[:-1] == plain.fragments and tested.fragments[-1].text == symbols
        assert tested.folder == f"{plain.folder}-kunit"


def test_a_file_comes_last_and_has_the_needs_of_ours_before_it(
    workspace: Workspace, file: Path
) -> None:
    both, debug = chosen(f"debug,{file}", workspace), chosen("debug", workspace)
    assert both.needs == debug.needs and chosen(str(file), workspace).needs == Needs()
    assert both.fragments[:1] == debug.fragments and both.fragments[1].name == str(file)
    assert chosen(f"{file},debug,{file}", workspace) == both


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"CONFIG_A=y\nA=y\n", r"fragment:2: 'A=y' is not CONFIG_SYMBOL=value"),
        (b"CONFIG_A=y\n# CONFIG_A is not set\n", "fragment:2: CONFIG_A is already asked for"),
        (b"\xff", "fragment: .*decode"),
        (b"#" * (2**20 + 1), "larger than 1 MB"),
    ],
)
def test_a_file_that_is_no_fragment_is_named(
    text: bytes, said: str, workspace: Workspace, tmp_path: Path
) -> None:
    (path := tmp_path / "fragment").write_bytes(text)
    with pytest.raises(StageError, match=said) as caught:
        chosen(str(path), workspace)
    assert caught.value.asked and "--config" in caught.value.message


@pytest.mark.parametrize("word", ["debugg", "/no/such/file", "/tmp", "debug,/no/such/file"])
def test_what_is_no_configuration_is_named(word: str) -> None:
    with pytest.raises(StageError, match=f"--config {word.rpartition(',')[2]}: no such file"):
        make_settings(ROOT, config=word)


def test_a_replay_asks_for_the_same(file: Path) -> None:
    made = make_settings(ROOT, config=f"debug,{file}")
    again = make_settings(ROOT, config=made.command("run").partition("--config ")[2].strip("'"))
    assert "--config" not in make_settings(ROOT).command("run")
    assert [Path(one).name for one in again.config] == ["debug", file.name]


def test_the_machine_of_a_mode_has_what_it_needs() -> None:
    needs = Needs(3000, 5, {"kasan_multi_shot": "why"}, {"KSFT_MACHINE_SLOW": "yes"})
    for name, row in MACHINES.items():
        machine = Mode(name, "", needs=needs).machine
        assert machine.memory_mb == 3000 and machine.time_factor == 5 * row.time_factor
        assert machine.cmdline.split() == [*row.cmdline.split(), "kasan_multi_shot"]
        assert vm.limit_s(SCRIPT, Mode(name, "", needs=needs)) == 5 * vm.limit_s(
            SCRIPT, Mode(name, "")
        )


def test_its_guests_have_the_memory_and_the_environment(workspace: Workspace) -> None:
    needs = Needs(3000, 5, {"kasan_multi_shot": "why"}, {"KSFT_MACHINE_SLOW": "yes"})
    mode = Mode("virtual", "", needs=needs)
    words = vm.vng_argv(Path("/k"), Path("/i"), mode, "", Path("/f"), Path("/f/root"))
    assert words[words.index("--memory") + 1] == "3000M"
    assert vm.kernel_parameters(workspace, mode).split()[-1] == "kasan_multi_shot"
    assert "env KSFT_MACHINE_SLOW=yes\n" in vm.job_text(SCRIPT, "", mode)
    assert "KSFT_MACHINE_SLOW" not in vm.job_text(SCRIPT, "", Mode("virtual", ""))
    # What KASAN keeps back would be counted as held; kmemleak finds the leaks.
    assert "settle_s" not in vm.job_text(SCRIPT, "", mode)
