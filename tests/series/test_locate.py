# SPDX-License-Identifier: GPL-2.0-only
"""ci.series.locate, ci.series.mails: one series, brought in every way, is one series; real git, the
real b4, an archive on localhost."""

import base64
import gzip
import http.server
import os
import quopri
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ci.base.errors import StageError
from ci.base.progress import Progress
from ci.base.settings import Settings
from ci.base.workspace import Workspace
from ci.commands import stages
from ci.series import content
from ci.series.locate import bring_series
from ci.series.patches import TRAILER, Series, load_series
from ci.trees.fetch import fetch_source
from tests.base.test_seals import put_zeros
from tests.conftest import ROOT, commit, fingerprint, git, write

OURS = ROOT / "kernel-patches/deny-join-id0"
COVER = "20250912-deny-v2-0@example.org"
FROM = b"From mboxrd@z Thu Jan  1 00:00:00 1970\n"
REVIEW = """From: Bob <bob@example.org>
Message-ID: <review-{n}@example.org>
In-Reply-To: <20250912-deny-v2-{n}@example.org>
References: <20250912-deny-v2-0@example.org> <20250912-deny-v2-{n}@example.org>
Subject: Re: [PATCH net v2 {n}/5] whatever

> --- a/net/mptcp/subflow.c
Reviewed-by: Bob <bob@example.org>
"""


@pytest.fixture
def bring(settings_for: Callable[..., Settings], progress: Progress) -> Callable[..., Series]:
    def brought(spec: str, **options: str) -> Series:
        return bring_series(settings_for(series=spec, **options), progress)

    return brought


def encoded(mail: bytes, how: str) -> bytes:
    """The mail as a list server may send it."""
    head, _, body = mail.partition(b"\n\n")
    lines = [
        row for row in head.split(b"\n") if not row.lower().startswith((b"content-", b"mime-"))
    ]
    packed = base64.encodebytes(body) if how == "base64" else quopri.encodestring(body)
    kind = [b"MIME-Version: 1.0", b"Content-Type: text/plain; charset=utf-8"]
    return b"\n".join([*lines, *kind, b"Content-Transfer-Encoding: " + how.encode(), b"", packed])


def mails(footer: bytes = b"") -> list[bytes]:
    """The project's series as b4 or git send-email send it: cover letter, five patches, each with
    an answer."""
    base = "base-commit: " + "a1" * 20
    rows = [
        f"From: Ada <ada@example.org>\nMessage-ID: <{COVER}>\nSubject: [PATCH net v2 0/5] mptcp: a"
        f" cover\n\nWords.\n---\n{base}\nchange-id: 2025-x\n".encode()
    ]
    for number, patch in enumerate(sorted(OURS.glob("*.patch")), 1):
        text = (
            patch.read_bytes()
            .partition(b"\n")[2]
            .replace(b"Subject: [PATCH ", b"Subject: [PATCH net v2 ")
        )
        identity = (
            f"Message-ID: <20250912-deny-v2-{number}@example.org>\nIn-Reply-To:"
            f" <{COVER}>\nReferences: <{COVER}>\n"
        )
        rows += [identity.encode() + text + footer, REVIEW.format(n=number).encode()]
    return rows


def box(rows: list[bytes]) -> bytes:
    return b"".join(FROM + row + b"\n" for row in rows)


def digests(loaded: Series) -> list[str]:
    return [patch.digest for patch in loaded.patches]


@pytest.fixture(scope="module")
def wanted() -> list[str]:
    return digests(load_series(OURS))


