# SPDX-License-Identifier: GPL-2.0-only
"""Derives the vmemmap_populate calls that the kernel does not let anyone probe.

Before 6.11 vmemmap_populate cannot be probed (73db3abdca58 changed that), but __add_pages has pfn
and nr_pages, and its loop makes one call per section, the first and the last possibly
partial (mm/memory_hotplug.c since ba72b4c8cf60; read at 6.1.192)::

    for (; pfn < end_pfn; pfn += cur_nr_pages) {
        cur_nr_pages = min(end_pfn - pfn, SECTION_ALIGN_UP(pfn + 1) - pfn);
        err = sparse_add_section(...);

Promises: a call is derived only once it is proven reached, without looking ahead: so a recording
cut off anywhere is correct, and any split of the stream into batches gives the same rows. Proof is
(a) a WARN in arch/arm64/mm/mmu.c on the same thread, inside the operation and outside vmemmap_free:
it proves the next section that is out of the window, and all before it; (b) the operation's exit
with ret == 0: it proves all the rest. The rows are points (the call's end was not observed), placed
just before the row that proves them, with its time. Once a populate call was observed, nothing more
is derived. Where sparse_add_section was observed, each of its calls is an operation of one section
(the loop going on proves it, too).
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import pyarrow as pa

from tracers import arrow
from tracers.codes import codes
from tracers.events import KIND_NAMES, PHASE_NAMES, SCHEMA, SOURCE_NAMES, Kind, Phase, Source
from tracers.formulas import WindowError
from tracers.logs.byte_text import U64
from tracers.logs.flow import Flow, Index, Mask
from tracers.regimes import pfn_to_page, warns
from tracers.window import Window

_BEGIN: Final = (Kind.ADD_PAGES, Kind.SECTION_ADD)
_NO_ROWS: Final = arrow.empty(SCHEMA)
_NEVER: Final = np.iinfo(np.int64).max
_MOST_PAGES: Final = np.uint64(1 << 52)  # far above 52-bit physical addresses
_MOST_SECTIONS: Final = 1 << 20  # of an operation: 128 TiB on 4K pages, the largest linear map
#: Sections of one log: a fixed number, and some more per row read. Real logs have more rows than
#: sections, since what is added is freed again; a forged log must not fill the memory.
_BUDGET, _BUDGET_PER_ROW = 1 << 20, 8
_NOTES: Final = (
    "{} sections are unknown: their __add_pages call failed, or the log does not hold its result",
    "{} sections are unknown: their __add_pages call never returned in this log",
    "{} warnings came inside __add_pages calls beyond their sections out of the window",
    "{} __add_pages calls have no page range or an impossible one: nothing was derived from them",
    "{} __add_pages calls could not be split into sections: the section size is not known",
)


@dataclass(frozen=True, slots=True)
class _Span:
    """The pages of each operation: u64[N] pfn and number of pages, 0 where not known."""

    pfn: U64
    pages: U64
    known: Mask

    @classmethod
    def of(cls, rows: pa.RecordBatch, which: Index) -> Self:
        columns = [rows[name] for name in ("pfn", "nr_pages")]
        pfn, pages = (arrow.filled(column, 0)[which] for column in columns)
        known = (pages > 0) & (pages <= _MOST_PAGES) & (pfn <= _MOST_PAGES)
        known &= arrow.valid(columns[0])[which]
        return cls(np.where(known, pfn, 0), np.where(known, pages, 0), known)

    def sections(self, many: Mask, size: int | None) -> Index:
        """Return the number of populate calls of each; 0 where that cannot be known."""
        if size is None:
            return np.where(many | ~self.known, 0, 1)
        last = (self.pfn + self.pages - self.known) // np.uint64(size)
        count = (last - self.pfn // np.uint64(size)).astype(np.int64) + 1
        return np.where(self.known, np.where(many, count, 1), 0)

    def section(self, op: Index, nth: Index, many: Mask, size: int | None) -> tuple[U64, U64]:
        """Return the first and the end pfn of the ``nth`` section of each ``op``."""
        low, end = self.pfn[op], self.pfn[op] + self.pages[op]
        if size is None:
            return low, end
        step = np.uint64(size)
        border = (low // step + nth.astype(np.uint64)) * step
        split = many[op]
        return (
            np.where(split, np.maximum(low, border), low),
            np.where(split, np.minimum(end, border + step), end),
        )


class Deriver:
    """Adds derived populate rows to a log's batches.

    ``window`` None, or without a known vmemmap: start and end stay null and only (b) proves.
    ``section_pages`` None: __add_pages cannot be split, only sparse_add_section is used.
    """

    def __init__(self, window: Window | None, section_pages: int | None) -> None:
        self._window = _usable(window)
        self._section = section_pages
        # Rows of earlier batches that open operations depend on; for each that begins one: its
        # vmemmap warnings so far, and its sections not derived yet (-1: none will be).
        self._open = _NO_ROWS
        self._warned = self._left = np.zeros(0, np.int64)
        self._populate_seen = False
        self._fed = self._claimed = 0
        self._failed = self._surplus = self._absurd = self._unsplit = 0

    @property
    def notes(self) -> tuple[str, ...]:
        """What could not be derived, a sentence each."""
        pending = int(np.maximum(self._left, 0).sum())
        counts = (self._failed, pending, self._surplus, self._absurd, self._unsplit)
        return tuple(
            text.format(count) for text, count in zip(_NOTES, counts, strict=True) if count
        )

    def feed(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Return ``batch`` (of ``tracers.events.SCHEMA``) with the rows it proves inserted."""
        before, self._fed = self._fed, self._fed + batch.num_rows
        if self._populate_seen:
            return batch
        kind = codes(batch["kind"], Kind)
        if not self._open.num_rows and not np.isin(kind, _BEGIN).any():
            self._populate_seen = bool((kind == Kind.POPULATE).any())
            return batch
        carried = self._open.num_rows
        rows = _together(self._open, batch)
        flow = Flow.of(rows)
        new = np.zeros(batch.num_rows, np.int64)
        self._warned = np.append(self._warned, new)
        self._left = np.append(self._left, new)
        span = _Span.of(rows, flow.row)
        self._admit(flow, span, carried, before)
        derived, targets = self._prove(rows, flow, span)
        self._populate_seen = flow.first_populate < rows.num_rows
        kept = flow.kept[:0] if self._populate_seen else flow.kept
        self._open = rows.take(arrow.column(kept))
        self._warned, self._left = self._warned[kept], self._left[kept]
        if not len(targets):
            return batch
        positions = np.append(2 * np.arange(carried, rows.num_rows) + 1, 2 * targets)
        return _together(batch, derived).take(arrow.column(np.argsort(positions, kind="stable")))

    def _admit(self, flow: Flow, span: _Span, carried: int, before: int) -> None:
        """Note how many sections each operation that begins in this batch can have."""
        sections = span.sections(flow.many, self._section)
        new = (flow.row >= carried) & (flow.row < flow.first_populate)
        possible = span.known & (sections <= _MOST_SECTIONS)
        claims = np.zeros(len(self._left), np.int64)
        claims[flow.row] = np.where(new & possible, sections, 0)
        claims = self._claimed + np.cumsum(claims)
        self._claimed = int(claims[-1])
        budget = _BUDGET + _BUDGET_PER_ROW * (before + flow.row - carried)
        possible &= claims[flow.row] <= budget
        self._left[flow.row[new]] = np.where(possible & (sections > 0), sections, -1)[new]
        self._absurd += int((new & ~possible).sum())

    def _prove(self, rows: pa.RecordBatch, flow: Flow, span: _Span) -> tuple[pa.RecordBatch, Index]:
        """Return the proven rows and, for each, the index in ``rows`` of the row that proves it.

        Updates the state of each operation.
        """
        operations = len(flow.row)
        if self._section is None:
            unsplit = flow.many & ~flow.seen & (flow.end >= 0) & span.known
            self._unsplit += int(unsplit.sum())
        live = self._left[flow.row] >= 0
        count = np.bincount(flow.warned, minlength=operations)
        touched = live & ((count > 0) | (flow.end >= 0))
        sections = np.where(touched, span.sections(flow.many, self._section), 0)
        # List all sections of the operations that this batch changes.
        op = np.repeat(np.arange(operations), sections)
        first = np.cumsum(sections) - sections
        low, high = span.section(op, np.arange(len(op)) - first[op], flow.many, self._section)
        out = self._addresses(low, high)[2]
        total_out = np.bincount(op[out], minlength=operations)
        # The k-th warning proves the k-th section out of the window, and those before it.
        out_before = np.append(0, np.cumsum(out))
        nth = out_before[:-1] - out_before[first][op] + 1
        earlier = self._warned[flow.row]
        provable = nth <= total_out[op]
        derived = provable & (nth <= earlier[op])
        by_warning = provable & ~derived & (nth <= (earlier + count)[op])
        by_end = ~derived & ~by_warning & (flow.done & ~flow.seen)[op]
        target = np.full(len(op), _NEVER, np.int64)
        at = np.searchsorted(flow.warned, op) + nth - earlier[op] - 1
        target[by_warning] = flow.warning[at[by_warning]]
        target[by_end] = flow.end[op[by_end]]

        unknown = np.bincount(op[~derived & (target == _NEVER)], minlength=operations)
        ended = flow.end >= 0
        self._failed += int(unknown[ended & ~flow.seen].sum())
        self._left[flow.row[touched]] = np.where(ended, 0, unknown)[touched]
        self._left[flow.row[flow.seen]] = -1
        if self._window is not None:
            extra = earlier + count - np.maximum(total_out, earlier)
            self._surplus += int(np.maximum(extra, 0)[touched].sum())
        self._warned[flow.row] += count

        proven = np.flatnonzero(target != _NEVER)
        op, target = op[proven], target[proven]
        return self._points(rows, target, flow.row[op], (low[proven], high[proven])), target

    def _addresses(self, low: U64, high: U64) -> tuple[U64, U64, Mask]:
        """Return the addresses of the struct pages, and whether the kernel's check warns."""
        if self._window is None:
            nothing = np.zeros(len(low), np.uint64)
            return nothing, nothing, np.zeros(len(low), np.bool_)
        start, end = (pfn_to_page(pfn, self._window) for pfn in (low, high))
        return start, end, warns(start, end, self._window)

    def _points(
        self, rows: pa.RecordBatch, target: Index, source: Index, pages: tuple[U64, U64]
    ) -> pa.RecordBatch:
        """Make the rows: time and thread from the proving row, node from the operation's entry."""
        count = len(target)
        proof = rows.take(arrow.column(target))
        low, high = pages
        unknown = np.full(count, self._window is None)
        start, end, _ = self._addresses(low, high)
        made = {
            "kind": _constant(Kind.POPULATE, KIND_NAMES, count),
            "phase": _constant(Phase.POINT, PHASE_NAMES, count),
            "source": _constant(Source.DERIVED, SOURCE_NAMES, count),
            "start": arrow.masked(start, ~unknown),
            "end": arrow.masked(end, ~unknown),
            "pfn": arrow.column(low),
            "nr_pages": arrow.column(high - low),
            "nid": rows["nid"].take(arrow.column(source)),
        }
        for name in ("ret", "site", "line"):
            made[name] = pa.nulls(count, SCHEMA.field(name).type)
        arrays = [made.get(name, proof[name]) for name in SCHEMA.names]
        return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def _usable(window: Window | None) -> Window | None:
    """Return the window if it has a known vmemmap."""
    try:
        return window if window is not None and window.pfn_to_page(0) >= 0 else None
    except WindowError:
        return None


def _together(*batches: pa.RecordBatch) -> pa.RecordBatch:
    return pa.Table.from_batches(batches).combine_chunks().to_batches()[0]


def _constant(code: int, names: pa.Array, count: int) -> pa.Array:
    return pa.DictionaryArray.from_arrays(arrow.column(np.full(count, code, np.int8)), names)
