# SPDX-License-Identifier: GPL-2.0-only
"""Evidence -> findings: the state of every case on both kernels. What a state amounts to is for
:mod:`ci.verdict.judge`.

Here it is settled what an absent case, a cut-off script and a clean console mean, given how the
guests ended on both sides. Scripts have their cases under their names. Where the series changes a
script, the cases of its old form, that of the base tree, are a group of their own, ``NAME (old)``.
There are four groups more: ``pipeline`` (our own trouble), ``apply`` (a case per patch), ``build``,
and ``kernel`` (for each script whether its guest finished and its console was read; for each
distinct complaint one).
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace

from ci.logs.ending import Ended
from ci.logs.outcome import Case, State, clean_lines, tidy
from ci.verdict.evidence import Evidence, Guest, ScriptRun
from ci.verdict.finding import OLD, Finding
from ci.verdict.health import guest_rows, is_read, taint_rows
from ci.verdict.leaks import memory_rows
from ci.verdict.speed import cost_rows

MAX_STORY = 300


def _in_short(*texts: str) -> str:
    """Lines as half a sentence: joined, at most 300 characters."""
    lines = [
        " ".join(line.split()) for text in texts for line in clean_lines(text[: 4 * MAX_STORY])
    ]
    return "; ".join(line for line in lines if line)[:MAX_STORY]


# "`/usr/bin/mmdebstrap --variant=extract ...` ended with exit code 2", as ci.base.processes puts it
_COMMAND = re.compile(r"`(?:\S*/)?(\S+).*` (?=ended with|was ended|did not end|could not be run)")
# A terminal of 80 columns shows so much of a trouble in three lines.
_SHOWN = 170


def _trouble_story(text: str) -> str:
    """What went wrong, in short. Of a command that failed its name and how it ended, then its last
    lines as far as they fit: what a program says last is why it failed."""
    head, *lines = [" ".join(line.split()) for line in clean_lines(text)]
    found = _COMMAND.search(head)
    if not found:
        return _in_short(text)
    start, last = f"{head[: found.start()]}{found[1]} {head[found.end() :]}", list[str]()
    log = [lines.pop()] if lines and lines[-1].startswith("log: ") else []
    for line in filter(None, reversed(lines)):
        if last and sum(map(len, (start, *last, line))) > _SHOWN:
            break
        last.insert(0, line[:_SHOWN])
    return _in_short(start, *last, *log)


# What the kernel itself cut short, where the other kernel came through.
_CUT_SHORT = (
    Ended.PANIC,
    Ended.RESET,
    Ended.POWER_OFF,
    Ended.HANG_BOOT,
    Ended.HANG_SCRIPT,
    Ended.FLOODED,
    Ended.FORGED,
)


@dataclass(frozen=True)
class _Side:
    """What one kernel gave for one script: the script's own case, its cases, and what the absence
    of one means."""

    own: Case
    cases: dict[str, Case]
    absent: State


def _finished(guest: Guest | None) -> bool:
    return guest is not None and guest.ended is Ended.FINISHED


def _side(script: str, guest: Guest | None, other: Guest | None) -> _Side:
    """Read one side. A guest that was cut short is its kernel's doing where the other kernel's
    guest finished: the open cases fail and the others are missing. Otherwise we could not find
    out."""
    if guest is None:
        return _Side(Case(script, State.ERROR, "it was not run"), {}, State.ERROR)
    blamed = guest.ended in _CUT_SHORT and _finished(other)
    why = guest.ended.value + (f": {guest.note}" if guest.note else "")
    if guest.result is None:
        detail = "the script left no record" if _finished(guest) else why
        state = State.MISSING if blamed else State.ERROR
        return _Side(Case(script, state, detail), {}, state)

    def settled(case: Case) -> Case:
        if case.state is State.ERROR and blamed:
            return replace(case, state=State.FAIL, detail=f"{why}\n{case.detail}".strip())
        return case

    own = settled(guest.result.own)
    doubtful = (
        own.state is State.ERROR
        or guest.ended is Ended.LOST
        or (guest.ended in _CUT_SHORT and not blamed)
    )
    cases = {case.name: settled(case) for case in guest.result.cases}
    return _Side(own, cases, State.ERROR if doubtful else State.MISSING)


def _row(group: str, base: Case, patched: Case, *, removed: bool = False) -> Finding:
    time = patched.time_ms if patched.time_ms is not None else base.time_ms
    return Finding(
        group,
        patched.name,
        base.state,
        patched.state,
        patched.detail or base.detail,
        time_ms=time,
        removed=removed,
        attempts=patched.attempts,
    )


def _reference(run: ScriptRun) -> Guest | None:
    """Base's guest. Where the patched tree's script ends on neither kernel and its old form does
    end on base, it is the series that made the script so, and base is what the old form shows."""
    stuck = not _finished(run.base) and not _finished(run.patched)
    return run.base_old if stuck and _finished(run.base_old) else run.base


_OUTCOMES = (State.PASS, State.FAIL, State.FLAKY, State.UNSTEADY)


def _is_removed(old: Case | None, new: Case) -> bool:
    """Whether a case has an outcome with the script's old form on the patched kernel, and none that
    counts with the new form."""
    if old is None or old.state not in _OUTCOMES:
        return False
    marked = new.state is State.FLAKY and old.state is not State.FLAKY
    return marked or new.state in (State.SKIP, State.MISSING)


def _script_rows(run: ScriptRun, wanted: list[str]) -> Iterator[Finding]:
    """The script's own case, its cases in the order of the patched kernel's, and what must flip and
    never came up."""
    reference = _reference(run)
    base, patched = (
        _side(run.script, reference, run.patched),
        _side(run.script, run.patched, reference),
    )
    # Nobody's guest excuses this one: where it is cut short there is no base to compare with.
    own = _side(run.script, run.base_old, None) if run.base_old else None
    ended = run.removed or _finished(run.patched)
    old = _side(run.script, run.patched_old, run.base_old) if run.patched_old and ended else None
    if run.built_in and ended:
        old = base
    if own and run.removed:
        gone = Case(run.script, State.MISSING, "the series takes the script out of the suite")
        base, patched = own, _Side(gone, {}, State.MISSING)
    before = {**own.cases, **base.cases} if own else base.cases
    absent = own.absent if own else base.absent
    yield _row(
        run.script,
        base.own,
        patched.own,
        removed=_is_removed(old.own if old else None, patched.own),
    )
    for name in dict.fromkeys(
        [*patched.cases, *before, *(name for name in wanted if name != run.script)]
    ):
        case = patched.cases.get(name, Case(name, patched.absent))
        removed = _is_removed(old.cases.get(name) if old else None, case)
        yield _row(run.script, before.get(name, Case(name, absent)), case, removed=removed)


def _old_rows(run: ScriptRun) -> Iterator[Finding]:
    """The cases of the script's old form on both kernels."""
    if not run.base_old and not run.patched_old:
        return
    base, patched = (
        _side(run.script, run.base_old, run.patched_old),
        _side(run.script, run.patched_old, run.base_old),
    )
    yield _row(run.script + OLD, base.own, patched.own)
    for name in dict.fromkeys([*patched.cases, *base.cases]):
        yield _row(
            run.script + OLD,
            base.cases.get(name, Case(name, base.absent)),
            patched.cases.get(name, Case(name, patched.absent)),
        )


