# SPDX-License-Identifier: GPL-2.0-only
"""One patch and one tree: taken out where the tree carries it, in whichever form; put on where it
does not."""

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from ci.series.diff import diff_lines, file_names, parse_diff
from ci.series.patch import Patch
from ci.series.status import PatchStatus
from ci.trees import fit
from ci.trees.history import Found, History
from ci.trees.index import Index

MERGED = "merged, with the blobs that it names"
MOST_LINES = 2000  # of a change that is compared; more says no more
MOST_TOLD = 40  # lines on why a patch does not apply


@dataclass(frozen=True)
class Carried:
    """A patch that makes ``after`` of ``before``, two trees: it was taken out of the one, or put on
    the other. ``form`` is what did it, ``how`` which of the series' forms that is; ``why`` says
    what was adapted, and ``adapted`` shows how the form differs from the one that was given.
    ``traced`` is False where nothing in ``after`` shows it: a file that is gone may never have been
    there."""

    form: Patch
    how: PatchStatus
    before: str
    after: str
    why: str = ""
    adapted: str = ""
    traced: bool = True


@dataclass(frozen=True)
class Refused:
    """A patch that could not be taken out or put on: git's words on each form, what the tree is
    ``missing``, what more is known, and the commit of the tree's history that it is, where there is
    one."""

    words: tuple[tuple[Patch, str], ...]
    missing: tuple[str, ...] = ()
    more: tuple[str, ...] = ()
    commit: Found | None = None


def form_difference(given: str, made: str) -> str:
    """How a change differs from the one that was given: a unified diff of the two without line
    numbers."""
    one, two = (list(diff_lines(parse_diff(text)))[:MOST_LINES] for text in (given, made))
    return "\n".join(difflib.unified_diff(one, two, "as given", "as it is here", lineterm=""))


def _become(
    index: Index, patch: Patch, how: PatchStatus, before: str, after: str, why: str
) -> Carried | None:
    """A patch whose form is what lies between two trees, given that nothing of it was lost on the
    way."""
    made = index.change(before, after)
    if before == after or not fit.all_kept(parse_diff(patch.diff), parse_diff(made)):
        return None
    return Carried(
        replace(patch, diff=made), how, before, after, why, form_difference(patch.diff, made)
    )


def take_out(
    index: Index, forms: Sequence[tuple[PatchStatus, Patch]], history: History
) -> Carried | Refused:
    """Take a patch out of the tree, the first of its forms that is there; without one the index
    stays as it was."""
    after = index.tree
    words = []
    for how, form in forms:
        refusal = index.apply(form.diff, reverse=True)
        if not refusal and (before := index.write()) != after:
            return _checked(index, Carried(form, how, before, after), history)
        words.append((form, refusal or "it changes nothing"))
    how, patch = forms[0]
    found = history.commits(patch)
    for commit in found:
        own, why = replace(patch, diff=commit.change), f"taken out as {commit.words}"
        if taken := _eased(index, own, how, why, f"{why}, adapted", reverse=True):
            same = fit.same_change(parse_diff(patch.diff), parse_diff(taken.form.diff))
            return replace(
                taken,
                how=how if same else PatchStatus.EDITED,
                adapted=form_difference(patch.diff, taken.form.diff),
            )
    if taken := _eased(
        index, patch, how, f"taken out adapted: {MERGED}", "taken out adapted", reverse=True
    ):
        return taken
    return Refused(tuple(words), commit=found[0] if found else None)


def _eased(
    index: Index, patch: Patch, how: PatchStatus, merged: str, fitted: str, *, reverse: bool
) -> Carried | None:
    """By a three-way merge, else by where its hunks stand; ``merged`` and ``fitted`` are the words
    for either. Without success the index is as it was."""
    start = index.tree
    if done := _merged(index, patch, how, merged, reverse=reverse):
        return done
    index.reset(start)
    if done := _fitted(index, patch, how, fitted, reverse=reverse):
        return done
    index.reset(start)
    return None


