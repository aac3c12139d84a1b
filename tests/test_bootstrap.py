"""ci/bootstrap.sh: what it installs, what it passes on, and how it gives up. Its real work is done by whoever runs us."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.conftest import ROOT

Done = subprocess.CompletedProcess[str]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose .venv is in place and whose inv tells how it was called."""
    folder = tmp_path / "checkout"
    (folder / "ci").mkdir(parents=True)
    for name in ("ci/bootstrap.sh", "ci/packages.txt", "ci/requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, folder / name)
    wanted = (folder / "ci/requirements.txt").read_bytes() + (folder / "pyproject.toml").read_bytes()
    digest = subprocess.run(["sha256sum"], input=wanted, capture_output=True, check=True).stdout.decode()
    (folder / ".venv/bin").mkdir(parents=True)
    (folder / ".venv/wanted").write_text(digest, encoding="ascii")
    for name, body in (("inv", 'printf "<%s>" "$@"; exit 7'), ("python", "exit 1")):
        program = folder / ".venv/bin" / name
        program.write_text(f"#!/bin/sh\n{body}\n", encoding="ascii")
        program.chmod(0o755)
    return folder


def call(checkout: Path, *args: str, path: str | None = None) -> Done:
    env = os.environ | ({"PATH": path} if path else {})
    return subprocess.run([checkout / "ci/bootstrap.sh", *args], env=env, capture_output=True, text=True, timeout=60)


def only(tmp_path: Path, *names: str, **scripts: str) -> str:
    """A PATH with these programs of the host, and some of our own."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in names:
        (folder / name).symlink_to(str(shutil.which(name)))
    (folder / "python3").symlink_to(sys.executable)
    for name, body in scripts.items():
        path = folder / name.replace("_", "-")
        path.write_text(f"#!/bin/sh\n{body}\n", encoding="ascii")
        path.chmod(0o755)
    return str(folder)


BASIC = ("sh", "cat", "dirname", "sha256sum", "mktemp", "rm", "tail", "env", "printf")


def test_arguments_and_exit_code_go_through_unchanged(checkout: Path) -> None:
    done = call(checkout, "validate", "--series", "a folder", "--without", "1,2")
    assert done.stdout == "<validate><--series><a folder><--without><1,2>"
    assert done.returncode == 7 and done.stderr == ""


def test_what_is_missing_is_installed_and_said_first(checkout: Path, tmp_path: Path) -> None:
    path = only(tmp_path, *BASIC, apt_get=f'echo "$@" >>{tmp_path}/asked', id="echo 0")
    done = call(checkout, "doctor", path=path)
    assert done.returncode == 7
    asked = (tmp_path / "asked").read_text(encoding="utf-8").splitlines()
    assert asked[0] == "update" and asked[1].startswith("install -y --no-install-recommends ")
    assert {"ccache", "flex", "mmdebstrap", "qemu-system-x86"} <= set(asked[1].split())
    assert "installing with apt-get" in done.stderr and "ccache" in done.stderr


def test_an_ordinary_user_goes_through_sudo(checkout: Path, tmp_path: Path) -> None:
    path = only(tmp_path, *BASIC, apt_get=f'echo "$@" >>{tmp_path}/asked', sudo='echo sudo; exec "$@"', id="echo 1000")
    done = call(checkout, "doctor", path=path)
    assert done.returncode == 7 and "installing with sudo apt-get" in done.stderr
    assert (tmp_path / "asked").exists()


def test_no_way_to_install_is_exit_3_and_names_the_packages(checkout: Path, tmp_path: Path) -> None:
    done = call(checkout, "validate", path=only(tmp_path, *BASIC))
    assert done.returncode == 3 and "ccache" in done.stderr and "no apt-get" in done.stderr


def test_an_ordinary_user_without_sudo(checkout: Path, tmp_path: Path) -> None:
    done = call(checkout, "validate", path=only(tmp_path, *BASIC, apt_get="exit 0", id="echo 1000"))
    assert done.returncode == 3 and "as root first" in done.stderr and "ccache" in done.stderr


def test_apt_that_fails_is_shown(checkout: Path, tmp_path: Path) -> None:
    path = only(tmp_path, *BASIC, apt_get='echo "E: no such package"; exit 100', id="echo 0")
    done = call(checkout, "validate", path=path)
    assert done.returncode == 3 and "E: no such package" in done.stderr


def test_requirements_are_pinned_with_digests_and_hold_what_the_project_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    locked = (ROOT / "ci/requirements.txt").read_text(encoding="utf-8")
    wanted = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    assert all(f"\n{name} " in f"\n{locked}" for name in wanted)
    entries = [line for line in locked.splitlines() if line and not line.startswith((" ", "#"))]
    assert all("==" in line for line in entries) and locked.count("--hash=sha256:") >= len(entries)
    assert "http" not in "".join(entries)
