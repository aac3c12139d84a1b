# SPDX-License-Identifier: GPL-2.0-only
"""--config on real kernels: what only a debug kernel sees, and a fragment that is lost."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands.test_tasks import Done
from tests.guest.test_guests import JOIN, SOURCE, inv, patch, verdict

pytestmark = pytest.mark.guest
__all__ = ["inv"]
SUITE = "mptcp_join:d"
# Of all kernels, only one that watches itself says a word of these. The first report of KASAN ends
# lockdep, so the lock comes first: where a socket is made, and the others where it is connected to.
LOCK = """\tstatic DECLARE_RWSEM(twice);

\tdown_read(&twice);
\tdown_read(&twice);
\tup_read(&twice);
\tup_read(&twice);
"""
REQUEST = """\tchar *gone = kmalloc(8, GFP_KERNEL);

\tkmalloc(72, GFP_ATOMIC);
\tkfree(gone);
\tOPTIMIZER_HIDE_VAR(gone);
\tWRITE_ONCE(subflow_req->backup, READ_ONCE(*gone) == 1);
"""
KINDS = {
    "lock taken twice": "possible recursive locking detected",
    "sleep where nothing may": "sleeping function called from invalid context",
    "use after free": "KASAN: slab-use-after-free",
    "leak": "unreferenced object",
}


def test_what_only_a_debug_kernel_sees_rejects_with_its_kind(
    inv: Callable[..., Done], project: Path, tmp_path: Path
) -> None:
    old = "\tif (unlikely(!net->mib.mptcp_statistics)"
    made = patch(tmp_path, "mptcp: lock", "net/mptcp/protocol.c", old, LOCK + old)
    old = "\tsubflow_req->msk = NULL;\n"
    made = patch(tmp_path, "mptcp: memory", JOIN, old, old + REQUEST, number=2)
    words = ("--source", SOURCE, "--series", str(made), "--suite", SUITE, "--config", "debug")
    done = inv("validate", *words)
    assert done.returncode == 1 and done.stdout.startswith("rejected (exit 1)")
    folder = (project / "results/latest").resolve()
    failed = [case for case in verdict(project)["cases"] if case["change"] == "new-failure"]
    said = "\n".join(f"{case['name']}\n{case['detail']}" for case in failed)
    assert {kind for kind, title in KINDS.items() if title in said} == set(KINDS), said
    # Base, the same kernel without the patches, says nothing.
    base = (folder / "base/mptcp_join-d/kernel.log").read_text(encoding="utf-8")
    assert not any(title in base for title in KINDS.values())
    # The transfers themselves work: they are those of the normal kernel, in the time of this one.
    cases = {
        (one.attrib["classname"], one.attrib["name"])
        for one in ET.parse(folder / "junit.xml").getroot().iter("testcase")
    }
    assert {name for name, _ in cases if name.endswith("mptcp_join")} == {"v6.12.debug.mptcp_join"}
    facts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert facts["config"] == "debug" and "--config debug" in facts["replay"]


def test_a_symbol_of_a_file_that_is_lost_is_told_with_its_line_and_what_it_needs(
    inv: Callable[..., Done], project: Path, tmp_path: Path
) -> None:
    (file := tmp_path / "tags.config").write_text(
        "CONFIG_KASAN=y\nCONFIG_KASAN_SW_TAGS=y  # on x86\n", encoding="utf-8"
    )
    done = inv("build", "--source", SOURCE, "--config", str(file))
    assert done.returncode == 3 and "base does not build" in done.stderr
    assert f"CONFIG_KASAN_SW_TAGS=y (asked for at {file}:2) became unset" in done.stderr
    assert "depends on lib/Kconfig.kasan" in done.stderr
