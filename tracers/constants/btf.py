"""Reads the size of a struct out of BTF, the kernel's compact type information.

Promises: one pass over the records, in memory and time bounded by the bytes given; types are
never followed, so no cycle can trap it; BTF that contradicts itself raises ``ConstantsError``.

Source: Documentation/bpf/btf.rst and include/uapi/linux/btf.h up to 7.2; the layout section of
7.1 lets kinds be skipped that were invented later.
"""

import sys
from array import array
from typing import Final

from tracers.constants.errors import ConstantsError

#: BTF_MAX_TYPE: more types than this the kernel itself refuses.
MAX_TYPES: Final = 0x000F_FFFF
_MAGIC: Final = b"\x9f\xeb"  # 0xeB9F, little-endian
_HEADER: Final = 24  # bytes; 32 with the layout section (7.1)
_STRUCT: Final = 4
#: kind -> u32 words after the 12 bytes every record has: (once, per element)
_EXTRA: Final = {
    1: (1, 0),  # INT
    2: (0, 0),  # PTR
    3: (3, 0),  # ARRAY
    4: (0, 3),  # STRUCT
    5: (0, 3),  # UNION
    6: (0, 2),  # ENUM
    7: (0, 0),  # FWD
    8: (0, 0),  # TYPEDEF
    9: (0, 0),  # VOLATILE
    10: (0, 0),  # CONST
    11: (0, 0),  # RESTRICT
    12: (0, 0),  # FUNC: its vlen is the linkage
    13: (0, 2),  # FUNC_PROTO
    14: (1, 0),  # VAR
    15: (0, 3),  # DATASEC
    16: (0, 0),  # FLOAT
    17: (1, 0),  # DECL_TAG
    18: (0, 0),  # TYPE_TAG
    19: (0, 3),  # ENUM64
}
_UNKNOWN: Final = -1


def struct_size(btf: bytes, name: str) -> int | None:
    """Return sizeof(struct ``name``) in bytes, None if ``btf`` defines no such struct.

    ``btf`` is the content of a kernel's .BTF section or of /sys/kernel/btf/vmlinux.

    Raises:
        ConstantsError: not the BTF of a little-endian kernel, cut short or contradictory.
    """
    types, strings, layout = _sections(btf)
    once, each = _extra(layout)
    wanted = name.encode() + b"\0"
    length = len(wanted)
    words = _words(types)
    sizes: set[int] = set()
    at, seen, total = 0, 0, len(words)
    while at + 3 <= total:
        info = words[at + 1]
        # 7 bits of kind and 24 of count since f7a6b9eaff3e (7.2): unused and 0 before
        kind = info >> 24 & 0x7F
        if kind == _STRUCT:
            start = words[at]
            if strings[start : start + length] == wanted:
                sizes.add(words[at + 2])
            elif start >= len(strings):
                raise ConstantsError(
                    "the BTF names a struct outside its strings: damaged, or a module's, which"
                    " holds only what the kernel's lacks"
                )
        if once[kind] == _UNKNOWN:
            raise ConstantsError(f"the BTF has types of kind {kind}, which nobody described yet")
        seen += 1
        if seen > MAX_TYPES:
            raise ConstantsError(f"the BTF has more than {MAX_TYPES} types")
        at += 3 + once[kind] + each[kind] * (info & 0xFF_FFFF)
    if at != total:
        raise ConstantsError("the BTF ends inside a type: cut short or damaged")
    if len(sizes) > 1:
        told = ", ".join(str(size) for size in sorted(sizes)[:4])
        raise ConstantsError(f"the BTF defines struct {name} with several sizes: {told}")
    return next(iter(sizes), None)


def _words(types: memoryview) -> "memoryview | array[int]":
    """Return the little-endian u32 words; without a copy, where the host is little-endian too."""
    if sys.byteorder == "little":
        return types.cast("I")
    swapped = array("I")
    swapped.frombytes(types)
    swapped.byteswap()
    return swapped


def _sections(btf: bytes) -> tuple[memoryview, memoryview, bytes]:
    """Return the type, string and layout section, each within the bytes there are."""
    if btf[:2] == _MAGIC[::-1]:
        raise ConstantsError("big-endian BTF: only little-endian arm64 kernels are read")
    if btf[:2] != _MAGIC or len(btf) < _HEADER:
        raise ConstantsError("not BTF: expected the content of a .BTF section")
    version, flags = btf[2], btf[3]
    if version != 1 or flags:
        raise ConstantsError(f"BTF of version {version}, flags {flags}: only version 1 is known")
    header = int.from_bytes(btf[4:8], "little")
    if header < _HEADER or header > len(btf):
        raise ConstantsError(f"the BTF says its header has {header} of its {len(btf)} bytes")
    # a header of another length than ours has other fields at the end, or none
    fields = [int.from_bytes(btf[at : at + 4], "little") for at in range(8, min(header, 32), 4)]
    found: list[memoryview] = []
    view = memoryview(btf)[header:]
    for what, at, size in zip(
        ("type", "string", "layout"), fields[::2], fields[1::2], strict=False
    ):
        if at + size > len(view):
            raise ConstantsError(
                f"the BTF's {what} section ends {at + size - len(view)} bytes past the BTF"
            )
        found.append(view[at : at + size])
    types, strings = found[0], found[1]
    if fields[0] % 4 or len(types) % 4:
        raise ConstantsError("the BTF's type section is not aligned to 4 bytes: damaged")
    return types, strings, bytes(found[2]) if len(found) > 2 else b""


def _extra(layout: bytes) -> tuple[list[int], list[int]]:
    """Return words once and words per element by kind; known kinds mean what we know."""
    once, each = [_UNKNOWN] * 128, [0] * 128
    for kind in range(1, min(len(layout) // 4, 128)):
        info_size, element_size = layout[4 * kind], layout[4 * kind + 1]
        if info_size % 4 == element_size % 4 == 0:
            once[kind], each[kind] = info_size // 4, element_size // 4
    for kind, (fixed, element) in _EXTRA.items():
        once[kind], each[kind] = fixed, element
    return once, each
