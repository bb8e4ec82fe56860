# SPDX-License-Identifier: GPL-2.0-only
"""A reference reader of the kernel's ftrace text, a regex and a loop, and batches made of it.

It shares no code with tracers.logs. Populate calls that a kernel did not show are made from
add_pages by the kernel's own loop (__add_pages, mm/memory_hotplug.c: one call a section, the first
and last cut to what is asked for).
"""

import re
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from tracers.batch import Batch, Losses
from tracers.events import KIND_NAMES, PHASE_NAMES, SCHEMA, SOURCE_NAMES

LINE = re.compile(
    r"^\s*(?P<comm>.+)-(?P<tid>\d+)\s+\[(?P<cpu>\d+)\]\s+\S+\s+(?P<s>\d+)\.(?P<us>\d{6}): "
    r"(?P<event>\w+): \((?P<where>[^)]*)\)(?P<args>.*)$"
)
KINDS = {
    "memremap_pages": "memremap",
    "memunmap_pages": "memunmap",
    "add_pages": "add_pages",
    "remove_pages": "remove_pages",
    "sparse_add_section": "section_add",
    "vmemmap_populate": "populate",
    "vmemmap_free": "free",
    "warn": "warn",
}


@dataclass(frozen=True)
class Machine:
    """What the kernel's own VMCOREINFO says."""

    start: int
    end: int
    memstart: int
    struct_page: int
    section_pages: int


def read_note(path: Path) -> Machine:
    told = dict(re.findall(r"^(\S+)=(\S+)$", path.read_text(), re.MULTILINE))
    number = {key: int(value, 0) for key, value in told.items() if key.startswith("NUMBER")}
    page = int(told["PAGESIZE"])
    return Machine(
        start=number["NUMBER(VMEMMAP_START)"] % 2**64,
        end=number["NUMBER(VMEMMAP_END)"] % 2**64,
        memstart=number["NUMBER(PHYS_OFFSET)"] % 2**64,
        struct_page=int(told["SIZE(page)"]),
        section_pages=2 ** number["NUMBER(SECTION_SIZE_BITS)"] // page,
    )


def read_trace(path: Path) -> list[dict]:
    """Read every probe's line as a row; comm keeps what stands before the last dash."""
    rows = []
    for line in path.read_text().splitlines():
        match = LINE.match(line)
        if not match:
            continue
        event = match["event"]
        args = dict(re.findall(r"(\w+)=(\"[^\"]*\"|\S+)", match["args"]))
        row = {
            "ts_ns": int(match["s"]) * 10**9 + int(match["us"]) * 1000,
            "kind": KINDS[event.removesuffix("_ret")],
            "phase": "exit" if event.endswith("_ret") else "entry",
            "cpu": int(match["cpu"]),
            "tid": int(match["tid"]),
            "comm": match["comm"].strip(),
            "source": "kprobe",
        }
        if "ret" in args:
            row["ret"] = (int(args["ret"], 0) + 2**63) % 2**64 - 2**63
        if row["phase"] == "entry":
            for name, column in (("start", "start"), ("end", "end"), ("line", "line")):
                if name in args:
                    row[column] = int(args[name], 0)
            if "file" in args:
                row["site"] = args["file"].strip('"')
            pfn = args.get("pfn") or args.get("start_pfn")
            if pfn:
                row["pfn"] = int(pfn, 0)
            if "nr_pages" in args:
                row["nr_pages"] = int(args["nr_pages"])
        rows.append(row)
    return rows


def derived(rows: list[dict], machine: Machine) -> list[dict]:
    """Put the populate calls behind each add_pages, for a kernel that shows none."""
    base = machine.start - machine.memstart // 4096 * machine.struct_page
    out = []
    for row in rows:
        out.append(row)
        if row["kind"] == "add_pages" and row["phase"] == "entry":
            pfn, end = row["pfn"], row["pfn"] + row["nr_pages"]
            while pfn < end:
                upto = min(end, (pfn // machine.section_pages + 1) * machine.section_pages)
                out.append(
                    {key: row[key] for key in ("ts_ns", "cpu", "tid", "comm")}
                    | {
                        "kind": "populate",
                        "phase": "point",
                        "source": "derived",
                        "start": (base + pfn * machine.struct_page) % 2**64,
                        "end": (base + upto * machine.struct_page) % 2**64,
                    }
                )
                pfn = upto
    return out


def lasted(trace: Path, kind: str) -> list[int]:
    """Return how long each call of a kind took, in ns, of a trace with one thread at a time."""
    told, began = [], 0
    for row in read_trace(trace):
        if row["kind"] == kind and row["phase"] == "entry":
            began = row["ts_ns"]
        elif row["kind"] == kind:
            told.append(row["ts_ns"] - began)
    return told


def batch(rows: list[dict], **losses: int) -> Batch:
    """Make a batch of rows; what a row does not say is null."""
    names = {"kind": KIND_NAMES, "phase": PHASE_NAMES, "source": SOURCE_NAMES}
    columns = []
    for field in SCHEMA:
        values = [row.get(field.name) for row in rows]
        if field.name in names:
            order = names[field.name].to_pylist()
            indices = pa.array([order.index(value) for value in values], pa.int8())
            columns.append(pa.DictionaryArray.from_arrays(indices, names[field.name]))
        else:
            columns.append(pa.array(values, field.type))
    return Batch(pa.RecordBatch.from_arrays(columns, schema=SCHEMA), Losses(**losses))
