# SPDX-License-Identifier: GPL-2.0-only
"""Finds a kernel's BTF in its own memory, where a dump has nothing beside it.

Promises: what is read is the kernel's image as VMCOREINFO places it, ``CAP`` bytes at most; what is
not found, or is damaged, is ``None``.
"""

from typing import Final

from tracers.constants.btf import Btf
from tracers.constants.core_file import Core
from tracers.constants.errors import ConstantsError
from tracers.machine_files import number, read_notes

#: Bytes of an image looked at.
CAP: Final = 128 << 20
_PIECE: Final = 1 << 20
_STEP: Final = 64 << 10
#: BTF of version 1 with a header of 24 bytes, little-endian (include/uapi/linux/btf.h).
_BTF: Final = b"\x9f\xeb\x01\x00\x18\x00\x00\x00"
_BTF_CAP: Final = 64 << 20


class ImageInMemory:
    """The image from _stext on, as far as it is mapped."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._start = number("0x" + read_notes(core.vmcoreinfo, []).get("SYMBOL(_stext)", ""))
        self._pieces: dict[int, bytes] = {}
        self.size = self._mapped() if self._start is not None else 0

    def read(self, offset: int, size: int) -> bytes:
        """Return up to ``size`` bytes from ``offset`` on."""
        parts: list[bytes] = []
        end = min(offset + size, self.size)
        while offset < end:
            number, at = divmod(offset, _PIECE)
            part = self._piece(number)[at : at + end - offset]
            if not part:
                break
            parts.append(part)
            offset += len(part)
        return b"".join(parts)

    def btf(self) -> Btf | None:
        """Return the types."""
        for offset in range(0, self.size, _PIECE):
            data = self.read(offset, _PIECE + len(_BTF) - 1)
            at = data.find(_BTF)
            while at >= 0:
                if (found := self._types(offset + at)) is not None:
                    return found
                at = data.find(_BTF, at + 1)
        return None

    def _types(self, at: int) -> Btf | None:
        head = self.read(at, 24)
        fields = [int.from_bytes(head[place : place + 4], "little") for place in range(8, 24, 4)]
        size = 24 + max(fields[0] + fields[1], fields[2] + fields[3])
        if size > _BTF_CAP:
            return None
        try:
            types = Btf(self.read(at, size))
        except ConstantsError:
            return None
        return types if types.struct_size("page") else None  # not some module's

    def _piece(self, number: int) -> bytes:
        if number not in self._pieces:
            start = (self._start or 0) + number * _PIECE
            size = min(_PIECE, self.size - number * _PIECE)
            self._pieces[number] = self._core.read(start, size) or b""
        return self._pieces[number]

    def _mapped(self) -> int:
        size, start = 0, self._start or 0
        while size < CAP and self._core.read(start + size, 8) is not None:
            if self._core.read(start + size, _STEP) is None:
                break
            size += _STEP
        return size
