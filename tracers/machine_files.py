# SPDX-License-Identifier: GPL-2.0-only
r"""Reads the files that lie beside a trace and describe its machine, each as far as it can be.

Promises: no file is waited for (a pipe) or read beyond its cap, and no content of a file raises:
what cannot be read is left out, with one line in ``problems`` saying so. Text stays as it was
in the file, undecodable bytes as "\xNN"; escape it before showing.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tracers.families import PAGE_SIZES
from tracers.regular_files import read_regular

_MIB: Final = 1 << 20
#: The names looked for, and how much of each is read. kernel_page_tables of a large machine with
#: page-granular mappings runs to tens of megabytes.
CAPS: Final[Mapping[str, int]] = {
    "kcore-vmcoreinfo": _MIB,
    "iomem": 4 * _MIB,
    "config": 4 * _MIB,
    "uname": 4096,
    "kernel_page_tables": 64 * _MIB,
}
_IOMEM_ROWS: Final = 4096
_SHOWN: Final = 60  # characters of a file's text in a problem line

_NOTE = re.compile(r"^([A-Z][A-Za-z_-]*(?:\([\w.]{1,100}\))?)=([ -~]{1,200})$")
_NUMBER = re.compile(r"0x[0-9a-fA-F]{1,16}|[0-9]{1,20}")
_IOMEM = re.compile(r"^( *)([0-9a-f]{1,16})-([0-9a-f]{1,16}) : (.{1,200})$")
_CONFIG = re.compile(r"^(?:# )?(CONFIG_\w+)(?:=(.{0,200})| is not set)$")
_MARK = re.compile(r"^---\[ (.{1,40}) \]---$")
_SPAN = re.compile(r"^0x[0-9a-f]{16}-0x([0-9a-f]{16})\s+\d+[KMGTPE] (PGD|P4D|PUD|PMD|PTE)\b")

#: Options that decide the window, its neighbours, or whether it is used at all.
CONFIG_KEPT: Final = frozenset(
    {
        "CONFIG_ARM64_VA_BITS",
        "CONFIG_ARM64_PA_BITS",
        "CONFIG_ARM64_4K_PAGES",
        "CONFIG_ARM64_16K_PAGES",
        "CONFIG_ARM64_64K_PAGES",
        "CONFIG_PGTABLE_LEVELS",
        "CONFIG_RANDOMIZE_BASE",
        "CONFIG_KASAN_GENERIC",
        "CONFIG_KASAN_SW_TAGS",
        "CONFIG_SPARSEMEM_VMEMMAP",
        "CONFIG_MEMORY_HOTPLUG",
        "CONFIG_MEMORY_HOTREMOVE",
        "CONFIG_ZONE_DEVICE",
        "CONFIG_DEVICE_PRIVATE",
    }
)

#: ptdump's markers, lower case (their case changed over the releases) -> the kernel's macro.
MARKERS: Final[Mapping[str, str]] = {
    "linear mapping start": "PAGE_OFFSET",
    "linear mapping": "PAGE_OFFSET",  # until 5.3, when it was the last region
    "linear mapping end": "PAGE_END",
    "kasan shadow start": "KASAN_SHADOW_START",
    "kasan shadow end": "KASAN_SHADOW_END",
    "modules start": "MODULES_VADDR",
    "modules end": "MODULES_END",
    "vmalloc() area": "VMALLOC_START",
    "vmalloc() end": "VMALLOC_END",
    "fixmap start": "FIXADDR_START",
    "fixmap end": "FIXADDR_TOP",
    "pci i/o start": "PCI_IO_START",
    "pci i/o end": "PCI_IO_END",
    "vmemmap start": "VMEMMAP_START",
    "vmemmap end": "VMEMMAP_END",
}


@dataclass(slots=True)
class SideFiles:
    """The readable files' text by name, and what went wrong."""

    texts: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def read_side_files(folder: Path) -> SideFiles:
    """Read the files of ``CAPS`` that ``folder`` has; one that is not there is no problem.

    Raises:
        OSError: ``folder`` is no readable directory.
    """
    present = {entry.name for entry in os.scandir(folder)}
    found = SideFiles()
    for name, cap in CAPS.items():
        if name not in present:
            continue
        try:
            data = read_regular(folder / name, cap + 1)
        except OSError as error:
            found.problems.append(f"{name}: not read: {error.strerror}")
            continue
        if len(data) > cap:
            found.problems.append(f"{name}: only its first {cap} bytes were read")
        # a cut last line would be half a number
        whole = data if len(data) <= cap else data[: data.rfind(b"\n") + 1]
        found.texts[name] = whole.decode("utf-8", "backslashreplace")
    return found


