# SPDX-License-Identifier: GPL-2.0-only
"""A proof as text: a row for each patch."""

from collections.abc import Iterator

from ci.base.text import printable
from ci.report.summary import code_span
from ci.verdict.proof import PatchProof, Proof

MOST_NAMED = 5


def _story(patch: PatchProof) -> str:
    """What tells that a patch was left out, in a line."""
    if not patch.tried:
        return f"not found out: {patch.why}"
    if not patch.noticed:
        return "nothing tells that it is left out"
    more = len(patch.noticed) - MOST_NAMED
    return "; ".join(patch.noticed[:MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")


def console_lines(proof: Proof) -> Iterator[str]:
    """For each patch whether the series builds up to it, and what guards it."""
    for patch in proof.patches:
        word = "guarded:" if patch.guarded else "unguarded:" if patch.tried else "unknown:"
        yield printable(f"{word:<11}patch {patch.number}: {_story(patch)}")
        if patch.step:
            yield printable(f"broken:    patch {patch.number}: up to it, {patch.step}")


def markdown_text(proof: Proof) -> str:
    """A table for the job summary."""
    lines = [
        "",
        "### Each patch by itself",
        "",
        "| patch | title | builds | guarded by |",
        "|---|---|---|---|",
    ]
    for patch in proof.patches:
        builds = code_span(patch.step) if patch.step else "yes"
        title, story = code_span(patch.title), code_span(_story(patch), 600)
        lines.append(f"| {patch.number} | {title} | {builds} | {story} |")
    return "\n".join(lines) + "\n"
