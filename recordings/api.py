# SPDX-License-Identifier: GPL-2.0-only
"""The public Python API: what ``vmemscope.open`` returns.

Promises: numbers are those of ``vmemscope report`` on the same file (only ``report`` and ``check``
make one capture of the files it was rotated into); addresses stay u64 in Arrow and pandas alike;
names are added, never removed. The examples below are run as tests.

>>> import vmemscope
>>> with vmemscope.open("sample:storm") as recording:
...     print(recording.verdict.value, recording.snapshot.hits, recording.rows)
out-of-range 256 1544
"""

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa

from recordings.format.header import RecordingError
from recordings.format.reader import Recording
from recordings.ledger.snapshot import Snapshot, Verdict
from recordings.samples import PREFIX, sample_names, sample_path
from tracers.window import Window

if TYPE_CHECKING:
    from recordings.ledger.ledger import Ledger


def open_recording_or_sample(path: str | os.PathLike[str]) -> "OpenRecording":
    """Open a recording or ``sample:NAME``: programs call it as ``vmemscope.open``.

    Raises:
        RecordingError: it cannot be read, or there is no such sample.
    """
    return OpenRecording(path_of(path))


def path_of(path: str | os.PathLike[str]) -> Path:
    """Return the path of a recording or ``sample:NAME``.

    Raises ``RecordingError`` when there is no such sample.
    """
    name = os.fspath(path)
    if not name.startswith(PREFIX):
        return Path(name)
    try:
        return sample_path(name.removeprefix(PREFIX))
    except KeyError:
        known = ", ".join(sample_names())
        raise RecordingError(f"{name}: no such sample; there are {known}") from None


class OpenRecording(Recording):
    """An open recording: its events, its numbers and its metadata.

    A context manager; events can be read until it is closed. Everything of
    ``recordings.format.reader.Recording`` is here too: ``header``, ``rows``, ``losses``,
    ``problems``, ``batches()``, ``to_pandas()``.

    >>> import vmemscope
    >>> recording = vmemscope.open("sample:storm")
    >>> recording.header.machine.release
    '6.1.192-vmemlab'

    The window is what the kernel's WARN compares with; ``provenance`` says where it came from:

    >>> f"{recording.window.start:#018x} - {recording.window.end:#018x}"
    '0xfffffffe00000000 - 0xffffffff00000000'
    >>> recording.window.provenance["memstart"]
    'vmcoreinfo'
    >>> recording.window.regime(0xffffffff3f000000, 0xffffffff3f200000).value
    'above'

    The snapshot has every number of ``vmemscope report``, as plain Python values; what is not
    known is ``None`` and never 0:

    >>> recording.snapshot.regimes.above, recording.snapshot.warnings
    (256, 256)
    >>> [(site.site, site.count) for site in recording.snapshot.sites]
    [('arch/arm64/mm/mmu.c:1222', 128), ('arch/arm64/mm/mmu.c:1268', 128)]
    >>> add, remove = recording.snapshot.operations
    >>> f"{add.kind.label} of {add.nr_pages} pages: {add.warnings} WARNs"
    'memremap of 4194304 pages: 128 WARNs'
    >>> with vmemscope.open("sample:below-6.1") as traced:
    ...     print(traced.snapshot.section_add_reason)  # doctest: +ELLIPSIS
    no probe was on sparse_add_section in this recording: kernels before 6.11 refuse ...

    The verdict and its reasons. With losses it is never "clean":

    >>> recording.verdict
    <Verdict.OUT_OF_RANGE: 'out-of-range'>
    >>> recording.snapshot.verdict_reasons
    ('256 of 256 vmemmap calls lie outside the window.',)
    >>> bool(recording.snapshot.losses)
    False

    Events are one row for each entry and each exit (docs/format.md has the columns):

    >>> frame = recording.to_pandas(["kind", "phase", "start", "end"])
    >>> calls = frame[frame.start.notna()]
    >>> hex(calls.start.max())
    '0xffffffff4ee00000'
    >>> frame.dtypes["start"]
    UInt64Dtype()

    >>> recording.close()
    """

    @property
    def window(self) -> Window | None:
        """[VMEMMAP_START, VMEMMAP_END) with its arithmetic; ``None`` where it is not known."""
        return self.header.machine.window

    @cached_property
    def ledger(self) -> "Ledger":
        """All events folded anew, once: ``copy()`` it to fold more.

        >>> import vmemscope
        >>> with vmemscope.open("sample:storm-once") as recording:
        ...     once = recording.ledger.snapshot(final=True)
        >>> once.hits, once.warnings
        (256, 2)
        """
        from recordings.ledger.ledger import folded  # noqa: PLC0415 (events alone do not need it)

        return folded(self)

    @cached_property
    def snapshot(self) -> Snapshot:
        """All numbers, frozen, with what the file itself is known to miss."""
        from recordings.ledger.whole import fold  # noqa: PLC0415 (as above)

        return fold(self)

    @property
    def verdict(self) -> Verdict:
        """Clean, out of range or inconclusive; ``snapshot.verdict_reasons`` says why."""
        return self.snapshot.verdict

    def to_arrow(self, columns: Sequence[str] | None = None) -> pa.Table:
        """Return all events, or some columns, as one table in memory.

        Raises ``KeyError`` for a column that is not there.

        >>> import vmemscope
        >>> with vmemscope.open("sample:in-range-6.12") as recording:
        ...     table = recording.to_arrow(["kind", "phase", "ret"])
        >>> table.num_rows, table.schema.field("ret").type
        (104, DataType(int64))
        """
        return self.reader(columns).read_all()

    def reader(self, columns: Sequence[str] | None = None) -> pa.RecordBatchReader:
        """Return the events as a stream, a batch in memory at a time, for any Arrow library.

        Read it before the recording is closed. Errors as ``to_arrow``.

        >>> import vmemscope
        >>> with vmemscope.open("sample:storm") as recording:
        ...     sum(batch.num_rows for batch in recording.reader(["ts_ns"]))
        1544
        """
        names = self.select(columns)
        schema = pa.schema([self.schema.field(name) for name in names])

        def events() -> Iterator[pa.RecordBatch]:
            for batch in self.batches(names):
                yield batch.events

        return pa.RecordBatchReader.from_batches(schema, events())

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Arrow's PyCapsule interface: polars, duckdb and others take the recording itself."""
        return self.reader().__arrow_c_stream__(requested_schema)
