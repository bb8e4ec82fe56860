# SPDX-License-Identifier: GPL-2.0-only
"""Builds core files as fs/proc/kcore.c lays them out, intact or damaged."""

import struct
from collections.abc import Iterable, Sequence
from pathlib import Path

EM_AARCH64, EM_X86_64, ET_CORE = 183, 62, 4
PT_LOAD, PT_NOTE = 1, 4
# what precedes VMCOREINFO in the lab's 6.1 /proc/kcore: prstatus, prpsinfo, taskstruct
BEFORE = ((b"CORE", b"\0" * 392), (b"CORE", b"\0" * 136), (b"CORE", b"\0" * 3200))


def note(name: bytes, content: bytes, kind: int = 0) -> bytes:
    padded = [part + b"\0" * (-len(part) % 4) for part in (name + b"\0", content)]
    return struct.pack("<III", len(name) + 1, len(content), kind) + b"".join(padded)


def header(
    *,
    machine: int = EM_AARCH64,
    kind: int = ET_CORE,
    count: int = 1,
    entry: int = 56,
    table: int = 64,
    ident: bytes = b"\x7fELF\2\1\1",
) -> bytes:
    return struct.pack(
        "<16sHHIQQQIHHHHHH", ident, kind, machine, 1, 0, table, 0, 0, 64, entry, count, 0, 0, 0
    )


def core(
    notes: bytes, memory: Sequence[tuple[int, bytes]] = (), *, machine: int = EM_AARCH64
) -> bytes:
    """A whole core file: one note segment, then ``memory`` as (address, bytes)."""
    at = 64 + 56 * (1 + len(memory))
    rows = [struct.pack("<IIQQQQQQ", PT_NOTE, 0, at, 0, 0, len(notes), 0, 0)]
    at += len(notes)
    for va, data in memory:
        rows.append(struct.pack("<IIQQQQQQ", PT_LOAD, 7, at, va, 0, len(data), len(data), 4096))
        at += len(data)
    parts = [header(machine=machine, count=len(rows)), *rows, notes, *(d for _, d in memory)]
    return b"".join(parts)


def kcore(vmcoreinfo: str, memory: Sequence[tuple[int, bytes]] = ()) -> bytes:
    """What /proc/kcore begins with, around the text of a note."""
    notes = [note(name, content) for name, content in BEFORE]
    return core(b"".join([*notes, note(b"VMCOREINFO", vmcoreinfo.encode())]), memory)


def write(folder: Path, files: Iterable[tuple[str, bytes]]) -> Path:
    for name, data in files:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder
