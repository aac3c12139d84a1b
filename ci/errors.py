"""The two ways in which a stage ends without its record."""

from pathlib import Path


class StageError(Exception):
    """We could not find out: a tool is missing, a download failed, a process hung, an input is malformed.

    It never speaks about the patch under test. ``stage`` is the stage's noun (``fetch``, ``build`` ...),
    ``log`` the file that holds the whole story, where there is one.
    """

    def __init__(self, stage: str, message: str, *, log: Path | None = None) -> None:
        super().__init__(message)
        self.stage = stage
        self.message = message
        self.log = log

    @property
    def told(self) -> str:
        """The message, and where the whole story is."""
        return self.message + (f"\nlog: {self.log}" if self.log else "")

    def __str__(self) -> str:
        return f"{self.stage}: {self.told}"


class PatchError(StageError):
    """The series itself is at fault: a patch does not apply, or what it makes does not build (exit code 2).

    ``patch`` is the number of the patch that is named, 0 where it is the series as a whole.
    """

    def __init__(self, stage: str, message: str, *, patch: int = 0, log: Path | None = None) -> None:
        super().__init__(stage, message, log=log)
        self.patch = patch
