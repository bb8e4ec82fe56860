# SPDX-License-Identifier: GPL-2.0-only
"""Addresses of kernels of every page size, by arithmetic and by tables."""

import struct
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracers.constants.dumps import IMAGE_OFFSET, LINEAR, MODULE, RAM, SWAPPER, TEXT
from tracers.constants.memory.address_map import AddressMap
from tracers.machine_files import read_notes

TOP = 1 << 64


def no_memory(_pa: int, _size: int) -> bytes | None:
    return None


def notes_of(captures: Path, kernel: str) -> Mapping[str, str]:
    return read_notes((captures / kernel / "kcore-vmcoreinfo").read_text(), [])


@pytest.mark.parametrize(
    ("kernel", "page_offset"),
    [  # PAGE_OFFSET: "Linear Mapping start" of the same boot's kernel_page_tables
        ("6.1.192-vmemlab-39bit", 0xFFFFFF8000000000),
        ("6.12.117-vmemlab-48bit", 0xFFFF000000000000),
        ("7.3.4-vmemlab-64k-52bit", 0xFFF0000000000000),
        ("7.3.4-vmemlab-64k-52bit-on-48bit", 0xFFF0000000000000),
    ],
)
def test_the_linear_map_and_the_image_of_real_kernels(
    captures: Path, kernel: str, page_offset: int
) -> None:
    notes = notes_of(captures, kernel)
    memstart = int(notes["NUMBER(PHYS_OFFSET)"], 16)
    where = AddressMap(notes, no_memory)
    # RAM begins at 1 GiB; with KASLR, or fewer bits than built for, memstart_addr is below
    va = (page_offset + 0x4000_0000 - memstart) % TOP
    found = where.find(va)
    assert found is not None
    assert found[0] == 0x4000_0000
    stext = int(notes["SYMBOL(_stext)"], 16)
    found = where.find(stext)
    assert found is not None
    assert 0x4000_0000 <= found[0] < 0xC000_0000
    assert (found[0] + int(notes["NUMBER(kimage_voffset)"], 16)) % TOP == stext
    assert where.find(page_offset - 1) is None
    assert where.find(TOP - 1) is None


def test_before_5_4_the_linear_map_is_the_upper_half() -> None:
    notes = read_notes(
        "PAGESIZE=4096\nNUMBER(VA_BITS)=48\nNUMBER(PHYS_OFFSET)=0x80000000\n"
        "NUMBER(kimage_voffset)=0xffff000007e80000\nSYMBOL(_stext)=ffff000008081000\n",
        [],
    )
    where = AddressMap(notes, no_memory)
    assert where.find(0xFFFF800000001234) == (0x80001234, TOP - 0xFFFF800000001234)
    image = where.find(0xFFFF000008081000)
    assert image is not None
    assert image[0] == 0x201000
    assert where.find(0xFFFF7DFFFFFFFFFF) is None  # vmemmap: there is no table


def tables(*entries: tuple[int, int]) -> dict[int, bytes]:
    """Memory by pages, with these words (address, value)."""
    memory: dict[int, bytearray] = {}
    for address, value in entries:
        page = memory.setdefault(address & ~4095, bytearray(4096))
        page[address & 4095 : (address & 4095) + 8] = struct.pack("<Q", value)
    return {page: bytes(data) for page, data in memory.items()}


