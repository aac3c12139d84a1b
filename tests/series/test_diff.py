# SPDX-License-Identifier: GPL-2.0-only
"""ci.series.diff: every form that git and diff write, and text that means no good."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.series import change
from ci.series.diff import FileDiff, Hunk, diff_lines, file_names, hunk_end, parse_diff

GIT = """From: somebody
@@ -1 +1 @@ not a hunk of anything
---
 a.c | 2 +-
diff --git a/net/a.c b/net/a.c
index 1111111..2222222 100755
--- a/net/a.c
+++ b/net/a.c
@@ -10,3 +10,4 @@ static int f(void)
 one
-two
+2
+--- a/looks like a header
 three
@@ -30 +31 @@
-x
+y
"""
QUILT = (
    "--- linux.orig/net/a.c\t2024-01-01\n+++ linux/net/a.c\t2024-01-02\n@@ -1,2 +1,3 @@\n a\n\n+b\n"
)


def one(text: str) -> FileDiff:
    (found,) = parse_diff(text)
    return found


def test_a_change_of_gits() -> None:
    found = one(GIT)
    assert (found.old, found.new, found.old_mode, found.blobs) == (
        "net/a.c",
        "net/a.c",
        "100755",
        ("1111111", "2222222"),
    )
    first, second = found.hunks
    assert (first.old, first.new, first.heading) == (10, 10, "static int f(void)")
    assert first.lines == (" one", "-two", "+2", "+--- a/looks like a header", " three")
    assert list(first.side("-")) == ["one", "two", "three"] and list(first.only("+")) == [
        "2",
        "--- a/looks like a header",
    ]
    assert second.lines == ("-x", "+y") and second.heading == ""


def test_a_change_without_gits_header() -> None:
    found = one(QUILT)
    assert (found.old, found.new) == ("net/a.c", "net/a.c")
    assert found.hunks[0].lines == (" a", " ", "+b")  # a mailer cut the blank of the empty line


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "diff --git a/x.sh b/x.sh\nold mode 100644\nnew mode 100755\n",
            FileDiff("x.sh", "x.sh", "100644", "100755"),
        ),
        (
            "diff --git a/e.c b/e.c\nnew file mode 100644\nindex 0000000..e69de29\n",
            FileDiff("", "e.c", "", "100644", ("0000000", "e69de29")),
        ),
        (
            "diff --git a/a b/c\nsimilarity index 100%\nrename from a\nrename to c\n",
            FileDiff("a", "c", moved="rename"),
        ),
        (
            "diff --git a/a b b/a b\nold mode 100644\nnew mode 100755\n",
            FileDiff("a b", "a b", "100644", "100755"),
        ),
        (
            (
                "diff --git a/l.gif b/l.gif\nindex 11111..22222 100644\nGIT binary patch\nliteral"
                " 3\nKabc\n\nliteral 0\nH\n"
            ),
            FileDiff("l.gif", "l.gif", "100644", "100644", ("11111", "22222"), binary=True),
        ),
        (
            (
                'diff --git "a/caf\\303\\251.c" "b/caf\\303\\251.c"\nold mode 100644\nnew mode'
                " 100755\n"
            ),
            FileDiff("café.c", "café.c", "100644", "100755"),
        ),
        (
            (
                "diff --git a/l b/l\nnew file mode 120000\n--- /dev/null\n+++ b/l\n@@ -0,0 +1"
                " @@\n+a.c\n\\ No newline at end of file\n"
            ),
            FileDiff(
                "", "l", "", "120000", bare=True, hunks=(Hunk(0, 1, "@@ -0,0 +1 @@", ("+a.c",)),)
            ),
        ),
        (
            (
                "diff --git a/d.c b/d.c\ndeleted file mode 100644\n--- a/d.c\n+++ /dev/null\n@@ -1"
                " +0,0 @@\n-x\n"
            ),
            FileDiff("d.c", "", "100644", "", hunks=(Hunk(1, 0, "@@ -1 +0,0 @@", ("-x",)),)),
        ),
    ],
)
def test_what_is_no_plain_change_of_lines(text: str, wanted: FileDiff) -> None:
    assert one(text) == wanted


def test_a_hunk_is_as_long_as_its_header_says() -> None:
    head = "--- a/a\n+++ b/a\n@@ -1,99 +1,99 @@\n x\n"
    first, second = parse_diff(f"{head}diff --git a/b b/b\nold mode 100644\nnew mode 100755\n")
    assert first.hunks[0].lines == (" x",) and second.name == "b"
    assert one("--- a/a\n+++ b/a\n@@ -1 +1 @@\n-x\n+y\n+not of it\n").hunks[0].lines == ("-x", "+y")


def test_lines_end_at_newlines_only_and_keep_their_return() -> None:
    found = one("--- a/a\n+++ b/a\n@@ -1,2 +1,2 @@\n a\x0cb\u2028c\r\n-x\r\n+y\r\n")
    assert found.hunks[0].lines == (" a\x0cb\u2028c\r", "-x\r", "+y\r")


def test_names_that_no_tree_has_are_none() -> None:
    text = "".join(
        f"--- a/{name}\n+++ b/{name}\n@@ -1 +1 @@\n-x\n+y\n"
        for name in ("../../x", "a//b", ".git/config", "net/a.c")
    )
    assert file_names(parse_diff(text)) == ["net/a.c"]


def test_shown_without_numbers_and_blobs() -> None:
    assert list(diff_lines(parse_diff(QUILT))) == [
        "--- net/a.c",
        "+++ net/a.c",
        "@@",
        " a",
        " ",
        "+b",
    ]


@given(
    st.lists(
        st.sampled_from(
            [
                *GIT.split("\n"),
                *QUILT.split("\n"),
                "rename from x",
                "GIT binary patch",
                '"',
                "@@ -9,9 +9,9 @@",
            ]
        )
    )
)
def test_any_text_is_parsed(lines: list[str]) -> None:
    for found in parse_diff("\n".join(lines)):
        assert all(line[0] in " +-" for hunk in found.hunks for line in hunk.lines)


def test_a_hunk_is_as_long_for_whoever_asks() -> None:
    """A blank line with CRLF that has lost its blank is a line of the hunk; a number that no file
    has is no hunk's."""
    text = "--- a/x\n+++ b/x\n@@ -1,3 +1,3 @@\n one\r\n\r\n-two\r\n+TWO\r\n"
    (file,) = parse_diff(text)
    assert file.hunks[0].lines == (" one\r", " \r", "-two\r", "+TWO\r")
    assert hunk_end(text.split("\n"), 2) == (7, True)
    long = text.replace("-1,3", f"-1,{'9' * 5000}")
    assert parse_diff(long) == () and change.walk_hunks(long.split("\n"))[1] == []
