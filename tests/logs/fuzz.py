# SPDX-License-Identifier: GPL-2.0-only
"""Random texts for the readers of what scripts print:
``python -m tests.logs.fuzz READER SECONDS SEED``, where the reader is tap, mptcp or net. It ends
with status 1 at the first text that breaks a rule."""

import random
import re
import sys
import time
from collections.abc import Callable

from ci.logs import ktap
from ci.logs.ktap import LineReader, ScriptResult
from ci.logs.outcome import DETAIL_CHARS, MAX_CASES, MAX_NAME, State, clean_lines
from ci.suites import net
from ci.suites.mptcp_lines import LiveReader

BAD = (State.FAIL, State.ERROR)
SCRIPTS = ["mptcp_join", "mptcp_connect", "simult_flows", "mptcp_sockopt", "userspace_pm", "diag"]
# Lines that no reader takes for more than they are
NOISE = [
    "", "# note", "    # Subtest: x", "10 packets transmitted, 10 received", "MPTcpExtMPFailTx  1",
    "netns ns1-Xy socket stat for 10002:", "Trailing bytes are: ", "ok? ", "[  1.5] link up",
    "copyfd_io_poll: poll timed out (events: POLLIN 1, POLLOUT 0)", "x" * 3000, "\x00\x1b[1m",
    "\u202e", "[ Note ] fallback due to TCP OoO", "notok 1", "okay", "nok", "99 x [ OK ]",
    "INFO: Using loss of 0.1%", "State Recv-Q Send-Q", "(duration 9ms)", "99999 x", "[]", "[FA IL]",
    "Time: 90 seconds",
]  # fmt: skip
PIECES = [
    "ok ", "not ok ", "1", "2", "17", " - a", " # SKIP", " # TODO x", " # IGNORE Flaky", "#",
    "\\#", "1..2", "1..0 # SKIP", "TAP version 13", "KTAP version 1", "  ", "\t", "Bail out!",
    "\r", "\n", "\n", "[ OK ]", "[FAIL] why", "[ skip ]", "[IGNO] (flaky)", "[  ok  ]",
    "001 no JOIN", "02 title   ", "3 ", "syn", " client exit code 2, server 0",
    "1 failure(s) has(ve) been detected:", "\t- 2: name",
    "[ FAIL ] file received by client does not match",
    "ns1 MPTCP -> ns2 (10.0.1.2:10001   ) MPTCP", "balanced bwidth", "4711 max 5005",
    "INFO: disconnect", "PASS: x", "FAIL: x", "SKIP: x", "TEST: t ", "ok", "failed", "time=3ms",
    "ADD_ADDR id:67 10.0.2.2 (ns2) => ns1", "\x1b[31m", "\x1b]0;", "\x9b", "\ud800", "\xe9",
    "\u202e", " " * 50, "x" * 70, "[" * 9, "9" * 30, "FAIL - 3/40 cases failed",
]  # fmt: skip


def reader_of(kind: str, script: str) -> LineReader:
    return net.LineReader(script) if kind == "net" else LiveReader(script)


def parse(kind: str, script: str, text: str, status: int | None, *, tap: bool) -> ScriptResult:
    return ktap.parse_script(script, text, status, reader_of(kind, script), expect_tap=tap)


def count_bad(result: ScriptResult) -> int:
    return sum(case.state in BAD for case in result.cases)


def check_any(kind: str, random_: random.Random) -> None:
    """Any text: no exception, all is bounded, names are unique, and a failure is not a pass."""
    script = random_.choice(SCRIPTS)
    text = "".join(random_.choices(PIECES, k=random_.randint(0, 60)))
    status = random_.choice([None, 0, 0, 1, 2, 4, 139])
    tap = random_.random() < 0.5
    result = parse(kind, script, text, status, tap=tap)
    names = [result.own.name, *(case.name for case in result.cases)]
    assert len(set(names)) == len(names), text
    assert all(name and name.isprintable() and len(name) <= MAX_NAME + 8 for name in names), text
    assert all(len(case.detail) <= DETAIL_CHARS for case in (result.own, *result.cases)), text
    if result.own.state is State.PASS:
        assert status in (0, 2) and result.cases and not count_bad(result), text
    told = [line for line in clean_lines(text) if re.match(r"not ok\b(?!.*#)", line)]
    assert count_bad(result) >= len(told), text


