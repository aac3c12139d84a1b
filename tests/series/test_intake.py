# SPDX-License-Identifier: GPL-2.0-only
"""ci.series.intake: hostile patches, made by git itself where it lets one, are refused by the name
of the patch and of the rule; honest ones that look like them are not."""

import base64
import gzip
import hashlib
import io
import os
import re
import tarfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import pytest

from ci.base import exits, processes
from ci.base.errors import PatchError, StageError
from ci.base.exit_codes import ExitCode
from ci.base.git import Git
from ci.base.settings import Settings
from ci.commands import validate
from ci.series import intake
from ci.series.patches import Series, load_series
from ci.trees import fetch, tree
from ci.trees.tree import Trees
from tests.conftest import DEMO_C, git, write

HEAD = "From: Ada <ada@example.org>\nSubject: [PATCH] demo: a change\n\nIt was so.\n---\n"
LITERAL = "literal 0\nHcmV?d00001\n\n"


def mail(change: str, subject: str = "demo: a change") -> str:
    return HEAD.replace("demo: a change", subject) + change + "-- \n2.39\n"


def new_file(name: str, mode: str = "100644", text: str = "int x;") -> str:
    """A patch that creates a file of one line, which has no newline where it is a link's target."""
    end = "\n\\ No newline at end of file\n" if mode == "120000" else "\n"
    return (
        f"diff --git a/{name} b/{name}\nnew file mode {mode}\nindex 000000000000..{'1' * 12}\n"
        f"--- /dev/null\n+++ b/{name}\n@@ -0,0 +1 @@\n+{text}{end}"
    )


def submodule(name: str) -> str:
    return new_file(name, "160000", f"Subproject commit {'1' * 40}")


def binary(part: str) -> str:
    blob = hashlib.sha1(b"blob 5\0hello").hexdigest()
    head = f"diff --git a/logo.png b/logo.png\nnew file mode 100644\nindex {'0' * 40}..{blob}\n"
    return f"{head}GIT binary patch\n{part}\n{LITERAL}"


def packed(data: bytes) -> str:
    """Base 85 as in a binary patch, in lines of up to 52 bytes behind a letter for their length."""
    raw, rows = zlib.compress(data), []
    for at in range(0, len(raw), 52):
        row = raw[at : at + 52]
        letter = chr(64 + len(row)) if len(row) <= 26 else chr(70 + len(row))
        rows.append(letter + base64.b85encode(row + bytes(-len(row) % 4)).decode())
    return "\n".join(rows) + "\n"


