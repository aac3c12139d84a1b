# SPDX-License-Identifier: GPL-2.0-only
"""ci.series.patches: the project's own five patches, and folders that somebody else wrote."""

from pathlib import Path

import pytest

from ci.base.errors import PatchError, StageError
from ci.series.patch import read_patch
from ci.series.patches import load_series
from tests.conftest import ROOT, git, write

# What the cover letter lists.
COVER_FILES = {
    "Documentation/netlink/specs/mptcp_pm.yaml",
    "include/uapi/linux/mptcp.h",
    "include/uapi/linux/mptcp_pm.h",
    "net/mptcp/options.c",
    "net/mptcp/pm_netlink.c",
    "net/mptcp/subflow.c",
    "tools/testing/selftests/net/mptcp/mptcp_sockopt.c",
    "tools/testing/selftests/net/mptcp/pm_nl_ctl.c",
    "tools/testing/selftests/net/mptcp/userspace_pm.sh",
}


def test_the_series_of_the_project() -> None:
    loaded = load_series(ROOT / "kernel-patches/deny-join-id0")
    assert [patch.number for patch in loaded.patches] == [1, 2, 3, 4, 5]
    assert [patch.title for patch in loaded.patches] == [
        "mptcp: set remote_deny_join_id0 on SYN recv",
        "mptcp: pm: nl: announce deny-join-id0 flag",
        "selftests: mptcp: userspace pm: validate deny-join-id0 flag",
        "mptcp: tfo: record 'deny join id0' info",
        "selftests: mptcp: sockopt: fix error messages",
    ]
    # The cover letter: 9 files changed, 48 insertions(+), 16 deletions(-)
    assert {file for patch in loaded.patches for file in patch.files} == COVER_FILES
    assert sum(patch.insertions for patch in loaded.patches) == 48
    assert sum(patch.deletions for patch in loaded.patches) == 16
    assert [patch.since for patch in loaded.patches] == [(5, 14), (5, 19), (5, 19), (6, 2), (6, 5)]
    assert len({patch.digest for patch in loaded.patches}) == 5
    assert loaded.base_commit.startswith("2690cb08") and loaded.suite == "default"
    assert loaded.must_flip[0].case == "Established IPv4 MPTCP Connection ns2 => ns1"


def test_a_backport_stands_behind_the_patch_for_its_version_only() -> None:
    loaded = load_series(ROOT / "kernel-patches/deny-join-id0")
    second = loaded.patches[1]
    assert [how for how, _ in loaded.forms(second, (6, 16))] == ["applies", "applies as backport"]
    assert [form.path.name.rpartition("flag")[2] for _, form in loaded.forms(second, (6, 12))] == [
        ".patch",
        "-pm_kernel.patch",
        "-pm_netlink-before-6.12.48.patch",
        "-pm_netlink.patch",
    ]
    assert [how for how, _ in loaded.forms(second, (6, 17))] == ["applies"]
    assert [how for how, _ in loaded.forms(loaded.patches[0], (6, 12))] == ["applies"]


# (version, number) -> lines put in and taken out by each of its forms.
BACKPORTS = {
    ((5, 15), 1): [(3, 0)],
    ((6, 1), 1): [(4, 0)],
    ((6, 1), 2): [(11, 2)],
    ((6, 1), 3): [(19, 2)],
    ((6, 6), 2): [(11, 2)],
    ((6, 6), 3): [(18, 3)],
    # The code of the events in pm_kernel.c; in pm_netlink.c before 6.12.48; in pm_netlink.c since
    # then.
    ((6, 12), 2): [(13, 4), (19, 7), (13, 4)],
    ((6, 16), 2): [(13, 4)],
    **{
        ((major, minor), 2): [(4, 0)]
        for major, minor in ((6, 18), (6, 19), (7, 0), (7, 1), (7, 2), (7, 3))
    },
    **{
        ((major, minor), 3): [(14, 3)]
        for major, minor in ((6, 18), (6, 19), (7, 0), (7, 1), (7, 2), (7, 3))
    },
}


def test_backports_are_of_the_patches_that_they_stand_for() -> None:
    loaded = load_series(ROOT / "kernel-patches/deny-join-id0")
    made = {
        (version, number): [read_patch(path, number) for path in paths]
        for version, rows in loaded.backports.items()
        for number, paths in rows.items()
    }
    assert {
        key: [(one.insertions, one.deletions) for one in forms] for key, forms in made.items()
    } == BACKPORTS
    for (version, number), forms in made.items():
        patch = loaded.patches[number - 1]
        assert (patch.since or version) <= version
        for one in forms:
            fixes = [line for line in patch.body.splitlines() if line.startswith("Fixes: ")]
            assert one.title == patch.title and fixes and fixes[0] in one.body


def test_any_folder_is_a_series(demo_series: Path) -> None:
    loaded = load_series(demo_series)
    assert loaded.name == "series" and loaded.must_flip == () and loaded.suite == ""
    assert [(p.title, p.insertions, p.deletions, p.files) for p in loaded.patches] == [
        ("demo: start line 10 at one", 1, 1, ("net/demo.c",)),
        ("demo: start more lines elsewhere", 2, 2, ("net/demo.c",)),
    ]
    assert loaded.patches[0].body == "It was zero."
    assert all(patch.since is None and not patch.depends for patch in loaded.patches)


