# SPDX-License-Identifier: GPL-2.0-only
"""ci.series.outline: what the lines of C files and scripts are."""

import pytest

from ci.series.outline import SHELL, C, Outline, read_outline

PROGRAM = """\
/* a
 * b, c(); d.
 * e */ int z; /* f */
#define TWO(x) \\
	do { x; x; } while (0)

static int f(int a)
{
	int b = 0;

	// one
	if (a)
		b = 1;
	else if (b) {
		call(a,
			b);
	} else {
		b = 2; /* two */
	}
#ifdef CONFIG_X
	bar();
# if FOO > 1
	baz();
# else
	more();
# endif
#endif
	for_each(a, b)
		one();
	for (a = 0; a < 3; a++)
		two();
out:
	return b;
}
"""
SCRIPT = """\
#!/bin/bash
# a remark
f()
{
	local a="x # y"
	if [ "$a" ] &&
		[ "$b" ]
	then
		pass
	else # remark
		fail "x" ||
			exit 1
	fi
	while read -r line; do
		echo "$line"
	done

	cat <<EOF
# no remark
EOF
	case $x in
	a) b ;;
	esac
}
"""


def told(outline: Outline, text: str) -> set[str]:
    """The statements, in a line each."""
    data = text.encode()
    return {" ".join(data[one.start : one.end].decode().split()) for one in outline.statements}


def test_what_the_lines_of_c_are() -> None:
    outline = read_outline("net/a.c", PROGRAM)
    assert outline.language == C
    assert set(range(1, 34)) - outline.code == {1, 2, 6, 10, 11}
    assert outline.directives == {4, 5, 20, 22, 24, 26, 27}
    assert outline.closing == {8, 17, 19, 34}
    assert {8, 34} < outline.code
    assert outline.conditions == {
        21: ("#ifdef CONFIG_X",),
        23: ("#ifdef CONFIG_X", "#if FOO > 1"),
        25: ("#ifdef CONFIG_X", "#else of #if FOO > 1"),
    }


def test_the_statements_of_c() -> None:
    outline = read_outline("net/a.c", PROGRAM)
    assert told(outline, PROGRAM) == {
        "int b = 0;",
        "if (a) b = 1; else if (b) { call(a, b); } else { b = 2; /* two */ }",
        "b = 1;",
        "if (b) { call(a, b); } else { b = 2; /* two */ }",
        "call(a, b);",
        "b = 2;",
        "bar();",
        "baz();",
        "more();",
        "one();",
        "for (a = 0; a < 3; a++) two();",
        "two();",
        "return b;",
    }
    found = outline.statement_at(16)
    assert found and (found.first, found.last) == (15, 16)
    assert outline.statement_at(3) is None


def test_what_the_lines_of_a_script_are() -> None:
    outline = read_outline("tools/testing/selftests/net/a.sh", SCRIPT)
    assert outline.language == SHELL and not outline.directives
    assert set(range(1, 25)) - outline.code == {1, 2, 17}
    assert outline.closing == {4, 8, 10, 13, 16, 23, 24}


def test_the_statements_of_a_script() -> None:
    outline = read_outline("a.sh", SCRIPT)
    assert told(outline, SCRIPT) == {
        'local a="x # y"',
        'if [ "$a" ] && [ "$b" ] then pass else # remark fail "x" || exit 1 fi',
        "pass",
        'fail "x" || exit 1',
        'while read -r line; do echo "$line" done',
        'echo "$line"',
        "cat <<EOF # no remark EOF",
        "case $x in a) b ;; esac",
        "b",
    }


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("Documentation/netlink/specs/mptcp_pm.yaml", "name: x\n", set()),
        ("MAINTAINERS", "M: x\n", set()),
        ("net/mptcp/Makefile", "# x\n\nobj-y += a.o\n", {3}),
        ("tools/testing/selftests/net/run", "#!/usr/bin/env bash\ntrue\n", {2}),
        ("net/mptcp/Kconfig", "config MPTCP\n\tbool\n", {1, 2}),
        ("net/empty.c", "", set()),
    ],
)
def test_the_lines_of_other_files(name: str, text: str, code: set[int]) -> None:
    assert read_outline(name, text).code == code


@pytest.mark.parametrize(
    "text", ["{" * 20000, "if (a) " * 5000, "\udcff\n\0 int x;\n", "#if\n" * 3000, '"', "/*"]
)
def test_no_text_is_too_hostile(text: str) -> None:
    for name in ("a.c", "a.sh"):
        assert read_outline(name, text).code <= set(range(1, 20001))
