# SPDX-License-Identifier: GPL-2.0-only
"""Makes small recordings of the same shape as the kernels' own captures."""

from pathlib import Path

import pyarrow as pa

from recordings.format.header import Header
from recordings.format.reader import Recording, open_recording
from recordings.format.writer import Writer
from tracers.batch import Batch, Losses
from tracers.events import SCHEMA
from tracers.families import Family
from tracers.layout import layout_for
from tracers.machine import Machine
from tracers.window import Window

MS = 1_000_000
FIRST = 4_461_353_000  # ns, as in the 39-bit capture of 6.1
SECTION = 0x20_0000  # struct pages of a 128 MiB section, bytes

#: The 39-bit lab kernel, from its own VMCOREINFO note.
WINDOW = Window(
    start=0xFFFF_FFFE_0000_0000,
    end=0xFFFF_FFFF_0000_0000,
    va_bits=39,
    page_size=4096,
    struct_page=64,
    memstart=0x4000_0000,
    section_size_bits=27,
    vabits_actual=39,
    family=Family.V5_11,
    provenance={"window": "vmcoreinfo"},
)
MACHINE = Machine(
    release="6.1.192-vmemlab",
    arch="aarch64",
    window=WINDOW,
    layout=layout_for(
        WINDOW,
        exact={
            "MODULES_VADDR": 0xFFFF_FFC0_0000_0000,
            "MODULES_END": 0xFFFF_FFC0_0800_0000,
            "VMALLOC_START": 0xFFFF_FFC0_0800_0000,
            "VMALLOC_END": 0xFFFF_FFFD_F000_0000,
        },
    ),
)

Row = dict[str, object]


def row(ms: float, kind: str, phase: str, tid: int = 68, comm: str = "insmod", **more) -> Row:
    return {
        "ts_ns": FIRST + round(ms * MS),
        "kind": kind,
        "phase": phase,
        "cpu": 0,
        "tid": tid,
        "comm": comm,
        "source": "kprobe",
    } | more


def storm_rows(
    sections: int, base: int, *, warn: bool = True, comm: str = "insmod", derived: bool = True
) -> list[Row]:
    """One hot-add and one hot-remove of ``sections`` sections whose struct pages lie at base.

    A section takes 0.45 ms to add (0.4 ms of it in WARN) and 0.6 ms to remove (0.5 ms in WARN).
    """
    pages = {"pfn": 0x500_0000, "nr_pages": sections << 15}
    spans = [(base + i * SECTION, base + (i + 1) * SECTION) for i in range(sections)]
    rows = [
        row(0, "memremap", "entry", comm=comm),
        row(17, "add_pages", "entry", comm=comm, nid=0, **pages),
    ]
    for i, (start, end) in enumerate(spans):
        at = 17.1 + 0.45 * i
        span = {"start": start, "end": end}
        if derived:
            rows.append(row(at, "populate", "point", comm=comm, **span, source="derived"))
        else:
            rows.append(row(at, "section_add", "entry", comm=comm))
            rows.append(row(at + 0.001, "populate", "entry", comm=comm, **span))
        if warn:
            site = {"site": "arch/arm64/mm/mmu.c", "line": 1222}
            rows.append(row(at + 0.002, "warn", "entry", comm=comm, **site))
            rows.append(row(at + 0.402, "warn", "exit", comm=comm))
        if not derived:
            rows.append(row(at + 0.42, "populate", "exit", comm=comm, ret=0))
            rows.append(row(at + 0.43, "section_add", "exit", comm=comm, ret=0))
    done = 17.1 + 0.45 * sections
    rows += [
        row(done, "add_pages", "exit", comm=comm, ret=0),
        row(done + 50, "memremap", "exit", comm=comm, ret=0),
        row(done + 100, "memunmap", "entry", 69, "rmmod"),
        row(done + 120, "remove_pages", "entry", 69, "rmmod", **pages),
    ]
    for i, (start, end) in enumerate(spans):
        at = done + 120.1 + 0.6 * i
        rows.append(row(at, "free", "entry", 69, "rmmod", start=start, end=end))
        if warn:
            site = {"site": "arch/arm64/mm/mmu.c", "line": 1268}
            rows.append(row(at + 0.01, "warn", "entry", 69, "rmmod", **site))
            rows.append(row(at + 0.51, "warn", "exit", 69, "rmmod"))
        rows.append(row(at + 0.55 + i / 1000, "free", "exit", 69, "rmmod"))
    last = done + 120.1 + 0.6 * sections
    rows += [
        row(last, "remove_pages", "exit", 69, "rmmod", ret=0),
        row(last + 20, "memunmap", "exit", 69, "rmmod"),
    ]
    return rows


def write(path: Path, *batches: list[Row], header: Header | None = None, **losses) -> Recording:
    """Write lists of rows as batches of a new recording, and open it."""
    with Writer(path, header or Header(machine=MACHINE)) as writer:
        for rows in batches:
            writer.write(Batch(batch(rows), Losses(**losses)))
            writer.flush()
    return open_recording(path)


def batch(rows: list[Row]) -> pa.RecordBatch:
    columns = [[values.get(field.name) for values in rows] for field in SCHEMA]
    arrays = [
        pa.array(values, pa.utf8()).dictionary_encode().cast(field.type)
        if pa.types.is_dictionary(field.type)
        else pa.array(values, field.type)
        for values, field in zip(columns, SCHEMA, strict=True)
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)
