# SPDX-License-Identifier: GPL-2.0-only
"""Cuts an arm64 vmlinux down to the few kilobytes the window is read from.

    python -m tests.kernels.reduce VMLINUX REDUCED.elf

Kept, at their own addresses and byte for byte: the code of ``FUNCTIONS``, the strings and symbols
it refers to, the notes, the banner, the run of __bug_table that describes arch/arm64/mm/mmu.c and
its file names, and the relocations that hold the __mcount_loc entries of the kept symbols.
Rewritten: .BTF (struct page alone, its members' types void), the symbol table (kept symbols only;
__start___bug_table and __stop___bug_table bound the run); where __mcount_loc holds the addresses
itself (RELR, 7.x), it is shortened to the kept entries and its bounds with it.
"""

import struct
import sys
from pathlib import Path
from typing import Final

import capstone
import numpy as np
from capstone import arm64

from tracers.constants.image.kernel_image import KernelImage, open_kernel
from tracers.constants.image.warn_sites import PATH as WATCHED

FUNCTIONS: Final = (
    "arch_crash_save_vmcoreinfo",
    *(f"{name}{part}" for name in WATCHED for part in ("", ".cold")),
)
LANDMARKS: Final = (
    "_text",
    "_stext",
    "_etext",
    "_end",
    "linux_banner",
    "memstart_addr",
    "vabits_actual",
    "__warn",
    "report_bug",
    "__start_notes",
    "__stop_notes",
)
_SYMBOL: Final = np.dtype(
    [
        ("name", "<u4"),
        ("info", "u1"),
        ("other", "u1"),
        ("shndx", "<u2"),
        ("va", "<u8"),
        ("size", "<u8"),
    ]
)
_RELA: Final = np.dtype([("offset", "<u8"), ("info", "<u8"), ("addend", "<u8")])
_BUG: Final = np.dtype([("addr", "<i4"), ("file", "<i4"), ("line", "<u2"), ("flags", "<u2")])
_AROUND: Final = 24  # entries of __bug_table kept on either side
_MMU: Final = ("free_empty_tables", "vmemmap_free", "vmemmap_populate")
_STRING: Final = 256


