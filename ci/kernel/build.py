# SPDX-License-Identifier: GPL-2.0-only
"""Configure and build a kernel in the sandbox; the result is kept by its inputs."""

import os
import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ci.base import processes, sandbox
from ci.base.arch import GUEST
from ci.base.errors import BuildError, StageError
from ci.base.processes import CommandResult
from ci.base.progress import Progress
from ci.base.records import from_json, save_record
from ci.base.sandbox import Mount
from ci.base.untrusted import copy_below, read_below, remove_untrusted
from ci.base.workspace import Workspace, digest, file_digest, remove_tree
from ci.kernel import bzimage, kconfig, make_progress, objects
from ci.kernel.configuration import NORMAL, Configuration
from ci.kernel.objects import StaleError
from ci.kernel.trouble import failed_build
from ci.suites.collection import Collection
from ci.trees.tree import Tree

COMMON = "images/kconfig/guest.config"
BUILD_LIMIT_S, CONFIG_LIMIT_S = 7200.0, 600.0
# What is kept of a build, and the most bytes of it.
MOST_CONFIG, MOST_MAP = 4 << 20, 64 << 20
RELEASE = re.compile(r"[\w.+~-]{1,64}", re.ASCII)  # 6.12.117
# What kbuild would otherwise take from the machine and the moment; .version counts links.
REPRODUCIBLE = {
    "KBUILD_BUILD_TIMESTAMP": "Wed Jan  1 00:00:00 UTC 2025",
    "KBUILD_BUILD_USER": "patchverdict",
    "KBUILD_BUILD_HOST": "patchverdict",
    "KBUILD_BUILD_VERSION": "1",
}
# Without LOCALVERSION= a git tree gets a "+" appended to its release.
MAKE_VARIABLES = (f"ARCH={GUEST.kbuild}", "LOCALVERSION=", "CC=checked-ccache gcc")
# How objects that are to be watched are compiled: with the table of their lines, and each statement
# by itself as far as gcc can (ci/bin/checked-ccache says how little it optimizes). Without
# __OPTIMIZE__ the kernel asserts nothing that takes optimization to be seen.
TRACED_FLAGS = "-g -gno-split-dwarf -fno-inline-small-functions -U__OPTIMIZE__ -w"
ERROR_LINE = re.compile(
    r"error:|undefined reference|\*\*\*|: (?:command )?not found$|No rule to make|multiple"
    r" definition"
)


@dataclass(frozen=True)
class KernelFacts:
    """What is kept beside a kernel."""

    key: str
    release: str
    build_id: str
    image_digest: str
    compiled: tuple[str, ...]


@dataclass(frozen=True)
class Kernel:
    """A finished kernel: ``folder`` holds bzImage, vmlinux, System.map and config; ``compiled`` are
    the object files that its build compiled."""

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


def find_toolchain() -> Toolchain:
    """The host's compiler and linker; a :class:`StageError` names the package of a tool that is
    missing."""
    for program, package in (
        ("gcc", "gcc"),
        ("ld", "binutils"),
        ("make", "make"),
        ("flex", "flex"),
        ("bison", "bison"),
        ("bc", "bc"),
        ("ccache", "ccache"),
        ("rsync", "rsync"),
        ("lz4", "lz4"),
    ):
        processes.require("build", program, package)
    versions = [
        processes.run([t, "--version"], stage="build", timeout_s=20).stdout.splitlines()[0]
        for t in ("gcc", "ld")
    ]
    return Toolchain(*versions)


def build_environment(
    tree: Tree, workspace: Workspace, tools: Toolchain, *, writes: bool = False
) -> dict[str, str]:
    """What compilers see. ccache goes by the contents of the files that a compiler says it read
    (depend mode: kbuild has them told, so nothing is preprocessed twice), never by their times;
    another toolchain has another cache, and nobody else's is asked. Only the kernel's own objects
    come from it, not the build's programs: of those the host's headers are not told. It is written
    to only where ``writes`` says so: what asks for an entry believes it.
    """
    ours, who = str(workspace.root / "ci/bin"), [] if workspace.confined else ["open"]
    reads = {"CCACHE_READONLY": "1", "CCACHE_TEMPDIR": f"{sandbox.TEMPORARY}/ccache"}
    more = {} if writes else reads
    return (
        REPRODUCIBLE
        | more
        | {
            "PATH": ours if workspace.confined else f"{ours}:{os.environ['PATH']}",
            "EMBEDDING": str(objects.home_folder(tree, workspace) / objects.EMBEDDING),
            "CCACHE_DIR": str(workspace.entry("ccache", digest("ccache", asdict(tools), *who))),
            "CCACHE_CONFIGPATH": os.devnull,
            "CCACHE_BASEDIR": str(workspace.cache),
            "CCACHE_NOHASHDIR": "1",
            "CCACHE_DEPEND": "1",
            "CCACHE_NOINODECACHE": "1",
            "CCACHE_SLOPPINESS": "include_file_mtime,include_file_ctime",
            "CCACHE_MAXSIZE": "2G",
        }
    )


