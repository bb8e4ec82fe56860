# SPDX-License-Identifier: GPL-2.0-only
"""Compressed dumps: pages of every packing, and all that can be wrong with a file."""

import ctypes
import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.tracers.constants.dumps import LINEAR, NAMES, NOTE_AT, RAM, TEXT, Machine
from tests.tracers.constants.kdumps import CODECS, flattened, kdump
from tracers.constants.core_file import Core
from tracers.constants.errors import ConstantsError
from tracers.constants.memory import kdump as module
from tracers.constants.memory.kdump import Kdump

MEMORY = b"".join(bytes([at % 251]) * 1000 + bytes(3096) for at in range(48))


def opened(data: bytes) -> Kdump:
    return Kdump(lambda offset, size: data[offset : offset + size])


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("block", [4096, 16384, 65536])
def test_pages_of_every_packing(codec: str, block: int) -> None:
    dump = opened(kdump(MEMORY, RAM, codec=codec, block=block, text=TEXT))
    assert dump.vmcoreinfo == TEXT
    assert dump.ranges() == ((RAM, RAM + len(MEMORY)),)
    assert dump.read(RAM, len(MEMORY)) == MEMORY
    assert dump.read(RAM + 4000, 200) == MEMORY[4000:4200]
    assert dump.read(RAM + len(MEMORY) - 1, 2) is None
    assert dump.read(RAM - 1, 2) is None
    assert dump.read(1 << 60, 1) is None


@given(st.sets(st.integers(0, 47)), st.integers(0, 47))
def test_pages_that_were_left_out(left_out: set[int], page: int) -> None:
    dump = opened(kdump(MEMORY, RAM, codec="raw", left_out=left_out))
    wanted = None if page in left_out else MEMORY[page * 4096 : (page + 1) * 4096]
    assert dump.read(RAM + page * 4096, 4096) == wanted
    covered = {at // 4096 for start, end in dump.ranges() for at in range(start, end, 4096)}
    assert covered == {RAM // 4096 + at for at in range(48) if at not in left_out}


def test_lzo_by_its_library() -> None:
    library = module._liblzo()
    if library is None:
        pytest.skip("no liblzo2 (Debian: apt install liblzo2-2)")

    def pack(page: bytes) -> bytes:
        packed, work = (
            ctypes.create_string_buffer(2 * len(page)),
            ctypes.create_string_buffer(1 << 17),
        )
        size = ctypes.c_size_t(len(packed))
        length = ctypes.c_size_t(len(page))
        assert library.lzo1x_1_compress(page, length, packed, ctypes.byref(size), work) == 0
        return packed.raw[: size.value]

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CODECS, "lzo", (2, pack))
        data = kdump(MEMORY, RAM, codec="lzo", text=TEXT)
    assert opened(data).read(RAM, len(MEMORY)) == MEMORY
    at = data.index(pack(MEMORY[:4096]))
    damaged = data[:at] + b"\xff" * 8 + data[at + 8 :]
    assert opened(damaged).read(RAM, 4096) is None


def test_lzo_without_its_library_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_liblzo", lambda: None)
    data = bytearray(kdump(MEMORY, RAM, text=TEXT))
    struct.pack_into("<I", data, 424, 2)  # status
    (tmp_path / "vmcore").write_bytes(data)
    with pytest.raises(ConstantsError, match=r"vmcore: .*liblzo2-2.*makedumpfile -E"):
        Core(tmp_path / "vmcore")


@pytest.mark.parametrize("form", ["kdump", "flattened", "flattened, the header last"])
@pytest.mark.parametrize("with_note", [True, False])
def test_a_kernels_memory_in_one(tmp_path: Path, form: str, *, with_note: bool) -> None:
    data = kdump(bytes(Machine().memory), RAM, text=TEXT if with_note else "")
    if form == "flattened":
        data = flattened((at, data[at : at + 5000]) for at in range(0, len(data), 5000))
    elif form != "kdump":
        data = flattened([(0, bytes(10)), (4096, data[4096:]), (0, data[:4096])])
    (tmp_path / "vmcore").write_bytes(data)
    with Core(tmp_path / "vmcore") as core:
        assert core.is_memory
        assert core.vmcoreinfo == TEXT
        assert core.vmcoreinfo_at == (None if with_note else NOTE_AT)
        assert core.physical_ranges == ((RAM, RAM + (4 << 20)),)
        assert core.read(NAMES + 2 * 65, 7) == b"6.1.192"
        assert core.read(LINEAR + (4 << 20) - 8, 8) == bytes(8)
        assert core.read(LINEAR + (4 << 20) - 8, 9) is None


def error_of(folder: Path, data: bytes) -> str:
    (folder / "vmcore").write_bytes(data)
    with pytest.raises(ConstantsError) as caught:
        Core(folder / "vmcore")
    return str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"KDUMP   ", "ends inside its header"),
        (kdump(MEMORY, RAM, machine=b"x86_64"), "is of 'x86_64'"),
        (kdump(MEMORY, RAM)[:9000], "no VMCOREINFO note"),
        (b"DISKDUMP" + bytes(1000), "makedumpfile -E"),
        (flattened([]), "makedumpfile -E"),
        (flattened([(0, b"\x7fELF")]), "ends inside its ELF header"),
    ],
)
def test_what_is_none_is_one_line(tmp_path: Path, data: bytes, message: str) -> None:
    assert message in error_of(tmp_path, data)


@pytest.mark.parametrize(("at", "value"), [(428, 5000), (432, 0), (436, 0), (436, (1 << 32) - 1)])
def test_a_header_that_claims_anything_is_one_line(tmp_path: Path, at: int, value: int) -> None:
    data = bytearray(kdump(MEMORY, RAM, text=TEXT))
    struct.pack_into("<I", data, at, value)
    assert "damaged header" in error_of(tmp_path, bytes(data))


def test_a_page_that_unpacks_to_more_is_none() -> None:
    data = bytearray(kdump(bytes(4096 * 4), RAM, block=4096))
    table = data.index(struct.pack("<IIQ", len(CODECS["zlib"][1](bytes(4096))), 1, 0)) - 8
    bomb = CODECS["zlib"][1](bytes(1 << 22))
    assert len(bomb) < 8192
    struct.pack_into("<QII", data, table, len(data), len(bomb), 1)
    dump = opened(bytes(data) + bomb)
    page = dump.read(RAM, 4096)
    assert page in (None, bytes(4096))  # never more than a page
    struct.pack_into("<QII", data, table, 0, 1 << 31, 1)
    assert opened(bytes(data)).read(RAM, 4096) is None


@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(sorted(CODECS)),
    st.lists(st.tuples(st.integers(0, 30_000), st.binary(min_size=1, max_size=8)), max_size=8),
)
def test_damage_is_an_error_or_missing_pages(codec: str, damage: list[tuple[int, bytes]]) -> None:
    data = bytearray(kdump(MEMORY[: 8 * 4096], 0, codec=codec, text=TEXT))
    for at, value in damage:
        data[at : at + len(value)] = value
    try:
        dump = opened(bytes(data))
    except ConstantsError:
        return
    for start, end in dump.ranges()[:100]:
        page = dump.read(start, min(end - start, 4096))
        assert page is None or len(page) == min(end - start, 4096)
