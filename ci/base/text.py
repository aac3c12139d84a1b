# SPDX-License-Identifier: GPL-2.0-only
"""Text that came from a patch or a guest, made fit for a terminal and for GitHub's runner."""

import re

# A terminal's sequences, whole: "\x1b[1;32m", "\x1b]0;title\x07", "\x1bM"
SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*+[ -/]*+[@-~]|\][^\x07\x1b\r\n]*+(?:\x07|\x1b\\)|[@-Z\\^_])")

LAYOUT = str.maketrans("\t\r\n", "   ")


def escape_controls(text: str) -> str:
    """``text`` with what cannot be seen, or moves what can be seen, as an escape: ``\\u202e`` for
    the mark that turns the direction, ``\\x07`` for the bell. All that shows text of others shows
    it so. A line end is such a character, too."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def break_commands(line: str) -> str:
    """A line that GitHub's runner does not obey. It takes ``::word::`` at the start of a line,
    blanks before it included, and ``##[word]`` anywhere."""
    mark = "| " if line.lstrip().startswith("::") else ""
    return mark + line.replace("##[", "# #[")


def printable(text: str) -> str:
    """``text`` as one line for a terminal: without a terminal's sequences, with other control
    characters escaped; it may come from a patch or a guest."""
    line = SEQUENCE.sub("", text).translate(LAYOUT)
    return escape_controls(line).replace("##[", "# #[")


def marked_lines(text: str, first: str = "| ") -> str:
    """The lines of ``text``, each behind a mark of ours."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if not lines[-1]:
        lines.pop()
    return "\n".join(
        ("| " if number else first) + printable(line) for number, line in enumerate(lines)
    )
