"""Configure and build a kernel: one object directory for base and patched, the result kept by its inputs."""

import contextlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ci import command, kconfig, rebuild
from ci.errors import PatchError, StageError
from ci.progress import Progress, duration
from ci.suite import SELFTESTS
from ci.tree import Tree
from ci.workspace import Workspace, digest, file_digest, write_text

BUILD_LIMIT_S = 7200.0
# What kbuild would otherwise take from the machine and the moment; .version counts links.
REPRODUCIBLE = {
    "KBUILD_BUILD_TIMESTAMP": "Wed Jan  1 00:00:00 UTC 2025",
    "KBUILD_BUILD_USER": "patchverdict",
    "KBUILD_BUILD_HOST": "patchverdict",
    "KBUILD_BUILD_VERSION": "1",
}
# Without LOCALVERSION= a git tree gets a "+" appended to its release.
MAKE_VARIABLES = ("ARCH=x86_64", "LOCALVERSION=", "CC=ccache gcc", "HOSTCC=ccache gcc")
OBJECT_LINE = re.compile(r"  (?:CC|AS)\s")  # "  AS      arch/x86/lib/clear_page_64.o"
LINK_LINE = re.compile(r"  LD\s+vmlinux")  # "  LD      vmlinux.o"
LEFT_AFTER_S = 10.0
COMPILED_LINE = re.compile(r"  CC\s+(?:\[M\]\s+)?(\S+\.o)$")  # "  CC      net/mptcp/pm.o"
ERROR_LINE = re.compile(
    r"error:|undefined reference|\*\*\*|: (?:command )?not found$|No rule to make|multiple definition"
)


@dataclass(frozen=True)
class Kernel:
    """A finished kernel: ``folder`` holds bzImage, vmlinux, System.map and config; ``compiled`` are the object files
    that its build compiled."""

    folder: Path
    key: str
    release: str
    build_id: str
    image_digest: str
    compiled: tuple[str, ...]

    @property
    def bzimage(self) -> Path:
        """The bootable image."""
        return self.folder / "bzImage"


@dataclass(frozen=True)
class Toolchain:
    """First lines of what the tools say of their versions; part of every key."""

    gcc: str
    ld: str


def toolchain() -> Toolchain:
    """The host's compiler and linker; a :class:`StageError` names the package of a tool that is missing."""
    for program, package in (
        ("gcc", "gcc"), ("ld", "binutils"), ("make", "make"), ("flex", "flex"), ("bison", "bison"), ("bc", "bc"),
        ("ccache", "ccache"), ("readelf", "binutils"), ("rsync", "rsync"),
    ):  # fmt: skip
        command.require("build", program, package)
    said = [command.run([t, "--version"], stage="build", timeout_s=20).stdout.splitlines()[0] for t in ("gcc", "ld")]
    return Toolchain(*said)


def environment(workspace: Workspace) -> dict[str, str]:
    """What compilers see. Depend mode takes kbuild's own dependency files instead of preprocessing twice."""
    return REPRODUCIBLE | {
        "CCACHE_DIR": str(workspace.cache / "ccache"),
        "CCACHE_BASEDIR": str(workspace.cache),
        "CCACHE_NOHASHDIR": "1",
        "CCACHE_DEPEND": "1",
        "CCACHE_SLOPPINESS": "include_file_mtime,include_file_ctime",
        "CCACHE_MAXSIZE": "2G",
    }


def fragments(workspace: Workspace, tree: Tree) -> tuple[kconfig.Fragment, ...]:
    """Ours under ``images/kconfig``, then the one that the tree's own mptcp selftests ask for."""
    ours = sorted((workspace.root / "images" / "kconfig").glob("*.config"))
    shown = tree.source.git.run("show", f"{tree.commit}:{SELFTESTS}/config", ok=None)
    if shown.returncode != 0:
        raise StageError("build", f"the tree has no {SELFTESTS}/config: it predates MPTCP's selftests")
    texts = [(f"images/kconfig/{path.name}", path.read_text(encoding="utf-8")) for path in ours]
    return tuple(kconfig.parse_fragment(text, name) for name, text in [*texts, (f"{SELFTESTS}/config", shown.stdout)])


