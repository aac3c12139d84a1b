# SPDX-License-Identifier: GPL-2.0-only
"""Kernels that hide what they do wrong, in real guests. One kernel has all of it: a number that the
script writes into a file chooses the attack (``tests/attacks.c``)."""

import functools
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ci.base.progress import Progress
from ci.base.sides import Side
from ci.base.workspace import Workspace
from ci.guest import vm
from ci.guest.modes import Mode
from ci.kernel import build
from ci.kernel.build import Kernel
from ci.logs.ending import LOGS
from ci.report import stored
from ci.report.record import GuestRow
from ci.series.patches import load_series
from ci.suites.mptcp import COLLECTION
from ci.trees.tree import derive_trees
from ci.verdict.evidence import Evidence, Guest, ScriptRun
from ci.verdict.judge import Verdict, decide
from tests.commands.test_tasks import Done
from tests.conftest import ROOT
from tests.guest.test_guests import SOURCE, inv, patch, shipped, verdict
from tests.guest.test_virtual import with_script

pytestmark = pytest.mark.guest
__all__ = ["inv"]
# Where the kernel calls the attacks: (file, old text, new text).
SOCKET = "\tint ret;\n\n\t__mptcp_init_sock(sk);\n"
PACKET = "\tint sk_rbuf, ssk_rbuf;\n\n"
HOOKS = (
    (
        "net/mptcp/protocol.c",
        SOCKET,
        f"\textern void attack_socket(struct sock *sk);\n{SOCKET}\tattack_socket(sk);\n",
    ),
    (
        "net/mptcp/protocol.c",
        PACKET,
        f"\textern void attack_packet(void);\n{PACKET}\tattack_packet();\n",
    ),
)
END = 'early_param("panic_on_taint", panic_on_taint_setup);\n'
SLOW = 16
# It chooses the attack, makes a few connections, and passes.
SCRIPT = """
[[ -e /sys/module/panic/parameters/attack ]] && echo "$1" >/sys/module/panic/parameters/attack
ip netns add spare
ip -n spare link set lo up
for port in {10001..10010}; do
	ip netns exec spare ./mptcp_connect -t 20 -l -p $port 127.0.0.1 </dev/null >/dev/null &
	sleep 0.2
	head -c 100000 /dev/zero | ip netns exec spare ./mptcp_connect -t 20 -p $port 127.0.0.1
	wait
done >/dev/null
ip netns del spare
echo ok 1 - all connections were made
"""


def attack_series(folder: Path) -> Path:
    """The attacks as a series on the kernel as it comes."""
    code = (ROOT / "tests/attacks.c").read_text(encoding="utf-8")
    patch(folder, "panic: attacks", "kernel/panic.c", END, END + code)
    for number, (file, old, new) in enumerate(HOOKS, 2):
        patch(folder, "mptcp: a hook", file, old, new, number=number)
    return folder / "series"


@functools.cache
def kernels() -> dict[Side, Kernel]:
    """The kernel as it comes, and the one with the attacks."""
    found, _, workspace = shipped()
    with tempfile.TemporaryDirectory() as folder:
        loaded = load_series(attack_series(Path(folder)))
        trees = derive_trees(loaded, found, frozenset())
    tools, log = build.find_toolchain(), Path("/dev/null")
    return {
        side: build.build_kernel(tree, workspace, tools, COLLECTION, Progress(), log)
        for side, tree in ((Side.BASE, trees.base), (Side.PATCHED, trees.patched))
    }


@pytest.fixture(scope="module")
def judge(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Verdict]:
    """What becomes of an attack, by its number, in one guest for each kernel. One that has to be on
    when the probe runs is chosen on the kernel's command line."""
    made = with_script(tmp_path_factory.mktemp("image"), SCRIPT)
    early = Workspace(tmp_path_factory.mktemp("early"), Path(), Path())
    shutil.copytree(ROOT / "images", early.root / "images")
    with (early.root / "images/cmdline").open("a", encoding="utf-8") as words:
        words.write(f"panic.attack={SLOW}\n")

    @functools.cache
    def run(side: Side, attack: int) -> Guest:
        script = replace(COLLECTION.script("extra.sh"), args=(str(attack),), limit_s=120)
        mode, folder = Mode("virtual", ""), tmp_path_factory.mktemp("run") / "guest"
        workspace = early if attack == SLOW else shipped()[2]
        ran = vm.run_guest(kernels()[side], made, script, mode, workspace, folder)
        row = GuestRow(side, "extra", "extra", 1, 1, False, "guest", ran.end, False, {})
        return stored.parse_guest(row, COLLECTION, {name: ran.log(name) for name in LOGS})

    def decided(attack: int) -> Verdict:
        pair = ScriptRun("extra", run(Side.BASE, 0), run(Side.PATCHED, attack))
        evidence = Evidence("x", "", runs=(pair,), max_slowdown=COLLECTION.max_slowdown)
        return decide(evidence)

    return decided


@pytest.mark.parametrize(
    ("attack", "said"),
    [
        (1, "kernel: warning kernel/panic.c set_attack"),
        (2, "extra: log complete passes on base and fails on patched"),
        (3, "extra: warnings shown passes on base and fails on patched: patched: 1 warnings count"),
        (4, "kernel: taint B (bad page) passes on base and fails on patched"),
        (5, "patched: the guest powered off before its script was done"),
        (6, "patched: the guest was reset"),
        pytest.param(7, "patched: the guest was reset", marks=pytest.mark.long),
        pytest.param(8, "patched: the guest was reset", marks=pytest.mark.long),
        (10, "objects of kmalloc-64 are not freed"),
        pytest.param(11, "objects of kmalloc-2k are not freed", marks=pytest.mark.long),
        (12, "pages that nothing counts are not freed"),
        (13, "objects of MPTCP are not freed"),
        pytest.param(14, "are not freed", marks=pytest.mark.long),
        (SLOW, "extra: CPU time of the probe passes on base and fails on patched"),
    ],
)
def test_what_a_kernel_hides_rejects(
    attack: int, said: str, judge: Callable[[int], Verdict]
) -> None:
    judged = judge(attack)
    assert judged.exit_code == 1
    assert any(said in reason for reason in judged.reasons), judged.reasons


@pytest.mark.parametrize("harmless", [0, 20, 21])
def test_what_does_no_harm_is_accepted(harmless: int, judge: Callable[[int], Verdict]) -> None:
    judged = judge(harmless)
    assert (judged.exit_code, judged.reasons) == (0, ())


def test_what_fails_under_half_of_the_seeds_rejects(
    inv: Callable[..., Done], project: Path, tmp_path: Path
) -> None:
    """A kernel that ignores the flag in half of its lives. Of eight first seeds one shows it, but
    for one kernel in 256; then it has to be seen to pass, too, or it is a regression."""
    flag = "mptcp_get_pernet(net)->allow_join_initial_addr_port"
    new = "\tstatic u32 coin;\n\n\tget_random_once(&coin, sizeof(coin));\n"
    new += f"\treturn (coin & 1) || {flag};\n"
    made = patch(tmp_path, "mptcp: chance", "net/mptcp/ctrl.c", f"\treturn {flag};\n", new)
    words = ("--source", SOURCE, "--series", str(made), "--suite", "mptcp_join:d")
    codes = (inv("validate", *words, "--seed", str(seed)).returncode for seed in range(1, 64, 8))
    assert next(code for code in codes if code) == 1
    changes = {case["change"] for case in verdict(project)["cases"]}
    assert changes & {"newly-flaky", "regressed"}
