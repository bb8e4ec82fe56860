# SPDX-License-Identifier: GPL-2.0-only
"""Finds a few symbols among the hundreds of thousands of a kernel, in one pass.

Promises: time and memory are linear in the table's own bytes, whatever it says; a name two local
symbols share is not guessed at. Works on an ELF symbol table, on System.map or /proc/kallsyms, and
on names decoded from a kernel's built-in kallsyms.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from tracers.constants.errors import ConstantsError
from tracers.regular_files import read_regular

#: GCC and Clang append these to the name of a function they changed; not what they append
#: to a part of one (.cold, .part.N) or to a jump table's entry (.cfi_jt).
_SUFFIX = re.compile(rb"(?:\.(?:isra|constprop|llvm|lto_priv)\.[0-9]+)+\Z")
_MAP_CAP: Final = 64 << 20  # a System.map has 6 MB, a /proc/kallsyms with all modules 20
_SUFFIX_CAP: Final = 256  # bytes of a suffix looked at
_CANDIDATES_CAP: Final = 64  # symbols of one name looked at
_ELF_SYMBOL: Final = np.dtype(
    {
        "names": ["name", "info", "other", "shndx", "va", "size"],
        "formats": ["<u4", "u1", "u1", "<u2", "<u8", "<u8"],
    }
)

_Bytes = npt.NDArray[np.uint8]
_U64 = npt.NDArray[np.uint64]
_Index = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Symbol:
    """A name of the kernel: its u64 virtual address, and its size in bytes where it is known."""

    name: str
    va: int
    size: int | None


class SymbolTable:
    """Names, addresses and sizes as columns; ``origin`` says where they come from."""

    def __init__(
        self,
        origin: str,
        text: bytes,
        *,
        at: _Index,
        va: _U64,
        size: _U64,
        is_global: npt.NDArray[np.bool_],
    ) -> None:
        """Take columns of equal length; ``at`` is where in ``text`` each name begins.

        A name ends at NUL, newline or the end of ``text``.
        """
        self.origin = origin
        self._text = np.frombuffer(text, np.uint8)
        keep = (at >= 0) & (at < len(text))
        if len(text):
            first = self._text[np.where(keep, at, 0)]
            keep &= (first != ord("$")) & (first > ord(" "))  # mapping symbols, no name
        self._at = at[keep]
        self._va = va[keep]
        self._size = size[keep]
        self._global = is_global[keep]
        self._heads = self._first_eight()
        self._sorted: _U64 | None = None
        self._found: dict[str, Symbol | None] = {}  # the same few are asked for again and again

    def __len__(self) -> int:
        """Return the number of named symbols."""
        return len(self._at)

    def find(self, names: Iterable[str]) -> dict[str, Symbol]:
        """Return those of ``names`` that are here, exact or with a compiler's suffix."""
        symbols = {}
        for name in names:
            if name not in self._found:
                self._found[name] = self._find(name)
            if symbol := self._found[name]:
                symbols[name] = symbol
        return symbols

    def next_after(self, va: int) -> int | None:
        """Return the address of the nearest symbol beyond ``va``."""
        if self._sorted is None:
            self._sorted = np.sort(self._va)
        index = int(np.searchsorted(self._sorted, np.uint64(va), side="right"))
        return int(self._sorted[index]) if index < len(self._sorted) else None

    def containing(self, va: int) -> Symbol | None:
        """Return the symbol that ``va`` lies in or behind, the nearest; a global one first.

        None if that is a module's.
        """
        before = np.flatnonzero(self._va <= np.uint64(va))
        if not len(before):
            return None
        nearest = self._va[before].max()
        rows = np.flatnonzero(self._va == nearest)
        chosen = rows[self._global[rows]]
        row = int((chosen if len(chosen) else rows)[0])
        name = self._name(row).decode("ascii", "backslashreplace")
        if "\t" in name:  # in kallsyms the module's name follows
            return None
        return Symbol(name, int(nearest), int(self._size[row]) or None)

    def _first_eight(self) -> npt.NDArray[np.uint64]:
        """Return the first eight bytes of every name as one little-endian number."""
        heads = np.zeros((len(self._at), 8), np.uint8)
        last = len(self._text) - 1
        for column in range(8):
            if last >= 0:
                heads[:, column] = self._text[np.minimum(self._at + column, last)]
        return heads.view("<u8").reshape(-1)

    def _find(self, name: str) -> Symbol | None:
        wanted = name.encode()
        if not wanted:
            return None
        head = wanted[:8]
        mask = np.uint64((1 << 8 * len(head)) - 1)
        rows = np.flatnonzero((self._heads & mask) == np.uint64(int.from_bytes(head, "little")))
        rows = rows[self._at[rows] + len(wanted) <= len(self._text)]
        for column in range(8, len(wanted)):
            rows = rows[self._text[self._at[rows] + column] == wanted[column]]
        if not len(rows):
            return None
        behind = self._at[rows] + len(wanted)
        after = self._text[np.minimum(behind, len(self._text) - 1)]
        over = behind >= len(self._text)
        exact = rows[over | (after == 0) | (after == ord("\n"))]
        if len(exact):
            return self._one(exact, name)
        suffixed = [
            row
            for row in rows[~over & (after == ord("."))][:_CANDIDATES_CAP].tolist()
            if _SUFFIX.match(self._name(row)[len(wanted) :])
        ]
        return self._one(np.array(suffixed, np.int64), None) if suffixed else None

    def _one(self, rows: _Index, name: str | None) -> Symbol | None:
        """Return the one global, or the one local symbol of ``rows``; None if they disagree."""
        chosen = rows[self._global[rows]]
        if not len(chosen):
            chosen = rows
        if (self._va[chosen] != self._va[chosen[0]]).any():
            return None
        row = int(chosen[np.argmax(self._size[chosen])])
        size = int(self._size[row])
        shown = name or self._name(row).decode("ascii", "backslashreplace")
        return Symbol(shown, int(self._va[row]), size or None)

    def _name(self, row: int) -> bytes:
        at = int(self._at[row])
        piece = self._text[at : at + _SUFFIX_CAP].tobytes()
        return re.split(rb"[\0\n]", piece, maxsplit=1)[0]


