# SPDX-License-Identifier: GPL-2.0-only
"""The words of a command line: what they mean is checked before anything runs, so that a slip of
the finger is told with what was probably meant, and with exit code 3: Invoke's own 1 would read as
"rejected"."""

import difflib
import inspect
import re
from collections.abc import Callable, Sequence
from collections.abc import Collection as Words
from pathlib import Path
from typing import Any

from invoke import Argument, Collection, Context, ParseError, Parser, Program, Task

from ci.base import exits
from ci.base.holding import hold_scratch
from ci.base.settings import OPTIONS, make_settings


class DocumentedTask(Task[Any]):
    """A task that keeps its help: Invoke's own takes the texts away with the first parser that is
    made of it. Short forms are letters: of a name in two words, Invoke would take the dash."""

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """The options, with their help, however often they are asked for."""
        kept = dict(self.help)
        try:
            found = list(super().get_arguments(ignore_unknown_help))
            for one in found:
                one.names = tuple(name for name in one.names if name != "-")
            return found
        finally:
            self.help = kept


def make_task(body: Callable[..., int | None], names: str, root: Path) -> DocumentedTask:
    """The task that is called as ``body``, with the named options of the table, in the order that
    gives them their short forms. What ``body`` has a parameter for goes there; all other options
    become its ``settings``."""
    task, own = body.__name__, set(inspect.signature(body).parameters)
    table = {option.name: option for option in OPTIONS}
    rows = [table[name] for name in names.split()]

    def run(_context: Context, **values: Any) -> int | None:
        given = {name: values.pop(name) for name in own & set(values)}
        if "settings" in own:
            given["settings"] = make_settings(root, **values)
        with hold_scratch():
            return body(**given)

    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters = [inspect.Parameter("context", kind)]
    parameters += [inspect.Parameter(row.name, kind, default=row.default_for(task)) for row in rows]
    run.__name__, run.__doc__ = task, " ".join((body.__doc__ or "").split())
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return DocumentedTask(
        exits.guarded(run), help={row.name.replace("_", "-"): row.help_for(task) for row in rows}
    )


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
