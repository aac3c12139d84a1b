# SPDX-License-Identifier: GPL-2.0-only
"""The architecture of the guest, by all the names that it has elsewhere."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Arch:
    """One architecture. ``kbuild`` is make's ARCH=; ``source`` its folder below arch/ of the tree;
    ``image`` what is booted, below the object directory, and ``target`` the word that makes it;
    ``machine`` what uname(1) says of a host of it; ``debian`` dpkg's name; ``qemu`` the program,
    ``qemu_package`` the Debian package that has it, ``firmware`` what it runs before the kernel."""

    kbuild: str
    source: str
    image: str
    target: str
    machine: str
    debian: str
    qemu: str
    qemu_package: str
    firmware: tuple[str, ...]

    @property
    def uapi(self) -> str:
        """Its headers for programs, below the tree."""
        return f"arch/{self.source}/include/uapi"


X86_64 = Arch(
    kbuild="x86_64",
    source="x86",
    image="arch/x86/boot/bzImage",
    target="bzImage",
    machine="x86_64",
    debian="amd64",
    qemu="qemu-system-x86_64",
    qemu_package="qemu-system-x86",
    # Packages of their own in most distributions.
    firmware=("bios-256k.bin", "linuxboot_dma.bin", "kvmvapic.bin"),
)
# What guests are, on any host.
GUEST = X86_64
