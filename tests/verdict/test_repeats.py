# SPDX-License-Identifier: GPL-2.0-only
"""ci.verdict.repeats: where two logs part, and what many seeds say of a case."""

from ci.logs.outcome import State
from ci.verdict.repeats import Tally, first_difference, log_digest, seed_words, tally_states

LOG = "[    0.000000] Linux\n[    1.500000][  T1] one\nno stamp\n"


def test_the_same_is_no_difference() -> None:
    assert first_difference("kernel.log", LOG, LOG) is None
    assert (
        log_digest(LOG) == log_digest(LOG) != log_digest(LOG + " ") and len(log_digest(LOG)) == 16
    )


def test_the_first_line_that_differs_with_its_time() -> None:
    found = first_difference("kernel.log", LOG, LOG.replace("one", "two"))
    assert found and (found.line, found.stamp_s) == (2, 1.5)
    assert (
        str(found)
        == "kernel.log, line 2, at 1.500000 s:\n  one:   [    1.500000][  T1] one\n  other: [   "
        " 1.500000][  T1] two"
    )
    later = first_difference("kernel.log", LOG, LOG.replace("no stamp", "any stamp"))
    assert later and (later.line, later.stamp_s) == (3, 1.5)


def test_a_log_that_ends_early_or_differs_in_its_line_ends() -> None:
    cut = first_difference("t", "a\nb\n", "a\n")
    assert cut and (cut.line, cut.one, cut.other, cut.stamp_s) == (2, "b", "", None)
    assert first_difference("t", "a\n", "a") is not None


def test_a_tally() -> None:
    p, f, s, m = State.PASS, State.FAIL, State.SKIP, State.MISSING
    rows = tally_states(
        {
            1: {("s", "good"): p, ("s", "bad"): f, ("s", "odd"): p},
            2: {("s", "good"): p, ("s", "bad"): f, ("s", "odd"): f, ("s", "new"): p},
            3: {("s", "good"): p, ("s", "bad"): s, ("s", "odd"): p, ("s", "new"): p},
        }
    )
    assert rows == (
        Tally("s", "good", 3, 3, ()),
        Tally("s", "bad", 0, 3, ((1, f), (2, f), (3, s))),
        Tally("s", "odd", 2, 3, ((2, f),)),
        Tally("s", "new", 2, 3, ((1, m),)),
    )
    assert [row.flaky for row in rows] == [False, True, True, True]
    assert not Tally("s", "never", 0, 2, ((1, f), (2, f))).flaky
    assert seed_words(rows[1].others) == "1 (fail), 2 (fail), 3 (skip)"
