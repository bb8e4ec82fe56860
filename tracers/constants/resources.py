# SPDX-License-Identifier: GPL-2.0-only
"""Reads the tree behind /proc/iomem out of a kernel's memory: which physical addresses are whose.

It needs no symbols, which stock kernels may not have for data: the tree's root is the only
structure of the kernel's image that is called "PCI mem", and whose children name it as their
parent. Promises: each resource is read once, and only where its parent pointer is the one it was
reached from; cyclic and endless trees end at a cap; what cannot be found is an empty answer.

Source: kernel/resource.c (iomem_resource, r_show), include/linux/ioport.h (desc came with 4.6).
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from tracers.constants.core_file import Core
from tracers.machine_files import number, read_notes

MOST: Final = 4096
_DEEPEST: Final = 64
_PIECE: Final = 1 << 20
_PART: Final = 4096  # where not all of a piece is mapped
_GAP: Final = 32 << 20  # unmapped inside it: what booting alone needed
_OVERLAP: Final = 16  # what is searched for may lie across pieces
_IMAGE_CAP: Final = 128 << 20
_NAME_CAP: Final = 128
_ROOT: Final = b"PCI mem\0"  # the linker may have it as the end of a longer string
_MEM: Final = 0x200  # IORESOURCE_MEM
_TYPES: Final = 0x1F00
#: start, end, name, flags, then parent, sibling and child, with and without desc before them.
_LAYOUTS: Final = (struct.Struct("<QQQQ8xQQQ"), struct.Struct("<QQQQQQQ"))


class Resource(NamedTuple):
    """A line of /proc/iomem; ``last`` belongs to it."""

    depth: int
    start: int
    last: int
    name: str


class _Node(NamedTuple):
    start: int
    last: int
    name: int
    flags: int
    parent: int
    sibling: int
    child: int


def iomem_of(core: Core) -> tuple[tuple[int, int, str], ...]:
    """Return (first, last, name) of each resource, in the order of /proc/iomem; (): not found."""
    return tuple((each.start, each.last, each.name) for each in resources(core))


def iomem_text(core: Core) -> str:
    """Return the tree as the text of /proc/iomem; "": it was not found."""
    return "".join(
        f"{'  ' * min(each.depth, 5)}{each.start:08x}-{each.last:08x} : {each.name}\n"
        for each in resources(core)
    )


def resources(core: Core) -> tuple[Resource, ...]:
    """Return the tree, each resource before its children."""
    for layout in _LAYOUTS:
        for root in _roots(core, layout):
            return tuple(_tree(core, layout, root))
    return ()


def _roots(core: Core, layout: struct.Struct) -> Iterator[int]:
    """Yield where the image has a root of such a layout."""
    pieces = list(image_parts(core))
    names = {address + at for address, data in pieces for at in found(data, _ROOT)}
    for name in names:
        for address, data in pieces:
            for at in found(data, struct.pack("<Q", name)):
                place = address + at - 16
                if place % 8 == 0 and _is_root(core, layout, place):
                    yield place


def image_parts(core: Core) -> Iterator[tuple[int, bytes]]:
    """Yield the parts of the kernel's image that are in memory, each with the end of the last."""
    end, tail = 0, b""
    for address, data in _pieces(core):
        ahead = tail if address == end else b""
        yield address - len(ahead), ahead + data
        end, tail = address + len(data), data[-_OVERLAP:]


def _pieces(core: Core) -> Iterator[tuple[int, bytes]]:
    stext = number("0x" + read_notes(core.vmcoreinfo, []).get("SYMBOL(_stext)", ""))
    if stext is None or not core.is_memory:
        return
    seen = stext
    for address in range(stext & -_PIECE, min(stext + _IMAGE_CAP, (1 << 64) - _PIECE), _PIECE):
        data = core.read(address, _PIECE)
        if data is not None:
            seen = address
            yield address, data
            continue
        if address - seen > _GAP:
            return
        for part in range(address, address + _PIECE, _PART):
            if data := core.read(part, _PART):
                seen = part
                yield part, data


def found(data: bytes, pattern: bytes) -> Iterator[int]:
    """Yield where ``data`` has ``pattern``."""
    at = data.find(pattern)
    while at >= 0:
        yield at
        at = data.find(pattern, at + 1)


def _is_root(core: Core, layout: struct.Struct, place: int) -> bool:
    node = _node(core, layout, place)
    if node is None or node.start or node.parent or node.flags & _TYPES != _MEM:
        return False
    child = _node(core, layout, node.child)
    return child is not None and child.parent == place


def _node(core: Core, layout: struct.Struct, place: int) -> _Node | None:
    data = core.read(place, layout.size) if place else None
    return _Node(*layout.unpack(data)) if data else None


def _tree(core: Core, layout: struct.Struct, root: int) -> Iterator[Resource]:
    top = _node(core, layout, root)
    waiting = [(top.child, root, 0)] if top else []
    seen = {root}
    while waiting:
        place, parent, depth = waiting.pop()
        node = _node(core, layout, place)
        if node is None or place in seen or node.parent != parent or len(seen) > MOST:
            continue
        seen.add(place)
        yield Resource(depth, node.start, node.last, _name(core, node.name))
        waiting.append((node.sibling, parent, depth))
        if depth < _DEEPEST:
            waiting.append((node.child, place, depth + 1))


def _name(core: Core, address: int) -> str:
    """Return a name, as far as it is text; the kernel writes <BAD> where there is none."""
    data = b""
    while address and len(data) < _NAME_CAP:
        part = core.read(address + len(data), min(16 - (address + len(data)) % 16, _NAME_CAP))
        if part is None:
            break
        data += part
        if b"\0" in part:
            break
    text = data.partition(b"\0")[0].decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text) or "<BAD>"
