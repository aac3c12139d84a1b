# SPDX-License-Identifier: GPL-2.0-only
"""A machine on which whole commands run for real, but on a kernel of two files, on a root of one
package, and with guests that only say what a guest would: a verdict takes seconds. Each of its
processes is known by its TMPDIR."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ci.base.workspace import PROJECT
from tests.conftest import DEMO_C, KERNEL_FILES, ROOT, commit, git

Done = subprocess.CompletedProcess[str]
DATA = ROOT / "tests/data"
MPTCP = "tools/testing/selftests/net/mptcp"
GONE_S = 20.0
# What there is only while somebody is at work: entries half made or half removed, git's locks, and
# objects that it has not finished.
LEFT = (".new-*", ".old-*", "*.lock", "tmp_obj_*", "tmp_pack_*")
# kbuild's targets, as far as the pipeline asks for them.
MAKEFILE = r"""
VERSION = 6
PATCHLEVEL = 12
SRC := $(CURDIR)
all:
allnoconfig:
	mkdir -p $(O) && cp $(KCONFIG_ALLCONFIG) $(O)/.config
headers:
	mkdir -p $(O)/usr/include && echo >$(O)/usr/include/one.h
bzImage:
	mkdir -p $(O)/net $(O)/arch/x86/boot $(O)/include/config
	$(MAKE) -C $(O) -f $(SRC)/Makefile SRC=$(SRC) O= arch/x86/boot/bzImage
net/%.o: $(SRC)/net/%.c
	@echo '  CC      $@'
	$(CC) -O1 -c -o $@ $<
vmlinux: net/demo.o net/other.o
	gcc -nostdlib -static -Wl,--build-id=sha1,-e,0 -o $@ $^
	nm $@ >System.map
	echo 6.12.1 >include/config/kernel.release
arch/x86/boot/bzImage: vmlinux
	lz4 -l -q -f $< $@.lz4
	python3 $(SRC)/scripts/pack.py $@.lz4 $@
