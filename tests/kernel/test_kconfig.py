# SPDX-License-Identifier: GPL-2.0-only
"""ci.kernel.kconfig: fragments read, merged, and compared with what a configuration became."""

import pytest

from ci.base.errors import StageError
from ci.kernel import kconfig
from ci.kernel.kconfig import Definitions

FRAGMENT = """
# why there is a fragment
CONFIG_NET=y  # everything
CONFIG_LOG=17  # 128 KB
CONFIG_CMD="a \\"b\\" # c"  # a string
# CONFIG_PCI is not set
CONFIG_MOD=m
CONFIG_NEW=y  # [where known] since 6.16
"""
KCONFIG = """
menu "Networking"
	depends on HAVE_NET

config NET
	bool "Networking"

if NET
menuconfig MPTCP
	bool "MPTCP"
	depends on INET
	depends on !OLD

config PLAIN
	bool
endif

config OUTSIDE
	bool
endmenu

config FREE
	bool
"""


def final(text: str) -> dict[str, str]:
    return dict(kconfig.parse_config(text))


def lost(asked: str, config: str, kconfig_text: str = KCONFIG) -> list[str]:
    merged = kconfig.merge_fragments([kconfig.parse_fragment(asked, "a.config")])
    short = kconfig.find_short(merged, final(config))
    return [
        str(row)
        for row in kconfig.find_lost(
            short, final(config), Definitions({"net/Kconfig": kconfig_text})
        )
    ]


def test_a_fragment() -> None:
    read = kconfig.parse_fragment(FRAGMENT, "f")
    assert [(a.symbol, a.value, a.where, a.reason) for a in read.symbols] == [
        ("CONFIG_NET", "y", "f:3", "everything"),
        ("CONFIG_LOG", "17", "f:4", "128 KB"),
        ("CONFIG_CMD", '"a \\"b\\" # c"', "f:5", "a string"),
        ("CONFIG_PCI", "n", "f:6", ""),
        ("CONFIG_MOD", "m", "f:7", ""),
        ("CONFIG_NEW", "y", "f:8", "[where known] since 6.16"),
    ]
    assert read.symbols[-1].may_be_unknown and not read.symbols[0].may_be_unknown


@pytest.mark.parametrize("line", ["NET=y", "CONFIG_NET", "CONFIG_NET=", "CONFIG_NET=y really"])
def test_a_line_that_is_no_assignment_is_named(line: str) -> None:
    with pytest.raises(StageError, match="f:2"):
        kconfig.parse_fragment(f"CONFIG_A=y\n{line}\n", "f")


def test_two_answers_for_one_symbol_are_an_error() -> None:
    with pytest.raises(StageError, match=r"f:2.*already asked for at f:1"):
        kconfig.parse_fragment("CONFIG_A=y\n# CONFIG_A is not set\n", "f")
    assert len(kconfig.parse_fragment("CONFIG_A=y\nCONFIG_A=y\n", "f").symbols) == 1


def test_a_later_fragment_wins_and_modules_are_built_in() -> None:
    ours = kconfig.parse_fragment("CONFIG_A=y\nCONFIG_B=7\n", "ours")
    theirs = kconfig.parse_fragment("# CONFIG_A is not set\nCONFIG_C=m\n", "theirs")
    assert (
        kconfig.merge_fragments([ours, theirs]).text()
        == "# CONFIG_A is not set\nCONFIG_B=7\nCONFIG_C=y\n"
    )


def test_nothing_is_lost() -> None:
    assert lost("CONFIG_NET=y\n# CONFIG_X is not set\n", "CONFIG_NET=y\nCONFIG_Z=y\n") == []


def test_what_is_lost_is_told_with_what_it_depends_on() -> None:
    (row,) = lost("CONFIG_MPTCP=y", "CONFIG_NET=y")
    assert "CONFIG_MPTCP=y (asked for at a.config:1) became unset" in row
    assert row.splitlines()[1:] == [
        "    depends on net/Kconfig:3: HAVE_NET",
        "    depends on net/Kconfig:8: NET",
        "    depends on net/Kconfig:11: INET",
        "    depends on net/Kconfig:12: !OLD",
    ]
    (row,) = lost("CONFIG_OUTSIDE=y", "")
    assert row.splitlines()[1:] == ["    depends on net/Kconfig:3: HAVE_NET"]
    (row,) = lost("CONFIG_FREE=y", "CONFIG_FREE=m")
    assert "became m: nothing it depends on is named" in row


def test_a_symbol_that_should_be_off_and_is_on() -> None:
    (row,) = lost("# CONFIG_FREE is not set", "CONFIG_FREE=y")
    assert "CONFIG_FREE=n" in row and "became y" in row


def test_a_symbol_that_the_tree_does_not_define() -> None:
    (row,) = lost("CONFIG_GONE=y", "")
    assert "does not define it" in row
    assert lost("CONFIG_GONE=y  # [where known] since 6.16", "") == []
    assert len(lost("CONFIG_MPTCP=y  # [where known] always", "")) == 1