# A delta for 0 bytes that says its result has 2**35 of them.
BOMB = b"\0" + b"\x80\x80\x80\x80\x80\x01"
# name -> (change, words of the rule, whether git itself refuses it)
HOSTILE = {
    "out": (new_file("../outside.c"), "out of the tree", True),
    "out in the middle": (new_file("net/../../outside.c"), "out of the tree", True),
    "absolute": (new_file("/etc/cron.d/x"), "out of the tree", True),
    "git's hooks": (new_file(".git/hooks/post-checkout", "100755"), "git's own", True),
    "below": (new_file("net/.git/config"), "git's own", True),
    "in capitals": (new_file(".GiT/config"), "git's own", True),
    "with a blank": (new_file(".git /config"), "git's own", True),
    "with a dot": (new_file(".git./config"), "git's own", True),
    "as a stream": (new_file(".git::$INDEX_ALLOCATION/config"), "git's own", True),
    "short": (new_file("GIT~1/config"), "git's own", True),
    "in HFS": (new_file(".g\u200cit/config"), "invisible character", True),
    "attributes": (new_file("net/.gitattributes", text="*.c ident"), "git's own", False),
    "attributes in capitals": (new_file(".GitAttributes"), "git's own", False),
    "short attributes": (new_file("GITATT~1"), "git's own", False),
    "modules": (new_file(".gitmodules"), "git's own", False),
    "mail map of git": (new_file(".gitconfig"), "git's own", False),
    "newline": (
        new_file("x").replace("a/x", '"a/x\\nb"').replace("b/x", '"b/x\\nb"'),
        "control character",
        False,
    ),
    "escape": (new_file("net/\x1b[31mred.c"), "control character", False),
    "bidi in a name": (new_file("net/\u202ec.evil"), "invisible character", False),
    "backslash": (new_file("net\\..\\..\\x"), "backslash", False),
    "not UTF-8": (new_file("net/\udce9.c"), "invisible character", False),
    "long name": (new_file(f"net/{'x' * 256}"), "longer than 255", False),
    "long path": (new_file("x/" * 600 + "y"), "longer than 255 bytes, or a path", False),
    "setuid": (new_file("tool", "104755"), "the mode '104755'", False),
    "a device": (new_file("tool", "060644"), "the mode '060644'", False),
    "a pipe": (new_file("tool", "010644"), "the mode '010644'", False),
    "a folder": (new_file("tool", "040000"), "the mode '040000'", False),
    "a link in other digits": (new_file("tool", "0120000", "/etc/hostname"), "the mode", False),
    "a submodule": (submodule("lib"), "the mode '160000", False),
    "a link out": (new_file("net/x", "120000", "../../etc/hostname"), "out of the tree", False),
    "an absolute link": (new_file("net/x", "120000", "/etc/hostname"), "out of the tree", False),
    "a link into git": (new_file("net/x", "120000", "../.git/config"), "into .git", False),
    "a link out, deleted": (
        new_file("net/x", "120000", "/etc/hostname")
        .replace("new file", "deleted file")
        .replace("--- /dev/null\n+++ b/net/x", "--- a/net/x\n+++ /dev/null")
        .replace("@@ -0,0 +1 @@\n+", "@@ -1 +0,0 @@\n-"),
        "out of the tree",
        True,
    ),
    "a large literal": (binary(f"literal 99000000\n{packed(b'x')}"), "unpacks to 99000000", True),
    "a delta without end": (binary(f"delta 7\n{packed(BOMB)}"), "unpacks to 34359738375", True),
    "a long line": (new_file("a.c", text="x" * 1_000_001), "1000002 characters", False),
    "many hunks": (new_file("a.c") + "@@ -1 +1 @@\n-x\n+y\n" * 50_001, "50002 hunks", True),
    "many copies": (
        "".join(
            f"diff --git a/net/demo.c b/{n}\nsimilarity index 100%\ncopy from net/demo.c\n"
            f"copy to {n}\n"
            for n in range(65)
        ),
        "65 copies",
        False,
    ),
}


def load(folder: Path, *mails: str) -> Series:
    write(folder, {f"{n:04}-x.patch": "" for n in range(1, len(mails) + 1)})
    for number, text in enumerate(mails, 1):
        (folder / f"{number:04}-x.patch").write_bytes(text.encode("utf-8", "surrogateescape"))
    return load_series(folder)


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_patch_is_refused_by_its_name_and_rule(
    what: str, kernel_tree: Path, tmp_path: Path
) -> None:
    change, words, by_git = HOSTILE[what]
    good = new_file("good.c")
    with pytest.raises(PatchError) as caught:
        load(tmp_path / "series", mail(good), mail(change))
    said = caught.value
    assert said.patch == 2 and "0002-x.patch: " in said.message and words in said.message
    assert "\x1b" not in said.message and "\u202e" not in said.message
    alone = Git(kernel_tree, "apply").run(
        "apply", "--cached", "--check", "-", stdin=change, ok=None
    )
    assert (alone.returncode != 0) is by_git, alone.stderr


HONEST = {
    ".gitignore": new_file("net/.gitignore", text="*.ko"),
    "a workflow": new_file(".github/workflows/ci.yml", text="on: push"),
    "dots": new_file("net/..x/...y", text="int x;"),
    "a link": new_file("net/up/x", "120000", "../../Makefile"),
    "a link to a folder": new_file("net/here", "120000", "."),
    "modes of an umask": new_file("tool.sh", "100775", "#!/bin/sh"),
    "a name that is not ASCII": new_file("Documentation/café.rst", text="café"),
    "git in a name": new_file("scripts/git.orderFile", text="*.c"),
    "a picture": binary(f"literal 5\n{packed(b'hello')}"),
}