def read_notes(text: str, problems: list[str]) -> dict[str, str]:
    """Map the keys of a VMCOREINFO note to their values; of two values the first is kept."""
    notes: dict[str, str] = {}
    for line in re.split(r"[\n\0]", text):
        if match := _NOTE.match(line):
            key, value = match.groups()
            if notes.setdefault(key, value) != value and len(problems) < 50:
                problems.append(
                    f"kcore-vmcoreinfo: {key} stands there twice, {notes[key][:_SHOWN]} and"
                    f" {value[:_SHOWN]}: the first is used"
                )
    return notes


def number(text: str) -> int | None:
    """Return a decimal or 0x… number of at most 64 bits, else None."""
    if not _NUMBER.fullmatch(text):
        return None
    value = int(text, 16 if text.startswith("0x") else 10)
    return value if value < 1 << 64 else None


def read_config(text: str) -> dict[str, str]:
    """Map the options of ``CONFIG_KEPT`` to their values, "n" where they are not set."""
    matches = (_CONFIG.match(line) for line in text.split("\n"))
    pairs = (match.groups() for match in matches if match)
    return {name: value or "n" for name, value in pairs if name in CONFIG_KEPT}


def config_va_bits(config: Mapping[str, str]) -> int | None:
    """Return CONFIG_ARM64_VA_BITS of ``read_config``'s options."""
    return number(config.get("CONFIG_ARM64_VA_BITS", ""))


def config_page_size(config: Mapping[str, str]) -> int | None:
    """Return the page size in bytes that ``read_config``'s options choose."""
    sizes = (
        size for size in PAGE_SIZES if config.get(f"CONFIG_ARM64_{size // 1024}K_PAGES") == "y"
    )
    return next(sizes, None)


def read_iomem(text: str, problems: list[str]) -> tuple[tuple[int, int, str], ...]:
    """Return (first, last, name) of each line of /proc/iomem, indentation dropped."""
    rows: list[tuple[int, int, str]] = []
    for line in text.split("\n"):
        if match := _IOMEM.match(line):
            if len(rows) == _IOMEM_ROWS:
                problems.append(f"iomem: only its first {_IOMEM_ROWS} ranges are kept")
                break
            rows.append((int(match[2], 16), int(match[3], 16), match[4]))
    if rows and not any(last for _, last, _ in rows):
        problems.append("iomem: all addresses are 0: it was not read as root")
        return ()
    return tuple(rows)


def read_uname(text: str) -> tuple[str | None, str | None]:
    """Return (release, machine) of `uname -a`, or of a bare `uname -r`."""
    words = text.split()
    if not words:
        return None, None
    if len(words) < 3:
        return words[0], None
    known = ("aarch64", "aarch64_be", "x86_64", "i686", "riscv64", "ppc64le", "s390x", "armv7l")
    return words[2], next((word for word in reversed(words) if word in known), None)


@dataclass(frozen=True, slots=True)
class Mark:
    """Where kernel_page_tables shows a marker: the border lies in (``low``, ``addr``]."""

    name: str  # the kernel's macro
    addr: int
    low: int | None  # None: not known how far below

    def exact(self, page_size: int) -> bool:
        """Say whether the border can only be ``addr`` itself."""
        return self.low is not None and self.addr - self.low <= page_size

    def agrees(self, border: int) -> bool:
        """Say whether the border can lie at ``border``."""
        return border <= self.addr and (self.low is None or border > self.low)


def read_page_tables(text: str, page_size: int, levels: int) -> list[Mark]:
    """Return the markers of debugfs kernel_page_tables with how well they tell the border.

    A marker is printed at the first table entry at or past its border, so it is late by less
    than the entry before it maps; and two at most are printed at one entry, so that one after
    two others may be later still (note_page, arch/arm64/mm/ptdump.c).
    """
    per_level = page_size.bit_length() - 1 - 3
    depth = {"PTE": 0, "PMD": 1, "PUD": 2, "P4D": 3, "PGD": levels - 1}
    marks: list[Mark] = []
    addr: int | None = None
    low: int | None = None
    together, late = 0, False
    for line in _lines(text):
        if span := _SPAN.match(line):
            late, together = together == 2, 0
            addr = int(span[1], 16) or 1 << 64
            low = addr - (page_size << per_level * depth[span[2]])
        elif mark := _MARK.match(line):
            together += 1
            name = MARKERS.get(mark[1].lower())
            if name is not None and addr is not None and len(marks) < 64:
                marks.append(Mark(name, addr, None if late else low))
    return marks


def _lines(text: str) -> Iterator[str]:
    """Yield the lines without a list of them all."""
    return (match[0] for match in re.finditer(r"[^\n]+", text))
