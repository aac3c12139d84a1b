# SPDX-License-Identifier: GPL-2.0-only
"""The box in which all runs that a kernel tree brings: its Makefiles, Kconfig, scripts, the
programs that a build makes for itself, and the Makefiles of the selftests.

It is made by bubblewrap (bwrap(1)) of Linux' namespaces, for root and for ordinary users alike.
What is inside sees the system's programs and libraries, the files that are named to it, a folder
for temporary files, and its own processes; it has no network, no capability and no way to get any.
It is ended as a whole, with the command or with us.
"""

import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ci.base import processes
from ci.base.errors import BuildError, StageError
from ci.base.processes import CommandResult, Limits
from ci.base.untrusted import count_blocks

PACKAGE = "bubblewrap"
# All that a build needs of the system; what is a link to another of them is made anew.
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
SYSTEM_FILES = ("/etc/alternatives", "/etc/ld.so.cache")
PROGRAMS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TEMPORARY = "/tmp"  # noqa: S108 - one of its own
CORES = len(os.sched_getaffinity(0))
# Measured with 6.12 on two cores: 40 processes, 0.5 GB, 0.3 GB written, 0.2 MB printed.
PROCESSES = 256 + 32 * CORES
MEMORY_MB = 4096 + 1024 * CORES
SCRATCH_MB, FILE_MB, DISK_MB, FILES = 1024, 4096, 8192, 400_000
OUTPUT_MB = 64
MB = 1 << 20
# Where Ubuntu has switched user namespaces off for all programs without a profile of AppArmor's.
APPARMOR = Path("/proc/sys/kernel/apparmor_restrict_unprivileged_userns")
APPARMOR_REMEDY = (
    "let AppArmor allow it to bwrap: `sudo apt install apparmor-profiles && sudo cp"
    " /usr/share/apparmor/extra-profiles/bwrap-userns-restrict /etc/apparmor.d/ && sudo"
    " apparmor_parser -r /etc/apparmor.d/bwrap-userns-restrict`, or to all programs: `sudo sysctl"
    f" {str(APPARMOR).removeprefix('/proc/sys/').replace('/', '.')}=0`"
)
# Switches of the kernel: its file, what it holds where user namespaces are forbidden, what allows
# them.
SWITCHES = (
    ("kernel/unprivileged_userns_clone", "0", "1"),
    ("user/max_user_namespaces", "0", "15000"),
)
OPEN = "where each series is your own, --no-sandbox builds without it"


@dataclass(frozen=True)
class Mount:
    """A folder or file of the ``host`` as what is inside sees it, at ``seen``; ``hidden`` is a
    folder below it that is shown empty."""

    host: Path
    seen: Path
    writable: bool = False
    hidden: str = ""


def _system_words() -> list[str]:
    words: list[str] = []
    for name in SYSTEM:
        path = Path(name)
        if path.is_symlink():
            words += ["--symlink", str(path.readlink()), name]
        elif path.exists():
            words += ["--ro-bind", name, name]
    for name in SYSTEM_FILES:
        words += ["--ro-bind-try", name, name]
    return words