def _end_state(guest: Guest | None, other: Guest | None) -> State:
    """Whether a guest finished, as a state; what kept it from that is only known where the other
    one did."""
    if _finished(guest):
        return State.UNSTEADY if guest and guest.failed else State.PASS
    blamed = guest and guest.ended is not Ended.LOST and _finished(other)
    return State.FAIL if blamed else State.ERROR


def _guest_rows(script: str, base: Guest | None, patched: Guest | None) -> Iterator[Finding]:
    """How the guests of a script ended, and whether their consoles could be read."""
    sides = (("base", base), ("patched", patched))
    ends = [
        (
            f"{side}: {guest.ended.value}" + (f" ({guest.note})" if guest.note else "")
            if guest
            else f"{side}: not run"
        )
        for side, guest in sides
    ]
    yield Finding(
        "kernel",
        f"{script}: guest finished",
        _end_state(base, patched),
        _end_state(patched, base),
        "\n".join(ends),
        _in_short(*reversed(ends)),
        attempts=patched.failed if patched else (),
    )
    read = [State.PASS if guest and guest.scanned else State.ERROR for _, guest in sides]
    missing = " and ".join(
        side for (side, _), state in zip(sides, read, strict=True) if state is State.ERROR
    )
    story = f"the console of {missing} could not be read" if missing else ""
    yield Finding("kernel", f"{script}: console scanned", read[0], read[1], story, story)


