# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's complaints on its console: a table of rows, and one scan that uses it.

One complaint is one splat. A block begins with a line that a row knows (or with a bare
``Call Trace:``) and takes in what belongs to it: its trace, and a panic that only carries it out
("Fatal exception", "panic_on_warn set"). Further occurrences of a complaint already seen are
dropped. The fingerprint is what base and patched kernels have in common: the kind, the file and
function or the first telling function of the trace; no address, offset, line, pid, CPU or time, and
none of the suffixes that the compiler gives to the parts of a function. Where a stall or lockup is
sampled differs between two runs of one kernel, so those are known by kind and task alone.
"""

import re
from dataclasses import dataclass

from ci.logs.outcome import MAX_LINE, clean_lines

MAX_SPLATS = 100
BLOCK_LINES = 200
EXCERPT_LINES = 60
EXCERPT_CHARS = 6000
MAX_TITLE = 200


@dataclass(frozen=True)
class Splat:
    """One complaint: ``kind`` is its row's, ``title`` the line as printed (without time stamp),
    ``line`` that line's number in the console counted from 1, ``excerpt`` the block, at most 60
    lines and 6,000 characters."""

    kind: str
    title: str
    fingerprint: str
    excerpt: str
    line: int


@dataclass(frozen=True)
class Row:
    """A kind of complaint. ``site`` tells what its fingerprint adds: ``title`` (groups ``file``,
    ``func`` or ``what`` of the pattern alone), ``code`` (the RIP, else the trace), ``trace`` (the
    trace's first telling function), ``lock`` (lockdep's ``at:``). ``example`` is a line that
    matches. ``takes`` are the kinds that say no more than the block that they stand in: a line of
    theirs there does not begin another. After a ``deadly`` one the death of init tells nothing
    new."""

    kind: str
    pattern: re.Pattern[str]
    site: str
    example: str
    takes: frozenset[str] = frozenset()
    deadly: bool = False


def _row(
    kind: str, site: str, pattern: str, example: str, *, takes: str = "", deadly: bool = False
) -> Row:
    return Row(kind, re.compile(pattern), site, example, frozenset(takes.split()), deadly)


_FILE = r"(?P<file>[\w./-]+\.[chS]):\d+"
_DIE = r": [0-9a-f]{4,16} \[#\d+\]"
# The first row that matches wins. The examples are real forms; a test holds each row to its own.
ROWS = (
    _row(
        "panic",
        "title",
        r"Kernel panic - not syncing: (?P<what>.*)",
        "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)",
    ),
    _row(
        "gpf",
        "code",
        r"(?:Oops: )?general protection fault.*" + _DIE,
        "Oops: general protection fault, probably for non-canonical address 0xdead000000000122:"
        " 0000 [#1] PREEMPT SMP NOPTI",
        takes="kasan oops",
        deadly=True,
    ),
    _row(
        "kasan",
        "title",
        r"(?:BUG: )?KASAN: (?P<what>[\w-]+)(?: in (?P<func>[\w.]+)\+0x)?",
        "BUG: KASAN: slab-use-after-free in mptcp_pm_del_add_timer+0x2a1/0x2f0",
        takes="oops gpf",
        deadly=True,
    ),
    _row(
        "kfence",
        "title",
        r"BUG: KFENCE: (?P<what>[\w -]+?) in (?P<func>[\w.]+)\+0x",
        "BUG: KFENCE: use-after-free read in mptcp_close+0x1a/0x80",
    ),
    _row(
        "kcsan",
        "title",
        r"BUG: KCSAN: (?P<what>[\w-]+ in [\w.]+(?: / [\w.]+)?)",
        "BUG: KCSAN: data-race in mptcp_poll / mptcp_data_ready",
    ),
    _row(
        "kmsan",
        "title",
        r"BUG: KMSAN: (?P<what>[\w-]+) in (?P<func>[\w.]+)",
        "BUG: KMSAN: uninit-value in mptcp_parse_option+0x31/0x400",
    ),
    _row(
        "ubsan",
        "trace",
        r"UBSAN: (?P<what>[\w-]+) in " + _FILE,
        "UBSAN: array-index-out-of-bounds in net/mptcp/options.c:123:14",
    ),
    _row(
        "oops",
        "code",
        r"BUG: (?:unable to handle|kernel NULL pointer dereference)",
        "BUG: kernel NULL pointer dereference, address: 0000000000000008",
        takes="oops gpf",
        deadly=True,
    ),
    _row(
        "oops",
        "code",
        r"Unable to handle kernel .* at virtual address",
        "Unable to handle kernel NULL pointer dereference at virtual address 0000000000000008",
        takes="oops gpf",
        deadly=True,
    ),
    _row(
        "bug",
        "code",
        r"kernel BUG at " + _FILE,
        "kernel BUG at net/mptcp/protocol.c:1234!",
        takes="oops gpf",
        deadly=True,
    ),
    _row(
        "atomic",
        "trace",
        r"BUG: sleeping function called from invalid context at",
        "BUG: sleeping function called from invalid context at kernel/locking/mutex.c:580",
    ),
    _row(
        "atomic",
        "trace",
        r"BUG: scheduling while atomic",
        "BUG: scheduling while atomic: swapper/0/0/0x00000100",
    ),
    _row(
        "soft-lockup",
        "title",
        r"(?:NMI )?(?:watchdog: )?BUG: soft lockup - CPU#\d+ stuck for \d+s! \[(?P<what>.+):\d+\]",
        "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [mptcp_connect:412]",
    ),
    _row(
        "hard-lockup",
        "title",
        r"(?:NMI )?watchdog: .*[Hh]ard LOCKUP on cpu",
        "watchdog: Watchdog detected hard LOCKUP on cpu 0",
    ),
    _row(
        "workqueue-lockup",
        "title",
        r"BUG: workqueue lockup",
        "BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0",
    ),
    _row(
        "lockdep",
        "lock",
        r"WARNING: (?P<what>(?:possible [\w -]*(?:locking|lock|dependency|deadlock)[\w"
        r" -]*|inconsistent lock"
        r" state|bad (?:unlock|contention) \w+|held lock freed|lock held when|Nested lock"
        r" was|[\w-]+ -> [\w-]+ lock order))",
        "WARNING: possible circular locking dependency detected",
        takes="lockdep warning",
    ),
    _row(
        "lockdep",
        "lock",
        r"\[ BUG: (?P<what>[\w -]+)",
        "[ BUG: Invalid wait context ]",
        takes="lockdep warning",
    ),
    _row(
        "rcu-usage",
        "trace",
        r"(?:WARNING: )?[Ss]uspicious RCU usage\b|" + _FILE + r" suspicious \w+\(\) usage",
        "WARNING: suspicious RCU usage",
        takes="rcu-usage",
    ),
    _row(
        "rcu-stall",
        "title",
        r"(?:rcu: )?INFO: (?P<what>rcu\w+) (?:self-)?detected (?:expedited )?stalls? on",
        "rcu: INFO: rcu_preempt self-detected stall on CPU",
        takes="rcu-stall",
    ),
    _row(
        "hung-task",
        "trace",
        r"INFO: task (?P<what>.+?):\d+ (?:<\S+> )?blocked (?:in I/O wait )?for more than \d+"
        r" seconds",
        "INFO: task mptcp_connect:412 blocked for more than 120 seconds.",
    ),
    _row(
        "refcount",
        "trace",
        r"refcount_t: (?P<what>[\w -]+)",
        "refcount_t: underflow; use-after-free.",
        takes="warning bug",
    ),
    _row(
        "list",
        "trace",
        r"(?P<what>list_(?:add|del)(?:_\w+)? corruption)",
        "list_del corruption. prev->next should be ffff888004a3c0a8, but was dead000000000100."
        " (prev=ffff888004a3c0b8)",
        takes="warning bug oops",
    ),
    _row(
        "odebug",
        "trace",
        r"ODEBUG: (?P<what>[\w -]+)",
        "ODEBUG: free active (active state 0) object: ffff88800 object type: timer_list hint:"
        " mptcp_retransmit_timer+0x0/0x80",
        takes="warning bug",
    ),
    _row(
        "warning",
        "title",
        r"WARNING: (?:CPU: \d+ )?(?:PID: \d+ )?(?:.* )?at " + _FILE + r"(?: (?P<func>[\w.]+))?",
        "WARNING: CPU: 0 PID: 412 at net/mptcp/subflow.c:812 subflow_syn_recv_sock+0x1a/0x2b0",
    ),
    # The form since 6.18: the place before the function
    _row(
        "warning",
        "title",
        r"WARNING: (?:.* )?" + _FILE + r" at (?P<func>[\w.]+)",
        "WARNING: net/mptcp/subflow.c:812 at subflow_syn_recv_sock+0x1a/0x2b0, CPU#0:"
        " mptcp_connect/412",
    ),
    _row(
        "slab",
        "trace",
        r"BUG (?P<what>[\w.:-]+) \(.*\): ",
        "BUG kmalloc-64 (Not tainted): Poison overwritten",
        takes="slab",
    ),
    _row(
        "kmemleak",
        "title",
        r"kmemleak: \d+ new suspected memory leaks",
        "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
        takes="kmemleak",
    ),
    _row(
        "kmemleak",
        "trace",
        r"unreferenced object 0x[0-9a-f]+ \(size",
        "unreferenced object 0xffff888004a3c000 (size 2048):",
        takes="kmemleak",
    ),
    _row(
        "netdev-leak",
        "title",
        r"unregister_netdevice: waiting for (?P<what>\S+) to become free",
        "unregister_netdevice: waiting for ns1eth2 to become free. Usage count = 2",
    ),
    _row(
        "ref-tracker",
        "trace",
        r"(?:ref_tracker: |leaked reference\.)",
        "leaked reference.",
        takes="ref-tracker",
    ),
    _row(
        "oom",
        "title",
        r"\S+ invoked oom-killer:",
        "mptcp_connect invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP),"
        " order=0, oom_score_adj=0",
        takes="allocation",
    ),
    _row(
        "allocation",
        "trace",
        r".{1,40}: page allocation failure: order:",
        "mptcp_connect: page allocation failure: order:4, mode:0x40cc0(GFP_KERNEL|__GFP_COMP),"
        " nodemask=(null)",
    ),
    _row(
        "double-fault",
        "code",
        r"(?:PANIC|traps): double fault\b|BUG: .*stack guard page was hit",
        "BUG: TASK stack guard page was hit at ffffc90000a5bff8 (stack is"
        " ffffc90000a5c000..ffffc90000a60000)",
        takes="oops gpf",
        deadly=True,
    ),
    _row(
        "bug",
        "code",
        r"BUG: (?P<what>.*)",
        "BUG: spinlock bad magic on CPU#0, mptcp_connect/412",
        takes="oops gpf",
        deadly=True,
    ),
    _row(
        "oops",
        "code",
        r"Internal error: (?P<what>[\w -]+)" + _DIE,
        "Internal error: Oops: 0000000096000004 [#1] SMP",
        takes="oops gpf",
        deadly=True,
    ),
    _row(
        "oops",
        "code",
        r"(?:Oops: )?(?P<what>(?:Oops|[a-z][\w ]{2,40}?)(?:, [\w -]{1,60})?)" + _DIE,
        "Oops: divide error: 0000 [#1] PREEMPT SMP NOPTI",
        takes="oops gpf",
        deadly=True,
    ),
)

# Cheap test before the table: a line without any of these is nobody's.
_HINT = re.compile(
    r"BUG|WARNING|Kernel panic|KASAN|UBSAN|ODEBUG|\[#|INFO: |LOCKUP|uspicious"
    r" |refcount_t|corruption|Unable to handle"
    r"|kmemleak|unreferenced|unregister_netdevice|ref_tracker|leaked ref|oom-killer|allocation"
    r" failure|double fault|Call Trace"
)
# "<4>[    1.234567] ", "[    1.234567][    T1] ", "[   12.345678] [ C0] "
_STAMP = re.compile(r"(?:<\d{1,3}>)?(?:\[ *\d{1,12}\.\d{1,9}\] ?(?:\[ *[TC]\d{1,9}\] ?)?)?")
# "Kernel panic - not syncing: Fatal exception in interrupt": these carry out what an earlier block
# complained of
_CONSEQUENCE = re.compile(
    r"Kernel panic - not syncing: (?:Fatal exception|.*panic_on_\w+|softlockup: hung|hung_task:"
    r" blocked|RCU Stall"
    r"|Hard LOCKUP)"
)
# "Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b": so does this one after
# an oops
_KILLED = re.compile(r"Kernel panic - not syncing: Attempted to kill (?:init|the idle)")
# "------------[ cut here ]------------": the text of a WARN stands between it and the title
_CUT = "[ cut here ]"
# "---[ end trace 0000000000000000 ]---"
_END = re.compile(r"---\[ end (?:trace|Kernel panic)")
# "RIP: 0010:mptcp_pm_nl_work+0x1a/0x2b0"
_RIP = re.compile(r"RIP: \w{4}:(\w[\w.]*)\+0x")
# "pc : mptcp_pm_nl_work+0x1a/0x2b0"
_PC = re.compile(r"pc : (\w[\w.]*)\+0x")
# " mptcp_sendmsg+0x1a/0x2b0", "  mptcp_sendmsg+0x1a/0x2b0 [mptcp]", but not " ?
# mptcp_sendmsg+0x1a/0x2b0"
_FRAME = re.compile(r" {0,8}(?:\[<[0-9a-f]+>\] )?(\w[\w.]*)\+0x[0-9a-f]+/0x[0-9a-f]+")
# "ffff888004a3c0a8 (&msk->pm.lock){+.-.}-{3:3}, at: mptcp_pm_nl_work+0x1a/0x2b0"
_LOCK = re.compile(r", at: (\w[\w.]*)\+0x")
# "mptcp_close.part.0", "tcp_ack.isra.0.cold"
_SUFFIX = re.compile(r"\.(?:isra|constprop|part|cold|llvm)\b.*")
# Functions that report or wait on another's behalf: the trace's next one tells more.
_GENERIC = re.compile(
    r"dump_stack|show_stack|print_|report_|__warn|warn_|kasan_|__kasan|kmsan_|__asan|check_memory|refcount_warn|__list_|list_"
    r"|ubsan_|__ubsan|lockdep_|__might_|_*schedule|context_switch|io_schedule|__mutex|mutex_lock|_raw_|__lock_acquire|lock_acquire"
    r"|debug_object|debug_print|__debug|slab_|__slab|object_err|free_debug|alloc_debug|handle_bug|exc_|asm_|do_error_trap|die|spin_"
    r"|do_raw_|kmem_cache_alloc|__kmem_cache_alloc|__kmalloc|kmalloc|__alloc_pages|alloc_pages|warn_alloc|___slab|dump_"
    r"|ref_tracker|__schedule_bug|check_preemption"
)


def _stable(text: str) -> str:
    """A text without what differs from run to run: addresses, numbers, places."""
    text = re.sub(r"\+0x[0-9a-f]+(?:/0x[0-9a-f]+)?", "", text[:MAX_TITLE])
    text = re.sub(r"\b(?:0x)?[0-9a-f]{8,}\b|\b0x[0-9a-f]+", "*", text)
    return " ".join(re.sub(r"\d+", "N", text).split())


def _function(name: str) -> str:
    return _SUFFIX.sub("", name)


def _first(pattern: re.Pattern[str], lines: list[str]) -> str:
    return next((_function(match[1]) for line in lines if (match := pattern.search(line))), "")


def _traced(lines: list[str]) -> str:
    """The first function of the block's trace that does not report on another's behalf, else the
    first at all."""
    frames = [_function(match[1]) for line in lines if (match := _FRAME.match(line))]
    return next((name for name in frames if not _GENERIC.match(name)), frames[0] if frames else "")


def _fingerprint(row: Row | None, title: str, block: list[str]) -> str:
    if row is None:
        return f"trace {_traced(block)}".strip()
    match = row.pattern.match(title)
    groups = match.groupdict() if match else {}
    what, file, func = (
        groups.get("what") or "",
        groups.get("file") or "",
        _function(groups.get("func") or ""),
    )
    site = ""
    if row.site == "code":
        site = _first(_RIP, block) or _first(_PC, block) or _traced(block)
    elif row.site == "lock":
        site = _first(_LOCK, block) or _traced(block)
    elif row.site == "trace" or (func and _GENERIC.match(func)):
        site = _traced(block)
    parts = [row.kind, _stable(what), file, func, site if site != func else ""]
    return " ".join(part for part in parts if part)


def _known(text: str) -> Row | None:
    return next((row for row in ROWS if row.pattern.match(text)), None)


@dataclass
class _Block:
    """A complaint whose lines are coming in."""

    row: Row | None
    title: str
    line: int
    lines: list[str]
    ended: bool = False

    def splat(self) -> Splat:
        kind = self.row.kind if self.row else "trace"
        excerpt = "\n".join(line[:300] for line in self.lines[:EXCERPT_LINES])[:EXCERPT_CHARS]
        return Splat(
            kind,
            self.title[:MAX_TITLE],
            _fingerprint(self.row, self.title, self.lines),
            excerpt,
            self.line,
        )


def _belongs(block: _Block, row: Row | None, text: str) -> bool:
    """Whether a line that a row knows continues the block instead of beginning one."""
    owner = block.row
    if _CONSEQUENCE.match(text) or (owner and owner.deadly and _KILLED.match(text)):
        return owner is None or owner.kind != "panic"
    if block.ended or len(block.lines) >= BLOCK_LINES:
        return False
    return row is None or (owner is not None and row.kind in owner.takes)


def _begins(block: _Block | None, text: str) -> tuple[bool, Row | None]:
    """Whether a complaint begins with this line, and the row that knows it (None for a bare
    trace)."""
    if not _HINT.search(text):
        return False, None
    row = _known(text[:600])
    if row is None and not text.startswith("Call Trace"):
        return False, None
    return not (block and _belongs(block, row, text)), row


def scan_console(console: str) -> tuple[Splat, ...]:
    """The distinct complaints on a console (decoded text, any line ends), in their order, at most
    100."""
    found: dict[str, Splat] = {}
    block: _Block | None = None
    recent: list[str] = []

    def keep() -> None:
        if block:
            splat = block.splat()
            found.setdefault(splat.fingerprint, splat)

    for number, raw in enumerate(clean_lines(console), 1):
        line = raw[:MAX_LINE]
        stamp = _STAMP.match(line)
        text = line[stamp.end() :] if stamp else line
        begins, row = _begins(block, text)
        if begins:
            keep()
            if len(found) >= MAX_SPLATS:
                return tuple(found.values())
            cut = next((at for at, old in enumerate(recent) if _CUT in old), len(recent))
            block = _Block(row, text, number, recent[cut:])
        recent = [*recent[-2:], text]
        if block and len(block.lines) < BLOCK_LINES:
            if not block.ended or _CONSEQUENCE.match(text) or _KILLED.match(text):
                block.lines.append(text)
            block.ended = block.ended or bool(_END.match(text))
    keep()
    return tuple(found.values())