@pytest.fixture
def archive(
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[list[bytes]], http.server.ThreadingHTTPServer]]:
    """A public-inbox that has one thread; of its answers it sends ``part``, then it cuts."""
    running: list[http.server.ThreadingHTTPServer] = []

    def start(rows: list[bytes], part: float = 1.0) -> http.server.ThreadingHTTPServer:
        class Inbox(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                there = self.path.endswith(("%40example.org/t.mbox.gz", "%40kernel.org/t.mbox.gz"))
                self.send_response(200 if there else 404)
                self.end_headers()
                if there:
                    answer = gzip.compress(box(rows))
                    self.wfile.write(answer[: int(part * len(answer))])

            do_HEAD = do_GET  # noqa: N815 - the library's name

            def log_message(self, *args: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Inbox)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        running.append(server)
        monkeypatch.setenv("PATCHVERDICT_ARCHIVE", f"http://127.0.0.1:{server.server_port}/all/")
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY"):
            monkeypatch.delenv(name, raising=False)
        return server

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def test_a_folder_stays_what_it_is(bring: Callable[..., Series], wanted: list[str]) -> None:
    loaded = bring(str(OURS))
    assert loaded.folder == OURS and digests(loaded) == wanted


@pytest.mark.parametrize("how", ["", "crlf", "base64", "quoted-printable", "base64 crlf"])
def test_an_mbox_in_any_encoding(
    how: str,
    bring: Callable[..., Series],
    wanted: list[str],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    rows = mails(b"_______________\nlist mailing list\nlist@example.org\n")
    if how == "crlf":
        rows = [row.replace(b"\n", b"\r\n") for row in rows]
    elif how == "base64 crlf":
        parts = [row.partition(b"\n\n") for row in rows]
        rows = [
            encoded(head + blank + body.replace(b"\n", b"\r\n"), "base64")
            for head, blank, body in parts
        ]
    elif how:
        rows = [encoded(row, how) for row in rows]
    (tmp_path / "in.mbox").write_bytes(box(rows[::-1]))
    loaded = bring(str(tmp_path / "in.mbox"))
    assert digests(loaded) == wanted
    assert loaded.name == "deny-join-id0" and loaded.must_flip and loaded.backports
    assert (loaded.base_commit, loaded.base_from) == ("a1" * 20, TRAILER)
    assert "kernel-patches/deny-join-id0" in capfd.readouterr().err


def stdin(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``data`` come on stdin, by a pipe."""
    read, write_end = os.pipe()
    monkeypatch.setattr("sys.stdin", os.fdopen(read, encoding="utf-8"))

    def feed() -> None:
        with os.fdopen(write_end, "wb") as file:
            file.write(data)

    threading.Thread(target=feed, daemon=True).start()


def test_stdin(
    bring: Callable[..., Series], wanted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin(box(mails()), monkeypatch)
    assert digests(bring("-")) == wanted


def test_what_came_on_stdin_is_asked_for_again_in_the_cache(
    demo_series: Path,
    settings_for: Callable[..., Settings],
    progress: Progress,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = b"".join(path.read_bytes() for path in sorted(demo_series.glob("*.patch")))
    stdin(data, monkeypatch)
    (tmp_path / "run").mkdir()
    run = stages.Run(settings_for(series="-"), progress, tmp_path / "run")
    series = stages.load_series(run)
    assert digests(series) == digests(load_series(demo_series))
    words = run.record.replay.split()
    assert words[:3] == ["inv", "validate", "--series"]
    assert digests(bring_series(settings_for(series=words[3]), progress)) == digests(series)


def test_a_range_of_a_tree(bring: Callable[..., Series], wanted: list[str], tmp_path: Path) -> None:
    """A tree that is just big enough: the files of the patches with the lines that they want."""
    tree = tmp_path / "tree"
    tree.mkdir()
    git(tree, "init", "-q", "-b", "main")
    for name, text in preimages().items():
        write(tree, {name: text})
    base = commit(tree, {"Kconfig": ""}, "base")
    git(tree, "config", "format.subjectPrefix", "RFC")
    git(tree, "config", "diff.noprefix", "true")
    git(tree, "config", "format.signOff", "true")
    for patch in sorted(OURS.glob("*.patch")):
        git(tree, "am", "-q", "--keep-cr", str(patch))
    loaded = bring("main~5..main", tree=str(tree))
    assert digests(loaded) == wanted
    assert (loaded.base_commit, loaded.base_from) == (base, TRAILER)
    assert digests(bring("main~5..", tree=str(tree))) == wanted


def preimages() -> dict[str, str]:
    """Files to which the patches apply: each hunk's old lines at their place, and filler."""
    files: dict[str, dict[int, str]] = {}
    for patch in sorted(OURS.glob("*.patch")):
        name, old = "", 0
        for line in patch.read_text(encoding="utf-8").splitlines():
            if line.startswith("--- a/"):
                name = line[6:]
            elif line.startswith("@@ "):
                old = int(line.split()[1][1:].split(",")[0])
            elif line.startswith(("diff ", "-- ")) or not name:
                name = "" if not line.startswith("diff ") else name
            elif line.startswith((" ", "-")):
                files.setdefault(name, {}).setdefault(old, line[1:])
                old += 1
    return {
        name: "".join(
            f"{rows.get(number, f'filler {number}')}\n" for number in range(1, max(rows) + 20)
        )
        for name, rows in files.items()
    }


def test_a_message_id_and_again_with_the_archive_gone(
    bring: Callable[..., Series],
    wanted: list[str],
    archive: Callable[[list[bytes]], http.server.ThreadingHTTPServer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = tmp_path / "home"
    write(
        home,
        {
            ".gitconfig": (
                "[b4]\n\tmidmask = http://127.0.0.1:1/all/%s\n[liblore]\n\tfallback ="
                ' "http://127.0.0.1:1"\n'
            )
        },
    )
    monkeypatch.setenv("HOME", str(home))
    server = archive(mails())
    assert digests(bring(f"<{COVER}>")) == wanted
    server.shutdown()
    server.server_close()
    again = bring(COVER)
    assert digests(again) == wanted and again.base_commit == "a1" * 20
    assert sorted(path.name for path in home.iterdir()) == [".gitconfig"]
    with pytest.raises(StageError) as caught:
        bring("https://lore.kernel.org/all/20250912-deny-v2-1@example.org/T/#u")
    assert caught.value.stage == "series"
    assert all(
        word in caught.value.message
        for word in ("127.0.0.1", "20250912-deny-v2-1@example.org", "mbox")
    )


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.95, 0.999])
def test_a_thread_that_was_cut_is_no_series(
    part: float,
    bring: Callable[..., Series],
    wanted: list[str],
    archive: Callable[..., http.server.ThreadingHTTPServer],
) -> None:
    archive(mails(), part)
    with pytest.raises(StageError):
        bring(COVER)
    archive(mails())
    assert digests(bring(COVER)) == wanted


def test_a_thread_that_was_damaged_is_fetched_again(
    bring: Callable[..., Series],
    wanted: list[str],
    archive: Callable[..., http.server.ThreadingHTTPServer],
    workspace: Workspace,
    capsys: pytest.CaptureFixture[str],
) -> None:
    archive(mails())
    bring(COVER)
    mail = max(workspace.cache.glob("threads/*/*.eml"))
    put_zeros(mail)
    capsys.readouterr()
    assert digests(bring(COVER)) == wanted
    assert f"{mail.name} is not what was kept" in capsys.readouterr().err


def test_the_series_of_the_message_id_where_a_thread_has_two(
    bring: Callable[..., Series], archive: Callable[[list[bytes]], object], tmp_path: Path
) -> None:
    old = [
        row.replace(b"net v2", b"net").replace(b"-v2-", b"-v1-").replace(b"deny", b"allow", 1)
        for row in mails()
    ]
    rows = old + [
        row.replace(b"\n", b"\nIn-Reply-To: <20250912-deny-v1-0@example.org>\n", 1)
        for row in mails()[:1]
    ]
    rows += mails()[1:]
    archive(rows)
    assert bring(COVER).base_commit == "a1" * 20
    (tmp_path / "two.mbox").write_bytes(box(rows))
    with pytest.raises(StageError, match=r"2 series: v1 of 5 .*v2 of 5"):
        bring(str(tmp_path / "two.mbox"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: rows[:5] + rows[6:], "5 patches: 3 missing"),
        (
            lambda rows: [*rows, rows[5].replace(b"<2025", b"<other", 1)],
            "patch 3/5 is there twice: '[PATCH net v2 3/5]",
        ),
        (lambda rows: [row.replace(b" 5/5]", b" 6/5]") for row in rows], "there is no 6 of 5"),
        (lambda rows: rows[2::2], "none of the mails in it is a patch"),
        (
            lambda rows: [b"Subject: hello\n\nwords"],
            "none of the mails in it is a patch, the first is 'hello'",
        ),
        (lambda rows: [rows[1].replace(b"mptcp: set", b"=?utf-8?q?a=00b?=")], "a NUL byte"),
        (lambda rows: [], "there is no mail in it"),
    ],
)
def test_what_is_wrong_is_named(
    change: Callable[[list[bytes]], list[bytes]],
    said: str,
    bring: Callable[..., Series],
    tmp_path: Path,
) -> None:
    (tmp_path / "in.mbox").write_bytes(box(change(mails())))
    with pytest.raises(StageError) as caught:
        bring(str(tmp_path / "in.mbox"))
    assert said in caught.value.message and caught.value.stage == "series"


def test_a_mail_sent_to_two_lists_counts_once(
    bring: Callable[..., Series], wanted: list[str], tmp_path: Path
) -> None:
    rows = mails()
    (tmp_path / "in.mbox").write_bytes(box([*rows, b"Received: from elsewhere\n" + rows[3]]))
    assert digests(bring(str(tmp_path / "in.mbox"))) == wanted


def test_the_patch_behind_the_scissors(
    bring: Callable[..., Series], demo_series: Path, tmp_path: Path
) -> None:
    first = load_series(demo_series).patches[0]
    _, _, rest = first.path.read_text(encoding="utf-8").partition("\n\n")
    mail = (
        "From: Bob <b@example.org>\nSubject: [PATCH] as we said\n\nHi,\n\n-- >8 --\nSubject:"
        f" {first.title}\n\n{rest}"
    )
    (tmp_path / "in.mbox").write_text(mail, encoding="utf-8")
    (loaded,) = bring(str(tmp_path / "in.mbox")).patches
    assert loaded.digest == first.digest
    framed = mail.replace("-- >8 --\nSubject: ", "---- 8< ----\n")
    (tmp_path / "in.mbox").write_text(framed, encoding="utf-8")
    assert "8<" in bring(str(tmp_path / "in.mbox")).patches[0].body


def test_hostile_titles_and_bytes_stay_in_the_folder(
    bring: Callable[..., Series],
    demo_series: Path,
    tmp_path: Path,
    settings_for: Callable[..., Settings],
) -> None:
    raw = (
        sorted(demo_series.glob("*.patch"))[0]
        .read_bytes()
        .replace(b"It was zero.", b"caf\xe9 \x80")
    )
    head, _, rest = raw.partition(b"\nSubject: ")
    title = b"[PATCH =?utf-8?q?1/1=5D_=2E=2E/=2E=2E/etc/x=0ASubject=3A_y?= \xff../../" + b"z" * 5000
    (tmp_path / "in.mbox").write_bytes(
        head + b"\nSubject: " + title + b"\n" + rest.partition(b"\n")[2]
    )
    loaded = bring(str(tmp_path / "in.mbox"))
    cache = settings_for().workspace.cache
    assert [path for path in cache.rglob("*") if path.is_file()] == []
    assert "\n" not in loaded.patches[0].title and len(loaded.name) <= 52 and "/" not in loaded.name


def test_mail_without_end(
    bring: Callable[..., Series], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "MAX_BYTES", 1000)
    (tmp_path / "in.mbox").write_bytes(box(mails()))
    with pytest.raises(StageError, match=r"in.mbox: more than 0 MB"):
        bring(str(tmp_path / "in.mbox"))


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("no/such/folder", "no such folder or file"),
        ("../nowhere", "no such folder or file"),
        ("--output=x@y", "no such folder or file"),
        ("a b@c.d", "no such folder or file"),
        ("http://127.0.0.1/all/a%0Ab@c.d/", "no such folder or file"),
        ("main..with-series", "name it by --tree"),
        ("main...with-series", "give A..B"),
    ],
)
def test_what_is_no_series_is_told(spec: str, said: str, bring: Callable[..., Series]) -> None:
    with pytest.raises(StageError) as caught:
        bring(spec)
    assert said in caught.value.message and spec in caught.value.message


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("main..nowhere", "nowhere is no commit"),
        ("main..main", "no commit in the range"),
        ("main..merged", "holds merges"),
    ],
)
def test_a_range_that_is_no_series(
    spec: str, said: str, bring: Callable[..., Series], demo_series: Path, kernel_tree: Path
) -> None:
    git(kernel_tree, "checkout", "-q", "-b", "merged")
    git(kernel_tree, "merge", "-q", "--no-ff", "-m", "a merge", "with-series")
    with pytest.raises(StageError) as caught:
        bring(spec, tree=str(kernel_tree))
    assert said in caught.value.message


