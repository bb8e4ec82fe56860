# SPDX-License-Identifier: GPL-2.0-only
"""The walk over tables that were made entry by entry, in every geometry there is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracers.mapped.tables import DEVICE_INDEX, NORMAL_INDEX, ROOT, Builder
from tracers.constants.errors import ConstantsError
from tracers.constants.memory.descriptors import Tables
from tracers.mapped import page_walk
from tracers.mapped.mappings import DEVICE, Stretch
from tracers.mapped.page_walk import PageTables, Translation

TOP = 1 << 64
#: (page size, bits, TCR_EL1.DS): all that arch/arm64/Kconfig allows, on CPUs with and without.
GEOMETRIES = [
    (4096, 39, False), (4096, 48, False), (4096, 52, True),
    (16384, 36, False), (16384, 47, False), (16384, 48, False), (16384, 52, True),
    (65536, 42, False), (65536, 48, False), (65536, 52, False),
]  # fmt: skip
HALF = [(1 << 63, 1 << 63)]


def tables(made: Builder) -> PageTables:
    return PageTables(made.memory, ROOT, Tables(made.shift, made.bits, wide=made.wide))


@pytest.mark.parametrize(("page", "bits", "wide"), GEOMETRIES)
@given(data=st.data())
def test_what_was_mapped_is_found_and_nothing_else(
    page: int, bits: int, wide: bool, data: st.DataObject
) -> None:
    made = Builder(page, bits, wide=wide)
    floor = TOP - (1 << bits)
    expected: dict[int, tuple[int, int, int]] = {}
    for _ in range(data.draw(st.integers(1, 12))):
        level = data.draw(st.integers(0, min(2, made.levels - 1)))
        size = made.size(level)
        va = data.draw(
            st.integers(0, (1 << bits) // size - 1).map(lambda n, size=size: floor + n * size)
            | st.sampled_from([floor, TOP - size])
        )
        if any(start < va + size and va < start + old for start, (old, *_) in expected.items()):
            continue
        # tables may be in the way of a block, and a block in the way of tables
        if any(start >> 21 == va >> 21 for start in expected) and level:
            continue
        span = 52 if bits == 52 else 48
        pa = data.draw(st.integers(0, (1 << span) // size - 1)) * size
        index = data.draw(st.sampled_from([NORMAL_INDEX, DEVICE_INDEX]))
        made.map(va, pa, level, index=index)
        expected[va] = (size, pa, index)
    walked = tables(made)
    found = walked.mapped(HALF)
    assert not found.unseen
    assert found.size == sum(size for size, *_ in expected.values())
    for va, (size, pa, index) in expected.items():
        assert found.within(va, size).size == size
        inside = data.draw(st.integers(0, size - 1))
        assert walked.translate(va + inside) == Translation(pa + inside, size - inside, index << 2)


def test_kinds_are_told_by_what_the_kernel_text_has() -> None:
    made = Builder(4096, 39)
    text, registers = 0xFFFFFFC008000000, 0xFFFFFFFDFE800000
    made.map(text, 0x40200000)
    made.map(registers, 0x3EFF0000, index=DEVICE_INDEX)
    notes = {
        "SYMBOL(swapper_pg_dir)": f"{ROOT + 0x1000_0000_0000:x}",
        "NUMBER(kimage_voffset)": "0x0000100000000000",
        "SYMBOL(_stext)": f"{text:x}",
    }
    from tests.recordings.windows import window  # noqa: PLC0415 (one test's)

    lab = window(memstart=0x4000_0000)
    found = PageTables.of(made.memory, notes, lab).mapped(HALF)
    assert list(found.of_kind(DEVICE).stretches()) == [Stretch(registers, 4096, device=True)]
    with pytest.raises(ConstantsError, match="does not say where swapper_pg_dir is"):
        PageTables.of(made.memory, {}, lab)


def test_only_what_is_asked_for_is_walked() -> None:
    made = Builder(4096, 48)
    for at in range(64):
        made.map(0xFFFF000000000000 + at * (1 << 30), 0x80000000)
    made.map(0xFFFFFDFFC0000000, 0x90000000)
    before = made.memory.reads
    found = tables(made).mapped([(0xFFFFFDFFC0000000, 0x200000)])
    assert found.size == 4096
    assert made.memory.reads - before == 4  # a table a level


def test_what_has_wrapped_is_where_its_low_bits_lead() -> None:
    """Of wrap.console.txt: 0x000003fdfe000000 is populated at 0xfffffffdfe000000 in the tables."""
    made = Builder(4096, 39)
    made.map(0xFFFFFFFDFE000000, 0x80000000, level=1)
    assert tables(made).mapped([(0x000003FDFE000000, 0x200000)]).size == 0x200000
    where = tables(made).translate(0x000003FDFE000040)
    assert where is not None
    assert where.physical == 0x80000040


@pytest.mark.parametrize(("page", "bits", "wide"), GEOMETRIES)
def test_tables_that_point_at_themselves_end(page: int, bits: int, wide: bool) -> None:
    made = Builder(page, bits, wide=wide)
    for index in range(page // 8):
        made.memory.put(ROOT + 8 * index, made.encode(ROOT) | 3)
    found = tables(made).mapped([(TOP - (1 << 30), 1 << 30)])
    assert found.size == 1 << 30  # every entry of the last level is a page: what the tables say
    assert made.memory.reads < 40_000


def test_cyclic_tables_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_walk, "TABLES_CAP", 1 << 20)
    made = Builder(4096, 48)
    for index in range(512):
        made.memory.put(ROOT + 8 * index, ROOT | 3)
    found = tables(made).mapped(HALF)
    assert made.memory.reads <= 256
    assert not found.seen(TOP - (1 << 48), 1 << 48)


def test_what_cannot_be_read_or_is_no_descriptor_is_not_known() -> None:
    made = Builder(4096, 39)
    made.map(0xFFFFFFFE00000000, 0x80000000)
    made.memory.put(ROOT + 8 * 511, 0xDEAD0000 | 3)  # a table outside of memory
    made.memory.put(ROOT + 8 * 256, 0x80000001)
    found = tables(made).mapped(HALF)
    assert not found.seen(0xFFFFFFFFC0000000, 4096)
    assert found.seen(0xFFFFFFFE00000000, 4096)
    # at the last level only 0b11 is a page
    torn = Builder(4096, 39)
    torn.map(0xFFFFFFFE00000000, 0x80000000)
    torn.map(0xFFFFFFFE00001000, 0x80000000)
    last = max(torn.memory.pages)
    torn.memory.put(last + 8, 0x80000001)
    found = tables(torn).mapped(HALF)
    assert (found.size, found.unseen) == (4096, ((0xFFFFFFFE00001000, 4096),))


def test_memory_is_read_across_pages() -> None:
    made = Builder(4096, 39)
    for at, pa in enumerate((0x90001000, 0x90000000)):
        made.map(0xFFFFFFC010000000 + 4096 * at, pa)
        made.memory.pages[pa] = bytearray([at + 1]) * 4096
    walked = tables(made)
    assert walked.read(0xFFFFFFC010000FFE, 4) == b"\1\1\2\2"
    assert walked.read(0xFFFFFFC010001FFE, 4) is None  # the next page is not mapped
