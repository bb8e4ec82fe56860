# SPDX-License-Identifier: GPL-2.0-only
r"""Reads the files that lie beside a trace and describe its machine, each as far as it can be.

Promises: no file is waited for (a pipe) or read beyond its cap, and no content of a file raises:
what cannot be read is left out, with one line in ``problems`` saying so. Text stays as it was
in the file, undecodable bytes as "\xNN"; escape it before showing.
"""

import os
import re
from collections.abc import Mapping
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
_VERSION = re.compile(r"^# Linux/arm64 (\d{1,3}\.\d{1,3}\.\d{1,5}\S{0,60}) Kernel", re.MULTILINE)

#: Options that decide sizeof(struct page), or whether what it has room for lies elsewhere.
_STRUCT_PAGE: Final = (
    "CONFIG_MEMCG",
    "CONFIG_SLUB",
    "CONFIG_KMSAN",
    "CONFIG_NUMA_BALANCING",
    "CONFIG_NODES_SHIFT",
    "CONFIG_NR_CPUS",
    "CONFIG_LRU_GEN",
    "CONFIG_KASAN_HW_TAGS",
)
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
        *_STRUCT_PAGE,
    }
)


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


def config_release(text: str) -> str | None:
    """Return the version in a configuration's first lines, as "6.6.20": no more than that."""
    match = _VERSION.search(text, 0, 4096)
    return match[1] if match else None


def not_64_bytes(config: Mapping[str, str]) -> str | None:
    """Say which of ``read_config``'s options may make sizeof(struct page) another than 64.

    It has 56 bytes, 64 with CONFIG_MEMCG; SLUB wants it a multiple of 16 (arch/arm64/Kconfig).
    KMSAN adds two pointers, and NUMA balancing an int where it finds no room in page->flags
    (include/linux/mm_types.h, page-flags-layout.h). Options not given do not count.
    """
    on = {name for name, value in config.items() if value == "y"}
    if "CONFIG_KMSAN" in on:
        return "CONFIG_KMSAN"
    if config.get("CONFIG_MEMCG") == "n":  # 56, or 60 with that int
        slub = config.get("CONFIG_SLUB") != "n" or "CONFIG_NUMA_BALANCING" in on
        return None if slub else "neither CONFIG_MEMCG nor CONFIG_SLUB"
    if "CONFIG_NUMA_BALANCING" not in on:
        return None
    cpus, nodes = (number(config.get(f"CONFIG_{name}", "")) for name in ("NR_CPUS", "NODES_SHIFT"))
    if cpus is None or nodes is None:
        return None
    # zones and page generations have 3 bits each, a process 8, a tag 8; 30 flags are ample
    bits = 3 + 8 + (cpus - 1).bit_length() + nodes
    bits += 3 * ("CONFIG_LRU_GEN" in on)
    bits += 8 * bool(on & {"CONFIG_KASAN_SW_TAGS", "CONFIG_KASAN_HW_TAGS"})
    return "CONFIG_NUMA_BALANCING" if bits > 64 - 30 else None


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
