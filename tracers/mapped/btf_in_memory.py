# SPDX-License-Identifier: GPL-2.0-only
"""Finds a kernel's BTF in its own memory, where a dump has nothing beside it.

Promises: it is the kernel's, not some module's; what is not found, or is damaged, is ``None``.
"""

from typing import Final

from tracers.constants.btf import Btf
from tracers.constants.core_file import Core
from tracers.constants.errors import ConstantsError
from tracers.constants.resources import found, image_parts

#: BTF of version 1 with a header of 24 bytes, little-endian (include/uapi/linux/btf.h).
_BTF: Final = b"\x9f\xeb\x01\x00\x18\x00\x00\x00"
_CAP: Final = 64 << 20
_PIECE: Final = 1 << 20


def btf_in_memory(core: Core) -> Btf | None:
    """Return the types that lie in the image of a dump's kernel."""
    for address, data in image_parts(core):
        for at in found(data, _BTF):
            if (types := _types(core, address + at)) is not None:
                return types
    return None


def _types(core: Core, place: int) -> Btf | None:
    head = core.read(place, 24)
    if head is None:
        return None
    fields = [int.from_bytes(head[at : at + 4], "little") for at in range(8, 24, 4)]
    size = 24 + max(fields[0] + fields[1], fields[2] + fields[3])
    if size > _CAP:
        return None
    parts: list[bytes] = []
    for at in range(0, size, _PIECE):
        part = core.read(place + at, min(_PIECE, size - at))
        if part is None:
            return None
        parts.append(part)
    try:
        types = Btf(b"".join(parts))
    except ConstantsError:
        return None
    return types if types.struct_size("page") else None
