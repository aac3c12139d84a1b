# SPDX-License-Identifier: GPL-2.0-only
"""What tools say of one patch where it stands in its series: the compiler, sparse, checkpatch, the
generator of netlink headers, and the history. What a tool cannot tell is said apart."""

import itertools
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

from ci.base.errors import BuildError, PipelineError, describe
from ci.base.progress import Progress
from ci.base.records import from_json, save_record
from ci.base.text import printable
from ci.base.workspace import Workspace, digest
from ci.kernel import build, extra_warnings, tree_scripts
from ci.kernel.build import Toolchain
from ci.kernel.configuration import Configuration
from ci.series.patch import Patch
from ci.suites.collection import Collection as Selftests
from ci.trees.fixes_tags import wrong_fixes
from ci.trees.tree import Tree
from ci.verdict import patch_findings
from ci.verdict.patch_findings import PatchFinding, make_finding

FILE = "findings.json"
LIMIT_S = 4 * 3600.0  # others may look at many patches
UAPI = "include/uapi"
GENERATED = "YNL-GEN uapi header"
# /*	Documentation/netlink/specs/mptcp_pm.yaml */
_SPEC = re.compile(r"^/\*\t(Documentation/netlink/specs/\w[\w.-]*\.yaml) \*/$", re.M | re.ASCII)


def find_findings(
    patch: Patch,
    before: Tree,
    after: Tree,
    trusted: Tree,
    workspace: Workspace,
    tools: Toolchain,
    collection: Selftests,
    config: Configuration,
    progress: Progress,
    log: Path,
) -> tuple[tuple[PatchFinding, ...], tuple[str, ...]]:
    """What is found of ``patch``, and what was not found out: ``before`` and ``after`` are the
    trees without and with it, on top of the patches before it. Scripts are those of the
    ``trusted`` tree; make writes to ``log``."""
    changed = _changed(before, after)

    def messages() -> Iterable[PatchFinding]:
        names = [name for name in changed if extra_warnings.SOURCE.fullmatch(name)]
        if len(names) > (most := extra_warnings.MOST_FILES):
            progress.note(f"warnings: of {len(names)} sources, the first {most} are looked at")
        words = (workspace, tools, collection, config)
        return _messages(before, after, names[:most], *words, log) if names else ()

    found, unknown = list[PatchFinding](), list[str]()
    with progress.stage("findings", f"of patch {patch.number}: {patch.title}"):
        for what, find in (
            ("warnings", messages),
            ("checkpatch", lambda: _checkpatch(patch, trusted, workspace)),
            ("netlink spec", lambda: _specs(before, after, trusted, changed, workspace)),
            ("Fixes", lambda: _fixes(patch, before)),
        ):
            try:
                found += find()
            except (PipelineError, OSError) as error:
                text = error.message if isinstance(error, PipelineError) else describe(error)
                why = " ".join(text.split("\n")[:2])
                unknown.append(f"{what}: {why}")
                progress.note(f"patch {patch.number}: {what}: not found out: {why}")
    return patch_findings.limit_findings(found), tuple(unknown)


def _kept(
    workspace: Workspace, key: str, find: Callable[[], Iterable[PatchFinding]]
) -> tuple[PatchFinding, ...]:
    """What ``find`` finds, from the cache where that is known."""

    def make(fresh: Path) -> None:
        save_record(fresh / FILE, tuple(find()))

    lock = workspace.lock("findings", stage="findings", timeout_s=LIMIT_S)
    folder = workspace.keep(workspace.entry("findings", key), lock, make)
    return from_json((folder / FILE).read_bytes(), tuple[PatchFinding, ...])


def _changed(before: Tree, after: Tree) -> list[str]:
    """The names of the files that differ."""
    words = ("diff-tree", "-r", "-z", "--name-only", "--no-renames", before.tree_id, after.tree_id)
    return [name for name in before.source.git.run(*words).stdout.split("\0") if name]


