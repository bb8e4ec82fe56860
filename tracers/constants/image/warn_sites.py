# SPDX-License-Identifier: GPL-2.0-only
"""Lists a kernel's WARN sites in the watched functions, and which of those can be traced.

Promises: a site is reported only if its entry's file name really is one; where the kernel's tables
do not say, the result is empty, or "unknown".

Source: include/asm-generic/bug.h, arch/arm64/include/asm/asm-bug.h; file_disp is relative to its
own field since b7b0c765a61c (5.19), to the entry before: which one is seen from the strings, not
from the version. __mcount_loc: scripts/recordmcount.h, -fpatchable-function-entry since
3b23e4991fb6 (5.5), two words ahead of the function with CALL_OPS since baaf553d3bc3 (6.3).
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tracers.constants.image.kernel_image import KernelImage
from tracers.kernel_functions import KINDS, ON_THE_WAY
from tracers.kinds import Kind

#: The functions a populate or free goes through, on any release.
PATH: Final = (*(name for name, kind in KINDS.items() if kind is not Kind.WARN), *ON_THE_WAY)
_TABLE_CAP: Final = 4 << 20  # bytes; a Debian kernel's has 130 KB
_ENTRY: Final = np.dtype(
    [("addr", "<i4"), ("file", "<i4"), ("line", "<u2"), ("flags", "<u2")]
)  # CONFIG_DEBUG_BUGVERBOSE; without it there is neither file nor line
_FLAG_WARNING: Final = 1
_FLAG_ONCE: Final = 2
_SAMPLE: Final = 64  # file names looked at to tell the two encodings apart
_FILE: Final = re.compile(rb"([!-~]{1,255}\.(?:c|h|S|rs))\0")
_RELATIVE: Final = 0x403  # R_AARCH64_RELATIVE
_RELA: Final = np.dtype([("offset", "<u8"), ("info", "<u8"), ("addend", "<u8")])
_LOCATIONS_CAP: Final = 8 << 20  # bytes of __mcount_loc; a Debian kernel's has 600 KB
_CALL_OPS: Final = 8  # bytes the patched words may lie ahead of the function

_U64 = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class WarnSite:
    """One WARN: u64 address of its brk, the function it is compiled into, and its source line."""

    va: int
    function: str | None
    file: str
    line: int
    once: bool

    @property
    def site(self) -> str:
        """file:line, as the kernel prints it."""
        return f"{self.file}:{self.line}"


def warn_sites(image: KernelImage, functions: Iterable[str] | None = PATH) -> tuple[WarnSite, ...]:
    """Return the WARNs inside ``functions``, sorted by address; None: every WARN there is.

    Empty if the kernel has no __bug_table with file names (CONFIG_DEBUG_BUGVERBOSE).

    Raises:
        ConstantsError: the file is damaged.
    """
    bounds = _bounds(image, "__start___bug_table", "__stop___bug_table", "__bug_table")
    if not bounds or bounds[1] - bounds[0] > _TABLE_CAP:
        return ()
    start, size = bounds[0], bounds[1] - bounds[0]
    size -= size % _ENTRY.itemsize
    rows = np.frombuffer(image.read(start, size) or b"", _ENTRY)
    entry = np.uint64(start) + np.arange(len(rows), dtype=np.uint64) * np.uint64(_ENTRY.itemsize)
    base = _file_base(image, rows, entry)
    if base is None:
        return ()
    va = entry + rows["addr"].astype(np.uint64)  # modulo 2^64, like all of these
    files = base + rows["file"].astype(np.uint64)
    warning = (rows["flags"] & _FLAG_WARNING) != 0
    if functions is None:
        picked: list[tuple[str | None, int]] = [
            (None, index) for index in np.flatnonzero(warning).tolist()
        ]
    else:
        picked = [
            (name, index)
            for name, first, end in _spans(image, functions)
            for index in np.flatnonzero(
                warning & (va >= np.uint64(first)) & (va < np.uint64(end))
            ).tolist()
        ]
    names: dict[int, str | None] = {}
    sites = []
    for name, index in picked:
        at = int(files[index])
        if at not in names:
            names[at] = _file(image, at)
        file = names[at]
        if file is None:
            continue
        line, once = int(rows["line"][index]), bool(rows["flags"][index] & _FLAG_ONCE)
        sites.append(WarnSite(int(va[index]), name, file, line, once))
    return tuple(sorted(sites, key=lambda site: site.va))


def probeable(image: KernelImage, names: Iterable[str]) -> dict[str, str]:
    """Return for each function whether ftrace, and so a kprobe event, can attach to it.

    "traceable"; "notrace": it is there, without a patchable entry; "inlined or absent"; "unknown":
    the file has no names, or no list of entries (built without ftrace, or stripped of it).
    """
    wanted = list(names)
    if image.names is None:
        return dict.fromkeys(wanted, "unknown")
    symbols = image.symbols(wanted)
    locations = _locations(image)
    states = {}
    for name in wanted:
        symbol = symbols.get(name)
        if symbol is None:
            states[name] = "inlined or absent"
            continue
        first, end = image.extent(symbol)
        index = int(np.searchsorted(locations, np.uint64(max(first - _CALL_OPS, 0))))
        hit = index < len(locations) and int(locations[index]) < end
        states[name] = "traceable" if hit else "notrace" if len(locations) else "unknown"
    return states


def _bounds(image: KernelImage, start: str, stop: str, section: str) -> tuple[int, int] | None:
    """Return the [start, end) of a table: by its symbols, or as the section it is alone in."""
    ends = image.symbols([start, stop])
    if len(ends) == 2:
        first, end = ends[start].va, ends[stop].va
    else:
        extent = image.section_va(section)
        if extent is None:
            return None
        first, end = extent[0], extent[0] + extent[1]
    return (first, end) if first < end < 1 << 64 else None


def _spans(image: KernelImage, functions: Iterable[str]) -> list[tuple[str, int, int]]:
    """Return (name, start, end) of each function, and of the cold part the compiler split off."""
    return [
        (name, *image.extent(symbol))
        for name in functions
        for symbol in image.symbols([name, f"{name}.cold"]).values()
    ]


def _file_base(image: KernelImage, rows: npt.NDArray[np.void], entry: _U64) -> _U64 | None:
    """Return what file_disp is relative to, per entry; None if neither way leads to file names."""
    step = max(1, len(rows) // _SAMPLE)
    sample = slice(None, None, step)
    disp = rows["file"][sample].astype(np.uint64)
    best: _U64 | None = None
    most = len(disp) // 2  # at least half of the sample
    for ahead in (4, 0):
        base = entry + np.uint64(ahead)
        good = sum(_file(image, at) is not None for at in (base[sample] + disp).tolist())
        if good > most:
            best, most = base, good
    return best


def _file(image: KernelImage, va: int) -> str | None:
    """Return the source file's name at ``va``: a whole string, with a NUL on both sides."""
    text = image.read_some(va - 1, 257)
    match = _FILE.match(text, 1) if text.startswith(b"\0") else None
    return match[1].decode("ascii") if match else None


