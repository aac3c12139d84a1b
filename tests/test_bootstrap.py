# SPDX-License-Identifier: GPL-2.0-only
"""ci/bootstrap.sh: what it installs, what it passes on, and how it gives up. Its real work is done
by whoever runs us."""

import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import ROOT, commit, git

pytestmark = pytest.mark.whole

Done = subprocess.CompletedProcess[str]


FILES = (
    "bootstrap.sh",
    "packages.txt",
    "packages-test.txt",
    "requirements.txt",
    "requirements-test.txt",
)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout whose .venv is in place and whose inv tells where and how it was called."""
    folder = tmp_path / "a checkout"
    (folder / "ci").mkdir(parents=True)
    for name in FILES:
        shutil.copy(ROOT / "ci" / name, folder / "ci" / name)
    (folder / ".venv/bin").mkdir(parents=True)
    version = subprocess.run(["python3", "-V"], capture_output=True, check=True).stdout
    for name in ("requirements", "requirements-test"):
        held = f"{folder}\n".encode() + version + (folder / f"ci/{name}.txt").read_bytes()
        (folder / ".venv" / name).write_text(
            f"{hashlib.sha256(held).hexdigest()}  -\n", encoding="ascii"
        )
    for name, body in (("inv", 'pwd; printf "<%s>" "$@"; exit 7'), ("python", "exit 1")):
        program = folder / ".venv/bin" / name
        program.write_text(f"#!/bin/sh\n{body}\n", encoding="ascii")
        program.chmod(0o755)
    return folder


def call(
    checkout: Path,
    *args: str,
    path: str | None = None,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> Done:
    known = os.environ | ({"PATH": path} if path else {}) | dict(env or {})
    return subprocess.run(
        [checkout / "ci/bootstrap.sh", *args],
        env=known,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
    )


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


BASIC = (
    "sh",
    "cat",
    "dirname",
    "sha256sum",
    "mktemp",
    "rm",
    "tail",
    "env",
    "printf",
    "sed",
    "grep",
    "pwd",
)


def test_arguments_and_exit_code_go_through_unchanged(checkout: Path, tmp_path: Path) -> None:
    done = call(checkout, "validate", "--series", "a folder", "--without", "1,2", cwd=tmp_path)
    assert (
        done.stdout
        == f"{tmp_path}\n<--search-root><{checkout}><validate><--series><a folder><--without><1,2>"
    )
    assert done.returncode == 7 and done.stderr == ""


def test_without_words_the_tasks_are_listed(checkout: Path) -> None:
    assert call(checkout).stdout.endswith(f"<--search-root><{checkout}><--list>")


def test_names_of_files_mean_what_they_mean_where_it_is_called(
    project: Path, kernel_tree: Path, demo_series: Path, tmp_path: Path
) -> None:
    """The real tasks, from another folder than the checkout, with relative paths; what is printed
    leads to the results."""
    argv = [Path(sys.executable).with_name("inv"), "--search-root", project]
    env = os.environ | {"XDG_CACHE_HOME": str(tmp_path / "cache"), "CDPATH": "/"}
    run = functools.partial(
        subprocess.run, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60
    )
    commit(kernel_tree, {"net/demo.c": "int nothing;\n"}, "in the way")
    done = run([*argv, "validate", "--mode", "virtual", "--tree", "kernel", "--series", "series"])
    assert done.returncode == 2, done.stderr
    shown = done.stdout.partition("look at: ")[2].split(",")[0].replace("\n  | ", "")
    assert shown.startswith("project/results/") and (tmp_path / shown).is_file()
    again = run([*argv, "report", "--run", "project/results/latest"])
    assert again.returncode == 2 and "rejected (exit 2)" in again.stdout
    assert run([*argv, "report", "--run", "results/latest"]).returncode == 3


def test_what_is_missing_is_installed_and_said_first(checkout: Path, tmp_path: Path) -> None:
    path = only(tmp_path, *BASIC, apt_get=f'echo "$@" >>{tmp_path}/asked', id="echo 0")
    done = call(checkout, "doctor", path=path)
    assert done.returncode == 7
    asked = (tmp_path / "asked").read_text(encoding="utf-8").splitlines()
    assert asked[0] == "update" and asked[1].startswith("install -y --no-install-recommends ")
    assert {"ccache", "flex", "mmdebstrap", "qemu-system-x86"} <= set(asked[1].split())
    assert {"gpg"} <= set(asked[1].split()) and "shellcheck" not in asked[1]
    assert "installing with apt-get" in done.stderr and "ccache" in done.stderr
    call(checkout, "test", path=path)
    assert "shellcheck" in (tmp_path / "asked").read_text(encoding="utf-8").splitlines()[3].split()


def test_an_ordinary_user_goes_through_sudo(checkout: Path, tmp_path: Path) -> None:
    path = only(
        tmp_path,
        *BASIC,
        apt_get=f'echo "$@" >>{tmp_path}/asked',
        sudo='echo sudo; exec "$@"',
        id="echo 1000",
    )
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


NO_NETWORK = """Ign:1 http://deb.debian.org/debian trixie InRelease
W: Failed to fetch http://deb.debian.org/debian/dists/trixie/InRelease \
 Temporary failure resolving 'deb.debian.org'
