# SPDX-License-Identifier: GPL-2.0-only
"""The first lines of the kernel's complaints: a table, and the look-up in it.

The rows were made after the format strings of lib, kernel, mm, net, fs, drivers/base and arch of
Linux 5.10, 6.1, 6.12 and 7.3. A title is found wherever it stands in a line: a console mixes it
with what others print.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# As much of a line as one title takes: what keeps a look-up short whatever the line holds
WINDOW = 400


@dataclass(frozen=True)
class Row:
    """A kind of complaint. ``starts`` are literal texts with one of which ``pattern`` begins,
    anywhere in a line. ``site`` tells what the fingerprint adds to the pattern's groups ``what``,
    ``file`` and ``func`` (see ``ci.logs.sites``), ``exact`` that the place inside a function
    counts. ``takes`` are kinds whose title is, once and before the trace, a part of this complaint
    (``kind*``: as often as it comes; ``kind=``: on the next line). ``traces`` is how many
    ``Call Trace:`` the block has. ``example`` is a line that matches."""

    kind: str
    starts: tuple[str, ...]
    pattern: re.Pattern[str]
    site: str
    example: str
    takes: frozenset[str]
    traces: int
    exact: bool


def _row(
    kind: str,
    site: str,
    starts: str,
    rest: str,
    example: str,
    *,
    takes: str = "",
    traces: int = 1,
    exact: bool = False,
    words: bool = False,
) -> Row:
    """A row whose ``starts`` are separated by ``|``; with ``words`` all that matches is its
    ``what``."""
    begins = tuple(starts.split("|"))
    pattern = "(?:" + "|".join(map(re.escape, begins)) + ")" + rest
    compiled = re.compile(f"(?P<what>{pattern})" if words else pattern)
    return Row(kind, begins, compiled, site, example, frozenset(takes.split()), traces, exact)


# "net/mptcp/subflow.c:812", "../net/core/dev.c:12"
_FILE = r"(?P<file>[\w./-]{1,150}\.(?:[chS]|rs)):\d+"
# ": 0000 [#1]"
_DIE = r": [0-9a-f]{4,16} \[#\d+\]"
# "mptcp_close.part.0+0x12/0x34"
_FUNC = r"(?P<func>[\w.]{1,150})\+(?P<at>0x[0-9a-f]+/0x[0-9a-f]+)"
_LOCKDEP = (
    r"(?P<what>(?:possible [\w -]*?(?:locking|lock|dependency|deadlock|usage)[\w -]*"
    r"|inconsistent lock state|bad (?:unlock balance|contention) detected|held lock freed"
    r"|(?:Nested|nested) lock was not taken"
    r"|[\w-]+ -> [\w-]+ lock order detected|circular locking deadlock detected"
    r"|chain_key collision|Invalid wait context))"
)

# Of the rows that know a title at its place the first one counts. The examples are real forms; a
# test holds each row to its own.
ROWS = (
    _row(
        "panic",
        "panic",
        "Kernel panic - not syncing: ",
        r"(?P<what>.*)",
        "Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)",
    ),
    _row(
        "gpf",
        "code",
        "Oops: general protection fault|general protection fault",
        r".{0,200}?" + _DIE,
        "Oops: general protection fault, probably for non-canonical address 0xdead000000000122:"
        " 0000 [#1] PREEMPT SMP NOPTI",
        takes="kasan-range",
    ),
    _row(
        "kasan",
        "func",
        "BUG: KASAN: ",
        rf"(?P<what>[\w-]+(?: or [\w-]+)?)(?: in {_FUNC})?",
        "BUG: KASAN: slab-use-after-free in mptcp_pm_del_add_timer+0x2a1/0x2f0",
    ),
    _row(
        "kasan-range",
        "code",
        "KASAN: ",
        r"(?P<what>[\w -]{1,60}?) in range \[",
        "KASAN: null-ptr-deref in range [0x0000000000000008-0x000000000000000f]",
        takes="oops",
    ),
    _row(
        "kfence",
        "func",
        "BUG: KFENCE: ",
        rf"(?P<what>[\w -]{{1,60}}?)(?: in {_FUNC}|$)",
        "BUG: KFENCE: use-after-free read in mptcp_close+0x1a/0x80",
        traces=0,
    ),
    _row(
        "kcsan",
        "title",
        "BUG: KCSAN: ",
        r"(?P<what>[\w -]{1,60}? in [\w.]+(?: / [\w.]+)?)",
        "BUG: KCSAN: data-race in mptcp_poll / mptcp_data_ready",
        traces=0,
    ),
    _row(
        "kmsan",
        "func",
        "BUG: KMSAN: ",
        rf"(?P<what>[\w-]+)(?: in {_FUNC})?",
        "BUG: KMSAN: uninit-value in mptcp_parse_option+0x31/0x400",
        traces=0,
    ),
    _row(
        "ubsan",
        "trace",
        "UBSAN: ",
        rf"(?P<what>[\w /-]{{1,60}}?) (?:in {_FILE}|at {_FUNC})",
        "UBSAN: array-index-out-of-bounds in net/mptcp/options.c:123:14",
        exact=True,
        takes="bug-on oops",
    ),
    _row(
        "page-fault",
        "code",
        "BUG: unable to handle|BUG: kernel NULL pointer dereference",
        r"",
        "BUG: kernel NULL pointer dereference, address: 0000000000000008",
        takes="oops kasan-range",
    ),
    _row(
        "page-fault",
        "code",
        "Unable to handle kernel |Unhandled fault",
        r".* at (?:virtual address )?0?x?[0-9a-f]+",
        "Unable to handle kernel NULL pointer dereference at virtual address 0000000000000008",
        takes="oops kasan-range",
    ),
    _row(
        "bug-on",
        "code",
        "kernel BUG at |Kernel BUG at ",
        rf"(?:\[.{{1,200}}?\] )?(?:{_FILE}|{_FUNC})",
        "kernel BUG at net/mptcp/protocol.c:1234!",
        takes="oops",
        exact=True,
    ),
    _row(
        "atomic",
        "trace",
        "BUG: sleeping function called from invalid context|BUG: scheduling while atomic"
        "|BUG: scheduling in a non-blocking section|BUG: assuming atomic context"
        "|BUG: assuming non migratable context",
        r"",
        "BUG: sleeping function called from invalid context at kernel/locking/mutex.c:580",
    ),
    _row(
        "soft-lockup",
        "stall",
        "BUG: soft lockup - CPU#",
        r"\d+ stuck for \d+s!",
        "watchdog: BUG: soft lockup - CPU#0 stuck for 22s! [mptcp_connect:412]",
    ),
    _row(
        "hard-lockup",
        "stall",
        "hard LOCKUP on cpu|Hard LOCKUP on cpu",
        r" ",
        "watchdog: Watchdog detected hard LOCKUP on cpu 0",
    ),
    _row(
        "workqueue-lockup",
        "work",
        "BUG: workqueue lockup - pool",
        r"",
        "BUG: workqueue lockup - pool cpus=0 node=0 flags=0x0 nice=0 stuck for 31s!",
        traces=0,
    ),
    _row(
        "bug",
        "work",
        "BUG: workqueue leaked ",
        r"(?P<what>[a-z]+)",
        "BUG: workqueue leaked atomic, lock or RCU: kworker/0:1[12]",
    ),
    _row(
        "bug",
        "trace",
        "BUG: ",
        r"(?P<what>(?:spinlock|rwlock|Bad page|using) [\w -]{1,60}?(?=\W{0,3}(?:on CPU|in process"
        r"|in preemptible)|, |\(|:|$))",
        "BUG: spinlock bad magic on CPU#0, mptcp_connect/412",
    ),
    _row(
        "bug",
        "title",
        "BUG: Dentry ",
        r".*?(?P<what>still in use)",
        "BUG: Dentry 00000000a1b2c3d4{i=12,n=mptcp}  still in use (1) [unmount of tmpfs tmpfs]",
        takes="warning",
    ),
    _row(
        "bug",
        "title",
        "BUG: Bad rss-counter state|BUG: non-zero pgtables_bytes",
        r".*?(?=Comm:|$)",
        "BUG: Bad rss-counter state mm:00000000a1b2c3d4 type:MM_ANONPAGES val:12",
        traces=0,
        words=True,
    ),
    _row(
        "lockdep",
        "lock",
        "WARNING: |[ BUG: |[ INFO: ",
        _LOCKDEP,
        "WARNING: possible circular locking dependency detected",
    ),
    _row(
        "lockdep",
        "lock",
        "lock held when returning",
        r" to user space",
        "WARNING: lock held when returning to user space!",
        traces=0,
        words=True,
    ),
    _row(
        "lockdep",
        "lock",
        "still has locks held",
        r"!",
        "WARNING: mptcp_connect/412 still has locks held!",
        words=True,
    ),
    _row(
        "rcu-usage",
        "trace",
        "WARNING: suspicious RCU usage|[ INFO: suspicious RCU usage|INFO: suspicious RCU usage",
        r"",
        "WARNING: suspicious RCU usage",
    ),
    _row(
        "rcu-stall",
        "title",
        "INFO: rcu",
        r"\w* detected (?:expedited )?stalls?(?:, but suppressed|\? \()",
        "rcu: INFO: rcu_preempt detected stall, but suppressed full report due to a stuck"
        " CSD-lock.",
        traces=0,
    ),
    _row(
        "rcu-stall",
        "stall",
        "INFO: rcu",
        r"\w* (?:self-)?detected (?:expedited )?stall",
        "rcu: INFO: rcu_preempt self-detected stall on CPU",
        takes="rcu-starved*",
    ),
    _row(
        "rcu-starved",
        "title",
        "kthread starved for |kthread timer wakeup didn't happen for ",
        r"\d+ jiffies",
        "rcu: rcu_preempt kthread starved for 21003 jiffies! g5 f0x0 RCU_GP_WAIT_FQS(5)"
        " ->state=0x0 ->cpu=0",
    ),
    _row(
        "hung-task",
        "hang",
        "INFO: task |INFO: The task ",
        r".{1,40}:\d+ (?:<\S+> )?(?:blocked (?:in I/O wait )?for more than \d+ sec"
        r"|can't die for more than \d+ sec|has been waiting for writeback )",
        "INFO: task mptcp_connect:412 blocked for more than 120 seconds.",
        takes="hung-owner*",
    ),
    _row(
        "hung-owner",
        "hang",
        "INFO: task ",
        r".{1,40}:\d+ (?:<\S+> )?(?:is )?blocked on an? (?P<what>[\w-]+)",
        "INFO: task mptcp_connect:412 is blocked on a mutex likely owned by task kworker/0:1:12.",
    ),
    _row(
        "key",
        "trace",
        "INFO: trying to register non-static key",
        r"",
        "INFO: trying to register non-static key.",
    ),
    _row(
        "refcount",
        "trace",
        "refcount_t: ",
        r"(?P<what>[\w -]+)",
        "refcount_t: underflow; use-after-free.",
        takes="warning=",
    ),
    _row(
        "list",
        "trace",
        "list_add|list_del",
        r"(?:_\w+)? corruption[,.]? ?(?:\S+->\w+|\w+)?(?: is \w+)?",
        "list_del corruption. prev->next should be ffff888004a3c0a8, but was dead000000000100."
        " (prev=ffff888004a3c0b8)",
        words=True,
        takes="warning= bug-on oops",
    ),
    _row(
        "odebug",
        "trace",
        "ODEBUG: ",
        r"(?P<what>object (?=\S+ is (?:NOT )?on stack)|[a-z_]+ [a-z ]+(?= \(active state))"
        r"(?:.*object type: (?P<func>\w+))?",
        "ODEBUG: free active (active state 0) object: ffff88800 object type: timer_list hint:"
        " mptcp_retransmit_timer+0x0/0x80",
        takes="warning",
    ),
    _row(
        "fortify",
        "trace",
        "detected buffer overflow",
        r"(?: in (?P<what>\w+))?",
        "strcpy: detected buffer overflow: 12 byte write of buffer size 8",
        takes="warning= bug-on oops",
    ),
    _row(
        "usercopy",
        "trace",
        "Kernel memory overwrite attempt|Kernel memory exposure attempt",
        r"(?P<what> detected \w+ (?:\w+ )*)",
        "usercopy: Kernel memory exposure attempt detected from SLUB object 'TCP'"
        " (offset 12, size 40)!",
        takes="bug-on oops",
    ),
    _row(
        "skb",
        "trace",
        "skb_over_panic|skb_under_panic",
        r"(?=: text:)",
        "skbuff: skb_over_panic: text:ffffffff81a2b3c4 len:1500 put:12 head:ffff888004 data:ffff88"
        " tail:0x5dc end:0x5c0 dev:ns1eth1",
        takes="bug-on oops",
        words=True,
    ),
    _row(
        "netdev-watchdog",
        "title",
        "NETDEV WATCHDOG: ",
        r"(?:.{1,80}: )?(?P<what>transmit queue) ",
        "NETDEV WATCHDOG: ns1eth1 (veth): transmit queue 0 timed out",
        traces=0,
        takes="warning=",
    ),
    # The form until 6.17: who, then the place
    _row(
        "warning",
        "warning",
        "WARNING: CPU: ",
        rf"\d+ PID: \d+ at (?:{_FILE} ?)?(?:{_FUNC})?",
        "WARNING: CPU: 0 PID: 412 at net/mptcp/subflow.c:812 subflow_syn_recv_sock+0x1a/0x2b0",
        exact=True,
    ),
    # The form since 6.18: the place, then who; a condition may stand before it
    _row(
        "warning",
        "warning",
        "WARNING: ",
        rf"(?:\[(?P<what>.{{1,200}}?)\] )?(?:{_FILE} )?at (?=\S{{1,150}}\+0x|\S{{1,150}}:\d|0x)"
        rf"(?:{_FILE.replace('file', 'old')} ?)?(?:{_FUNC})?",
        "WARNING: net/mptcp/subflow.c:812 at subflow_syn_recv_sock+0x1a/0x2b0, CPU#0:"
        " mptcp_connect/412",
        exact=True,
    ),
    _row(
        "unwinder",
        "title",
        "WARNING: ",
        r"(?:WARNING: )?(?P<what>kernel stack (?:regs|frame pointer) at|stack recursion on"
        r"|stack going in the wrong direction|can't (?:access|dereference) [\w ]*registers"
        r"|missing \w+ value|unknown [\w.]+ (?:base reg|entry type)|bad lookup \w+"
        r"|(?:Corrupt|Bad or missing) \.orc_unwind table)",
        "WARNING: kernel stack regs at 00000000a1b2c3d4 in mptcp_connect:412 has bad 'bp' value"
        " 000000000badbad1",
        traces=0,
    ),
    _row(
        "slab",
        "slab",
        "BUG ",
        r"(?P<func>\S{1,64}) \((?:Not tainted|Tainted|[A-Z])[^)]*\): (?P<what>.*)",
        "BUG kmalloc-64 (Not tainted): Poison overwritten",
        takes="warning",
    ),
    _row(
        "bug",
        "title",
        "BUG ",
        r"(?P<what>\S{1,40} code \d+) qlen ",
        "BUG htb code 1 qlen 12",
        traces=0,
    ),
    _row(
        "slab",
        "trace",
        "Slab corruption |slab: double free detected|Slab cache still has objects",
        r"",
        "kmem_cache_destroy MPTCP: Slab cache still has objects",
        words=True,
    ),
    _row(
        "kmemleak",
        "leak",
        "unreferenced object",
        r"(?P<what> \(percpu\))? 0x[0-9a-f]+ \(size",
        "unreferenced object 0xffff888004a3c000 (size 2048):",
        traces=0,
    ),
    _row(
        "kmemleak-summary",
        "title",
        "kmemleak: ",
        r"\d+ new suspected memory leaks",
        "kmemleak: 3 new suspected memory leaks (see /sys/kernel/debug/kmemleak)",
        traces=0,
    ),
    _row(
        "kmemleak-lost",
        "trace",
        "kmemleak: ",
        r"(?P<what>Cannot insert"
        r"|(?:Freeing|Found|Trying|Object|Unknown|Partially|Adding|Not scanning|Scan) .*)",
        "kmemleak: Cannot insert 0xffff888004a3c000 into the object search tree (overlaps"
        " existing)",
    ),
    _row(
        "kmemleak-lost",
        "title",
        "kmemleak: ",
        r"(?P<what>Cannot allocate|Memory pool empty)",
        "kmemleak: Cannot allocate a kmemleak_object structure",
        traces=0,
    ),
    _row(
        "netdev-leak",
        "title",
        "unregister_netdevice: waiting for ",
        r"(?P<what>\S+) to become free",
        "unregister_netdevice: waiting for ns1eth2 to become free. Usage count = 2",
        traces=0,
    ),
    _row(
        "ref-tracker",
        "trace",
        "ref_tracker: ",
        r"(?P<what>[^@]{1,60})@\S+ has \d+/\d+ users at",
        "ref_tracker: net notrefcnt@ffff888004a3c0a8 has 1/2 users at",
        traces=0,
    ),
    _row(
        "ref-tracker",
        "trace",
        "ref_tracker: ",
        r"reference already released",
        "ref_tracker: reference already released.",
        takes="warning",
        traces=0,
    ),
    _row("ref-tracker", "trace", "leaked reference.", r"", "leaked reference.", traces=0),
    _row(
        "oom",
        "title",
        "invoked oom-killer:",
        r"",
        "mptcp_connect invoked oom-killer: gfp_mask=0x140cca(GFP_HIGHUSER_MOVABLE|__GFP_COMP),"
        " order=0, oom_score_adj=0",
    ),
    _row(
        "oom",
        "title",
        "Out of memory: Kill|Memory cgroup out of memory: Kill",
        r"ed process",
        "Out of memory: Killed process 412 (mptcp_connect) total-vm:1234kB, anon-rss:123kB",
        traces=0,
    ),
    _row(
        "allocation",
        "trace",
        "page allocation failure: order:|page allocation stall|vmalloc error: size"
        "|vmalloc: allocation failure|vmap allocation for size|SLUB: Unable to allocate memory"
        "|percpu: allocation failed",
        r"",
        "mptcp_connect: page allocation failure: order:4, mode:0x40cc0(GFP_KERNEL|__GFP_COMP),"
        " nodemask=(null)",
    ),
    _row(
        "double-fault",
        "code",
        "PANIC: ",
        r"(?P<what>double fault|early exception|invalid or fatal FRED|[A-Z][\w ]+)",
        "traps: PANIC: double fault, error_code: 0x0",
        takes="oops",
    ),
    _row(
        "double-fault",
        "code",
        "stack guard page was hit at |kernel stack overflow (|Insufficient stack space to handle"
        "|Thread overran stack",
        r"(?P<what>)",
        "BUG: TASK stack guard page was hit at ffffc90000a5bff8 (stack is"
        " ffffc90000a5c000..ffffc90000a60000)",
        takes="oops double-fault",
    ),
    _row(
        "oops",
        "code",
        "Internal error: ",
        r"(?P<what>[\w -]+)" + _DIE,
        "Internal error: Oops: 0000000096000004 [#1] SMP",
    ),
    _row(
        "oops",
        "die",
        "[#",
        r"(?<=[0-9a-f]{4} \[#)\d+\]",
        "Oops: divide error: 0000 [#1] PREEMPT SMP NOPTI",
    ),
    _row(
        "bug",
        "trace",
        "BUG: ",
        r"(?<!DEBUG: )(?!.{0,80}(?:stack guard page was hit|still has locks held!|lock held when))"
        r"(?P<what>.*)",
        "BUG: MAX_LOCKDEP_CHAINS too low!",
    ),
    _row(
        "bug",
        "trace",
        "BUG at |NEIGH: BUG, |PAGETABLE BUG #",
        r"[\w ./-]+",
        "PAGETABLE BUG #02! 00000000a1b2c3d4 <-> 00000000a1b2c3d5",
        words=True,
    ),
    _row(
        "cfi",
        "trace",
        "Missing ENDBR: |CFI failure at ",
        _FUNC,
        "CFI failure at mptcp_worker+0x1a/0x2b0 (target: mptcp_close+0x0/0x80; expected type:"
        " 0xa1b2c3d4)",
        takes="warning bug-on oops",
    ),
    _row(
        "rust",
        "title",
        "rust_kernel: panicked at ",
        _FILE,
        "rust_kernel: panicked at rust/kernel/alloc.rs:12:5:",
        takes="bug-on oops",
    ),
    _row(
        "stack",
        "trace",
        "hw csum failure|: nobody cared (try|: bogus return value |something is seriously wrong."
        "|cannot create duplicate filename|Double-freed CB |unchecked MSR access error: "
        "|bad: scheduling from the idle thread|schedule_timeout: wrong timeout"
        "|non-responsive CSD lock|pagealloc: memory corruption"
        "|pagealloc: single bit error|Destroying alive neighbour"
        "|is not initialized, yet kobject_put"
        "|huh, entered softirq ",
        r"",
        "ns1eth1: hw csum failure",
        words=True,
    ),
    _row(
        "state",
        "title",
        "Attempt to release TCP socket in state|Attempt to release alive |Freeing alive "
        "|neighbour leakage|mem leakage (|Dead loop on virtual device|is buggy, dev "
        "|Bug in ip_route_input|stalled pool shutdown|VFS: Close: file count is 0"
        "|VFS: Busy inodes after unmount|Corrupted page table at|Corrupted low memory at"
        "|tick-stop error: |unexpected IRQ trap at vector|NMI received for unknown reason"
        "|Bad swap file entry|Bad swap offset entry|bad pmd |bad pud "
        "|bad pgd |bad p4d |percpu_ref underflow|Leaked locks on dev=|lock on dev="
        "|kfree_debugcheck: out of range ptr|Fixing recursive fault|Fatal kernel bug, "
        "|tree is corrupted: |recursion limit reached on datapath|(bad vaddr)|(bad dma)"
        "|keepalive on a LISTEN|Impossible, sk->sk_state|wrong queue state|psi: task underflow!"
        "|psi: inconsistent task state|there is a bug in the kernel|leaking DMA memory"
        "|need_resched set for > |module still alive, cannot|bug: prim "
        "|bug: iprim |SError Interrupt on CPU|CPU: stuck in kernel|KASAN internal error",
        r"(?: ?[A-Za-z_-]{2,20}\b)*",
        "IPv4: Attempt to release TCP socket in state 7 00000000a1b2c3d4",
        traces=0,
        words=True,
    ),
)


def any_of(words: Iterable[str]) -> str:
    """A pattern for any of these words that tries no letter twice: among a hundred words this is
    three times as fast as ``a|b|c``. Of two words that begin alike the shorter one counts."""
    rest: dict[str, list[str]] = {}
    for word in sorted(words):
        rest.setdefault(word[0], []).append(word[1:])
    found = [
        re.escape(letter) + ("" if "" in ends else any_of(ends)) for letter, ends in rest.items()
    ]
    return found[0] if len(found) == 1 else f"(?:{'|'.join(found)})"


STARTS = frozenset(start for row in ROWS for start in row.starts)
_HINT = re.compile(any_of(STARTS))
# The rows by the first two letters of their titles
_ROWS = {
    start[:2]: tuple(row for row in ROWS if any(own[:2] == start[:2] for own in row.starts))
    for start in STARTS
}


def find_titles(text: str) -> Iterator[tuple[Row, re.Match[str]]]:
    """The titles of complaints in one line, from left to right, each with its row."""
    at = 0
    while hint := _HINT.search(text, at):
        begin = hint.start()
        at = begin + 1
        for row in _ROWS[text[begin : begin + 2]]:
            if match := row.pattern.match(text, begin, begin + WINDOW):
                yield row, match
                at = max(at, match.end())
                break
