# SPDX-License-Identifier: GPL-2.0-only
"""ci.trees.git_store and git sources: real git against a local server that counts, dies half-way,
hangs or is gone."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from ci.base.errors import StageError
from ci.base.progress import Progress
from ci.base.settings import Settings
from ci.base.workspace import Workspace
from ci.series.patches import load_series
from ci.trees import remote
from ci.trees.fetch import fetch_source
from ci.trees.git_store import LEFT, GitStore
from ci.trees.source import Source
from tests.conftest import ROOT, commit, git, write

BLOB = 8000
CHANGE = 3 * BLOB  # a fetch of one new file, and of all that surrounds it, is smaller
CUT = 10 * BLOB  # in the middle of the pack of a whole tree


class Server(ThreadingHTTPServer):
    """``git http-backend`` behind HTTP. ``sent`` are the sizes of its answers; one that is longer
    than ``cut`` bytes ends there: the connection is closed, or with ``hang`` stays open and
    silent."""

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), Backend)
        self.root, self.sent = root, list[int]()
        self.cut, self.hang, self.done = sys.maxsize, False, threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/kernel"

    def cost(self, work: Callable[[], object]) -> int:
        """Bytes that were sent while ``work`` ran."""
        before = len(self.sent)
        work()
        return sum(self.sent[before:])


class Backend(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        path, _, query = self.path.partition("?")
        env = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.server.root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REQUEST_METHOD": self.command,
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
        }
        asked = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = subprocess.run(
            ["git", "http-backend"], input=asked, env=env, capture_output=True
        ).stdout
        head, _, body = answer.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self.send_response(int(fields.pop("Status", "200").split()[0]))
        for name, value in fields.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        sent = body[: self.server.cut]
        self.server.sent.append(len(sent))
        self.wfile.write(sent)
        self.wfile.flush()
        if self.server.hang and len(sent) < len(body):
            self.server.done.wait(60)

    do_POST = do_GET  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server(kernel_tree: Path) -> Iterator[Server]:
    """A server of ``kernel_tree``, to which forty files were added that do not compress."""
    noise = random.Random(1)
    files = {f"net/noise{number}.c": noise.randbytes(BLOB // 2).hex() for number in range(40)}
    commit(kernel_tree, files, "forty files")
    git(kernel_tree, "config", "uploadpack.allowAnySHA1InWant", "true")
    served = Server(kernel_tree.parent)
    threading.Thread(target=served.serve_forever, daemon=True).start()
    yield served
    served.done.set()
    served.shutdown()
    served.server_close()


@pytest.fixture
def fetch(
    settings_for: Callable[..., Settings], demo_series: Path, progress: Progress, server: Server
) -> Callable[[str], Source]:
    def fetched(ref: str) -> Source:
        return fetch_source(
            settings_for(source=f"git:{server.url}@{ref}"),
            load_series(demo_series),
            progress,
        )

    return fetched


def check(found: Source, kernel_tree: Path) -> None:
    """The work tree can be taken out whole, without the server's help."""
    found.git.run("checkout", "-q", "--force", "--detach", found.commit)
    found.git.run("fsck", "--connectivity-only", found.commit)
    assert found.git.line("rev-list", "--count", found.commit) == "1"
    wanted = git(kernel_tree, "ls-tree", "-r", "--name-only", found.commit).split()
    assert all((found.slot / "src" / name).is_file() for name in wanted)
    assert found.git.line("status", "--porcelain") == ""


def left(workspace: Workspace) -> list[str]:
    folder = GitStore.of(workspace).folder
    return [path.name for pattern in LEFT for path in folder.glob(pattern)]


def packed(workspace: Workspace) -> int:
    said = git(GitStore.of(workspace).folder, "count-objects", "-v")
    assert "count: 0\n" in said  # never unpacked
    return int(said.partition("in-pack: ")[2].split()[0])


@pytest.mark.parametrize("name", ["main", "refs/heads/main", "v1", "id"])
def test_over_http(name: str, fetch: Callable[[str], Source], kernel_tree: Path) -> None:
    git(kernel_tree, "tag", "-m", "a tag", "v1")
    head = git(kernel_tree, "rev-parse", "main")
    found = fetch(head if name == "id" else name)
    assert found.commit == head
    check(found, kernel_tree)


def test_a_second_branch_transfers_what_differs(
    fetch: Callable[[str], Source], server: Server, kernel_tree: Path, workspace: Workspace
) -> None:
    git(kernel_tree, "checkout", "-q", "-b", "stable/next")
    commit(kernel_tree, {"net/noise1.c": "changed\n"}, "only here")
    git(kernel_tree, "checkout", "-q", "main")
    for number in range(3):
        commit(kernel_tree, {"net/noise2.c": f"changed {number}\n"}, "only there")
    whole = server.cost(lambda: check(fetch("main"), kernel_tree))
    objects = packed(workspace)
    rest = server.cost(lambda: check(fetch("stable/next"), kernel_tree))
    assert whole > 40 * BLOB / 2 and rest < CHANGE
    assert objects > 40 and packed(workspace) - objects < 10
    assert len(list((workspace.cache / "trees").glob("git-*"))) == 2


