# SPDX-License-Identifier: GPL-2.0-only
"""Finds the registers that hold a function's parameters at an address, from DWARF location lists.

Promises: a register is named only where the list has one plain DW_OP_reg for exactly that address;
for anything else, and for whatever a damaged file holds, there is none, with the reason. Only the
unit of one source file is read (.debug_aranges says which), not the hundreds of megabytes around
it.
"""

from collections.abc import Collection, Iterator
from typing import Any, BinaryIO, Final, Protocol

from elftools.dwarf.dwarfinfo import DebugSectionDescriptor, DwarfConfig, DWARFInfo
from elftools.dwarf.locationlists import BaseAddressEntry, LocationEntry, LocationParser

from tracers.constants.errors import ConstantsError

#: Of one unit; arch/arm64/mm/mmu.c of a Debian kernel has 15,000.
_ENTRIES_CAP: Final = 400_000
_DW_OP_REG0: Final = 0x50
_REGISTERS: Final = 31  # x0 to x30 are DWARF's 0 to 30 (AADWARF64)
#: pyelftools' parameter -> section; those not named here are not needed.
_SECTIONS: Final = {
    "debug_info_sec": ".debug_info",
    "debug_aranges_sec": ".debug_aranges",
    "debug_abbrev_sec": ".debug_abbrev",
    "debug_str_sec": ".debug_str",
    "debug_line_str_sec": ".debug_line_str",
    "debug_loc_sec": ".debug_loc",
    "debug_loclists_sec": ".debug_loclists",
    "debug_addr_sec": ".debug_addr",
    "debug_str_offsets_sec": ".debug_str_offsets",
}
_UNNEEDED: Final = (
    "debug_frame_sec",
    "eh_frame_sec",
    "debug_ranges_sec",
    "debug_line_sec",
    "debug_pubtypes_sec",
    "debug_pubnames_sec",
    "debug_rnglists_sec",
    "debug_sup_sec",
    "gnu_debugaltlink_sec",
    "debug_types_sec",
)
_Die = Any  # pyelftools' DIE, CompileUnit and LocationEntry: untyped where they matter


class Image(Protocol):
    """The part of image.KernelImage used here."""

    def stream(self, name: str) -> BinaryIO | None: ...  # noqa: D102
    def section_va(self, name: str) -> tuple[int, int] | None: ...  # noqa: D102


def registers(image: Image, pc: int, names: Collection[str]) -> dict[str, int]:
    """Return the x register that holds each parameter of ``names`` when ``pc`` is executed.

    Raises:
        ConstantsError: the file has no such information, or it is damaged; one line says which.
    """
    try:
        return _registers(image, pc, names)
    except ConstantsError:
        raise
    # pyelftools documents none: ELFError, DWARFError, construct's, KeyError, IndexError…
    except Exception as error:
        reason = ascii(str(error) or type(error).__name__)[1:-1][:80]
        raise ConstantsError(f"damaged debug information: {reason}") from error


def _registers(image: Image, pc: int, names: Collection[str]) -> dict[str, int]:
    dwarf = _dwarf(image)
    ranges = dwarf.get_aranges()
    offset = ranges.cu_offset_at_addr(pc) if ranges else None
    if offset is None:
        raise ConstantsError(f"no debug information of the code at {pc:#x}")
    unit = dwarf.get_CU_at(offset)
    function = next((die for die in _functions(unit) if _covers(die, pc)), None)
    if function is None:
        raise ConstantsError(f"no debug information of the function at {pc:#x}")
    lists = LocationParser(dwarf.location_lists())
    held = {}
    for die in function.iter_children():
        name = _name(die) if die.tag == "DW_TAG_formal_parameter" else None
        register = _register(lists, unit, die, pc) if name in names else None
        if name is not None and register is not None:
            held[name] = register
    return held


def _dwarf(image: Image) -> DWARFInfo:
    sections: dict[str, DebugSectionDescriptor | None] = dict.fromkeys(_UNNEEDED)
    for parameter, name in _SECTIONS.items():
        stream, section = image.stream(name), image.section_va(name)
        sections[parameter] = (
            DebugSectionDescriptor(stream, name, 0, section[1], 0) if stream and section else None
        )
    for parameter in ("debug_info_sec", "debug_abbrev_sec", "debug_aranges_sec"):
        if sections[parameter] is None:
            raise ConstantsError(f"no {_SECTIONS[parameter]}, or packed")
    config = DwarfConfig(little_endian=True, machine_arch="AArch64", default_address_size=8)
    return DWARFInfo(config, **sections)


def _functions(unit: _Die) -> Iterator[_Die]:
    """Yield the unit's functions that have code of their own."""
    for number, die in enumerate(unit.iter_DIEs()):
        if number > _ENTRIES_CAP:
            raise ConstantsError("a unit of the debug information never ends")
        if die.tag == "DW_TAG_subprogram" and "DW_AT_low_pc" in die.attributes:
            yield die


def _covers(die: _Die, pc: int) -> bool:
    low, high = (die.attributes.get(f"DW_AT_{side}_pc") for side in ("low", "high"))
    if high is None:
        return False
    end = high.value if high.form == "DW_FORM_addr" else low.value + high.value
    return bool(low.value <= pc < end)


def _name(die: _Die) -> str | None:
    """Return a parameter's name, its own or that of the declaration it is an instance of."""
    if "DW_AT_abstract_origin" in die.attributes:
        die = die.get_DIE_from_attribute("DW_AT_abstract_origin")
    name = die.attributes.get("DW_AT_name")
    return name.value.decode("ascii", "backslashreplace") if name else None


def _register(lists: LocationParser, unit: _Die, die: _Die, pc: int) -> int | None:
    """Return the register that alone holds a parameter at ``pc``."""
    attribute = die.attributes.get("DW_AT_location")
    if attribute is None or not lists.attribute_has_location(attribute, unit["version"]):
        return None
    location = lists.parse_from_attribute(attribute, unit["version"], die)
    if not isinstance(location, list):
        return _plain(location.loc_expr)  # the same everywhere
    base = unit.get_top_DIE().attributes.get("DW_AT_low_pc")
    start = base.value if base else 0
    held = set()
    for entry in location:
        if isinstance(entry, BaseAddressEntry):
            start = entry.base_address
        elif isinstance(entry, LocationEntry):
            shift = 0 if entry.is_absolute else start
            if shift + entry.begin_offset <= pc < shift + entry.end_offset:
                held.add(_plain(entry.loc_expr))
    return held.pop() if len(held) == 1 else None


def _plain(expression: list[int]) -> int | None:
    register = expression[0] - _DW_OP_REG0 if len(expression) == 1 else -1
    return register if 0 <= register < _REGISTERS else None