def confine_words(
    argv: Sequence[str | Path], mounts: Sequence[Mount], env: Mapping[str, str]
) -> list[str | Path]:
    """The words that run ``argv`` in the box, with the environment ``env`` and no other. What is
    mounted at last is written to last: /, /proc and /dev can only be read then, as root's user id
    could change switches of the kernel through /proc/sys otherwise."""
    words: list[str | Path] = ["choom", "-n", "1000", "--", "bwrap"]
    words += ["--unshare-user", "--disable-userns", "--uid", "1000", "--gid", "1000"]
    words += ["--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
    words += ["--unshare-cgroup-try", "--hostname", "sandbox", "--new-session"]
    words += ["--die-with-parent", "--cap-drop", "ALL", "--clearenv"]
    for name, value in sorted(env.items()):
        words += ["--setenv", name, value]
    words += _system_words()
    words += ["--proc", "/proc", "--dev", "/dev", "--size", str(SCRATCH_MB * MB)]
    words += ["--tmpfs", TEMPORARY]
    for mount in mounts:
        words += ["--bind" if mount.writable else "--ro-bind", mount.host, mount.seen]
        if mount.hidden and (mount.host / mount.hidden).is_dir():
            words += ["--tmpfs", mount.seen / mount.hidden, "--remount-ro"]
            words += [mount.seen / mount.hidden]
    words += ["--remount-ro", "/dev", "--remount-ro", "/proc", "--remount-ro", "/"]
    words += ["--chdir", TEMPORARY, "--", "prlimit", "--core=0", f"--nproc={PROCESSES}"]
    return [*words, f"--fsize={FILE_MB * MB}", *argv]


def box_environment(env: Mapping[str, str]) -> dict[str, str]:
    """The environment inside: nothing of the user's, an empty home, then ``env``, whose PATH comes
    before the system's programs."""
    ours = {"LC_ALL": "C.UTF-8", "TZ": "UTC", "TERM": "dumb", "HOME": TEMPORARY}
    before = env.get("PATH", "")
    return ours | dict(env) | {"PATH": f"{before}:{PROGRAMS}" if before else PROGRAMS}


def run_confined(
    argv: Sequence[str | Path],
    mounts: Sequence[Mount],
    *,
    stage: str,
    timeout_s: float,
    env: Mapping[str, str],
    stdin: str | None = None,
    log: Path | None = None,
    on_line: Callable[[str], None] | None = None,
) -> CommandResult:
    """Run ``argv`` in the box to its end, whatever its exit code. A :class:`BuildError` names the
    limit that it was over: trouble of the machine's is none of these."""
    done = processes.run(
        confine_words(argv, mounts, box_environment(env)),
        stage=stage,
        timeout_s=timeout_s,
        env={"PATH": PROGRAMS},
        stdin=stdin,
        log=log,
        ok=None,
        on_line=on_line,
        watch=_watch_disk([mount.host for mount in mounts if mount.writable]),
        limits=Limits(PROCESSES, MEMORY_MB * MB, OUTPUT_MB * MB),
        shown=argv,
    )
    if done.stopped:
        what = {
            "processes": f"had more than {PROCESSES} processes at once",
            "memory": f"took more than {MEMORY_MB} MB of memory",
            "disk": f"wrote more than {DISK_MB} MB or {FILES} files",
            "output": f"printed more than {OUTPUT_MB} MB",
        }[done.stopped]
        raise BuildError(stage, f"{Path(str(argv[0])).name} {what}, and was ended", log=log)
    if done.returncode != 0 and done.stderr.startswith("bwrap: ") and not done.stdout:
        raise StageError(stage, f"the sandbox cannot be made: {done.stderr.strip()}; {remedy()}")
    return done


def _watch_disk(folders: Sequence[Path]) -> Callable[[], str]:
    """Looks at what is left of the disks, which costs nothing, and counts only where much of it
    went."""

    def left() -> tuple[int, int]:
        disks = [os.statvfs(folder) for folder in folders]
        return sum(disk.f_bavail * disk.f_frsize for disk in disks), sum(
            disk.f_favail for disk in disks
        )

    before = left()

    def look() -> str:
        nonlocal before
        now = left()
        if before[0] - now[0] < DISK_MB * MB and before[1] - now[1] < FILES:
            return ""
        before = now
        bytes_, files = map(sum, zip(*map(count_blocks, folders), strict=True))
        return "disk" if bytes_ > DISK_MB * MB or files > FILES else ""

    return look


def find_trouble() -> str:
    """Why nothing can be confined here, with what to do; empty where a probe goes well: it is the
    compiler, in a box."""
    if not shutil.which("bwrap", path=PROGRAMS):
        return f"bwrap is not installed; install the package {PACKAGE} (or run ci/bootstrap.sh)"
    argv = confine_words(["gcc", "--version"], (), box_environment({}))
    try:
        done = processes.run(argv, stage="sandbox", timeout_s=20, env={"PATH": PROGRAMS}, ok=None)
    except StageError as error:
        return error.message
    if done.returncode == 0:
        return ""
    if "gcc" in done.stderr:
        return f"no gcc below /usr, which is all that the sandbox has; install it there, or {OPEN}"
    return f"{done.stderr.strip() or f'exit code {done.returncode}'}; {remedy()}"


def remedy() -> str:
    """What an administrator can do where the host forbids the namespaces that the box is made
    of."""
    if APPARMOR.exists() and APPARMOR.read_text(encoding="ascii").strip() == "1" and os.geteuid():
        return f"{APPARMOR_REMEDY}; {OPEN}"
    for name, forbids, allows in SWITCHES:
        path = Path("/proc/sys") / name
        if path.exists() and path.read_text(encoding="ascii").strip() == forbids:
            return f"run `sudo sysctl {name.replace('/', '.')}={allows}`; {OPEN}"
    return (
        "in a container, allow user namespaces and mounts (docker: --security-opt"
        f" seccomp=unconfined --security-opt systempaths=unconfined); {OPEN}"
    )


def sandbox_version() -> str:
    """What the box is made by, for the record."""
    done = processes.run(["bwrap", "--version"], stage="sandbox", timeout_s=20)
    return done.stdout.strip()  # bubblewrap 0.8.0
