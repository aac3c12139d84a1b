# SPDX-License-Identifier: GPL-2.0-only
"""ci.trees.fit and ci.trees.place: whether a tree has a change in another form, on code of the
shape that the path manager has. What looks like it and is not it must never pass for it."""

import difflib
from collections.abc import Mapping

import pytest

from ci.series.diff import FileDiff, parse_diff
from ci.trees.fit import Fit, all_kept, fit_change, missing_parts, same_change, shortfall
from ci.trees.place import Text, function_of

KERNEL_C = """#include "protocol.h"

static struct pm_entry *pm_lookup(struct pm_sock *msk, u8 id)
{
\tstruct pm_entry *entry;

\tlist_for_each_entry(entry, &msk->entries, list) {
\t\tif (entry->id == id)
\t\t\treturn entry;
\t}
\treturn NULL;
}

static void pm_announce(struct pm_sock *msk, u8 id)
{
\tstruct pm_entry *entry = pm_lookup(msk, id);

\tif (!entry)
\t\treturn;
\tpm_stop_timer(entry);
\tpm_send_announce(msk, entry);
\trelease_entry(entry);
}

static void pm_withdraw(struct pm_sock *msk, u8 id)
{
\tstruct pm_entry *entry = pm_lookup(msk, id);

\tif (!entry)
\t\treturn;
\tpm_stop_timer(entry);
\tpm_send_withdraw(msk, entry);
\trelease_entry(entry);
}

int pm_count(const struct pm_sock *msk)
{
\tint count = 0;

\tif (msk->closing)
\t\treturn -EINVAL;
\tcount += msk->signalled;
\tcount += msk->accepted;
\treturn count;
}
"""
NAME = "net/mptcp/pm_kernel.c"


def edited(text: str, *edits: tuple[str, str]) -> str:
    """The text with each first string, which it has, replaced by the second, once."""
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text


def change(path: str, old: str, new: str) -> str:
    """A change as git writes it, with the function in each hunk's header."""
    lines = old.splitlines(keepends=True)
    rows = []
    for row in list(difflib.unified_diff(lines, new.splitlines(keepends=True), n=3))[2:]:
        if row.startswith("@@"):
            first = int(row.split("-")[1].split(",")[0].split(" ")[0])
            heads = [line for line in lines[: max(first - 1, 0)] if line[0].isalpha()]
            row = f"{row.rstrip()} {heads[-1] if heads else chr(10)}"
        rows.append(row)
    return (
        f"--- {f'a/{path}' if old else '/dev/null'}\n+++"
        f" {f'b/{path}' if new else '/dev/null'}\n{''.join(rows)}"
    )


def texts(files: Mapping[str, str]) -> dict[str, Text]:
    return {path: Text.of(path, "100644", content) for path, content in files.items()}


def taken_out(files: tuple[FileDiff, ...], tree: Mapping[str, str]) -> Fit | None:
    return fit_change(files, "+", texts(tree))


LOCKED = (
    "\tpm_send_withdraw(msk, entry);\n",
    "\tspin_lock_bh(&msk->lock);\n\tpm_send_withdraw(msk, entry);\n\tspin_unlock_bh(&msk->lock);\n",
)
COUNTED = (
    "\tcount += msk->accepted;\n",
    "\tcount += msk->accepted;\n\tcount += msk->fallback_paths;\n\tcount -= msk->half_closed;\n",
)
LATER = ("\tif (msk->closing)\n", "\tif (READ_ONCE(msk->closing))\n")
SEVEN = "".join(f"\tcount += msk->number_{number};\n" for number in range(1, 8))

