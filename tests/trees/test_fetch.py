# SPDX-License-Identifier: GPL-2.0-only
"""ci.trees.fetch: a user's checkout is never written, git is real git, Debian's packages come from
a real apt repository."""

import gzip
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ci.base import processes, seen
from ci.base.errors import StageError
from ci.base.processes import CommandResult
from ci.base.progress import Progress
from ci.base.settings import Settings
from ci.base.workspace import Workspace
from ci.commands import plan
from ci.series.patches import TRAILER, load_series
from ci.trees import apt as archive
from ci.trees.fetch import fetch_source
from ci.trees.source import Source
from tests.conftest import KERNEL_FILES, commit, fingerprint, git, write

pytestmark = pytest.mark.whole


@pytest.fixture
def fetch(
    settings_for: Callable[..., Settings], demo_series: Path, progress: Progress
) -> Callable[..., Source]:
    def fetched(**options: str | bool) -> Source:
        return fetch_source(settings_for(**options), load_series(demo_series), progress)

    return fetched


def test_a_checkout_is_only_read(fetch: Callable[..., Source], kernel_tree: Path) -> None:
    (kernel_tree / "untracked").write_text("mine", encoding="utf-8")
    before = fingerprint(kernel_tree)
    found = fetch(tree=str(kernel_tree))
    assert found.commit == git(kernel_tree, "rev-parse", "HEAD")
    assert found.git.has(found.commit)
    with_hook = kernel_tree / ".git/hooks/post-checkout"
    assert not with_hook.exists()
    assert fingerprint(kernel_tree) == before


def test_a_checkouts_hooks_filters_and_configuration_are_not_used(
    fetch: Callable[..., Source], kernel_tree: Path, tmp_path: Path
) -> None:
    trap = tmp_path / "trap"
    for name in ("post-checkout", "reference-transaction", "post-index-change"):
        hook = kernel_tree / ".git/hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {trap}\n", encoding="utf-8")
        hook.chmod(0o755)
    commit(kernel_tree, {".gitattributes": "*.c filter=evil\n"}, "attributes")
    git(kernel_tree, "config", "filter.evil.smudge", f"touch {trap}")
    trap.unlink(missing_ok=True)
    found = fetch(tree=str(kernel_tree))
    found.git.run("checkout", "-q", "--force", "--detach", found.commit)
    assert (found.slot / "src/net/demo.c").exists() and not trap.exists()


def test_uncommitted_changes_are_an_error_unless_asked_for(
    fetch: Callable[..., Source], kernel_tree: Path
) -> None:
    write(kernel_tree, {"net/demo.c": "changed\n"})
    with pytest.raises(StageError, match=r"uncommitted changes:(?s:.*)net/demo\.c") as caught:
        fetch(tree=str(kernel_tree))
    assert "--ignore-dirty" in caught.value.message
    assert fetch(tree=str(kernel_tree), ignore_dirty=True).commit == git(
        kernel_tree, "rev-parse", "HEAD"
    )


def test_worktrees_and_shallow_clones_are_checkouts_too(
    fetch: Callable[..., Source], kernel_tree: Path, tmp_path: Path
) -> None:
    commit(kernel_tree, {"net/other.c": "int newer;\n"}, "one more")
    git(kernel_tree, "worktree", "add", "-q", "--detach", str(tmp_path / "side"))
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{kernel_tree}", "shallow")
    for folder in (tmp_path / "side", tmp_path / "shallow"):
        found = fetch(tree=str(folder))
        assert found.git.line("show", f"{found.commit}:net/other.c") == "int newer;"
        found.git.run("fsck", "--connectivity-only", found.commit)