def with_noise(lines: list[str], random_: random.Random) -> str:
    noisy = []
    for line in lines:
        noisy += [*random_.choices(NOISE, k=random_.choice([0, 0, 1, 3])), line]
    return "".join(f"{line}\n" for line in noisy)


def tap_lines(random_: random.Random) -> list[str]:
    count = random_.randint(1, 9)
    body = [
        f"{random_.choice(['ok', 'not ok'])} {number} - case {number}{random_.choice(TAILS)}"
        for number in range(1, count + 1)
    ]
    body.insert(random_.choice([0, count]), f"1..{count}")
    return ["TAP version 13", *body]


TAILS = ["", " # time=4ms", " # SKIP", " # TODO", " # IGNORE Flaky", " # XFAIL", " #471"]


def live_lines(random_: random.Random) -> list[str]:
    """mptcp_join's titles and checks of 6.1 or 6.12, or another script's, numbered or not."""
    lines = []
    kind = random_.choice(["old", "new", "numbered", "bare"])
    for number in range(1, random_.randint(2, 9)):
        good = random_.random() < 0.7
        if kind == "old":
            lines += [] if good else [" client exit code 2, server 0"]
            lines.append(f"{number:03d} {f'case {number}':36} syn[ ok ] - synack[ ok ]")
        elif kind == "new":
            mark = "[ OK ]" if good else "[FAIL] got 1"
            lines += [f"{number:03d} case {number}", f"{'':10}add addr rx{'':20}{mark}"]
        else:
            count = f"{number:02d} " if kind == "numbered" else ""
            lines.append(f"{count}case {number}{'':30}{'[ OK ]' if good else '[FAIL] x'}")
    return [random_.choice(["mptcp_join"]) if kind in ("old", "new") else "diag", *lines]


def net_lines(random_: random.Random) -> list[str]:
    lines = ["net"]
    for number in range(1, random_.randint(2, 9)):
        good = random_.random() < 0.7
        forms = [
            f"TEST: case {number}{'':20}{'[ OK ]' if good else '[FAIL]'}",
            f"    TEST: case {number}{'':20}{'[ OK ]' if good else '[FAIL]'}",
            f"case {number} {'[ ok ]' if good else '[fail] expected 1 found 2'}",
            f"{'PASS' if good else 'FAIL'}: case {number}",
        ]
        lines.append(random_.choice(forms))
    return lines


def check_noise(kind: str, random_: random.Random) -> None:
    """Lines of noise between those of a script lose no case that failed, and make none fail."""
    make = {"tap": tap_lines, "mptcp": live_lines, "net": net_lines}[kind]
    script, *lines = make(random_)
    if kind == "tap":
        lines, script = [script, *lines], "diag"
    plain = parse(kind, script, "".join(f"{line}\n" for line in lines), 1, tap=kind == "tap")
    text = with_noise(lines, random_)
    noisy = parse(kind, script, text, 1, tap=kind == "tap")

    def failed(result: ScriptResult) -> list[str]:
        # A heading of the noise may come before a name of net's.
        return [one.name.split(": ")[-1] for one in result.cases if one.state in BAD]

    assert failed(noisy) == failed(plain), text


def check_size(kind: str, random_: random.Random) -> None:
    """A text of 300 KB of a few pieces takes less than 2 s."""
    pieces = random_.choices(PIECES + NOISE, k=random_.randint(1, 3))
    text = "".join(pieces)
    text = random_.choice(["", "TAP version 13\n", "001 a\n"]) + text * (300_000 // (len(text) + 1))
    begin = time.process_time()
    result = parse(kind, random_.choice(SCRIPTS), text, 0, tap=True)
    spent = time.process_time() - begin
    assert spent < 2, (spent, pieces)
    assert len(result.cases) <= 2 * MAX_CASES


CHECKS: tuple[tuple[Callable[[str, random.Random], None], int], ...] = (
    (check_any, 100),
    (check_noise, 100),
    (check_size, 1),
)


def fuzz(kind: str, rounds: int, seed: int) -> None:
    """So many rounds of each check, as often as it is worth."""
    random_ = random.Random(f"{kind} {seed}")
    for _ in range(rounds):
        for check, times in CHECKS:
            for _ in range(times):
                check(kind, random_)


if __name__ == "__main__":
    kind, seconds, seed = sys.argv[1], float(sys.argv[2]), int(sys.argv[3])
    end, done = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        fuzz(kind, 1, seed + done)
        done += 1
    print(f"{kind}: {done * sum(times for _, times in CHECKS)} texts, no rule broken")
