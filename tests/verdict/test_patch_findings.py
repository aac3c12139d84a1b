# SPDX-License-Identifier: GPL-2.0-only
"""ci.verdict.patch_findings: the lines of real tools as findings, and which of them are new."""

from ci.verdict.patch_findings import (
    CHECKPATCH,
    MOST_CHARS,
    MOST_FINDINGS,
    SPARSE,
    WARNING,
    PatchFinding,
    limit_findings,
    make_finding,
    new_messages,
    parse_checkpatch,
    parse_messages,
)

GCC = """\
  CC      net/x.o
net/x.c: In function \u2018f\u2019:
net/x.c:6:16: error: \u2018b\u2019 undeclared (first use in this function)
    6 |         return b;
      |                ^
net/x.c:6:16: note: each undeclared identifier is reported only once for each function it appears in
net/x.c:4:13: warning: unused variable \u2018unused\u2019 [-Wunused-variable]
    4 |         int unused = 1;
      |             ^~~~~~
In file included from net/x.c:1:
net/x.h: At top level:
net/x.h:1:12: warning: \u2018in_header\u2019 defined but not used [-Wunused-function]
make[3]: *** [scripts/Makefile.build:229: net/x.o] Error 1
"""
DOC = "net/x.c:12: warning: Function parameter or struct member 'c' not described in 'g'\n"
NEWER_DOC = "Warning: net/x.c:12 function parameter 'c' not described in 'g'\n"
SPARSES = """\
  CHECK   net/y.c
net/y.c:3:37: warning: incorrect type in initializer (different base types)
net/y.c:3:37:    expected int x
net/y.c:3:37:    got restricted be16 [usertype] port
net/y.c:4:5: warning: symbol 'other' was not declared. Should it be static?
"""
PERL = """\
:885: WARNING:TYPO_SPELLING: 'teh' may be misspelled - perhaps 'the'?
net/mptcp/subflow.c:7: ERROR:TRAILING_WHITESPACE: trailing whitespace
tools/testing/selftests/net/mptcp/userspace_pm.sh:250: WARNING:LONG_LINE_STRING: line length of 191\
 exceeds 100 columns
net/mptcp/subflow.c:10: ERROR:MISSING_SIGN_OFF: Missing Signed-off-by: line(s)

"""
FILES = ("net/mptcp/subflow.c", "tools/testing/selftests/net/mptcp/userspace_pm.sh")


def read(text: str, kind: str = WARNING) -> list[PatchFinding]:
    return list(parse_messages(kind, text.splitlines()))


def test_what_gcc_says() -> None:
    assert read(GCC) == [
        PatchFinding("warning", "net/x.c", 6, "error: 'b' undeclared (first use in this function)"),
        PatchFinding("warning", "net/x.c", 4, "unused variable 'unused' [-Wunused-variable]"),
        PatchFinding(
            "warning", "net/x.h", 1, "'in_header' defined but not used [-Wunused-function]"
        ),
    ]


def test_what_kernel_doc_says_old_and_new() -> None:
    ((old,), (new,)) = (read(text) for text in (DOC, NEWER_DOC))
    assert (old.file, old.line) == (new.file, new.line) == ("net/x.c", 12)
    assert old.text == "Function parameter or struct member 'c' not described in 'g'"
    assert new.text == "function parameter 'c' not described in 'g'"


def test_what_sparse_says() -> None:
    assert [(one.kind, one.line, one.text) for one in read(SPARSES, SPARSE)] == [
        ("sparse", 3, "incorrect type in initializer (different base types)"),
        ("sparse", 4, "symbol 'other' was not declared. Should it be static?"),
    ]


def test_what_checkpatch_says_of_files_and_of_the_message() -> None:
    assert [(one.file, one.line, one.text) for one in parse_checkpatch(PERL, FILES)] == [
        ("", 0, "TYPO_SPELLING: 'teh' may be misspelled - perhaps 'the'?"),
        (FILES[0], 7, "TRAILING_WHITESPACE: trailing whitespace"),
        (FILES[1], 250, "LONG_LINE_STRING: line length of 191 exceeds 100 columns"),
        ("", 0, "MISSING_SIGN_OFF: Missing Signed-off-by: line(s)"),
    ]
    # No file but one of the patch is named, whatever a name looks like.
    (found,) = parse_checkpatch("/etc/x:3: ERROR:SPACING: here\n", FILES)
    assert (found.kind, found.file, found.line) == (CHECKPATCH, "", 0)


def test_what_is_no_message_is_passed_over() -> None:
    assert read("\n".join(["warning: x", "a:b: warning: x", f"x.c:{9 * '9'}9:1: warning: x"])) == []
    assert read("net/x.c:1:1: warning:\n../x.c:: warning: y\n") == []
    assert list(parse_checkpatch("perl: warning: x\nnet/x.c:1: NOTE:A: x\n", FILES)) == []


def test_a_finding_is_one_short_line() -> None:
    (found,) = read(f"net/x.c:1:2: warning: \x1b[31m\u202e{'x' * 1000}::error::")
    assert found.text.startswith("\\u202exxx") and len(found.text) == MOST_CHARS
    assert make_finding("Fixes", "a\nb\x07").text == "a b\\x07"


def test_a_line_that_moved_is_not_new() -> None:
    moved = GCC.replace("net/x.c:4:13", "net/x.c:40:9").replace("net/x.c:6:16", "net/x.c:42:16")
    assert list(new_messages(read(GCC), read(moved))) == []
    place = "net/x.c:{}:5: warning: symbol 'a' redeclared (it was at net/x.c:{}:7)\n"
    was, now = place.format(9, 1), place.format(12, 4)
    assert list(new_messages(read(was), read(now))) == []
    other = now.replace("'a'", "'b'")
    assert [one.text[:10] for one in new_messages(read(was), read(other))] == ["symbol 'b'"]


def test_one_more_of_the_same_is_new_once() -> None:
    same = "net/x.c:{}:1: warning: missing braces\n"
    was, now = same.format(5), "".join(same.format(line) for line in (4, 7, 9))
    assert [one.line for one in new_messages(read(was), read(now))] == [7, 9]
    # A header's line is told once for each object that includes it.
    assert [one.line for one in new_messages(read(""), read(same.format(3) * 3))] == [3]
    # In another file, or gone: neither is new.
    assert len(list(new_messages(read(was), read(was.replace("x.c", "y.c"))))) == 1
    assert list(new_messages(read(now), read(was))) == []


def test_what_is_too_much_is_counted() -> None:
    many = [make_finding(WARNING, f"number {n}", "net/x.c", n) for n in range(MOST_FINDINGS + 1)]
    assert limit_findings(many[1:]) == tuple(many[1:])
    found = limit_findings(many)
    assert found[:-1] == tuple(many[: MOST_FINDINGS - 1])
    assert found[-1] == PatchFinding("warning", "", 0, "and 2 more findings of this patch")
