# SPDX-License-Identifier: GPL-2.0-only
"""Where a complaint has its cause, and the fingerprint made of that.

A fingerprint is what a complaint has in common on the base and the patched kernel, and in each log
of one kernel: the kind, the words that do not change (no address, number, pid, CPU, time or task),
the file and the function. Two complaints with one fingerprint are one.

- The function is not the one that reports, waits, allocates or copies on another's behalf: of
  ``refcount_warn_saturate``, ``skb_panic``, ``fortify_panic`` or ``mutex_lock`` the caller is to
  blame. Who hangs is known by the function in which it hangs, never by the task.
- A WARN is known by its text where it has one. Else two of them in one function differ by nothing
  but the place. Line numbers move with each series that touches the file above, so the place is
  the one in the function's code, ``function+0xoffset/0xsize``: it stays what it is as long as the
  series leaves the function alone. Where a series changes a function that warns on base already,
  the old WARN counts as new: it is shown, and somebody looks. To compare less (the function alone)
  would hide a new WARN behind an old one. So too for BUG_ON and UBSAN.
- A leak is known by the first function of its backtrace that is no allocator.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from ci.logs.titles import Row

MAX_WORDS = 110

# " mptcp_sendmsg+0x1a/0x2b0 [mptcp]", "  [<ffffffff81a2b3c4>] mptcp_sendmsg+0x1a/0x2b0", but not
# " ? mptcp_sendmsg+0x1a/0x2b0": a rest on the stack
_FRAME = re.compile(
    r"(?:kmemleak: )? {0,12}(?:\[<?[0-9a-f]+>?\] {0,2})*"
    r"([A-Za-z_][\w.]*)\+(0x[0-9a-f]+/0x[0-9a-f]+)"
)
# "RIP: 0010:mptcp_worker+0x1a/0x2b0", "RIP: 0010:[<ffffffff8>]  [<ffffffff8>] f+0x1/0x2",
# "EIP: f+0x1/0x2", "pc : f+0x1/0x2"
_RIP = re.compile(
    r" {0,8}(?:RIP|EIP|IP|pc|PC is)\b[ :]{0,3}(?:at )?(?:[0-9a-f]{4}:)?(?:\[<[0-9a-f]+>\] {0,2})*"
    r"([A-Za-z_][\w.]*)\+(0x[0-9a-f]+/0x[0-9a-f]+)"
)
# "Call Trace:", "Call trace:", "stack backtrace:"
TRACE = re.compile(r" {0,4}(?:Call [Tt]race:|Backtrace: )")
# " <IRQ>", " </IRQ>", " <EOI>": what stands before the last one is what interrupted
_INTERRUPT = re.compile(r" {0,4}</?(?:IRQ|NMI|EOI)>|.*(?:asm_sysvec_|apic_timer_interrupt)")
# "ffff888004a3c0a8 (&msk->pm.lock){+.-.}-{3:3}, at: mptcp_pm_nl_work+0x1a/0x2b0"
_LOCK = re.compile(r"[^(]{0,40}\((\S.{0,100}?)\)\{")
_AT = re.compile(r", at: (?:\[<[0-9a-f]+>\] ?)?(\w[\w.]*)\+0x")
# "mptcp_connect/412 is trying to release lock (sk_lock-AF_INET) at:", the function behind it
_RELEASED = re.compile(r".* is trying to (?:release|contend) lock \(")
# "Allocated in mptcp_pm_alloc_anno_list+0x1a/0x90 age=12 cpu=0 pid=412"
_ALLOCATED = re.compile(r"(?:INFO: )?Allocated in (\w[\w.]*)\+0x")
# "     last function: mptcp_worker", "    in-flight: 12:mptcp_worker for 30s"
_WORK = re.compile(r" {0,8}(?:last function: |.*\bworkfn=|in-flight: \d+(?:\(\w+\))?:)(\w[\w.]*)")
# "Oops: divide error: 0000 [#1]"
_DIED = re.compile(r"([A-Za-z][\w ()-]{2,40}(?:, [\w -]{1,60})?): [0-9a-f]{4,16} \[#")
# "smp_call_function_many_cond", "synchronize_rcu_expedited", "__synchronize_srcu": who waits for
# all CPUs or for a grace period is a victim of another
_VICTIM = re.compile(r"_*(?:(smp_call_function)|synchronize_(?:s?rcu|sched|net)|__wait_rcu_gp)")
# "mptcp_close.part.0", "tcp_ack.isra.0.cold"
_SUFFIX = re.compile(r"\.(?:isra|constprop|part|cold|llvm)\b.*")
# "------------[ cut here ]------------": the text of a WARN stands between it and the title
CUT = "[ cut here ]"

# Functions that do something on their caller's behalf, by the beginning of their names ("$": whole)
_HELPERS = (
    # reports
    "___might_ __asan __bad_area __cant_ __cfi_ __debug_check __debug_object __do_kernel "
    "__do_page_fault __hwasan __kasan __kernel_text __kfence __kmsan __lockdep __might_ "
    "__msan __phys_addr __report __sanitizer __save_stack __schedule_bug __switch_to "
    "__this_cpu_preempt __tsan __ubsan __unwind __virt_addr __warn __x86_indirect asm_ "
    "async_page_fault bad_area bad_page bpf_ksym bpf_prog_ksym brk_handler bug_handler "
    "call_break check_memory_region check_panic_on_warn check_preemption check_region "
    "debug_check debug_check_no debug_object debug_print debug_smp depot_ df_ die$ do_bad_area "
    "do_double do_error_trap do_general do_invalid_op do_kern_addr do_mem_abort do_page_fault "
    "do_sea do_tag_check do_translation do_trap do_undef do_user_addr double_fault "
    "dump_backtrace dump_page dump_stack el1_ el1h_ end_report error_entry ex_handler exc_ "
    "fixup_ general_protection get_stack_info handle_bug handle_irq_event handle_overflow "
    "in_lock_func in_task_stack invalid_op is_bpf_text is_ftrace_tramp is_module_text kasan_ "
    "kcsan_ kernel_text_address kfence_ kmsan_ lock_is_held lockdep_ msan_ netdev_rx_csum "
    "nmi_ nmi_panic no_context note_interrupt oops_end orc_ page_fault panic print_ rcu_dump "
    "report_ save_stack schedule_debug set_track show_regs show_stack show_trace spurious_ "
    "stack_depot stack_trace sysfs_warn trigger_ ubsan_ unwind_ vpanic warn_ warn_alloc "
    "write_comp_data "
    # checks
    "___slab __check_heap __check_object __create_object __fortify __link_object __list_ "
    "__netns_tracker __rb_ __ref_track __skb_pull __skb_push __skb_put __stack_chk "
    "alloc_debug check_bytes check_heap check_object check_pad check_slab create_object "
    "dev_hold$ dev_put$ fortify_ free_debug get_net_track hlist_ init_object klist_ kobject_ "
    "kref_ list_add list_del list_move list_replace list_splice neigh_add_timer neigh_destroy "
    "netdev_alloc_skb netdev_hold$ netdev_printk netdev_put$ netdev_tracker object_err "
    "on_freelist pskb_expand put_net_track rb_ rcuref_ ref_tracker refcount_ skb_free "
    "skb_over_panic skb_panic skb_pull skb_push skb_put skb_release skb_under_panic slab_ "
    "sock_hold$ sock_put$ usercopy_ "
    # memory
    "____kmem ___kmalloc __alloc_frozen __alloc_pages __alloc_percpu __alloc_skb "
    "__alloc_workqueue __build_skb __do_kmalloc __free_pages __free_slab __get_free_page "
    "__kfree_skb __kmalloc __kmem_cache __krealloc __kvmalloc __napi_alloc_skb "
    "__netdev_alloc_skb __vmalloc alloc_file alloc_frozen alloc_inode alloc_netdev_mqs "
    "alloc_page alloc_pages alloc_percpu alloc_skb alloc_slab alloc_workqueue allocate_slab "
    "build_skb cache_alloc cache_free cache_grow consume_skb free_page free_pages free_pcp "
    "free_unref get_page_from kcalloc kfree kfree_skb kmalloc kmem_cache kmemdup kmemleak_ "
    "krealloc kstrdup kstrndup kvfree kvmalloc kzalloc mempool_ napi_alloc_skb new_inode "
    "new_slab nlmsg_new pcpu_alloc percpu_alloc post_alloc prep_new_page sk_alloc "
    "sk_prot_alloc sk_skb_reason_drop sock_alloc_send sock_kmalloc sock_wmalloc vfree vmalloc "
    "vzalloc "
    # locks
    "___mutex __bh_lock __down __folio_lock __local_bh_enable __lock_ __lock_page __lock_sock "
    "__lock_sock_fast __mutex_ __pv_ __raw_ __rcu_read __rwlock __srcu_read __trace_ __up "
    "_raw_ check_cpu_stall check_deadlock check_irq check_noncircular check_prev check_usage "
    "check_wait do_raw down$ down_ folio_lock folio_unlock ftrace_ local_bh lock_acquire "
    "lock_class lock_page lock_release lock_sock_fast lock_sock_nested lock_timer_base "
    "look_up_lock mark_held mark_lock mutex_ native_ osq_ percpu_down percpu_up pv_ queued_ "
    "raw_spin rcu_check_callbacks rcu_dynticks rcu_is_watch rcu_lock_ rcu_pending rcu_read "
    "rcu_sched_clock read_lock read_trylock read_unlock read_word_at register_lock "
    "release_sock$ rspin_ rt_mutex rwlock_ rwsem_ seqcount_ spin_ srcu_read trace_ "
    "unlock_page up$ up_ update_process_times validate_chain write_lock write_trylock "
    "write_unlock ww_mutex "
    # waits
    "__cond_resched __schedule __synchronize_srcu __wait_for __wait_on_bit __wait_rcu "
    "__wake_up bit_wait complete$ cond_resched context_switch do_wait_for finish_wait "
    "io_schedule out_of_line_wait preempt_count preempt_schedule prepare_to_wait schedule "
    "try_to_wake wait_for_common wait_for_completion wait_on_bit wait_woken wake_up "
    # work and timers
    "__cancel_work __del_timer __flush_work __hrtimer __mod_timer __queue_delayed "
    "__queue_work __timer_delete add_timer cancel_delayed cancel_work del_timer "
    "destroy_workqueue detach_if detach_timer drain_work flush_delayed flush_work hrtimer_ "
    "insert_work kthread_park kthread_stop mod_delayed mod_timer queue_delayed queue_work "
    "sk_reset_timer sk_stop_timer timer_delete timer_shutdown try_to_del_timer try_to_grab "
    # text and copies
    "__clear_user __copy_ __dynamic_ __get_user __mem __netdev_printk __put_user __read_once "
    "__rhashtable_lookup __write_once _copy_ _find_ _printk arch_ arch_atomic arch_cpu_idle "
    "atomic clear_bit clear_user constant_ copy_from_ copy_page copy_to_ copy_user copyin "
    "copyout cpumask_ crc32 csum_ find_first_bit find_next_bit format_decode get_user "
    "instrument_ kasprintf kvasprintf lockref_ memchr memcmp memcpy memmove memset number$ "
    "pointer printk put_user raw_copy rep_ rhashtable_lookup scnprintf set_bit sized_strscpy "
    "smp_apic smp_call snprintf sprintf stop_machine stop_one strcasecmp strchr strcmp strcpy "
    "strcspn string strlcpy strlen strncmp strncpy strnlen strnstr strrchr strscpy strspn "
    "strstr sysvec_ test_bit variable_test vprintk vscnprintf vsnprintf vsprintf xas_ "
    # processors
    "__flush_smp __orc __run_hrtimer __slab __smp_call __spin acpi_idle acpi_safe apic_timer "
    "common_interrupt cpu_idle cpu_startup cpuidle_ csd_ debug_lockdep default_idle do_idle "
    "generic_exec intel_idle irqentry_ is_softlockup mwait_idle on_each_cpu poll_idle "
    "reschedule_ restore_regs ret_from_intr retint_ tick_ touch_ watchdog_ "
)
_HELPER = re.compile("|".join(map(re.escape, _HELPERS.split())).replace(r"\$", r"\Z"))


@dataclass(frozen=True)
class _Frame:
    """A function of a trace, and the place in it: ``0x1a/0x2b0``."""

    name: str
    place: str

    @property
    def helps(self) -> bool:
        return _HELPER.match(self.name) is not None


@dataclass(frozen=True)
class Block:
    """The lines of one complaint; ``title`` is one of them."""

    title: str
    lines: list[str]


def steady_words(text: str) -> str:
    """A text without what differs from run to run: addresses, numbers, tasks."""
    text = re.sub(r"\+0x[0-9a-f]+(?:/0x[0-9a-f]+)?", "", text[: 4 * MAX_WORDS])
    text = re.sub(r"\b[^\s/]{1,32}(?:/\S{1,20})?/\d+\b", "*", text)
    text = re.sub(r"\b(?:0x)?[0-9a-f]{8,}\b|\b0x[0-9a-f]+", "*", text)
    return " ".join(re.sub(r"\d+", "N", text).split())[:MAX_WORDS]


def _frame(match: re.Match[str]) -> _Frame:
    return _Frame(_SUFFIX.sub("", match[1]), match[2])


def _frames(lines: list[str]) -> Iterator[_Frame]:
    return (_frame(match) for line in lines if (match := _FRAME.match(line)))


def _blamed(frames: list[_Frame]) -> _Frame | None:
    """The first function that is no helper, else the first."""
    return next((frame for frame in frames if not frame.helps), frames[0] if frames else None)


def _after(pattern: re.Pattern[str], lines: list[str]) -> list[str]:
    """The lines behind the first that matches; all where none does."""
    at = next((at for at, line in enumerate(lines) if pattern.match(line)), -1)
    return lines[at + 1 :]


def _victim(match: re.Match[str]) -> _Frame:
    return _Frame(match[1] or "synchronize_rcu", "")


def _in_wait(lines: list[str]) -> _Frame | None:
    """What a task waits for: of those who wait for all CPUs anybody may be the victim."""
    frames = list(_frames(_after(TRACE, lines)))
    match = next((match for frame in frames[:12] if (match := _VICTIM.match(frame.name))), None)
    return _victim(match) if match else _blamed(frames) or _in_trace(lines)


def _in_trace(lines: list[str]) -> _Frame | None:
    return _blamed(list(_frames(_after(TRACE, lines))) or list(_frames(lines)))


def _in_code(lines: list[str]) -> _Frame | None:
    """Where the processor was, or who called that."""
    rip = next((_frame(match) for line in lines if (match := _RIP.match(line))), None)
    trace = list(_frames(_after(TRACE, lines)))
    return _blamed([rip, *trace] if rip else trace)


def _in_loop(lines: list[str]) -> _Frame | None:
    """Where a CPU stayed: the processor's place and its callers, else what was interrupted."""
    at = next((at for at, line in enumerate(lines) if _RIP.match(line)), None)
    if at is not None:
        lines = lines[at:]
        frames = [_frame(match) for match in [_RIP.match(lines[0])] if match]
    else:
        lines, frames = _after(TRACE, lines), []
        marks = [at for at, line in enumerate(lines) if _INTERRUPT.match(line)]
        if marks and any(_FRAME.match(line) for line in lines[marks[-1] + 1 :]):
            lines = lines[marks[-1] + 1 :]
    frames += _frames(lines)
    if victim := next(
        (match for frame in frames[:3] if (match := _VICTIM.match(frame.name))), None
    ):
        return _victim(victim)
    return _blamed(frames)