FALSE: dict[str, tuple[list[tuple[str, str]], dict[str, str]]] = {
    # what the change does to KERNEL_C, and a tree that does not have it
    "two lines are moved, and stand where they were": (
        [
            ("\tcount += msk->signalled;\n\tcount += msk->accepted;\n", ""),
            (
                "\tif (msk->closing)\n",
                "\tcount += msk->signalled;\n\tcount += msk->accepted;\n\tif (msk->closing)\n",
            ),
        ],
        {NAME: edited(KERNEL_C, LATER)},
    ),
    "a lock that another function takes": (
        [LOCKED],
        {
            NAME: edited(
                KERNEL_C,
                ("\tpm_send_withdraw(msk, entry);\n", "\tpm_withdraw_now(msk, entry);\n"),
                (
                    "\tpm_send_announce(msk, entry);\n",
                    (
                        "\tspin_lock_bh(&msk->lock);\n\tpm_send_withdraw(msk, entry);\n"
                        "\tspin_unlock_bh(&msk->lock);\n"
                    ),
                ),
            )
        },
    ),
    "a lock whose two calls are far from each other": (
        [LOCKED],
        {
            NAME: edited(
                KERNEL_C,
                (
                    "\tpm_stop_timer(entry);\n\tpm_send_w",
                    "\tspin_lock_bh(&msk->lock);\n\tpm_stop_timer(entry);\n\tpm_send_w",
                ),
                ("int count = 0;\n", "int count = 0;\n\n\tspin_unlock_bh(&msk->lock);\n"),
            )
        },
    ),
    "a file that is not there, with its lines all over another": (
        [COUNTED],
        {
            "net/mptcp/options.c": (
                "int f(void)\n{\n\tcount += msk->fallback_paths;\n\treturn 0;\n}\n\nint"
                " g(void)\n{\n\tcount -= msk->half_closed;\n\tcount += msk->accepted;\n}\n"
            )
        },
    ),
    "lines in two unrelated places": (
        [COUNTED],
        {
            NAME: edited(
                KERNEL_C,
                LATER,
                (
                    "\tpm_send_announce(msk, entry);\n",
                    "\tpm_send_announce(msk, entry);\n\tcount += msk->fallback_paths;\n",
                ),
                ("\treturn count;\n", "\tcount -= msk->half_closed;\n\treturn count;\n"),
            )
        },
    ),
    "six of seven lines": (
        [("\treturn count;\n", f"{SEVEN}\treturn count;\n")],
        {
            NAME: edited(
                KERNEL_C,
                LATER,
                (
                    "\treturn count;\n",
                    f"{SEVEN}\treturn count;\n".replace("number_4", "number_four"),
                ),
            )
        },
    ),
    "the lines in another order": (
        [COUNTED],
        {
            NAME: edited(
                KERNEL_C,
                LATER,
                (
                    "\tcount += msk->accepted;\n",
                    (
                        "\tcount += msk->accepted;\n"
                        "\tcount -= msk->half_closed;\n\tcount += msk->fallback_paths;\n"
                    ),
                ),
            )
        },
    ),
    "a part of a longer line": (
        [
            (
                "\tcount += msk->accepted;\n",
                "\tcount += msk->accepted;\n\tcount += msk->fallback_paths;\n",
            )
        ],
        {
            NAME: edited(
                KERNEL_C,
                LATER,
                (
                    "\tcount += msk->accepted;\n",
                    "\tcount += msk->accepted;\n\tif (deep) count += msk->fallback_paths;\n",
                ),
            )
        },
    ),
    "what it replaces is still there": (
        [("\tcount += msk->accepted;\n", "\tcount += atomic_read(&msk->accepted);\n")],
        {
            NAME: edited(
                KERNEL_C,
                LATER,
                (
                    "\tcount += msk->accepted;\n",
                    "\tcount += atomic_read(&msk->accepted);\n\tcount += msk->accepted;\n",
                ),
            )
        },
    ),
    "one of two copies": (
        [
            (
                "\tpm_stop_timer(entry);\n\tpm_send_a",
                "\tpm_stop_retransmission(entry);\n\tpm_send_a",
            ),
            (
                "\tpm_stop_timer(entry);\n\tpm_send_w",
                "\tpm_stop_retransmission(entry);\n\tpm_send_w",
            ),
        ],
        {
            NAME: edited(
                KERNEL_C,
                (
                    "\tpm_stop_timer(entry);\n\tpm_send_a",
                    "\tpm_stop_retransmission(entry);\n\tpm_send_a",
                ),
            )
        },
    ),
    "a line that the change has as context, too": (
        [
            (
                "\tpm_send_announce(msk, entry);\n",
                "\tpm_stop_timer(entry);\n\tpm_send_announce(msk, entry);\n",
            )
        ],
        {NAME: KERNEL_C},
    ),
    "a setting that a neighbour has": (
        [("\tint count = 0;\n", "\tint count = -1;\n")],
        {
            NAME: edited(KERNEL_C, LATER, ("\tint count = 0;\n", "\tint count = 1;\n")),
            "net/mptcp/pm_userspace.c": (
                "int pm_total(const struct pm_sock *msk)\n{\n\tint count = -1;\n\n"
                "\tif (msk->closing)\n\t\treturn -EINVAL;\n}\n"
            ),
        },
    ),
    "only lines that are removed": (
        [("\tpm_stop_timer(entry);\n\tpm_send_w", "\tpm_send_w")],
        {NAME: edited(KERNEL_C, ("\tpm_stop_timer(entry);\n\tpm_send_w", "\tpm_send_w"), LATER)},
    ),
}


@pytest.mark.parametrize("case", FALSE)
def test_what_looks_like_it_is_not_there(case: str) -> None:
    edits, tree = FALSE[case]
    assert taken_out(parse_diff(change(NAME, KERNEL_C, edited(KERNEL_C, *edits))), tree) is None


