# SPDX-License-Identifier: GPL-2.0-only
"""ci.guest.cpio: archives that another reader takes, the same bytes for the same entries."""

import io
import os
import stat
import subprocess
import tarfile
from pathlib import Path

import pytest

from ci.base.errors import StageError
from ci.guest import cpio
from ci.guest.cpio import Entry


def packed(*entries: Entry) -> bytes:
    out = io.BytesIO()
    cpio.write_archive(entries, out)
    return out.getvalue()


def read(data: bytes) -> dict[str, tuple[int, bytes]]:
    """A newc archive read by the format's rules: path -> (mode, data)."""
    found: dict[str, tuple[int, bytes]] = {}
    at = 0
    while True:
        assert data[at : at + 6] == b"070701"
        fields = [int(data[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        name = data[at + 110 : at + 110 + fields[11] - 1].decode()
        at += -(-(110 + fields[11]) // 4) * 4
        body = data[at : at + fields[6]]
        at += -(-fields[6] // 4) * 4
        if name == "TRAILER!!!":
            assert len(data) % 512 == 0
            return found
        assert fields[2] == fields[3] == fields[5] == 0  # owner, group, time
        found[name] = (fields[1], body)


FILE = Entry("bin/x", stat.S_IFREG | 0o755, b"#!/bin/sh\n")
LINK = Entry("bin/y", stat.S_IFLNK | 0o777, b"x")


def test_round_trip() -> None:
    archive = read(packed(LINK, FILE, *cpio.folder_entries(["bin", "var/lib"])))
    assert list(archive) == [
        "bin",
        "bin/x",
        "bin/y",
        "var",
        "var/lib",
    ]  # a folder comes before what is in it
    assert archive["bin/x"] == (0o100755, b"#!/bin/sh\n")
    assert archive["bin/y"] == (0o120777, b"x")
    assert archive["var/lib"][0] == 0o040755


def test_order_does_not_matter_and_a_later_entry_wins() -> None:
    other = Entry("bin/x", stat.S_IFREG | 0o644, b"new")
    assert packed(FILE, LINK) == packed(LINK, FILE)
    assert read(packed(FILE, other))["bin/x"] == (0o100644, b"new")


def test_a_folder_of_the_host(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/tool").write_bytes(b"x")
    (tmp_path / "sub/tool").chmod(0o4711)
    (tmp_path / "link").symlink_to("sub/tool")
    archive = read(packed(*cpio.tree_entries(tmp_path)))
    assert archive == {
        "link": (0o120777, b"sub/tool"),
        "sub": (0o040755, b""),
        "sub/tool": (0o100755, b"x"),
    }


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StageError, match=r"pipe: neither a file, nor a folder, nor a link"):
        list(cpio.tree_entries(tmp_path))


def test_a_tar_without_what_is_trimmed(tmp_path: Path) -> None:
    for name in (
        "usr/share/doc/a",
        "usr/bin/tool",
        "etc/cron.daily/x",
        "etc/passwd",
        "usr/lib/locale/C.utf8/LC",
        "usr/lib/locale/de/LC",
    ):
        (tmp_path / "root" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "root" / name).write_text(name, encoding="utf-8")
    (tmp_path / "root/usr/bin/again").hardlink_to(tmp_path / "root/usr/bin/tool")
    subprocess.run(["tar", "-cf", tmp_path / "root.tar", "-C", tmp_path / "root", "."], check=True)
    trim = ["usr/share/*", "etc/cron*", "usr/lib/locale/[!C]*"]
    archive = read(packed(*cpio.tar_entries(tmp_path / "root.tar", trim)))
    files = {name for name, (mode, _) in archive.items() if stat.S_ISREG(mode)}
    assert files == {"usr/bin/tool", "usr/bin/again", "etc/passwd", "usr/lib/locale/C.utf8/LC"}
    assert archive["usr/bin/again"][1] == b"usr/bin/tool"


def test_it_does_not_matter_who_unpacked_a_tar(tmp_path: Path) -> None:
    """As root with the modes of the packages, as somebody else with a strict umask: the same
    archive."""
    archives = []
    for who, modes in (
        ("root", (0o755, 0o4755, 0o644, 0o1777)),
        ("somebody", (0o700, 0o700, 0o600, 0o700)),
    ):
        with tarfile.open(tmp_path / f"{who}.tar", "w") as tar:
            for (name, kind), mode in zip(
                {
                    "usr": tarfile.DIRTYPE,
                    "usr/mount": tarfile.REGTYPE,
                    "usr/text": tarfile.REGTYPE,
                    "tmp": tarfile.DIRTYPE,
                }.items(),
                modes,
                strict=True,
            ):
                one = tarfile.TarInfo(name)
                one.type, one.mode, one.uname = kind, mode, who
                tar.addfile(one)
        archives.append(packed(*cpio.tar_entries(tmp_path / f"{who}.tar", ())))
    assert archives[0] == archives[1]
    assert {name: mode for name, (mode, _) in read(archives[0]).items()} == {
        "tmp": 0o040755,
        "usr": 0o040755,
        "usr/mount": 0o100755,
        "usr/text": 0o100644,
    }


def test_device_nodes_are_left_out(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "t.tar", "w") as tar:
        node = tarfile.TarInfo("dev/null")
        node.type, node.devmajor, node.devminor = tarfile.CHRTYPE, 1, 3
        tar.addfile(node)
    assert list(cpio.tar_entries(tmp_path / "t.tar", ())) == []
