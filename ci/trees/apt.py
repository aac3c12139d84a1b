# SPDX-License-Identifier: GPL-2.0-only
"""What Debian's archive offers: kernel source packages by apt, of any suite, verified, without
root.

The host's own configuration comes first. A suite that the host does not follow has a configuration
of its own in our cache: sources, lists and downloads apart from the host's, the same mirror, and
Debian's keyring to verify it.
"""

import functools
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ci.base import processes
from ci.base.errors import StageError
from ci.base.workspace import Workspace

DOWNLOAD_S = 3600.0
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# Where a kernel source may be that the host's sources do not carry.
SUITES = ("bullseye-security", "bookworm-security", "trixie-security", "trixie-backports")
MIRROR = "http://deb.debian.org/"
STRICT = (
    "-o",
    "APT::Get::AllowUnauthenticated=false",
    "-o",
    "Acquire::AllowInsecureRepositories=false",
)
Options = Sequence[str]


def package_offers(
    workspace: Workspace, name: str, suite: str = ""
) -> Iterator[tuple[Options, Mapping[str, str]]]:
    """The newest ``name`` that apt knows of, as (apt's options, fields), the best place first: the
    host's lists, fresh ones of the host's sources (the host's may be empty, as in a new container,
    or name a file that the mirror no longer has), Debian's suites. With a ``suite`` that suite
    alone."""
    places: list[Callable[[], Options]] = [
        lambda: (),
        lambda: _fresh(workspace),
        lambda: _apart(workspace, SUITES),
    ]
    if suite:
        places = [lambda: _apart(workspace, (suite,))]
    for place in places:
        options = place()
        if fields := _newest(options, name):
            yield options, fields


def download_package(options: Options, fields: Mapping[str, str], folder: Path) -> Path:
    """The package of those ``fields`` as a file in ``folder``, its signature chain checked by apt
    and its digest by us."""
    processes.run(
        ["apt-get", *options, *STRICT, "download", f"{fields['Package']}={fields['Version']}"],
        stage="fetch",
        cwd=folder,
        timeout_s=DOWNLOAD_S,
    )
    (deb,) = folder.glob("*.deb")
    with deb.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != fields["SHA256"]:
            raise StageError(
                "fetch", f"{deb.name}: its SHA-256 is not the one that apt's signed lists give"
            )
    return deb


@functools.lru_cache
def _update(options: Options) -> None:
    """Fetch the lists once in a process; where that fails, what is there has to do."""
    processes.run(["apt-get", *options, *STRICT, "update"], stage="fetch", timeout_s=600, ok=None)


def _state(folder: Path) -> tuple[str, ...]:
    """Lists and downloads of our own, below ``folder``."""
    for sub in ("lists/partial", "cache/archives/partial"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    return ("-o", f"Dir::State::lists={folder}/lists", "-o", f"Dir::Cache={folder}/cache")


def _fresh(workspace: Workspace) -> Options:
    """The host's sources and keyrings, with lists of our own."""
    options = _state(workspace.cache / "apt")
    _update(options)
    return options


def _apart(workspace: Workspace, suites: Sequence[str]) -> Options:
    """A configuration that follows ``suites`` and nothing else."""
    folder = workspace.cache / "apt" / "-".join(suites)
    options = _state(folder)
    rows = [f"deb [signed-by={KEYRING}] {_mirror(suite)} {suite} main\n" for suite in suites]
    (folder / "sources.list").write_text("".join(rows), encoding="utf-8")
    options += (
        "-o",
        f"Dir::Etc::SourceList={folder}/sources.list",
        "-o",
        "Dir::Etc::SourceParts=/dev/null",
    )
    _update(options)
    return options


def _mirror(suite: str) -> str:
    """The mirror of Debian that the host uses for such a suite, else the project's own."""
    archive = "debian-security" if suite.endswith("-security") else "debian"
    for uri in _host_mirrors():
        if uri.rstrip("/").endswith(f"/{archive}"):
            return uri
    return f"{MIRROR}{archive}/"


def _host_mirrors() -> tuple[str, ...]:
    argv = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    return tuple(processes.run(argv, stage="fetch", timeout_s=60, ok=None).stdout.split())


def _newest(options: Options, name: str) -> Mapping[str, str]:
    """Fields of the newest version of a package that apt's lists know, {} for none."""
    argv = ["apt-cache", *options, "show", "--no-all-versions", name]
    shown = processes.run(argv, stage="fetch", timeout_s=60, ok=None)
    rows = (
        line.split(": ", 1)
        for line in shown.stdout.splitlines()
        if re.match(r"[A-Za-z0-9-]+: ", line)
    )
    return {row[0]: row[1] for row in rows} if shown.returncode == 0 else {}
