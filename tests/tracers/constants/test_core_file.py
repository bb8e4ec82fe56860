# SPDX-License-Identifier: GPL-2.0-only
"""Core files: real notes found in them, and everything that can be wrong with one."""

import errno
import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracers.constants import dumps
from tests.tracers.constants.cores import (
    EM_X86_64,
    PT_LOAD,
    PT_NOTE,
    core,
    header,
    kcore,
    note,
)
from tracers.constants import core_file
from tracers.constants.core_file import Core, iter_notes
from tracers.constants.errors import ConstantsError
from tracers.constants.memory import find_note

TEXT = "OSRELEASE=6.1.192\nPAGESIZE=4096\nNUMBER(VA_BITS)=39\n"
HIGH = 0xFFFF_FFC0_0800_0000


def open_core(folder: Path, data: bytes) -> Core:
    path = folder / "core"
    path.write_bytes(data)
    return Core(path)


def error_of(folder: Path, data: bytes) -> str:
    with pytest.raises(ConstantsError) as caught:
        open_core(folder, data)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# -- sound files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("kernel", ["6.1.192-vmemlab-39bit", "6.12.117-vmemlab-48bit"])
def test_the_note_of_a_real_kernel_in_a_core_and_as_text(
    captures: Path, tmp_path: Path, kernel: str
) -> None:
    text = (captures / kernel / "kcore-vmcoreinfo").read_text()
    with open_core(tmp_path, kcore(text)) as reader:
        assert (reader.vmcoreinfo, reader.is_memory) == (text, True)
    with Core(captures / kernel / "kcore-vmcoreinfo") as reader:
        assert (reader.vmcoreinfo, reader.is_memory) == (text, False)


def test_memory_by_address(tmp_path: Path) -> None:
    memory = [(HIGH, b"0123456789abcdef"), (0xFFFF_FFFF_FFFF_FFF8, b"\x01" + b"\0" * 7)]
    with open_core(tmp_path, kcore(TEXT, memory)) as reader:
        assert reader.read(HIGH + 4, 4) == b"4567"
        assert reader.read(HIGH, 16) == b"0123456789abcdef"
        assert reader.read_u64(0xFFFF_FFFF_FFFF_FFF8) == 1  # up to 2^64
        for va, size in ((HIGH, 17), (HIGH - 1, 4), (HIGH + 16, 1), (0, 8), (HIGH, 0), (HIGH, -1)):
            assert reader.read(va, size) is None


def test_memory_that_the_header_promises_and_the_file_lacks(tmp_path: Path) -> None:
    whole = kcore(TEXT, [(HIGH, b"0123456789abcdef")])
    with open_core(tmp_path, whole[:-8]) as reader:
        assert reader.read(HIGH, 8) == b"01234567"
        assert reader.read(HIGH, 16) is None


def test_a_note_in_a_later_segment(tmp_path: Path) -> None:
    first, second = note(b"CORE", b"x" * 5), note(b"VMCOREINFO", TEXT.encode())
    rows = b""
    at = 64 + 2 * 56
    for data in (first, second):
        rows += struct.pack("<IIQQQQQQ", PT_NOTE, 0, at, 0, 0, len(data), 0, 0)
        at += len(data)
    with open_core(tmp_path, header(count=2) + rows + first + second) as reader:
        assert reader.vmcoreinfo == TEXT


