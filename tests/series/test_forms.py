# SPDX-License-Identifier: GPL-2.0-only
"""Every form in which patches come gives the tree that git made, or an error that says what it is.
All by real git."""

import base64
import gzip
import os
import quopri
import re
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from ci.base.errors import PatchError, StageError
from ci.base.progress import Progress
from ci.base.settings import Settings
from ci.series import content
from ci.series.locate import bring_series
from ci.series.patches import Series
from ci.trees.fetch import fetch_source
from ci.trees.tree import Trees, derive_trees
from tests.conftest import DEMO_C, commit, git, write

FROM_LINE = b"From mboxrd@z Thu Jan  1 00:00:00 1970\n"


@pytest.fixture
def bring(
    settings_for: Callable[..., Settings], progress: Progress, kernel_tree: Path
) -> Callable[..., Series]:
    """The series in a path or range, for the demo tree."""

    def brought(spec: Path | str, **options: str) -> Series:
        return bring_series(
            settings_for(series=str(spec), tree=str(kernel_tree), **options), progress
        )

    return brought


@pytest.fixture
def trees(
    settings_for: Callable[..., Settings], progress: Progress, kernel_tree: Path
) -> Callable[[Series], Trees]:
    def made(loaded: Series) -> Trees:
        found = fetch_source(settings_for(tree=str(kernel_tree)), loaded, progress)
        return derive_trees(loaded, found, frozenset())

    return made


def tree_of(kernel_tree: Path, name: str) -> str:
    return git(kernel_tree, "rev-parse", f"{name}^{{tree}}")


def sent(
    number: int,
    total: int,
    patch: bytes,
    identity: str = "m",
    tags: str = "PATCH",
    answers: str = "",
) -> bytes:
    """The patch as a mail of a series: without git's From line, with what a mailer adds."""
    head, _, rest = patch.partition(b"\n\n")
    rows = [row for row in head.split(b"\n")[1:] if not row.startswith(b"Subject: ")]
    title = re.sub(r"^\[[^]]*\] ", "", re.search(rb"^Subject: (.*)$", head, re.M)[1].decode())  # type: ignore[index]
    more = [f"In-Reply-To: <{answers}@example.org>".encode()] if answers else []
    subject = f"Subject: [{tags} {number}/{total}] {title}".encode()
    return b"\n".join(
        [f"Message-ID: <{identity}{number}@example.org>".encode(), *rows, *more, subject, b"", rest]
    )


def encoded(mail: bytes, how: str) -> bytes:
    head, _, body = mail.partition(b"\n\n")
    packed = base64.encodebytes(body) if how == "base64" else quopri.encodestring(body)
    kind = (
        b"\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: "
        + how.encode()
    )
    return head + kind + b"\n\n" + packed


def quilt(patch: bytes) -> bytes:
    """As quilt writes it: no ``diff --git`` and ``index`` lines, another first folder."""
    text = re.sub(rb"^(?:diff --git|index) .*\n", b"", patch, flags=re.M)
    return text.replace(b"--- a/", b"--- linux-6.12.orig/").replace(b"+++ b/", b"+++ linux-6.12/")


def crlf(data: bytes) -> bytes:
    return data.replace(b"\n", b"\r\n")


