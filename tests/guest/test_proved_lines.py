# SPDX-License-Identifier: GPL-2.0-only
"""`inv prove` on a real kernel: lines that nothing runs, that nothing guards or that are not
compiled, and a series that does not build at each of its patches."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.commands.test_tasks import Done
from tests.guest.test_guests import JOIN, SOURCE, inv, patch

pytestmark = pytest.mark.guest
__all__ = ["inv"]
SUITE = "mptcp_sockopt"
# Where a request for a connection is made, a socket gets its ulp, and its state changes.
REQUEST, ULP, STATE = (
    "\tsubflow_req->msk = NULL;\n",
    "\ttp->is_mptcp = 1;\n\tctx->icsk_af_ops = icsk",
    "\t__subflow_state_change(sk);\n\n\t/* Rx queue",
)
DEAD = "\tif (unlikely(READ_ONCE(sk_listener->sk_mark) == 77))\n\t\tsubflow_req->backup = 1;\n"
FREE = "\t/* nothing needs it */\n\t(void)ktime_get();\n"
OFF = "#ifdef CONFIG_IP_DCCP\n\tWRITE_ONCE(sk->sk_err, EIO);\n#endif\n"


def proved(inv: Callable[..., Done], project: Path, series: Path) -> tuple[int, dict[str, Any]]:
    done = inv("prove", "--source", SOURCE, "--series", str(series), "--suite", SUITE)
    file = project / "results/latest/proof.json"
    return done.returncode, json.loads(file.read_text(encoding="utf-8"))


def words(patch_facts: dict[str, Any]) -> dict[str, tuple[str, str, str]]:
    """Each changed line's word, case or scripts, and reason."""
    return {
        one["text"].strip(): (one["word"], one["by"], one["why"]) for one in patch_facts["lines"]
    }


def test_each_line_has_the_word_that_holds(
    inv: Callable[..., Done], project: Path, tmp_path: Path
) -> None:
    patch(tmp_path, "mptcp: a dead line", JOIN, REQUEST, REQUEST + DEAD)
    patch(tmp_path, "mptcp: one that nothing guards", JOIN, ULP, FREE + ULP, number=2)
    series = patch(tmp_path, "mptcp: one that is off", JOIN, STATE, OFF + STATE, number=3)
    code, facts = proved(inv, project, series)
    dead, free, off = (words(one) for one in facts["patches"])
    assert code == 0
    assert dead == {
        "if (unlikely(READ_ONCE(sk_listener->sk_mark) == 77))": ("executed", SUITE, ""),
        "subflow_req->backup = 1;": ("compiled", "", ""),
    }
    assert free == {
        "/* nothing needs it */": ("not code", "", ""),
        "(void)ktime_get();": ("executed", SUITE, ""),
    }
    reason = "#ifdef CONFIG_IP_DCCP"
    assert off["WRITE_ONCE(sk->sk_err, EIO);"] == ("not compiled", "", reason)
    assert [one["noticed"] for one in facts["patches"]] == [[], [], []]
    again, same = proved(inv, project, series)
    assert (again, same) == (0, facts)


def test_a_series_that_cannot_be_bisected_is_rejected(
    inv: Callable[..., Done], project: Path, tmp_path: Path
) -> None:
    """The second patch needs what the third brings."""
    call = "\tmptcp_watch(sk);\n\n" + STATE
    patch(tmp_path, "mptcp: first", JOIN, ULP, FREE + ULP)
    patch(tmp_path, "mptcp: second", JOIN, STATE, call, number=2)
    pm = '#define pr_fmt(fmt) "MPTCP: " fmt\n'
    define = "#define mptcp_watch(sk) WRITE_ONCE((sk)->sk_err, READ_ONCE((sk)->sk_err))\n"
    series = patch(tmp_path, "mptcp: third", JOIN, pm, pm + define, number=3)
    code, facts = proved(inv, project, series)
    steps = [one["step"] for one in facts["patches"]]
    assert code == 2 and steps[0] == steps[2] == ""
    assert "it does not build" in steps[1] and "mptcp_watch" in steps[1]