def objects_key(tools: Toolchain) -> str:
    """Digest of what makes one object directory unlike another, besides its sources."""
    return digest("objects", asdict(tools), REPRODUCIBLE, MAKE_VARIABLES)


def read_fragments(
    workspace: Workspace, tree: Tree, collection: Collection, config: Configuration = NORMAL
) -> tuple[kconfig.Fragment, ...]:
    """What all guests need, then what the tree's own selftests ask for, then what the collection
    does, then the configuration."""
    texts = {COMMON: (workspace.root / COMMON).read_text(encoding="utf-8")}
    for name in collection.configs:
        theirs = tree.source.git.text(tree.commit, name)
        if theirs is None:
            raise StageError(
                "build",
                f"the tree has no {name}: it predates the selftests of {collection.name}",
            )
        texts[name] = theirs
    if collection.symbols:
        texts[f"the collection {collection.name}"] = collection.symbols
    common = (kconfig.parse_fragment(text, name) for name, text in texts.items())
    return (*common, *config.fragments)


def kernel_key(
    workspace: Workspace,
    tree: Tree,
    tools: Toolchain,
    collection: Collection,
    config: Configuration = NORMAL,
) -> str:
    """Digest of what a kernel is made from. Documentation and selftests are not part of it, their
    config is."""
    inputs = tree.subtree()
    for name in ("Documentation", "tools", "samples", "MAINTAINERS"):
        inputs.pop(name, None)
    parts = tree.subtree("tools/")
    parts.pop("tools/testing", None)
    asked = [fragment.text for fragment in read_fragments(workspace, tree, collection, config)]
    return digest("kernel", inputs, parts, asked, asdict(tools), REPRODUCIBLE, MAKE_VARIABLES)


def load_kernel(folder: Path) -> Kernel:
    """The kernel that ``folder`` holds."""
    facts = from_json((folder / "kernel.json").read_bytes(), KernelFacts)
    return Kernel(
        folder, facts.key, facts.release, facts.build_id, facts.image_digest, facts.compiled
    )


def make_words(tree: Tree, workspace: Workspace, *args: str) -> list[str | Path]:
    """The command line of kbuild for ``tree``, whose work tree has to be checked out."""
    return [
        "make",
        "-C",
        tree.source.slot / "src",
        f"O={objects.home_folder(tree, workspace)}",
        *MAKE_VARIABLES,
        *args,
    ]


def run_make(
    words: Sequence[str | Path],
    tree: Tree,
    workspace: Workspace,
    tools: Toolchain,
    mounts: Sequence[Mount],
    *,
    timeout_s: float,
    log: Path,
    on_line: Callable[[str], None] | None = None,
    kernel: bool = False,
    traced: Sequence[str] = (),
) -> CommandResult:
    """Run make in the sandbox, with the work tree of ``tree`` (without its repository) and its
    object directory as ``mounts`` have it; a :class:`BuildError` has the compiler's lines. Where no
    more than a ``kernel`` is built, that of an inert tree may write to ccache. The objects in
    ``traced`` are compiled with ``TRACED_FLAGS``."""
    writes = objects.is_trusted(tree, workspace) or (kernel and tree.inert)
    env = build_environment(tree, workspace, tools, writes=writes)
    if traced:
        env |= {"TRACED": " ".join(traced), "TRACED_FLAGS": TRACED_FLAGS}
    if workspace.confined:
        src, ours, cached = tree.source.slot / "src", workspace.root / "ci/bin", env["CCACHE_DIR"]
        Path(cached).mkdir(parents=True, exist_ok=True)
        ccache = Mount(Path(cached), Path(cached), writes)
        every = (Mount(src, src, hidden=".git"), Mount(ours, ours), ccache, *mounts)
        done = sandbox.run_confined(
            words, every, stage="build", timeout_s=timeout_s, env=env, log=log, on_line=on_line
        )
    else:
        done = processes.run(
            words, stage="build", timeout_s=timeout_s, env=env, log=log, on_line=on_line, ok=None
        )
    output = done.stdout + done.stderr
    if done.returncode != 0:
        written = [mount.host for mount in mounts if mount.writable] or [workspace.cache]
        raise failed_build(error_lines(tree, output), output, written[0], log)
    return done