def test_a_digest_does_not_depend_on_how_the_patch_came_in(
    kernel_tree: Path, demo_series: Path
) -> None:
    before = load_series(demo_series).patches[0]
    raw = before.path.read_text(encoding="utf-8")
    text = raw.replace("From: Ada", "From: Bob").replace("[PATCH 1/2]", "[PATCH net v3 07/19]")
    text = text.replace("\n-- \n2", "\n-- \n9").replace("@@ -7,7 +7,7 @@", "@@ -9,7 +9,7 @@")
    before.path.write_text(text, encoding="utf-8")
    after = load_series(demo_series).patches[0]
    assert after.diff != before.diff and after.digest == before.digest
    before.path.write_text(text.replace("+int line10 = 1;", "+int line10 =  1;"), encoding="utf-8")
    assert load_series(demo_series).patches[0].digest != before.digest
    before.path.write_text(text.replace("It was zero.", "It is one."), encoding="utf-8")
    assert load_series(demo_series).patches[0].digest != before.digest


def test_bytes_that_are_no_utf8_come_through(kernel_tree: Path, tmp_path: Path) -> None:
    git(kernel_tree, "checkout", "-q", "-b", "latin")
    (kernel_tree / "net/other.c").write_bytes(b"int other; /* caf\xe9 */\n")
    git(kernel_tree, "commit", "-qam", "other: say where")
    git(kernel_tree, "format-patch", "-q", "-o", str(tmp_path / "latin"), "main..latin")
    (patch,) = load_series(tmp_path / "latin").patches
    assert b"caf\xe9" in patch.diff.encode("utf-8", "surrogateescape")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "holds no *.patch, *.diff, *.eml or *.mbox file"),
        ({"fix.patch": "x"}, "fix.patch: not a patch: there is no diff in it"),
        ({"0001-a.patch": "x", "v2-0001-b.patch": "x"}, "number 1 is taken by 0001-a.patch"),
        ({"0001-a.patch": "hello\n"}, "0001-a.patch"),
        (
            {"0001-a.patch": "From: a@b.c\nSubject: [PATCH] x\n\nwords\n"},
            "0001-a.patch: not a patch",
        ),
    ],
)
def test_what_is_no_series_is_named(files: dict[str, str], said: str, tmp_path: Path) -> None:
    write(tmp_path, files)
    with pytest.raises(StageError) as caught:
        load_series(tmp_path)
    assert said in caught.value.message


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StageError, match="no such folder"):
        load_series(tmp_path / "nowhere")


def test_a_hunk_that_is_cut_short_is_the_patchs_fault(demo_series: Path) -> None:
    path = sorted(demo_series.glob("*.patch"))[0]
    path.write_text(
        path.read_text(encoding="utf-8").replace(" int line11;\n", ""), encoding="utf-8"
    )
    with pytest.raises(PatchError) as caught:
        load_series(demo_series)
    assert path.name in caught.value.message and caught.value.patch == 1


@pytest.mark.parametrize(
    ("toml", "said"),
    [
        ("name = ", "series.toml"),
        ("nmae = 'x'", "unknown key 'nmae'"),
        ("suite = 7", "suite has to be a text"),
        ("[[patch]]\nnumber = 9", "number 9 has no patch file"),
        ("[[patch]]\nnumber = 1\naffects_since = 'five'", "'five' is not a kernel version"),
        ("[[must_flip]]\nscript = 'x'", "needs script and case"),
    ],
)
def test_a_wrong_series_toml_is_named(toml: str, said: str, demo_series: Path) -> None:
    write(demo_series, {"series.toml": toml})
    with pytest.raises(StageError) as caught:
        load_series(demo_series)
    assert said in caught.value.message and "series.toml" in caught.value.message


def test_a_strangers_repository_starts_no_program(demo_series: Path, tmp_path: Path) -> None:
    """What git would run to compare a file with its commit is named in the repository's own
    settings."""
    git(demo_series, "init", "-q")
    git(demo_series, "add", "-A")
    git(demo_series, "commit", "-qm", "ours")
    git(demo_series, "config", "filter.x.clean", f"touch {tmp_path}/ran; cat")
    first = sorted(demo_series.glob("*.patch"))[0]
    (demo_series / ".gitattributes").write_text("* filter=x\n")
    first.write_bytes(first.read_bytes() + b"\n")
    loaded = load_series(demo_series)
    assert list(loaded.committed) == [first] and not (tmp_path / "ran").exists()


def test_a_patch_that_was_committed_broken_can_be_mended(demo_series: Path) -> None:
    first = sorted(demo_series.glob("*.patch"))[0]
    whole = first.read_bytes()
    git(demo_series, "init", "-q")
    first.write_bytes(b"not yet\n")
    git(demo_series, "add", "-A")
    git(demo_series, "commit", "-qm", "ours")
    first.write_bytes(whole)
    assert load_series(demo_series).committed == {}