@pytest.mark.parametrize(
    ("page", "bits", "in_use", "va", "indices"),
    [
        # level by level from the top: the index of va's bits, by hand
        (4096, 39, 39, 0xFFFF_FFC0_0080_3000, (256, 4, 3)),
        (4096, 48, 48, 0xFFFF_8000_0080_3000, (256, 0, 4, 3)),
        (4096, 52, 52, 0xFFFF_8000_0080_3000, (15, 256, 0, 4, 3)),
        (4096, 52, 48, 0xFFFF_8000_0080_3000, (256, 0, 4, 3)),
        (16384, 47, 47, 0xFFFF_C000_0200_C000, (1024, 1, 3)),
        (16384, 48, 48, 0xFFFF_C000_0200_C000, (1, 1024, 1, 3)),
        (65536, 42, 42, 0xFFFF_FE00_2003_0000, (4097, 3)),
        (65536, 52, 48, 0xFFFF_8000_2003_0000, (992, 1, 3)),
        (65536, 52, 52, 0xFFFF_8000_2003_0000, (992, 1, 3)),
    ],
)
def test_walks_of_every_page_size(
    page: int, bits: int, in_use: int, va: int, indices: tuple[int, ...]
) -> None:
    swapper, voffset, target = 0x8000_0000, 0xFFFF_FFFF_0000_0000, 0x1_2345_0000
    tables_at = [swapper, *(0x8010_0000 + 0x2_0000 * at for at in range(1, len(indices)))]
    entries = [
        (table + index * 8, following | 3)
        for table, index, following in zip(
            tables_at, indices, [*tables_at[1:], target], strict=True
        )
    ]
    stext = swapper + voffset - 0x1_0000
    text = (
        f"PAGESIZE={page}\nNUMBER(VA_BITS)={bits}\nNUMBER(PHYS_OFFSET)=0x40000000\n"
        f"NUMBER(TCR_EL1_T1SZ)=0x{64 - in_use:x}\nNUMBER(kimage_voffset)=0x{voffset:x}\n"
        f"SYMBOL(swapper_pg_dir)={swapper + voffset:x}\nSYMBOL(_stext)={stext:x}\n"
    )
    memory = tables(*entries)
    where = AddressMap(read_notes(text, []), lambda pa, _size: memory.get(pa))
    where._walks = True  # the tables above map va alone, not themselves
    where._linear = False
    assert where.find(va + 8) == (target + 8, page - 8)
    assert where.find(va + page) is None
    assert where.find(0x1000) is None


@given(st.binary(min_size=8, max_size=8), st.integers(0, TOP - 1))
def test_tables_of_one_entry_that_repeats_end_the_walk(entry: bytes, va: int) -> None:
    reads: list[int] = []

    def physical(pa: int, size: int) -> bytes | None:
        reads.append(pa)
        return entry * (size // 8)

    where = AddressMap(read_notes(TEXT, []), physical)
    reads.clear()
    found = where.find(va)
    assert len(reads) <= 3
    assert found is None or 0 <= found[0] < TOP


def test_where_the_tables_disagree_with_arithmetic_they_are_right() -> None:
    """As on 5.4 to 5.9 with fewer bits in use than built for, where other arithmetic holds."""
    moved = RAM + 0x4000_0000
    entries = [  # the image's page with the tables is mapped; the linear map is a GiB further on
        (SWAPPER - IMAGE_OFFSET + 256 * 8, 0x4030_0003),
        (0x4030_0000 + 64 * 8, 0x4030_1003),
        (0x4030_1000 + 1 * 8, (SWAPPER - IMAGE_OFFSET) | 3),
        (SWAPPER - IMAGE_OFFSET + 0, moved | 1),
    ]
    memory = tables(*entries)
    where = AddressMap(read_notes(TEXT, []), lambda pa, _size: memory.get(pa))
    found = where.find(LINEAR + 0x1234)
    assert found is not None
    assert found[0] == moved + 0x1234
    assert where.find(MODULE) is None


@pytest.mark.parametrize(
    "line",
    [
        "PAGESIZE=4097",
        "NUMBER(VA_BITS)=40",
        "NUMBER(PHYS_OFFSET)=never",
        "NUMBER(VA_BITS)=99999999999999999999",
    ],
)
def test_a_note_of_no_kernel_maps_nothing(line: str) -> None:
    key = line.partition("=")[0]
    text = "\n".join([line, *(row for row in TEXT.splitlines() if not row.startswith(key))])
    where = AddressMap(read_notes(text, []), no_memory)
    assert where.find(LINEAR) is None
    assert where.linear_range() is None