def test_a_tree_is_taken_at_the_trailers_commit(
    bring: Callable[..., Series],
    settings_for: Callable[..., Settings],
    kernel_tree: Path,
    demo_series: Path,
    progress: Progress,
    capfd: pytest.CaptureFixture[str],
) -> None:
    head = git(kernel_tree, "rev-parse", "main")
    git(kernel_tree, "checkout", "-q", "with-series")
    settings = settings_for(tree=str(kernel_tree), series="main..with-series")
    loaded = bring_series(settings, progress)
    assert digests(loaded) == digests(load_series(demo_series))
    found = fetch_source(settings, loaded, progress)
    assert found.commit == head and "trailer" in found.why and found.git.has(head)
    first = sorted(demo_series.glob("*.patch"))[0]
    write(
        demo_series,
        {first.name: first.read_text(encoding="utf-8") + f"\nbase-commit: {'1' * 40}\n"},
    )
    found = fetch_source(settings, load_series(demo_series), progress)
    assert found.commit == git(kernel_tree, "rev-parse", "HEAD") and found.why == "--tree"
    said = capfd.readouterr().err
    assert f"base-commit {'1' * 40} of the trailer: not in --tree" in said and "taking HEAD" in said
    write(demo_series, {"series.toml": f'base_commit = "{head}"\n'})
    assert load_series(demo_series).base_from == ""


def test_words_that_ask_for_the_same_again(
    settings_for: Callable[..., Settings], tmp_path: Path
) -> None:
    assert settings_for(series="v6.12..a b").command("apply") == "inv apply --series 'v6.12..a b'"
    assert settings_for(series=f"<{COVER}>").command("apply") == f"inv apply --series '<{COVER}>'"
    (tmp_path / "in.mbox").touch()
    assert "in.mbox" in settings_for(series=str(tmp_path / "in.mbox")).command("apply")
    assert settings_for().command("apply") == "inv apply"


def test_the_git_of_the_range_is_only_read(
    bring: Callable[..., Series], demo_series: Path, kernel_tree: Path
) -> None:
    before = fingerprint(kernel_tree)
    bring("main..with-series", tree=str(kernel_tree))
    assert fingerprint(kernel_tree) == before
