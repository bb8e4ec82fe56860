# SPDX-License-Identifier: GPL-2.0-only
"""Finds the call instructions that lead to a function, by decoding arm64 kernel text.

A kernel before 6.11 rejects a probe on a __meminit function (73db3abdca58), but not on the ``bl``
that calls it from a traceable function. Promises: either every direct call in the kernel's own text
is found, or none is returned; modules are not searched. If the instruction behind a call is also a
jump target, that is reported: reaching it does not mean that the call returned.

Source: Arm Architecture Reference Manual, C6.2 "B", "BL", "B.cond", "CBZ", "TBZ".
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tracers.constants.image.kernel_image import KernelImage
from tracers.constants.image.patched import hidden

_CHUNK: Final = 4 << 20
_TEXT_CAP: Final = 256 << 20  # bytes; a defconfig kernel's text has 20 MB
#: Direct branches: mask and value of the opcode, where the offset's bits are and how many.
_BRANCHES: Final = (
    (0x7C000000, 0x14000000, 0, 26),  # B, BL
    (0xFF000000, 0x54000000, 5, 19),  # B.cond, BC.cond
    (0x7E000000, 0x34000000, 5, 19),  # CBZ, CBNZ
    (0x7E000000, 0x36000000, 5, 14),  # TBZ, TBNZ
)
_LINK: Final = np.uint32(1 << 31)  # set in BL, clear in B

_U64 = npt.NDArray[np.uint64]
_Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Calls:
    """Addresses of the instructions that lead into a function: calls, and tail calls (jumps).

    ``jumped``: those right behind a call that are jump targets, too. ``hidden``: why some may not
    be seen; then none is named.
    """

    calls: tuple[int, ...] = ()
    tails: tuple[int, ...] = ()
    jumped: tuple[int, ...] = ()
    hidden: str = ""


def find_calls(image: KernelImage, targets: Mapping[str, tuple[int, int]]) -> dict[str, Calls]:
    """Return the calls into each target, given as [start, end); jumps inside it do not count.

    Empty if the image's text is not known or cannot be read.
    """
    ends = image.symbols(["_stext", "_etext"])
    if len(ends) < 2 or not 0 < ends["_etext"].va - ends["_stext"].va <= _TEXT_CAP:
        return {}
    text = (ends["_stext"].va, ends["_etext"].va)
    calls: dict[str, list[int]] = {name: [] for name in targets}
    tails: dict[str, list[int]] = {name: [] for name in targets}
    jumps: list[_U64] = []
    for start, code in _pieces(image, *text):
        if code is None:
            return {}
        for at, what in hidden(start, code):
            # A call as a function's first instruction would lose its return address, and what
            # is behind a jump there is another function.
            if image.begins(at) and not image.begins(at + 4):
                continue
            why = f"at 0x{at:016x} stands {what} of somebody else, perhaps in place of a call"
            return dict.fromkeys(targets, Calls(hidden=why))
        for linked, where, goes in _branches(start, code):
            jumps.append(goes[~linked])
            for name, (first, end) in targets.items():
                into = goes == np.uint64(first)
                inside = (where >= np.uint64(first)) & (where < np.uint64(end))
                calls[name] += where[into & linked].tolist()
                tails[name] += where[into & ~linked & ~inside].tolist()
    behind = np.array([at + 4 for sites in calls.values() for at in sites], np.uint64)
    # Of all the text: a function's cold part lies elsewhere, and jumps back into it.
    jumped = {at for goes in jumps for at in goes[np.isin(goes, behind)].tolist()}
    return {
        name: Calls(
            _sorted(calls[name]),
            _sorted(tails[name]),
            _sorted([at + 4 for at in calls[name] if at + 4 in jumped]),
        )
        for name in targets
    }


def _pieces(image: KernelImage, first: int, end: int) -> Iterator[tuple[int, bytes | None]]:
    """Yield the code of [first, end), piece by piece, with the address of each; each place once.

    /proc/kcore shows the text twice: once as such, once as a part of vmalloc's area.
    """
    for region in sorted(image.regions, key=lambda region: region.va):
        low, high = max(region.va, first), min(region.va + region.size, end)
        for start in range(low & ~3, high & ~3, _CHUNK):
            yield start, image.read(start, min(_CHUNK, (high & ~3) - start))
        first = max(first, high)


def _branches(va: int, code: bytes) -> Iterator[tuple[_Mask, _U64, _U64]]:
    """Yield for each kind of branch: which are calls, their addresses, their targets.

    The low half of a pointer is skipped, even if it looks like a branch: since baaf553d3bc3 (6.3) a
    pointer to its ftrace_ops lies ahead of every function. The high half, 0xffff…, is unallocated.
    """
    words = np.frombuffer(code, "<u4")
    for mask, value, shift, bits in _BRANCHES:
        indices = np.flatnonzero((words & np.uint32(mask)) == np.uint32(value))
        behind = words[np.minimum(indices + 1, len(words) - 1)]
        indices = indices[(behind >> np.uint32(16)) != np.uint32(0xFFFF)]
        branches = words[indices]
        where = np.uint64(va) + indices.astype(np.uint64) * np.uint64(4)
        linked = ((branches & _LINK) != 0) & (bits == 26)
        yield linked, where, where + _offsets(branches, shift, bits)


def _sorted(addresses: list[int]) -> tuple[int, ...]:
    return tuple(sorted(set(addresses)))


def _offsets(words: npt.NDArray[np.uint32], shift: int, bits: int) -> _U64:
    """Return the signed byte offsets of branches, modulo 2^64."""
    field = (words.astype(np.int64) >> shift) & ((1 << bits) - 1)
    signed = field - ((field >> (bits - 1)) << bits)
    return (signed * 4).view(np.uint64)
