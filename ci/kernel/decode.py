# SPDX-License-Identifier: GPL-2.0-only
"""Stack traces with files and lines, as the tree's own scripts/decode_stacktrace.sh tells them."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from ci.base import processes, sandbox
from ci.base.errors import BuildError
from ci.base.sandbox import Mount
from ci.base.workspace import Workspace
from ci.kernel.build import Kernel
from ci.trees.tree import Tree

SCRIPT = "scripts/decode_stacktrace.sh"
# It asks addr2line for each new address: seconds each where vmlinux is large.
LIMIT_S = 600.0
MOST_CHARS = 100_000


def has_debug_info(kernel: Kernel) -> bool:
    """Whether the kernel knows files and lines: CONFIG_DEBUG_INFO, from the user's fragment."""
    return "\nCONFIG_DEBUG_INFO=y\n" in (kernel.folder / "config").read_text(encoding="utf-8")


def decode_traces(
    texts: Mapping[Path, str], tree: Tree, kernel: Kernel, workspace: Workspace
) -> Iterator[tuple[Path, str]]:
    """Each of the ``texts``, what a kernel printed, as the script of its tree decodes it; of a long
    one the beginning. A :class:`BuildError` where the script fails."""
    src, vmlinux = tree.source.slot / "src", kernel.folder / "vmlinux"
    mounts = (Mount(src, src, hidden=".git"), Mount(kernel.folder, kernel.folder))
    words = ("bash", src / SCRIPT, vmlinux, src)
    with tree.checked_out(workspace):
        for name, text in texts.items():
            yield name, _decode(words, mounts, text[:MOST_CHARS], confined=workspace.confined)


def _decode(
    words: Sequence[str | Path], mounts: Sequence[Mount], text: str, *, confined: bool
) -> str:
    if confined:
        done = sandbox.run_confined(
            words, mounts, stage="decode", timeout_s=LIMIT_S, env={}, stdin=text
        )
    else:
        done = processes.run(words, stage="decode", timeout_s=LIMIT_S, stdin=text, ok=None)
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:]
        said = f": {last[0][:200]}" if last else ""
        raise BuildError("decode", f"{SCRIPT} ended with exit code {done.returncode}{said}")
    return done.stdout
