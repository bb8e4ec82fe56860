# SPDX-License-Identifier: GPL-2.0-only
"""Reads the kernel's own lists of who has what: physical memory, vmalloc areas and modules.

Promises: whatever a text holds, this raises nothing; lines that are none of the list are passed
over, and addresses hidden from the reader (all zero, or hashed) make the list empty and say so.

Source: /proc/iomem (kernel/resource.c), /proc/vmallocinfo (s_show() of mm/vmalloc.c: areas in
order, "%pK-%pK size caller … flags"), /proc/modules (m_show() of kernel/module/procfs.c).
"""

import re
from dataclasses import dataclass
from typing import Final

_ROWS: Final = 1 << 18
_RESOURCE: Final = re.compile(
    r"^( {0,64})([0-9a-f]{1,16})-([0-9a-f]{1,16}) : (.{1,200}?)\r?$", re.MULTILINE
)
_AREA: Final = re.compile(
    r"^0x([0-9a-f]{16})-0x([0-9a-f]{16}) +\d+((?: [^\n]{1,300})?)$", re.MULTILINE
)
_MODULE: Final = re.compile(
    r"^([\w.-]{1,64}) (\d{1,12}) [^\n]{0,4096} 0x([0-9a-f]{16})(?: \([A-Z]+\))?$", re.MULTILINE
)
#: What /proc/iomem calls memory of the page allocator.
SYSTEM_RAM: Final = "System RAM"


@dataclass(frozen=True, slots=True)
class Resource:
    """One line of /proc/iomem: physical [start, end), its name and the names it stands below."""

    start: int
    end: int
    name: str
    above: tuple[str, ...] = ()

    @property
    def ram(self) -> bool:
        """Whether it is the page allocator's, hot-plugged ("System RAM (virtio_mem)") or not."""
        return self.name.startswith(SYSTEM_RAM)

    @property
    def in_ram(self) -> bool:
        """Whether it is a part of such memory."""
        return any(name.startswith(SYSTEM_RAM) for name in self.above)


@dataclass(frozen=True, slots=True)
class Area:
    """One vmalloc area, [start, end), and what the kernel says of it: caller and flags."""

    start: int
    end: int
    what: str


def resources(text: str) -> tuple[Resource, ...]:
    """Return the lines of /proc/iomem with their nesting; none if their addresses are hidden."""
    found: list[Resource] = []
    path: list[tuple[int, str]] = []
    for blanks, first, last, name in _RESOURCE.findall(text)[:_ROWS]:
        depth = len(blanks)
        while path and path[-1][0] >= depth:
            path.pop()
        above = tuple(each for _, each in path)
        path.append((depth, name))
        start, end = int(first, 16), int(last, 16) + 1
        if start < end:
            found.append(Resource(start, end, name, above))
    return tuple(found) if any(each.end > 1 for each in found) else ()


def areas(text: str) -> tuple[Area, ...]:
    """Return the areas of /proc/vmallocinfo; none if their addresses are hidden."""
    found = [
        Area(int(first, 16), int(last, 16), what.strip())
        for first, last, what in _AREA.findall(text)[:_ROWS]
        if not what.startswith(" unpurged")  # freed, and only not forgotten yet
    ]
    # %pK without the right to see it: zeros; hashed: not in the kernel's half, or in no order
    sane = all(each.start >> 63 and each.start < each.end for each in found)
    return tuple(found) if sane else ()


def modules(text: str) -> tuple[tuple[str, int, int], ...]:
    """Return (name, base, size) of the lines of /proc/modules; none if hidden."""
    found = [(name, int(base, 16), int(size)) for name, size, base in _MODULE.findall(text)]
    return tuple(each for each in found[:_ROWS] if each[1])
