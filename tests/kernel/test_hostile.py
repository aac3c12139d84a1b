# SPDX-License-Identifier: GPL-2.0-only
"""What the build of a hostile series can do to the next one, and to us: a small tree with kbuild's
commands, built in the real sandbox by real make, gcc and ccache."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from ci.base.errors import BuildError
from ci.base.progress import Progress
from ci.base.untrusted import remove_untrusted
from ci.base.workspace import Workspace
from ci.guest import selftests
from ci.kernel import build, bzimage
from ci.kernel.build import Kernel, Toolchain
from ci.kernel.objects import StaleError
from ci.suites.mptcp import COLLECTION
from ci.trees.source import Source
from ci.trees.tree import Tree
from tests.conftest import commit, fingerprint, git
from tests.kernel.test_bzimage import SECTORS

pytestmark = pytest.mark.whole
TOOLS = Toolchain("gcc", "ld")
MAKEFILE = """\
VERSION = 6
PATCHLEVEL = 12
hostile = true
allnoconfig:
\tmkdir -p $(O)/include/config $(O)/net $(O)/arch/x86/boot
\tcp $(KCONFIG_ALLCONFIG) $(O)/.config
\techo 6.12.0 >$(O)/include/config/kernel.release
\tcd $(O) && $(early)
early = true
bzImage:
\t$(MAKE) -C $(O) -f $(CURDIR)/scripts/build.mk SRC=$(CURDIR) 'CC=$(CC)'
\tcd $(O) && $(hostile)
headers:
\tmkdir -p $(O)/usr/include
"""
BUILD = """\
arch/x86/boot/bzImage: vmlinux; python3 $(SRC)/scripts/pack.py $< $@
vmlinux: net/a.o net/b.o
\tgcc -nostdlib -static -Wl,-e0,--build-id=sha1 -o $@ $^ && nm $@ >System.map
net/%.o: $(SRC)/net/%.c
\t$(CC) -Wp,-MMD,$@.d -c -o $@ $< && echo "  CC      $@"
"""
PACK = f"""\
import struct, subprocess, sys
inside = subprocess.run(["lz4", "-l", "-c", sys.argv[1]], check=True, capture_output=True).stdout
loader = bytearray({(SECTORS + 1) * bzimage.SECTOR})
loader[{bzimage.SETUP_SECTS}] = {SECTORS}
loader[{bzimage.MAGIC}:{bzimage.MAGIC + 4}] = b"HdrS"
struct.pack_into("<II", loader, {bzimage.PAYLOAD}, 0, len(inside) + 4)
open(sys.argv[2], "wb").write(bytes(loader) + inside + bytes(4))
"""
INSTALL = """\
install:
\tmkdir -p $(INSTALL_PATH)/net/mptcp
\techo '#!/bin/sh' >$(INSTALL_PATH)/net/mptcp/mptcp_join.sh
\tchmod 755 $(INSTALL_PATH)/net/mptcp/mptcp_join.sh
\tcd $(INSTALL_PATH) && $(hostile)
hostile = true
"""
HARMLESS = {"net/a.c": "const int a = 2;\n"}
FILES = {
    "Makefile": MAKEFILE,
    "scripts/build.mk": BUILD,
    "scripts/pack.py": PACK,
    "net/a.c": "const int a = 1;\n",
    "net/b.c": "const int b = 1;\n",
    "tools/testing/selftests/Makefile": INSTALL,
}


class Slot:
    """A source with its trees; each change is one on the first commit."""

    def __init__(self, folder: Path, workspace: Workspace) -> None:
        self.slot, self.workspace, self.log = folder / "slot", workspace, folder / "build.log"
        (self.slot / "src").mkdir(parents=True)
        git(self.slot / "src", "init", "-q", "-b", "main", "--template=")
        self.base = self.tree(commit(self.slot / "src", FILES, "base"))

    def tree(self, of: str) -> Tree:
        return Tree(Source("test", self.slot, of, ""), of, of, (6, 12))

    def series(self, files: dict[str, str]) -> Tree:
        """A tree that differs from the first one in these files."""
        src = self.slot / "src"
        git(src, "checkout", "-q", "--force", self.base.commit)
        return replace(self.tree(commit(src, files, "series")), ground=self.base)

    def hostile(self, command: str, when: str = "hostile") -> Tree:
        """A tree whose Makefile does ``command`` in the object directory after a build."""
        return self.series({"Makefile": MAKEFILE.replace(f"{when} = true", f"{when} = {command}")})

    def build(self, tree: Tree) -> Kernel:
        return build.build_kernel(tree, self.workspace, TOOLS, COLLECTION, Progress(), self.log)

    def left(self) -> set[str]:
        """What is in the slot, but for what is known of files that were read."""
        return {path.name for path in self.slot.iterdir() if not path.name.startswith("seen-")}


@pytest.fixture
def slot(tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Slot:
    monkeypatch.setattr(build, "read_fragments", lambda *_: ())
    return Slot(tmp_path, workspace)


def ccache(slot: Slot) -> dict[str, bytes]:
    """The results that ccache keeps."""
    every = fingerprint(slot.workspace.cache / "ccache")
    return {name: data for name, data in every.items() if name.endswith(("R", "M"))}


def test_a_series_is_built_in_a_copy_that_goes(slot: Slot) -> None:
    base = slot.build(slot.base)
    home = fingerprint(slot.slot / "obj")
    patched = slot.build(slot.series(HARMLESS))
    assert set(base.compiled) == {"net/a.o", "net/b.o"} and patched.compiled == ("net/a.o",)
    assert patched.build_id != base.build_id and slot.left() == {"src", "obj"}
    assert fingerprint(slot.slot / "obj") == home


POISON = (
    "echo 'const int b = 666;' >/tmp/b.c; gcc -c -o net/b.o /tmp/b.c; cp net/b.o net/a.o;"
    " touch -d '+1 day' net/*.o; touch made-of; for file in `find $$CCACHE_DIR -type f`;"
    " do cp net/b.o $$file; done; echo '/etc/hostname' >>embedding; rm -rf $(CURDIR)/net; true"
)


@pytest.mark.parametrize("when", ["hostile", "early"])
def test_what_a_build_leaves_is_in_no_other_kernel(
    slot: Slot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    honest = slot.build(slot.base).build_id, slot.build(slot.series(HARMLESS)).build_id
    remove_untrusted(slot.workspace.cache / "kernels")
    kept = ccache(slot)
    assert kept
    for _ in range(2):  # dated ahead, it looks as if the clock was set
        with pytest.raises((BuildError, StaleError)):
            slot.build(slot.hostile(POISON, when))
    assert (slot.build(slot.base).build_id, slot.build(slot.series(HARMLESS)).build_id) == honest
    assert ccache(slot) == kept and slot.left() == {"src", "obj"}


LEFT = {
    "ln -sf MARKER .config": ("no .config was made", "hostile"),
    "ln -sf MARKER .config; true": ("no .config was made", "early"),
    "rm .config; mkfifo .config": ("the .config that was made is no plain file", "early"),
    "ln -sf MARKER vmlinux": ("no vmlinux was made", "hostile"),
    "rm vmlinux; mkdir vmlinux": ("the vmlinux that was made is no plain file", "hostile"),
    "ln -sf MARKER System.map": ("no System.map was made", "hostile"),
    "rm System.map; mkfifo System.map": ("System.map that was made is no plain", "hostile"),
    "truncate -s 1G System.map": ("System.map that was made has 1073741824 bytes", "hostile"),
    "truncate -s 1G arch/x86/boot/bzImage": ("bzImage that was made has 1073741824", "hostile"),
    "mv arch aside; ln -s aside arch": ("no arch/x86/boot/bzImage was made", "hostile"),
    "ln -sf MARKER include/config/kernel.release": ("no include/config/kernel.rel", "hostile"),
    "printf '\\033[2J' >include/config/kernel.release": ("which is no release", "hostile"),
    "mkfifo net/.x.o.cmd": ("net/.x.o.cmd that was made is no plain file", "early"),
    "ln -s MARKER net/.x.o.cmd": ("no net/.x.o.cmd was made", "early"),
    "for i in `seq 200`; do mkdir d; cd d; done": ("more than 64 folders in each", "hostile"),
    "kill -9 -1": ("", "hostile"),
    "echo net/a.c:1: error: oh >&2; exit 1": ("a.c:1: error: oh", "hostile"),
}


def test_what_a_build_leaves_is_not_followed(slot: Slot, tmp_path: Path) -> None:
    slot.build(slot.base)
    marker = tmp_path / "marker"
    marker.write_text("CONFIG_OF_THE_USER=y\n", encoding="ascii")
    kept = set((slot.workspace.cache / "kernels").iterdir())
    for command, (said, when) in LEFT.items():
        with pytest.raises(BuildError) as raised:
            slot.build(slot.hostile(command.replace("MARKER", str(marker)), when))
        assert said in raised.value.message, command
        assert set((slot.workspace.cache / "kernels").iterdir()) == kept, command
        assert slot.left() == {"src", "obj"}, command
        assert marker.read_text(encoding="ascii") == "CONFIG_OF_THE_USER=y\n", command


def test_folders_that_nobody_may_enter_are_removed(slot: Slot) -> None:
    slot.build(slot.base)
    script = "for i in `seq 1100`; do mkdir d; cd d; done; chmod 0 ../d; exit 1"
    with pytest.raises(BuildError):
        slot.build(slot.hostile(script))
    assert slot.left() == {"src", "obj"}


def test_the_source_stays_as_it_is(slot: Slot) -> None:
    slot.build(slot.base)
    src = slot.slot / "src"
    before = {path: path.lstat().st_mtime_ns for path in src.rglob("*") if ".git" not in path.parts}
    script = (
        "touch $(CURDIR)/net/untracked.h $(CURDIR)/net/b.c; ls -A $(CURDIR)/.git; test -w $(CURDIR)"
    )
    with pytest.raises(BuildError):
        slot.build(slot.hostile(script))
    git(src, "checkout", "-q", "--detach", slot.base.commit)
    after = {path: path.lstat().st_mtime_ns for path in src.rglob("*") if ".git" not in path.parts}
    del before[src / "Makefile"], after[src / "Makefile"]
    assert before == after


def test_what_is_among_the_sources_goes_before_a_build(slot: Slot) -> None:
    for name in ("net/untracked.h", "more/a.c", ".gitignore"):
        (slot.slot / "src" / name).parent.mkdir(exist_ok=True)
        (slot.slot / "src" / name).write_text("*.h\n", encoding="ascii")
    slot.build(slot.base)
    assert git(slot.slot / "src", "status", "--porcelain", "--ignored") == ""
    assert not (slot.slot / "src/more").exists()


def installed(slot: Slot, command: str) -> Path:
    """The selftests of a tree whose Makefile does ``command`` where they are installed."""
    path = "tools/testing/selftests/Makefile"
    made = slot.series({path: INSTALL.replace("hostile = true", f"hostile = {command}")})
    return selftests.install_selftests(made, slot.workspace, TOOLS, COLLECTION, slot.log)


def test_selftests_are_what_was_installed_and_no_file_of_the_hosts(
    slot: Slot, tmp_path: Path
) -> None:
    marker = tmp_path / "marker"
    marker.write_text("of the user", encoding="ascii")
    folder = installed(
        slot, f"ln -s {marker} l; cp -L l a; cp {marker} .; cat {marker}; rm l; true"
    )
    assert "of the user" not in str(fingerprint(folder)) + slot.log.read_text(encoding="utf-8")
    assert os.access(folder / "selftests/net/mptcp/mptcp_join.sh", os.X_OK)
    assert slot.left() == {"src"}
    with pytest.raises(BuildError, match="is a link that leads out of them"):
        installed(slot, f"ln -s {marker} link")


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("mkfifo pipe", "pipe is neither a file"),
        ("truncate -s 1G big", "big has 1073741824 bytes"),
        ("ln -s $(CURDIR)/Makefile link", "link is a link that leads out"),
        ("for i in `seq 70`; do mkdir d; cd d; done", "more than 64 folders in each other"),
        (
            "cd .. && rm -r installed && ln -s /usr installed",
            "the installed that was made is a link",
        ),
        ("touch $(lastword $(KHDR_INCLUDES))/x", "[Makefile:5: install] Error 1"),
    ],
)
def test_what_selftests_cannot_be(slot: Slot, command: str, said: str) -> None:
    with pytest.raises(BuildError) as raised:
        installed(slot, command)
    assert said in raised.value.message
    assert not list((slot.workspace.cache / "selftests").glob("[!.]*"))
    assert slot.left() == {"src"}


def test_without_the_sandbox_all_share_one_directory(slot: Slot) -> None:
    slot.workspace = replace(slot.workspace, confined=False)
    (slot.slot / "obj-open").mkdir()
    slot.build(slot.base)
    assert slot.build(slot.series(HARMLESS)).compiled == ("net/a.o",)
    assert slot.left() == {"src", "obj-open"}
