# SPDX-License-Identifier: GPL-2.0-only
"""A real regression among real commits of Linux 6.12, found by kernels that are built and guests
that are booted."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ci.base.workspace import remove_tree
from ci.trees.source import slot_folder
from tests.commands.test_tasks import Done
from tests.conftest import ROOT, fingerprint, git
from tests.guest.test_guests import FLIP, entries, inv, shipped

__all__ = ["inv"]  # a fixture

pytestmark = [pytest.mark.guest, pytest.mark.long]
FIX = ROOT / "kernel-patches/deny-join-id0/0001-mptcp-set-remote_deny_join_id0-on-SYN-recv.patch"
TITLE = 'Revert "mptcp: set remote_deny_join_id0 on SYN recv"'
PACKAGE = "linux-source-6.12"
FEWEST = 16
PLACE = 5


def older_files(folder: Path) -> dict[str, str]:
    """Sources of the network as the release of Debian's before this one has them, where they
    differ."""
    found, _, _ = shipped()
    rows = subprocess.run(["apt-cache", "madison", PACKAGE], capture_output=True, text=True).stdout
    ours = found.name.removeprefix("debian:")
    offered = dict.fromkeys(line.split("|")[1].strip() for line in rows.splitlines())
    older = [version for version in offered if version != ours]
    if not older:
        pytest.skip(f"apt offers no {PACKAGE} but {ours}")
    script = (
        f"apt-get download -q {PACKAGE}={older[0]} && dpkg-deb --fsys-tarfile *.deb |"
        f" tar -xO ./usr/src/{PACKAGE}.tar.xz | tar -xJ {PACKAGE}/net"
    )
    subprocess.run(["sh", "-euc", script], cwd=folder, check=True)
    texts = {}
    for path in sorted((folder / PACKAGE).rglob("*.c")):
        name = str(path.relative_to(folder / PACKAGE))
        now, text = found.git.text(found.commit, name), path.read_text(encoding="utf-8")
        if PLACES.match(name) and now is not None and now != text:
            texts[name] = text
    return texts


PLACES = re.compile(r"net/(?:core|ipv4|ipv6|netfilter|sched|ethernet|netlink)/")


def put(tree: Path, name: str, text: str) -> None:
    """Give a file of the tree's index a text."""
    blob = git(tree, "hash-object", "-w", "--stdin", stdin=text)
    git(tree, "update-index", "--cacheinfo", f"100644,{blob},{name}")


def record(tree: Path, parent: str, title: str) -> str:
    """The id of a commit of what the index holds."""
    return git(tree, "commit-tree", git(tree, "write-tree"), "-p", parent, "-m", title)


@pytest.fixture
def history(tmp_path: Path) -> Iterator[tuple[Path, list[str]]]:
    """A checkout, and its commits: what came with the last release of Debian's, file by file, with
    a fix taken back in its midst."""
    found, _, workspace = shipped()
    (folder := tmp_path / "older").mkdir()
    older, tree = older_files(folder), tmp_path / "linux"
    assert len(older) >= FEWEST
    git(tmp_path, "clone", "-q", "-s", "-n", str(found.slot / "src"), str(tree))
    git(tree, "read-tree", found.commit)
    for name, text in older.items():
        put(tree, name, text)
    chain = [record(tree, found.commit, "before the chain")]
    for number, name in enumerate(older, 1):
        if number == PLACE:
            git(tree, "apply", "--cached", "-R", str(FIX))
            chain.append(record(tree, chain[-1], TITLE))
        put(tree, name, found.git.text(found.commit, name) or "")
        chain.append(record(tree, chain[-1], f"{name}: as in the next release"))
    git(tree, "update-ref", "HEAD", chain[-1])
    yield tree, chain
    remove_tree(slot_folder(workspace, "tree", str(tree)))


def test_the_commit_that_broke_a_case_is_found(
    history: tuple[Path, list[str]], inv: Callable[..., Done], project: Path
) -> None:
    tree, chain = history
    before = fingerprint(tree)
    words = ("--tree", str(tree), "--good", chain[0], "--case", f"userspace_pm: {FLIP}")
    done = inv("bisect", *words, "--mode", "virtual", "--timings")
    assert done.returncode == 0
    assert done.stdout.startswith(f"first bad commit: {chain[PLACE]}\ntitle: {TITLE}\n")
    assert f"\nbefore: pass at {chain[PLACE - 1][:12]} " in done.stdout
    assert f"\nin it: fail at {chain[PLACE][:12]} " in done.stdout
    assert "[FAIL]" in done.stdout
    assert fingerprint(tree) == before
    (file,) = (project / "results").glob("*/bisect.json")
    steps = json.loads(file.read_bytes())["steps"]
    assert {step["code"] for step in steps} == {0, 1} and len(steps) <= 2 + 5
    kernels = entries("kernels")
    again = inv("bisect", *words, "--mode", "virtual", "--timings")
    assert again.stdout.splitlines()[:-1] == done.stdout.splitlines()[:-1]
    assert entries("kernels") == kernels and again.stderr.count("from the record") == len(steps)
