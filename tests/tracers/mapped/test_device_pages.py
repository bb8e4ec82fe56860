# SPDX-License-Identifier: GPL-2.0-only
"""Page maps made word by word: whose memory a struct page is, and pages that are nobody's."""

import pytest

from tests.tracers.mapped.kernel import Types, Words
from tracers.constants.errors import ConstantsError
from tracers.mapped.device_pages import DevicePages, PageMap, module_of

#: Of Linux 6.1's BTF (tests/captures has the kernel's own note of the same build).
OFFSETS = {
    "page.pgmap": 8,
    "dev_pagemap.type": 96,
    "dev_pagemap.ops": 112,
    "dev_pagemap.nr_range": 128,
    "dev_pagemap.range": 136,
}
ENUMS = {"MEMORY_DEVICE_PRIVATE": 1, "MEMORY_DEVICE_PCI_P2PDMA": 5}
PAGE, MAP, OPS, CODE = (
    0xFFFFFFFF3F000000,
    0xFFFFFFC000801000,
    0xFFFFFFC000802000,
    0xFFFFFFC000800040,
)
START, END = 0x5000000000, 0x5040000000


def memory(*, kind: int = 1, ranges: tuple[tuple[int, int], ...] = ((START, END),)) -> Words:
    made = Words()
    made.put(PAGE, 0, MAP, 0)
    made.put(MAP, *[0] * 40)
    made.put(MAP + 96, kind)
    made.put(MAP + 112, OPS)
    made.put(MAP + 128, len(ranges))
    for at, (first, end) in enumerate(ranges):
        made.put(MAP + 136 + 16 * at, first, end - 1)
    made.put(OPS, 0, CODE, 0, 0)
    return made


def pages(made: Words, offsets: dict[str, int] = OFFSETS) -> DevicePages:
    return DevicePages(made.read, Types(offsets, ENUMS))  # type: ignore[arg-type]


def test_a_device_private_page() -> None:
    assert pages(memory()).page_map(PAGE, START + 4096) == PageMap(
        ((START, END),), "device-private", CODE
    )


def test_newest_first_the_folio_has_it() -> None:
    made = memory()
    made.put(PAGE, 0, 0, MAP)
    found = pages(made, OFFSETS | {"folio.pgmap": 16}).page_map(PAGE, START)
    assert found is not None


def test_several_ranges() -> None:
    made = memory(ranges=((0x1000000, 0x2000000), (START, END)))
    assert pages(made).page_map(PAGE, START) is not None
    assert pages(made).page_map(PAGE, 0x3000000) is None


@pytest.mark.parametrize(
    "made",
    [
        memory(kind=0),  # no such type
        memory(ranges=((0x1000, 0x2000),)),  # another memory's
        memory(ranges=()),
        memory(ranges=((END, START),)),
        memory(ranges=((START, END),) * 100),
    ],
)
def test_what_does_not_hold_the_page_is_not_believed(made: Words) -> None:
    assert pages(made).page_map(PAGE, START) is None


def test_a_page_that_is_no_devices() -> None:
    """The list of free pages, or nothing yet, is where the pointer is."""
    made = memory()
    for word in (0, 0xFFFFFFFFFFFFFFFF, 0xDEAD000000000100, 0x1000, PAGE + 8):
        made.put(PAGE, 0, word)
        assert pages(made).page_map(PAGE, START) is None
    assert pages(Words()).page_map(PAGE, START) is None


def test_a_kernel_without_device_memory() -> None:
    with pytest.raises(ConstantsError, match="no dev_pagemap"):
        pages(memory(), {"page.flags": 0})


def test_the_module_that_has_the_code() -> None:
    listed = [("ext4", 0xFFFFFFC000700000, 0x1000), ("devpriv", 0xFFFFFFC000800000, 0x4000)]
    assert module_of(CODE, listed) == "devpriv"
    assert module_of(0xFFFFFFC008000000, listed) is None