def test_what_is_no_kernel_checkout(fetch: Callable[..., Source], tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    with pytest.raises(StageError, match="not a git checkout"):
        fetch(tree=str(tmp_path / "plain"))
    git(tmp_path / "plain", "init", "-q")
    commit(tmp_path / "plain", {"README": "x"}, "x")
    with pytest.raises(StageError, match="does not look like a kernel tree"):
        fetch(tree=str(tmp_path / "plain"))


@pytest.mark.parametrize("name", ["main", "v1", "id"])
def test_git_takes_that_commit_alone(
    name: str, fetch: Callable[..., Source], kernel_tree: Path
) -> None:
    git(kernel_tree, "config", "uploadpack.allowAnySHA1InWant", "true")
    head = commit(kernel_tree, {"net/other.c": "int newer;\n"}, "one more")
    git(kernel_tree, "tag", "-m", "a tag", "v1")
    before = fingerprint(kernel_tree)
    found = fetch(source=f"git:file://{kernel_tree}@{head if name == 'id' else name}")
    assert found.commit == head and head in found.name
    assert found.git.line("rev-list", "--count", head) == "1"  # shallow
    assert fingerprint(kernel_tree) == before


def test_a_commit_in_the_cache_needs_no_remote(
    fetch: Callable[..., Source], kernel_tree: Path
) -> None:
    head = git(kernel_tree, "rev-parse", "HEAD")
    spec = f"git:file://{kernel_tree}@{head}"
    fetch(source=spec)
    kernel_tree.rename(kernel_tree.with_name("moved"))
    assert fetch(source=spec).commit == head
    with pytest.raises(StageError, match="does not appear to be a git repository"):
        fetch(source=f"git:file://{kernel_tree}@main")


@pytest.mark.parametrize(
    "spec",
    [
        "git:nowhere",
        "git:/a/folder@main",
        "git:ext::sh -c evil@main",
        "git:file:///x@-oops",
        "svn:x",
        "debian:sid",
        "debian:6.12@",
        "debian:6.12@../x",
        "debian",
    ],
)
def test_a_source_that_is_none(spec: str, fetch: Callable[..., Source]) -> None:
    with pytest.raises(StageError) as caught:
        fetch(source=spec)
    assert "--source" in caught.value.message and caught.value.stage == "fetch"


class Apt:
    """An apt repository in a folder, signed by a key of its own, and the configuration that makes
    apt use it alone."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.home = folder, folder / "gnupg"
        self.home.mkdir(parents=True, mode=0o700)
        self.gpg(
            "--quick-gen-key", "--passphrase", "", "test@example.org", "ed25519", "sign", "never"
        )
        (folder / "key.gpg").write_bytes(self.gpg("--export"))
        listing = folder / "sources.list"
        listing.write_text(
            f"deb [signed-by={folder}/key.gpg] file://{folder}/repo ./\n", encoding="utf-8"
        )
        for name in ("state/lists/partial", "cache/archives/partial", "etc", "repo"):
            (folder / name).mkdir(parents=True)
        config = folder / "apt.conf"
        config.write_text(
            f'Dir::Etc::sourcelist "{listing}";\nDir::Etc::sourceparts'
            f' "/dev/null";\nDir::State::lists "{folder}/state/lists";\nDir::Cache'
            f' "{folder}/cache";\nAPT::Sandbox::User "root";\nAcquire::Languages "none";\n',
            encoding="utf-8",
        )
        monkeypatch.setenv("APT_CONFIG", str(config))

    def gpg(self, *args: str) -> bytes:
        argv = [
            "gpg",
            "--homedir",
            str(self.home),
            "--batch",
            "--yes",
            "--pinentry-mode",
            "loopback",
            *args,
        ]
        return subprocess.run(argv, check=True, capture_output=True).stdout

    def publish(self, version: str, files: dict[str, str], *, suite: str = "") -> None:
        """Offer ``linux-source-6.12`` of ``version``, whose kernel holds ``files``; with a
        ``suite`` in that suite of an archive beside, as Debian's mirrors lay it out."""
        work, repo = (
            self.folder / f"work-{version}",
            self.folder / ("mirror/debian-security" if suite else "repo"),
        )
        lists = Path(f"dists/{suite}/main/binary-amd64" if suite else ".")
        (repo / lists).mkdir(parents=True, exist_ok=True)
        write(work / "linux-source-6.12", files)
        (work / "deb/usr/src").mkdir(parents=True)
        tar = work / "deb/usr/src/linux-source-6.12.tar.xz"
        subprocess.run(["tar", "-cJf", tar, "-C", work, "linux-source-6.12"], check=True)
        write(
            work / "deb/DEBIAN",
            {
                "control": (
                    f"Package: linux-source-6.12\nVersion: {version}\nArchitecture: all\n"
                    "Maintainer: nobody <none@invalid>\nDescription: a test\n"
                )
            },
        )
        deb = repo / f"linux-source-6.12_{version}_all.deb"
        subprocess.run(["dpkg-deb", "-b", work / "deb", deb], check=True, stdout=subprocess.DEVNULL)
        scanned = subprocess.run(
            ["dpkg-scanpackages", "-m", "."], cwd=repo, check=True, capture_output=True
        ).stdout
        (repo / lists / "Packages").write_bytes(scanned)
        (repo / lists / "Packages.gz").write_bytes(gzip.compress(scanned, mtime=0))
        top = repo / "dists" / suite if suite else repo
        rows = [
            f" {hashlib.sha256(data).hexdigest()} {len(data)} {path.relative_to(top)}"
            for path in (repo / lists / "Packages", repo / lists / "Packages.gz")
            for data in [path.read_bytes()]
        ]
        about = f"Codename: {suite}\nArchitectures: amd64\nComponents: main\n" if suite else ""
        write(
            top,
            {
                "Release": (
                    f"{about}Date: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n"
                    + "\n".join(rows)
                    + "\n"
                )
            },
        )
        self.gpg("--clearsign", "-o", str(top / "InRelease"), str(top / "Release"))


@pytest.fixture
def apt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Apt]:
    for tool in ("gpg", "dpkg-scanpackages", "apt-get"):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is not installed")
    # In a path that is short: gpg's socket has 108 bytes for it, apt's lists a name of 255.
    with tempfile.TemporaryDirectory(prefix="apt-", dir="/tmp") as folder:
        made = Apt(Path(folder), monkeypatch)
        monkeypatch.setattr(archive, "SUITES", ())  # no test asks the real archive
        yield made
        subprocess.run(["gpgconf", "--homedir", made.home, "--kill", "all"], check=True)


