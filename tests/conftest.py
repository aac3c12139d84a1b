# SPDX-License-Identifier: GPL-2.0-only
"""What many tests need: a workspace of their own, and small git repositories that look like kernel
trees."""

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from ci.base.progress import Progress
from ci.base.settings import Settings, make_settings
from ci.base.workspace import Workspace

# Where these tests run in the background of a shell, SIGINT is ignored, and so it would be in what
# they start.
signal.signal(signal.SIGINT, signal.default_int_handler)
ROOT = Path(__file__).resolve().parents[1]
MEMORY = Path("/dev/shm")
# The pipeline itself asks for 4 GB before it fetches a source; the tests use a tenth of one.
MEMORY_NEEDED = 6 * 10**9
DEMO_C = "".join(f"int line{number};\n" for number in range(1, 41))
KERNEL_FILES = {
    "Makefile": "# SPDX-License-Identifier: GPL-2.0\nVERSION = 6\nPATCHLEVEL = 12\nSUBLEVEL = 1\n",
    "Kconfig": "config DEMO\n\tbool\n",
    "net/demo.c": DEMO_C,
    "net/other.c": "int other;\n",
}
IDENTITY = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "Ada"), ("EMAIL", "ada@example.org"), ("DATE", "1600000000 +0000"))
}


def git(folder: Path, *args: str, stdin: str | None = None) -> str:
    """What git prints in ``folder``; a failure is a failure of the test."""
    env = {
        "PATH": os.environ["PATH"],
        "HOME": "/nonexistent",
        "GIT_CONFIG_NOSYSTEM": "1",
        **IDENTITY,
    }
    done = subprocess.run(
        ["git", *args], cwd=folder, input=stdin, text=True, capture_output=True, env=env
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def write(folder: Path, files: Mapping[str, str]) -> None:
    """Text files below ``folder``."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def commit(folder: Path, files: Mapping[str, str], message: str) -> str:
    """The id of a new commit that writes ``files``."""
    write(folder, files)
    git(folder, "add", "-A")
    git(folder, "commit", "-q", "-m", message)
    return git(folder, "rev-parse", "HEAD")


def fingerprint(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder`` with its bytes, git's own included."""
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def pytest_configure(config: pytest.Config) -> None:
    """Tests that boot no guest have their folders in memory, where there is some: they write many
    small files, each flushed to disk. Programs are run from there, too."""
    if "not guest" not in str(config.option.markexpr) or not MEMORY.is_dir():
        return
    there = os.statvfs(MEMORY)
    if not there.f_flag & os.ST_NOEXEC and there.f_bavail * there.f_frsize > MEMORY_NEEDED:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """The checkout's recipes with a cache and results of the test's own."""
    (tmp_path / "results").mkdir()
    return Workspace(root=ROOT, cache=tmp_path / "cache", results=tmp_path / "results")


@pytest.fixture
def progress() -> Progress:
    return Progress()


def copy_checkout(model: Path, folder: Path) -> Path:
    """A copy of a checkout, whose index knows the files that are its own."""
    shutil.copytree(model, folder)
    git(folder, "update-index", "--refresh")
    return folder


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What ``kernel_tree`` and ``demo_series`` are copies of: a dozen git commands for all of
    them."""
    folder = tmp_path_factory.mktemp("models")
    (kernel := folder / "kernel").mkdir()
    git(kernel, "init", "-q", "-b", "main", "--template=")
    commit(kernel, KERNEL_FILES, "v6.12")
    shutil.copytree(kernel, with_series := folder / "with-series")
    git(with_series, "checkout", "-q", "-b", "with-series")
    first = DEMO_C.replace("int line10;", "int line10 = 1;")
    commit(with_series, {"net/demo.c": first}, "demo: start line 10 at one\n\nIt was zero.")
    second = first.replace("int line12;", "int line12 = 2;").replace(
        "int line30;", "int line30 = 3;"
    )
    commit(with_series, {"net/demo.c": second}, "demo: start more lines elsewhere")
    git(with_series, "format-patch", "-q", "-o", str(folder / "series"), "main..with-series")
    git(with_series, "checkout", "-q", "main")
    return folder


@pytest.fixture
def kernel_tree(models: Path, tmp_path: Path) -> Path:
    """A git checkout with one commit that passes for a kernel tree of 6.12."""
    return copy_checkout(models / "kernel", tmp_path / "kernel")


@pytest.fixture
def demo_series(models: Path, kernel_tree: Path, tmp_path: Path) -> Path:
    """Two patches against ``kernel_tree``, which stays without them: line 10, then lines 12 and 30
    of net/demo.c."""
    shutil.rmtree(kernel_tree)
    copy_checkout(models / "with-series", kernel_tree)
    return shutil.copytree(models / "series", tmp_path / "series")


@pytest.fixture
def settings_for(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Settings]:
    """Settings as the tasks make them, with the test's own cache and results."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(workspace.cache.parent))

    def made(**options: str | bool) -> Settings:
        return replace(make_settings(ROOT, **options), workspace=workspace)

    return made


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of what a checkout needs to run."""
    folder = tmp_path / "project"
    for name in ("ci", "images", "kernel-patches", "tasks.py", "pyproject.toml"):
        source = ROOT / name
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy(source, target)
    (folder / "results").mkdir()
    return folder
