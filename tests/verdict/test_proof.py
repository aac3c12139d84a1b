# SPDX-License-Identifier: GPL-2.0-only
"""ci.verdict.proof and how it is shown."""

from dataclasses import replace

import pytest

from ci.base.exit_codes import ExitCode
from ci.logs.outcome import State
from ci.report.proof import console_lines, diff_text, markdown_text
from ci.verdict.evidence import Evidence, PatchRow
from ci.verdict.judge import decide
from ci.verdict.patch_findings import make_finding
from ci.verdict.proof import DiffLine, MutantRow, PatchProof, Proof, put_on, to_json

HOSTILE = "\x1b[31m`x` ::error::##[group] | "
LINES = (
    DiffLine("net/a.c", " ", 1, "int f()", head="@@ -1 +1,2 @@"),
    DiffLine("net/a.c", "+", 2, "\tguarded();", "guarded", "diag: a case"),
    DiffLine("net/a.c", "-", 2, "\tran();", "executed", "diag, userspace_pm"),
    DiffLine("net/b.c", "+", 3, HOSTILE, "not compiled", why="#ifdef CONFIG_X"),
    DiffLine("net/b.c", "+", 4, "/* x */", "not code"),
)
GUARDED = PatchProof(1, "one", noticed=("diag: a case",), lines=LINES)
UNGUARDED = PatchProof(2, HOSTILE)
UNKNOWN = PatchProof(3, "three", tried=False, why="no guest")


def code(proof: Proof) -> ExitCode:
    row = PatchRow(1, "one", "d", "applies")
    cases = decide(Evidence("s", "", (row,), proved=tuple(proof.findings()))).cases
    groups = ("guarded", "build", "findings")
    codes = {case.exit_code for case in cases if case.group in groups}
    return max(codes)


@pytest.mark.parametrize(
    ("patches", "lax", "strict"),
    [
        ((GUARDED,), 0, 0),
        ((GUARDED, UNGUARDED), 0, 1),
        ((GUARDED, UNKNOWN), 0, 3),
        ((GUARDED, replace(GUARDED, number=2, step="it does not build: x")), 2, 2),
    ],
)
def test_what_a_proof_calls_for(patches: tuple[PatchProof, ...], lax: int, strict: int) -> None:
    assert code(Proof(patches)) == lax and code(Proof(patches, strict=True)) == strict


def test_what_tools_find_rejects_where_that_is_asked_for() -> None:
    found = make_finding("warning", "unused variable 'x'", "net/a.c", 3)
    proof = Proof((replace(GUARDED, findings=(found,) * 7),))
    assert (code(proof), code(replace(proof, strict=True))) == (0, 1)
    said = list(console_lines(proof))
    assert "finding:   patch 1: warning: net/a.c:3: unused variable 'x'" in said
    assert "finding:   patch 1: and 2 more" in said
    assert "- patch 1: `warning: net/a.c:3: unused variable 'x'`" in markdown_text(proof)


def test_a_tool_that_could_not_tell_leaves_it_open() -> None:
    found = make_finding("warning", "unused variable 'x'", "net/a.c", 3)
    asked = Proof((replace(GUARDED, findings=(found,)),))
    open_ = Proof((replace(GUARDED, unasked=("checkpatch: it fails",)),))
    both = Proof((replace(GUARDED, findings=(found,), unasked=("checkpatch: it fails",)),))
    assert [one.whole for one in (asked, open_, both)] == [True, False, False]
    assert [code(one) for one in (open_, both)] == [0, 0]
    assert [code(replace(one, strict=True)) for one in (open_, both)] == [3, 1]
    assert "unknown:   patch 1: checkpatch: it fails" in list(console_lines(open_))
    assert "- patch 1: `not found out: checkpatch: it fails`" in markdown_text(open_)


def test_a_case_for_each_patch() -> None:
    rows = {one.name: (one.base, one.patched) for one in Proof((GUARDED, UNKNOWN)).findings()}
    assert rows == {"1: one": (State.PASS, State.PASS), "3: three": (State.SKIP, State.SKIP)}


def test_each_line_is_shown_with_its_word() -> None:
    assert diff_text(Proof((GUARDED,))).splitlines() == [
        "  G guarded, E executed, C compiled, N not compiled, . not code",
        "  patch 1: one",
        "  --- net/a.c",
        "  @@ -1 +1,2 @@",
        "   int f()",
        "G +        guarded();  <-- diag: a case",
        "E -        ran();  <-- diag, userspace_pm",
        "  --- net/b.c",
        "N +`x` ::error::# #[group] |   <-- #ifdef CONFIG_X",
        ". +/* x */",
    ]


def test_what_is_shown_is_harmless_and_bounded() -> None:
    proof = Proof((replace(GUARDED, lines=LINES * 100), UNGUARDED), note="why")
    for text in ("\n".join(console_lines(proof)), markdown_text(proof)):
        assert "\x1b" not in text and "##[" not in text
        assert not any(line.startswith("::") for line in text.splitlines())
        assert "more lines" in text and text.count("guarded();") < 100
    page = markdown_text(proof)
    assert "| 1 | `one` | yes | `diag: a case` | 100 | 100 | 0 | 100 | 100 |" in page
    assert page.count("```") == 2 and "Nothing is known of the lines: `why`." in page


def test_proof_json_holds_the_changed_lines() -> None:
    row = MutantRow(1, "net/a.c", "hunk", (2,), (2,), "noticed", "diag: a case")
    facts = to_json(Proof((GUARDED,), (row,)))
    patches = facts["patches"]
    assert isinstance(patches, list)
    assert facts["schema"] == 2 and len(patches[0]["lines"]) == 4
    assert patches[0]["counts"] == {
        "guarded": 1,
        "executed": 1,
        "compiled": 0,
        "not compiled": 1,
        "not code": 1,
    }
    assert not Proof((UNKNOWN,)).whole and not Proof((), note="x").whole
    assert Proof((GUARDED,), (row,)).whole
    assert not Proof((GUARDED,), (replace(row, outcome="not tried"),)).whole


def test_only_what_was_put_on_is_proved() -> None:
    rows = (PatchRow(1, "a", "d", "applies"), PatchRow(2, "b", "e", "x", State.SKIP))
    assert [row.number for row in put_on(rows)] == [1]