def put(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


Form = Callable[[Path, bytes, bytes], Path]
FORMS: dict[str, Form] = {
    "odd names": lambda f, a, b: put(f, {"720-x.patch": a, "721-y.patch": b}),
    "no numbers, order by subject": lambda f, a, b: put(f, {"z.patch": a, "a.patch": b}),
    "v2.1": lambda f, a, b: put(f, {"v2.1-0001-x.patch": a, "v2.1-0002-y.patch": b}),
    "gzip": lambda f, a, b: put(f, {"0001-x.patch.gz": gzip.compress(a), "0002-y.diff": b}),
    "quilt": lambda f, a, b: put(
        f,
        {
            "series": b"# ours\nz.patch\nsub/a.patch -p1 # last\n",
            "z.patch": quilt(a),
            "sub/a.patch": quilt(b),
        },
    ),
    "crlf": lambda f, a, b: put(f, {"0001-x.patch": crlf(a), "0002-y.patch": crlf(b)}),
    "utf-16": lambda f, a, b: put(
        f, {"0001-x.patch": a.decode().encode("utf-16"), "0002-y.patch": b}
    ),
    "encoded": lambda f, a, b: put(
        f, {"0001-x.patch": encoded(a, "quoted-printable"), "0002-y.patch": encoded(b, "base64")}
    ),
    "encoded crlf": lambda f, a, b: put(
        f,
        {
            "0001-x.patch": encoded(crlf(a).replace(b"\r\n\r\n", b"\n\n", 1), "base64"),
            "0002-y.patch": b,
        },
    ),
    "eml": lambda f, a, b: put(f, {"b.eml": sent(1, 2, a), "a.eml": sent(2, 2, b)}),
    "maildir": lambda f, a, b: put(
        f, {"new/1": sent(2, 2, b), "cur/2:2,S": sent(1, 2, a), "tmp/3": b"half"}
    ),
    "one after another": lambda f, a, b: put(f, {"x.mbox": a + b}) / "x.mbox",
    "mails without From lines": lambda f, a, b: (
        put(f, {"x": sent(1, 2, a) + b"\n" + sent(2, 2, b)}) / "x"
    ),
    "base64 without From lines": lambda f, a, b: (
        put(f, {"x": encoded(sent(1, 2, a), "base64") + b"\n" + encoded(sent(2, 2, b), "base64")})
        / "x"
    ),
    "no numbers": lambda f, a, b: (
        put(f, {"x": a.replace(b"[PATCH 1/2]", b"[PATCH]") + b.replace(b"[PATCH 2/2]", b"[PATCH]")})
        / "x"
    ),
    "hg's numbers": lambda f, a, b: (
        put(
            f,
            {
                "x.mbox": (
                    FROM_LINE
                    + sent(1, 2, a).replace(b"1/2", b"1 of 2")
                    + b"\n"
                    + FROM_LINE
                    + sent(2, 2, b).replace(b"2/2", b"2 of 2")
                )
            },
        )
        / "x.mbox"
    ),
    "mbox.gz": lambda f, a, b: (
        put(
            f,
            {
                "x.mbox.gz": gzip.compress(
                    FROM_LINE + sent(2, 2, b) + b"\n" + FROM_LINE + sent(1, 2, a)
                )
            },
        )
        / "x.mbox.gz"
    ),
    "byte order mark": lambda f, a, b: put(f, {"x.mbox": b"\xef\xbb\xbf" + a + b}) / "x.mbox",
    "strange charset": lambda f, a, b: put(
        f, {"0001-x.patch": encoded(a, "base64").replace(b"utf-8", b"x-none"), "0002-y.patch": b}
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_the_same_tree_from_every_form(
    form: str,
    demo_series: Path,
    kernel_tree: Path,
    bring: Callable[..., Series],
    trees: Callable[[Series], Trees],
    tmp_path: Path,
) -> None:
    first, second = (path.read_bytes() for path in sorted(demo_series.glob("*.patch")))
    loaded = bring(FORMS[form](tmp_path / "given", first, second))
    assert [patch.title for patch in loaded.patches] == [
        "demo: start line 10 at one",
        "demo: start more lines elsewhere",
    ]
    assert loaded.patches[0].body == "It was zero."
    made = trees(loaded)
    assert [state.words for state in made.states] == ["applies", "applies"]
    assert made.patched.tree_id == tree_of(kernel_tree, "with-series")
    assert str(tmp_path / "given") in loaded.patches[0].where


def test_a_patch_id_is_the_same_in_quilts_form(
    demo_series: Path, bring: Callable[..., Series], tmp_path: Path
) -> None:
    raw = sorted(demo_series.glob("*.patch"))[0].read_bytes()
    (git_form,) = bring(put(tmp_path / "git", {"a.patch": raw})).patches
    (quilt_form,) = bring(put(tmp_path / "quilt", {"a.patch": quilt(raw)})).patches
    assert git_form.patch_id == quilt_form.patch_id and git_form.digest == quilt_form.digest


PLAIN_TITLES = {
    "Description: start it at one\nAuthor: Ada <ada@example.org>\n---\n": "start it at one",
    "Start it at one\n\nIt was zero.\n\n": "Start it at one",
    "# HG changeset patch\n# User Ada\nstart it\n\n": "start it",
    "": "line-10",
    "Index: linux/net/demo.c\n===================\n": "line-10",
    f"commit {'a1' * 20}\nAuthor: Ada <a@b.c>\nDate:   now\n\n    start it at one\n\n": (
        "start it at one"
    ),
}


@pytest.mark.parametrize("head", PLAIN_TITLES)
def test_a_diff_without_headers(
    head: str,
    kernel_tree: Path,
    demo_series: Path,
    bring: Callable[..., Series],
    trees: Callable[[Series], Trees],
    tmp_path: Path,
) -> None:
    diff = git(kernel_tree, "diff", "main", "with-series~1") + "\n"
    write(tmp_path, {"line-10.diff": head + diff})
    loaded = bring(tmp_path / "line-10.diff")
    assert [patch.title for patch in loaded.patches] == [PLAIN_TITLES[head]]
    assert trees(loaded).patched.tree_id == tree_of(kernel_tree, "with-series~1")


MESSAGES = {
    "a hunk header": (
        "It broke with\n\n@@ -7,7 +7,7 @@ int line6;\n-int line10 = 1;\n+int line10;\n"
    ),
    "a diff": (
        "Found by\n\ndiff --git a/net/other.c b/net/other.c\n--- a/net/other.c\n+++ b/net/other.c\n"
        "@@ -1 +1,2 @@\n int other;\n+int more;\n"
    ),
    "a diff that is cut": (
        "Found by\n\n--- a/net/other.c\n+++ b/net/other.c\n@@ -1,9 +1,9 @@\n int other;\n-int"
        " more;\n"
    ),
    "a diffstat": "It is\n\n 1 file changed, 2 insertions(+)\n",
    "a rule": "Above\n----\nbelow\n",
}


@pytest.mark.parametrize("what", MESSAGES)
@pytest.mark.parametrize("way", ["range", "folder", "mbox"])
def test_what_a_message_quotes_changes_nothing(
    what: str,
    way: str,
    kernel_tree: Path,
    bring: Callable[..., Series],
    trees: Callable[[Series], Trees],
    tmp_path: Path,
) -> None:
    git(kernel_tree, "checkout", "-q", "-b", "quoting")
    commit(
        kernel_tree,
        {"net/demo.c": DEMO_C.replace("int line10;", "int line10 = 1;")},
        f"demo: x\n\n{MESSAGES[what]}",
    )
    git(kernel_tree, "format-patch", "-q", "-o", str(tmp_path / "given"), "main..quoting")
    git(kernel_tree, "checkout", "-q", "main")
    (path,) = (tmp_path / "given").iterdir()
    loaded = bring({"range": "main..quoting", "folder": path.parent, "mbox": path}[way])
    assert trees(loaded).patched.tree_id == tree_of(kernel_tree, "quoting")
    assert MESSAGES[what].split("\n")[0] in loaded.patches[0].body
    quoting = what in ("a diff", "a diff that is cut")
    assert [("quotes a diff of net/other.c" in note) for note in loaded.notes] == [True] * quoting


def test_a_range_whose_patches_do_not_lead_to_its_tree(
    kernel_tree: Path, bring: Callable[..., Series]
) -> None:
    """The message ends before its own diff: format-patch's separator stands in it."""
    git(kernel_tree, "checkout", "-q", "-b", "lying")
    lie = "demo: x\n\n---\n" + MESSAGES["a diff"].partition("\n\n")[2]
    commit(kernel_tree, {"net/demo.c": DEMO_C.replace("int line10;", "int line10 = 1;")}, lie)
    git(kernel_tree, "checkout", "-q", "main")
    with pytest.raises(StageError, match="its patches do not lead to its tree"):
        bring("main..lying")


@pytest.mark.parametrize("crs", ["kept", "everywhere", "base64"])
def test_a_file_with_crlf(
    crs: str,
    kernel_tree: Path,
    bring: Callable[..., Series],
    trees: Callable[[Series], Trees],
    tmp_path: Path,
) -> None:
    (kernel_tree / "dos.txt").write_bytes(b"a\r\nb\r\nc\r\n")
    git(kernel_tree, "add", "-A")
    git(kernel_tree, "commit", "-qm", "add dos")
    git(kernel_tree, "checkout", "-q", "-b", "fix")
    (kernel_tree / "dos.txt").write_bytes(b"a\r\nB\r\nc\r\n")
    git(kernel_tree, "commit", "-qam", "fix dos")
    git(kernel_tree, "format-patch", "-q", "-o", str(tmp_path / "given"), "main..fix")
    git(kernel_tree, "checkout", "-q", "main")
    (path,) = (tmp_path / "given").iterdir()
    raw = path.read_bytes()
    assert b"+B\r\n" in raw
    dressed = crlf(raw.replace(b"\r\n", b"\n"))
    path.write_bytes({"kept": raw, "everywhere": dressed, "base64": encoded(raw, "base64")}[crs])
    for given in (path, path.parent):
        assert trees(bring(given)).patched.tree_id == tree_of(kernel_tree, "fix")


def mangle(*pairs: tuple[str, str]) -> Callable[[bytes], bytes]:
    def changed(raw: bytes) -> bytes:
        text = raw.decode()
        for old, new in pairs:
            assert old in text
            text = text.replace(old, new)
        return text.encode()

    return changed


REFUSED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "combined": (
        mangle(("diff --git a/net/demo.c b/net/demo.c", "diff --cc net/demo.c")),
        "combined diff of a merge",
    ),
    "no prefix": (mangle((" a/net", " net"), (" b/net", " net")), "no prefix"),
    "wrapped": (
        mangle((" int line11;\n", f" int line11; {'x' * 70}\nand more\n")),
        "was wrapped, by a mailer",
    ),
    "blanks lost": (mangle((" int line11;\n", "int line11;\n")), "white space was mangled"),
    "edited": (mangle((" int line11;\n", "")), "other line counts than it says"),
    "binary": (
        lambda raw: (
            raw.partition(b"--- a/net")[0] + b"Binary files a/net/demo.c and b/net/demo.c differ\n"
        ),
        "what is binary is not in it",
    ),
    "no diff": (lambda raw: raw.partition(b"diff --git")[0], "none of the mails in it is a patch"),
    "an answer": (
        mangle(("Subject: [PATCH", "Subject: Re: [PATCH")),
        "none of the mails in it is a patch",
    ),
    "damaged gzip": (lambda raw: gzip.compress(raw)[:-20], "damaged gzip"),
    "several commits": (
        lambda raw: (
            (b := raw[raw.index(b"diff --git") :])
            + b"\ncommit "
            + b"a1" * 20
            + b"\n\n    x\n\n"
            + b
        ),
        "several commits",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_read_is_told_with_the_file(
    what: str, demo_series: Path, bring: Callable[..., Series], tmp_path: Path
) -> None:
    change, said = REFUSED[what]
    given = put(
        tmp_path / "given",
        {"one.mbox": change(sorted(demo_series.glob("*.patch"))[0].read_bytes())},
    )
    damaged = what in ("wrapped", "blanks lost", "edited")
    with pytest.raises(PatchError if damaged else StageError) as caught:
        bring(given / "one.mbox")
    assert said in caught.value.message and f"{given}/one.mbox" in caught.value.message


def test_the_line_that_is_wrong_is_named(
    demo_series: Path, bring: Callable[..., Series], tmp_path: Path
) -> None:
    raw = (
        sorted(demo_series.glob("*.patch"))[0]
        .read_text(encoding="utf-8")
        .replace(" int line11;\n", "int line11;\n")
    )
    write(tmp_path, {"a.patch": raw})
    number = raw.split("\n").index("int line11;") + 1
    with pytest.raises(PatchError, match=f"a.patch: line {number}: the line 'int line11;'"):
        bring(tmp_path / "a.patch")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (("0001-a.patch", "0003-b.patch"), "2 missing of 3 patches"),
        (("v1-0001-a.patch", "v2-0001-b.patch"), "number 1 is taken by v1-0001-a.patch"),
        (("0000-a.patch",), "a cover letter and no patch"),
    ],
)
def test_a_folder_with_gaps_or_twice_the_same(
    files: tuple[str, ...],
    said: str,
    demo_series: Path,
    bring: Callable[..., Series],
    tmp_path: Path,
) -> None:
    raws = [path.read_bytes() for path in sorted(demo_series.glob("*.patch"))]
    given = put(tmp_path / "given", dict(zip(files, raws, strict=False)))
    with pytest.raises(StageError) as caught:
        bring(given)
    assert said in caught.value.message and str(given) in caught.value.message


def test_numbers_with_room_between_are_an_order(
    demo_series: Path, bring: Callable[..., Series], tmp_path: Path
) -> None:
    raws = [path.read_bytes() for path in sorted(demo_series.glob("*.patch"))]
    raws = [re.sub(rb"\[PATCH ./2\]", b"[PATCH]", raw) for raw in raws]
    loaded = bring(put(tmp_path / "given", {"0037-a.patch": raws[0], "0140-b.patch": raws[1]}))
    assert [patch.number for patch in loaded.patches] == [
        1,
        2,
    ] and "order of their names" in loaded.notes[0]


def test_numbers_that_are_no_order_of_names(
    demo_series: Path, bring: Callable[..., Series], tmp_path: Path
) -> None:
    raw = re.sub(rb"\[PATCH ./2\]", b"[PATCH]", sorted(demo_series.glob("*.patch"))[0].read_bytes())
    given = put(tmp_path / "given", {"2-a.patch": raw, "10-b.patch": raw})
    with pytest.raises(StageError, match="another order than their numbers"):
        bring(given)
    put(given, {"series": b"2-a.patch\n10-b.patch\n"})
    assert [patch.path.name for patch in bring(given).patches] == ["2-a.patch", "10-b.patch"]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("gone.patch", "line 2: there is no file gone.patch"),
        ("../0001-x.patch", "line 2: there is no file ../0001-x.patch"),
        ("/etc/passwd", "line 2: there is no file /etc/passwd"),
        ("a.patch -p0", "line 2: -p0"),
        ("# nothing", "it lists no patch"),
    ],
)
def test_a_wrong_row_of_a_quilt_series(
    row: str, said: str, bring: Callable[..., Series], tmp_path: Path
) -> None:
    given = put(tmp_path / "given", {"series": f"# ours\n{row}\n".encode(), "a.patch": b"x"})
    with pytest.raises(StageError) as caught:
        bring(given)
    assert said in caught.value.message and f"{given}/series" in caught.value.message