def key_of(workspace: Workspace, tree: Tree, tools: Toolchain) -> str:
    """Digest of what a kernel is made from. Documentation and selftests are not part of it, their config is."""
    inputs = tree.subtree()
    for name in ("Documentation", "tools", "samples", "MAINTAINERS"):
        inputs.pop(name, None)
    parts = tree.subtree("tools/")
    parts.pop("tools/testing", None)
    asked = [fragment.text for fragment in fragments(workspace, tree)]
    return digest("kernel", inputs, parts, asked, asdict(tools), REPRODUCIBLE, MAKE_VARIABLES)


def load(folder: Path) -> Kernel:
    """The kernel that ``folder`` holds."""
    facts = json.loads((folder / "kernel.json").read_text(encoding="utf-8"))
    return Kernel(folder=folder, **(facts | {"compiled": tuple(facts["compiled"])}))


def make(tree: Tree, *args: str) -> list[str | Path]:
    """The command line of kbuild for ``tree``, whose work tree has to be checked out."""
    return ["make", "-C", tree.source.slot / "src", f"O={tree.source.slot / 'obj'}", *MAKE_VARIABLES, *args]


@contextlib.contextmanager
def objects(tree: Tree) -> Iterator[Path]:
    """The object directory of ``tree``'s source, for a build inside. Where the build before was killed, what it wrote goes
    first: a half-written object would be newer than its source and pass for finished. The lock is the caller's."""
    obj = tree.source.slot / "obj"
    obj.mkdir(exist_ok=True)
    mark = obj / "building"
    if mark.exists():
        since = mark.stat().st_mtime_ns
        for path in obj.rglob("*"):
            if path.is_file() and not path.is_symlink() and path.stat().st_mtime_ns >= since:
                path.unlink()
    mark.touch()
    try:
        yield obj
    except PatchError:  # make came to its own end, and has removed what was half done
        mark.unlink()
        raise
    mark.unlink()


def configure(tree: Tree, workspace: Workspace, log: Path) -> None:
    """Write ``.config``: allnoconfig plus the fragments; what was asked for and lost is an error."""
    obj = tree.source.slot / "obj"
    asked = kconfig.merge(fragments(workspace, tree))
    (obj / "asked.config").write_text(asked.text(), encoding="utf-8")
    done = command.run(
        make(tree, f"KCONFIG_ALLCONFIG={obj / 'asked.config'}", "allnoconfig"),
        stage="build", timeout_s=600, env=environment(workspace), log=log, ok=None,
    )  # fmt: skip
    if done.returncode != 0:
        raise PatchError("build", f"the configuration fails:\n{errors(tree, done.stdout + done.stderr)}", log=log)
    final = kconfig.parse_config((obj / ".config").read_text(encoding="utf-8"))
    short = kconfig.short(asked, final)
    if lost := kconfig.lost(short, final, _definitions(tree, short)):
        raise PatchError("build", "the configuration lost what was asked for:\n" + "\n".join(map(str, lost)), log=log)


def _definitions(tree: Tree, symbols: Sequence[kconfig.Asked]) -> kconfig.Definitions:
    """The Kconfig files of the tree that define one of the symbols."""
    if not symbols:
        return kconfig.Definitions({})
    src = tree.source.slot / "src"
    any_of = "|".join(asked.symbol.removeprefix("CONFIG_") for asked in symbols)
    found = tree.source.git.run(
        "grep", "-zlE", rf"config[[:space:]]+({any_of})[[:space:]]*$", "--", "Kconfig*", "**/Kconfig*", ok=(0, 1)
    )  # fmt: skip
    names = filter(None, found.stdout.split("\0"))
    return kconfig.Definitions({name: (src / name).read_text(encoding="utf-8", errors="replace") for name in names})


