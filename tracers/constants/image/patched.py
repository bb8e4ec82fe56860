# SPDX-License-Identifier: GPL-2.0-only
"""Puts back what a running kernel's text held before somebody patched it.

A kprobe of anybody replaces an instruction by a brk, a tracer the nop at a function's entry by a
call: read as they are, a range check or a call to us would be gone. Promises: an instruction is put
back only if the kernel's own list of kprobes, or a file of the same build, says what it was; the
brk stays where neither does, and ``hidden`` finds it.

Source: arch/arm64/include/asm/brk-imm.h; struct kprobe (addr, opcode) and kprobe_table in
kernel/kprobes.c, 64 lists since 2.6; arch/arm64/kernel/ftrace.c: "mov x9, x30; bl" where a function
is traced and "mov x9, x30; nop" where not, since 3b23e4991fb6 (5.5). Static keys and alternatives
are not undone: they are the code that runs.
"""

import struct
from collections.abc import Callable, Iterator
from functools import cached_property
from itertools import pairwise
from typing import Final, Protocol

from tracers.constants.btf import Btf
from tracers.constants.errors import ConstantsError
from tracers.constants.image.symbols import Symbol

#: The instructions that stand for another: brk #4 of a kprobe, brk #0x400 of kgdb.
STANDING_IN: Final = {
    (0xD4200080).to_bytes(4, "little"): "a kprobe (brk #0x4)",
    (0xD4208000).to_bytes(4, "little"): "a breakpoint of kgdb (brk #0x400)",
}
_LISTS: Final = 64  # KPROBE_TABLE_SIZE
_KPROBES_CAP: Final = 1 << 16
_MOV_X9_LR: Final = 0xAA1E03E9
_NOP: Final = 0xD503201F
_ENTRY_WORDS: Final = 4  # what can be ahead of a traced function's call: bti, mov


class Image(Protocol):
    """The part of kernel_image.KernelImage used here."""

    def read(self, va: int, size: int) -> bytes | None: ...  # noqa: D102
    def symbol(self, name: str) -> Symbol | None: ...  # noqa: D102


def hidden(va: int, code: bytes) -> Iterator[tuple[int, str]]:
    """Yield the address of each instruction that something else stands for, and what does."""
    for word, what in STANDING_IN.items():
        at = code.find(word)
        while at >= 0:
            if not (va + at) & 3:
                yield va + at, what
            at = code.find(word, at + 1)


def untraced(code: bytes) -> bytes:
    """Return a whole function's code as it is while nobody traces it."""
    words = struct.unpack_from(f"<{min(len(code) // 4, _ENTRY_WORDS)}I", code)
    for number, (word, behind) in enumerate(pairwise(words)):
        if word == _MOV_X9_LR and behind >> 26 == 0b100101:  # bl
            at = 4 * (number + 1)
            return code[:at] + _NOP.to_bytes(4, "little") + code[at + 4 :]
    return code


class Originals:
    """The instructions that kprobes replaced in the text of a running kernel."""

    def __init__(
        self,
        image: Image,
        types: Callable[[], Btf],
        own_file: Callable[[], Image | None],
    ) -> None:
        """Take the kernel's memory, its BTF, and a file of the same build, opened if need be."""
        self._image = image
        self._types = types
        self._own_file = own_file

    def put_back(self, va: int, data: bytes) -> bytes:
        """Return what was read at ``va`` with every instruction put back that is known."""
        first, end = self._text
        if va + len(data) <= first or va >= end:
            return data
        found = [place for place, _ in hidden(va, data) if first <= place < end]
        if not found:
            return data
        restored = bytearray(data)
        for place in found:
            if (word := self._original(place)) is not None:
                restored[place - va : place - va + 4] = word
        return bytes(restored)

    def _original(self, place: int) -> bytes | None:
        word = self._listed.get(place)
        if word is None and (own := self._file) is not None:
            image, slide = own
            word = image.read((place - slide) % (1 << 64), 4)
        return None if word in STANDING_IN else word

    @cached_property
    def _text(self) -> tuple[int, int]:
        first, end = self._image.symbol("_stext"), self._image.symbol("_etext")
        return (first.va, end.va) if first and end else (0, 0)

    @cached_property
    def _file(self) -> tuple[Image, int] | None:
        """Return the file of the same build, and how far the running kernel lies from it."""
        image = self._own_file()
        start = image.symbol("_stext") if image else None
        if image is None or start is None:
            return None
        return image, self._text[0] - start.va

    @cached_property
    def _listed(self) -> dict[int, bytes]:
        """Return address -> instruction of all kprobes; empty if their list cannot be read."""
        try:
            at = self._types().members("kprobe")
        except (ConstantsError, OSError):
            return {}
        table = self._image.symbol("kprobe_table")  # a variable: with CONFIG_KALLSYMS_ALL
        if table is None or not {"hlist", "addr", "opcode"} <= at.keys():
            return {}
        listed: dict[int, bytes] = {}
        for number in range(_LISTS):
            node = self._pointer(table.va + 8 * number)
            while node and len(listed) < _KPROBES_CAP:
                probe = node - at["hlist"]
                address = self._pointer(probe + at["addr"])
                word = self._image.read(probe + at["opcode"], 4)
                if address in listed or not address or word is None:
                    break
                listed[address] = word
                node = self._pointer(node)
        return listed

    def _pointer(self, va: int) -> int:
        return int.from_bytes(self._image.read(va, 8) or b"", "little")