def test_one_mail_of_a_long_series(
    demo_series: Path, bring: Callable[..., Series], tmp_path: Path
) -> None:
    raw = sorted(demo_series.glob("*.patch"))[0].read_bytes()
    given = put(tmp_path, {"one.eml": sent(9, 17, raw, tags="PATCH AUTOSEL 6.6")}) / "one.eml"
    loaded = bring(given)
    assert [patch.number for patch in loaded.patches] == [9]
    assert loaded.notes == (f"{given}: patch 9 of 17 alone; the rest of its series is not there",)


def thread(demo_series: Path) -> list[bytes]:
    """Cover letter and two patches, then the same again as a resend below them."""
    raws = [path.read_bytes() for path in sorted(demo_series.glob("*.patch"))]
    cover = (
        b"Message-ID: <m0@example.org>\nFrom: Ada <ada@example.org>\nSubject: [PATCH 0/2]"
        b" cover\n\nWords.\n"
    )
    rows = [cover, *(sent(n, 2, raw, answers="m0") for n, raw in enumerate(raws, 1))]
    again = (
        cover.replace(b"<m0", b"<r0")
        .replace(b"[PATCH ", b"[PATCH [RESEND] ")
        .replace(b"\n", b"\nIn-Reply-To: <m0@example.org>\n", 1)
    )
    rows.append(again)
    for number, raw in enumerate(raws, 1):
        later = raw.replace(b"Date: Sun, 13 Sep 2020", b"Date: Mon, 14 Sep 2020").replace(
            b"It was zero.", b"It was none."
        )
        rows.append(sent(number, 2, later, "r", "PATCH [RESEND]", "r0"))
    return rows