def test_debian(apt: Apt, fetch: Callable[..., Source]) -> None:
    apt.publish("6.12.9-1", KERNEL_FILES | {"net/.gitignore": "*.c\n"})
    found = fetch(source="debian:6.12")
    assert found.name == "debian:6.12.9-1"
    # An ignored file is a file of the tree all the same.
    names = found.git.run("ls-tree", "-r", "--name-only", found.commit).stdout.split()
    assert sorted(names) == sorted([*KERNEL_FILES, "net/.gitignore"])
    assert sorted(path.name for path in found.slot.iterdir()) == ["src", "version"]
    again = fetch(source="debian:6.12")
    assert again.commit == found.commit


def test_a_newer_package_takes_the_place_of_the_older(
    apt: Apt, fetch: Callable[..., Source]
) -> None:
    apt.publish("6.12.9-1", KERNEL_FILES)
    first = fetch(source="debian:6.12")
    apt.publish("6.12.10-1", KERNEL_FILES | {"net/other.c": "int newer;\n"})
    subprocess.run(["apt-get", "update"], check=True, capture_output=True)
    shutil.rmtree(first.slot.parents[1] / "apt")
    second = fetch(source="debian:6.12")
    assert second.name == "debian:6.12.10-1"
    assert second.git.line("show", f"{second.commit}:net/other.c") == "int newer;"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What apt's programs were asked to do with their lists, which are taken for settled."""
    monkeypatch.setattr(seen, "TICK_NS", -(10**12))
    asked, real = list[str](), processes.run

    def run(argv: Sequence[str | Path], **more: Any) -> CommandResult:
        words = [str(word) for word in argv]
        asked.extend({"show", "update"} & set(words))
        return real(argv, **more)

    monkeypatch.setattr(processes, "run", run)
    return asked


def test_apt_is_asked_once_of_the_same_lists(
    apt: Apt, fetch: Callable[..., Source], asked: list[str]
) -> None:
    """Its programs read all of their lists each time. Those of ours are fetched once an hour."""
    apt.publish("6.12.9-1", KERNEL_FILES)
    first = fetch(source="debian:6.12")
    assert asked == ["show", "update", "show"]  # the host's lists are empty
    assert fetch(source="debian:6.12") == first and len(asked) == 3
    apt.publish("6.12.10-1", KERNEL_FILES)
    stamp = first.slot.parents[1] / "apt/updated"
    os.utime(stamp, (0, 0))
    assert fetch(source="debian:6.12").name == "debian:6.12.10-1"
    assert asked[3:] == ["update", "show"]