def _in_slab(lines: list[str]) -> _Frame | None:
    """Who allocated the damaged object."""
    match = next((match for line in lines if (match := _ALLOCATED.match(line))), None)
    return _Frame(_SUFFIX.sub("", match[1]), "") if match else _in_trace(lines)


def _in_work(lines: list[str]) -> _Frame | None:
    """The function of the work that did it."""
    match = next((match for line in lines if (match := _WORK.match(line))), None)
    return _Frame(_SUFFIX.sub("", match[1]), "") if match else _in_trace(lines)


def _in_leak(lines: list[str]) -> _Frame | None:
    return _blamed(list(_frames(lines)))


SITES: dict[str, Callable[[list[str]], _Frame | None]] = {
    "code": _in_code,
    "die": _in_code,
    "trace": _in_trace,
    "hang": _in_wait,
    "stall": _in_loop,
    "slab": _in_slab,
    "work": _in_work,
    "leak": _in_leak,
}


def _locked(lines: list[str]) -> tuple[str, _Frame | None]:
    """The lock that lockdep is about, and who takes or gives it."""
    for at, line in enumerate(lines):
        if _RELEASED.match(line):
            return "", _in_leak(lines[at + 1 : at + 4])
        if (taken := _AT.search(line)) and (match := _LOCK.match(line)):
            frame = _Frame(_SUFFIX.sub("", taken[1]), "")
            lock = re.sub(r"[#/]\d+", "", match[1])
            behind = _after(re.compile("stack backtrace:"), lines)
            return lock, _blamed([frame, *_frames(behind)])
    return "", _in_trace(lines)


