# SPDX-License-Identifier: GPL-2.0-only
"""Object directories: what make may take over from the builds before, and from whose.

The one that stays, beside the work tree, is written by builds of the tree that is trusted alone
(``Tree.ground``). Each other tree is built in a copy of it that goes with its build. So no object
of a kernel comes from what the build of another series has left, whatever that did.

make goes by the times of files, and those are right only while the clock runs on. So nothing here
asks what time it is: each rule compares times that the file system itself gave. A source that
changed is dated after every object; an object that is dated ahead, or was written with a time
outside of its build, shows that the clock was set, and then all objects go.
"""

import contextlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from ci.base import processes
from ci.base.errors import BuildError, StageError
from ci.base.records import from_json
from ci.base.seals import DIGESTS, describe_files
from ci.base.seen import whole_since
from ci.base.untrusted import remove_untrusted, walk_below
from ci.base.workspace import Workspace, tell_damage, write_text
from ci.trees.tree import Tree

Made = TypeVar("Made")
# Files of ours in the directory: the commits it was made of, what there was before a build that has
# not ended, the objects that take in files of which make knows nothing (ci/bin/checked-ccache), and
# the digests of all others.
MADE_OF, BUILDING, EMBEDDING, BUILT = OURS = ("made-of", "building", "embedding", DIGESTS)
COPY_LIMIT_S = 600.0
# A file system's clock goes in steps: up to 10 ms, of 2 s at worst.
TICK_S, PATIENCE_S = 0.01, 2.5


class StaleError(StageError):
    """What was built cannot be believed, for a reason that an empty object directory removes."""


def home_folder(tree: Tree, workspace: Workspace) -> Path:
    """The object directory that stays. In the sandbox, each copy of it is seen under its path."""
    obj = tree.source.obj
    return obj if workspace.confined else obj.with_name(f"{obj.name}-open")


def are_there(home: Path, key: str) -> bool:
    """Whether ``home`` holds objects that were made with ``key``."""
    return bool(made_of(key, home))


def is_trusted(tree: Tree, workspace: Workspace) -> bool:
    """Whether what a build of ``tree`` leaves may be taken over by later ones."""
    return tree.ground is None or not workspace.confined


@contextlib.contextmanager
def object_folder(tree: Tree, workspace: Workspace) -> Iterator[Path]:
    """Where ``tree`` is to be built: the directory that stays, or a place for a copy of it that
    goes at the end. The work tree's lock is the caller's."""
    if is_trusted(tree, workspace):
        yield home_folder(tree, workspace)
        return
    folder = tree.source.slot / "obj-series"
    remove_untrusted(folder)
    try:
        yield folder
    finally:
        remove_untrusted(folder)


def use_objects(
    tree: Tree, key: str, work: Callable[[Path], Made], obj: Path, home: Path | None = None
) -> Made:
    """What ``work`` makes in the object directory ``obj``; in an empty one where it holds what was
    made with another ``key``, and once again in an empty one after a :class:`StaleError`. Where it
    is to be a copy, it is made of ``home``. The work tree's lock is the caller's.
    """
    copied = home is not None and home != obj
    if home and copied and home.exists():
        remove_untrusted(obj)
        processes.run(
            ["cp", "-a", "--reflink=auto", "--", home, obj], stage="build", timeout_s=COPY_LIMIT_S
        )
    try:
        return _once(tree, key, work, obj, home or obj)
    except StaleError:
        remove_untrusted(obj)
    try:
        return _once(tree, key, work, obj, home or obj)
    except StaleError:
        remove_untrusted(obj)
        raise


def _once(tree: Tree, key: str, work: Callable[[Path], Made], obj: Path, home: Path) -> Made:
    commits, before, begin = _ready(tree, key, obj, home)
    try:
        made = work(obj)
    except BuildError:
        # make came to its own end, and has removed what was half done; the rest is of these commits
        others = [commit for commit in commits if commit != tree.commit]
        _end(obj, home, before, begin, [key, *others, tree.commit])
        raise
    _end(obj, home, before, begin, [key, tree.commit])
    return made


def _ready(tree: Tree, key: str, obj: Path, home: Path) -> tuple[list[str], dict[str, int], int]:
    """Leave nothing in ``obj`` that make would wrongly take for finished: the commits that what
    stays was made of, its files, and the time now."""
    obj.mkdir(exist_ok=True)
    commits = made_of(key, obj)
    changed = _changed(tree, commits)
    if commits and changed is not None and _undo(obj, home) and _is_whole(obj, home):
        before = _times(obj)
        newest = max(before.values(), default=0)
        if begin := _after(obj, newest):
            for source in changed:
                if os.path.lexists(source) and source.lstat().st_mtime_ns <= newest:
                    os.utime(source, ns=(begin, begin), follow_symlinks=False)
            write_text(obj / BUILDING, json.dumps(before))
            return commits, before, begin
    remove_untrusted(obj)
    if commits:  # what was copied cannot be used, and will not be the next time
        remove_untrusted(home)
    obj.mkdir()
    return [], {}, _now(obj)


