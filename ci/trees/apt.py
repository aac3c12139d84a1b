# SPDX-License-Identifier: GPL-2.0-only
"""What Debian's archive offers: kernel source packages by apt, of any suite, verified, without
root.

The host's own configuration comes first. A suite that the host does not follow has a configuration
of its own in our cache: sources, lists and downloads apart from the host's, the same mirror, and
Debian's keyring to verify it.
"""

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from ci.base import processes
from ci.base.errors import StageError
from ci.base.seen import whole_since
from ci.base.workspace import Workspace, digest, write_text

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
# How long lists of our own are taken for fresh.
FRESH_S = 3600.0
# What the answers of apt hang on, in its own words.
PLACES = (
    "Dir::State::lists/d",
    "Dir::State::status/f",
    "Dir::Etc::sourcelist/f",
    "Dir::Etc::sourceparts/d",
    "Dir::Etc::preferences/f",
    "Dir::Etc::preferencesparts/d",
)
Options = Sequence[str]
# For fresh lists, or for those that are there: the options, and whether the lists are from now.
Place = Callable[[bool], tuple[Options, bool]]


def package_offers(
    workspace: Workspace, name: str, suite: str = ""
) -> Iterator[tuple[Options, Mapping[str, str]]]:
    """The newest ``name`` that apt knows of, as (apt's options, fields), the best place first: the
    host's lists, fresh ones of the host's sources (the host's may be empty, as in a new container,
    or name a file that the mirror no longer has), Debian's suites. With a ``suite`` that suite
    alone."""
    places: list[Place] = [_host, partial(_fresh, workspace), partial(_apart, workspace, SUITES)]
    if suite:
        places = [partial(_apart, workspace, (suite,))]
    for place in places:
        options, updated = place(False)
        if fields := _newest(workspace, options, name):
            yield options, fields
        if not updated:  # lists of ours that are no longer fresh
            options, _ = place(True)
            if fields := _newest(workspace, options, name):
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


def _update(options: Options, folder: Path, again: bool) -> bool:
    """Fetch lists of our own that are not fresh, or ``again``: whether that was done. Where it
    fails, what is there has to do."""
    stamp = folder / "updated"
    if not again and stamp.exists() and 0 <= time.time() - stamp.stat().st_mtime < FRESH_S:
        return False
    argv = ["apt-get", *options, *STRICT, "update"]
    if processes.run(argv, stage="fetch", timeout_s=600, ok=None).returncode == 0:
        stamp.touch()
    return True


def _state(folder: Path) -> tuple[str, ...]:
    """Lists and downloads of our own, below ``folder``."""
    for sub in ("lists/partial", "cache/archives/partial"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    return ("-o", f"Dir::State::lists={folder}/lists", "-o", f"Dir::Cache={folder}/cache")


def _host(again: bool) -> tuple[Options, bool]:
    """The host's own lists, as they are."""
    return (), True


def _fresh(workspace: Workspace, again: bool) -> tuple[Options, bool]:
    """The host's sources and keyrings, with lists of our own, and whether these are from now."""
    options = _state(workspace.cache / "apt")
    return options, _update(options, workspace.cache / "apt", again)


def _apart(workspace: Workspace, suites: Sequence[str], again: bool) -> tuple[Options, bool]:
    """A configuration that follows ``suites`` and nothing else, and whether its lists are from
    now."""
    folder = workspace.cache / "apt" / "-".join(suites)
    options = _state(folder)
    mirrors, listing = _host_mirrors(), folder / "sources.list"
    text = "".join(
        f"deb [signed-by={KEYRING}] {_mirror(suite, mirrors)} {suite} main\n" for suite in suites
    )
    if not listing.exists() or listing.read_text(encoding="utf-8") != text:
        write_text(listing, text)
    options += (
        "-o",
        f"Dir::Etc::SourceList={listing}",
        "-o",
        "Dir::Etc::SourceParts=/dev/null",
    )
    return options, _update(options, folder, again)


def _mirror(suite: str, mirrors: Sequence[str]) -> str:
    """The mirror of Debian that the host uses for such a suite, else the project's own."""
    archive = "debian-security" if suite.endswith("-security") else "debian"
    for uri in mirrors:
        if uri.rstrip("/").endswith(f"/{archive}"):
            return uri
    return f"{MIRROR}{archive}/"


def _host_mirrors() -> tuple[str, ...]:
    argv = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]
    return tuple(processes.run(argv, stage="fetch", timeout_s=60, ok=None).stdout.split())


def _newest(workspace: Workspace, options: Options, name: str) -> Mapping[str, str]:
    """Fields of the newest version of a package that apt's lists know, {} for none; kept for as
    long as nobody touches what apt reads, as it reads all of it each time."""
    words = [word for number, one in enumerate(PLACES) for word in (f"P{number}", one)]
    argv = ["apt-config", *options, "shell", *words]
    shown = processes.run(argv, stage="fetch", timeout_s=60, ok=None).stdout
    places = [Path(found) for found in re.findall(r"^P\d+='(.+)'$", shown, re.M)]
    memo = workspace.cache / "apt/offers" / digest("offer", shown, options, name)
    answer = memo.with_suffix(".json")
    if not answer.exists():
        memo.unlink(missing_ok=True)

    def ask(_: Sequence[Path]) -> str:
        memo.parent.mkdir(parents=True, exist_ok=True)
        write_text(answer, json.dumps(_ask(options, name)))
        return ""

    try:
        whole_since(memo, lambda: _files(places), ask)
    except OSError:  # somebody fetches lists just now, or they are not ours to look at
        return _ask(options, name)
    return dict(json.loads(answer.read_bytes()))


def _files(places: Sequence[Path]) -> Iterator[Path]:
    """Those files and folders that are there, with what is in the folders."""
    for place in places:
        if place.exists():
            yield place
            yield from sorted(place.iterdir()) if place.is_dir() else ()


def _ask(options: Options, name: str) -> Mapping[str, str]:
    argv = ["apt-cache", *options, "show", "--no-all-versions", name]
    shown = processes.run(argv, stage="fetch", timeout_s=60, ok=None)
    rows = (
        line.split(": ", 1)
        for line in shown.stdout.splitlines()
        if re.match(r"[A-Za-z0-9-]+: ", line)
    )
    return {row[0]: row[1] for row in rows} if shown.returncode == 0 else {}
