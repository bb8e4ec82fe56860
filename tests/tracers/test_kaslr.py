# SPDX-License-Identifier: GPL-2.0-only
"""KASLR's spread of memstart_addr: against the kernel's statement run for every seed, and boots."""

import numpy as np
import pytest

from tests.recordings.plain import read_note
from tracers.formulas import WindowError
from tracers.kaslr import PA_RANGES, SEEDS, base_of, boots, possible_ranges, randomizes
from tracers.window import window_from_facts

RAM = (0x4000_0000, 0xC000_0000)
GIB = 1 << 30


def window(release="6.12", **facts):
    sizes = {"va_bits": 48, "page_size": 4096, "struct_page": 64, "memstart": 0x4000_0000}
    return window_from_facts(sizes | {"section_size_bits": 27} | facts, release=release)


def spread(found):
    return dict(zip(found.moves.tolist(), found.seeds.tolist(), strict=True))


def by_seed(room, align):
    """arm64_memblock_init(), seed by seed."""
    counts = {}
    for seed in range(SEEDS):
        moved = 0
        if seed > 0 and room >= align:
            moved = align * (((room // align) * seed) >> 16)
        counts[moved] = counts.get(moved, 0) + 1
    return counts


@pytest.mark.parametrize(
    ("release", "facts", "pa_range", "room"),
    [
        ("6.12", {}, 44, (1 << 47) - (1 << 44)),
        ("6.12", {}, 48, 0),  # less than the CPU's range: nothing moves
        ("6.1", {"va_bits": 39}, 36, (1 << 38) - (1 << 36)),
        ("6.1", {"va_bits": 39}, 40, 0),
        ("5.10", {"section_size_bits": 30}, None, (1 << 47) - 0x8000_0000),
        # 52 bits: PAGE_END is that of 48, so 15/16 of what 52 bits have are linear
        ("6.12", {"va_bits": 52, "vabits_actual": 52}, 48, (1 << 52) - (1 << 47) - (1 << 48)),
        ("6.12", {"va_bits": 52, "vabits_actual": 48}, 44, (1 << 47) - (1 << 44)),
    ],
)
def test_every_seed(release, facts, pa_range, room):
    found = boots(window(release, **facts), RAM, pa_range=pa_range, release=release)
    assert spread(found) == by_seed(room, GIB)
    assert found.seeds.sum() == SEEDS
    assert found.moves_at_all == (room >= GIB)


def test_without_52_bits_in_use_ram_lies_higher_in_the_linear_map():
    found = boots(window(va_bits=52, vabits_actual=48), RAM, pa_range=44, release="6.12.1")
    assert found.base == 0x4000_0000 - ((1 << 52) - (1 << 48))


def test_the_lab_s_boot_is_one_of_them(captures):
    # captured on QEMU's Cortex-A57, whose PARange is 44 bits
    note = read_note(captures / "6.12.117-vmemlab-48bit" / "kcore-vmcoreinfo")
    own = window(memstart=note.memstart % 2**64)
    found = boots(own, RAM, pa_range=44, release="6.12.117")
    moved = found.base - (note.memstart if note.memstart < 1 << 63 else note.memstart - 2**64)
    assert moved in found.moves.tolist()
    assert 44 in possible_ranges(own, RAM, "6.12.117")


def test_a_boot_rules_out_what_it_cannot_be():
    at_rest = window()
    assert possible_ranges(at_rest, RAM, "6.12") == PA_RANGES
    move = ((((1 << 47) - (1 << 44)) // GIB * 40_000) >> 16) * GIB
    far = window(memstart=(0x4000_0000 - move) % 2**64)
    can = tuple(bits for bits in PA_RANGES if move in by_seed((1 << 47) - (1 << bits), GIB))
    assert possible_ranges(far, RAM, "6.12") == can
    assert 44 in can
    assert 48 not in can


def test_who_randomizes():
    base = base_of(window(), RAM[0], "6.12")
    still = {"base": base, "memstart": 0x4000_0000}
    assert randomizes("6.12", seeded=None, **still)
    assert not randomizes("6.16", seeded=None, **still)
    assert not randomizes("6.12", seeded=False, **still)
    assert randomizes("7.0", seeded=True, **still)
    assert randomizes("7.0", seeded=None, base=base, memstart=0)
    with pytest.raises(WindowError, match="no release"):
        randomizes(None, seeded=None, **still)


@pytest.mark.parametrize(
    ("facts", "release", "pa_range", "why"),
    [
        ({}, "6.12", None, "PARange"),
        ({}, "4.14", 40, "before 5.4"),
        ({"va_bits": 52}, "6.12", 44, "in use"),
    ],
)
def test_what_is_not_known_is_said(facts, release, pa_range, why):
    with pytest.raises(WindowError, match=why):
        boots(window(**facts), RAM, pa_range=pa_range, release=release)


def test_numbers_fit():
    found = boots(window(), (0, 1 << 30), pa_range=32, release="6.12")
    assert found.moves.dtype == np.int64
    assert int(found.moves.max()) < 1 << 47
