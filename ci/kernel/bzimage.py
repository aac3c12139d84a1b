# SPDX-License-Identifier: GPL-2.0-only
"""Which kernel is inside a bzImage: the build id in what its loader inflates."""

import re
import struct
import tempfile
from pathlib import Path

from ci.base import processes

SECTOR = 512
# x86's boot protocol (Documentation/arch/x86/boot.rst), offsets in the file; the payload is told
# since 2.08.
SETUP_SECTS, MAGIC, PAYLOAD = 0x1F1, 0x202, 0x248
# What `lz4 -l` writes, which is what CONFIG_KERNEL_LZ4 uses.
LZ4 = bytes.fromhex("02214c18")


def elf_build_id(elf: Path) -> str:
    """The build id (40 hex digits) in the notes of an ELF file, empty where there is none."""
    notes = processes.run(["readelf", "-n", elf], stage="build", timeout_s=60, ok=None).stdout
    found = re.search(r"Build ID: ([0-9a-f]{40})", notes)  # Build ID: 5be2...
    return found[1] if found else ""


def build_id(image: Path) -> str:
    """The build id (40 hex digits) of the kernel that the bzImage ``image`` boots; empty where it
    is none that is packed by lz4, as images/kconfig asks."""
    data = image.read_bytes()
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
        processes.run(["lz4", "-d", "-q", "-f", inside, elf], stage="build", timeout_s=60)
        return elf_build_id(elf)
