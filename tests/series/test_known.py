# SPDX-License-Identifier: GPL-2.0-only
"""ci.series.known: a series of kernel-patches/ is recognised however it came, and what differs is
told."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ci.base.progress import Progress
from ci.base.settings import Settings
from ci.series import known
from ci.series.locate import bring_series
from ci.series.patches import Series, load_series
from tests.conftest import ROOT
from tests.series.test_forms import box, put, quilt

OURS = ROOT / "kernel-patches/deny-join-id0"
ID = "20250912-net-mptcp-pm-uspace-deny_join_id0-v1-{n}-40171884ade8@kernel.org"
CHANGE_ID = "20250912-net-mptcp-pm-uspace-deny_join_id0-b6111e4e7e69"
BY = {
    "message-id": ID,
    "change-id": "other-{n}@example.org",
    "titles and patch-ids": "other-{n}@example.org",
}


def mail(number: int, patch: bytes, identity: str, words: str = "Said in other words.") -> bytes:
    """The patch with another message, as on a list."""
    head, _, rest = patch.partition(b"\n\n")
    title = re.search(rb"^Subject: \[PATCH[^]]*\] (.*(?:\n .*)*)$", head, re.M)
    assert title
    diff = rest[rest.index(b"\n---\n") :]
    rows = f"From: Bob <bob@example.org>\nMessage-ID: <{identity.format(n=number)}>\n"
    text = f"{words}\n\nSigned-off-by: Bob <bob@example.org>"
    return (
        f"{rows}Subject: [PATCH net {number}/5] ".encode()
        + title[1]
        + b"\n\n"
        + text.encode()
        + diff
    )


def mails(by: str, edit: Callable[[int, bytes], bytes] = lambda _, raw: raw) -> list[bytes]:
    cover = (
        f"From: Bob <bob@example.org>\nMessage-ID: <{BY[by].format(n=0)}>\nSubject: [PATCH net 0/5]"
        " a cover\n\nWords.\n"
    )
    cover += f"---\nchange-id: {CHANGE_ID}\n" if by == "change-id" else ""
    raws = [path.read_bytes() for path in sorted(OURS.glob("*.patch"))]
    return [cover.encode(), *(mail(n, edit(n, raw), BY[by]) for n, raw in enumerate(raws, 1))]


@pytest.fixture
def bring(settings_for: Callable[..., Settings], progress: Progress) -> Callable[..., Series]:
    return lambda spec, **more: bring_series(settings_for(series=str(spec), **more), progress)


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("way", ["mbox", "folder"])
def test_mails_with_other_messages_are_the_series(
    by: str,
    way: str,
    bring: Callable[..., Series],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    rows = mails(by)
    put(
        tmp_path,
        {"t.mbox": box(rows), **{f"mails/{n:04}-x.patch": row for n, row in enumerate(rows)}},
    )
    loaded, ours = (
        bring(tmp_path / ("t.mbox" if way == "mbox" else "mails")),
        load_series(OURS),
    )
    assert (
        loaded.must_flip == ours.must_flip
        and loaded.base_url == ours.base_url
        and loaded.backports == ours.backports
    )
    assert [patch.facts for patch in loaded.patches] == [patch.facts for patch in ours.patches]
    assert all(patch.body.startswith("Said in other words.") for patch in loaded.patches)
    (note,) = loaded.notes
    assert f"the patches of kernel-patches/deny-join-id0, by their {by}: " in note
    assert note.endswith("; what differs: the message of patch 1, 2, 3, 4, 5")
    assert "kernel-patches/deny-join-id0" in capfd.readouterr().err


def test_another_context_is_told_and_both_forms_are_tried(
    bring: Callable[..., Series], tmp_path: Path
) -> None:
    first = sorted(OURS.glob("*.patch"))[0].read_bytes()
    context = re.search(rb"^ \t+\w.*$", first[first.index(b"@@") :], re.M)
    assert context
    rows = mails(
        "message-id",
        lambda n, raw: raw.replace(context[0], context[0] + b" /* x */") if n == 1 else raw,
    )
    loaded = bring(put(tmp_path, {"t.mbox": box(rows)}) / "t.mbox")
    assert "the context of patch 1 and the message of patch 2, 3, 4, 5" in loaded.notes[0]
    forms = loaded.forms(loaded.patches[0], (6, 17))
    assert [how for how, _ in forms] == ["applies", "applies as backport"] and b"/* x */" in forms[
        0
    ][1].diff.encode()
    assert forms[1][1].patch_id == load_series(OURS).patches[0].patch_id
    rows = mails(
        "titles and patch-ids",
        lambda n, raw: raw.replace(context[0], context[0] + b" /* x */") if n == 1 else raw,
    )
    assert not bring(put(tmp_path, {"t.mbox": box(rows)}) / "t.mbox").must_flip


@pytest.mark.parametrize("by", ["message-id", "change-id"])
def test_another_change_is_another_series(
    by: str, bring: Callable[..., Series], tmp_path: Path
) -> None:
    first = sorted(OURS.glob("*.patch"))[0].read_bytes()
    added = re.search(rb"^\+\t+\w.*$", first, re.M)
    assert added
    rows = mails(
        by, lambda n, raw: raw.replace(added[0], added[0] + b" /* x */") if n == 1 else raw
    )
    loaded = bring(put(tmp_path, {"t.mbox": box(rows)}) / "t.mbox")
    assert loaded.must_flip == () and loaded.backports == {} and loaded.base_url == ""
    assert loaded.notes == (
        (
            f"by its {by} this is kernel-patches/deny-join-id0, but patch 1 changes other lines:"
            " taken as a series of its own"
        ),
    )


def test_a_part_of_it_is_known_where_it_is_asked_for(
    bring: Callable[..., Series], tmp_path: Path
) -> None:
    rows = mails("titles and patch-ids")
    given = put(
        tmp_path,
        {"t.mbox": box(rows), "four.mbox": box([row.replace(b"/5]", b"/4]") for row in rows[:5]])},
    )
    one = bring(given / "t.mbox", only="2")
    assert (
        [patch.since for patch in one.patches] == [(5, 19)]
        and one.must_flip == ()
        and one.backports
    )
    three = bring(given / "t.mbox", only="1-3")
    assert len(three.must_flip) == 1 and [patch.number for patch in three.patches] == [1, 2, 3]
    four = bring(given / "four.mbox")
    assert four.must_flip == () and "it lacks patch 5" in four.notes[-1]


def test_a_folder_with_a_series_toml_says_all_of_itself(
    bring: Callable[..., Series], tmp_path: Path
) -> None:
    rows = {f"{n:04}-x.patch": row for n, row in enumerate(mails("message-id"))}
    loaded = bring(put(tmp_path / "mine", {**rows, "series.toml": b'name = "mine"\n'}))
    assert (loaded.name, loaded.must_flip, loaded.notes) == ("mine", (), ())


def test_what_differs_between_two_patches() -> None:
    first, second = load_series(OURS).patches[:2]
    assert known.what_differs(first, first) == known.SAME
    assert known.what_differs(first, second) == known.CHANGE


def test_a_known_series_that_cannot_be_read_is_told(
    settings_for: Callable[..., Settings], progress: Progress, project: Path, tmp_path: Path
) -> None:
    (project / "kernel-patches/deny-join-id0/series.toml").write_text("name = 1\n")
    given = put(tmp_path, {"t.mbox": box(mails("message-id"))}) / "t.mbox"
    settings = settings_for(series=str(given))
    settings = replace(settings, workspace=replace(settings.workspace, root=project))
    (note,) = bring_series(settings, progress).notes
    assert (
        "not compared with kernel-patches/deny-join-id0, which cannot be read: " in note
        and "series.toml" in note
    )


def test_quilts_form_with_another_context_has_the_same_change(
    bring: Callable[..., Series], tmp_path: Path
) -> None:
    raw = sorted(OURS.glob("*.patch"))[0].read_bytes()
    context = re.search(rb"^ \t+\w.*$", raw[raw.index(b"@@") :], re.M)
    assert context
    edited = quilt(raw.replace(context[0], context[0] + b" /* x */"))
    (given,) = bring(put(tmp_path, {"a.patch": edited}) / "a.patch").patches
    assert known.what_differs(given, load_series(OURS).patches[0]) == known.CONTEXT
    (other,) = bring(
        put(tmp_path, {"b.patch": edited.replace(b"--- linux", b"--- x/linux")}) / "b.patch"
    ).patches
    assert known.what_differs(other, load_series(OURS).patches[0]) == known.CHANGE
