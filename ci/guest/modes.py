# SPDX-License-Identifier: GPL-2.0-only
"""How guests run: the table of modes, and which one is taken here."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from ci.base.errors import StageError
from ci.base.workspace import Workspace
from ci.guest import kvm
from ci.kernel.configuration import Needs

# Recording makes QEMU's main loop and its CPU thread take turns; what is recorded goes nowhere.
# Without it the loop, which moves an idle guest's clock on to its next timer
# (icount_start_warp_timer), may find the CPU halted by the other thread before the instructions it
# ran are counted (rr_cpu_thread_fn): the clock then goes too far by them.
TURNS = ",rr=record,rrfile=/dev/null"


@dataclass(frozen=True)
class Machine:
    """One row of the mode table: what the mode adds to the machine that all modes share.

    ``time_factor`` is how much slower than hardware the guest may be: it stretches the guest's own
    time limits. ``repeatable`` machines give the same logs for the same inputs, byte for byte.
    """

    vcpus: int
    time_factor: int
    vng: tuple[str, ...]
    qemu: tuple[str, ...]
    cmdline: str
    repeatable: bool = False
    memory_mb: int = Needs.memory_mb


MACHINES = {
    # vng asks for "kvm:tcg", which falls back in silence; a later accel= wins.
    "kvm": Machine(2, 1, (), ("-machine", "accel=kvm"), ""),
    # A busy host can keep an emulated CPU away for seconds: only a long silence is a lockup.
    "tcg": Machine(2, 4, ("--disable-kvm",), ("-accel", "tcg,thread=multi"), "watchdog_thresh=60"),
    # The guest's time is a count of its instructions, so no slow host can make a test time out, and
    # a CPU that does not schedule for long is the kernel's doing: it may end the guest.
    "virtual": Machine(
        1,
        1,
        ("--disable-kvm",),
        tuple(
            (
                f"-accel tcg -icount shift=0,sleep=off{TURNS} "
                # Without ERMS and FSRM the kernel copies by loops: of a rep, TCG runs each byte by
                # itself.
                "-rtc base=2025-01-01T00:00:00,clock=vm -cpu max,-erms,-fsrm"
            ).split()
        ),
        # The LAPIC timer is calibrated by a loop that costs as much as the rest of the boot; the
        # devices that vng adds would answer in the host's time.
        "softlockup_panic=1 nolapic_timer initcall_blacklist=virtio_pci_driver_init",
        repeatable=True,
    ),
}


@dataclass(frozen=True)
class Mode:
    """The choice, a key of ``MACHINES``, and why it was made. ``seed`` is where a repeatable
    machine takes every random number from; ``needs`` are those of the kernel's configuration;
    ``layout`` is ``fixed`` or ``random``: whether the
    guest's addresses are drawn, too. ``vcpus`` (0: as the mode has them) and further words for QEMU
    are the user's. An ``interactive`` guest takes input, which no recorded one gets (nor could
    repeat)."""

    name: str
    why: str
    seed: int = 1
    layout: str = "fixed"
    vcpus: int = 0
    qemu: tuple[str, ...] = ()
    interactive: bool = False
    needs: Needs = field(default_factory=Needs)

    @property
    def machine(self) -> Machine:
        """The row of the mode table, with the seed in it where it has one, what the configuration
        needs, and what the user added."""
        row = MACHINES[self.name]
        seed = ("-seed", str(self.seed)) if row.repeatable else ()
        words = [word.replace(TURNS, "") for word in row.qemu] if self.interactive else row.qemu
        return replace(
            row,
            vcpus=self.vcpus or row.vcpus,
            qemu=(*words, *seed, *self.qemu),
            cmdline=" ".join([row.cmdline, *self.needs.cmdline]).strip(),
            memory_mb=self.needs.memory_mb,
            time_factor=row.time_factor * self.needs.time_factor,
        )


# What QEMU may be told and still be repeatable: it changes what is watched, not what runs.
HARMLESS = ("-s", "-S", "-d", "-D", "-dfilter", "-gdb", "-pidfile", "-name")
# Why the others are not: (the words' beginning, reason).
BREAKS = (
    (
        re.compile(r"-icount .*(?:shift=)?auto"),
        "an adaptive shift follows the host's speed, and the guest's time with it",
    ),
    (
        re.compile(r"-icount"),
        "the guest's time is a count of its instructions, and how they are counted is fixed",
    ),
    (re.compile(r"-(?:netdev|nic|net) "), "what a network brings comes at moments of the host's"),
    (re.compile(r"-smp "), "several virtual CPUs take turns at moments of the host's"),
    (
        re.compile(r"-(?:accel|enable-kvm|machine|M) ?"),
        "the machine and its accelerator are part of the promise",
    ),
    (
        re.compile(r"-(?:rtc|seed) "),
        "the clock and the seed are set by the mode; --seed takes another seed",
    ),
    (re.compile(r"-"), "nobody has shown that it keeps a run the same, byte for byte"),
)


def demand_repeatable(vcpus: int, qemu: Sequence[str]) -> None:
    """A :class:`StageError` names the first setting with which virtual time would not be the same
    each time, and why."""
    if vcpus > 1:
        raise StageError(
            "options",
            f"--cpus {vcpus}: in virtual mode several virtual CPUs would take turns at moments of "
            "the host's, and no run would be the same; use --mode tcg or kvm",
        )
    for place, word in enumerate(qemu):
        if not word.startswith("-") or word in HARMLESS:
            continue
        value = next((one for one in qemu[place + 1 : place + 2] if not one.startswith("-")), "")
        reason = next(why for pattern, why in BREAKS if pattern.match(f"{word} {value}"))
        raise StageError(
            "options", f"--qemu '{word} {value}'".rstrip() + f": refused in virtual mode: {reason}"
        )


def choose_mode(
    asked: str,
    workspace: Workspace,
    *,
    seed: int | None = None,
    layout: str = "",
    vcpus: int = 0,
    qemu: Sequence[str] = (),
    needs: Needs | None = None,
) -> Mode:
    """The mode for ``asked``; ``auto`` is kvm where the probe passes, else virtual. A
    :class:`StageError` for a kvm that was asked for and does not work, for a seed where time is
    real, and for what would break virtual time: nothing is ignored in silence."""
    name, why = asked, f"--mode {asked}"
    if asked in ("auto", "kvm"):
        trouble = kvm.find_trouble(workspace)
        if asked == "kvm" and trouble:
            raise StageError(
                "run", f"--mode kvm: {trouble}; use --mode virtual or tcg, which need no KVM"
            )
        name = "virtual" if trouble else "kvm"
        why = f"auto: KVM does not work: {trouble}" if trouble else f"{why}, the probe passed"
    if seed is not None and not MACHINES[name].repeatable:
        raise StageError(
            "options",
            f"--seed {seed}: mode {name} runs in real time, so no seed can make it repeat; "
            "use --mode virtual",
        )
    if MACHINES[name].repeatable:
        demand_repeatable(vcpus, qemu)
    return Mode(
        name,
        why,
        1 if seed is None else seed,
        layout or "fixed",
        vcpus,
        tuple(qemu),
        needs=needs or Needs(),
    )