"""
# A boot sector that tells where the packed kernel is.
PACK = """
import struct, sys
packed = open(sys.argv[1], "rb").read() + bytes(4)
head = bytearray(1024)
head[0x1F1], head[0x202:0x206] = 1, b"HdrS"
struct.pack_into("<II", head, 0x248, 0, len(packed))
open(sys.argv[2], "wb").write(head + packed)
"""
INSTALL = """
install:
\tmkdir -p $(INSTALL_PATH)/net/mptcp && cp net/mptcp/*.sh $(INSTALL_PATH)/net/mptcp
"""
KERNEL = KERNEL_FILES | {
    "Makefile": "# SPDX-License-Identifier: GPL-2.0\n" + MAKEFILE,
    "scripts/pack.py": PACK,
    "tools/testing/selftests/Makefile": INSTALL,
    f"{MPTCP}/Makefile": "TEST_PROGS := userspace_pm.sh\n",
    f"{MPTCP}/mptcp_lib.sh": "mptcp_lib_result_print_all_tap() { :; }\n",
    f"{MPTCP}/mptcp_join.sh": "#!/bin/sh\n",
    f"{MPTCP}/userspace_pm.sh": "#!/bin/sh\n",
    f"{MPTCP}/config": "CONFIG_MPTCP=y\n",
}
# vng, which is told where the kernel is, and finds the job in its folder.
VNG = f"""#!/bin/sh
{{before}}
kernel=${{{{2%/bzImage}}}}
nonce=$(sed -n 's/^nonce //p' job)
id=$(readelf -n "$kernel/vmlinux" | sed -n 's/.*Build ID: //p')
said=$(sed "s/^c0ffee[^ ]*/$nonce/; s/boot [^ ]*/boot $id/" {DATA}/control.log)
cat {DATA}/dmesg.clean.log >kernel.log || exit
echo "$said" | sed '/ start /q' >control.log || exit
{{during}}
cat {DATA}/userspace_pm.pass.log >tests.log || exit
echo "$said" | sed '1,/ start /d' >>control.log
exit 255
"""
MMDEBSTRAP = """#!/bin/sh
for target; do :; done
cd "$(mktemp -d)" && mkdir -p usr/bin && echo bash >usr/bin/bash
echo bash_5.2.37-2_amd64.deb >packages.txt
tar -cf "$target" . && rm -r "$PWD"
"""


@dataclass(frozen=True)
class Machine:
    """``base`` holds all of it; nothing of a run is elsewhere."""

    base: Path

    @property
    def project(self) -> Path:
        """The checkout."""
        return self.base / "project"

    @property
    def cache(self) -> Path:
        """The project's cache."""
        return self.base / "cache" / PROJECT

    @property
    def scratch(self) -> Path:
        """Its folder for temporary files."""
        return self.base / "tmp"

    @property
    def inv(self) -> list[str]:
        """The words that start Invoke, with the Python of the machine."""
        return [str(self.base / "venv/bin/python"), str(self.base / "venv/bin/inv")]

    @property
    def env(self) -> Mapping[str, str]:
        """The environment of its commands."""
        return {
            "PATH": f"{self.base / 'tools'}:{os.environ['PATH']}",
            "HOME": str(self.base),
            "XDG_CACHE_HOME": str(self.cache.parent),
            "TMPDIR": str(self.scratch),
            "LC_ALL": "C.UTF-8",
        }

    def words(self, number: int = 0, *more: str) -> list[str]:
        """``validate`` of a patch of its own for each number, which no cache has seen."""
        series = self.base / f"{number}/series"
        if not series.exists():
            kernel = self.base / "kernel"
            git(kernel, "checkout", "-q", "-b", f"topic-{number}", "main")
            text = DEMO_C.replace("int line9;", f"int line9 = {1000 + number};")
            commit(kernel, {"net/demo.c": text}, "demo: start line 9 elsewhere")
            git(kernel, "format-patch", "-q", "-o", str(series), "main..")
            git(kernel, "checkout", "-q", "main")
        given = ["--tree", str(self.base / "kernel"), "--series", str(series)]
        return ["validate", *given, "--suite", "userspace_pm", "--mode", "virtual", *more]

    def run(self, words: Sequence[str], prefix: str = "", *, mounts: bool = False) -> Done:
        """A command below a shell that runs ``prefix`` first."""
        argv = ["sh", "-c", f'{prefix} exec "$0" "$@"', *self.inv, *words]
        argv = [*NAMESPACE, *argv] if mounts else argv
        return subprocess.run(
            argv, cwd=self.project, env=self.env, capture_output=True, text=True, timeout=3600
        )

    def start(self, words: Sequence[str]) -> "subprocess.Popen[str]":
        """A command in a session of its own."""
        return subprocess.Popen(
            [*self.inv, *words],
            cwd=self.project,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def put_program(self, name: str, text: str) -> Path:
        """A program of the machine's own, which comes before the host's."""
        path = self.base / ("venv/bin" if name == "vng" else "tools") / name
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)
        return path

    def put_vng(self, before: str = "", during: str = "") -> Path:
        """Guests that do something more before they boot, or during the test."""
        return self.put_program("vng", VNG.format(before=before, during=during))

    def verdict(self) -> dict[str, bytes]:
        """What the last run says, to the byte, but for the digest of the patch that it is about."""
        latest = self.project / "results/latest"
        texts = {name: (latest / name).read_bytes() for name in ("verdict.json", "junit.xml")}
        return {name: re.sub(rb'"digest": "\w+"', b"", text) for name, text in texts.items()}

    def processes(self) -> list[str]:
        """Who was started by a command here, however it detached itself: id and command line."""
        mark = f"TMPDIR={self.scratch}".encode()
        return [what for what, env in _environments() if mark in env]

    def all_gone(self) -> bool:
        """Whether each process is gone within :data:`GONE_S` seconds."""
        end = time.monotonic() + GONE_S
        while self.processes() and time.monotonic() < end:
            time.sleep(0.05)
        return not self.processes()

    def leftovers(self) -> list[str]:
        """What of a command that ended should not be there any more."""
        found = [path for pattern in LEFT for path in self.cache.rglob(pattern)]
        found = [path for path in found if path.parent.name != "locks"] + [*self.scratch.iterdir()]
        return sorted(map(str, found))


NAMESPACE = ["unshare", "-m"] if os.getuid() == 0 else ["unshare", "-rm"]


def make_machine(base: Path) -> Machine:
    """A machine with an empty cache."""
    machine = Machine(base)
    for name in ("project/results", "kernel", "tools", "tmp", "venv/bin", "cache"):
        (base / name).mkdir(parents=True)
    for name in ("ci", "images", "kernel-patches"):
        shutil.copytree(ROOT / name, machine.project / name)
    for name in ("tasks.py", "pyproject.toml"):
        shutil.copy(ROOT / name, machine.project / name)
    # Room is asked for before a kernel is built, more than these need.
    preflight = machine.project / "ci/commands/preflight.py"
    text = preflight.read_text(encoding="utf-8")
    for name in ("BUILD_GB", "FROM_NOTHING_GB", "SCRATCH_GB"):
        assert f"\n{name}" in text
        text = text.replace(f"\n{name}", f"\n{name} = 0.0\n_{name}", 1)
    preflight.write_text(text, encoding="utf-8")
    # vng is looked for beside Python.
    python = Path(sys.executable)
    (base / "venv/bin/python").symlink_to(python.resolve())
    for name in ("pyvenv.cfg", "lib"):
        (base / "venv" / name).symlink_to(Path(sys.prefix) / name)
    shutil.copy(python.with_name("inv"), base / "venv/bin/inv")
    git(base / "kernel", "init", "-q", "-b", "main")
    commit(base / "kernel", KERNEL, "v6.12")
    machine.put_vng()
    machine.put_program("mmdebstrap", MMDEBSTRAP)
    return machine


def _environments() -> Iterator[tuple[str, bytes]]:
    """Processes with their environments, but for zombies."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if b") Z " not in (entry / "stat").read_bytes():
                    words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    yield f"{entry.name} {words}", (entry / "environ").read_bytes()
            except OSError:
                continue
