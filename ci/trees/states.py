# SPDX-License-Identifier: GPL-2.0-only
"""What becomes of each patch of a series on a tree: taken out of it, the last first, and put on
again in order."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ci.base.git import Git
from ci.series.diff import file_names, parse_diff
from ci.series.manifest import Version
from ci.series.patch import Patch
from ci.series.patches import Series
from ci.series.status import PatchStatus
from ci.trees.carry import Carried, Refused, explain_refusal, put_on, take_out
from ci.trees.history import History
from ci.trees.index import Index
from ci.trees.source import Source

BEFORE = "the tree has it as it was before it was edited"


@dataclass(frozen=True)
class PatchState:
    """What became of one patch. ``depends_on`` is the number of the patch which conflicts, and
    without which this one cannot be tried; ``form`` is which holds on base, ``on_patched`` tells
    whether the patched tree carries it. ``adapted`` shows how what was taken out or put on differs
    from what was given, where it does.
    """

    patch: Patch
    status: PatchStatus
    on_patched: bool = False
    why: str = ""
    form: PatchStatus | None = None
    adapted: str = ""
    depends_on: int = 0

    @property
    def words(self) -> str:
        """The status as it is told: ``applies``, ``depends on 2``."""
        return f"{self.status} {self.depends_on}" if self.depends_on else self.status.value

    @property
    def affected(self) -> bool:
        """Whether the tree needs the patch."""
        return self.status is not PatchStatus.NOT_AFFECTED


def unaffected(series: Series, git: Git, commit: str, version: Version) -> Mapping[int, str]:
    """Patch number -> why the tree does not need it. What the code says wins over the version: a
    stable branch may have got, or lost, what the patch fixes. A patch that depends on one that is
    not needed is not needed either.
    """
    spared: dict[int, str] = {}
    sought = {patch.introduced for patch in series.patches if patch.introduced}
    present = {
        (path, text): (
            git.run("grep", "-qF", "-e", text, commit, "--", path, ok=(0, 1)).returncode == 0
        )
        for path, text in sought
    }
    for patch in series.patches:
        reasons = []
        older = patch.since is not None and version < patch.since
        if older:
            came = f", which brought {patch.facts.fixes}" if patch.facts.fixes else ""
            reasons.append(f"the tree is older than v{'.'.join(map(str, patch.since or ()))}{came}")
        if patch.introduced:
            path, text = patch.introduced
            older = not present[patch.introduced]
            if older:
                reasons.append(f"there is no {text} in its {path}")
        needed = [number for number in patch.depends if number in spared]
        if older or needed:
            reasons += [f"it depends on patch {number}, which is not needed" for number in needed]
            spared[patch.number] = ", and ".join(reasons)
    return spared


class Work:
    """The series on its way out of a commit's tree and onto its base; ``index`` holds that tree at
    first."""

    def __init__(
        self, series: Series, source: Source, version: Version, index: Index, *, adapt: bool
    ) -> None:
        self.series, self.source, self.version, self.index, self.adapt = (
            series,
            source,
            version,
            index,
            adapt,
        )
        self.not_needed = unaffected(series, source.git, source.commit, version)
        self.affected = [patch for patch in series.patches if patch.number not in self.not_needed]
        self.history = History(source.git, source.commit, self.affected)
        self.taken_out: dict[int, Carried] = {}
        self.refused: dict[int, Refused] = {}
        self.shipped = self.base = index.tree

    def replay(self, without: frozenset[int]) -> list[PatchState]:
        """Take the series out and put it on, but for the patches ``without``; once more where the
        tree's history, looked at closer, has a patch that conflicts."""
        self.take_out()
        states = self.put_on(without)
        clashing = [state.patch for state in states if state.status is PatchStatus.CONFLICTS]
        if clashing and self.history.look_closer(clashing):
            self.take_out()
            states = self.put_on(without)
        return states

    def take_out(self) -> None:
        """Make base of the shipped tree, the last patch first. What leaves no trace is there only
        where its neighbours are."""
        for traceless in (True, False):
            self.index.reset(self.shipped)
            skipped = (
                ()
                if traceless
                else [number for number, taken in self.taken_out.items() if not taken.traced]
            )
            self.taken_out, self.refused = {}, {}
            for patch in reversed(self.affected):
                if patch.number in skipped:
                    continue
                result = take_out(
                    self.index, self.series.merged_forms(patch, self.version), self.history
                )
                if isinstance(result, Carried):
                    self.taken_out[patch.number] = result
                else:
                    self.refused[patch.number] = result
            if not self.taken_out or any(taken.traced for taken in self.taken_out.values()):
                break
        self.base = self.index.tree

    def put_on(self, without: frozenset[int]) -> list[PatchState]:
        """Put the series on base; a patch that does not apply does not keep the later ones from
        being tried."""
        self.index.reset(self.base)
        states: list[PatchState] = []
        failed: dict[int, frozenset[str]] = {}
        for patch in self.series.patches:
            if patch.number in self.not_needed:
                why = self.not_needed[patch.number]
                states.append(PatchState(patch, PatchStatus.NOT_AFFECTED, why=why))
            elif patch.number in without:
                states.append(PatchState(patch, PatchStatus.LEFT_OUT, why="--without"))
            else:
                state, blamed = self._put_on_one(patch)
                if state.status is PatchStatus.CONFLICTS:
                    needed = [number for number, others in failed.items() if blamed <= others]
                    failed[patch.number] = frozenset(file_names(parse_diff(patch.diff)))
                    if needed:
                        why = f"it does not apply without patch {needed[0]}\n{state.why}"
                        state = PatchState(
                            patch, PatchStatus.DEPENDS, why=why, depends_on=needed[0]
                        )
                states.append(state)
        return states

    def _put_on_one(self, patch: Patch) -> tuple[PatchState, frozenset[str]]:
        """Put one patch on the index: its state, and the files in which it does not apply."""
        carried, refused = self.taken_out.get(patch.number), self.refused.get(patch.number)
        if carried and carried.how is not PatchStatus.EDITED:
            return self._put_on_again(patch, carried)
        result = put_on(self.index, self.series.forms(patch, self.version), adapt=self.adapt)
        if isinstance(result, Carried):
            other_form = (
                f"the tree has another form of it, {carried.why}"
                if carried and carried.why
                else BEFORE
                if carried
                else ""
            )
            why = "; ".join(filter(None, (_named(result), result.why, other_form)))
            return PatchState(patch, result.how, True, why, result.how, result.adapted), frozenset()
        if carried and carried.why:
            return self._put_on_again(patch, carried)
        if refused and refused.commit:
            why = (
                f"as {refused.commit.words}, and it cannot be taken out: later commits changed the"
                " same lines; "
            )
            return PatchState(
                patch, PatchStatus.THERE, why=why + self._advice(refused.commit.commit)
            ), frozenset()
        refusal = "\n".join(explain_refusal(form, refusal) for form, refusal in result.words)
        words = [*result.missing, refusal, *result.more]
        if refused:
            words += [
                "nor is it in the tree already; taking it out fails too:",
                explain_refusal(*refused.words[0], reverse=True),
            ]
        return PatchState(patch, PatchStatus.CONFLICTS, why="\n".join(words)), _blamed(
            refusal, file_names(parse_diff(patch.diff))
        )

    def _put_on_again(self, patch: Patch, taken: Carried) -> tuple[PatchState, frozenset[str]]:
        """Put on what was taken out: the tree's own form, and where nothing else differs, the very
        same tree."""
        why, refusal = "; ".join(filter(None, (_named(taken), taken.why))), ""
        if self.index.tree == taken.before:
            self.index.reset(taken.after)
        elif refusal := self.index.apply(taken.form.diff):
            why = f"{why}\n{explain_refusal(taken.form, refusal)}".strip()
            return PatchState(patch, PatchStatus.CONFLICTS, why=why), _blamed(
                refusal, file_names(parse_diff(taken.form.diff))
            )
        else:
            self.index.write()
        return PatchState(
            patch, PatchStatus.THERE, True, why, taken.how, taken.adapted
        ), frozenset()

    def _advice(self, commit: str) -> str:
        """What can be done about a patch that the tree has for good."""
        advice = (
            f"take a tree from before it, such as {commit[:12]}^, or give the series without it"
        )
        if not self.series.folder.is_dir():
            return advice
        folder = self.series.folder / "backports" / ".".join(map(str, self.version))
        return f"{advice}, or put the form that the tree has into {folder}"


def _named(carried: Carried) -> str:
    """Which file of the series' backports it was, ``6.12/0002-title.patch``; empty for none."""
    path = carried.form.path
    return f"{path.parent.name}/{path.name}" if carried.how is PatchStatus.BACKPORT else ""


def _blamed(words: str, own: Iterable[str]) -> frozenset[str]:
    """The files of a patch that git names as the reason why it does not apply, all of them where it
    names none."""
    named = re.findall(
        r"error: (?:patch failed: )?(.+?)(?::\d+|: [a-z][^:]*)$", words, re.M
    )  # error: patch failed: net/a.c:12
    return frozenset(named) & frozenset(own) or frozenset(own)