def test_a_list_that_is_out_of_date(apt: Apt, fetch: Callable[..., Source]) -> None:
    apt.publish("6.12.9-1", KERNEL_FILES)
    subprocess.run(["apt-get", "update"], check=True, capture_output=True)
    (old,) = (apt.folder / "repo").glob("*.deb")
    old.unlink()
    apt.publish("6.12.10-1", KERNEL_FILES)
    assert fetch(source="debian:6.12").name == "debian:6.12.10-1"


def test_without_a_mirror_the_cache_serves(
    apt: Apt, fetch: Callable[..., Source], capfd: pytest.CaptureFixture[str]
) -> None:
    apt.publish("6.12.9-1", KERNEL_FILES)
    found = fetch(source="debian:6.12")
    (apt.folder / "repo").rename(apt.folder / "gone")
    shutil.rmtree(found.slot.parents[1] / "apt")
    assert fetch(source="debian:6.12") == found
    assert "taking version 6.12.9-1, which is in the cache" in capfd.readouterr().err


def test_a_package_that_is_not_what_was_signed(apt: Apt, fetch: Callable[..., Source]) -> None:
    apt.publish("6.12.9-1", KERNEL_FILES)
    (deb,) = (apt.folder / "repo").glob("*.deb")
    deb.write_bytes(deb.read_bytes()[:-1] + b"?")
    with pytest.raises(StageError, match="fetch"):
        fetch(source="debian:6.12")