def box(rows: list[bytes]) -> bytes:
    return b"".join(FROM_LINE + row + b"\n" for row in rows)


def test_a_resend_in_the_thread_of_the_original(
    demo_series: Path, bring: Callable[..., Series], tmp_path: Path
) -> None:
    given = put(tmp_path, {"t.mbox": box(thread(demo_series))}) / "t.mbox"
    newest = bring(given)
    assert (
        newest.patches[0].body == "It was none."
        and newest.patches[0].message_id == "r1@example.org"
    )
    assert (
        "sent 2 times: the newest complete one is taken, '[PATCH [RESEND] 0/2] cover'"
        " <r0@example.org>" in newest.notes[0]
    )
    assert bring(given, only="m0@example.org").patches[0].body == "It was zero."
    assert bring(given, only="<m2@example.org>").patches[0].body == "It was zero."
    with pytest.raises(StageError, match="no mail in it has the message-id"):
        bring(given, only="x@example.org")
    half = put(tmp_path, {"h.mbox": box(thread(demo_series)[:-1])}) / "h.mbox"
    assert bring(half).patches[0].body == "It was zero."


def test_some_of_a_thread(demo_series: Path, bring: Callable[..., Series], tmp_path: Path) -> None:
    rows = thread(demo_series)[:3]
    given = put(tmp_path, {"t.mbox": box(rows), "lacks.mbox": box([rows[0], rows[2]])})
    loaded = bring(given / "t.mbox", only="2")
    assert [patch.title for patch in loaded.patches] == ["demo: start more lines elsewhere"]
    assert loaded.patches[0].number == 2
    assert [patch.number for patch in bring(given / "lacks.mbox", only="2").patches] == [2]
    with pytest.raises(
        StageError, match="1 missing or without a diff; --only 2 takes the one that is there"
    ):
        bring(given / "lacks.mbox")
    with pytest.raises(StageError, match="3 missing"):
        bring(given / "t.mbox", only="3")
    with pytest.raises(StageError, match="has no patch 3"):
        bring(demo_series, only="2-3")


