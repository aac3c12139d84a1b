# SPDX-License-Identifier: GPL-2.0-only
"""Which kernel is inside a bzImage: the build id in what its loader inflates. The image and the
program may be anything: what a build left."""

import struct
import tempfile
from pathlib import Path

from ci.base import processes, sandbox
from ci.base.sandbox import Mount
from ci.base.untrusted import open_below, read_below

SECTOR = 512
# x86's boot protocol (Documentation/arch/x86/boot.rst), offsets in the file; the payload is told
# since 2.08.
SETUP_SECTS, MAGIC, PAYLOAD = 0x1F1, 0x202, 0x248
# What `lz4 -l` writes, which is what CONFIG_KERNEL_LZ4 uses.
LZ4 = bytes.fromhex("02214c18")
MOST_IMAGE, MOST_ELF = 256 << 20, 2 << 30
UNPACK_LIMIT_S = 60
# elf(5), of 64 bits, the low byte first: magic and class, the size of a header, and of each program
# header, of which so many are looked at; a note is sizes of name and content and a type, padded.
ELF, HEADER, SEGMENT, MOST_SEGMENTS = b"\x7fELF\x02\x01", 64, 56, 64
PT_NOTE, MOST_NOTES = 4, 1 << 16
NT_GNU_BUILD_ID, GNU = 3, b"GNU\0"


def elf_build_id(elf: Path) -> str:
    """The build id (40 hex digits) in the notes of an ELF file, empty where there is none."""
    with open_below(elf.parent, elf.name, MOST_ELF) as file:
        head = file.read(HEADER)
        if len(head) < HEADER or not head.startswith(ELF):
            return ""
        (first,), (size, count) = (
            struct.unpack_from("<Q", head, 32),
            struct.unpack_from("<HH", head, 54),
        )
        if size != SEGMENT or first > MOST_ELF:
            return ""
        file.seek(first)
        table = file.read(SEGMENT * min(count, MOST_SEGMENTS))
        for at in range(0, len(table) - SEGMENT + 1, SEGMENT):
            kind, _, offset, _, _, length = struct.unpack_from("<IIQQQQ", table, at)
            if kind == PT_NOTE and offset <= MOST_ELF:
                file.seek(offset)
                if found := _noted_id(file.read(min(length, MOST_NOTES))):
                    return found
    return ""


def _noted_id(notes: bytes) -> str:
    """The build id in a segment of notes."""
    at = 0
    while at + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from("<III", notes, at)
        name = at + 12
        content = name + (name_size + 3 & ~3)
        if (kind, notes[name : name + name_size], size) == (NT_GNU_BUILD_ID, GNU, 20):
            return notes[content : content + size].hex()
        at = content + (size + 3 & ~3)
    return ""


def build_id(image: Path, *, confined: bool = True) -> str:
    """The build id (40 hex digits) of the kernel that the bzImage ``image`` boots; empty where it
    is none that is packed by lz4, as images/kconfig asks. It is unpacked in the sandbox, unless
    that is not to be."""
    data = read_below(image.parent, image.name, MOST_IMAGE)
    if len(data) < PAYLOAD + 8 or data[MAGIC : MAGIC + 4] != b"HdrS":
        return ""
    offset, length = struct.unpack_from("<II", data, PAYLOAD)
    begin = ((data[SETUP_SECTS] or 4) + 1) * SECTOR + offset
    packed = data[begin : begin + length - 4]  # kbuild appends the size of what is packed
    if not packed.startswith(LZ4):
        return ""
    with tempfile.TemporaryDirectory() as scratch:
        inside, elf = Path(scratch) / "vmlinux.lz4", Path(scratch) / "vmlinux"
        inside.write_bytes(packed)
        elf.touch()
        words: list[str | Path] = [
            "prlimit",
            f"--fsize={MOST_ELF}",
            "lz4",
            "-d",
            "-q",
            "-f",
            inside,
            elf,
        ]
        if confined:
            mounts = [Mount(inside, inside), Mount(elf, elf, writable=True)]
            sandbox.run_confined(words, mounts, stage="build", timeout_s=UNPACK_LIMIT_S, env={})
        else:
            processes.run(words, stage="build", timeout_s=UNPACK_LIMIT_S, ok=None)
        return elf_build_id(elf)