def _end(obj: Path, home: Path, before: dict[str, int], begin: int, made_of: list[str]) -> None:
    """Leave ``obj`` for the next build, where each file that this one wrote is dated within it;
    else the clock was set, and make was misled."""
    end = _now(obj)
    new = {name: written for name, written in _times(obj).items() if before.get(name) != written}
    for name, written in new.items():
        if not begin <= written <= end:
            apart = (written - end if written > end else written - begin) / 1e9
            raise StaleError(
                "build",
                f"the clock was set during the build: {obj / name} is dated {apart:+.1f} s away"
                " from it; see that nothing sets it, then run this again",
            )
    if obj == home:
        _seal(obj, before, new)
        write_text(obj / MADE_OF, "".join(f"{line}\n" for line in made_of))
        (obj / BUILDING).unlink(missing_ok=True)


def made_of(key: str, obj: Path) -> list[str]:
    """The commits that the objects in ``obj`` were made of; none where nothing there can be
    used."""
    try:
        made_with, *commits = (obj / MADE_OF).read_text(encoding="ascii").split()
    except (FileNotFoundError, ValueError):
        return []
    return commits if made_with == key else []


def _changed(tree: Tree, commits: Sequence[str]) -> set[Path] | None:
    """The sources of ``tree`` that differ from those of any of ``commits``; ``None`` where one is
    not known."""
    found: set[Path] = set()
    for commit in commits:
        if commit != tree.commit:
            words = ("diff", "--name-only", "--no-renames", "-z", commit, tree.commit)
            done = tree.source.git.run(*words, ok=None)
            if done.returncode != 0:
                return None
            found |= {tree.source.slot / "src" / name for name in done.stdout.split("\0") if name}
    return found


def _undo(obj: Path, home: Path) -> bool:
    """Remove what a build that was killed wrote, half of it perhaps, and what takes in files that
    make knows nothing of, which the build knew below ``home``; False where it cannot be told."""
    if (obj / BUILDING).exists():
        try:
            before = json.loads((obj / BUILDING).read_text(encoding="utf-8"))
        except ValueError:
            return False
        for name, written in _times(obj).items():
            if before.get(name) != written:
                (obj / name).unlink()
    if (obj / EMBEDDING).exists():
        for line in (obj / EMBEDDING).read_text(encoding="utf-8").splitlines():
            path = Path(line)
            if path.is_relative_to(home) and ".." not in path.parts:
                (obj / path.relative_to(home)).unlink(missing_ok=True)
        (obj / EMBEDDING).unlink()
    return True


def _digests(obj: Path) -> dict[str, str]:
    """What each file was when it was built; a ValueError or an OSError where nobody knows."""
    found = from_json((obj / BUILT).read_bytes(), dict[str, str])
    return {name: what for name, what in found.items() if os.path.lexists(obj / name)}


def _is_whole(obj: Path, home: Path) -> bool:
    """Whether all that is left of what was built is as it was; else a line tells it. make sees no
    more of a file than its time. A copy is whole where ``home`` is, which is seldom read."""
    if obj != home and not _find_damage(home):
        return True
    if damage := _find_damage(obj, seen=obj == home):
        tell_damage(obj, damage)
    return not damage


def _find_damage(obj: Path, *, seen: bool = True) -> str:
    """What is not as it was built, in words; with ``seen``, of what was touched since it was last
    looked at."""
    try:
        built = _digests(obj)

        def check(paths: Sequence[Path]) -> str:
            names = {f"{path.relative_to(obj)}" for path in paths}
            wanted = built if BUILT in names else {name: built[name] for name in names}
            found = describe_files(obj, wanted)
            wrong = (name for name, what in wanted.items() if found[name] != what)
            return next((f"{name} is not what was built" for name in wrong), "")

        if not seen:
            return check([obj / BUILT])
        memo = obj.with_name(f"seen-{obj.name}")
        return whole_since(memo, lambda: (obj / name for name in (BUILT, *built)), check)
    except (OSError, ValueError) as error:
        return f"{BUILT}: {error}"


def _seal(obj: Path, before: Mapping[str, int], new: Mapping[str, int]) -> None:
    """Write down what each file is, of which only the ``new`` ones have to be read."""
    known: dict[str, str] = {}
    if before:
        known = {name: what for name, what in _digests(obj).items() if name not in new}
    write_text(obj / BUILT, json.dumps({**known, **describe_files(obj, new)}))


def _times(obj: Path) -> dict[str, int]:
    """Each file below ``obj`` but ours, with the time at which it was written, in ns."""
    found: dict[str, int] = {}
    start = len(str(obj)) + 1
    for entry in walk_below(obj):
        with contextlib.suppress(FileNotFoundError):  # what a process of the build still removes
            if not entry.is_dir(follow_symlinks=False):
                found[entry.path[start:]] = entry.stat(follow_symlinks=False).st_mtime_ns
    return {name: written for name, written in found.items() if name not in OURS}


def _now(obj: Path) -> int:
    """The file system's time, in ns: that of a file without a name, as any name in ``obj`` may be a
    link by now."""
    with tempfile.TemporaryFile(dir=obj.parent) as stamp:
        return os.fstat(stamp.fileno()).st_mtime_ns


def _after(obj: Path, newest: int) -> int:
    """A time after ``newest``, 0 where none comes: what is there is dated ahead."""
    end = time.monotonic() + PATIENCE_S
    while (now := _now(obj)) <= newest:
        if time.monotonic() > end or newest - now > PATIENCE_S * 1e9:
            return 0
        time.sleep(TICK_S)
    return now
