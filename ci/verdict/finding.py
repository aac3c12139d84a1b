# SPDX-License-Identifier: GPL-2.0-only
"""A case as it was found on both kernels, before it is judged."""

from dataclasses import dataclass

from ci.logs.outcome import State

# The group of a script's cases in the form that the base tree has.
OLD = " (old)"


@dataclass(frozen=True)
class Finding:
    """One case with its state on both kernels. ``detail`` is what is known of it, ``story`` the
    same in half a sentence. ``removed``: the patched kernel still has an outcome of it, but the
    series has taken it out of the tests. ``attempts`` are those in which an unsteady one did not
    pass."""

    group: str
    name: str
    base: State
    patched: State
    detail: str = ""
    story: str = ""
    time_ms: float | None = None
    removed: bool = False
    attempts: tuple[str, ...] = ()

    @property
    def script(self) -> str:
        """The group, without the word that tells a script's old form."""
        return self.group.removesuffix(OLD)

    @property
    def label(self) -> str:
        """Group and name, for people."""
        if self.script == self.name:
            return f"{self.group} (the script itself)"
        return f"{self.group}: {self.name}"
