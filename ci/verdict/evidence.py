# SPDX-License-Identifier: GPL-2.0-only
"""What a verdict rests on: the records that a pipeline fills in and :mod:`ci.verdict.judge` judges.
No logic here."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ci.base.sides import Side
from ci.logs.ending import Ended
from ci.logs.health import Health
from ci.logs.ktap import ScriptResult
from ci.logs.outcome import State
from ci.logs.splats import Splat
from ci.verdict.finding import Finding


@dataclass(frozen=True)
class PatchRow:
    """A patch and how it went: ``status`` in the caller's words; ``state`` is PASS, SKIP (left out,
    not affected), FAIL (it does not apply: exit code 2) or MISSING (never tried). ``adapted`` is a
    diff: how what was taken out or put on differs from the patch."""

    number: int
    title: str
    digest: str
    status: str
    state: State = State.PASS
    detail: str = ""
    adapted: str = ""


@dataclass(frozen=True)
class BuildRow:
    """Something built on both sides (``kernel``, ``selftests``): PASS or FAIL, MISSING where it is
    not needed or was not tried. ``detail`` holds the compiler's lines."""

    name: str
    base: State
    patched: State
    detail: str = ""


@dataclass(frozen=True)
class Guest:
    """One script in one guest. ``result`` is None where the script never began; ``scanned`` is
    False where the console could not be read; ``note`` says more about the end, e.g. where the log
    is; ``attempt`` is what the run is told by where there are several: ``seed 2``. Of several
    attempts as one, ``failed`` are those that did not finish where others did. ``health`` is of
    each run that this is made of."""

    result: ScriptResult | None
    ended: Ended
    splats: tuple[Splat, ...] = ()
    scanned: bool = True
    note: str = ""
    attempt: str = ""
    failed: tuple[str, ...] = ()
    health: tuple[Health, ...] = ()


@dataclass(frozen=True)
class ScriptRun:
    """A script on both kernels; a side that was not run at all is None. ``base_old`` and
    ``patched_old`` are the two with the script of the base tree, where that is another. The first
    stands in for the cases that the patched tree's script did not reach on base; the two together
    show what the series does to the kernel, whatever it does to the tests. ``built_in``: the script
    is the kernel's own tests, and so each kernel ran those of its own tree."""

    script: str
    base: Guest | None
    patched: Guest | None
    base_old: Guest | None = None
    patched_old: Guest | None = None
    built_in: bool = field(default=False, kw_only=True)

    @property
    def removed(self) -> bool:
        """Whether the series takes the script away: only its old form could run."""
        return not self.base and not self.patched and self.base_old is not None

    @property
    def guests(self) -> Mapping[Side, Guest | None]:
        """Each side's guest."""
        return dict(zip(Side, self._all(), strict=True))

    def _all(self) -> tuple[Guest | None, ...]:
        return self.base, self.patched, self.base_old, self.patched_old


@dataclass(frozen=True)
class Trouble:
    """Why we could not find out: the stage's noun and a readable sentence."""

    stage: str
    text: str


@dataclass(frozen=True)
class Evidence:
    """All that a verdict rests on; a run that ended early simply has less of it. There is one run
    per script.

    ``must_flip``: (script, case) that the series has to turn from fail to pass. ``known``: (script,
    case) -> why it may not pass; it excuses a failure, never an error, and never a case that must
    flip. ``guards``: (number, script, case), a patch and a case that must flip by it. ``allowed``:
    (script, case) -> why the series may remove the case, or change what the base tree's script says
    of it; an empty case stands for the whole script. ``notes``: how the series was
    read, for people; no part of the verdict. ``max_slowdown``: by how many percent the CPU time of
    a script may grow; none where nothing is known of it. ``proved``: what was found out of each
    patch by itself.
    """

    series: str
    change_id: str
    patches: tuple[PatchRow, ...] = ()
    builds: tuple[BuildRow, ...] = ()
    runs: tuple[ScriptRun, ...] = ()
    must_flip: tuple[tuple[str, str], ...] = ()
    guards: tuple[tuple[int, str, str], ...] = ()
    known: Mapping[tuple[str, str], str] = field(default_factory=dict)
    allowed: Mapping[tuple[str, str], str] = field(default_factory=dict)
    troubles: tuple[Trouble, ...] = ()
    notes: tuple[str, ...] = ()
    max_slowdown: int | None = None
    proved: tuple[Finding, ...] = ()