def _said(lines: list[str], title: str) -> str:
    """What WARN was told to say: the first line between its cut and its title."""
    cut = next((at for at, line in enumerate(lines) if CUT in line), None)
    if cut is None:
        return ""
    end = next((at for at, line in enumerate(lines) if line == title), len(lines))
    return next((steady_words(line) for line in lines[cut + 1 : end] if line[:1].strip()), "")


def _name(frame: _Frame | None, exact: bool) -> str:
    return (frame.name + (f"+{frame.place}" if exact and frame.place else "")) if frame else ""


def make_fingerprint(row: Row | None, groups: Mapping[str, str], block: Block) -> str:
    """The fingerprint of a block that begins with a title of ``row`` and its ``groups``; ``None``
    for a trace without a title. At most 200 characters."""
    if row is None:
        return " ".join(["trace", _name(_in_trace(block.lines), False)]).strip()
    words = steady_words(groups.get("what", ""))
    file = groups.get("file") or groups.get("old") or ""
    func = _SUFFIX.sub("", groups.get("func", ""))
    place = f"+{groups['at']}" if row.exact and groups.get("at") else ""
    site = ""
    if row.site == "warning":
        words = _said(block.lines, block.title) or (words if re.search("[a-z]", words) else "")
        place = "" if words else place
    if row.site in ("warning", "func") and (not func or _HELPER.match(func)):
        site = _name(_in_trace(block.lines), False)
    elif row.site == "lock":
        lock, frame = _locked(block.lines)
        site = f"{lock[:60]} {_name(frame, False)}".strip()
    elif row.site == "die":
        died = _DIED.search(block.title[:200])
        words = steady_words(died[1].removeprefix("Oops: ")) if died else ""
        site = _name(_in_code(block.lines), False)
    elif row.site in SITES and not (row.exact and func):
        site = _name(SITES[row.site](block.lines), row.exact)
    parts = [row.kind, words, file, func + place, site if site != func else ""]
    return " ".join(part for part in parts if part)[:200]