def _kernel_rows(run: ScriptRun, max_slowdown: int | None) -> Iterator[Finding]:
    """The guests of a script, and those of its old form."""
    pairs = [] if run.removed else [(run.script, _reference(run), run.patched)]
    if run.base_old or run.patched_old:
        pairs.append((run.script + OLD, run.base_old, run.patched_old))
    for script, base, patched in pairs:
        yield from _guest_rows(script, base, patched)
        yield from guest_rows(script, base, patched)
        bases = (run.base, run.base_old) if patched is run.patched else (base,)
        yield from memory_rows(script, [one for one in bases if one], patched)
        yield from cost_rows(script, base, patched, max_slowdown)


def _complaint_rows(runs: tuple[ScriptRun, ...]) -> Iterator[Finding]:
    """One case per distinct complaint, whatever script it came with. That it is absent is only
    known where the guests of the scripts that it came with on the other kernel finished and were
    read."""
    seen: dict[str, list[set[str]]] = {}
    texts: dict[str, tuple[str, str]] = {}
    of_kernel = {
        run.script: [
            [guest for guest in guests if guest]
            for guests in ((run.base, run.base_old), (run.patched, run.patched_old))
        ]
        for run in runs
    }
    for script, kernels in of_kernel.items():
        for side, guests in reversed([*enumerate(kernels)]):
            for splat in (splat for guest in guests for splat in guest.splats):
                seen.setdefault(splat.fingerprint, [set(), set()])[side].add(script)
                texts.setdefault(
                    splat.fingerprint, (f"{splat.title} (with {script})", splat.excerpt)
                )
    for fingerprint, scripts in seen.items():
        states = []
        for side in (0, 1):
            guests = [one for script in scripts[1 - side] for one in of_kernel[script][side]]
            clear = bool(guests) and all(is_read(one) and _finished(one) for one in guests)
            states.append(State.FAIL if scripts[side] else State.PASS if clear else State.ERROR)
        story, excerpt = texts[fingerprint]
        yield Finding(
            "kernel",
            tidy(fingerprint),
            states[0],
            states[1],
            f"{story}\n{excerpt}",
            _in_short(story),
        )


def _own_rows(evidence: Evidence) -> Iterator[Finding]:
    """What is known without any guest: our trouble, the patches, the builds."""
    for trouble in evidence.troubles:
        story = _trouble_story(trouble.text) or "no reason was given"
        yield Finding("pipeline", trouble.stage, State.ERROR, State.ERROR, trouble.text, story)
    for patch in evidence.patches:
        before: State = State.PASS if patch.state is State.FAIL else patch.state
        name = tidy(_in_short(f"{patch.number}: {patch.title}"))
        detail = f"{patch.status}\n{patch.detail}".strip()
        yield Finding("apply", name, before, patch.state, detail, _in_short(detail))
    for build in evidence.builds:
        # A base that does not build is no base: it says nothing about the series.
        failed = build.base is State.FAIL
        story = _in_short("the base does not build" if failed else "", build.detail)
        # What was not tried on patched, as something before it failed, is not lost.
        tried = build.base if build.patched is not State.MISSING else State.MISSING
        before = State.ERROR if failed else tried
        yield Finding("build", build.name, before, build.patched, build.detail, story)
    yield from evidence.proved


def _all_rows(evidence: Evidence) -> Iterator[Finding]:
    wanted: dict[str, list[str]] = {}
    for script, name in evidence.must_flip:
        wanted.setdefault(script, []).append(name)
    yield from _own_rows(evidence)
    for run in evidence.runs:
        yield from _kernel_rows(run, evidence.max_slowdown)
    yield from _complaint_rows(evidence.runs)
    yield from taint_rows(evidence.runs)
    for run in evidence.runs:
        yield from _script_rows(run, wanted.pop(run.script, []))
        yield from _old_rows(run)
    for script, names in wanted.items() if evidence.runs else ():
        for name in names:
            story = "it must flip, and its script was not run"
            yield Finding(script, name, State.ERROR, State.ERROR, story, story)


def list_findings(evidence: Evidence) -> Iterator[Finding]:
    """Every finding, in the order of the reports; no two share group and name (a repeat gets
    `` (2)``)."""
    times: Counter[tuple[str, str]] = Counter()
    for row in _all_rows(evidence):
        times[row.group, row.name] += 1
        count = times[row.group, row.name]
        yield row if count == 1 else replace(row, name=f"{row.name} ({count})")
