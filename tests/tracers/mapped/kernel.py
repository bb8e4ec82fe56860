# SPDX-License-Identifier: GPL-2.0-only
"""A kernel's memory made word by word, for what is read out of it by addresses."""

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass
class Words:
    """Memory as words of 8 bytes; ``reads`` counts what was asked for."""

    words: dict[int, int] = field(default_factory=dict)
    reads: int = 0

    def put(self, addr: int, *values: int) -> None:
        for at, value in enumerate(values):
            self.words[addr + 8 * at] = value

    def read(self, addr: int, size: int) -> bytes | None:
        self.reads += 1
        first, last = addr // 8 * 8, (addr + size + 7) // 8 * 8
        words = [self.words.get(at) for at in range(first, last, 8)]
        if None in words:
            return None
        data = struct.pack(f"<{len(words)}Q", *(word or 0 for word in words))
        return data[addr - first : addr - first + size]


class Types:
    """What is asked of BTF: where structs have their members, and the values of enums."""

    def __init__(self, offsets: dict[str, int], enums: dict[str, int] | None = None) -> None:
        self._offsets, self._enums = offsets, enums or {}

    def offset(self, struct_name: str, member: str) -> int | None:
        return self._offsets.get(f"{struct_name}.{member}")

    def struct_size(self, name: str) -> int | None:
        return self._offsets.get(name)

    def enumerators(self, names: Iterable[str]) -> dict[str, int]:
        return {name: self._enums[name] for name in names if name in self._enums}
