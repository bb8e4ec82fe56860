# SPDX-License-Identifier: GPL-2.0-only
"""What is put into packets is what protobuf's own reader finds in them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as pb

from recordings.export import packets
from recordings.export.packets import Form, Hole, Pieces, Texts

EDGES = sorted({2**n - d for n in range(65) for d in (0, 1)} - {2**64})
U64 = st.one_of(st.integers(0, 2**64 - 1), st.sampled_from(EDGES))
NUMBERS = st.lists(U64, min_size=1, max_size=20)


def notes(data: bytes) -> list[pb.DebugAnnotation]:
    """The packets of a trace whose events have one annotation each."""
    trace = pb.Trace.FromString(data)
    return [packet.track_event.debug_annotations[0] for packet in trace.packet]


def annotated(hole: Hole, *more: bytes) -> tuple[bytes | Hole, ...]:
    """A packet with an annotation whose uint_value is the hole."""
    note = packets.message(4, packets.tag(3, 0), hole, *more)
    return packets.message(1, *packets.message(11, *note))


@given(NUMBERS)
def test_a_number_is_found_whatever_its_width(values: list[int]) -> None:
    column = np.array(values, np.uint64)
    width = packets.width_for(column)
    assert width == packets.width_of(max(values))
    for wide in (1, 2, 4, 8, 10):
        if wide < width:
            continue
        form = Form(annotated(Hole("value", wide), packets.delimited(10, b"name")))
        block = form.block(np.arange(len(values)), {"value": column.copy()})
        assert len(block) == form.size * len(values)
        found = notes(bytes(block))
        assert [note.uint_value for note in found] == values
        assert {note.name for note in found} == {"name"}


@pytest.mark.parametrize("value", [0, 1, 127, 128, 16383, 16384, 2**63, 2**64 - 1])
def test_a_varint_is_as_protobuf_writes_it(value: int) -> None:
    written = pb.DebugAnnotation(uint_value=value).SerializeToString()
    assert packets.tag(3, 0) + packets.varint(value) == written


@given(st.data())
def test_all_comes_in_the_order_of_its_keys(data: st.DataObject) -> None:
    """Blocks and texts, mixed: each key's bytes as often as it was given, the first first."""
    made, expected = Pieces(), []
    for number in range(data.draw(st.integers(0, 4))):
        keys = data.draw(st.lists(st.integers(0, 50), min_size=1, max_size=10))
        if data.draw(st.booleans()):
            values = data.draw(
                st.lists(st.integers(0, 127), min_size=len(keys), max_size=len(keys))
            )
            rows = np.arange(len(keys))[::-1].copy()
            form = Form((b"<", Hole("value", 1), b">"))
            made.block(np.array(keys), form, rows, {"value": np.array(values, np.uint64)})
            said = [b"<%c>" % value for value in reversed(values)]
        else:
            ready = [b"", b"(%d)" % number, b"x" * 300]
            which = data.draw(st.lists(st.integers(0, 2), min_size=len(keys), max_size=len(keys)))
            made.texts(np.array(keys), Texts.of(ready, np.array(which)))
            said = [ready[each] for each in which]
        expected += zip(keys, said, strict=True)
    expected.sort(key=lambda each: each[0])
    assert bytes(made.joined()) == b"".join(text for _, text in expected)


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=50))
def test_grouped_gives_each_value_its_rows(values: list[int]) -> None:
    found = packets.grouped(np.array(values, np.int64))
    assert {value: rows.tolist() for value, rows in found} == {
        value: [row for row, other in enumerate(values) if other == value] for value in values
    }
