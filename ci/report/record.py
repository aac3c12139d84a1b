# SPDX-License-Identifier: GPL-2.0-only
"""One run as it is recorded, ``run.json``: with the guests' logs, all that a verdict needs.

A run fills it in as it goes, each stage its own part, so that a run which ends early leaves what it
has. Nothing in it is read by name: what is misspelt is seen by the type checker.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ci.base.sides import Side
from ci.guest.modes import Mode
from ci.logs.ending import GuestEnd
from ci.verdict.evidence import BuildRow, PatchRow, Trouble
from ci.verdict.proof import Proof

SCHEMA = 3


@dataclass(frozen=True)
class SeriesRow:
    """The series; ``notes`` say how it was read, ``allowed`` are (script, case, reason) of what it
    may change about the tests."""

    name: str
    change_id: str = ""
    notes: tuple[str, ...] = ()
    allowed: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True)
class TreesRow:
    """Where the kernel came from and why, and git's ids of the trees: as shipped, base, patched;
    empty as long as they are not made."""

    source: str
    why: str
    shipped: str = ""
    base: str = ""
    patched: str = ""


@dataclass(frozen=True)
class KernelRow:
    """A kernel that was built, and the guest's root that goes with it: SHA-256 of both images."""

    release: str
    build_id: str
    image_digest: str
    root_digest: str = ""


@dataclass(frozen=True)
class SuiteRow:
    """What was to run. ``selftests`` is ``own``, or the name of the tree whose scripts ran.
    ``known`` are (script, case, reason), the first two as shell patterns; ``notes`` say what of the
    suite the tree does not have. ``max_slowdown`` is by how many percent the CPU time of a script
    may grow, none where it may by any."""

    name: str
    selftests: str = "own"
    known: tuple[tuple[str, str, str], ...] = ()
    notes: tuple[str, ...] = ()
    max_slowdown: int | None = None


@dataclass(frozen=True)
class GuestRow:
    """One guest: the kernel's ``side``, the ``part`` of the script that ran, in which ``attempt``;
    ``tap`` says that the script ends with TAP. ``folder`` is below the run's, ``logs`` the SHA-256
    of each log in it."""

    side: Side
    script: str
    part: str
    attempt: int
    seed: int
    tap: bool
    folder: str
    end: GuestEnd
    from_record: bool
    logs: Mapping[str, str]


@dataclass(frozen=True)
class RunRecord:
    """The whole run. What a stage has not reached is ``None`` or empty. ``config`` names the
    kernels' configuration, ``must_flip`` are (script, case), ``guards`` (number, script, case): a
    patch and a case that must flip by it; ``kunit`` are the kernels that have their own tests,
    ``proof`` is what `inv prove` found out, ``versions`` are those of the tools, ``packages`` those
    of the guest's root; ``prefix`` begins each class name in JUnit; ``replay`` is the command that
    runs the same again in virtual time, but for its suite."""

    schema: int
    series: SeriesRow
    config: str = "guest"
    mode: Mode | None = None
    suite: SuiteRow | None = None
    trees: TreesRow | None = None
    patches: tuple[PatchRow, ...] = ()
    must_flip: tuple[tuple[str, str], ...] = ()
    guards: tuple[tuple[int, str, str], ...] = ()
    builds: tuple[BuildRow, ...] = ()
    kernels: Mapping[Side, KernelRow] = field(default_factory=dict)
    kunit: Mapping[Side, KernelRow] = field(default_factory=dict)
    guests: tuple[GuestRow, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    proof: Proof | None = None
    prefix: str = "unknown.guest"
    replay: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    packages: tuple[str, ...] = ()
    durations_s: Mapping[str, float] = field(default_factory=dict)
    cpu_s: Mapping[str, float] = field(default_factory=dict)