def object_mount(tree: Tree, workspace: Workspace, obj: Path, *, writable: bool = True) -> Mount:
    """The object directory ``obj`` as builds of ``tree`` see it."""
    return Mount(obj, objects.home_folder(tree, workspace), writable)


def configure_kernel(
    tree: Tree,
    workspace: Workspace,
    tools: Toolchain,
    collection: Collection,
    obj: Path,
    log: Path,
    config: Configuration = NORMAL,
) -> None:
    """Write ``.config``: allnoconfig plus the fragments; what was asked for and lost is an
    error."""
    asked = kconfig.merge_fragments(read_fragments(workspace, tree, collection, config))
    if _is_configured(tree, tools, obj, asked.text()):
        return
    (obj / "asked.config").write_text(asked.text(), encoding="utf-8")
    seen = objects.home_folder(tree, workspace) / "asked.config"
    words = make_words(tree, workspace, f"KCONFIG_ALLCONFIG={seen}", "allnoconfig")
    mounts = [object_mount(tree, workspace, obj)]
    try:
        done = run_make(words, tree, workspace, tools, mounts, timeout_s=CONFIG_LIMIT_S, log=log)
    except BuildError as error:
        text = f"the configuration fails:\n{error.message}"
        raise BuildError("build", text, log=log) from None
    text = read_below(obj, ".config", MOST_CONFIG).decode("utf-8", "replace")
    final = kconfig.parse_config(text)
    short = kconfig.find_short(asked, final)
    if lost := kconfig.find_lost(short, final, _definitions(tree, short)):
        message = "the configuration lost what was asked for:\n" + "\n".join(map(str, lost))
        raise failed_build(message, done.stdout + done.stderr, obj, log)


def _is_configured(tree: Tree, tools: Toolchain, obj: Path, asked: str) -> bool:
    """Whether ``.config`` is that of the ground for the same question, and the tree differs in
    nothing that Kconfig reads."""
    if not tree.ground or not tree.inert:
        return False
    try:
        before = read_below(obj, "asked.config", MOST_CONFIG).decode("utf-8", "replace")
    except BuildError:
        return False
    same = objects.made_of(objects_key(tools), obj) == [tree.ground.commit]
    return same and before == asked and (obj / ".config").is_file()


def _definitions(tree: Tree, symbols: Sequence[kconfig.Asked]) -> kconfig.Definitions:
    """The Kconfig files of the tree that define one of the symbols."""
    if not symbols:
        return kconfig.Definitions({})
    src = tree.source.slot / "src"
    any_of = "|".join(asked.symbol.removeprefix("CONFIG_") for asked in symbols)
    found = tree.source.git.run(
        "grep",
        "-zlE",
        rf"config[[:space:]]+({any_of})[[:space:]]*$",
        "--",
        "Kconfig*",
        "**/Kconfig*",
        ok=(0, 1),
    )
    names = filter(None, found.stdout.split("\0"))
    return kconfig.Definitions(
        {name: (src / name).read_text(encoding="utf-8", errors="replace") for name in names}
    )


def error_lines(tree: Tree, output: str) -> str:
    """The compiler's lines: each error with the two lines after it, at most thirty; files by their
    names in ``tree``."""
    lines = output.replace(f"{tree.source.slot / 'src'}/", "").splitlines()
    wanted = {
        i + more for i, line in enumerate(lines) if ERROR_LINE.search(line) for more in range(3)
    }
    picked = [lines[i] for i in sorted(wanted) if i < len(lines)] or lines[-20:]
    return "\n".join(picked[:30])


