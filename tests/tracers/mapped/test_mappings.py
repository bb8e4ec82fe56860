# SPDX-License-Identifier: GPL-2.0-only
"""Ranges of mapped addresses against sets of single pages, also around 2^64."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tracers.families import MASK
from tracers.mapped.mappings import DEVICE, NORMAL, Mappings

TOP = 1 << 64
#: Ranges near both ends of the address space, in units of a page.
PAGES = st.tuples(st.integers(-24, 24), st.integers(1, 8)).map(
    lambda each: (each[0] * 4096 % TOP, each[1])
)
RANGES = st.lists(PAGES, max_size=10)


def pages(start: int, number: int) -> set[int]:
    return {(start + 4096 * at) % TOP for at in range(number)}


def whole(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Without those that go past 2^64: no page table has them."""
    return [(start, number) for start, number in ranges if start + 4096 * number <= TOP]


def mappings(ranges: list[tuple[int, int]], kind: int = NORMAL) -> Mappings:
    return Mappings.of(
        np.array([start for start, _ in ranges], np.uint64),
        np.array([start + 4096 * number - 1 for start, number in ranges], np.uint64),
        np.full(len(ranges), kind, np.uint8),
    )


def pages_of(found: Mappings) -> set[int]:
    out: set[int] = set()
    for each in found.stretches():
        more = pages(each.start, each.size // 4096)
        assert not out & more
        out |= more
    return out


@given(RANGES.map(whole), PAGES, RANGES)
def test_as_sets_of_pages(
    ranges: list[tuple[int, int]], asked: tuple[int, int], left_out: list[tuple[int, int]]
) -> None:
    found = mappings(ranges)
    expected = set().union(*(pages(*each) for each in ranges))
    assert pages_of(found) == expected
    assert found.size == 4096 * len(expected)
    assert pages_of(found.within(asked[0], 4096 * asked[1])) == expected & pages(*asked)
    without = found.without([(start, 4096 * number) for start, number in left_out])
    assert pages_of(without) == expected - set().union(*(pages(*each) for each in left_out))
    firsts = found.first.tolist()
    assert firsts == sorted(firsts)


@given(RANGES.map(whole), RANGES.map(whole))
def test_kinds_are_kept_apart(ram: list[tuple[int, int]], registers: list[tuple[int, int]]) -> None:
    both = Mappings.of(
        *(
            np.concatenate(
                [getattr(each, name) for each in (mappings(ram), mappings(registers, 1))]
            )
            for name in ("first", "last", "kind")
        )
    )
    expected = set().union(*(pages(*each) for each in ram + registers))
    normal, device = pages_of(both.of_kind(NORMAL)), pages_of(both.of_kind(DEVICE))
    assert normal | device == expected
    assert not normal & device
    if not registers:
        assert not device


def test_what_is_not_seen_is_known() -> None:
    found = Mappings.of(
        np.array([4096], np.uint64),
        np.array([8191], np.uint64),
        np.array([DEVICE], np.uint8),
        [(TOP - 8192, 8192)],
    )
    assert found.seen(0, 4096 * 100)
    assert not found.seen(TOP - 4096, 1)
    assert not found.seen(TOP - 4096 * 100, 4096 * 101)  # goes on at 0
    assert found.within(TOP - 4096, 8192).unseen == ((TOP - 8192, 8192),)
    assert [each.end for each in mappings([(MASK - 4095, 1)]).stretches()] == [0]
