# SPDX-License-Identifier: GPL-2.0-only
"""Checks the header of a raw arm64 Image, and names files that are mistaken for one.

Source: Documentation/arch/arm64/booting.rst, arch/arm64/include/asm/image.h (page size in flags
since 4.6).
"""

import struct
from typing import Final

from tracers.constants.errors import ConstantsError

_HEADER: Final = struct.Struct("<IIQQQQQQ4sI")
_PAGE_SIZES: Final = {1: 4096, 2: 16384, 3: 65536}
_HINT: Final = "give an arm64 kernel's vmlinux or Image"


def page_size(head: bytes, origin: str) -> int | None:
    """Return the page size in bytes an arm64 Image's header names, None if it names none.

    Raises:
        ConstantsError: ``head`` is not the beginning of a little-endian arm64 Image.
    """
    if len(head) < _HEADER.size or head[0x38:0x3C] != b"ARM\x64":
        raise ConstantsError(f"{origin}: {_what(head)}; {_HINT}")
    flags = _HEADER.unpack_from(head)[4]
    if flags & 1:
        raise ConstantsError(
            f"{origin}: a big-endian arm64 kernel, which is not supported; {_HINT}"
        )
    return _PAGE_SIZES.get(flags >> 1 & 3)


#: (offset, bytes there, what the file is)
_KNOWN: Final = (
    (0x202, b"HdrS", "an x86 kernel (bzImage), not arm64"),
    (0x38, b"RSC\x05", "a RISC-V kernel, not arm64"),
    (0x24, b"\x18\x28\x6f\x01", "a 32-bit ARM kernel (zImage), not arm64"),
    (0, b"ANDROID!", "an Android boot image; unpack it first (unpack_bootimg)"),
    (0, b"\x27\x05\x19\x56", "a U-Boot image; unpack it first (dumpimage)"),
    (0, b"\xd0\x0d\xfe\xed", "a device tree or FIT image; unpack it first (dumpimage)"),
    (0, b"KDUMP   ", "a compressed dump; make it an ELF file first (makedumpfile -E)"),
    (0, b"!<arch>", "an archive, not a kernel"),
    (
        0,
        b"MZ",
        "an EFI program, not an arm64 Image (a unified kernel image? take the kernel out first)",
    ),
)


def _what(head: bytes) -> str:
    """Say in a few words what a file beginning with ``head`` is."""
    if not head:
        return "an empty file"
    for offset, magic, what in _KNOWN:
        if head[offset : offset + len(magic)] == magic:
            return what
    return "not a kernel: neither ELF nor an arm64 Image"
