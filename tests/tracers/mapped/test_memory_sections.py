# SPDX-License-Identifier: GPL-2.0-only
"""mem_section made word by word: flags, subsections, and tables that are torn or hostile."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracers.mapped.kernel import Types, Words
from tracers.constants.errors import ConstantsError
from tracers.mapped import memory_sections
from tracers.mapped.memory_sections import MemorySections, Run, read_sections

TABLE, ROOTS, USAGE = 0xFFFFFF8000000000, 0xFFFFFF8001000000, 0xFFFFFF8002000000
BASE = 0xFFFFFFFDFF000000  # the 39-bit lab kernel's vmemmap
PAGES = 32768  # of a section: 128 MiB of 4 KiB pages
#: Numbers of the lab kernel's note, but for fewer roots.
NOTES = {
    "PAGESIZE": "4096",
    "SYMBOL(mem_section)": f"{TABLE:x}",
    "LENGTH(mem_section)": "8",
    "SIZE(mem_section)": "16",
    "OFFSET(mem_section.section_mem_map)": "0",
    "NUMBER(SECTION_SIZE_BITS)": "27",
    "NUMBER(MAX_PHYSMEM_BITS)": "48",
}
TYPES = Types({"mem_section_usage.subsection_map": 16})
RAM, DEVICE = 0b1111, 0b0011  # early, online, with a map, present; the latter two alone


def kernel(sections: dict[int, tuple[int, int]], *, bits: int = 64) -> Words:
    """Sections by number: flags, and the map of the subsections."""
    memory = Words()
    roots = {number // 256 for number in sections}
    memory.put(TABLE, *(ROOTS + 4096 * root if root in roots else 0 for root in range(8)))
    for root in roots:
        memory.put(ROOTS + 4096 * root, *[0] * 512)
    for at, (number, (flags, subsections)) in enumerate(sections.items()):
        usage = USAGE + 64 * at
        memory.put(ROOTS + 4096 * (number // 256) + 16 * (number % 256), BASE | flags, usage)
        memory.put(
            usage + 16, *(subsections >> shift & (1 << 64) - 1 for shift in range(0, bits, 64))
        )
    return memory


def read(sections: dict[int, tuple[int, int]], types: Types | None = TYPES) -> MemorySections:
    return read_sections(kernel(sections).read, NOTES, types)  # type: ignore[arg-type]


FULL = (1 << 64) - 1


def test_ram_and_a_device() -> None:
    found = read({8: (RAM, FULL), 9: (RAM, FULL), 640: (DEVICE, FULL), 641: (DEVICE, FULL)})
    assert found.runs == (
        Run(8 * PAGES, 2 * PAGES, online=True),
        Run(640 * PAGES, 2 * PAGES, online=False),
    )
    assert (found.present, found.pages, found.bases) == (4, 4 * PAGES, (BASE,))
    assert not found.problems


def test_sections_without_a_map_are_none() -> None:
    found = read({8: (RAM, FULL), 9: (0b0001, FULL), 10: (0b0110, FULL)})
    assert found.runs == (Run(8 * PAGES, PAGES, online=True),)


@given(st.dictionaries(st.integers(0, 2047), st.integers(1, FULL), min_size=1, max_size=6))
def test_subsections_of_2_mib(maps: dict[int, int]) -> None:
    found = read({number: (DEVICE, bits) for number, bits in maps.items()})
    have = {page for run in found.runs for page in range(run.first, run.first + run.pages, 512)}
    assert have == {
        number * PAGES + at * 512
        for number, bits in maps.items()
        for at in range(64)
        if bits >> at & 1
    }
    ends = [run.first + run.pages for run in found.runs]
    assert all(run.first > end for end, run in zip(ends, found.runs[1:], strict=False))


def test_64k_pages_have_256_subsections() -> None:
    """Four words of a map: SECTION_SIZE_BITS 29."""
    notes = NOTES | {"PAGESIZE": "65536", "NUMBER(SECTION_SIZE_BITS)": "29"}
    memory = kernel({8: (DEVICE, 1 << 255 | 1)}, bits=256)
    memory.put(ROOTS, *[0] * 8192)
    memory.put(ROOTS + 16 * 8, BASE | DEVICE, USAGE)
    found = read_sections(memory.read, notes, TYPES)  # type: ignore[arg-type]
    assert found.runs == (
        Run(8 * 8192, 32, online=False),
        Run(8 * 8192 + 255 * 32, 32, online=False),
    )


def test_without_btf_a_section_counts_whole_and_that_is_said() -> None:
    found = read({640: (DEVICE, 1)}, types=None)
    assert found.runs == (Run(640 * PAGES, PAGES, online=False),)
    assert found.problems == (
        "1 memory sections count whole: which subsections they have is not known",
    )


def test_two_bases_are_torn() -> None:
    memory = kernel({8: (RAM, FULL), 9: (RAM, FULL)})
    memory.put(ROOTS + 16 * 9, 0xFFFFFFFE00000000 | RAM)
    found = read_sections(memory.read, NOTES, None)
    assert len(found.bases) == 2
    assert any("torn" in problem for problem in found.problems)


def test_a_page_of_sections_that_cannot_be_read() -> None:
    memory = kernel({8: (RAM, FULL)})
    memory.put(TABLE + 16, 0xFFFFFF80DEAD0000)
    found = read_sections(memory.read, NOTES, None)
    assert found.problems == ("1 pages of memory sections cannot be read",)


@pytest.mark.parametrize(
    "notes",
    [
        {},
        {**NOTES, "LENGTH(mem_section)": "99999999999"},
        {**NOTES, "LENGTH(mem_section)": "0"},
        {**NOTES, "SIZE(mem_section)": "0"},
        {**NOTES, "NUMBER(SECTION_SIZE_BITS)": "64"},
        {**NOTES, "PAGESIZE": "3"},
        {**NOTES, "SYMBOL(mem_section)": "dead000000000000"},
        {key: value for key, value in NOTES.items() if key != "SYMBOL(mem_section)"},
    ],
)
def test_notes_that_lead_nowhere(notes: dict[str, str]) -> None:
    memory = kernel({8: (RAM, FULL)})
    with pytest.raises(ConstantsError):
        read_sections(memory.read, notes, None)
    assert memory.reads < 10


def test_sections_by_the_million_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every root leads to the same page, on which all is present."""
    monkeypatch.setattr(memory_sections, "SECTIONS_CAP", 1000)
    memory = Words()
    memory.put(TABLE, *[ROOTS] * 8192)
    memory.put(ROOTS, *[BASE | RAM, USAGE] * 256)
    notes = NOTES | {"LENGTH(mem_section)": "8192"}
    found = read_sections(memory.read, notes, None)
    assert (found.present, memory.reads) == (768, 1 + 4)
    assert found.problems == ("only the first 768 memory sections are kept",)
