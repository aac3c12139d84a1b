# SPDX-License-Identifier: GPL-2.0-only
"""The ways in which a stage ends without its record, and how any error is told."""

from pathlib import Path
from traceback import extract_tb


class PipelineError(Exception):
    """What the errors below have in common; it says nothing of whose fault it is, and is never
    raised itself. ``stage`` is the stage's noun (``fetch``, ``build`` ...), ``log`` the file that
    holds the whole story, where there is one.
    """

    def __init__(self, stage: str, message: str, *, log: Path | None = None) -> None:
        super().__init__(message)
        self.stage = stage
        self.message = message
        self.log = log

    @property
    def text(self) -> str:
        """The message, and where the whole story is."""
        return self.message + (f"\nlog: {self.log}" if self.log else "")

    def __str__(self) -> str:
        return f"{self.stage}: {self.text}"


class StageError(PipelineError):
    """We could not find out: a tool is missing, a download failed, a process hung, an input is
    malformed. It never speaks about the patch under test.

    ``asked``: what was asked for cannot be done, whatever the machine, so no run comes of it; it is
    so for each error of the options and of the series' form.
    """

    def __init__(
        self, stage: str, message: str, *, log: Path | None = None, asked: bool = False
    ) -> None:
        super().__init__(stage, message, log=log)
        self.asked = asked or stage in ("options", "series")


class PatchError(PipelineError):
    """The series itself is at fault: a patch is damaged or does not apply.

    ``patch`` is the number of the patch that is named, 0 where it is the series as a whole.
    """

    def __init__(
        self, stage: str, message: str, *, patch: int = 0, log: Path | None = None
    ) -> None:
        super().__init__(stage, message, log=log)
        self.patch = patch


class BuildError(PipelineError):
    """A tree cannot be configured or does not build. Whose fault that is, the caller knows: the
    series' where the base builds, else nobody's whom we could name."""


def describe(error: BaseException) -> str:
    """What to tell of any exception: what the system says and of which file, or, where it is a
    fault of ours, its place."""
    if isinstance(error, PipelineError):
        return str(error)
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    steps = extract_tb(error.__traceback__)
    ours = [
        step for step in steps if Path(__file__).parents[1] in Path(step.filename).parents
    ] or steps
    place = "".join(f" ({Path(step.filename).name}:{step.lineno})" for step in ours[-1:])
    return f"{type(error).__name__}: {error}{place}; --debug shows more"
