# SPDX-License-Identifier: GPL-2.0-only
"""ci.guest.rootfs: the guest's root can be made by anybody, anywhere, and is the same whoever made
it."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ci.base.errors import BuildError, StageError
from ci.base.progress import Progress
from ci.base.seals import DIGESTS
from ci.base.settings import Settings
from ci.base.workspace import Workspace, file_digest
from ci.guest import cpio, rootfs
from ci.guest.selftests import GUEST_SELFTESTS, install_selftests
from ci.kernel.build import Toolchain
from ci.series.patches import load_series
from ci.suites.mptcp import COLLECTION
from ci.trees.fetch import fetch_source
from ci.trees.tree import Tree, derive_trees
from tests.base.test_seals import put_zeros
from tests.conftest import KERNEL_FILES, ROOT, commit
from tests.guest.test_cpio import read

NOBODY = 65534  # has no subuids anywhere, so that no user namespace could be made for it


@pytest.fixture
def closed_home() -> Iterator[Path]:
    """A home of mode 0700, of an ordinary user where we are root, else of our own."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)
        home = Path(folder) / "home"
        home.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(home, NOBODY, NOBODY)
        yield home


def ordinary(argv: Sequence[str | Path], home: Path) -> None:
    """Run a command in a home as its owner, with a umask that hides all from others."""
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home)}
    who: dict[str, Any] = (
        {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    )
    done = subprocess.run(
        argv, cwd=home, env=env, umask=0o077, capture_output=True, text=True, timeout=600, **who
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.guest
def test_the_root_is_the_same_whoever_makes_it(
    closed_home: Path, workspace: Workspace, tmp_path: Path
) -> None:
    table = rootfs.read_recipe(workspace)
    ordinary(
        ["mmdebstrap", *rootfs.packages_command(table, closed_home / "root.tar", as_root=False)],
        closed_home,
    )
    ours = rootfs.make_root(workspace, tmp_path / "image.log")
    assert (ours / "packages.txt").read_text(encoding="utf-8").count("_amd64\n") > 30
    digests = []
    for name, tar in (("ours", ours / "root.tar"), ("theirs", closed_home / "root.tar")):
        with (tmp_path / name).open("wb") as out:
            cpio.write_archive(cpio.tar_entries(tar, table.trim.paths), out)
        digests.append(file_digest(tmp_path / name))
    assert digests[0] == digests[1]


def test_nobody_needs_a_user_namespace_and_no_file_of_the_checkout(workspace: Workspace) -> None:
    table = rootfs.read_recipe(workspace)
    for as_root, mode in ((False, "--mode=chrootless"), (True, "--mode=root")):
        words = [
            str(word) for word in rootfs.packages_command(table, Path("root.tar"), as_root=as_root)
        ]
        assert mode in words and not any(str(ROOT) in word for word in words)
    listed = (ROOT / "ci/packages.txt").read_text(encoding="utf-8")
    assert (
        "uidmap" not in listed and "\ngpg gpg\n" in listed
    )  # gpg: only a Recommends of mmdebstrap


MMDEBSTRAP = """#!{python}
import io, sys, tarfile
print("I: at work", file=sys.stderr)
packages = {packages!r}
with tarfile.open(sys.argv[-1], "w") as tar:
    files = {{"./usr/bin/bash": "bash", "./usr/share/doc/bash": "words", "./etc/passwd": "theirs"}}
    for name, text in (files | packages).items():
        file = tarfile.TarInfo(name)
        file.size = len(text)
        tar.addfile(file, io.BytesIO(text.encode()))
sys.exit({code})
"""
PACKAGES = {"./packages.txt": "bash_5.2_amd64.deb\nsed_4.9_amd64.deb\n"}


@pytest.fixture
def mmdebstrap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Stands in for mmdebstrap, which would need a network: unpacks three files and a list."""
    folder = tmp_path / "tools"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")

    def made(packages: dict[str, str], code: int = 0) -> None:
        program = folder / "mmdebstrap"
        text = MMDEBSTRAP.format(python=sys.executable, packages=packages, code=code)
        program.write_text(text, encoding="utf-8")
        program.chmod(0o755)

    return made


def test_the_root_is_made_once(
    mmdebstrap: Callable[..., None], workspace: Workspace, tmp_path: Path
) -> None:
    mmdebstrap(PACKAGES)
    folder = rootfs.make_root(workspace, tmp_path / "root.log")
    assert folder == rootfs.root_folder(workspace)
    listed = (folder / "packages.txt").read_text(encoding="utf-8")
    assert listed == "bash_5.2_amd64\nsed_4.9_amd64\n"
    assert (tmp_path / "root.log").read_text(encoding="utf-8") == "I: at work\n"
    mmdebstrap(PACKAGES, code=1)
    assert rootfs.make_root(workspace, tmp_path / "root.log") == folder


@pytest.mark.parametrize(
    ("packages", "code", "words"),
    [({}, 0, "without a list of packages"), (PACKAGES, 7, "exit code 7\nI: at work")],
)
def test_a_root_that_is_not_whole_is_not_kept(
    packages: dict[str, str],
    code: int,
    words: str,
    mmdebstrap: Callable[..., None],
    workspace: Workspace,
    tmp_path: Path,
) -> None:
    mmdebstrap(packages, code)
    with pytest.raises(StageError, match=words) as raised:
        rootfs.make_root(workspace, tmp_path / "root.log")
    assert raised.value.log == tmp_path / "root.log"
    assert [*(workspace.cache / "roots").iterdir()] == []


@pytest.fixture
def installed(workspace: Workspace, mmdebstrap: Callable[..., None], tmp_path: Path) -> Path:
    """A folder with selftests, and a root in the cache."""
    mmdebstrap(PACKAGES)
    rootfs.make_root(workspace, tmp_path / "root.log")
    folder = tmp_path / "key of selftests"
    (folder / GUEST_SELFTESTS).mkdir(parents=True)
    (folder / GUEST_SELFTESTS / "diag.sh").write_text("#!/bin/sh\n", encoding="ascii")
    return folder


def test_an_image_has_packages_our_files_and_selftests(
    installed: Path, workspace: Workspace
) -> None:
    image = rootfs.make_image(installed, workspace, rootfs.root_folder(workspace))
    files = read(image.path.read_bytes())
    assert files["usr/bin/bash"][1] == b"bash" and files["selftests/diag.sh"][1] == b"#!/bin/sh\n"
    assert files["init"] == (0o100755, (ROOT / "images/guest/init").read_bytes())
    assert files["usr/bin/awk"] == (0o120777, b"mawk") and files["proc"] == (0o040755, b"")
    assert "usr/share/doc/bash" not in files and files.get("etc/passwd", (0, b""))[1] != b"theirs"
    assert image.packages == ("bash_5.2_amd64", "sed_4.9_amd64")
    assert image.image_digest == file_digest(image.path)


@pytest.mark.parametrize("name", ["image.json", "root.cpio"])
def test_a_damaged_image_is_made_again(
    name: str, installed: Path, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    root = rootfs.root_folder(workspace)
    image = rootfs.make_image(installed, workspace, root)
    put_zeros(image.path.with_name(name))
    assert rootfs.make_image(installed, workspace, root) == image
    assert file_digest(image.path) == image.image_digest
    (said,) = capsys.readouterr().err.splitlines()
    assert f"{name} is not what was kept" in said and "made again" in said


def test_a_damaged_root_is_made_again(
    installed: Path, workspace: Workspace, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tar = rootfs.root_folder(workspace) / "root.tar"
    size = tar.stat().st_size
    os.truncate(tar, size // 2)
    assert rootfs.make_root(workspace, tmp_path / "again.log") == tar.parent
    assert workspace.ready(tar.parent) and tar.stat().st_size == size
    assert "root.tar is not what was kept" in capsys.readouterr().err


def test_an_image_is_known_by_its_inputs(installed: Path, workspace: Workspace) -> None:
    root = rootfs.root_folder(workspace)
    first = rootfs.make_image(installed, workspace, root)
    moment = first.path.stat().st_mtime_ns
    assert rootfs.make_image(installed, workspace, root) == first
    assert first.path.stat().st_mtime_ns == moment
    # The same selftests under another key: another entry with the same bytes.
    other = rootfs.make_image(installed.rename(installed.with_name("other")), workspace, root)
    assert other.path != first.path and other.image_digest == first.image_digest


MAKEFILE = "headers:\n\t@mkdir -p $(O)/usr/include && echo >$(O)/usr/include/one.h\n"
INSTALL = """
install:
\t@mkdir -p $(INSTALL_PATH)/net/mptcp && cp net/mptcp/*.sh $(INSTALL_PATH)/net/mptcp
\t@echo '$(TARGETS) $(USERLDFLAGS)' >$(INSTALL_PATH)/words
"""
BROKEN = '\ninstall:\n\t@echo "$(CURDIR)/net/mptcp/a.c:1:2: error: no such thing" >&2; exit 1\n'
TESTS = "tools/testing/selftests"


@pytest.fixture
def tree_with(
    kernel_tree: Path, demo_series: Path, settings_for: Callable[..., Settings], progress: Progress
) -> Callable[[str], Tree]:
    """A tree whose selftests are installed by this Makefile, read by the real make."""

    def made(install: str) -> Tree:
        files = {
            "Makefile": KERNEL_FILES["Makefile"] + MAKEFILE,
            f"{TESTS}/Makefile": install,
            f"{TESTS}/net/mptcp/mptcp_join.sh": "#!/bin/sh\n",
        }
        commit(kernel_tree, files, "selftests")
        series = load_series(demo_series)
        fetched = fetch_source(settings_for(tree=str(kernel_tree)), series, progress)
        return derive_trees(series, fetched, frozenset()).base

    return made


TOOLS = Toolchain("gcc 12", "ld 2.40")


def test_selftests_are_installed_by_the_trees_own_makefiles(
    tree_with: Callable[[str], Tree], workspace: Workspace, tmp_path: Path
) -> None:
    made = tree_with(INSTALL)
    folder = install_selftests(made, workspace, TOOLS, COLLECTION, tmp_path / "log")
    assert (folder / "selftests/net/mptcp/mptcp_join.sh").exists()
    words = (folder / "selftests/words").read_text(encoding="ascii")
    assert words == "net/mptcp -static -s\n"
    assert {path.name for path in folder.iterdir()} == {"selftests", DIGESTS}
    inode = folder.stat().st_ino
    assert install_selftests(made, workspace, TOOLS, COLLECTION, tmp_path / "log") == folder
    assert folder.stat().st_ino == inode
    # Damaged, they are installed again; the one that was asked for twice at once, once.
    put_zeros(folder / "selftests/words")
    with ThreadPoolExecutor(2) as pool:
        for found in pool.map(
            lambda log: install_selftests(made, workspace, TOOLS, COLLECTION, tmp_path / log), "ab"
        ):
            assert (found / "selftests/words").read_text(encoding="ascii") == words
    assert workspace.ready(folder)


def test_selftests_that_do_not_compile_are_told_and_not_kept(
    tree_with: Callable[[str], Tree], workspace: Workspace, tmp_path: Path
) -> None:
    with pytest.raises(BuildError) as raised:
        install_selftests(tree_with(BROKEN), workspace, TOOLS, COLLECTION, tmp_path / "log")
    told = raised.value.message.splitlines()
    assert told[0] == f"{TESTS}/net/mptcp/a.c:1:2: error: no such thing"
    with pytest.raises(BuildError, match="installed nothing of net/mptcp"):
        install_selftests(tree_with("\ninstall:\n"), workspace, TOOLS, COLLECTION, tmp_path / "log")
    assert [*(workspace.cache / "selftests").iterdir()] == []


# What a rule of a hostile Makefile leaves behind -> what is said of it.
STRAY = {
    "ln -s /etc/hostname $(INSTALL_PATH)/x": "x is a link that leads out of them, to /etc/hostname",
    "ln -s ../../x $(INSTALL_PATH)/x": "x is a link that leads out of them",
    "ln -s / $(INSTALL_PATH)/x": "x is a link that leads out of them, to /",
    "ln -s net $(INSTALL_PATH)/n; ln -s n/../.. $(INSTALL_PATH)/x": "x is a link that leads out",
    "ln $(INSTALL_PATH)/words $(O)/x": "words is a hard link",
    "mkfifo $(INSTALL_PATH)/x": "x is neither a file, nor a folder, nor a link",
    "truncate -s 65M $(INSTALL_PATH)/x": "x has 68157440 bytes",
    "truncate -s 60M $(INSTALL_PATH)/x1 $(INSTALL_PATH)/x2 $(INSTALL_PATH)/x3 $(INSTALL_PATH)/x4 "
    "$(INSTALL_PATH)/x5": "files of 314",
    "mkdir $(O)/net; ln -s /etc/hostname $(O)/net/x": "net/x is a link to /etc/hostname, of the",
}


@pytest.mark.parametrize("rule", STRAY)
def test_no_guest_sees_a_file_of_the_host(
    rule: str, tree_with: Callable[[str], Tree], workspace: Workspace, tmp_path: Path
) -> None:
    made = tree_with(f"{INSTALL}\t@{rule}\n")
    with pytest.raises(BuildError, match="the selftests cannot go into a guest: ") as raised:
        install_selftests(made, workspace, TOOLS, COLLECTION, tmp_path / "log")
    assert STRAY[rule] in raised.value.message
    assert [*(workspace.cache / "selftests").iterdir()] == []


def test_links_among_selftests_are_fine(
    tree_with: Callable[[str], Tree], workspace: Workspace, tmp_path: Path
) -> None:
    rule = "ln -s net/mptcp $(INSTALL_PATH)/here; ln -s ../../words $(INSTALL_PATH)/net/mptcp/up"
    made = tree_with(f"{INSTALL}\t@{rule}\n")
    folder = install_selftests(made, workspace, TOOLS, COLLECTION, tmp_path / "log")
    entries = {entry.path: entry for entry in cpio.tree_entries(folder)}
    assert entries["selftests/here"].data == b"net/mptcp"  # a link to a folder stays one
    assert entries["selftests/net/mptcp/up"].data == b"../../words"