@pytest.mark.parametrize("what", HONEST)
def test_an_honest_patch_that_looks_like_one_is_taken(
    what: str, derive: Callable[..., Trees], tmp_path: Path
) -> None:
    loaded = load(tmp_path / "series", mail(HONEST[what]))
    made = derive(loaded)
    assert not made.conflict and made.states[0].words == "applies"


@pytest.fixture
def derive(settings_for: Callable[..., Settings], kernel_tree: Path, progress: object) -> object:
    """The trees of a series on ``kernel_tree``."""

    def made(series: Series, *, adapt: bool = False) -> Trees:
        source = fetch.fetch_source(settings_for(tree=str(kernel_tree)), series, progress)  # type: ignore[arg-type]
        return tree.derive_trees(series, source, frozenset(), adapt=adapt)

    return made


TITLES = ("demo: \x1b[31mred", "demo: \u202etxt.exe", "demo: \x07bell", "demo: \u2066isolated")


@pytest.mark.parametrize("title", TITLES)
def test_a_title_that_is_not_what_it_looks_like(title: str, tmp_path: Path) -> None:
    with pytest.raises(PatchError, match="control character or bidi mark") as caught:
        load(tmp_path / "series", mail(new_file("a.c"), title))
    assert caught.value.message.isprintable()


def test_a_title_with_blanks_of_a_browser_is_a_title(tmp_path: Path) -> None:
    loaded = load(tmp_path / "series", mail(new_file("a.c"), "demo:\u00a0a\t\u200bchange größer"))
    assert loaded.patches[0].title.endswith("größer")


# What only the tree of several patches shows.
THROUGH = {
    "by way of another link": (
        (
            new_file("net/sub/up", "120000", "../.."),
            new_file("net/out", "120000", "sub/up/../etc/hostname"),
        ),
        "points out of the tree, by way of other links",
    ),
    "in a circle": (
        (new_file("net/a", "120000", "b"), new_file("net/b", "120000", "a")),
        "leads to itself, or through more than 40 links",
    ),
    "another case": ((new_file("net/Demo.c"),), "'net/Demo.c' and 'net/demo.c' differ in case"),
    "another case of a folder": ((new_file("NET/x.c"),), "differ in case alone"),
}


@pytest.mark.parametrize("what", THROUGH)
def test_what_only_the_tree_shows(what: str, derive: Callable[..., Trees], tmp_path: Path) -> None:
    changes, words = THROUGH[what]
    conflict = derive(load(tmp_path / "series", *map(mail, changes))).conflict
    assert conflict and conflict.at_fault and conflict.exit_code is ExitCode.BROKEN
    (number,) = conflict.patches
    assert words in conflict.text and f"000{number}-x.patch" in conflict.text
    assert "is refused" in conflict.text


@pytest.mark.parametrize("together", [True, False])
def test_a_file_through_a_link_of_the_series(
    together: bool, derive: Callable[..., Trees], tmp_path: Path
) -> None:
    link, file = new_file("net/l", "120000", ".."), new_file("net/l/Makefile2")
    mails = [mail(link + file)] if together else [mail(link), mail(file)]
    conflict = derive(load(tmp_path / "series", *mails)).conflict
    assert conflict and conflict.exit_code is ExitCode.BROKEN
    assert "beyond a symbolic link" in conflict.text


