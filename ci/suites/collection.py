# SPDX-License-Identifier: GPL-2.0-only
"""What one collection of selftests is: all that the pipeline has to know of it, as data."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from ci.logs import ktap
from ci.logs.ktap import LineReader, ScriptResult
from ci.suites.kunit import KUNIT, KernelTests

SELFTESTS = "tools/testing/selftests"


@dataclass(frozen=True)
class Script:
    """One selftest program and its arguments. ``limit_s`` counts guest seconds (times the mode's
    factor); ``part`` names what of the program runs, empty for all of it, and ``group`` is the
    tree's name of that part; ``all_features``: a case that skips is a failure to look into, which
    the variable ``features`` tells the script.
    ``folder`` is where it lies below the selftests; ``probe`` is what is run before it; ``check``:
    the series brings it, it is none of the tree's. A
    collection's :meth:`Collection.script` fills these in.
    """

    program: str
    args: tuple[str, ...] = ()
    limit_s: int = 600
    part: str = ""
    group: str = ""
    all_features: bool = True
    folder: str = ""
    features: str = ""
    probe: str = ""
    check: bool = False

    @property
    def built_in(self) -> bool:
        """Whether it is the kernel's own tests: the guest has nothing to run."""
        return self.program == KUNIT

    @property
    def name(self) -> str:
        """The program without ``.sh``: how its cases are known, in whatever parts it runs."""
        return self.program.removesuffix(".sh")

    @property
    def label(self) -> str:
        """Name and part: distinct within a suite, fit for a folder."""
        return f"{self.name}-{self.part}" if self.part else self.name

    @property
    def environment(self) -> Mapping[str, str]:
        """What the script finds in its environment."""
        return {self.features: str(int(self.all_features))} if self.features else {}


@dataclass(frozen=True)
class Row:
    """A row of a suite's table: a program, or the part of it whose group is so named; what letter
    selects the group is for the tree to say."""

    program: str
    group: str = ""


@dataclass(frozen=True)
class Collection:
    """A folder of the kernel's selftests, and what there is to know of it.

    ``target`` is kselftest's own name of it (``net/mptcp``). ``configs`` are the tree's files that
    say what the kernel needs, ``symbols`` are lines of our own for what they lack. ``variables``
    are further words for the selftests' make. ``features`` is the variable that asks the scripts to
    fail instead of to skip. ``reader`` makes the reader of what a script prints besides TAP, and
    ``tap`` is a file of the folder with a word in it that tells whether the tree's scripts end with
    TAP; empty: none does. ``kunit`` are the kernel's own tests of the same code. ``probe`` is a
    program below images/guest/probes that is run before each script, for what it costs;
    ``max_slowdown`` is by how many percent that, or a script, may cost more on patched.

    ``tables`` are suites by their names. ``groups`` says of a program how it lists the parts that
    can run by themselves: ``letter@name`` words in the pattern's first group, where ``#`` begins a
    comment. ``limits`` are
    (beginning of a program's name, guest seconds). ``known`` is what may fail or skip though every
    feature is expected: (script, case, why), the first two as shell patterns.
    """

    name: str
    target: str
    configs: tuple[str, ...]
    reader: Callable[[str], LineReader]
    tables: Mapping[str, tuple[Row, ...]]
    symbols: str = ""
    variables: tuple[str, ...] = ()
    features: str = ""
    tap: tuple[str, str] | None = None
    kunit: KernelTests | None = None
    groups: Mapping[str, re.Pattern[str]] = field(default_factory=dict)
    limits: tuple[tuple[str, int], ...] = ()
    known: tuple[tuple[str, str, str], ...] = ()
    probe: str = ""
    max_slowdown: int = 100

    @property
    def folder(self) -> str:
        """Its folder of the tree."""
        return f"{SELFTESTS}/{self.target}"

    def script(self, program: str, part: str = "", group: str = "") -> Script:
        """A program, or its part that ``-part`` selects and the tree calls ``group``. It has the
        same limit in each suite: the guest's timer for it is part of a run."""
        limits = [limit for prefix, limit in self.limits if program.startswith(prefix)]
        return Script(
            program,
            (f"-{part}",) if part else (),
            limits[0] if limits else Script.limit_s,
            part,
            group,
            folder=self.target,
            features=self.features,
            probe=self.probe,
        )

    def parse_logs(
        self, script: str, logs: Mapping[str, str], exit_status: int | None, *, expect_tap: bool
    ) -> ScriptResult:
        """What a guest's logs say of its script, which has no ``.sh`` here: what it printed, read
        by this collection's reader, or what the kernel printed of its own tests."""
        if script == KUNIT:
            return ktap.parse_kernel(script, logs["kernel"])
        return ktap.parse_script(
            script, logs["tests"], exit_status, self.reader(script), expect_tap=expect_tap
        )
