# SPDX-License-Identifier: GPL-2.0-only
"""How fast the readers of scripts' output are: ``python -m tests.logs.speed`` reads a million lines
of each kind, each in a process of its own, and prints CPU seconds and the peak of memory, the text
included."""

import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping

from ci.logs import ktap
from ci.logs.ktap import LineReader
from ci.suites import net
from ci.suites.mptcp_lines import LiveReader

COUNT = 1_000_000
HEAD = f"TAP version 13\n1..{COUNT}\n"


def lines(line: str, *, head: str = "") -> str:
    """A million lines; ``@`` stands for the number."""
    before, _, after = line.partition("@")
    numbered = f"{after}\n{before}".join(map(str, range(1, COUNT + 1)))
    return f"{head}{before}{numbered}{after}\n" if after else head + f"{line}\n" * COUNT


KINDS: Mapping[str, tuple[Callable[[], str], LineReader]] = {
    "TAP, ok": (lambda: lines("ok @ - diag: a case # time=3ms", head=HEAD), LiveReader("diag")),
    "TAP, not ok": (lambda: lines("not ok @ - diag: a case", head=HEAD), LiveReader("diag")),
    "TAP, notes": (lambda: lines("# what a test has to say", head=HEAD), LiveReader("diag")),
    "mptcp, noise": (lambda: lines("what a test has to say [x]"), LiveReader("mptcp_connect")),
    "mptcp, numbers": (lambda: lines("@ packets"), LiveReader("simult_flows")),
    "mptcp, titles": (lambda: lines("@ a title   [FAIL] x"), LiveReader("userspace_pm")),
    "mptcp_join": (lambda: lines("@ no JOIN    syn[ ok ] - ack[ ok ]"), LiveReader("mptcp_join")),
    "net, noise": (lambda: lines("what a test has to say [x]"), net.LineReader("net")),
    "net, cases": (lambda: lines("TEST: case @       [ OK ]"), net.LineReader("net")),
}


def measure(kind: str) -> str:
    """Read one kind; a line of the table."""
    make, reader = KINDS[kind]
    text, begin = make(), time.process_time()
    result = ktap.parse_script("diag", text, 0, reader)
    spent = time.process_time() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    return f"{kind:16}{spent:6.2f} s{peak:6} MB{len(result.cases):8} cases  {result.own.state}"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(measure(sys.argv[1]))
    for name in KINDS if len(sys.argv) == 1 else ():
        subprocess.run([sys.executable, "-m", "tests.logs.speed", name], check=True)
