# SPDX-License-Identifier: GPL-2.0-only
"""`Fixes:` tags of a patch, looked up in the history that a tree comes with."""

import re
from collections.abc import Iterator

from ci.series.patch import Patch
from ci.trees.history import MOST_SECONDS, upstream
from ci.trees.tree import Tree

MOST_TAGS, MOST_COPIES, SHORTEST = 20, 50, 12
_TAG = re.compile(r"^Fixes:(.*)$", re.M | re.I)
# 2293c57484ae ("mptcp: set the flag")
_FORM = re.compile(r'(?P<id>[0-9a-f]{5,40}) \("(?P<title>.+)"\)', re.I)


def wrong_fixes(patch: Patch, tree: Tree) -> Iterator[str]:
    """What is wrong with the tags of ``patch``. Their commits are looked for in the history of
    ``tree``; nothing is said of them where it has none, or not all of it."""
    git = tree.source.git
    count = git.line("rev-list", "--count", "--max-count=2", tree.source.commit)
    known = count == "2" and git.line("rev-parse", "--is-shallow-repository") == "false"
    for tag in map(str.strip, _TAG.findall(patch.body)[:MOST_TAGS]):
        if not (found := _FORM.fullmatch(tag)):
            yield f'not of the form 0123456789ab ("title"): {tag}'
            continue
        if len(found["id"]) < SHORTEST:
            yield f"an id of fewer than {SHORTEST} digits: {tag}"
        if known and (why := _wrong_commit(found["id"].lower(), found["title"], tree)):
            yield f"{why}: {tag}"


def _wrong_commit(name: str, title: str, tree: Tree) -> str:
    """Why no commit of the history has that id and title, empty where one has."""
    git = tree.source.git
    commit = git.run("rev-parse", "-q", "--verify", f"{name}^{{commit}}", ok=None).stdout.strip()
    words = ("merge-base", "--is-ancestor", commit, tree.commit)
    within = commit and git.run(*words, ok=(0, 1), timeout_s=MOST_SECONDS).returncode == 0
    found = git.line("log", "-1", "--format=%s", commit) if within else _copied(name, tree)
    if not found:
        return "it is not in the history of the tree" if commit else "no such commit in the tree"
    if " ".join(found.split()) != " ".join(title.split()):
        return f'its title is "{found}"'
    return ""


def _copied(name: str, tree: Tree) -> str:
    """The title of the commit that says it is a copy of the one with that id, as those of stable
    branches do; empty where there is none."""
    words = ["log", "-F", f"--grep={name}", "--no-merges", f"--max-count={MOST_COPIES}"]
    shown = tree.source.git.run(
        *words, "--format=%s%x00%b%x01", tree.commit, timeout_s=MOST_SECONDS
    ).stdout
    for row in shown.split("\1"):
        subject, _, body = row.strip("\n").partition("\0")
        if any(one.startswith(name) or name.startswith(one) for one in upstream(body)):
            return subject
    return ""