TRUE: dict[str, tuple[list[tuple[str, str]], list[tuple[str, str]], str]] = {
    # what the change does, what else the tree has, what is said
    "one line, and a neighbour that changed": (
        [
            (
                "\tcount += msk->accepted;\n",
                "\tcount += msk->accepted;\n\tcount += msk->fallback_paths;\n",
            )
        ],
        [("\tcount += msk->signalled;\n", "\tcount += READ_ONCE(msk->signalled);\n")],
        f"hunk 1 of {NAME} is at {NAME}:44, 3 of 4 lines of context are there",
    ),
    "two blocks of a lock": (
        [LOCKED],
        [("\trelease_entry(entry);\n}\n\nint", "\tput_entry(entry);\n}\n\nint")],
        f"hunk 1 of {NAME} is at {NAME}:32, 4 of 5 lines of context are there",
    ),
    "a replaced line": (
        [("\tcount += msk->accepted;\n", "\tcount += atomic_read(&msk->accepted);\n")],
        [
            ("\tint count = 0;\n\n", "\tint count = 0, total;\n\n"),
            LATER,
            ("\tcount += msk->signalled;\n", "\tcount += msk->sig;\n"),
        ],
        f"hunk 1 of {NAME} is at {NAME}:43, 2 of 4 lines of context are there",
    ),
}


@pytest.mark.parametrize("case", TRUE)
def test_what_is_there_in_another_form_is_taken_out(case: str) -> None:
    edits, others, said = TRUE[case]
    files = parse_diff(change(NAME, KERNEL_C, edited(KERNEL_C, *edits)))
    found = taken_out(files, {NAME: edited(KERNEL_C, *edits, *others)})
    assert found and found.files == {NAME: ("100644", edited(KERNEL_C, *others))}
    assert found.notes == (said,)


def test_white_space_and_blank_lines_do_not_count() -> None:
    files = parse_diff(change(NAME, KERNEL_C, edited(KERNEL_C, COUNTED)))
    spaced = edited(
        KERNEL_C,
        (
            "\tcount += msk->accepted;\n",
            (
                "\tcount += msk->accepted;\n\n    count+=msk->fallback_paths;\n\tcount "
                " -=\tmsk->half_closed;\n"
            ),
        ),
    )
    found = taken_out(files, {NAME: spaced})
    assert found and found.files == {
        NAME: ("100644", edited(KERNEL_C, ("accepted;\n", "accepted;\n\n")))
    }
    assert found.notes == (f"hunk 1 of {NAME} is at {NAME}:45, with other white space",)


def test_code_that_went_to_another_file() -> None:
    files = parse_diff(change("net/mptcp/pm_netlink.c", KERNEL_C, edited(KERNEL_C, COUNTED)))
    tree = {
        "net/mptcp/pm_netlink.c": "int other;\n",
        NAME: edited(KERNEL_C, COUNTED),
        "net/mptcp/pm.c": "int pm;\n",
    }
    found = taken_out(files, tree)
    assert found and found.files == {NAME: ("100644", KERNEL_C)}
    assert found.notes == (
        f"hunk 1 of net/mptcp/pm_netlink.c is at {NAME}:44, 4 of 4 lines of context are there",
    )
    # Where its own file still has the function, a twin elsewhere is another one.
    assert (
        taken_out(
            files,
            tree
            | {
                "net/mptcp/pm_netlink.c": edited(
                    KERNEL_C, LATER, ("count += msk->acc", "count += msk->x")
                )
            },
        )
        is None
    )


def test_two_places_that_are_alike_tell_nothing() -> None:
    lines = "a_first_line();\nsome_line();\nanother_line();\n"
    files = parse_diff(
        change("x.sh", lines, lines.replace("some_line();\n", "some_line();\nadded_line();\n"))
    )
    twice = "a_first_line();\nsome_line();\nadded_line();\nother();\n" * 2
    assert taken_out(files, {"x.sh": twice}) is None


def test_files_that_come_and_go() -> None:
    added = parse_diff(change("new.c", "", "int new;\nint more;\n"))
    assert taken_out(added, {"new.c": "int new;\nint  more;\n"}) == Fit({"new.c": None}, ())
    assert taken_out(added, {"new.c": "int new;\nint more;\nint later;\n"}) is None
    both = parse_diff(
        change("old.c", "int old;\n", "") + change(NAME, KERNEL_C, edited(KERNEL_C, COUNTED))
    )
    found = taken_out(both, {NAME: edited(KERNEL_C, COUNTED)})
    assert found and found.files == {"old.c": ("100644", "int old;\n"), NAME: ("100644", KERNEL_C)}
    assert taken_out(both, {NAME: edited(KERNEL_C, COUNTED), "old.c": "int old;\n"}) is None
    assert fit_change(
        parse_diff(change("old.c", "int old;\n", "")), "-", texts({"old.c": "int  old;\n"})
    ) == Fit({"old.c": None}, ())
    assert fit_change(added, "-", {}) == Fit({"new.c": ("100644", "int new;\nint more;\n")}, ())