def _checked(index: Index, taken: Carried, history: History) -> Carried:
    """A form that came out as it is, put on again. Where that gives another tree, the tree has less
    than the form (git does not insist on modes), or it has the place twice: then the form that it
    has is told."""
    files = parse_diff(taken.form.diff)
    if not any(one.new for one in files):
        taken = replace(taken, traced=bool(history.commits(taken.form)))
    refusal = index.apply(taken.form.diff)
    again = "" if refusal else index.write()
    index.reset(taken.before)
    if again == taken.after:
        return taken
    made = index.change(taken.before, taken.after)
    why = "taken out adapted: put on again as it is, it would make another tree"
    adapted = form_difference(taken.form.diff, made)
    return replace(taken, form=replace(taken.form, diff=made), why=why, adapted=adapted)


def _merged(
    index: Index, patch: Patch, how: PatchStatus, why: str, *, reverse: bool
) -> Carried | None:
    """By a three-way merge, where the blobs that the patch names are here: the way of
    ``git am -3``."""
    start = index.tree
    if not index.merge(patch.diff, reverse=reverse):
        return None
    end = index.write()
    return _become(index, patch, how, *((end, start) if reverse else (start, end)), why)


def _fitted(
    index: Index, patch: Patch, how: PatchStatus, why: str, *, reverse: bool
) -> Carried | None:
    """By where its hunks stand, with less context or in other files."""
    start, files = index.tree, parse_diff(patch.diff)
    made = fit.fit_change(files, "+" if reverse else "-", index.read(files))
    if not made:
        return None
    index.put(made.files)
    end = index.write()
    why = f"{why}: {'; '.join(made.notes) or 'other lines are around its hunks'}"
    return _become(index, patch, how, *((end, start) if reverse else (start, end)), why)


def put_on(
    index: Index, forms: Iterable[tuple[PatchStatus, Patch]], *, adapt: bool
) -> Carried | Refused:
    """Put a patch on, the first of its forms that applies as it is; adapted only where that is
    asked for, else what could be done is said. Without one the index stays as it was."""
    before = index.tree
    words = []
    forms = list(forms)
    for how, form in forms:
        refusal = index.apply(form.diff)
        if not refusal:
            return Carried(form, how, before, index.write())
        words.append((form, refusal))
    patch = forms[0][1]
    adapted = _eased(index, patch, PatchStatus.ADAPTED, MERGED, "adapted", reverse=False)
    if adapted and adapt:
        return adapted
    index.reset(before)
    files = parse_diff(patch.diff)
    texts = index.read(files)
    missing = fit.missing_parts(
        files, texts, index.absent(file_names([replace(one, new="") for one in files]))
    )
    more = [refusal] if (refusal := fit.shortfall(files, texts)) else []
    if index.differs_in_blanks(patch.diff):
        more.append(
            "but for white space it applies: was it sent by a mailer that changes tabs or blanks?"
        )
    more += [f"with --adapt it can be put on: {adapted.why}"] if adapted else []
    return Refused(tuple(words), tuple(missing[:MOST_TOLD]), tuple(more))


def explain_refusal(patch: Patch, refusal: str, *, reverse: bool = False) -> str:
    """Git's words on a patch that does not apply, with the hunk that each
    ``patch failed: FILE:LINE`` means."""
    lines, files = [], parse_diff(patch.diff)
    told = refusal.splitlines()
    for line in told[:MOST_TOLD]:
        lines.append(line)
        if failed := re.match(
            r"error: patch failed: (.+):(\d+)$", line
        ):  # error: patch failed: net/mptcp/pm.c:12
            lines += [
                f"  hunk {number} of {failed[1]}: {hunk.header}"
                for one in files
                if failed[1] in (one.old, one.new)
                for number, hunk in enumerate(one.hunks, 1)
                if (hunk.new if reverse else hunk.old) == int(failed[2])
            ]
    if len(told) > MOST_TOLD:
        lines.append(f"and {len(told) - MOST_TOLD} more lines of git's")
    return "\n".join(lines)