def test_two_series_in_a_box_are_both_named(
    demo_series: Path, bring: Callable[..., Series], tmp_path: Path
) -> None:
    rows = thread(demo_series)[:3]
    reroll = rows[2].replace(b"[PATCH 2/2]", b"[PATCH v2 2/2]").replace(b"<m2", b"<n2")
    given = put(tmp_path, {"t.mbox": box([*rows[1:], reroll])}) / "t.mbox"
    with pytest.raises(StageError, match=r"2 series: v1 of 2 \(.*\), v2 of 2 \(.*1 missing\)"):
        bring(given)


@pytest.mark.parametrize("name", ["pipe", "0001-x.patch"])
def test_a_pipe_on_which_nothing_comes(
    name: str, bring: Callable[..., Series], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "PIPE_S", 0.2)
    (given := tmp_path / "given").mkdir()
    os.mkfifo(given / name)
    with pytest.raises(StageError, match=r"nothing came for|neither a file nor a folder"):
        bring(given / name if name == "pipe" else given)


def test_a_pipe_that_somebody_writes_to(
    demo_series: Path, bring: Callable[..., Series], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    raw = sorted(demo_series.glob("*.patch"))[0].read_bytes()
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(raw,))
    writer.start()
    assert bring(tmp_path / "pipe").patches[0].title == "demo: start line 10 at one"
    writer.join()


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/proc/self/mem"])
def test_a_device(path: str, bring: Callable[..., Series]) -> None:
    with pytest.raises(StageError, match=path):
        bring(path)


