# SPDX-License-Identifier: GPL-2.0-only
"""MPTCP's selftests: tools/testing/selftests/net/mptcp."""

import re

from ci.suites.collection import Collection, Row
from ci.suites.kunit import KernelTests
from ci.suites.mptcp_lines import LiveReader

SMOKE = (Row("userspace_pm.sh"), Row("mptcp_join.sh", "deny_join_id0_tests"))
# MPTCP's own settings file allows 1800 s; only these programs may take it.
LONG_S = 1800
LONG = ("mptcp_connect", "mptcp_join", "simult_flows")
# Seen on 6.12.117 in virtual time. A script that is named with its cases fails where one of them
# does.
DISCONNECT = (
    "mptcp_connect's client disconnects as soon as it has read all: a server that has not read the"
    " end yet gets a reset instead. On one virtual CPU it may have had no turn since; the tests"
    " that follow are then not run"
)
BALANCE = (
    "simult_flows compares transfer times with a limit of its own; the script itself marks this one"
    " as flaky"
)
# What allnoconfig leaves out although its default is yes, and the tests' own symbol.
KUNIT_SYMBOLS = """\
CONFIG_KUNIT=y  # what runs the tests, as the kernel boots
CONFIG_KUNIT_DEFAULT_ENABLED=y  # [where known] without it they are compiled and not run, since 6.1
CONFIG_KUNIT_AUTORUN_ENABLED=y  # [where known] likewise, since 6.14
CONFIG_MPTCP_KUNIT_TEST=y  # [where known] the tests
CONFIG_MPTCP_KUNIT_TESTS=y  # [where known] their name in older trees
"""
COLLECTION = Collection(
    name="mptcp",
    target="net/mptcp",
    configs=("tools/testing/selftests/net/mptcp/config",),
    reader=LiveReader,
    kunit=KernelTests(
        symbols=KUNIT_SYMBOLS,
        kconfig="net/mptcp/Kconfig",
        entry="config MPTCP_KUNIT_TEST",
        sources="net/mptcp/*_test.c",
    ),
    probe="mptcp",
    features="SELFTESTS_MPTCP_LIB_EXPECT_ALL_FEATURES",
    # Since v6.6 its library has the function.
    tap=("mptcp_lib.sh", "mptcp_lib_result_print_all_tap"),
    # mptcp_join.sh lists its groups with the letter that selects each: "f@subflows_tests"; 5.10's
    # lists none.
    groups={"mptcp_join.sh": re.compile(r"^all_tests_sorted=\(\n([^)]*)^\)", re.M)},
    limits=tuple((prefix, LONG_S) for prefix in LONG),
    tables={
        "smoke": SMOKE,
        "default": (*SMOKE, Row("pm_netlink.sh"), Row("mptcp_sockopt.sh"), Row("diag.sh")),
    },
    known=(
        ("mptcp_connect*", "full disconnect: *", DISCONNECT),
        ("mptcp_connect*", "mptcp_connect*", DISCONNECT),
        ("simult_flows", "unbalanced bwidth*", BALANCE),
    ),
)