def build_kernel(
    tree: Tree,
    workspace: Workspace,
    tools: Toolchain,
    collection: Collection,
    progress: Progress,
    log: Path,
    config: Configuration = NORMAL,
    *,
    more: Callable[[Path, Path], None] | None = None,
) -> Kernel:
    """The kernel of ``tree`` for a collection, from the cache where its inputs are known. A
    :class:`BuildError` carries the compiler's lines; whose fault it is depends on whether the base
    builds, which the caller knows. ``more`` adds to the kernel's new folder, its second argument,
    what the object directory, its first, tells of a kernel that is traced.
    """
    tree = config.place_objects(tree)
    key = kernel_key(workspace, tree, tools, collection, config)
    if config.traced:
        key = digest("traced", key, sorted(config.traced), TRACED_FLAGS)

    def work(obj: Path) -> tuple[str, tuple[str, ...]]:
        configure_kernel(tree, workspace, tools, collection, obj, log, config)
        for name in config.traced:
            remove_untrusted(obj / name)
        compiled = _compile(tree, workspace, tools, progress, obj, log, config.traced)
        return _checked(obj, log, confined=workspace.confined), compiled

    def make(fresh: Path) -> None:
        with objects.object_folder(tree, workspace) as obj:
            home = objects.home_folder(tree, workspace)
            build_id, compiled = objects.use_objects(tree, objects_key(tools), work, obj, home)
            _copy_out(obj, fresh, key, build_id, compiled)
            if more:
                more(obj, fresh)

    entry = workspace.entry("kernels", key)
    if tree.ground and not objects.is_trusted(tree, workspace) and not entry.exists():
        _build_ground(tree, tree.ground, workspace, tools, collection, progress, log, config)
    return load_kernel(workspace.keep(entry, tree.checked_out(workspace), make))


def _build_ground(
    tree: Tree,
    ground: Tree,
    workspace: Workspace,
    tools: Toolchain,
    collection: Collection,
    progress: Progress,
    log: Path,
    config: Configuration,
) -> None:
    """See that the object directory that stays holds what ``tree`` can begin with."""
    plain = replace(config, traced=())
    if not objects.are_there(objects.home_folder(tree, workspace), objects_key(tools)):
        key = kernel_key(workspace, ground, tools, collection, plain)
        remove_tree(workspace.entry("kernels", key))
    with suppress(BuildError):  # what it has compiled till then is as good
        build_kernel(ground, workspace, tools, collection, progress, log, plain)


def _compile(
    tree: Tree,
    workspace: Workspace,
    tools: Toolchain,
    progress: Progress,
    obj: Path,
    log: Path,
    traced: Sequence[str],
) -> tuple[str, ...]:
    """Let kbuild make vmlinux and bzImage; the objects that it compiled."""
    counter = make_progress.Counter(progress, make_progress.count_stale(obj))
    words = make_words(tree, workspace, f"-j{sandbox.CORES}", GUEST.target)
    mounts = [object_mount(tree, workspace, obj)]
    run_make(
        words,
        tree,
        workspace,
        tools,
        mounts,
        timeout_s=BUILD_LIMIT_S,
        log=log,
        on_line=counter,
        kernel=True,
        traced=traced,
    )
    return tuple(counter.compiled)


def _checked(obj: Path, log: Path, *, confined: bool) -> str:
    """The build id of vmlinux, which has to be that of the kernel inside bzImage."""
    linked = bzimage.elf_build_id(obj / "vmlinux")
    packed = bzimage.build_id(obj / GUEST.image, confined=confined)
    if not linked or not packed:
        raise StageError(
            "build",
            "no build id in the vmlinux and bzImage that were built: let nothing below"
            " images/kconfig change CONFIG_KERNEL_LZ4=y",
            log=log,
        )
    if linked != packed:
        raise StaleError(
            "build",
            f"the bzImage that was built holds the kernel {packed}, not the vmlinux {linked}, also"
            " from nothing; `inv clean --cache` removes all that such a build may come from",
            log=log,
        )
    return linked


def _copy_out(obj: Path, fresh: Path, key: str, build_id: str, compiled: tuple[str, ...]) -> None:
    """Copy what was built out of the object directory."""
    for name, path, most in (
        ("bzImage", GUEST.image, bzimage.MOST_IMAGE),
        ("vmlinux", "vmlinux", bzimage.MOST_ELF),
        ("config", ".config", MOST_CONFIG),
        ("System.map", "System.map", MOST_MAP),
    ):
        copy_below(obj, path, fresh / name, most)
    release = read_below(obj, "include/config/kernel.release", 100).decode("ascii", "replace")
    if not RELEASE.fullmatch(release := release.strip()):
        raise BuildError("build", f"the kernel calls itself {release!r}, which is no release")
    facts = KernelFacts(key, release, build_id, file_digest(fresh / "bzImage"), compiled)
    save_record(fresh / "kernel.json", facts)
