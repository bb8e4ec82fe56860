# SPDX-License-Identifier: GPL-2.0-only
"""Counts Oopses at struct pages by where those lie, and keeps the newest with all that is known.

Promises: the numbers are of all of them; of the newest ``LISTED`` everything is kept, the chain of
callers up to ``CHAIN`` bytes. What could not be proven is ``None``.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np

from recordings.ledger.columns import (
    I64,
    U8,
    U64,
    Bool,
    Chunk,
    Columns,
    Objects,
    integers,
    texts,
)
from recordings.ledger.newest_calls import lands_on
from recordings.ledger.sink import Judged
from recordings.ledger.snapshot import Fault, Regimes
from tracers.arrow import numbers
from tracers.events import Kind, Source
from tracers.formulas import WindowError
from tracers.kernel_functions import KINDS
from tracers.layout import Layout
from tracers.regimes import REGIMES
from tracers.window import Window

#: Oopses kept.
LISTED: Final = 100
#: Bytes kept of a chain of callers; the kernel's own have some 20 functions.
CHAIN: Final = 2048
#: Between a function and its caller, in the column ``site``.
CALLED_BY: Final = " <- "

_SOURCES: Final = tuple(Source)
_BOTH: Final = 3


@dataclass(frozen=True, slots=True)
class _Faults(Columns):
    row: I64
    ts: U64
    source: U8
    cpu: I64  # -1 for null, as pid and tid
    pid: I64
    tid: I64
    comm: Objects
    start: U64
    end: U64
    known: U8  # bit 0: start is known, bit 1: end is
    regime: U8
    pfn: U64
    paged: Bool  # whether pfn is known
    chain: Objects


class Faults:
    """The Oopses so far."""

    def __init__(self, window: Window | None, layout: Layout | None) -> None:
        self._window = window
        self._layout = layout
        self._by_regime: I64 = np.zeros(len(REGIMES), np.int64)
        self.unproven = 0  # which struct page it was is not known
        u8, u64, i64 = np.zeros(0, np.uint8), np.zeros(0, np.uint64), np.zeros(0, np.int64)
        none, flags = np.zeros(0, np.object_), np.zeros(0, np.bool_)
        self._newest = _Faults(
            i64, u64, u8, i64, i64, i64, none, u64, u64, u8, u8, u64, flags, none
        )

    @property
    def regimes(self) -> Regimes:
        """Oopses by the regime of their struct page."""
        return Regimes(**dict(zip(REGIMES, self._by_regime.tolist(), strict=True)))

    def fold(self, chunk: Chunk, faults: Judged) -> None:
        """Take in the Oopses of a chunk."""
        self._by_regime = self._by_regime + np.bincount(faults.regime, minlength=len(REGIMES))
        self.unproven += int(np.count_nonzero(faults.known != _BOTH))
        newest = slice(-LISTED, None)
        faults = faults.pick(newest)
        rows = faults.rows
        pfn, paged = numbers(chunk.column("pfn"))
        fresh = _Faults(
            row=rows + chunk.row,
            ts=chunk.ts[rows],
            source=faults.source,
            cpu=integers(chunk.column("cpu"), rows),
            pid=integers(chunk.column("pid"), rows),
            tid=integers(chunk.column("tid"), rows),
            comm=texts(chunk.column("comm"), rows),
            start=faults.start,
            end=faults.end,
            known=faults.known,
            regime=faults.regime,
            pfn=pfn[rows].astype(np.uint64),
            paged=np.ones(len(rows), np.bool_) if paged is None else paged[rows],
            chain=texts(chunk.column("site"), rows, most=CHAIN),
        )
        self._newest = self._newest.joined(fresh).pick(newest)

    def newest(self) -> tuple[Fault, ...]:
        """Return those kept, in order of occurrence."""
        lands = lands_on(self._layout, self._newest.start, self._newest.end)
        return tuple(
            Fault(
                row=row,
                ts_ns=ts,
                source=_SOURCES[source],
                cpu=None if cpu < 0 else cpu,
                pid=None if pid < 0 else pid,
                tid=None if tid < 0 else tid,
                comm=comm,
                start=start if known & 1 else None,
                end=end if known & 2 else None,
                regime=REGIMES[regime],
                lands_on=region if known == _BOTH else None,
                pfn=pfn if paged else None,
                phys=physical(self._window, pfn if paged else None),
                chain=chain,
                operation=operation(chain),
            )
            for (
                row, ts, source, cpu, pid, tid, comm, start, end, known, regime, pfn, paged, chain,
            ), region in zip(self._newest.values(), lands, strict=True)
        )  # fmt: skip


def physical(window: Window | None, pfn: int | None) -> int | None:
    """Return the physical address of a page, ``None`` where the page or its size is not known."""
    if window is None or pfn is None:
        return None
    try:
        return window.pfn_to_phys(pfn)
    except WindowError:
        return None


def operation(chain: str | None) -> Kind | None:
    """Return the innermost function of a chain that is watched: in what the kernel failed."""
    for frame in (chain or "").split(CALLED_BY):
        # as memremap_pages+0x18c, section_deactivate.isra.0, or demo_probe [demo]
        name = frame.strip().partition("+")[0].partition(" ")[0].partition(".")[0]
        if name in KINDS:
            return KINDS[name]
    return None