class Reduced:
    """What is kept: bytes by address, and symbols."""

    def __init__(self, image: KernelImage) -> None:
        """Pick from ``image``."""
        self.image = image
        symtab = np.frombuffer(image.section(".symtab") or b"", _SYMBOL)
        self.strtab = image.section(".strtab") or b""
        self.all = symtab[(symtab["shndx"] != 0) & (symtab["info"] & 15 < 3)]
        self.text: dict[int, bytes] = {}
        self.data: dict[int, bytes] = {}
        self.wanted: set[int] = set()  # addresses whose symbols are kept
        self.bounds: dict[str, int] = {}

    def code(self) -> None:
        """Keep the functions, and note all they refer to."""
        found = self.image.symbols(FUNCTIONS)
        for symbol in found.values():
            code = self.image.function(symbol.name)
            if code is None:
                continue
            self.text[code.va] = code.bytes
            self.wanted |= {code.va, self._next(code.va + len(code.bytes))}
            self._references(code.va, code.bytes)
        self.wanted |= {symbol.va for symbol in self.image.symbols(LANDMARKS).values()}

    def banner(self) -> None:
        """Keep the first page's header and the kernel's banner."""
        text = self.image.symbol("_text")
        banner = self.image.symbol("linux_banner")
        assert text is not None
        assert banner is not None
        self.data[banner.va] = self._string(banner.va)
        self.text[text.va] = self.image.read(text.va, 64) or b""

    def bugs(self) -> None:
        """Keep the run of __bug_table around mmu.c, and the file names of both encodings."""
        found = self.image.symbols(["__start___bug_table", "__stop___bug_table"])
        start, stop = found["__start___bug_table"].va, found["__stop___bug_table"].va
        rows = np.frombuffer(self.image.read(start, stop - start) or b"", _BUG)
        entry = np.uint64(start) + np.arange(len(rows), dtype=np.uint64) * np.uint64(12)
        va = entry + rows["addr"].astype(np.uint64)
        inside = np.zeros(len(rows), bool)
        for symbol in self.image.symbols(_MMU).values():
            first, end = self.image.extent(symbol)
            inside |= (va >= np.uint64(first)) & (va < np.uint64(end))
        index = np.flatnonzero(inside)
        low, high = max(0, index[0] - _AROUND), min(len(rows), index[-1] + 1 + _AROUND)
        first, end = start + int(low) * 12, start + int(high) * 12
        self.data[first] = self.image.read(first, end - first) or b""
        self.bounds = {"__start___bug_table": first, "__stop___bug_table": end}
        for at in (entry + rows["file"].astype(np.uint64))[low:high].tolist():
            for base in (at, at + 4):
                before = self.image.read(base - 1, 1)
                text = self._string(base)
                if before == b"\0" and text.rstrip(b"\0").endswith((b".c", b".h", b".S")):
                    self.data[base - 1] = before + text

    def locations(self) -> bytes:
        """Keep the kept functions' __mcount_loc entries; return the relocations that hold them.

        A kernel linked with RELR has the addresses in the table itself: that becomes a shorter one.
        """
        ends = self.image.symbols(["__start_mcount_loc", "__stop_mcount_loc"])
        if len(ends) < 2:
            return b""  # built without ftrace
        start, stop = (ends[name].va for name in sorted(ends))
        rows = np.frombuffer(self.image.section(".rela.dyn") or b"", _RELA)
        rows = rows[(rows["offset"] >= np.uint64(start)) & (rows["offset"] < np.uint64(stop))]
        if len(rows):
            self.wanted |= {start, stop}
            return rows[self._patched(rows["addend"])].tobytes()
        table = np.frombuffer(self.image.read(start, stop - start) or b"", "<u8")
        kept = table[self._patched(table)]
        self.data[start] = kept.tobytes()
        self.bounds |= {"__start_mcount_loc": start, "__stop_mcount_loc": start + 8 * len(kept)}
        return b""

    def _patched(self, places: np.ndarray) -> np.ndarray:
        """Return which of ``places`` are inside a kept function or right before it."""
        keep = np.zeros(len(places), bool)
        for _, _, va, size in self.symbols():
            if size:
                keep |= (places + np.uint64(8) >= np.uint64(va)) & (places < np.uint64(va + size))
        return keep

    def symbols(self) -> list[tuple[bytes, int, int, int]]:
        """Return (name, info, address, size) of the kept symbols."""
        rows = self.all[np.isin(self.all["va"], np.array(sorted(self.wanted), np.uint64))]
        kept = []
        for row in rows:
            name = self.strtab[row["name"] : row["name"] + 200].split(b"\0", 1)[0]
            if name and not name.startswith(b"$"):
                kept.append((name, int(row["info"]), int(row["va"]), int(row["size"])))
        kept += [(name.encode(), 0x10, va, 0) for name, va in self.bounds.items()]
        return sorted(set(kept), key=lambda symbol: (symbol[1] >> 4, symbol[2], symbol[0]))

    def _references(self, va: int, code: bytes) -> None:
        """Note what calls and adrp/add pairs of a function lead to; keep strings."""
        machine = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
        machine.detail = True
        machine.skipdata = True
        pages: dict[int, int] = {}
        for one in machine.disasm(code, va):
            if one.id == arm64.ARM64_INS_BL:
                self.wanted.add(one.operands[0].imm & (1 << 64) - 1)
            elif one.id == arm64.ARM64_INS_ADRP:
                pages[one.operands[0].reg] = one.operands[1].imm & (1 << 64) - 1
            elif one.id == arm64.ARM64_INS_ADD and len(one.operands) == 3:
                page, last = pages.get(one.operands[1].reg), one.operands[2]
                if page is not None and last.type == arm64.ARM64_OP_IMM:
                    self.wanted.add(page + last.imm)
                    text = self._string(page + last.imm)
                    if len(text) > 2 and text[:-1].replace(b"\n", b" ").isascii():
                        self.data[page + last.imm] = text
            elif one.id in (arm64.ARM64_INS_LDR, arm64.ARM64_INS_STR):
                place = one.operands[1].mem
                if place.base in pages:
                    self.wanted.add(pages[place.base] + place.disp)

    def _string(self, va: int) -> bytes:
        """Return the string at ``va`` with its NUL, nothing if it is none."""
        text = self.image.read(va, _STRING) or b""
        end = text.find(b"\0")
        return text[: end + 1] if end > 0 else b""

    def _next(self, va: int) -> int:
        return int(self.all["va"][self.all["va"] >= np.uint64(va)].min())


