# SPDX-License-Identifier: GPL-2.0-only
"""Reads a kernel's list of vmalloc areas out of its memory: who else has an address.

/proc/vmallocinfo has the same, but hashes the addresses while kernel.kptr_restrict is 0, and a dump
has no /proc.

Promises: a list that does not end, or leads out of memory, is given up and said to be torn; at most
``AREAS_CAP`` areas are read.

Source: mm/vmalloc.c. Until 6.8 one list, vmap_area_list, which VMCOREINFO has; since d093602919ad
("mm: vmalloc: remove global vmap_area_root rb-tree", 6.9) one a node, vmap_nodes.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from tracers.constants.btf import Btf
from tracers.constants.errors import ConstantsError
from tracers.constants.image.symbols import SymbolTable
from tracers.machine_files import number
from tracers.mapped.kernel_lists import Area
from tracers.mapped.reading import Read, read_u64

#: As many areas are read at most.
AREAS_CAP: Final = 1 << 17
_TOO_MANY: Final = "there are more than {:,} vmalloc areas, or their list goes in circles"
_NODES_CAP: Final = 4096
#: include/linux/vmalloc.h: VM_IOREMAP, VM_ALLOC, VM_MAP, VM_USERMAP…; the rest needs no word.
_FLAGS: Final = ((0x1, "ioremap"), (0x2, "vmalloc"), (0x4, "vmap"))


def read_areas(
    read: Read, notes: Mapping[str, str], btf: Btf | None, names: SymbolTable | None
) -> tuple[Area, ...]:
    """Return the areas in use, in order of address.

    Raises:
        ConstantsError: nothing says where they are, or the lists are torn.
    """
    lists = _Lists(read, notes, btf)
    found: list[Area] = []
    for head in _heads(read, notes, btf, names):
        for each in lists.areas(head, names):
            found.append(each)
            if len(found) > AREAS_CAP:
                raise ConstantsError(_TOO_MANY.format(AREAS_CAP))
    return tuple(sorted(found, key=lambda each: each.start))


def _heads(
    read: Read, notes: Mapping[str, str], btf: Btf | None, names: SymbolTable | None
) -> list[int]:
    """Return the addresses of the lists' heads."""
    if (one := number("0x" + notes.get("SYMBOL(vmap_area_list)", ""))) is not None:
        return [one]
    found = names.find(("vmap_area_list", "vmap_nodes", "nr_vmap_nodes")) if names else {}
    if "vmap_area_list" in found:
        return [found["vmap_area_list"].va]
    busy, head = (
        (btf.offset("vmap_node", "busy"), btf.offset("rb_list", "head")) if btf else (None, None)
    )
    size = btf.struct_size("vmap_node") if btf else None
    if None in (busy, head, size) or "vmap_nodes" not in found:
        raise ConstantsError("neither VMCOREINFO nor its symbols say where vmalloc's areas are")
    first = read_u64(read, found["vmap_nodes"].va)
    count = read_u64(read, found["nr_vmap_nodes"].va) if "nr_vmap_nodes" in found else None
    count = 1 if count is None else count & 0xFFFF_FFFF
    if first is None or not first >> 63 or not 0 < count <= _NODES_CAP:
        raise ConstantsError("the lists of vmalloc areas are torn")
    return [first + at * (size or 0) + (busy or 0) + (head or 0) for at in range(count)]


class _Lists:
    """Lists of struct vmap_area."""

    def __init__(self, read: Read, notes: Mapping[str, str], btf: Btf | None) -> None:
        self._read = read

        def offset(name: str) -> int | None:
            known = btf.offset("vmap_area", name) if btf else None
            return (
                known if known is not None else number(notes.get(f"OFFSET(vmap_area.{name})", ""))
            )

        start, link, end = offset("va_start"), offset("list"), offset("va_end")
        if start is None or link is None:
            raise ConstantsError("neither BTF nor VMCOREINFO says what a vmalloc area looks like")
        self._start, self._link = start, link
        self._end = start + 8 if end is None else end  # has followed it since 2.6.28
        self._vm = btf.offset("vmap_area", "vm") if btf else None
        self._caller = btf.offset("vm_struct", "caller") if btf else None
        self._flags = btf.offset("vm_struct", "flags") if btf else None

    def areas(self, head: int, names: SymbolTable | None) -> Iterator[Area]:
        """Yield those of the list with that head. Raises ``ConstantsError``."""
        node = read_u64(self._read, head)
        for _ in range(AREAS_CAP + 1):
            if node == head:
                return
            if node is None or not node >> 63:
                raise ConstantsError("the list of vmalloc areas leads out of memory: torn")
            place = node - self._link
            start, end, after = (
                read_u64(self._read, place + at) for at in (self._start, self._end, self._link)
            )
            if start is None or end is None or not start >> 63 or start >= end:
                raise ConstantsError("the list of vmalloc areas is torn")
            yield Area(start, end, self._what(place, names))
            node = after
        raise ConstantsError(_TOO_MANY.format(AREAS_CAP))

    def _what(self, place: int, names: SymbolTable | None) -> str:
        if self._vm is None or self._caller is None or self._flags is None:
            return ""
        vm = read_u64(self._read, place + self._vm)
        if vm is None or not vm >> 63:
            return "vm_map_ram"  # what s_show() calls an area without a vm_struct
        caller, flags = (read_u64(self._read, vm + at) for at in (self._caller, self._flags))
        kinds = " ".join(word for bit, word in _FLAGS if flags is not None and flags & bit)
        symbol = names.containing(caller) if names and caller else None
        where = f"{symbol.name}+{caller - symbol.va:#x}" if symbol and caller else ""
        return f"{where} {kinds}".strip()
