# SPDX-License-Identifier: GPL-2.0-only
"""The project's own series on the lines that it was made for: taken out of what shipped, put on
what was there before.

``data/default_series`` has the lines around its hunks, copied from trees of the kernel (GPL-2.0) as
they were (``was``) and as they came to be (``now``). Two have no real counterpart, as nobody made
that change there: ``was`` of ``*-7.3*``, and ``now`` of ``*-6.12.0*``.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from ci.base.progress import Progress
from ci.base.settings import Settings
from ci.series.patches import Series, load_series
from ci.trees import tree
from ci.trees.fetch import fetch_source
from ci.trees.tree import Trees, derive_trees
from tests.conftest import ROOT, commit, git

FOLDER = ROOT / "kernel-patches/deny-join-id0"
LINES = ROOT / "tests/data/default_series"
NETLINK, KERNEL = "net/mptcp/pm_netlink.c", "net/mptcp/pm_kernel.c"
SUBFLOW = "net/mptcp/subflow.c"
UAPI, UAPI_PM = "include/uapi/linux/mptcp.h", "include/uapi/linux/mptcp_pm.h"
SPEC = "Documentation/netlink/specs/mptcp_pm.yaml"
NL_CTL, USERSPACE, SOCKOPT = (
    f"tools/testing/selftests/net/mptcp/{name}"
    for name in ("pm_nl_ctl.c", "userspace_pm.sh", "mptcp_sockopt.c")
)
# File of a tree -> file of ``LINES``.
MAINLINE = {
    SUBFLOW: "subflow.c",
    UAPI: "mptcp.h",
    UAPI_PM: "mptcp_pm.h",
    SPEC: "mptcp_pm.yaml",
    NETLINK: "events.c",
    "net/mptcp/options.c": "options.c",
    NL_CTL: "pm_nl_ctl.c",
    USERSPACE: "userspace_pm",
    SOCKOPT: "mptcp_sockopt.c",
}
STABLE = MAINLINE | {SPEC: "mptcp_pm-6.12.yaml"}
MOVED = {KERNEL if name == NETLINK else name: lines for name, lines in STABLE.items()}
FIRST = STABLE | {SPEC: "mptcp_pm-6.12.0.yaml", UAPI_PM: "mptcp_pm-6.12.0.h"}
OLDER = {name: lines for name, lines in MAINLINE.items() if name not in (SPEC, UAPI_PM)}
STABLE_6_6 = OLDER | {UAPI: "mptcp-6.1.h", NETLINK: "events-6.1.c", USERSPACE: "userspace_pm-6.6"}
STABLE_6_1 = {
    SUBFLOW: "subflow-6.1.c",
    UAPI: "mptcp-6.1.h",
    NETLINK: "events-6.1.c",
    NL_CTL: "pm_nl_ctl.c",
    USERSPACE: "userspace_pm-6.1",
}
LATER = OLDER | {
    UAPI: "mptcp-7.3.h",
    NETLINK: "events-7.3.c",
    NL_CTL: "pm_nl_ctl-7.3.c",
    USERSPACE: "userspace_pm-7.3",
}
# What tells that a tree has what the patches fix, and is not in the lines around the hunks.
RECORDS, EVENTS, TFO = (
    {"net/mptcp/pm.c": "remote_deny_join_id0\n"},
    {"include/uapi/linux/netlink.h": "MPTCP_PM_CMD_SUBFLOW_CREATE\n"},
    {"net/mptcp/fastopen.c": "mptcp_fastopen\n"},
)
AS_IT_IS, BACKPORT, SPARED = "applies", "applies as backport", "not affected"
SECOND = (AS_IT_IS, BACKPORT, AS_IT_IS, AS_IT_IS, AS_IT_IS)
SECOND_AND_THIRD = (AS_IT_IS, BACKPORT, BACKPORT, AS_IT_IS, AS_IT_IS)
# Version -> its lines, what else it has, and what becomes of each patch.
TREES: Mapping[str, tuple[Mapping[str, str], Mapping[str, str], tuple[str, ...]]] = {
    "6.17.0": (MAINLINE, RECORDS | EVENTS | TFO, (AS_IT_IS,) * 5),
    "6.16.8": (STABLE, RECORDS | EVENTS | TFO, SECOND),
    "6.12.117": (MOVED, RECORDS | EVENTS | TFO, SECOND),
    "6.12.48": (STABLE, RECORDS | EVENTS | TFO, SECOND),
    "6.12.47": (FIRST, RECORDS | EVENTS | TFO, SECOND),
    "6.6.107": (STABLE_6_6, RECORDS | EVENTS | TFO, SECOND_AND_THIRD),
    "6.1.153": (STABLE_6_1, RECORDS | EVENTS, (BACKPORT, BACKPORT, BACKPORT, SPARED, SPARED)),
    "5.15.193": ({SUBFLOW: "subflow-5.15.c"}, RECORDS, (BACKPORT, SPARED, SPARED, SPARED, SPARED)),
    "7.3.4": (LATER, RECORDS | EVENTS | TFO, SECOND_AND_THIRD),
}


def read(when: str, lines: Mapping[str, str]) -> dict[str, str]:
    return {name: (LINES / when / file).read_text(encoding="utf-8") for name, file in lines.items()}


@pytest.fixture(scope="module")
def loaded() -> Series:
    return load_series(FOLDER)


@pytest.fixture
def derive(
    settings_for: Callable[..., Settings], tmp_path: Path, progress: Progress, loaded: Series
) -> Callable[..., Trees]:
    """The trees of the series on a repository of ``files``, which says that it is ``version``."""

    def made(version: str, files: Mapping[str, str]) -> Trees:
        kernel = tmp_path / "kernel"
        git(tmp_path, "init", "-q", "-b", "main", "kernel")
        names = ("VERSION", "PATCHLEVEL", "SUBLEVEL")
        numbers = "".join(
            f"{name} = {one}\n" for name, one in zip(names, version.split("."), strict=True)
        )
        commit(kernel, {**files, "Makefile": numbers, "Kconfig": ""}, f"v{version}")
        if USERSPACE in files:
            (kernel / USERSPACE).chmod(0o755)
            git(kernel, "commit", "-qam", "run it")
        wanted = settings_for(tree=str(kernel), series=str(FOLDER))
        return derive_trees(loaded, fetch_source(wanted, loaded, progress), frozenset())

    return made


def content(found: tree.Tree, lines: Mapping[str, str]) -> dict[str, str]:
    git = found.source.git
    return {name: git.run("show", f"{found.commit}:{name}").stdout for name in lines}


@pytest.mark.parametrize("version", TREES)
def test_taken_out_of_what_shipped(version: str, derive: Callable[..., Trees]) -> None:
    lines, rest, statuses = TREES[version]
    trees = derive(version, {**read("now", lines), **rest})
    expected = ["already there" if status != SPARED else SPARED for status in statuses]
    assert [state.words for state in trees.states] == expected and trees.conflict is None
    assert content(trees.base, lines) == read("was", lines)
    assert trees.patched.tree_id == trees.shipped.tree_id


@pytest.mark.parametrize("version", TREES)
def test_put_on_what_was_there(version: str, derive: Callable[..., Trees]) -> None:
    lines, rest, statuses = TREES[version]
    trees = derive(version, {**read("was", lines), **rest})
    assert [state.words for state in trees.states] == list(statuses) and trees.conflict is None
    assert trees.base.tree_id == trees.shipped.tree_id
    assert content(trees.patched, lines) == read("now", lines)


def test_later_trees_take_the_same() -> None:
    first, *later = (
        FOLDER / "backports" / version for version in ("6.18", "6.19", "7.0", "7.1", "7.2", "7.3")
    )
    for folder in later:
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
            path.name: path.read_bytes() for path in first.iterdir()
        }