# -- what cannot be used --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "neither a core file nor the text"),
        (b"hello\n", "neither a core file nor the text"),
        (b"\x7fELF", "ends inside its ELF header"),
        (header()[:63], "ends inside its ELF header"),
        (core(b"", machine=EM_X86_64), "is of x86-64"),
        (core(b"", machine=40), "is of 32-bit ARM"),
        (core(b"", machine=999), "is of machine 999"),
        (header(ident=b"\x7fELF\2\2\1"), "is of a big-endian machine"),
        (header(ident=b"\x7fELF\1\1\1"), "is of a 32-bit program"),
        (header(kind=2), "no core file: give it as the vmlinux"),
        (header(entry=32), "program headers of 32 bytes"),
        (header(count=0), "no VMCOREINFO note"),
        (header(count=65535), "no VMCOREINFO note"),  # not one of them there
        (header(table=1 << 63), "an impossible offset"),
        (core(note(b"CORE", b"")), "no VMCOREINFO note"),
        (core(note(b"VMCOREINFO_XEN", b"")), "no VMCOREINFO note"),
        (core(b"\xff" * 12), "no VMCOREINFO note"),
        (core(struct.pack("<III", 0xFFFFFFFF, 4, 0) + b"VMCO"), "no VMCOREINFO note"),
        (core(struct.pack("<III", 11, 0xFFFFFFFF, 0) + b"VMCOREINFO\0\0"), "no VMCOREINFO note"),
        (b"KDUMP   \6\0\0\0" + b"\0" * 64, "ends inside its header"),
        (b"DISKDUMP\6\0\0\0" + b"\0" * 64, "makedumpfile -E"),
        (b"makedumpfile\0\0\0\0", "makedumpfile -E"),
    ],
)
def test_not_a_core_is_one_line(tmp_path: Path, data: bytes, message: str) -> None:
    assert message in error_of(tmp_path, data)


def test_note_sizes_beyond_the_file_allocate_nothing(tmp_path: Path) -> None:
    segment = struct.pack("<IIQQQQQQ", PT_NOTE, 0, 0, 0, 0, 1 << 62, 0, 0)
    assert "no VMCOREINFO note" in error_of(tmp_path, header(count=3) + segment * 3)


def test_a_forest_of_note_segments_is_read_only_up_to_the_cap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 65535 segments that all show the same 1 MiB
    monkeypatch.setattr(core_file, "_NOTES_CAP", 4 << 20)
    size = 1 << 20
    data = note(b"CORE", b"\0" * (size - 20))
    at = 64 + 56 * 65535
    segment = struct.pack("<IIQQQQQQ", PT_NOTE, 0, at, 0, 0, len(data), 0, 0)
    read: list[int] = []
    pread = os.pread

    def counted(handle: int, length: int, offset: int) -> bytes:
        read.append(length)
        return pread(handle, length, offset)

    monkeypatch.setattr(os, "pread", counted)
    assert "no VMCOREINFO" in error_of(tmp_path, header(count=65535) + segment * 65535 + data)
    assert sum(read) <= 64 + 56 * 65535 + (4 << 20)


def test_memory_at_an_impossible_offset_is_none(tmp_path: Path) -> None:
    text = note(b"VMCOREINFO", TEXT.encode())
    at = 64 + 2 * 56
    rows = struct.pack("<IIQQQQQQ", PT_NOTE, 0, at, 0, 0, len(text), 0, 0)
    rows += struct.pack("<IIQQQQQQ", PT_LOAD, 7, (1 << 64) - 8, HIGH, 0, 4096, 0, 0)
    with open_core(tmp_path, header(count=2) + rows + text) as reader:
        assert reader.read(HIGH, 8) is None


@pytest.mark.parametrize("broken", ["header", "notes", "memory"])
def test_a_kcore_that_gives_eio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    data = kcore(TEXT, [(HIGH, b"01234567")])
    edge = {"header": 0, "notes": 64 + 2 * 56, "memory": len(data) - 8}[broken]
    pread = os.pread

    def failing(handle: int, length: int, offset: int) -> bytes:
        if offset >= edge:
            raise OSError(errno.EIO, "Input/output error")
        return pread(handle, length, offset)

    monkeypatch.setattr(os, "pread", failing)
    if broken != "memory":
        assert "reading failed: Input/output error" in error_of(tmp_path, data)
        return
    with open_core(tmp_path, data) as reader:
        assert reader.read(HIGH, 8) is None


