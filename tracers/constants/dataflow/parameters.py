# SPDX-License-Identifier: GPL-2.0-only
"""Where a kernel's WARNs in vmemmap_populate and vmemmap_free have start and end in registers.

Two witnesses: the function's code, followed from its entry to the WARN's brk (``follow``), and
the compiler's own location lists (``locations``). Promises: a register is named only if every way
through the code leaves that argument in it unchanged, or the list says so for that address; where
the two contradict each other no register is named, and the reason is kept.
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
#: The witnesses, as notes name them.
CODE, DWARF = "the code's own comparison", "DWARF location lists"


@dataclass(frozen=True, slots=True)
class Place:
    """One WARN of a function(start, end, …): what its registers hold when it fires."""

    function: str
    offset: int  # of the brk, from the function's start
    size: int  # bytes of the function's code
    site: str | None  # file:line; None without a bug table
    start: tuple[int, ...]  # the x registers that hold start, at least one
    end: tuple[int, ...]
    ways: tuple[str, ...]  # CODE, DWARF: who says so
    #: The bounds this WARN compares with (start < low || end > high); None: another WARN, or one
    #: whose comparison could not be read.
    bounds: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Places:
    """All of one kernel, and in ``problems`` why some have no registers, a line each."""

    release: str | None
    places: tuple[Place, ...]
    problems: tuple[str, ...] = field(default=())


def warn_places(image: KernelImage) -> Places:
    """Return what is known of every WARN in ``CHECKED``.

    Raises:
        ConstantsError: the file is damaged.
    """
    sites = {site.va: site.site for site in warn_sites(image, CHECKED)}
    found: list[Place] = []
    problems: list[str] = []
    for name in CHECKED:
        body = image.function(name)
        if body is None:
            problems.append(f"{name} is not in {image.path.name}, or it names no functions")
            continue
        follower = Follower(body.bytes, body.va)
        guard = follower.guard()
        whole = guard.low is not None and guard.high is not None
        for pc in _brks(follower, body):
            bounds = (guard.low, guard.high) if whole and pc in guard.rests_on else None
            held = _by_code(follower, pc)
            noted, reason = _by_dwarf(image, pc)
            start, end, ways = _joined(held, noted)
            offset = pc - body.va
            if not ways:
                problems.append(
                    f"{name}+{offset:#x}: the code does not say which registers hold start and"
                    f" end; {reason}"
                    if not held and not noted
                    else f"{name}+{offset:#x}: {CODE} and the {DWARF} contradict each other"
                )
                continue
            found.append(
                Place(name, offset, len(body.bytes), sites.get(pc), start, end, ways, bounds)  # type: ignore[arg-type]
            )
    return Places(image.release, tuple(found), tuple(problems))


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
    """Return the registers that hold each argument as it was passed, both or none."""
    values = follower.held(pc)
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


def _joined(
    held: dict[str, tuple[int, ...]], noted: dict[str, int]
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[str, ...]]:
    """Put both witnesses together: the registers of start and end, and who says so."""
    if not held and not noted:
        return (), (), ()
    if not held:
        return (noted["start"],), (noted["end"],), (DWARF,)
    if not noted:
        return held["start"], held["end"], (CODE,)
    if noted["start"] in held["start"] and noted["end"] in held["end"]:
        return held["start"], held["end"], (CODE, DWARF)
    return (), (), ()