def _messages(
    before: Tree,
    after: Tree,
    names: Sequence[str],
    workspace: Workspace,
    tools: Toolchain,
    selftests: Selftests,
    config: Configuration,
    log: Path,
) -> tuple[PatchFinding, ...]:
    """What the compiler and sparse say of ``after`` and not of ``before``. As the kernel builds,
    a new file that does not compile is not part of it."""
    new = set(names) - before.subtree(*names).keys()
    words = (workspace, tools, selftests, config)

    def find() -> list[PatchFinding]:
        was, now = (
            extra_warnings.ask_tools(tree, names, new, *words, log) for tree in (before, after)
        )
        found: list[PatchFinding] = []
        for kind, *said in (
            (patch_findings.WARNING, was.compiler, now.compiler),
            (patch_findings.SPARSE, was.sparse, now.sparse),
        ):
            read = (patch_findings.parse_messages(kind, lines) for lines in said)
            found += patch_findings.new_messages(*read)
        files = {one.file for one in found}
        there = after.subtree(*files).keys() if files else set[str]()
        beside = {one.file for one in found if one.file in new and one.text.startswith("error: ")}
        return [one for one in found if one.file in there - beside]

    kernels = [
        build.kernel_key(workspace, tree, tools, selftests, config) for tree in (before, after)
    ]
    key = digest("compiler", kernels, names, extra_warnings.sparse_version())
    return _kept(workspace, key, find)


def _checkpatch(patch: Patch, trusted: Tree, workspace: Workspace) -> tuple[PatchFinding, ...]:
    if not tree_scripts.can_check(trusted):
        return ()
    mail = tree_scripts.mail_text(patch)

    def find() -> Iterable[PatchFinding]:
        said = tree_scripts.check_patch(mail, trusted, workspace)
        return patch_findings.parse_checkpatch(said, patch.files)

    scripts = trusted.subtree(tree_scripts.CHECKPATCH, *tree_scripts.WORD_LISTS)
    return _kept(workspace, digest("checkpatch", scripts, tree_scripts.LEFT_OUT, mail), find)


def _specs(
    before: Tree, after: Tree, trusted: Tree, changed: Collection[str], workspace: Workspace
) -> Iterator[PatchFinding]:
    """The headers that are no more what their specs generate."""
    touched = any(name.startswith((f"{UAPI}/", f"{tree_scripts.SPECS}/")) for name in changed)
    if not touched or not tree_scripts.find_generator(trusted):
        return
    pairs = {**_generated(before), **_generated(after)}
    for header, spec in sorted(pairs.items()):
        if header in changed or spec in changed:
            was, now = (
                _compare(tree, header, spec, trusted, workspace) for tree in (before, after)
            )
            yield from now if not was else ()


def _generated(tree: Tree) -> dict[str, str]:
    """The headers that a tree has from specs, with these."""
    git, words = tree.source.git, ("grep", "-z", "-l", "-F", "-e", GENERATED)
    shown = git.run(*words, tree.commit, "--", UAPI, ok=(0, 1)).stdout.split("\0")
    headers = [name.removeprefix(f"{tree.commit}:") for name in shown if name]
    found = {name: _SPEC.search(git.text(tree.commit, name) or "") for name in headers}
    return {name: spec[1] for name, spec in found.items() if spec}


def _compare(
    tree: Tree, header: str, spec: str, trusted: Tree, workspace: Workspace
) -> tuple[PatchFinding, ...]:
    """How a header differs from what its spec generates, where a tree has both."""
    has, told = (tree.source.git.text(tree.commit, name) for name in (header, spec))
    if has is None or told is None:
        return ()

    def find() -> Iterator[PatchFinding]:
        try:
            made = tree_scripts.generate_header(spec, told, trusted, workspace)
        except BuildError as error:
            text = f"the tree's generator cannot read it: {error.message}"
            yield make_finding(patch_findings.SPEC, text, spec)
            return
        number, line = _first_difference(has, made)
        if number:
            text = f"it is not what {spec} generates, which has here: {line}"
            yield make_finding(patch_findings.SPEC, text, header, number)

    shared = trusted.subtree(tree_scripts.YNL, f"{tree_scripts.SPECS}/")
    shared.pop(f"{tree_scripts.SPECS}/specs", None)
    return _kept(workspace, digest("netlink spec", shared, header, has, spec, told), find)


def _first_difference(one: str, two: str) -> tuple[int, str]:
    """The first line that differs as they are shown: its number and what ``two`` has there; 0
    where none does."""
    rows = [[printable(line).rstrip() for line in text.splitlines()] for text in (one, two)]
    for number, (here, there) in enumerate(itertools.zip_longest(*rows, fillvalue=""), 1):
        if here != there:
            return number, there
    return 0, ""


def _fixes(patch: Patch, before: Tree) -> Iterator[PatchFinding]:
    return (make_finding(patch_findings.FIXES, text) for text in wrong_fixes(patch, before))
