# SPDX-License-Identifier: GPL-2.0-only
"""Small recordings for tests, and an independent reader of files, with pyarrow and zlib alone."""

import time
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa

from recordings.format.header import BatchMeta, Header
from recordings.format.reader import Recording, open_recording
from recordings.format.writer import Writer
from tracers.batch import Batch, Losses
from tracers.events import KIND_NAMES, PHASE_NAMES, SCHEMA, SOURCE_NAMES, Kind, Phase, Source

NAMES = {"kind": KIND_NAMES, "phase": PHASE_NAMES, "source": SOURCE_NAMES}
#: A comm as hostile as the kernel allows (prctl(PR_SET_NAME) takes any 15 bytes).
COMM = "\x1b]0;x\x07[bold]"

#: How long a promise of 100 ms may take on a busy machine before we call it broken.
PATIENCE_S = 30


def coded(name: str, values: Iterable[int]) -> pa.DictionaryArray:
    """A column of names of one of our vocabularies."""
    return pa.DictionaryArray.from_arrays(pa.array(list(values), pa.int8()), NAMES[name])


def rows(count: int, first: int = 0) -> pa.RecordBatch:
    """Events number ``first`` and on: ts_ns is 1000 + its number; every third has nulls."""
    n = range(first, first + count)

    def some(values: Iterable[object]) -> list[object]:
        return [None if i % 3 == 2 else value for i, value in zip(n, values, strict=True)]

    columns = {
        "ts_ns": [1000 + i for i in n],
        "kind": coded("kind", [7 + i % 3 for i in n]),
        "phase": coded("phase", [1 + i % 3 for i in n]),
        "cpu": some(i % 8 for i in n),
        "pid": some(i for i in n),
        "tid": some(i + 1 for i in n),
        "comm": some(COMM for _ in n),
        "start": some(0xFFFFFFFF3F000000 + 0x200000 * i & 2**64 - 1 for i in n),
        "end": some(0xFFFFFFFF3F200000 + 0x200000 * i & 2**64 - 1 for i in n),
        "pfn": some(0xFFEC38000 + i for i in n),
        "nr_pages": some(32768 for _ in n),
        "nid": some(-1 for _ in n),
        "ret": some(-22 for _ in n),
        "site": some("arch/arm64/mm/mmu.c" for _ in n),
        "line": some(1222 for _ in n),
        "source": coded("source", [1 + i % 6 for i in n]),
    }
    return pa.RecordBatch.from_arrays(
        [
            column if isinstance(column, pa.Array) else pa.array(column, SCHEMA.field(name).type)
            for name, column in columns.items()
        ],
        schema=SCHEMA,
    )


def record(path: Path, batches: Iterable[Batch], header: Header | None = None) -> list[int]:
    """Write a recording, each batch on its own; return the file's size after each flush."""
    sizes = []
    with Writer(path, header or Header()) as writer:
        sizes.append(path.stat().st_size)
        for batch in batches:
            writer.write(batch)
            writer.flush()
            sizes.append(path.stat().st_size)
    return [*sizes, path.stat().st_size]


def small(path: Path) -> list[int]:
    """Three batches of 2, 5 and 1 events, the second with losses."""
    return record(
        path,
        [Batch(rows(2)), Batch(rows(5, 2), Losses(lost=23, lost_unknown=1)), Batch(rows(1, 7))],
    )


def seen(path: Path) -> Recording:
    """The recording, closed again: what it says of itself."""
    with open_recording(path) as recording:
        return recording


def crc_spot(data: bytes, start: int, end: int) -> int:
    """Where the checksum's digits stand in the batch at ``data[start:end]``."""
    key = data.index(b"vmemscope:crc32\0", start, end)
    spots = [
        at
        for at in range(start, end - 12)
        # flatbuffers string: length 8, eight characters, zero
        if data[at : at + 4] == b"\x08\0\0\0" and data[at + 12] == 0
        if all(byte in b"0123456789abcdef" for byte in data[at + 4 : at + 12])
    ]
    return min(spots, key=lambda at: abs(at - key)) + 4


