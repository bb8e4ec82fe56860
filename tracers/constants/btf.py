# SPDX-License-Identifier: GPL-2.0-only
"""Reads structs, enums and function prototypes out of BTF, the kernel's compact type information.

Promises: one pass over the records, whatever is asked, in memory and time bounded by the bytes
given; types are followed ``NESTED`` deep at most, so no cycle can trap it; BTF that contradicts
itself raises ``ConstantsError``.

Source: Documentation/bpf/btf.rst and include/uapi/linux/btf.h up to 7.2; the layout section of
7.1 lets kinds be skipped that were invented later.
"""

import sys
from array import array
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tracers.constants.errors import ConstantsError

#: BTF_MAX_TYPE: more types than this the kernel itself refuses.
MAX_TYPES: Final = 0x000F_FFFF
_MAGIC: Final = b"\x9f\xeb"  # 0xeB9F, little-endian
_HEADER: Final = 24  # bytes; 32 with the layout section (7.1)
_PTR, _STRUCT, _UNION, _ENUM, _FUNC, _FUNC_PROTO = 2, 4, 5, 6, 12, 13
#: How deep structs and unions without a name are looked into.
NESTED: Final = 8
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


class Btf:
    """The types of one BTF blob, walked once; every question after that reads columns."""

    def __init__(self, blob: bytes) -> None:
        """Take the content of a kernel's .BTF section or of /sys/kernel/btf/vmlinux.

        Raises:
            ConstantsError: not the BTF of a little-endian kernel, cut short or contradictory.
        """
        types, strings, layout = _sections(blob)
        self._strings = bytes(strings)
        self._words = _words(types)
        columns = np.frombuffer(self._words, np.uint32)
        at = self._walk(layout)
        #: Of each type: where its record is, its name, kind, count of elements, size or type.
        self._at = at
        self._name = columns[at]
        # 7 bits of kind and 24 of count since f7a6b9eaff3e (7.2): unused and 0 before
        self._kind = columns[at + 1] >> 24 & 0x7F
        self._last = columns[at + 2]
        named = self._name[self._kind == _STRUCT]
        if len(named) and int(named.max()) >= max(len(strings), 1):
            raise ConstantsError(
                "the BTF names a struct outside its strings: damaged, or a module's, which"
                " holds only what the kernel's lacks"
            )

    def struct_size(self, name: str) -> int | None:
        """Return sizeof(struct ``name``) in bytes, None if no such struct is defined.

        Raises:
            ConstantsError: it is defined with several sizes.
        """
        sizes = sorted(set(self._last[self._of(_STRUCT, name)].tolist()))
        if len(sizes) > 1:
            listed = ", ".join(str(size) for size in sizes[:4])
            raise ConstantsError(f"the BTF defines struct {name} with several sizes: {listed}")
        return sizes[0] if sizes else None

    def members(self, name: str) -> dict[str, int]:
        """Return where struct ``name`` has its named members, in bytes; bit fields left out.

        Empty if there is no such struct, or more than one.
        """
        found = self._of(_STRUCT, name).tolist()
        if len(found) != 1:
            return {}
        at = int(self._at[found[0]])
        info = self._words[at + 1]
        # with the kind flag the upper byte is a bit field's size (struct btf_member)
        mask = 0xFF_FFFF if info >> 31 else 0xFFFF_FFFF
        rows = (
            (self._words[place], self._words[place + 2])
            for place in range(at + 3, at + 3 + 3 * (info & 0xFF_FFFF), 3)
        )
        return {
            self._text(start): (bits & mask) // 8
            for start, bits in rows
            if self._text(start) and not bits & ~mask and not bits & mask & 7
        }

    def offset(self, struct: str, member: str) -> int | None:
        """Return where ``struct`` has ``member``, in bytes, also in structs without a name in it.

        None if there is no such struct, or more than one, or no such member of whole bytes.
        """
        found = self._of(_STRUCT, struct).tolist()
        bits = self._bits(found[0], member, NESTED) if len(found) == 1 else None
        return None if bits is None or bits & 7 else bits // 8

    def enumerators(self, names: Collection[str]) -> dict[str, int]:
        """Return the values of those names that enums of 32 bits give, each by one value only."""
        values: dict[str, set[int]] = {}
        places = {place: name for name in names for place in self._places(name)}
        for row in np.flatnonzero(self._kind == _ENUM).tolist():
            at = int(self._at[row]) + 3
            for place in range(at, at + 2 * (self._words[at - 2] & 0xFF_FFFF), 2):
                if name := places.get(self._words[place]):
                    values.setdefault(name, set()).add(self._words[place + 1])
        return {name: known.pop() for name, known in values.items() if len(known) == 1}

    def prototypes(self, names: Iterable[str]) -> dict[str, Prototype]:
        """Return the prototypes of those functions described here, none with two prototypes.

        Functions the compiler changed the arguments of (.isra) are not described, or with the
        arguments they have.
        """
        found = {}
        for name in names:
            described = list(set(self._last[self._of(_FUNC, name)].tolist()))
            if len(described) == 1 and (prototype := self._prototype(described[0])):
                found[name] = prototype
        return found

    def functions(self, names: Iterable[str]) -> dict[str, int]:
        """Return the type numbers of those functions described here once, as bpf(2) takes them."""
        rows = {name: self._of(_FUNC, name).tolist() for name in names}
        return {name: found[0] + 1 for name, found in rows.items() if len(found) == 1}

    def _walk(self, layout: bytes) -> npt.NDArray[np.int64]:
        """Return where each type's record begins, in words."""
        words, total = self._words, len(self._words)
        fixed, per_element = _extra(layout)
        # an unknown kind ends the walk behind the end
        steps = [total + 1 if extra == _UNKNOWN else 3 + extra for extra in fixed]
        offsets: list[int] = []
        at = 0
        for _ in range(MAX_TYPES + 1):
            if at + 3 > total:
                break
            offsets.append(at)
            info = words[at + 1]
            kind = info >> 24 & 0x7F
            # a FUNC's count is its linkage, and it has no element
            at += steps[kind] + per_element[kind] * (info & 0xFF_FFFF)
        if len(offsets) > MAX_TYPES:
            raise ConstantsError(f"the BTF has more than {MAX_TYPES} types")
        if offsets and fixed[kind] == _UNKNOWN:
            raise ConstantsError(f"the BTF has types of kind {kind}, which nobody described yet")
        if at != total:
            raise ConstantsError("the BTF ends inside a type: cut short or damaged")
        return np.array(offsets, np.int64)

    def _of(self, kind: int, name: str) -> npt.NDArray[np.int64]:
        """Return the rows of the types of a kind and a name, whole."""
        return np.flatnonzero((self._kind == kind) & np.isin(self._name, self._places(name)))

    def _places(self, name: str) -> list[int]:
        """Return where ``name`` is among the strings; one may share the end of another."""
        wanted = name.encode() + b"\0"
        places = []
        at = self._strings.find(wanted)
        while at >= 0:
            places.append(at)
            at = self._strings.find(wanted, at + 1)
        return places

    def _bits(self, row: int, member: str, deep: int) -> int | None:
        """Return where the struct or union in ``row`` has ``member``, in bits."""
        at = int(self._at[row])
        info = self._words[at + 1]
        mask = 0xFF_FFFF if info >> 31 else 0xFFFF_FFFF  # as in ``members``
        for place in range(at + 3, at + 3 + 3 * (info & 0xFF_FFFF), 3):
            name, kind, bits = (self._words[place + index] for index in range(3))
            if self._text(name) == member:
                return None if bits & ~mask else bits
            inner = kind - 1
            if name or not deep or not 0 <= inner < len(self._at):
                continue
            if self._kind[inner] in (_STRUCT, _UNION):
                found = self._bits(inner, member, deep - 1)
                if found is not None:
                    return (bits & mask) + found
        return None

    def _text(self, start: int) -> str:
        text = self._strings[start : start + _NAME_CAP]
        return text.partition(b"\0")[0].decode("ascii", "replace")

    def _prototype(self, number: int) -> Prototype | None:
        """Return the prototype that is type ``number``; 0 is void, and none."""
        if not 0 < number <= len(self._at) or self._kind[number - 1] != _FUNC_PROTO:
            return None
        at = int(self._at[number - 1])
        count = self._words[at + 1] & 0xFF_FFFF
        parameters = tuple(self._text(self._words[at + 3 + 2 * index]) for index in range(count))
        returned = self._words[at + 2]
        if not returned:
            return Prototype(parameters, "void")
        kind = self._kind[returned - 1] if returned <= len(self._at) else 0
        return Prototype(parameters, "pointer" if kind == _PTR else "value")


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
