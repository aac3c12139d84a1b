# SPDX-License-Identifier: GPL-2.0-only
"""--config on real kernels: what only a debug kernel sees, the same in each run, and a fragment's
symbol that is lost."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ci.base import settings
from ci.base.progress import Progress
from ci.base.sides import SIDES
from ci.base.workspace import Workspace
from ci.guest import pool
from ci.guest.modes import Mode
from ci.guest.run_cache import Job
from ci.guest.vm import GuestRun
from ci.kernel import build
from ci.kernel.configuration import read_configuration
from ci.logs import splats
from ci.logs.ending import LOGS, Ended
from ci.report import stored
from ci.report.record import GuestRow
from ci.series.patches import load_series
from ci.suites.mptcp import COLLECTION
from ci.trees.tree import derive_trees
from ci.verdict.evidence import Evidence, Guest, ScriptRun
from ci.verdict.judge import Verdict, decide
from tests.commands.test_tasks import Done
from tests.conftest import ROOT
from tests.guest.test_guests import JOIN, SOURCE, inv, patch, shipped
from tests.guest.test_virtual import with_script

pytestmark = [pytest.mark.guest, pytest.mark.long]
__all__ = ["inv"]
# A guest's script and its kernel cost a minute of CPU: so one kernel has all the faults, and the
# script makes three connections and ends.
CONNECTIONS = """\
for port in 10001 10002 10003; do
	head -c 100 /dev/zero | ./mptcp_connect -l -p $port -t 5 127.0.0.1 >/dev/null &
	sleep 1
	head -c 100 /dev/zero | ./mptcp_connect -p $port -t 5 127.0.0.1 >/dev/null || exit 1
	wait
done
echo ok 1 - all connections were made
"""
# The first report of KASAN ends lockdep, so the lock comes first: where a socket is made, and the
# others where it is connected to.
LOCK = """\tstatic DECLARE_RWSEM(twice);

\tdown_read(&twice);
\tdown_read(&twice);
\tup_read(&twice);
\tup_read(&twice);
"""
MEMORY = """\tchar *gone = kmalloc(8, GFP_KERNEL);

\tkmalloc(72, GFP_ATOMIC);
\tkfree(gone);
\tOPTIMIZER_HIDE_VAR(gone);
\tsubflow_req->backup = READ_ONCE(*gone) == 1;
"""
KINDS = {
    "lockdep": "possible recursive locking detected",
    "atomic": "sleeping function called from invalid context",
    "kasan": "KASAN: slab-use-after-free",
    "kmemleak": "unreferenced object",
}


@pytest.fixture(scope="module")
def guests(tmp_path_factory: pytest.TempPathFactory) -> list[GuestRun]:
    """The script on a debug kernel, and twice on one with a lock that is taken twice, a sleep where
    nothing may, memory that is used when it is freed, and memory that nobody frees."""
    folder = tmp_path_factory.mktemp("debug")
    old = "\tif (!mptcp_is_enabled(net))\n\t\treturn -ENOPROTOOPT;\n\n\tif (unlikely(!net->mib"
    patch(folder, "mptcp: lock", "net/mptcp/protocol.c", old, LOCK + old)
    old = "\tsubflow_req->msk = NULL;\n"
    made = patch(folder, "mptcp: memory", JOIN, old, old + MEMORY, number=2)
    (found, _, workspace), tools = shipped(), build.find_toolchain()
    config = read_configuration(settings.make_settings(ROOT, config="debug").config, workspace)
    trees = derive_trees(load_series(made), found, frozenset())
    kernels = [
        build.build_kernel(tree, workspace, tools, COLLECTION, Progress(), folder / "log", config)
        for tree in (trees.base, trees.patched)
    ]
    image, script = with_script(folder, CONNECTIONS), COLLECTION.script("extra.sh")
    mode = Mode("virtual", "", needs=config.needs)
    jobs = [
        Job(name, kernels[name != "base"], image, script, mode, folder / name)
        for name in ("base", "one", "again")
    ]
    return pool.run_jobs(jobs, Workspace(ROOT, folder / "cache", folder), Progress(), again=True)


def test_each_fault_is_told_by_its_kind(guests: list[GuestRun]) -> None:
    base, one, _ = guests
    for run in (base, one):
        assert (run.end.ended, run.end.exit_status) == (Ended.FINISHED, 0), run.log("tests")
    assert splats.scan_console(base.log("kernel")) == ()
    told = {splat.kind: splat.excerpt for splat in splats.scan_console(one.log("kernel"))}
    assert {kind for kind, title in KINDS.items() if title in told.get(kind, "")} == set(KINDS)
    leaks = one.log("kernel").count("unreferenced object")
    assert leaks >= 2 and "subflow_init_req" in told["kmemleak"]


def test_each_fault_rejects_by_itself(guests: list[GuestRun]) -> None:
    """The verdict of two runs, and the same with only one of the complaints."""

    def judge(patched: Guest) -> Verdict:
        return decide(Evidence("x", "", runs=(ScriptRun("extra", shown[0], patched),)))

    shown = []
    for side, run in zip(SIDES, guests[:2], strict=True):
        row = GuestRow(side, "extra", "extra", 1, 1, False, "guest", run.end, False, {})
        logs = {name: run.log(name) for name in LOGS}
        shown.append(stored.parse_guest(row, COLLECTION, logs))
    assert judge(shown[0]).exit_code == 0
    for kind in KINDS:
        (splat, *_) = (one for one in shown[1].splats if one.kind == kind)
        judged = judge(replace(shown[1], splats=(splat,)))
        assert judged.exit_code == 1
        assert any(reason.startswith(f"kernel: {kind} ") for reason in judged.reasons), kind


def test_two_runs_are_the_same_byte_for_byte(guests: list[GuestRun]) -> None:
    _, one, again = guests
    assert [one.log(log) for log in LOGS] == [again.log(log) for log in LOGS]


def test_a_symbol_of_a_file_that_is_lost_is_told_with_its_line_and_what_it_needs(
    inv: Callable[..., Done], tmp_path: Path
) -> None:
    (file := tmp_path / "tags.config").write_text(
        "CONFIG_KASAN=y\nCONFIG_KASAN_SW_TAGS=y  # of other machines\n", encoding="utf-8"
    )
    done = inv("build", "--source", SOURCE, "--config", str(file))
    assert done.returncode == 3 and "base does not build" in done.stderr
    assert f"CONFIG_KASAN_SW_TAGS=y (asked for at {file}:2) became unset" in done.stderr
    assert "depends on lib/Kconfig.kasan" in done.stderr