def signed(data: bytes, start: int, end: int) -> bytes:
    """The file with the checksum of the batch at ``start:end`` made right again."""
    spot = crc_spot(data, start, end)
    blank = data[start:spot] + b"00000000" + data[spot + 8 : end]
    return data[:spot] + b"%08x" % zlib.crc32(blank) + data[spot + 8 :]


def foreign(
    path: Path,
    batches: Iterable[pa.RecordBatch],
    header: bytes,
    metas: Iterable[bytes],
    compression: str | None = None,
) -> None:
    """A recording made by another program, by docs/format.md: pyarrow and zlib only.

    ``batches`` and ``metas`` include the opening and the closing record.
    """
    sink = pa.BufferOutputStream()
    batches = list(batches)
    schema = batches[0].schema.with_metadata({"vmemscope": header})
    options = pa.ipc.IpcWriteOptions(compression=compression)
    ends = []
    with pa.ipc.new_stream(sink, schema, options=options) as stream:
        for batch, meta in zip(batches, metas, strict=True):
            custom = {"vmemscope": meta, "vmemscope:crc32": b"00000000"}
            stream.write_batch(batch, custom_metadata=custom)
            ends.append(sink.tell())
    data, start = sink.getvalue().to_pybytes(), 0
    for end in ends:
        data, start = signed(data, start, end), end
    path.write_bytes(data)


def newer(path: Path, column: pa.Array, name: str = "odd", *, nullable: bool = True) -> None:
    """A recording of a newer minor version, with one column more."""
    events = rows(len(column)).append_column(pa.field(name, column.type, nullable), column)
    nothing = events.slice(0, 0)
    header = Header(format="1.9").to_json()
    foreign(path, [nothing, events, nothing], header, metas(len(column)))


def lying() -> dict[str, pa.Array]:
    """Columns with nulls where their types have none, which Arrow itself does not refuse."""
    never = pa.field("item", pa.int32(), nullable=False)
    values = pa.array([1, None], pa.int32())
    offsets = pa.array([0, 1, 2], pa.int32())
    return {
        "struct": pa.StructArray.from_arrays([values], fields=[never]),
        "list": pa.ListArray.from_arrays(offsets, values, type=pa.list_(never)),
        "fixed": pa.FixedSizeListArray.from_arrays(values, type=pa.list_(never, 1)),
    }


def metas(*counts: int) -> list[bytes]:
    """Metadata of a whole recording with batches of ``counts`` rows."""
    middle = [BatchMeta(seq=i, rows=count).to_json() for i, count in enumerate(counts)]
    end = BatchMeta("end", seq=len(counts), rows=sum(counts), reason="closed").to_json()
    return [BatchMeta("begin").to_json(), *middle, end]


def wait_for(what: Callable[[], bool]) -> None:
    """Wait until it is so; fail when it never is."""
    deadline = time.monotonic() + PATIENCE_S
    while not what():
        assert time.monotonic() < deadline, "never came"
        time.sleep(0.005)


def events(count: int, kind: Kind, phase: Phase, **columns: object) -> pa.RecordBatch:
    """``count`` events of one kind, any number of them fast; columns that are not given are null.

    ``columns``: anything that makes an Arrow array.
    """
    given = {"ts_ns": np.arange(count, dtype=np.uint64)} | columns
    named = {"kind": kind, "phase": phase, "source": Source.KPROBE}
    return pa.RecordBatch.from_arrays(
        [
            pa.DictionaryArray.from_arrays(
                np.full(count, named[field.name], np.int8), NAMES[field.name]
            )
            if field.name in named
            else pa.array(given[field.name], field.type)
            if field.name in given
            else pa.nulls(count, field.type)
            for field in SCHEMA
        ],
        schema=SCHEMA,
    )
