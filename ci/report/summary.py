# SPDX-License-Identifier: GPL-2.0-only
"""A verdict for people: a few lines for a terminal, and Markdown for a job summary.

Names and messages come from guests, patches and compilers. Nothing of theirs may act: control
characters are shown escaped, and there is no colour of their own, no Markdown, no HTML, no workflow
command. GitHub's runner obeys ``::command::`` at the start of a line, blanks before it included,
and ``##[command]`` anywhere; so every line begins with a word or mark of ours, and ``##[`` is
broken up.
"""

import re
import unicodedata
from collections import Counter

from ci.base.exit_codes import ExitCode
from ci.base.text import escape_controls
from ci.logs.outcome import clean_lines
from ci.verdict.finding import OLD
from ci.verdict.judge import CaseVerdict, Change, Verdict

MAX_ROWS = 30
MAX_REASONS = 12
MAX_DIFF = 100
MIN_WIDTH = 40
SEED = re.compile(r" --seed \d+")  # inv validate --seed 4
_COLOURS = {"accepted": "32", "rejected": "31", "error": "33"}
# What is worth a row, most important first; the other changes are only counted.
_NOTABLE = (
    Change.REGRESSED,
    Change.NEW_FAILURE,
    Change.LOST,
    Change.NEWLY_FLAKY,
    Change.REMOVED,
    Change.UNKNOWN,
    Change.FIXED,
    Change.FLAKY,
)
_LINES = {
    "accepted": "everything was found out, and nothing got worse",
    "rejected": "the series is at fault",
    "error": "no verdict",
}


def plain_line(text: str, limit: int = 300) -> str:
    """Any text as one line that can be shown anywhere: printable, single blanks, no ``##[``."""
    line = " ".join(" ".join(clean_lines(text[: 4 * limit])).split())[:limit]
    return line.replace("##[", "# #[")


def _cells(char: str) -> int:
    """The columns that a character takes on a terminal."""
    if unicodedata.combining(char):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def _fit(text: str, width: int) -> str:
    """The text cut to so many columns, an ellipsis where it is cut."""
    if sum(map(_cells, text)) <= width:
        return text
    kept, used = [], 0
    for char in text:
        used += _cells(char)
        if used > width - 1:
            break
        kept.append(char)
    return "".join(kept) + "…"


