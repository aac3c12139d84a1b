# SPDX-License-Identifier: GPL-2.0-only
"""ci.guest.series_checks: programs of a series, compiled for each side by the real compiler in the
real sandbox."""

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ci.base.errors import BuildError
from ci.base.sides import Side
from ci.base.workspace import Workspace
from ci.guest import floods
from ci.guest.modes import Mode
from ci.guest.rootfs import make_image
from ci.guest.selftests import GUEST_SELFTESTS
from ci.guest.series_checks import check_names, install_checks
from ci.logs.ending import LOGS, Ended
from ci.logs.ktap import ScriptResult
from ci.logs.outcome import Case, State
from ci.report.record import GuestRow
from ci.report.stored import parse_guest
from ci.suites.collection import Script
from ci.suites.mptcp import COLLECTION
from ci.trees.source import Source
from ci.trees.tree import Tree
from ci.verdict.evidence import Evidence, ScriptRun
from ci.verdict.judge import decide
from tests.conftest import commit, git
from tests.guest.test_guests import shipped
from tests.guest.test_virtual import boot, built
from tests.kernel.test_hostile import TOOLS

FOLDER = "tools/testing/selftests/net/mptcp"
# It says by how much a number is wrong; a series makes it say more.
TOOL = (
    "#include <stdio.h>\n#include <linux/own.h>\n#include <linux/tools.h>\n"
    '#include "kselftest.h"\nint main(void) {{ puts(SAYS("{}" OWN)); return 0; }}\n'
)
MAKEFILE = """\
headers:
\tmkdir -p $(O)/usr/include/linux
\techo '#define OWN " of {}"' >$(O)/usr/include/linux/own.h
"""
FILES = {
    "seen.sh": b"#!/bin/sh\necho 1..1\n./loud | grep -q diff && echo ok 1\n",
    "loud.c": b'#include "loud.h"\n#define puts(text) printf("%s!\\n", text)\n#include "tool.c"\n',
    "loud.h": b"#include <stdio.h>\n",
}


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Tree, Tree]:
    """Base, and a tree whose program and headers say something else."""
    slot = tmp_path / "slot"
    (slot / "src").mkdir(parents=True)
    git(slot / "src", "init", "-q", "-b", "main", "--template=")
    made = []
    for words, owner in (("off", "base"), ("off, diff", "patched")):
        files = {
            f"{FOLDER}/tool.c": TOOL.format(words),
            "Makefile": MAKEFILE.format(owner),
            # As the selftests of 7.x have it. What the kernel's headers have, too, is theirs.
            "tools/include/linux/tools.h": "#define SAYS(words) words\n",
            "tools/include/linux/own.h": "#error of the tools\n",
            "tools/testing/selftests/kselftest.h": "\n",
        }
        of = commit(slot / "src", files, owner)
        made.append(Tree(Source("test", slot, of, ""), of, of, (6, 12)))
    return made[0], made[1]


@pytest.fixture
def install(tmp_path: Path, workspace: Workspace) -> Callable[..., Path]:
    """Install checks beside a tree's selftests."""

    def made(tree: Tree, files: dict[str, bytes] = FILES) -> Path:
        installed = tmp_path / tree.commit
        folder = installed / GUEST_SELFTESTS / COLLECTION.target
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "mptcp_join.sh").touch()
        words = (workspace, TOOLS, COLLECTION, installed, tmp_path / "log")
        return install_checks(files, tree, *words) / GUEST_SELFTESTS / COLLECTION.target

    return made


def said(folder: Path) -> str:
    return subprocess.run([folder / "loud"], capture_output=True, text=True, check=True).stdout


def test_a_program_takes_each_sides_own_source_and_headers(
    trees: tuple[Tree, Tree], install: Callable[..., Path]
) -> None:
    base, patched = map(install, trees)
    assert said(base) == "off of base!\n" and said(patched) == "off, diff of patched!\n"
    assert sorted(path.name for path in base.iterdir()) == ["loud", "seen.sh"]
    assert (base / "seen.sh").stat().st_mode & 0o111
    time = (base / "loud").stat().st_mtime_ns
    assert install(trees[0]) == base and (base / "loud").stat().st_mtime_ns == time


def test_what_has_the_name_of_a_selftest_or_does_not_compile(
    trees: tuple[Tree, Tree], install: Callable[..., Path], tmp_path: Path
) -> None:
    install(trees[1])
    installed = tmp_path / trees[1].commit
    check_names(FILES, COLLECTION, installed)
    with pytest.raises(BuildError, match=r"checks/mptcp_join\.sh: a selftest of the tree has"):
        check_names({"mptcp_join.sh": b"exit 0\n"}, COLLECTION, installed)
    with pytest.raises(BuildError, match=r"checks/kunit\.sh: a selftest of the tree has"):
        check_names({"kunit.sh": b"exit 0\n"}, COLLECTION, installed)
    with pytest.raises(BuildError, match=r"loud\.c:1:") as caught:
        install(trees[1], FILES | {"loud.c": b"int main(void) { return x; }\n"})
    assert "undeclared" in caught.value.message
    secret = b'#include "/etc/passwd"\n'
    with pytest.raises(BuildError, match="No such file"):
        install(trees[1], FILES | {"loud.c": secret})


def test_scripts_alone_need_no_compiler(
    trees: tuple[Tree, Tree], install: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ci.kernel.build.run_make", None)
    assert [path.name for path in install(trees[0], {"a.sh": b""}).iterdir()] == ["a.sh"]


PASSED = Case("it is fine", State.PASS)
HOSTILE = {
    "hang.sh": "echo 1..1\nsleep 1000000\n",
    "flood.sh": "yes flood\n",
    "forge.sh": (
        "job=/sys/firmware/qemu_fw_cfg/by_name/opt/org.patchverdict/job/raw\n"
        "nonce=$(sed -n 's/^nonce //p' $job)\n"
        'echo "$nonce end 0 1000 0" >/dev/ttyS3\n'
        "echo 1..1; echo ok 1 - it is fine; exit 1\n"
    ),
}


@pytest.mark.guest
@pytest.mark.parametrize(
    ("name", "ended"),
    [("hang", Ended.HANG_SCRIPT), ("flood", Ended.FLOODED), ("forge", Ended.FORGED)],
)
def test_a_check_that_is_hostile_ends_as_any_script(
    name: str, ended: Ended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A log may have less here: a console takes some ten kilobytes a second."""
    monkeypatch.setattr(floods, "most_of", lambda log: 300_000)
    _, trees, workspace = shipped()
    _, installed, root = built()
    files = {one: f"#!/bin/bash\n{text}".encode() for one, text in HOSTILE.items()}
    words = (workspace, TOOLS, COLLECTION, installed, tmp_path / "log")
    checks = install_checks(files, trees.patched, *words)
    made = make_image(installed, workspace, root, checks)
    script = Script(f"{name}.sh", limit_s=5, folder=COLLECTION.target, check=True)
    run = boot(tmp_path / "guest", Mode("virtual", ""), script, made)
    assert run.end.ended is ended
    row = GuestRow(Side.PATCHED, name, name, 1, 1, True, "", run.end, False, {})
    guest = parse_guest(row, COLLECTION, {log: run.log(log) for log in LOGS})
    fine = replace(guest, ended=Ended.FINISHED, result=ScriptResult(name, PASSED, ()))
    found = decide(Evidence("s", "", runs=(ScriptRun(name, fine, guest),)))
    assert found.exit_code != 0 and found.reasons[0].startswith(f"kernel: {name}: guest finished")
