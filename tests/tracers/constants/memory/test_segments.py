# SPDX-License-Identifier: GPL-2.0-only
"""Segments of any kind against a table with one entry for each address."""

from hypothesis import given
from hypothesis import strategies as st

from tracers.constants.memory.segments import Segments

FILE = bytes(range(256))
ROWS = st.lists(st.tuples(*[st.integers(0, 60)] * 3), max_size=6)


def read_at(offset: int, size: int) -> bytes:
    return FILE[offset : offset + size]


@given(ROWS, st.integers(0, 70), st.integers(1, 70))
def test_each_address_is_the_first_segments(
    rows: list[tuple[int, int, int]], address: int, size: int
) -> None:
    table: dict[int, int] = {}
    for start, offset, length in sorted(rows, key=lambda row: row[0]):
        for at in range(length):
            table.setdefault(start + at, offset + at)
    segments = Segments(rows)
    wanted = [table.get(at) for at in range(address, address + size)]
    data = segments.read(read_at, address, size)
    assert data == (None if None in wanted else bytes(FILE[at] for at in wanted if at is not None))
    covered = {at for start, end in segments.ranges() for at in range(start, end)}
    assert covered == set(table)
    edges = [edge for span in segments.ranges() for edge in span]
    assert edges == sorted(set(edges))  # ascending, and none touches the next


def test_a_segment_ends_at_the_top_and_one_without_its_bytes_is_none() -> None:
    top = Segments([((1 << 64) - 4, 0, 1 << 63), (0, 250, 100)])
    assert top.ranges()[-1] == ((1 << 64) - 4, 1 << 64)
    assert top.read(read_at, (1 << 64) - 4, 4) == b"\0\1\2\3"
    assert top.read(read_at, (1 << 64) - 4, 5) is None
    assert top.read(read_at, 0, 6) == FILE[250:]
    assert top.read(read_at, 0, 7) is None  # the file ends