def test_the_tree_is_asked_whatever_the_text_hides(
    derive: Callable[..., Trees],
    kernel_tree: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hidden = ("a submodule", "a link out", "an absolute link", "attributes", "backslash")
    for what in hidden:
        change, words, _ = HOSTILE[what]
        for rule in ("find_breach", "name_breach"):
            monkeypatch.setattr(intake, rule, lambda text: "")
        loaded = load(tmp_path / what, mail(change))
        monkeypatch.undo()
        conflict = derive(loaded).conflict
        assert conflict and conflict.exit_code is ExitCode.BROKEN and conflict.patches == (1,)
        assert "is refused" in conflict.text and words.removeprefix("the mode '") in conflict.text


def test_a_series_that_blows_a_file_up_in_steps(
    derive: Callable[..., Trees], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "MOST_FILE", 30)
    text = new_file("a.c", text="int long_name_of_a_variable;")
    grown = (
        "--- a/a.c\n+++ b/a.c\n@@ -1 +1,2 @@\n int long_name_of_a_variable;\n"
        "+int long_name_of_another_variable;\n"
    )
    loaded = load(tmp_path / "series", mail(text), mail(grown))
    conflict = derive(loaded).conflict
    assert conflict and conflict.patches == (2,) and "and 30 are the most" in conflict.text


@pytest.mark.whole
@pytest.mark.parametrize(("count", "status"), [(300, "applies"), (1500, "applies"), (1500, "")])
def test_a_patch_of_many_files_costs_no_process_each(
    count: int,
    status: str,
    derive: Callable[..., Trees],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = "".join(new_file(f"net/d{n % 50}/f{n}.c") for n in range(count))
    if not status:
        text = text.replace("new file mode 100644\n", "").replace(
            "@@ -0,0 +1 @@", "@@ -1 +1 @@\n-y"
        )
        text = re.sub(r"--- /dev/null\n\+\+\+ b/(.*)", r"--- a/\1\n+++ b/\1", text)
    loaded = load(tmp_path / "series", mail(text))
    count_runs = Mock(wraps=processes.run)
    monkeypatch.setattr(processes, "run", count_runs)
    made = derive(loaded)
    assert count_runs.call_count < 60
    assert made.states[0].words == (status or "conflicts")
    assert status or len(made.states[0].why.splitlines()) < 200


def test_attributes_of_a_tree_do_not_change_its_files(
    derive: Callable[..., Trees], kernel_tree: Path, workspace: object, tmp_path: Path
) -> None:
    write(
        kernel_tree,
        {".gitattributes": "*.c text eol=crlf ident filter=x\n", "net/id.c": "int x; // $Id$\n"},
    )
    git(kernel_tree, "add", "-A")
    git(kernel_tree, "commit", "-q", "-m", "attributes")
    made = derive(load(tmp_path / "series", mail(new_file("a.c"))))
    with made.patched.checked_out(workspace):  # type: ignore[arg-type]
        src = made.patched.source.slot / "src"
        assert (src / "net/id.c").read_bytes() == b"int x; // $Id$\n"
        assert (src / "net/demo.c").read_bytes() == DEMO_C.encode()


def test_a_tree_whose_filters_are_programs(
    derive: Callable[..., Trees], kernel_tree: Path, tmp_path: Path
) -> None:
    """git runs them where it compares files that are newer than its index."""
    trap = tmp_path / "trap"
    write(kernel_tree, {".gitattributes": "*.c filter=a=b\n"})
    git(kernel_tree, "add", "-A")
    git(kernel_tree, "commit", "-q", "-m", "attributes")
    for what in ("clean", "smudge", "process"):
        git(kernel_tree, "config", f"filter.a=b.{what}", f"touch {trap}; cat")
    git(kernel_tree, "config", "core.fsmonitor", f"touch {trap}")
    os.utime(kernel_tree / "net/demo.c", (1, 1))
    derive(load(tmp_path / "series", mail(new_file("a.c"))))
    assert not trap.exists()
    git(kernel_tree, "status")
    assert trap.exists()


def link_out(folder: Path) -> None:
    (folder / "0001-x.patch").symlink_to("/etc/hostname")


def maildir(folder: Path) -> None:
    (folder / "cur").mkdir()
    (folder / "cur/1").symlink_to("/etc/hostname")


def quilt(folder: Path) -> None:
    (folder / "series").write_text("x.patch\n", encoding="ascii")
    (folder / "x.patch").symlink_to("/etc/hostname")


def quilt_itself(folder: Path) -> None:
    (folder / "series").symlink_to("/etc/hostname")


def manifest(folder: Path) -> None:
    (folder / "0001-x.patch").write_text(mail(new_file("a.c")), encoding="ascii")
    (folder / "series.toml").symlink_to("/etc/hostname")


def backport(folder: Path) -> None:
    (folder / "0001-x.patch").write_text(mail(new_file("a.c")), encoding="ascii")
    (folder / "backports/6.12").mkdir(parents=True)
    (folder / "backports/6.12/0001-x.patch").symlink_to("/etc/hostname")


def circle(folder: Path) -> None:
    (folder / "0001-x.patch").symlink_to("0001-x.patch")


def pipe(folder: Path) -> None:
    os.mkfifo(folder / "0001-x.patch")


def device(folder: Path) -> None:
    (folder / "0001-x.patch").symlink_to("/dev/zero")


def tar(folder: Path) -> None:
    raw = mail(new_file("a.c")).encode()
    with tarfile.open(folder / "0001-x.patch", "w") as file:
        member = tarfile.TarInfo("../../x.patch")
        member.size = len(raw)
        file.addfile(member, io.BytesIO(raw))


def twice_packed(folder: Path) -> None:
    (folder / "x.mbox.gz").write_bytes(gzip.compress(gzip.compress(b"x")))


def bomb(folder: Path) -> None:
    (folder / "x.mbox.gz").write_bytes(gzip.compress(bytes(200_000_000), 1))


def number(folder: Path) -> None:
    (folder / "0001-x.patch").write_text(mail(new_file("a.c")), encoding="ascii")
    (folder / "series.toml").write_text(f"name = {'9' * 5000}\n", encoding="ascii")


def times(folder: Path) -> None:
    """A line of a box whose every word could be the time in it."""
    (folder / "x.mbox").write_bytes(b"From " + b"1:11:11 " * 100_000 + b"\n\nx\n")


def together(folder: Path) -> None:
    """Zeros cost nothing to write, and much to hold."""
    for count in range(1, 6):
        with (folder / f"{count:04}-x.patch").open("wb") as file:
            file.truncate(20_000_000)


def together_in_quilt(folder: Path) -> None:
    together(folder)
    (folder / "series").write_text("0001-x.patch\n" * 5, encoding="ascii")


INPUTS: dict[Callable[[Path], None], str] = {
    link_out: "0001-x.patch: a link that leads out of",
    maildir: "cur/1: a link that leads out of",
    quilt: "x.patch: a link that leads out of",
    quilt_itself: "series: a link that leads out of",
    manifest: "series.toml: a link that leads out of",
    backport: "backports/6.12/0001-x.patch: a link that leads out of",
    device: "0001-x.patch: a link that leads out of",
    circle: "0001-x.patch: ",
    pipe: "0001-x.patch: neither a file nor a folder",
    tar: "0001-x.patch: a tar archive; unpack it",
    twice_packed: "x.mbox.gz: packed by gzip more than once",
    bomb: "x.mbox.gz: more than 64 MB",
    together: "series: more than 64 MB of mail",
    together_in_quilt: "series: more than 64 MB of mail",
    number: "series.toml: Exceeds the limit",
    times: "none of the mails in it is a patch",
}


@pytest.mark.whole
@pytest.mark.parametrize("make", INPUTS)
def test_an_input_that_is_none_is_no_fault_of_a_patch(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    (folder := tmp_path / "series").mkdir()
    make(folder)
    begin = time.monotonic()
    with pytest.raises(StageError) as caught:
        load_series(folder)
    assert INPUTS[make] in caught.value.message
    assert Path("/etc/hostname").read_text(encoding="utf-8").strip() not in caught.value.message
    assert time.monotonic() - begin < 20


def test_a_folder_that_is_a_link_itself_is_the_users(tmp_path: Path) -> None:
    load(tmp_path / "series", mail(new_file("a.c")))
    (tmp_path / "link").symlink_to("series")
    (tmp_path / "series/0002-x.patch").symlink_to("0001-x.patch")
    assert len(load_series(tmp_path / "link").patches) == 2


def test_a_hostile_patch_is_exit_code_2_of_each_task(
    settings_for: Callable[..., Settings],
    kernel_tree: Path,
    tmp_path: Path,
    progress: object,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(tmp_path, {"series/0001-x.patch": mail(HOSTILE["a link out"][0])})
    settings = settings_for(tree=str(kernel_tree), series=str(tmp_path / "series"), mode="virtual")
    assert validate.validate_series(settings, progress) == 2  # type: ignore[arg-type]
    assert "points out of the tree" in capsys.readouterr().out
    with pytest.raises(PatchError) as caught:
        validate.apply_series(settings, progress)  # type: ignore[arg-type]
    assert exits._show_error(caught.value) is ExitCode.BROKEN
    assert "rejected: series: " in capsys.readouterr().err