def from_elf(symtab: bytes, strtab: bytes) -> SymbolTable:
    """Return the symbols of .symtab and .strtab that have a section; a torn last entry is cut."""
    rows = np.frombuffer(symtab, _ELF_SYMBOL, len(symtab) // _ELF_SYMBOL.itemsize)
    kind = rows["info"] & 15
    rows = rows[(rows["shndx"] != 0) & (kind < 3) & (rows["va"] != 0)]  # NOTYPE, OBJECT, FUNC
    return SymbolTable(
        "symtab",
        strtab,
        at=rows["name"].astype(np.int64),
        va=rows["va"].astype(np.uint64),
        size=rows["size"].astype(np.uint64),
        is_global=(rows["info"] >> 4) != 0,
    )


def from_map(text: bytes, origin: str) -> SymbolTable:
    """Return the symbols of System.map or /proc/kallsyms; those of modules are left out.

    Raises:
        ConstantsError: not such a file, of a 32-bit kernel, or with the addresses hidden.
    """
    data = np.frombuffer(text, np.uint8)
    starts = np.concatenate([np.zeros(1, np.int64), np.flatnonzero(data == ord("\n")) + 1])
    starts = starts[starts + 20 <= len(data)]  # "0123456789abcdef T x"
    digit = np.full(256, 255, np.uint8)
    digit[np.frombuffer(b"0123456789abcdef", np.uint8)] = np.arange(16, dtype=np.uint8)
    va = np.zeros(len(starts), np.uint64)
    good = (data[starts + 16] == ord(" ")) & (data[starts + 18] == ord(" "))
    for column in range(16):
        value = digit[data[starts + column]]
        good &= value < 16
        va = (va << np.uint64(4)) | (value & np.uint8(15)).astype(np.uint64)
    if not good.any():
        if re.match(rb"[0-9a-f]{8} \w ", text):
            raise ConstantsError(f"{origin}: the symbols of a 32-bit kernel, not arm64")
        raise ConstantsError(f"{origin}: not a System.map: no line 'address type name'")
    starts, va = starts[good], va[good]
    if len(va) > 1 and not va.any():
        raise ConstantsError(
            f"{origin}: its addresses are hidden (all zero); read it as root, with"
            " kernel.kptr_restrict=0 or 1"
        )
    letter = data[starts + 17]
    return SymbolTable(
        origin,
        text,
        at=starts + 19,
        va=va,
        size=np.zeros(len(va), np.uint64),
        is_global=(letter >= ord("A")) & (letter <= ord("Z")),
    )


def read_map(path: Path) -> SymbolTable:
    """Read System.map, or /proc/kallsyms, whose size the kernel gives as 0.

    Raises:
        ConstantsError: it cannot be read, or as ``from_map``.
    """
    try:
        text = read_regular(path, _MAP_CAP)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ConstantsError(f"{path}: cannot be read: {reason}") from error
    return from_map(text, str(path))