def unnumbered(demo_series: Path) -> list[bytes]:
    return [
        re.sub(rb"\[PATCH ./2\]", b"[PATCH]", path.read_bytes())
        for path in sorted(demo_series.glob("*.patch"))
    ]


LOST: dict[str, Callable[[bytes, bytes], dict[str, bytes]]] = {
    "numbers from 0": lambda a, b: {"0000-a.patch": a, "0001-b.patch": b},
    "a line break in a name": lambda a, b: {"1-a.patch": a, "2-b\nx.patch": b},
    "capitals in a name": lambda a, b: {"1-a.patch": a, "2-b.PATCH": b},
    "# in a name": lambda a, b: {
        "series": b"\xef\xbb\xbfa#1.patch # first\nb.patch #last\n",
        "a#1.patch": a,
        "b.patch": b,
    },
    "blank lines first": lambda a, b: {
        "1.eml": b"\n\n" + sent(1, 2, a),
        "2.eml": b"\n" + sent(2, 2, b),
    },
    "subjects on the next line": lambda a, b: {
        "1.eml": sent(1, 2, a).replace(b"Subject: ", b"Subject:\n "),
        "2.eml": sent(2, 2, b).replace(b"Subject: ", b"Subject: \n\t"),
    },
}


@pytest.mark.parametrize("what", LOST)
def test_no_patch_of_a_folder_is_lost(
    what: str,
    demo_series: Path,
    kernel_tree: Path,
    bring: Callable[..., Series],
    trees: Callable[[Series], Trees],
    tmp_path: Path,
) -> None:
    loaded = bring(put(tmp_path / "given", LOST[what](*unnumbered(demo_series))))
    assert [(patch.number, patch.title[:12]) for patch in loaded.patches] == [
        (1, "demo: start "),
        (2, "demo: start "),
    ]
    assert trees(loaded).patched.tree_id == tree_of(kernel_tree, "with-series")