def test_a_branch_that_advances_keeps_its_folder(
    fetch: Callable[[str], Source], server: Server, kernel_tree: Path
) -> None:
    first = fetch("main")
    check(first, kernel_tree)
    (first.slot / "obj").mkdir()
    head = commit(kernel_tree, {"net/new.c": "int newer;\n"}, "one more")
    assert server.cost(lambda: fetch("main")) < CHANGE
    second = fetch("main")
    assert second.commit == head and second.slot == first.slot and (second.slot / "obj").is_dir()
    check(second, kernel_tree)
    # A commit by its id lies apart, but what the branch brought is there already, its former tip
    # too.
    server.cut = 0
    by_id = fetch(first.commit)
    assert by_id.commit == first.commit and by_id.slot != first.slot
    check(by_id, kernel_tree)


def test_what_can_not_be_reached_is_taken_from_the_cache(
    fetch: Callable[[str], Source], kernel_tree: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    git(kernel_tree, "tag", "-m", "a tag", "v1")
    names = ("main", "v1", git(kernel_tree, "rev-parse", "main"))
    found = [fetch(name) for name in names]
    assert "which is in the cache" not in capfd.readouterr().err
    kernel_tree.rename(kernel_tree.with_name("moved"))
    assert [fetch(name) for name in names] == found
    assert capfd.readouterr().err.count(f"taking commit {names[2]}, which is in the cache") == 2
    with pytest.raises(StageError, match=r"with-series of http://127\S+ cannot be fetched"):
        fetch("with-series")


def test_a_ref_that_is_not_there(
    fetch: Callable[[str], Source], server: Server, kernel_tree: Path
) -> None:
    git(kernel_tree, "branch", "gone")
    fetch("gone")
    git(kernel_tree, "branch", "-D", "gone")
    for ref in ("gone", "never", "1" * 40):
        with pytest.raises(StageError) as caught:
            fetch(ref)
        assert f"{ref} of {server.url} cannot be fetched" in caught.value.message
        assert "hooksPath" not in caught.value.message
    git(kernel_tree, "tag", "tree", "main^{tree}")
    with pytest.raises(StageError, match="is not a commit"):
        fetch("tree")


@pytest.mark.parametrize("name", ["main", "id"])
def test_a_server_that_dies_half_way(
    name: str,
    fetch: Callable[[str], Source],
    server: Server,
    kernel_tree: Path,
    workspace: Workspace,
) -> None:
    ref = git(kernel_tree, "rev-parse", "main") if name == "id" else name
    server.cut = CUT
    for _ in range(2):
        with pytest.raises(StageError, match=f"{ref} of {server.url} cannot be fetched"):
            fetch(ref)
    server.cut = sys.maxsize
    check(fetch(ref), kernel_tree)
    assert not left(workspace)


def test_a_known_branch_whose_server_dies_half_way(
    fetch: Callable[[str], Source],
    server: Server,
    kernel_tree: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    first = fetch("main")
    noise = {
        f"net/more{number}.c": random.Random(number).randbytes(BLOB).hex() for number in range(20)
    }
    head = commit(kernel_tree, noise, "more")
    server.cut = CUT
    assert fetch("main") == first
    assert f"taking commit {first.commit}" in capfd.readouterr().err
    check(first, kernel_tree)
    server.cut = sys.maxsize
    second = fetch("main")
    assert second.commit == head
    check(second, kernel_tree)


def test_a_server_that_hangs(
    fetch: Callable[[str], Source],
    server: Server,
    kernel_tree: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.cut, server.hang = CUT, True
    with monkeypatch.context() as patched:
        patched.setattr(remote, "FETCH_S", 2.0)
        with pytest.raises(StageError, match=r"main of http(?s:.*)did not end within 2 s"):
            fetch("main")
    server.cut = sys.maxsize
    check(fetch("main"), kernel_tree)


def test_a_fetch_that_is_killed(
    fetch: Callable[[str], Source],
    server: Server,
    kernel_tree: Path,
    workspace: Workspace,
    demo_series: Path,
) -> None:
    server.cut, server.hang = CUT, True
    argv = [
        sys.executable,
        "-m",
        "invoke",
        "apply",
        "--series",
        str(demo_series),
        "--source",
        f"git:{server.url}@main",
    ]
    env = {"PATH": os.environ["PATH"], "XDG_CACHE_HOME": str(workspace.cache.parent)}
    cache = workspace.cache.parent / "patchverdict"
    killed = subprocess.Popen(
        argv, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    end = time.monotonic() + 60
    while not list(cache.glob("trees/git.git/objects/pack/tmp_pack_*")):
        assert time.monotonic() < end and killed.poll() is None, killed.communicate(timeout=1)
        time.sleep(0.05)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    cache.rename(
        workspace.cache
    )  # the killed process chose the name below XDG_CACHE_HOME, the test's is its own
    assert {name.rpartition("_")[0] or name for name in left(workspace)} >= {
        "tmp_pack",
        "shallow.lock",
    }
    server.cut = sys.maxsize
    check(fetch("main"), kernel_tree)
    assert not left(workspace)


def test_leftovers_of_any_kind(
    fetch: Callable[[str], Source], kernel_tree: Path, workspace: Workspace
) -> None:
    found = fetch("main")
    names = GitStore.of(workspace).folder
    (ref,) = (names / "refs/names").iterdir()
    for name in (
        "shallow.lock",
        "packed-refs.lock",
        f"refs/names/{ref.name}.lock",
        "shallow_a",
        "objects/pack/tmp_idx_a",
    ):
        write(names, {name: "half\n"})
    commit(kernel_tree, {"net/new.c": "int newer;\n"}, "one more")
    assert fetch("main").commit != found.commit
    assert not left(workspace)
