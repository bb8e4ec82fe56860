# SPDX-License-Identifier: GPL-2.0-only
"""Finds the registers that hold start and end at the WARNs of vmemmap_populate and vmemmap_free.

There are two independent sources: the function's code, followed from its entry to the WARN's brk
(``follow``), and the compiler's location lists (``dwarf_locations``). Promises: a register is named
only if that argument is in it unchanged on every path through the code, or the list says so for
that address; where the two contradict each other no register is named, and the reason is kept.
"""

from dataclasses import dataclass, field
from typing import Final

from tracers.constants.dataflow import dwarf_locations
from tracers.constants.dataflow.follow import BUG_BRK, Follower
from tracers.constants.errors import ConstantsError
from tracers.constants.image.kernel_image import Code, KernelImage
from tracers.constants.image.warn_sites import warn_sites
from tracers.kernel_functions import CHECKED

NAMES: Final = ("start", "end")
#: The two sources, as notes name them.
CODE, DWARF = "the code's own comparison", "DWARF location lists"


@dataclass(frozen=True, slots=True)
class ParameterLocation:
    """One WARN of a function(start, end, …): the registers that hold both when it fires."""

    function: str
    offset: int  # of the brk, from the function's start
    size: int  # bytes of the function's code
    site: str | None  # file:line; None without a bug table
    start: tuple[int, ...]  # the x registers that hold start, at least one
    end: tuple[int, ...]
    known_by: tuple[str, ...]  # CODE, DWARF or both
    #: The bounds this WARN compares with (start < low || end > high); None: another WARN, or one
    #: whose comparison could not be read.
    bounds: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class KernelParameterLocations:
    """All WARNs of one kernel; ``problems`` says why some have no registers, a line each."""

    release: str | None
    warns: tuple[ParameterLocation, ...]
    problems: tuple[str, ...] = field(default=())


def parameter_locations(image: KernelImage) -> KernelParameterLocations:
    """Return what is known of every WARN in ``CHECKED``.

    Raises:
        ConstantsError: the file is damaged.
    """
    sites = {site.va: site.site for site in warn_sites(image, CHECKED)}
    warns: list[ParameterLocation] = []
    problems: list[str] = []
    for name in CHECKED:
        body = image.function(name)
        if body is None:
            problems.append(f"{name} is not in {image.path.name}, or it names no functions")
            continue
        follower = Follower(body.bytes, body.va)
        guard = follower.guard()
        low, high = guard.low, guard.high
        for pc in _brks(follower, body):
            bounds = None
            if low is not None and high is not None and pc in guard.rests_on:
                bounds = low, high
            by_code = _by_code(follower, pc)
            by_dwarf, reason = _by_dwarf(image, pc)
            start, end, known_by = _combined(by_code, by_dwarf)
            offset = pc - body.va
            if not known_by:
                problems.append(
                    f"{name}+{offset:#x}: the code does not say which registers hold start and"
                    f" end; {reason}"
                    if not by_code and not by_dwarf
                    else f"{name}+{offset:#x}: {CODE} and the {DWARF} contradict each other"
                )
                continue
            warns.append(
                ParameterLocation(
                    name, offset, len(body.bytes), sites.get(pc), start, end, known_by, bounds
                )
            )
    return KernelParameterLocations(image.release, tuple(warns), tuple(problems))


def _brks(follower: Follower, body: Code) -> list[int]:
    """Return the addresses of the function's WARNs."""
    pcs = range(body.va, body.va + len(body.bytes), 4)
    insns = ((pc, follower.insn(pc)) for pc in pcs)
    return [
        pc
        for pc, insn in insns
        if insn is not None and insn.mnemonic == "brk" and insn.operands[0].imm == BUG_BRK
    ]


def _by_code(follower: Follower, pc: int) -> dict[str, tuple[int, ...]]:
    """Return the registers that hold start and end as they were passed, both or none."""
    values = follower.registers_at(pc)
    held = {
        name: tuple(n for n, value in enumerate(values) if value == ("f", argument, ()))
        for argument, name in enumerate(NAMES)
    }
    return held if all(held.values()) else {}


def _by_dwarf(image: KernelImage, pc: int) -> tuple[dict[str, int], str]:
    try:
        held = dwarf_locations.registers(image, pc, NAMES)
    except ConstantsError as error:
        return {}, str(error)
    return (held, "") if len(held) == len(NAMES) else ({}, f"the {DWARF} do not say either")


def _combined(
    by_code: dict[str, tuple[int, ...]], by_dwarf: dict[str, int]
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[str, ...]]:
    """Combine both sources: the registers of start and end, and which sources named them."""
    if not by_code and not by_dwarf:
        return (), (), ()
    if not by_code:
        return (by_dwarf["start"],), (by_dwarf["end"],), (DWARF,)
    if not by_dwarf:
        return by_code["start"], by_code["end"], (CODE,)
    if by_dwarf["start"] in by_code["start"] and by_dwarf["end"] in by_code["end"]:
        return by_code["start"], by_code["end"], (CODE, DWARF)
    return (), (), ()
