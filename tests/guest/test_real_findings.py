# SPDX-License-Identifier: GPL-2.0-only
"""ci.commands.findings on a real kernel, with its own scripts, gcc and sparse: what is new with a
patch is told, what was there before is not."""

from collections import defaultdict
from pathlib import Path

import pytest

from ci.base.progress import Progress
from ci.commands.findings import find_findings
from ci.kernel import build, extra_warnings, tree_scripts
from ci.kernel.configuration import NORMAL
from ci.series.patches import load_series
from ci.suites.mptcp import COLLECTION
from ci.trees.tree import derive_trees
from ci.verdict.patch_findings import PatchFinding
from tests.guest.test_guests import patch, shipped

pytestmark = pytest.mark.guest
FILE = "net/mptcp/pm_kernel.c"
SPEC = "Documentation/netlink/specs/mptcp_pm.yaml"
HEADER = "include/uapi/linux/mptcp_pm.h"
OLD = "\nstatic int pm_nl_pernet_id;\n"
NEW = f"""{OLD}static const int never_used = 1;

int not_static(__be16 port)
{{
	int trailing = port;{"  "}

	return trailing;
}}
"""


def found_of(folder: Path) -> tuple[PatchFinding, ...]:
    """What is found of the patch in a series, on the kernel as it comes."""
    source, _, workspace = shipped()
    series = load_series(folder)
    with workspace.lock(f"trees-{source.slot.name}", stage="apply"):
        trees = derive_trees(series, source, frozenset())
    log = folder.parent / "build.log"
    words = (workspace, build.find_toolchain(), COLLECTION, NORMAL, Progress(), log)
    (one,) = series.patches
    found, unasked = find_findings(one, trees.base, trees.patched, trees.shipped, *words)
    assert unasked == ()
    return found


def test_warnings_and_bad_style_are_found_and_then_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    series = patch(tmp_path, "mptcp: pm: add what nobody wants", FILE, OLD, NEW)
    found = found_of(series)
    texts: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in found:
        texts[one.kind, one.file].append(one.text)
    assert [text.rpartition("[")[2] for text in texts["warning", FILE]] == [
        "-Wunused-const-variable=]",
        "-Wmissing-prototypes]",
    ]
    assert any("TRAILING_WHITESPACE" in text for text in texts["checkpatch", FILE])
    assert any("MISSING_SIGN_OFF" in text for text in texts["checkpatch", ""])
    # base has a context imbalance twice, which is not new.
    checked = [text.split(" (")[0].split(" was")[0] for text in texts["sparse", FILE]]
    told = ["symbol 'not_static'", "incorrect type in initializer"]
    assert checked == (told if extra_warnings.sparse_version() else [])
    for module, name in ((extra_warnings, "ask_tools"), (tree_scripts, "check_patch")):
        monkeypatch.setattr(module, name, None)
    assert found_of(series) == found


def test_a_spec_without_its_header_is_found(tmp_path: Path) -> None:
    series = patch(tmp_path, "mptcp: a spec alone", SPEC, "name: established", "name: set-up")
    (found,) = [one for one in found_of(series) if one.kind == "netlink spec"]
    assert (found.file, found.line > 0) == (HEADER, True) and "SET_UP" in found.text
