# SPDX-License-Identifier: GPL-2.0-only
"""Stack traces decoded by a tree's own script, in the real sandbox, by real addr2line."""

import subprocess
from pathlib import Path

import pytest

from ci.base.errors import BuildError
from ci.base.workspace import Workspace
from ci.kernel import decode
from ci.kernel.build import Kernel
from ci.trees.source import Source
from ci.trees.tree import Tree
from tests.conftest import commit, fingerprint, git

# As the kernel's: it reads a log, and knows vmlinux and where the sources are.
HONEST = """\
#!/bin/bash
while IFS= read -r line; do
	name=${line##* }
	address=$(nm "$1" | sed -n "s/ T ${name%%+*}$//p")
	if [[ $address ]]; then
		where=$(addr2line -e "$1" "$address")
		line="${line% *} ${name%%+*} (${where#"$2/"})"
	fi
	echo "$line"
done
"""
HOSTILE = """\
#!/bin/bash
touch "$2/untracked.h" "$(dirname "$1")/config" && echo "it wrote"
cat "$2/.git/HEAD" && echo "it looked"
cat /etc/hostname && echo "it read"
printf 'a \\033[2J title\\n'
"""
TRACE = " Call Trace:\n  <TASK>\n  send+0x0/0x10\n"


class Made:
    """A tree with a script, and a kernel of it with debug info."""

    def __init__(self, folder: Path, workspace: Workspace) -> None:
        self.src, self.workspace = folder / "slot/src", workspace
        self.src.mkdir(parents=True)
        git(self.src, "init", "-q", "-b", "main", "--template=")
        code = "\n\nint send(void)\n{\n\treturn 1;\n}\n"
        commit(self.src, {"net/send.c": code}, "code")
        (folder / "kernel").mkdir()
        self.kernel = Kernel(folder / "kernel", "key", "6.12.0", "id", "image", ())
        words = ["gcc", "-g", "-nostdlib", "-static", "-Wl,-e0", str(self.src / "net/send.c")]
        subprocess.run([*words, "-o", folder / "kernel/vmlinux"], check=True)

    def decode(self, script: str) -> str:
        files = {decode.SCRIPT: script} if script else {"empty": ""}
        of = commit(self.src, files, "script")
        tree = Tree(Source("test", self.src.parent, of, ""), of, of, (6, 12))
        texts = {Path("decoded.log"): TRACE}
        ((name, text),) = decode.decode_traces(texts, tree, self.kernel, self.workspace)
        assert name == Path("decoded.log")
        return text


@pytest.fixture
def made(tmp_path: Path, workspace: Workspace) -> Made:
    return Made(tmp_path, workspace)


def test_a_frame_has_its_file_and_line(made: Made) -> None:
    assert made.decode(HONEST).endswith("  send (net/send.c:4)\n")


def test_a_script_reads_the_sources_and_nothing_else(made: Made) -> None:
    kernel = fingerprint(made.kernel.folder)
    said = made.decode(HOSTILE)
    assert "it wrote" not in said and "it read" not in said and "it looked" not in said
    assert "\033" not in said and "title" in said
    assert fingerprint(made.kernel.folder) == kernel
    assert not (made.src / "untracked.h").exists()


@pytest.mark.parametrize(
    ("script", "said"),
    [("", "No such file"), ("echo no addr2line here >&2; exit 3", "exit code 3: no addr2line")],
)
def test_one_that_fails_says_why(made: Made, script: str, said: str) -> None:
    with pytest.raises(BuildError, match=said):
        made.decode(script)


@pytest.mark.parametrize(
    ("config", "has"),
    [
        ("#\nCONFIG_DEBUG_INFO=y\nCONFIG_X=y\n", True),
        ("#\nCONFIG_DEBUG_INFO_NONE=y\n", False),
        ("#\n# CONFIG_DEBUG_INFO is not set\n", False),
    ],
)
def test_whether_a_kernel_has_debug_info(made: Made, config: str, has: bool) -> None:
    (made.kernel.folder / "config").write_text(config, encoding="utf-8")
    assert decode.has_debug_info(made.kernel) == has