def _wrapped(first: str, text: str, width: int) -> list[str]:
    """Text over at most three lines; the further ones begin with a mark, so that none begins with
    the text."""
    lines: list[str] = []
    rest = text
    head = first
    while rest and len(lines) < 3:
        room = width - len(head)
        if len(lines) == 2 or sum(map(_cells, rest)) <= room:
            part, rest = rest, ""
        else:
            cut = len(_fit(rest, room)) - 1
            blank = rest.rfind(" ", room // 2, cut + 1)
            cut = blank if blank > 0 else max(cut, 1)
            part, rest = rest[:cut], rest[cut:].strip()
        lines.append(_fit(head + part, width))
        head = "  | "
    return lines


def _headline(verdict: Verdict) -> str:
    """What a verdict comes to, in half a sentence."""
    limits = verdict.exit_code is ExitCode.ACCEPTED and any(case.excuse for case in verdict.cases)
    return _LINES[verdict.verdict] + (" but for known limits" if limits else "")


def _notable_cases(verdict: Verdict) -> list[CaseVerdict]:
    """The cases that are worth a row: what rejects first, then what changed."""
    notable = [
        case
        for case in verdict.cases
        if case.exit_code or (case.change in _NOTABLE and not case.excuse)
    ]
    return sorted(notable, key=lambda case: (not case.exit_code, _rank(case.change)))


def _rank(change: Change) -> int:
    return _NOTABLE.index(change) if change in _NOTABLE else len(_NOTABLE)


def _change_counts(cases: list[CaseVerdict]) -> str:
    """``35 new, 2 fixed``: the changes of some cases, in a fixed order."""
    seen = Counter(case.change for case in cases)
    return ", ".join(f"{seen[change]} {change}" for change in Change if seen[change])


def _cases_by_group(verdict: Verdict) -> dict[str, list[CaseVerdict]]:
    of_suite: dict[str, list[CaseVerdict]] = {}
    for case in verdict.cases:
        of_suite.setdefault(case.group, []).append(case)
    return of_suite


def _known_limits(verdict: Verdict) -> dict[tuple[str, str], list[CaseVerdict]]:
    """Script and known limit -> the cases that it explains."""
    explained: dict[tuple[str, str], list[CaseVerdict]] = {}
    for case in verdict.cases:
        if case.excuse:
            explained.setdefault((case.group, case.excuse), []).append(case)
    return explained


def _replay_commands(verdict: Verdict, replay: str) -> list[str]:
    """The commands that show the scripts with flaky cases in virtual time, where ``replay`` is such
    a command: with the first seed that shows it, where one is known."""
    shown: dict[str, str] = {}
    for case in verdict.cases if replay else ():
        if case.change in (Change.NEWLY_FLAKY, Change.FLAKY):
            script = case.group if case.group != "kernel" else case.name.partition(":")[0]
            script, command = script.removesuffix(OLD), replay
            if seeds := [one for one in case.attempts if one.startswith("seed ")]:
                command = f"{SEED.sub('', replay)} --seed {seeds[0].removeprefix('seed ')}"
            shown.setdefault(script, f"{plain_line(command)} --suite {plain_line(script)}")
    return list(shown.values())


def _notes(verdict: Verdict) -> tuple[str, ...]:
    """What a reader has to know besides the verdict: bounded."""
    shown = (*verdict.notes[:MAX_REASONS], *verdict.slower[:MAX_REASONS])
    return (*shown, *verdict.guards)


def _reason_lines(verdict: Verdict, width: int) -> list[str]:
    """How the series was read, why the verdict is what it is, what was adapted."""
    lines: list[str] = []
    for note in _notes(verdict):
        lines += _wrapped("note: ", plain_line(note), width)
    for reason in verdict.reasons[:MAX_REASONS]:
        lines += _wrapped("because: ", plain_line(reason), width)
    if len(verdict.reasons) > MAX_REASONS:
        lines.append(f"because: {len(verdict.reasons) - MAX_REASONS} more reasons")
    for patch in verdict.patches:
        if patch.adapted:
            lines += _wrapped(
                "adapted: ",
                plain_line(f"patch {patch.number} {patch.status}: {patch.detail}"),
                width,
            )
    return lines


def console_text(
    verdict: Verdict, *, width: int, color: bool, where: str = "results/latest", replay: str = ""
) -> str:
    """Lines of at most ``width`` columns (40 at least), each ended by a newline: the verdict, its
    reasons, what flipped and what got worse (at most 30 cases), known limits, a line per script,
    where to look. ``where`` is the folder that is named there."""
    width = max(width, MIN_WIDTH)
    word = verdict.verdict
    head = f" (exit {verdict.exit_code}): {_headline(verdict)}"
    shown = f"\x1b[1;{_COLOURS[word]}m{word}\x1b[0m" if color else word
    lines = [shown + _fit(head, width - len(word))]
    lines += _wrapped(
        "series: ", f"{plain_line(verdict.series)}, {len(verdict.patches)} patches", width
    )
    lines += _reason_lines(verdict, width)
    notable = _notable_cases(verdict)
    for case in notable[:MAX_ROWS]:
        sides = f" ({case.base} -> {case.patched})"
        label = f"{case.change + ':':<14}{plain_line(case.group)}: {plain_line(case.name)}"
        lines.append(_fit(label, width - len(sides)) + sides)
    if len(notable) > MAX_ROWS:
        lines.append(f"and {len(notable) - MAX_ROWS} more")
    for (suite, why), cases in _known_limits(verdict).items():
        lines += _wrapped(
            "known limit: ", plain_line(f"{suite}: {_change_counts(cases)}: {why}"), width
        )
    for suite, cases in _cases_by_group(verdict).items():
        lines.append(_fit(f"in {plain_line(suite)}: {_change_counts(cases)}", width))
    for command in _replay_commands(verdict, replay):
        lines += _wrapped("again: ", command, width)
    lines += _wrapped("look at: ", plain_line(f"{where}/summary.md, {where}/junit.xml"), width)
    return "".join(line.rstrip() + "\n" for line in lines)


def code_span(text: str, limit: int = 200) -> str:
    """Text as a code span that also survives in a table: nothing in it is Markdown, HTML, a mention
    or a link."""
    inner = plain_line(text, limit).replace("`", "'").replace("|", "¦")
    return f"`{inner or ' '}`"


def _case_table(title: str, cases: list[CaseVerdict]) -> list[str]:
    """A headed Markdown table of at most 30 cases, nothing where there is none."""
    if not cases:
        return []
    lines = [
        "",
        f"### {title}",
        "",
        "| change | script | case | base | patched |",
        "|---|---|---|---|---|",
    ]
    for case in cases[:MAX_ROWS]:
        lines.append(
            f"| {case.change} | {code_span(case.group)} | {code_span(case.name)} | {case.base} |"
            f" {case.patched} |"
        )
    return lines + (["", f"And {len(cases) - MAX_ROWS} more."] if len(cases) > MAX_ROWS else [])


def _adapted_patches(verdict: Verdict) -> list[str]:
    """What was taken out or put on in another form than it was given, and how the two differ. Each
    line of theirs begins with a mark, so that it is neither Markdown nor a workflow command."""
    lines: list[str] = []
    for patch in verdict.patches:
        if patch.adapted:
            rows = [diff_line(row) for row in patch.adapted.split("\n")]
            more = [f"| and {len(rows) - MAX_DIFF} more lines"] if len(rows) > MAX_DIFF else []
            lines += [
                "",
                f"### Patch {patch.number}: {code_span(patch.status)}",
                "",
                code_span(patch.detail, 600),
            ]
            lines += ["", "```text", *(f"| {row}" for row in rows[:MAX_DIFF]), *more, "```"]
    return lines


def diff_line(text: str, limit: int = 200) -> str:
    """A line of a diff as it can be shown in a fence: its blanks are kept, a tab is eight."""
    shown = escape_controls(text.expandtabs()[:limit])[:limit]
    return shown.replace("##[", "# #[").replace("`", "'")


def markdown_text(verdict: Verdict, *, where: str = "results/latest", replay: str = "") -> str:
    """A job summary: totals, reasons, then only what changed and what known limits explain (at most
    30 rows each); well under GitHub's 1 MiB."""
    lines = [f"## {verdict.verdict} (exit {verdict.exit_code})", ""]
    count = f"{len(verdict.patches)} patches"
    lines += [f"Series {code_span(verdict.series)}: {count}, {_headline(verdict)}.", ""]
    notes = _notes(verdict)
    lines += [*(f"- {code_span(note, 600)}" for note in notes), *([""] if notes else [])]
    lines += ["| change | cases |", "|---|---|"]
    lines += [f"| {change} | {count} |" for change, count in verdict.counts.items() if count]
    if verdict.reasons:
        lines += ["", "### Why", ""]
        lines += [f"- {code_span(reason)}" for reason in verdict.reasons[:MAX_REASONS]]
        if len(verdict.reasons) > MAX_REASONS:
            lines.append(f"- and {len(verdict.reasons) - MAX_REASONS} more")
    lines += _adapted_patches(verdict)
    lines += _case_table("What changed", _notable_cases(verdict))
    for (_, why), cases in _known_limits(verdict).items():
        lines += [*_case_table("Known limit", cases), "", f"Why: {code_span(why, 600)}"]
    if commands := _replay_commands(verdict, replay):
        lines += ["", "What is flaky can be seen again, the same in each run:", ""]
        lines += [f"- {code_span(command)}" for command in commands]
    lines += ["", f"Look at {code_span(where)}."]
    return "\n".join(lines) + "\n"