@pytest.mark.parametrize(
    ("code", "uid", "message"),
    [
        (errno.EACCES, 1000, "Permission denied: run as root, or read its vmlinux or Image"),
        (errno.EPERM, 0, "locked down (/sys/kernel/security/lockdown) or CAP_SYS_RAWIO"),
        (errno.ENOENT, 0, "no CONFIG_PROC_KCORE"),
    ],
)
def test_why_proc_kcore_cannot_be_opened(
    monkeypatch: pytest.MonkeyPatch, code: int, uid: int, message: str
) -> None:
    def fail(*_: object) -> int:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(core_file, "open_regular", fail)
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    with pytest.raises(ConstantsError) as caught:
        Core(core_file.KCORE)
    assert message in str(caught.value)


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, message in (
        (tmp_path / "pipe", "not a regular file"),
        (tmp_path, "not a regular file"),
        (tmp_path / "none", "No such file"),
        (Path("a\0b"), "null byte"),
    ):
        with pytest.raises(ConstantsError, match=message):
            Core(path)


# -- fuzz -------------------------------------------------------------------------------------


@given(st.binary(max_size=300))
def test_walking_any_bytes_ends_and_stays_inside(data: bytes) -> None:
    notes = list(iter_notes(data))
    assert len(notes) <= len(data) // 12
    assert sum(len(name) + len(content) for name, content in notes) <= len(data)


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("notes")


@given(
    st.lists(st.tuples(st.integers(0, 400), st.binary(min_size=1, max_size=8)), max_size=5),
    st.integers(0, 700),
)
def test_damaged_cores_give_a_note_or_one_line(
    scratch: Path, edits: list[tuple[int, bytes]], cut: int
) -> None:
    data = bytearray(core(note(b"VMCOREINFO", TEXT.encode()), [(HIGH, b"m" * 64)]))
    for at, value in edits:
        data[at : at + len(value)] = value
    try:
        reader = open_core(scratch, bytes(data[: len(data) - cut] if cut < 300 else data))
    except ConstantsError:
        return
    with reader:
        assert len(reader.vmcoreinfo) <= 4 * len(data)
        memory = reader.read(HIGH, 8)
    assert memory is None or len(memory) == 8


# -- physical memory ------------------------------------------------------------------------------


def load(va: int, pa: int, offset: int, size: int) -> bytes:
    return struct.pack("<IIQQQQQQ", PT_LOAD, 7, offset, va, pa, size, size, 4096)


def with_loads(text: str, loads: list[tuple[int, int, bytes]]) -> bytes:
    """A core file with segments of (virtual, physical, bytes)."""
    notes = note(b"VMCOREINFO", text.encode())
    at = 64 + 56 * (1 + len(loads))
    rows = struct.pack("<IIQQQQQQ", PT_NOTE, 0, at, 0, 0, len(notes), 0, 0)
    at += len(notes)
    for va, pa, data in loads:
        rows += load(va, pa, at, len(data))
        at += len(data)
    return header(count=1 + len(loads)) + rows + notes + b"".join(data for _, _, data in loads)


def test_a_kcores_memory_by_physical_addresses(tmp_path: Path) -> None:
    """What the headers name, and what lies in none: all ones, as of vmalloc's area."""
    loads = [
        (HIGH, 0x4020_0000, b"text"),
        (HIGH + 0x1000, (1 << 64) - 1, b"vmalloc"),
        (dumps.LINEAR, dumps.RAM, b"first-"),
        (dumps.LINEAR + 6, dumps.RAM + 6, b"second"),
    ]
    with open_core(tmp_path, with_loads(dumps.TEXT, loads)) as reader:
        assert reader.physical_ranges == ((dumps.RAM, dumps.RAM + 12), (0x4020_0000, 0x4020_0004))
        assert reader.read_physical(dumps.RAM + 3, 6) == b"st-sec"
        assert reader.read(dumps.LINEAR + 3, 6) == b"st-sec"
        assert reader.read(HIGH + 0x1000, 7) == b"vmalloc"
        assert reader.read_physical(dumps.RAM + 7, 6) is None
        assert reader.read_physical((1 << 64) - 1, 1) is None
        assert reader.read_physical(dumps.RAM, 2 << 20) is None