def test_a_package_that_was_cut_is_not_kept(
    apt: Apt, fetch: Callable[..., Source], workspace: Workspace
) -> None:
    apt.publish("6.12.9-1", KERNEL_FILES)
    (deb,) = (apt.folder / "repo").glob("*.deb")
    whole = deb.read_bytes()
    os.truncate(deb, len(whole) // 2)
    with pytest.raises(StageError, match="fetch"):
        fetch(source="debian:6.12")
    assert not [path.name for path in (workspace.cache / "trees").iterdir()]
    deb.write_bytes(whole)
    assert fetch(source="debian:6.12").name == "debian:6.12.9-1"


def test_what_is_damaged_is_downloaded_again(
    apt: Apt, fetch: Callable[..., Source], capfd: pytest.CaptureFixture[str]
) -> None:
    apt.publish("6.12.9-1", KERNEL_FILES)
    found = fetch(source="debian:6.12")
    for name in ("version", "src/.git/index", "src/.git/HEAD"):
        os.truncate(found.slot / name, 4)
        assert fetch(source="debian:6.12") == found
        said = capfd.readouterr().err
        assert said.count("| cache: ") == 1 and f"{found.slot} is damaged (" in said
        assert (found.slot / "src/net/demo.c").is_file()
    for path in (found.slot.parents[1] / "apt").rglob("*_Packages*"):
        os.truncate(path, path.stat().st_size // 2)
    assert fetch(source="debian:6.12") == found


def test_lists_that_nobody_signed(apt: Apt, fetch: Callable[..., Source]) -> None:
    apt.publish("6.12.9-1", KERNEL_FILES)
    packages = apt.folder / "repo/Packages"
    packages.write_text(
        packages.read_text(encoding="utf-8").replace("a test", "a trap"), encoding="utf-8"
    )
    (apt.folder / "repo/Packages.gz").unlink()
    with pytest.raises(StageError, match=r"no package linux-source-6\.12"):
        fetch(source="debian:6.12")
    shutil.copy(apt.folder / "key.gpg", apt.folder / "other.gpg")
    (apt.folder / "key.gpg").write_bytes(b"")
    with pytest.raises(StageError, match=r"no package linux-source-6\.12"):
        fetch(source="debian:6.12")


def test_a_release_that_is_not_offered(apt: Apt, fetch: Callable[..., Source]) -> None:
    apt.publish("6.12.9-1", KERNEL_FILES)
    with pytest.raises(StageError, match=r"no package linux-source-6\.99"):
        fetch(source="debian:6.99")


@pytest.fixture
def mirror(apt: Apt, monkeypatch: pytest.MonkeyPatch) -> Apt:
    """The host follows a suite of an archive beside; what other suites it has, the host does not
    know."""
    monkeypatch.setattr(archive, "KEYRING", apt.folder / "key.gpg")
    apt.publish("6.12.1-1", KERNEL_FILES, suite="old-security")
    uri = f"file://{apt.folder}/mirror/debian-security/"
    write(
        apt.folder,
        {"sources.list": f"deb [signed-by={apt.folder}/key.gpg] {uri} old-security main\n"},
    )
    subprocess.run(["apt-get", "update"], check=True, capture_output=True)
    apt.publish("6.12.50-1", KERNEL_FILES | {"net/other.c": "int newer;\n"}, suite="new-security")
    return apt


def test_a_suite_that_the_host_does_not_follow(mirror: Apt, fetch: Callable[..., Source]) -> None:
    lists = sorted(path.name for path in (mirror.folder / "state/lists").iterdir())
    assert fetch(source="debian:6.12").name == "debian:6.12.1-1"
    found = fetch(source="debian:6.12@new-security")
    assert found.name == "debian:6.12.50-1"
    assert found.git.line("show", f"{found.commit}:net/other.c") == "int newer;"
    # The host's own lists are as they were.
    assert sorted(path.name for path in (mirror.folder / "state/lists").iterdir()) == lists
    assert fetch(source="debian:6.12").name == "debian:6.12.1-1"


def test_another_suite_is_asked_once_too(
    mirror: Apt, fetch: Callable[..., Source], asked: list[str]
) -> None:
    found = fetch(source="debian:6.12@new-security")
    assert asked == ["update", "show"]
    assert fetch(source="debian:6.12@new-security") == found and len(asked) == 2


def test_lists_that_nobody_can_look_at_are_read_by_apt(
    apt: Apt, fetch: Callable[..., Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where apt does not say where they are, and where they go while they are looked at."""
    apt.publish("6.12.9-1", KERNEL_FILES)
    monkeypatch.setattr(archive, "PLACES", ())
    found = fetch(source="debian:6.12")
    gone = apt.folder / "state/lists/gone"
    monkeypatch.setattr(archive, "_files", lambda _: [gone])
    assert fetch(source="debian:6.12") == found


def test_a_release_that_only_another_suite_has(
    mirror: Apt, fetch: Callable[..., Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "SUITES", ("new-security",))
    write(mirror.folder, {"sources.list": ""})
    shutil.rmtree(mirror.folder / "state/lists")
    (mirror.folder / "state/lists/partial").mkdir(parents=True)
    # A host that follows nothing of Debian asks Debian's own mirror.
    monkeypatch.setattr(archive, "MIRROR", f"file://{mirror.folder}/mirror/")
    assert fetch(source="debian:6.12").name == "debian:6.12.50-1"


@pytest.mark.parametrize("suite", ["none-security", "new-security"])
def test_a_suite_that_is_not_there_or_not_signed_by_debian(
    suite: str, mirror: Apt, fetch: Callable[..., Source], monkeypatch: pytest.MonkeyPatch
) -> None:
    if suite == "new-security":
        (mirror.folder / "nobody.gpg").write_bytes(b"")
        monkeypatch.setattr(archive, "KEYRING", mirror.folder / "nobody.gpg")
    with pytest.raises(StageError, match=f"the suite {suite} does not carry it"):
        fetch(source=f"debian:6.12@{suite}")


def test_auto_takes_the_base_commit_where_it_can_be_reached(
    fetch: Callable[..., Source], kernel_tree: Path, demo_series: Path
) -> None:
    git(kernel_tree, "config", "uploadpack.allowAnySHA1InWant", "true")
    head = git(kernel_tree, "rev-parse", "main")
    write(
        demo_series, {"series.toml": f'base_url = "file://{kernel_tree}"\nbase_commit = "{head}"\n'}
    )
    found = fetch()
    assert found.commit == head and "its repository answers" in found.why
    kernel_tree.rename(kernel_tree.with_name("moved"))
    assert "in the cache" in fetch().why


def test_auto_falls_back_to_debian_and_says_why(
    apt: Apt, fetch: Callable[..., Source], demo_series: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    apt.publish("6.12.9-1", KERNEL_FILES)
    write(
        demo_series,
        {"series.toml": f'base_url = "file:///nowhere/net.git"\nbase_commit = "{"1" * 40}"\n'},
    )
    found = fetch()
    assert (
        found.name == "debian:6.12.9-1" and "file:///nowhere/net.git cannot be reached" in found.why
    )
    assert "nowhere" in capfd.readouterr().err


@pytest.mark.parametrize(
    "url",
    ["--upload-pack=touch {0};", "ext::touch% {0}", "ssh://-oProxyCommand=touch% {0}/x", "/a/path"],
)
@pytest.mark.parametrize("ref", ["1" * 40, "--upload-pack=touch {0}"])
def test_a_base_url_runs_nothing(
    url: str,
    ref: str,
    settings_for: Callable[..., Settings],
    demo_series: Path,
    progress: Progress,
    tmp_path: Path,
) -> None:
    hurt = tmp_path / "hurt"
    loaded = replace(
        load_series(demo_series),
        base_url=url.format(hurt),
        base_commit=ref.format(hurt),
        base_from="",
    )
    with pytest.raises(
        StageError, match=r"base_url and base_commit of .*series\.toml: give git:URL@REF"
    ) as caught:
        fetch_source(settings_for(), loaded, progress)
    assert caught.value.asked and not hurt.exists()
    assert plan.Reach(settings_for(), progress).trouble(loaded.base_url) and not hurt.exists()


def test_ssh_keeps_the_agent(
    fetch: Callable[..., Source], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (ssh := tmp_path / "bin/ssh").parent.mkdir()
    ssh.write_text(
        f'#!/bin/sh\necho "$SSH_AUTH_SOCK $HOME $*" >{tmp_path}/told\nexit 255\n', encoding="utf-8"
    )
    ssh.chmod(0o755)
    monkeypatch.setenv("PATH", f"{ssh.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/agent")
    with pytest.raises(StageError, match="cannot be fetched"):
        fetch(source="git:ssh://ada@example.org/net.git@main")
    told = (tmp_path / "told").read_text(encoding="utf-8")
    assert (
        told.startswith(f"/run/agent {os.environ['HOME']} -o BatchMode=yes")
        and "ada@example.org" in told
    )
    # A kernel's makefiles may come from a hostile patch.
    assert "SSH_AUTH_SOCK" not in processes.environment()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a repository to somebody else")
@pytest.mark.parametrize("option", ["tree", "source"])
def test_a_repository_of_somebody_else(
    option: str, fetch: Callable[..., Source], kernel_tree: Path
) -> None:
    head = git(kernel_tree, "rev-parse", "main")
    for path in (kernel_tree, *kernel_tree.rglob("*")):
        os.chown(path, 65534, 65534)
    value = str(kernel_tree) if option == "tree" else f"git:file://{kernel_tree}@main"
    assert fetch(**{option: value}).commit == head


@pytest.fixture
def partial(kernel_tree: Path, tmp_path: Path) -> tuple[Path, str]:
    """A partial clone of the kernel with its newest commit checked out, and an older commit, whose
    files it lacks."""
    old = git(kernel_tree, "rev-parse", "main")
    commit(
        kernel_tree, {"net/demo.c": "int nothing;\n", "net/other.c": "int newer;\n"}, "all is new"
    )
    git(kernel_tree, "config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "-q", "--filter=blob:none", f"file://{kernel_tree}", "partial")
    return tmp_path / "partial", old


def test_what_a_partial_clone_lacks_is_fetched(
    partial: tuple[Path, str],
    settings_for: Callable[..., Settings],
    demo_series: Path,
    progress: Progress,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, old = partial
    loaded = replace(load_series(demo_series), base_commit=old, base_from=TRAILER)
    before = fingerprint(folder)
    found = fetch_source(settings_for(tree=str(folder)), loaded, progress)
    assert found.commit == old and found.git.line("show", f"{old}:net/other.c") == "int other;"
    found.git.run("fsck", "--connectivity-only", old)
    assert fingerprint(folder) == before and "fetching 2 files" in capsys.readouterr().err


def test_a_partial_clone_whose_remote_is_gone_says_so(
    partial: tuple[Path, str],
    settings_for: Callable[..., Settings],
    demo_series: Path,
    progress: Progress,
    kernel_tree: Path,
) -> None:
    folder, old = partial
    loaded = replace(load_series(demo_series), base_commit=old, base_from=TRAILER)
    kernel_tree.rename(kernel_tree.with_name("away"))
    with pytest.raises(
        StageError,
        match=r"partial clone without 2 files .* its remote origin does not give them: fatal: '",
    ):
        fetch_source(settings_for(tree=str(folder)), loaded, progress)
    assert (
        fetch_source(settings_for(tree=str(folder)), load_series(demo_series), progress).commit
        != old
    )
