# SPDX-License-Identifier: GPL-2.0-only
"""A series that breaks the kernel and edits the selftests so that they do not see it; and twins of
it that do no harm."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.commands.test_tasks import Done
from tests.guest.test_guests import SOURCE, inv, patch, verdict

pytestmark = pytest.mark.guest
__all__ = ["inv"]
FOLDER = "tools/testing/selftests/net/mptcp"
SCRIPT, MAKEFILE = f"{FOLDER}/mptcp_join.sh", f"{FOLDER}/Makefile"
SHEBANG = "#!/bin/bash\n"
# title -> (file, old, new): what hides from the new scripts that the kernel ignores the flag. The
# first three differ most; with the others it takes twice as long.
HIDING = {
    "delete subtests": (
        SCRIPT,
        "deny_join_id0_tests()\n{\n",
        "deny_join_id0_tests()\n{\n\tif reset a; then :; fi\n\treturn\n",
    ),
    "TAP of its own": (
        SCRIPT,
        SHEBANG,
        f'{SHEBANG}printf "TAP version 13\\n1..1\\nok 1 - mptcp_join: all\\n"\nexit 0\n',
    ),
    "out of the Makefile": (MAKEFILE, " mptcp_join.sh", ""),
    "let all pass": (SCRIPT, "fail_test()\n{\n", "fail_test()\n{\n\tprint_ok\n\treturn 0\n"),
    "skip all": (SCRIPT, SHEBANG, f"{SHEBANG}exit 4\n"),
    "a group that cannot be read": (SCRIPT, "\td@deny_join", '\td"@"deny_join'),
}
SOON = list(HIDING)[:3]


def mptcp_join_cases(project: Path, group: str) -> dict[str, str]:
    cases = verdict(project)["cases"]
    return {case["name"]: case["change"] for case in cases if case["suite"] == group}


@pytest.mark.parametrize(
    "title",
    [*SOON, *(pytest.param(one, marks=pytest.mark.long) for one in HIDING if one not in SOON)],
)
def test_a_series_cannot_hide_in_its_tests_what_it_breaks(
    title: str, inv: Callable[..., Done], project: Path, tmp_path: Path
) -> None:
    """Base's own script sees it on the patched kernel, whatever the new one says."""
    old = "\treturn mptcp_get_pernet(net)->allow_join_initial_addr_port;\n"
    made = patch(tmp_path, "mptcp: join anyway", "net/mptcp/ctrl.c", old, "\treturn 1;\n")
    file, before, after = HIDING[title]
    patch(tmp_path, f"selftests: mptcp: {title}", file, before, after, number=2)
    words = ("--source", SOURCE, "--series", str(made), "--suite", "mptcp_join:d")
    assert inv("validate", *words).returncode == 1
    assert "regressed" in mptcp_join_cases(project, "mptcp_join (old)").values()
    new = set(mptcp_join_cases(project, "mptcp_join").values())
    assert not {"regressed", "new-failure"} & new
    assert ("removed by the series" in new) == (title != "let all pass")


def test_what_does_no_harm_is_accepted(
    inv: Callable[..., Done], project: Path, tmp_path: Path
) -> None:
    """A comment, documentation, and a subtest more; a case that is renamed has to be allowed."""
    made = patch(tmp_path, "selftests: a comment", MAKEFILE, "TEST_PROGS", "# all\nTEST_PROGS")
    more = "deny_join_id0_tests()\n{\n\tif reset one; then\n\t\tchk_join_nr 0 0 0\n\tfi\n"
    patch(tmp_path, "selftests: more", SCRIPT, "deny_join_id0_tests()\n{\n", more, number=2)
    words = ("--source", SOURCE, "--series", str(made), "--suite", "mptcp_join:d")
    assert inv("validate", *words).returncode == 0
    assert set(mptcp_join_cases(project, "mptcp_join (old)").values()) == {"kept"}
    new = mptcp_join_cases(project, "mptcp_join")
    assert "one" in new and set(new.values()) == {"kept"}
    name = "single subflow allow join id0 ns1"
    patch(tmp_path, "selftests: a name", SCRIPT, f'"{name}"', '"id0 from ns1"', number=2)
    assert inv("validate", *words).returncode == 1
    assert mptcp_join_cases(project, "mptcp_join")[name] == "removed by the series"
    allow = f'[[allow]]\nscript = "mptcp_join"\ncase = "{name}"\nwhy = "shorter"\n'
    (made / "series.toml").write_text(allow, encoding="utf-8")
    assert inv("validate", *words).returncode == 0