def struct_page(btf: bytes) -> bytes:
    """Return BTF with an int and ``struct page``: its size, its members' names and offsets."""
    _, _, _, head, types, types_size, strings, strings_size = struct.unpack_from("<HBBIIIII", btf)
    words = {1: 4, 3: 12, 14: 4, 17: 4}
    each = {4: 12, 5: 12, 6: 8, 13: 8, 15: 12, 19: 12}
    at, end = head + types, head + types + types_size
    text = btf[head + strings : head + strings + strings_size]

    def name(offset: int) -> bytes:
        return text[offset : text.index(b"\0", offset)]

    while at < end:
        label, info, size = struct.unpack_from("<III", btf, at)
        kind, count = info >> 24 & 31, info & 0xFFFF
        if kind == 4 and count and name(label) == b"page":
            break
        at += 12 + words.get(kind, 0) + each.get(kind, 0) * count
    else:
        raise ValueError("no struct page")
    out = bytearray(b"\0int\0page\0")
    record = struct.pack("<IIII", 1, 1 << 24, 4, 32 | 1 << 24)
    record += struct.pack("<III", 5, info, size)
    for member in range(count):
        label, _, offset = struct.unpack_from("<III", btf, at + 12 + 12 * member)
        record += struct.pack("<III", len(out) if name(label) else 0, 0, offset)
        out += name(label) + b"\0" if name(label) else b""
    header = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(record), len(record), len(out))
    return header + record + bytes(out)


def _merged(pieces: dict[int, bytes]) -> list[tuple[int, bytes]]:
    """Join pieces that touch or overlap."""
    joined: list[tuple[int, bytes]] = []
    for va, data in sorted(pieces.items()):
        if joined and va <= joined[-1][0] + len(joined[-1][1]):
            first, before = joined[-1]
            if va + len(data) > first + len(before):
                joined[-1] = (first, before[: va - first] + data)
        else:
            joined.append((va, data))
    return joined


def reduce(image: KernelImage) -> bytes:
    """Return the reduced ELF file of a vmlinux."""
    kept = Reduced(image)
    kept.code()
    kept.banner()
    kept.bugs()
    relocations = kept.locations()
    table = kept.data.pop(kept.bounds["__start___bug_table"])
    notes_va = image.section_va(".notes")
    btf_va = image.section_va(".BTF")
    btf = image.btf()
    assert notes_va is not None
    rows = [
        *((".text", 1, 6, va, data) for va, data in _merged(kept.text)),
        *((".rodata", 1, 2, va, data) for va, data in _merged(kept.data)),
        (".notes", 7, 2, notes_va[0], image.section(".notes") or b""),
        *([(".BTF", 1, 2, btf_va[0], struct_page(btf))] if btf_va and btf else []),
        ("__bug_table", 1, 3, kept.bounds["__start___bug_table"], table),
        (".rela.dyn", 4, 0, 0, relocations),
    ]
    strings = bytearray(b"\0")
    symbols = bytearray(24)
    names = kept.symbols()
    for name, info, va, size in names:
        where = next(
            (n for n, row in enumerate(rows, 1) if row[3] <= va < row[3] + len(row[4])), 0xFFF1
        )
        symbols += struct.pack("<IBBHQQ", len(strings), info, 0, where, va, size)
        strings += name + b"\0"
    rows += [(".symtab", 2, 0, 0, bytes(symbols)), (".strtab", 3, 0, 0, bytes(strings))]
    local = 1 + sum(info >> 4 == 0 for _, info, _, _ in names)
    return _elf(rows, local)


def _elf(rows: list[tuple[str, int, int, int, bytes]], local: int) -> bytes:
    """Lay out the file: header, segments, contents, section headers."""
    loads = [row for row in rows if row[2] & 2]
    names = bytearray(b"\0")
    body = bytearray(64 + 56 * (len(loads) + 1))
    sections = bytearray(64)
    segments = bytearray()
    for name, kind, flags, va, data in [*rows, (".shstrtab", 3, 0, 0, b"")]:
        label = names.find(name.encode() + b"\0")
        if label < 1:
            label = len(names)
            names += name.encode() + b"\0"
        content = bytes(names) if name == ".shstrtab" else data
        body += bytes(-len(body) % 8)
        link, info, each = (len(rows), local, 24) if kind == 2 else (0, 0, 24 if kind == 4 else 0)
        sections += struct.pack(
            "<IIQQQQIIQQ", label, kind, flags, va, len(body), len(content), link, info, 1, each
        )
        for segment in [1] * bool(flags & 2) + [4] * (kind == 7):
            sizes = (len(content), len(content))
            segments += struct.pack("<IIQQQQQQ", segment, 5, len(body), va, va, *sizes, 1)
        body += content
    body += bytes(-len(body) % 8)
    text = next(row[3] for row in rows)
    body[:64] = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 3, 183, 1, text, 64, len(body), 0, 64, 56,
        len(segments) // 56, 64, len(sections) // 64, len(sections) // 64 - 1,
    )  # fmt: skip
    body[64 : 64 + len(segments)] = segments
    return bytes(body + sections)


def main() -> None:
    """Reduce the vmlinux named first into the file named second."""
    source, target = map(Path, sys.argv[1:3])
    with open_kernel(source) as image:
        target.write_bytes(reduce(image))


if __name__ == "__main__":
    main()
