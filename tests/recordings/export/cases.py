# SPDX-License-Identifier: GPL-2.0-only
"""Recordings to export, and their events as any Arrow library reads them, to compare with."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa

from recordings.export import Exported, export
from recordings.format.reader import open_recording
from recordings.samples import sample_names, sample_path
from tests.recordings.made import record, rows
from tests.recordings.plain import batch
from tracers.batch import Batch

TOP = 2**64 - 1
#: The columns that exports have beside the recording's own.
JUDGED = ("regime", "silent")
#: What prctl(PR_SET_NAME) takes and a format could trip over; a kernel's site is no better.
HOSTILE = (
    "\x1b]0;x\x07[bold]",
    'a"b',
    "a\nb",
    "a\r\nb",
    "a,b;c\td",
    "=cmd()",
    "=1+1",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=x",
    "\r=x",
    "'=x",
    "''",
    "",
    " ",
    "null",
    "NULL",
    "\\N",
    "\\",
    "\x00",
    "\x7f\x9b31m",
    "\u202egnp",
    "\u2028",
    "käse\U0001f9c0",
    "\ufeff",
    "NaN",
    "0x10",
)


def extreme() -> Iterator[Batch]:
    """Every text above, numbers at both ends of their types, nulls beside them."""
    for number, text in enumerate(HOSTILE):
        yield batch(
            [
                {
                    "ts_ns": TOP - number,
                    "kind": "warn",
                    "phase": "entry",
                    "cpu": 2**16 - 1,
                    "pid": 2**32 - 1,
                    "tid": 2**32 - 1,
                    "comm": text,
                    "start": TOP,
                    "end": 2**63 + number,
                    "pfn": TOP - 1,
                    "nr_pages": 2**53 + 1,
                    "nid": -(2**31),
                    "ret": -(2**63) + number,
                    "site": text[::-1],
                    "line": 2**32 - 1,
                    "source": "dmesg",
                },
                {"ts_ns": 0, "kind": "unknown", "phase": "point", "source": "derived"},
            ],
            lost=number == 7,
        )


CASES: dict[str, Callable[[], Iterator[Batch]]] = {
    "empty": lambda: iter(()),
    "extreme": extreme,
    "nulls": lambda: iter([Batch(rows(1000))]),
    "trickle": lambda: (Batch(rows(i % 3, i * 3)) for i in range(200)),
}


def path_of(name: str, folder: Path) -> Path:
    """A sample, or one of the cases written into the folder."""
    if name in sample_names():
        return sample_path(name)
    path = folder / f"{name}.arrows"
    record(path, CASES[name]())
    return path


NAMES = (*sample_names(), *CASES)


def plain(path: Path) -> pa.Table:
    """The events as pyarrow alone reads them."""
    with pa.ipc.open_stream(path) as stream:
        return stream.read_all()


def exported(path: Path, to: str) -> tuple[bytes, Exported]:
    sink = io.BytesIO()
    with open_recording(path) as recording:
        done = export(recording, to, sink)
    return sink.getvalue(), done


def column(table: pa.Table, name: str) -> list[object]:
    """A column's values, names as text."""
    return table.column(name).to_pylist()
