# SPDX-License-Identifier: GPL-2.0-only
"""Reads struct sizes and function prototypes out of BTF, the kernel's compact type information.

Promises: one pass over the records, in memory and time bounded by the bytes given; types are
never followed, so no cycle can trap it; BTF that contradicts itself raises ``ConstantsError``.

Source: Documentation/bpf/btf.rst and include/uapi/linux/btf.h up to 7.2; the layout section of
7.1 lets kinds be skipped that were invented later.
"""

import sys
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from tracers.constants.errors import ConstantsError

#: BTF_MAX_TYPE: more types than this the kernel itself refuses.
MAX_TYPES: Final = 0x000F_FFFF
_MAGIC: Final = b"\x9f\xeb"  # 0xeB9F, little-endian
_HEADER: Final = 24  # bytes; 32 with the layout section (7.1)
_PTR, _STRUCT, _FUNC, _FUNC_PROTO = 2, 4, 12, 13
#: kind -> u32 words after the 12 bytes every record has: (fixed, per element)
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
_NAME_CAP: Final = 64  # bytes of a parameter's name looked at


@dataclass(frozen=True, slots=True)
class Prototype:
    """A function's parameter names in order, and what it returns: void, pointer or value."""

    parameters: tuple[str, ...]
    returns: str


def prototypes(btf: bytes, names: Iterable[str]) -> dict[str, Prototype]:
    """Return the prototypes of those functions that ``btf`` describes, none with two prototypes.

    Functions the compiler changed the arguments of (.isra) are not described, or with the
    arguments they have.

    Raises:
        ConstantsError: as ``struct_size``.
    """
    types, strings, layout = _sections(btf)
    text = bytes(strings)
    wanted = {at: name for name in names if (at := text.find(b"\0%s\0" % name.encode()) + 1)}
    words = _words(types)
    offsets = array("I", [0])  # of each type id; 0 is void
    candidates: dict[str, set[int]] = {}
    fixed, per_element = _extra(layout)
    at, total = 0, len(words)
    while at + 3 <= total:
        info = words[at + 1]
        kind = info >> 24 & 0x7F
        if kind == _FUNC and words[at] in wanted:
            candidates.setdefault(wanted[words[at]], set()).add(words[at + 2])
        if fixed[kind] == _UNKNOWN or len(offsets) > MAX_TYPES:
            raise ConstantsError(f"the BTF cannot be read on at a type of kind {kind}")
        offsets.append(at)
        # a FUNC's count is its linkage, and it has no element
        at += 3 + fixed[kind] + per_element[kind] * (info & 0xFF_FFFF)
    if at != total:
        raise ConstantsError("the BTF ends inside a type: cut short or damaged")
    unique = {name: next(iter(protos)) for name, protos in candidates.items() if len(protos) == 1}
    read = {name: _prototype(words, offsets, text, proto) for name, proto in unique.items()}
    return {name: prototype for name, prototype in read.items() if prototype}


def _prototype(
    words: "memoryview | array[int]", offsets: "array[int]", text: bytes, number: int
) -> Prototype | None:
    if not 0 < number < len(offsets):
        return None
    at = offsets[number]
    count = words[at + 1] & 0xFF_FFFF
    if words[at + 1] >> 24 & 0x7F != _FUNC_PROTO:
        return None
    starts = (words[at + 3 + 2 * index] for index in range(count))
    parameters = tuple(
        text[start : start + _NAME_CAP].partition(b"\0")[0].decode("ascii", "replace")
        for start in starts
    )
    returned = words[at + 2]
    if not returned:
        return Prototype(parameters, "void")
    kind = words[offsets[returned] + 1] >> 24 & 0x7F if returned < len(offsets) else 0
    return Prototype(parameters, "pointer" if kind == _PTR else "value")


def struct_size(btf: bytes, name: str) -> int | None:
    """Return sizeof(struct ``name``) in bytes, None if ``btf`` defines no such struct.

    ``btf`` is the content of a kernel's .BTF section or of /sys/kernel/btf/vmlinux.

    Raises:
        ConstantsError: not the BTF of a little-endian kernel, cut short or contradictory.
    """
    types, strings, layout = _sections(btf)
    fixed, per_element = _extra(layout)
    wanted = name.encode() + b"\0"
    length = len(wanted)
    words = _words(types)
    sizes: set[int] = set()
    at, number, total = 0, 0, len(words)
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
        if fixed[kind] == _UNKNOWN:
            raise ConstantsError(f"the BTF has types of kind {kind}, which nobody described yet")
        number += 1
        if number > MAX_TYPES:
            raise ConstantsError(f"the BTF has more than {MAX_TYPES} types")
        at += 3 + fixed[kind] + per_element[kind] * (info & 0xFF_FFFF)
    if at != total:
        raise ConstantsError("the BTF ends inside a type: cut short or damaged")
    if len(sizes) > 1:
        listed = ", ".join(str(size) for size in sorted(sizes)[:4])
        raise ConstantsError(f"the BTF defines struct {name} with several sizes: {listed}")
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
    sections: list[memoryview] = []
    view = memoryview(btf)[header:]
    for what, at, size in zip(
        ("type", "string", "layout"), fields[::2], fields[1::2], strict=False
    ):
        if at + size > len(view):
            raise ConstantsError(
                f"the BTF's {what} section ends {at + size - len(view)} bytes past the BTF"
            )
        sections.append(view[at : at + size])
    types, strings = sections[0], sections[1]
    if fields[0] % 4 or len(types) % 4:
        raise ConstantsError("the BTF's type section is not aligned to 4 bytes: damaged")
    return types, strings, bytes(sections[2]) if len(sections) > 2 else b""


def _extra(layout: bytes) -> tuple[list[int], list[int]]:
    """Return fixed words and words per element by kind; kinds in _EXTRA keep its numbers."""
    fixed, per_element = [_UNKNOWN] * 128, [0] * 128
    for kind in range(1, min(len(layout) // 4, 128)):
        info_size, element_size = layout[4 * kind], layout[4 * kind + 1]
        if info_size % 4 == element_size % 4 == 0:
            fixed[kind], per_element[kind] = info_size // 4, element_size // 4
    for kind, (words, element_words) in _EXTRA.items():
        fixed[kind], per_element[kind] = words, element_words
    return fixed, per_element