E: Unable to locate package bc"""


def test_no_network_is_one_line(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "said").write_text(NO_NETWORK, encoding="ascii")
    path = only(
        tmp_path,
        *BASIC,
        apt_get=f"[ $1 = update ] || {{ cat {tmp_path}/said; exit 100; }}",
        id="echo 0",
    )
    done = call(checkout, "validate", path=path)
    first, last = done.stderr.splitlines()
    assert done.returncode == 3 and first.startswith("bootstrap: installing with apt-get")
    assert last.startswith(
        "bootstrap: apt-get cannot reach its server: no network, or a proxy that http_proxy and "
    )


def test_a_full_disk_is_exit_3(checkout: Path, tmp_path: Path) -> None:
    path = only(tmp_path, *BASIC, apt_get="exit 0", id="echo 0")
    done = call(checkout, "validate", path=path, env={"TMPDIR": "/nonexistent"})
    assert (
        done.returncode == 3
        and done.stderr.splitlines()[-1] == "bootstrap: cannot write to /nonexistent"
    )


def wheel(folder: Path, name: str, script: str) -> str:
    """A wheel with one program, which prints its name and words; the line of a list of requirements
    that pins it."""
    info = f"{name}-1.dist-info"
    texts = {
        f"{name}.py": f"import sys\n\ndef main():\n    print({name!r}, *sys.argv[1:])\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n",
        f"{info}/WHEEL": (
            "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        ),
        f"{info}/entry_points.txt": f"[console_scripts]\n{script} = {name}:main\n",
    }
    texts[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*texts, f"{info}/RECORD"])
    path = folder / f"{name}-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as out:
        for inside, text in texts.items():
            out.writestr(inside, text)
    return f"{name}==1 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def test_the_tests_tools_come_with_the_tests_and_nothing_of_the_users_interferes(
    checkout: Path, tmp_path: Path
) -> None:
    """A real .venv and a real pip, whose index is a folder; the user's settings would each break
    one of them."""
    shutil.rmtree(checkout / ".venv")
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    for name, pin in (
        ("requirements", wheel(wheels, "ours", "inv")),
        ("requirements-test", wheel(wheels, "more", "pytest")),
    ):
        (checkout / f"ci/{name}.txt").write_text(pin, encoding="ascii")
    for name in ("packages", "packages-test"):
        (checkout / f"ci/{name}.txt").write_text("sh dash\n", encoding="ascii")
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    for name in ("pip", "venv", "ours"):
        (foreign / f"{name}.py").write_text(
            "raise SystemExit('a foreign module')\n", encoding="ascii"
        )
    env = {
        "PIP_USER": "1",
        "PIP_TARGET": str(foreign),
        "PIP_NO_DEPS": "1",
        "PIP_REQUIREMENT": "/nonexistent",
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(wheels),
        "PYTHONPATH": str(foreign),
        "PYTHONHOME": "/nonexistent",
    }
    program = checkout / ".venv/bin/pytest"
    for words, told, there in (
        ("validate", "bootstrap: installing Python packages into .venv (requirements)\n", False),
        ("validate", "", False),
        ("test", "bootstrap: installing Python packages into .venv (requirements-test)\n", True),
        ("check", "", True),
        ("validate", "", True),
    ):
        done = call(checkout, words, env=env)
        assert (done.returncode, done.stderr) == (0, told)
        assert (
            done.stdout == f"ours --search-root {checkout} {words}\n" and program.exists() == there
        )


def test_a_venv_belongs_to_its_path_and_to_its_lists(checkout: Path, tmp_path: Path) -> None:
    """The programs in it name the path, so that it is made anew where the checkout was moved."""
    path = only(tmp_path, *BASIC)
    python = tmp_path / "bin/python3"
    python.unlink()
    python.write_text(
        f'#!/bin/sh\n[ "$2" != venv ] || {{ echo "$*" >>{tmp_path}/asked; exit 1; }}\nexec'
        f' {shutil.which("python3")} "$@"\n',
        encoding="ascii",
    )
    python.chmod(0o755)
    for name in ("packages", "packages-test"):
        (checkout / f"ci/{name}.txt").write_text("sh dash\n", encoding="ascii")
    assert call(checkout, "validate", path=path).returncode == 7
    moved = checkout.rename(tmp_path / "moved")
    done = call(moved, "validate", path=path)
    assert (
        done.returncode == 3
        and "installing Python packages into .venv (requirements)" in done.stderr
    )
    assert (tmp_path / "asked").read_text(encoding="utf-8") == f"-m venv --clear {moved}/.venv\n"
    moved.rename(checkout)
    with (checkout / "ci/requirements.txt").open("a", encoding="ascii") as file:
        file.write("# newer\n")
    assert call(checkout, "validate", path=path).returncode == 3


def test_a_checkout_with_autocrlf_has_the_same_bytes(tmp_path: Path) -> None:
    origin = tmp_path / "origin"
    origin.mkdir()
    git(origin, "init", "-q")
    shutil.copy(ROOT / ".gitattributes", origin / ".gitattributes")
    commit(
        origin, {"ci/bootstrap.sh": "#!/bin/sh\nexit 0\n", "a.patch": "--- a\n+++ b\r\n"}, "files"
    )
    git(
        tmp_path,
        "clone",
        "-q",
        "-c",
        "core.autocrlf=true",
        "-c",
        "core.eol=crlf",
        "origin",
        "clone",
    )
    assert (tmp_path / "clone/ci/bootstrap.sh").read_bytes() == b"#!/bin/sh\nexit 0\n"
    assert (tmp_path / "clone/a.patch").read_bytes() == b"--- a\n+++ b\r\n"


def pinned(name: str) -> list[str]:
    """``name==version`` of each package in a list of requirements; each has its digests and comes
    from the index."""
    text = (ROOT / "ci" / name).read_text(encoding="utf-8")
    blocks = [block for block in re.split(r"^(?=\w)", text, flags=re.M) if block]
    assert all("--hash=sha256:" in block and "http" not in block.split()[0] for block in blocks)
    return [block.split()[0] for block in blocks]


def test_requirements_are_pinned_with_digests_and_hold_what_the_project_names() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    ours, tests = pinned("requirements.txt"), pinned("requirements-test.txt")
    assert set(project["dependencies"]) <= set(ours)
    assert set(project["optional-dependencies"]["test"]) <= set(tests)
    assert not {row.partition("==")[0] for row in ours} & {row.partition("==")[0] for row in tests}
    assert all("==" in row for row in (*ours, *tests))


def test_what_the_tests_need_is_not_needed_for_a_run() -> None:
    """Who uses the pipeline gets neither the tools of the tests, nor what only they need."""
    for name in ("pytest", "mypy", "ruff", "hypothesis", "packaging", "typing-extensions"):
        assert not any(row.startswith(f"{name}==") for row in pinned("requirements.txt"))
    text = (ROOT / "ci/requirements.txt").read_text(encoding="utf-8")
    assert (
        set(re.findall(r"via (\S+)|#   (\S+)", text))
        & {("pytest", ""), ("", "pytest"), ("mypy", "")}
        == set()
    )