def test_a_name_that_no_tree_has_is_never_written() -> None:
    assert (
        taken_out(
            parse_diff(
                change("../x", "int old;\n", "") + change(NAME, KERNEL_C, edited(KERNEL_C, COUNTED))
            ),
            {NAME: edited(KERNEL_C, COUNTED)},
        )
        is None
    )


def test_modes() -> None:
    head = "diff --git a/x.sh b/x.sh\nold mode 100644\nnew mode 100755\n"
    lines = "a_first_line\nsome_line\n"
    more = parse_diff(head + change("x.sh", lines, f"{lines}added_line\n"))
    found = taken_out(more, {"x.sh": f"{lines}added_line\n"})
    assert (
        found
        and found.files == {"x.sh": ("100644", lines)}
        and found.notes == ("x.sh has mode 100644 instead of 100755",)
    )
    assert taken_out(parse_diff(head), {"x.sh": lines}) is None


def test_bytes_that_are_no_text_are_left_alone() -> None:
    files = parse_diff(change(NAME, KERNEL_C, edited(KERNEL_C, COUNTED)))
    assert taken_out(files, {NAME: edited(KERNEL_C, COUNTED, LATER) + "/* \ufffd */\n"}) is None


def test_putting_on_what_was_made_for_another_tree() -> None:
    files = parse_diff(
        change("net/mptcp/pm_netlink.c", KERNEL_C, edited(KERNEL_C, COUNTED, LOCKED))
    )
    tree = {NAME: edited(KERNEL_C, LATER)}
    found = fit_change(files, "-", texts(tree))
    assert found and found.files == {NAME: ("100644", edited(KERNEL_C, LATER, COUNTED, LOCKED))}
    assert len(found.notes) == 2
    # Not where a part of it is there, and not where nothing says where it belongs.
    assert fit_change(files, "-", texts({NAME: edited(KERNEL_C, LATER, LOCKED)})) is None
    gone = (
        "\tcount += msk->signalled;\n\tcount += msk->accepted;\n\treturn count;\n",
        "\treturn msk->count;\n",
    )
    assert fit_change(files, "-", texts({NAME: edited(KERNEL_C, gone)})) is None


def test_what_is_missing_is_named() -> None:
    files = parse_diff(change("net/mptcp/pm_netlink.c", KERNEL_C, edited(KERNEL_C, COUNTED)))
    here = texts({NAME: KERNEL_C})
    assert missing_parts(files, here, {"net/mptcp/pm_netlink.c"}) == [
        f"the tree has no net/mptcp/pm_netlink.c; its code is in {NAME}"
    ]
    here |= texts({"net/mptcp/pm_netlink.c": "int other;\n"})
    assert missing_parts(files, here, ()) == [
        f"net/mptcp/pm_netlink.c has no pm_count(); it is in {NAME}"
    ]
    assert missing_parts(files, {}, {"net/mptcp/pm_netlink.c"}) == [
        "the tree has no net/mptcp/pm_netlink.c"
    ]


def test_how_much_is_there() -> None:
    files = parse_diff(
        change(NAME, KERNEL_C, edited(KERNEL_C, ("\treturn count;\n", f"{SEVEN}\treturn count;\n")))
    )
    tree = edited(
        KERNEL_C, ("\treturn count;\n", f"{SEVEN}\treturn count;\n"), ("number_4;", "number_four;")
    )
    assert shortfall(files, texts({NAME: tree})) == f"6 of 7 added lines are there, at {NAME}:44"
    assert shortfall(files, texts({NAME: KERNEL_C})) == ""


def test_what_was_made_of_a_change_is_all_of_it() -> None:
    given, half = (
        parse_diff(change(NAME, KERNEL_C, edited(KERNEL_C, *edits)))
        for edits in ((COUNTED, LOCKED), (COUNTED,))
    )
    moved = parse_diff(change("net/mptcp/pm.c", KERNEL_C, edited(KERNEL_C, COUNTED, LOCKED)))
    assert all_kept(given, moved) and not all_kept(given, half) and all_kept(half, given)
    assert same_change(given, moved) and not same_change(half, given)


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("static void pm_announce(struct pm_sock *msk,", "pm_announce"),
        ("static struct pm_entry *pm_lookup(struct pm_sock *msk, u8 id)", "pm_lookup"),
        ("check_output()", "check_output"),
        ("out_unlock:", ""),
        ("int f(void);", ""),
        ("EXPORT_SYMBOL_GPL(pm_announce);", ""),
        ("\tif (a)", ""),
        ("struct x {", ""),
    ],
)
def test_the_function_that_a_line_begins(line: str, name: str) -> None:
    assert function_of(line) == name
