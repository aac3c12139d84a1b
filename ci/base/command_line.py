# SPDX-License-Identifier: GPL-2.0-only
"""The words of a command line: what they mean is checked before anything runs, so that a slip of
the finger is told with what was probably meant, and with exit code 3: Invoke's own 1 would read as
"rejected"."""

import difflib
import re
from collections.abc import Collection as Words
from collections.abc import Sequence
from typing import Any

from invoke import Argument, Collection, ParseError, Parser, Program, Task


class DocumentedTask(Task[Any]):
    """A task that keeps its help: Invoke's own takes the texts away with the first parser that is
    made of it."""

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """The options, with their help, however often they are asked for."""
        kept = dict(self.help)
        try:
            return list(super().get_arguments(ignore_unknown_help))
        finally:
            self.help = kept


def mistake(tasks: Collection, argv: Sequence[str]) -> str:
    """What is wrong with the words after ``inv``, and what was probably meant; empty where nothing
    is."""
    contexts = tasks.to_contexts()
    try:
        core = Parser(initial=Program().initial_context, ignore_unknown=True).parse_argv(list(argv))
        Parser(initial=Program().initial_context, contexts=contexts).parse_argv(core.unparsed)
    except ParseError as error:
        return _explained(error, [str(context.name) for context in contexts])
    except ValueError as error:  # "invalid literal for int() with base 10: 'x'"
        return f"{str(error).rpartition(': ')[2]} is no number"
    asked = core[0].args["help"].value
    names = [str(context.name) for context in contexts]
    return _no_task(asked, names) if isinstance(asked, str) and asked not in names else ""


def _explained(error: ParseError, names: Words[str]) -> str:
    """The parser's words in ours."""
    unknown = re.fullmatch(r"No idea what '(.*)' is!", str(error))
    if not unknown:
        # "Flag <Argument: mode (m)> needed value and was not given one!"
        return re.sub(
            r"^Flag <Argument: (\S+).*> needed value.*", r"--\1 needs a value", str(error)
        )
    word, context = unknown[1], error.context
    if not word.startswith("-"):
        return _no_task(word, names)
    name = getattr(context, "name", None)
    flags = [flag for flag in getattr(context, "flags", ()) if flag.startswith("--")]
    where = (
        f"`inv --help {name}` shows its options"
        if name
        else "`inv --help` shows the options before a task"
    )
    return f"{name or 'inv'} has no option {word}{_meant(word, flags)} ({where})"


def _no_task(word: str, names: Words[str]) -> str:
    return f"there is no task {word!r}{_meant(word, names)} (`inv --list` shows the tasks)"


def _meant(word: str, known: Words[str]) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean {close[0]}?" if close else ""