def _locations(image: KernelImage) -> _U64:
    """Return the sorted addresses of __mcount_loc; empty if there is none or it cannot be read.

    A relocatable kernel has zeros there and the addresses as addends of its relocations, unless
    it was linked with RELR. Entries of unused weak functions are zero (sorttable, 6.15).
    """
    bounds = _bounds(image, "__start_mcount_loc", "__stop_mcount_loc", "__mcount_loc")
    if not bounds or bounds[1] - bounds[0] > _LOCATIONS_CAP:
        return np.zeros(0, np.uint64)
    start, end = bounds
    data = image.read(start, (end - start) & ~7) or b""
    inside = np.frombuffer(data, "<u8")
    locations = inside[inside >= np.uint64(1 << 63)].astype(np.uint64)
    if not len(locations):
        locations = _addends(image, start, end)
    return np.sort(locations)


def _addends(image: KernelImage, start: int, end: int) -> _U64:
    """Return the addends of the relative relocations of [start, end)."""
    data = image.section(".rela.dyn")
    if data is None:
        # A raw Image: the linker sorts by address, so they are one run of the table.
        first = image.find(start.to_bytes(8, "little") + _RELATIVE.to_bytes(8, "little"))
        data = (image.read(first, (end - start) // 8 * _RELA.itemsize) or b"") if first else b""
    rows = np.frombuffer(data, _RELA, len(data) // _RELA.itemsize)
    picked = (
        (rows["info"] == _RELATIVE)
        & (rows["offset"] >= np.uint64(start))
        & (rows["offset"] < np.uint64(end))
    )
    addends: _U64 = rows["addend"][picked].astype(np.uint64)
    return addends
