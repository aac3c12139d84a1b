# SPDX-License-Identifier: GPL-2.0-only
"""Text that came from a patch or a guest, made fit for a terminal and for GitHub's runner."""

import re

# Anything that could move a terminal's cursor, colour it or start a line of its own.
CONTROL = re.compile(
    r"\x1b\[[0-9;?]*[ -/]*[@-~]|[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)


def printable(text: str) -> str:
    """``text`` without control characters and terminal sequences; it may come from a patch or a
    guest."""
    return CONTROL.sub(" ", text).replace("##[", "# #[").encode("utf-8", "replace").decode()


def marked_lines(text: str, first: str = "| ") -> str:
    """The lines of ``text``, each behind a mark of ours: GitHub's runner obeys ``::word::`` at the
    start of a line, blanks before it included, and ``##[word]`` anywhere."""
    return "\n".join(
        ("| " if number else first) + printable(line)
        for number, line in enumerate(text.splitlines())
    )