def errors(tree: Tree, output: str) -> str:
    """The compiler's lines: each error with the two lines after it, at most thirty; files by their names in ``tree``."""
    lines = output.replace(f"{tree.source.slot / 'src'}/", "").splitlines()
    wanted = {i + more for i, line in enumerate(lines) if ERROR_LINE.search(line) for more in range(3)}
    picked = [lines[i] for i in sorted(wanted) if i < len(lines)] or lines[-20:]
    return "\n".join(picked[:30])


class _Counter:
    """Objects compiled, of about how many, and the time left, from kbuild's lines."""

    def __init__(self, progress: Progress, total: int) -> None:
        self.progress, self.total, self.done, self.begin = progress, total, 0, time.monotonic()
        self.compiled: list[str] = []

    def __call__(self, line: str) -> None:
        if found := COMPILED_LINE.match(line):
            self.compiled.append(found[1])
        if OBJECT_LINE.match(line):
            self.done += 1
            self.progress.update(self.told(time.monotonic() - self.begin))
        elif LINK_LINE.match(line):
            self.progress.update(f"build: {self.done} objects compiled, linking")

    def told(self, spent_s: float) -> str:
        """How far it is; the time left only where enough is done to tell it from."""
        if self.done > self.total:
            return f"build: {self.done} objects"
        left = ""
        if spent_s >= LEFT_AFTER_S and 20 * self.done >= self.total:
            left = f", about {duration(spent_s / self.done * (self.total - self.done))} left"
        return f"build: {self.done} of about {self.total} objects{left}"


def build(tree: Tree, workspace: Workspace, tools: Toolchain, progress: Progress, log: Path) -> Kernel:
    """The kernel of ``tree``, from the cache where its inputs are known. A :class:`PatchError` carries the
    compiler's lines; whose fault it is depends on whether the base builds, which the caller knows."""
    key = key_of(workspace, tree, tools)
    folder = workspace.entry("kernels", key)
    if folder.exists():
        return load(folder)
    with tree.checked_out(workspace), objects(tree) as obj:
        configure(tree, workspace, log)
        counter = _Counter(progress, rebuild.to_compile(obj))
        jobs = f"-j{len(os.sched_getaffinity(0))}"
        done = command.run(
            make(tree, jobs, "bzImage"),
            stage="build", timeout_s=BUILD_LIMIT_S, env=environment(workspace), log=log, on_line=counter, ok=None,
        )  # fmt: skip
        output = done.stdout + done.stderr
        if "No space left on device" in output:
            raise StageError("build", f"no space left for {obj}; `inv clean --cache` frees some", log=log)
        if done.returncode != 0:
            raise PatchError("build", errors(tree, output), log=log)
        return _keep(obj, folder, key, tuple(counter.compiled), workspace)


def _keep(obj: Path, folder: Path, key: str, compiled: tuple[str, ...], workspace: Workspace) -> Kernel:
    """Copy what was built out of the object directory, under its key."""
    notes = command.run(["readelf", "-n", obj / "vmlinux"], stage="build", timeout_s=60).stdout
    found = re.search(r"Build ID: ([0-9a-f]{40})", notes)  # Build ID: 5be2...
    if not found:
        raise StageError("build", "the vmlinux that was built carries no build id")
    with workspace.publish(folder) as fresh:
        for name, path in (("bzImage", "arch/x86/boot/bzImage"), ("vmlinux", "vmlinux"), ("config", ".config"),
                           ("System.map", "System.map")):  # fmt: skip
            shutil.copy2(obj / path, fresh / name)
        facts = {
            "key": key,
            "release": (obj / "include/config/kernel.release").read_text(encoding="utf-8").strip(),
            "build_id": found[1],
            "image_digest": file_digest(fresh / "bzImage"),
            "compiled": compiled,
        }
        write_text(fresh / "kernel.json", json.dumps(facts, indent=1))
    return load(folder)