def test_a_kcore_before_4_11_names_no_physical_address(tmp_path: Path) -> None:
    loads = [(HIGH, 0, b"text"), (dumps.LINEAR + 0x1000, 0, b"memory")]
    with open_core(tmp_path, with_loads(dumps.TEXT, loads)) as reader:
        assert reader.physical_ranges == ((dumps.RAM + 0x1000, dumps.RAM + 0x1006),)
        assert reader.read_physical(dumps.RAM + 0x1002, 3) == b"mor"


@pytest.mark.parametrize("virtual", [None, 0])
@pytest.mark.parametrize("with_note", [True, False])
def test_a_dump_of_physical_memory_alone(
    tmp_path: Path, virtual: int | None, *, with_note: bool
) -> None:
    machine = dumps.Machine()
    with open_core(tmp_path, machine.dump(with_note=with_note, virtual=virtual)) as reader:
        assert reader.vmcoreinfo == dumps.TEXT
        assert reader.vmcoreinfo_at == (None if with_note else dumps.NOTE_AT)
        assert reader.physical_ranges == ((dumps.RAM, dumps.RAM + (4 << 20)),)
        release = dumps.NAMES + 2 * 65
        assert reader.read(release, 7) == b"6.1.192"
        alias = release - dumps.IMAGE_OFFSET - dumps.RAM + dumps.LINEAR
        assert reader.read(alias, 7) == b"6.1.192"
        assert reader.read(dumps.MODULE, 15) == b"a module's page"
        assert reader.read(dumps.MODULE + 0xFFF, 2) is None
        assert reader.read(dumps.LINEAR + (4 << 20) - 8, 8) == b"\0" * 8
        assert reader.read(dumps.LINEAR + (4 << 20) - 8, 9) is None


def test_without_tables_arithmetic_reaches_the_image_and_the_linear_map(tmp_path: Path) -> None:
    with open_core(tmp_path, dumps.Machine(tables=False).dump()) as reader:
        assert reader.read(dumps.NAMES + 2 * 65, 7) == b"6.1.192"
        assert reader.read(dumps.LINEAR, 8) == b"\0" * 8
        assert reader.read(dumps.MODULE, 15) is None


def test_a_note_of_another_kernel_in_memory_is_passed_over(tmp_path: Path) -> None:
    other = dumps.TEXT.replace(dumps.RELEASE, "5.10.0-other")
    old = struct.pack("<III", 11, len(other), 0) + b"VMCOREINFO\0\0" + other.encode()
    machine = dumps.Machine()
    machine.put(dumps.RAM + 0x1000, old)  # before the true one
    machine.put(dumps.RAM + 0x2010, old.replace(b"5.10.0-other", dumps.RELEASE.encode()))
    with open_core(tmp_path, machine.dump()) as reader:
        assert reader.vmcoreinfo_at == dumps.NOTE_AT
    machine.put(dumps.NOTE_AT, b"\0" * 64)
    assert "no VMCOREINFO note" in error_of(tmp_path, machine.dump())


def test_a_dump_that_claims_petabytes_is_searched_as_far_as_the_cap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(find_note, "SEARCH_CAP", 64 << 20)
    at = 64 + 56 * 100
    rows = b"".join(load(0, number << 40, at, 1 << 40) for number in range(100))
    reads: list[int] = []
    pread = os.pread

    def counted(handle: int, length: int, offset: int) -> bytes:
        reads.append(length)
        return pread(handle, length, offset)

    monkeypatch.setattr(os, "pread", counted)
    assert "no VMCOREINFO" in error_of(tmp_path, header(count=100) + rows + b"\0" * 4096)
    assert sum(reads) <= (64 << 20) + (2 << 20)
