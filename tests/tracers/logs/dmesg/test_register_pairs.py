# SPDX-License-Identifier: GPL-2.0-only
"""The proof by arithmetic: what is struck out, what is left, and when there is no result."""

import pytest

from tests.tracers.logs.dmesg.splat_texts import END, SECTION, START, STEP, registers
from tracers.logs.dmesg.register_pairs import RangeRules, RegisterPairs
from tracers.window import Window

SIZES = {"va_bits": 39, "page_size": 4096, "struct_page": 64, "section_size_bits": 27}
WINDOW = Window(START, END, **SIZES)
RULES = RangeRules.of(WINDOW)
HOLE = END + 0x3F000000  # somewhere above
STACK = 0xFFFFFF80057C7980


def ranges(*splats: list[int]) -> list[tuple[int, int] | None]:
    pairs = RegisterPairs(RULES)
    for values in splats:
        pairs.see("a place", values)
    return [pairs.range("a place", values) for values in splats]


def one(start: int, end: int, **more: int) -> list[int]:
    others = [STACK] * 30
    for name, value in more.items():
        others[int(name[1:])] = value
    return registers(start, end, others)


def test_one_pair_is_the_call():
    assert ranges(one(HOLE, HOLE + SECTION)) == [(HOLE, HOLE + SECTION)]


def test_a_part_of_a_section_is_found_as_well():
    call = (HOLE + 3 * STEP, HOLE + 7 * STEP)
    assert ranges(one(*call)) == [call]


def test_the_range_before_in_a_register_is_a_rival_until_another_splat():
    """As in hole.dmesg.txt, whose second vmemmap_free has the first one's start in x11."""
    first = one(HOLE, HOLE + SECTION, x11=0xC0)
    second = one(HOLE + SECTION, HOLE + 2 * SECTION, x11=HOLE)
    assert ranges(second) == [None]
    assert ranges(first, second) == [(HOLE, HOLE + SECTION), (HOLE + SECTION, HOLE + 2 * SECTION)]


def test_a_part_whose_neighbours_look_like_a_whole_section():
    """END in a register, as the comparison has it, and a call that begins a section above it."""
    call = (END + SECTION, END + SECTION + STEP)
    assert ranges(one(*call, x0=END)) == [None]


def test_page_frame_numbers_that_look_like_addresses():
    """As in wrap.console.txt: x4 and x5 are numbers of pages, multiples of a section's."""
    call = (0x3FDFE000000, 0x3FDFE000000 + SECTION)
    assert ranges(one(*call, x4=0xFFFFA8000, x5=0xFFFFE8000)) == [None]


def test_the_other_warn_leaves_a_rival():
    """More than a section inside the window: vmemmap_populate's second WARN fires for that."""
    inside = (START + SECTION, START + 3 * SECTION)
    assert ranges(one(*inside)) == [None]
    assert ranges(one(*inside, x4=HOLE, x5=HOLE + SECTION)) == [None]
    # The window's own bounds are in registers whenever it is compared with them.
    assert ranges(one(HOLE, HOLE + SECTION, x20=START, x0=END)) == [(HOLE, HOLE + SECTION)]


def test_registers_that_fit_nothing_in_common():
    pairs = RegisterPairs(RULES)
    pairs.see("a place", one(HOLE, HOLE + SECTION))
    odd = [STACK] * 30
    pairs.see("a place", odd)
    assert pairs.contradicted == 1
    assert pairs.exhausted("a place")
    assert pairs.range("a place", odd) is None


def test_inside_the_window_no_warn_fires():
    assert ranges(one(START, START + SECTION)) == [None]


@pytest.mark.parametrize("size", [SECTION, STEP])
def test_null(size: int):
    assert ranges(one(0, size)) == [(0, SECTION) if size == SECTION else None]


def test_places_are_bounded():
    pairs = RegisterPairs(RULES)
    for number in range(1500):
        pairs.see(number, one(HOLE, HOLE + SECTION))
    assert sum(not pairs.exhausted(number) for number in range(1500)) == 1024


@pytest.mark.parametrize("missing", ["page_size", "struct_page", "section_size_bits"])
def test_without_sizes_there_is_no_arithmetic(missing: str):
    sizes = {name: value for name, value in SIZES.items() if name != missing}
    assert RangeRules.of(Window(START, END, **sizes)) is None
    assert RangeRules.of(None) is None


def test_a_struct_page_that_is_no_power_of_two():
    """72 bytes: sections do not lie at round addresses, only at whole distances from START."""
    rules = RangeRules.of(Window(START, END, **(SIZES | {"struct_page": 72})))
    assert (rules.section, rules.step) == (0x8000 * 72, 512 * 72)
    below = START - 5 * rules.section
    assert rules.candidate(below, below + rules.section)
    assert not rules.candidate(below + 64, below + 64 + rules.section)