@pytest.mark.parametrize(
    "between", ["---\n", " 1 file changed, 1 insertion(+), 1 deletion(-)\n", "abc1234 title\n---\n"]
)
def test_every_diff_of_what_is_no_mail_counts(
    between: str,
    kernel_tree: Path,
    demo_series: Path,
    bring: Callable[..., Series],
    trees: Callable[[Series], Trees],
    tmp_path: Path,
) -> None:
    first, second = (
        git(kernel_tree, "diff", f"{start}", f"{end}") + "\n"
        for start, end in (("main", "with-series~1"), ("with-series~1", "with-series"))
    )
    write(tmp_path, {"a.patch": f"abc1233 title\n{first}{between}{second}"})
    assert trees(bring(tmp_path / "a.patch")).patched.tree_id == tree_of(kernel_tree, "with-series")


def test_a_commit_id_in_a_footer_is_no_second_commit(
    demo_series: Path, bring: Callable[..., Series], tmp_path: Path
) -> None:
    raw = (
        sorted(demo_series.glob("*.patch"))[0].read_bytes() + b"_____\ncommit " + b"a1" * 20 + b"\n"
    )
    assert len(bring(put(tmp_path, {"a.patch": raw}) / "a.patch").patches) == 1


def test_a_subject_says_no_other_subject(
    demo_series: Path, bring: Callable[..., Series], tmp_path: Path
) -> None:
    raw = (
        sorted(demo_series.glob("*.patch"))[0]
        .read_bytes()
        .replace(b" at one", b"\x0cSubject: other")
    )
    with pytest.raises(PatchError, match=r"in the title 'demo: start line 10.x0cSubject: other'"):
        bring(put(tmp_path, {"a.patch": raw}) / "a.patch")


def test_two_series_of_one_length_are_no_resend(
    demo_series: Path, bring: Callable[..., Series], tmp_path: Path
) -> None:
    rows = thread(demo_series)
    others = [
        row.replace(b"[RESEND] ", b"").replace(b"demo: start", b"demo: end") for row in rows[3:]
    ]
    given = put(tmp_path, {"t.mbox": box([*rows[:3], *others])}) / "t.mbox"
    with pytest.raises(
        StageError, match=r"there are 2 series: v1 of 2 .*, v1 of 2 .*; give one alone"
    ):
        bring(given)


def test_a_patch_mail_without_its_diff_is_not_passed_over(
    demo_series: Path, bring: Callable[..., Series], tmp_path: Path
) -> None:
    first, second = unnumbered(demo_series)
    given = (
        put(tmp_path, {"t.mbox": box([first, second.partition(b"diff --git")[0], first])})
        / "t.mbox"
    )
    with pytest.raises(
        StageError, match=r"'.PATCH. demo: start more lines elsewhere' is no answer and has no diff"
    ):
        bring(given)


def test_a_box_of_from_lines_alone_is_refused_at_once(
    bring: Callable[..., Series], tmp_path: Path
) -> None:
    given = put(tmp_path, {"t.mbox": FROM_LINE * 300_000}) / "t.mbox"
    with pytest.raises(StageError, match="300000 mails are more than one series"):
        bring(given)
