# SPDX-License-Identifier: GPL-2.0-only
"""A proof as text: a row for each patch, and the series' diff with a mark before each changed
line."""

from collections.abc import Iterator

from ci.base.text import printable
from ci.base.words import Word
from ci.report.summary import code_span, diff_line
from ci.verdict.proof import DiffLine, PatchProof, Proof

MOST_NAMED, MOST_LINES = 5, 300
MARKS = {
    Word.GUARDED: "G",
    Word.EXECUTED: "E",
    Word.COMPILED: "C",
    Word.NOT_COMPILED: "N",
    Word.NOT_CODE: ".",
}
LEGEND = ", ".join(f"{mark} {word}" for word, mark in MARKS.items())


def _story(patch: PatchProof) -> str:
    """What tells that a patch was left out, in a line."""
    if not patch.tried:
        return f"not found out: {patch.why}"
    if not patch.noticed:
        return "nothing tells that it is left out"
    more = len(patch.noticed) - MOST_NAMED
    return "; ".join(patch.noticed[:MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")


def diff_lines(proof: Proof) -> Iterator[str]:
    """The series' diff: a mark, then the line, then what is known of it."""
    for patch in proof.patches:
        file = ""
        if patch.lines:
            yield f"  patch {patch.number}: {patch.title}"
        for line in patch.lines:
            if line.file != file:
                file = line.file
                yield f"  --- {file}"
            if line.head:
                yield f"  {line.head}"
            mark = MARKS[Word(line.word)] if line.word else " "
            yield f"{mark} {line.sign}{line.text.expandtabs()}{_known(line)}"


def _known(line: DiffLine) -> str:
    told = "; ".join(part for part in (line.by, line.why) if part)
    return f"  <-- {told}" if told else ""


def diff_text(proof: Proof) -> str:
    """``proof.diff``."""
    rows = [f"  {LEGEND}", *diff_lines(proof)]
    return "".join(f"{printable(row)}\n" for row in rows)


def console_lines(proof: Proof) -> Iterator[str]:
    """For each patch whether the series builds up to it, what guards it, and its lines."""
    for patch in proof.patches:
        word = "guarded:" if patch.guarded else "unguarded:" if patch.tried else "unknown:"
        yield printable(f"{word:<11}patch {patch.number}: {_story(patch)}")
        if patch.step:
            yield printable(f"broken:    patch {patch.number}: up to it, {patch.step}")
        for found in patch.findings[:MOST_NAMED]:
            yield printable(f"finding:   patch {patch.number}: {found}")
        if len(patch.findings) > MOST_NAMED:
            yield f"finding:   patch {patch.number}: and {len(patch.findings) - MOST_NAMED} more"
        for why in patch.unasked:
            yield printable(f"unknown:   patch {patch.number}: {why}")
    if proof.note:
        yield printable(f"lines:     {proof.note}")
    rows = list(diff_lines(proof))
    if rows:
        yield f"lines:     {LEGEND}"
    yield from (f"| {diff_line(row)}" for row in rows[:MOST_LINES])
    if len(rows) > MOST_LINES:
        yield f"| and {len(rows) - MOST_LINES} more lines in proof.diff"


def markdown_text(proof: Proof) -> str:
    """A table for the job summary, and the diff."""
    words = [word.value for word in Word]
    lines = [
        "",
        "### Each patch by itself",
        "",
        f"| patch | title | builds | guarded by | {' | '.join(words)} |",
        "|---" * (len(words) + 4) + "|",
    ]
    for patch in proof.patches:
        builds = code_span(patch.step) if patch.step else "yes"
        title, story = code_span(patch.title), code_span(_story(patch), 600)
        counts = " | ".join(str(patch.counts[word]) if patch.lines else "" for word in words)
        lines.append(f"| {patch.number} | {title} | {builds} | {story} | {counts} |")
    for patch in proof.patches:
        told = [*map(str, patch.findings), *(f"not found out: {why}" for why in patch.unasked)]
        rows = [f"- patch {patch.number}: {code_span(one, 600)}" for one in told]
        lines += ["", *rows] if rows else []
    if proof.note:
        lines += ["", f"Nothing is known of the lines: {code_span(proof.note, 600)}."]
    rows = list(diff_lines(proof))
    if rows:
        more = [f"| and {len(rows) - MOST_LINES} more lines"] if len(rows) > MOST_LINES else []
        shown = [f"| {diff_line(row)}" for row in rows[:MOST_LINES]]
        lines += ["", f"Each changed line: {LEGEND}.", "", "```text", *shown, *more, "```"]
    return "\n".join(lines) + "\n"
