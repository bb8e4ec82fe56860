# SPDX-License-Identifier: GPL-2.0-only
"""The writer: what is in the file and when, and what happens when the disk fails."""

import json
import tracemalloc
from dataclasses import astuple
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest

from recordings.format.header import Header, RecordingError
from recordings.format.reader import open_recording
from recordings.format.writer import Writer
from tests.recordings.made import (
    COMM,
    record,
    rows,
    seen,
    signed,
    small,
)
from tracers.batch import Batch, Losses
from tracers.events import KIND_NAMES, SCHEMA

ROOT = Path(__file__).resolve().parents[3]


def events(path: Path) -> pa.Table:
    """What any Arrow program sees."""
    with pa.OSFile(str(path)) as file:
        return pa.ipc.open_stream(file).read_all()


def test_any_arrow_program_reads_it(tmp_path):
    path = tmp_path / "a.arrows"
    record(path, [Batch(rows(23)), Batch(rows(300, 23)), Batch(rows(1, 323))])
    table = events(path)
    assert table.schema.equals(SCHEMA)
    assert table.num_rows == 324
    assert table.combine_chunks().to_batches()[0].equals(rows(324))
    assert json.loads(table.schema.metadata[b"vmemscope"])["format"] == "1.5"


def test_new_file_is_private_and_nothing_is_overwritten_or_followed(tmp_path):
    path = tmp_path / "a.arrows"
    record(path, [])
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.read_bytes()
    with pytest.raises(RecordingError, match="exists already"):
        Writer(path, Header())
    assert path.read_bytes() == before
    link = tmp_path / "link.arrows"
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(RecordingError, match="exists already"):
        Writer(link, Header())
    assert not (tmp_path / "nowhere").exists()


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    for path in (tmp_path / "no" / "folder.arrows", tmp_path / "nul\0.arrows"):
        with pytest.raises(RecordingError, match="cannot be created") as caught:
            Writer(path, Header())
        assert "\n" not in str(caught.value)


def test_header_is_in_the_file_before_any_event(tmp_path):
    path = tmp_path / "a.arrows"
    with Writer(path, Header(notes=("early",))), seen(path) as recording:
        assert recording.header.notes == ("early",)
        assert (recording.rows, recording.losses.torn) == (0, 1)
        assert "ends without its closing record" in recording.problems[0]


def test_events_are_in_the_file_after_a_flush(tmp_path):
    path = tmp_path / "a.arrows"
    with Writer(path, Header()) as writer:
        for count in (23, 46):
            writer.write(Batch(rows(23, count - 23)))
            assert seen(path).rows == count - 23
            writer.flush()
            assert seen(path).rows == count


def test_a_warm_up_leaves_no_trace(tmp_path):
    for path, warmed_up in ((tmp_path / "a", True), (tmp_path / "b", False)):
        with Writer(path, Header()) as writer:
            if warmed_up:
                writer.warm_up()
            writer.write(Batch(rows(23), Losses(lost=1)))
            writer.flush()
            writer.write(Batch(rows(300, 23)))
            writer.flush()
            with pytest.raises(ValueError, match="too late"):
                writer.warm_up()
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_losses_without_events_reach_the_file_too(tmp_path):
    path = tmp_path / "a.arrows"
    with Writer(path, Header()) as writer:
        writer.write(Batch(rows(0), Losses(lost=12, lost_unknown=1, torn=2, rejected=3)))
        writer.flush()
        info = seen(path).index[0]
        assert (info.rows, *astuple(info.losses)) == (0, 12, 1, 2, 3, 0)


@pytest.mark.parametrize("name", ["lost", "lost_unknown", "torn", "rejected"])
@pytest.mark.parametrize("flush", [True, False])
def test_losses_that_sum_beyond_64_bits_leave_a_whole_file(tmp_path, name, flush):
    path = tmp_path / "a.arrows"
    most = 2**64 - 1
    with Writer(path, Header()) as writer:
        for number in range(3):
            writer.write(Batch(rows(2, 2 * number), Losses(**{name: most})))
            if flush:
                writer.flush()
    recording = seen(path)
    assert (recording.problems, recording.ended, recording.rows) == ((), "closed", 6)
    assert getattr(recording.index[0].losses, name) == most


def test_batches_are_merged_and_split_at_max_rows(tmp_path):
    path = tmp_path / "a.arrows"
    with Writer(path, Header(), max_rows=100) as writer:
        for first in range(0, 230, 23):
            writer.write(Batch(rows(23, first), Losses(lost=1)))
        assert writer.rows == 200
        writer.write(Batch(rows(270, 230)))
        assert writer.rows == 500
    with open_recording(path) as recording:
        assert [info.rows for info in recording.index] == [100] * 5
        assert sum(info.losses.lost for info in recording.index) == 10
        assert [info.first_ts for info in recording.index] == [1000, 1100, 1200, 1300, 1400]
        assert [info.last_ts for info in recording.index] == [1099, 1199, 1299, 1399, 1499]
    assert events(path)["ts_ns"].to_pylist() == list(range(1000, 1500))


def test_dictionaries_of_any_order_and_width_become_ours(tmp_path):
    path = tmp_path / "a.arrows"
    batch = rows(4)
    kinds = pa.array(["free", "a new kind", "warn", "populate"]).dictionary_encode()
    at = SCHEMA.get_field_index("kind")
    batch = batch.set_column(at, pa.field("kind", kinds.type), kinds)
    record(path, [Batch(rows(2)), Batch(batch)])
    table = events(path)
    assert table["kind"].to_pylist()[2:] == ["free", "unknown", "warn", "populate"]
    # One dictionary for the whole stream: nothing that older readers do not know.
    assert all(chunk.dictionary.equals(KIND_NAMES) for chunk in table["kind"].chunks)


def test_what_is_not_ours_is_refused_and_leaves_the_file_whole(tmp_path):
    path = tmp_path / "a.arrows"
    good = rows(3)
    at = SCHEMA.get_field_index("start")
    signed = good.set_column(at, "start", good.column("start").cast(pa.int64(), safe=False))
    bad_text = pa.StringArray.from_buffers(
        3, pa.array([0, 1, 2, 3], pa.int32()).buffers()[1], pa.py_buffer(b"\xff\xfe\xfd")
    )
    comm = SCHEMA.get_field_index("comm")
    nulls = good.set_column(0, "ts_ns", pa.nulls(3, pa.uint64()))
    with Writer(path, Header()) as writer:
        writer.write(Batch(good))
        for wrong in (
            signed,
            good.drop_columns(["pid"]),
            nulls,
            good.set_column(comm, "comm", bad_text),
        ):
            with pytest.raises(ValueError, match=r"start|pid|ts_ns|UTF8"):
                writer.write(Batch(wrong))
    assert seen(path).rows == 3
    assert not seen(path).losses


def test_closing_says_why(tmp_path):
    with Writer(tmp_path / "a.arrows", Header()) as writer:
        writer.write(Batch(rows(2)))
    writer.close()
    assert seen(tmp_path / "a.arrows").ended == "closed"
    with pytest.raises(ValueError, match="closed"):
        writer.write(Batch(rows(1)))
    writer = Writer(tmp_path / "b.arrows", Header())
    writer.write(Batch(rows(2)))
    writer.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    with open_recording(tmp_path / "b.arrows") as recording:
        assert (recording.rows, recording.ended) == (2, "ended by KeyboardInterrupt")
        assert recording.losses == Losses(without_end=1)
        assert recording.problems == ("ended early: ended by KeyboardInterrupt",)


def test_equal_input_gives_equal_bytes(tmp_path):
    for name in ("a", "b"):
        record(tmp_path / name, [Batch(rows(1000)), Batch(rows(3, 1000))])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_to_a_stream(tmp_path):
    path = tmp_path / "a.arrows"
    with path.open("wb", buffering=0) as out, Writer(out, Header()) as writer:
        writer.write(Batch(rows(23)))
    with open_recording(path) as recording:
        assert recording.rows == 23
        assert not recording.losses


def test_hostile_comm_round_trips(tmp_path):
    record(tmp_path / "a.arrows", [Batch(rows(1))])
    assert events(tmp_path / "a.arrows")["comm"].to_pylist() == [COMM]


def test_memory_is_bounded_by_max_rows(tmp_path):
    batch = Batch(rows(1000))
    with Writer(tmp_path / "a.arrows", Header()) as writer:
        before = pa.total_allocated_bytes()
        tracemalloc.start()
        for _ in range(1000):
            writer.write(batch)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert writer.rows >= 1_000_000 - 65_536
        # 65,536 events are 6 MB decoded; a million would be 95.
        assert pa.total_allocated_bytes() - before < 20_000_000
        assert peak < 20_000_000


def test_checksums_are_as_documented(tmp_path):
    """CRC-32 of everything since the batch before, its own digits as zeros; then the marker."""
    path = tmp_path / "a.arrows"
    ends = small(path)
    data = path.read_bytes()
    assert data.endswith(b"\xff\xff\xff\xff\0\0\0\0")
    ends[-1] -= 8
    for start, end in pairwise([0, *ends]):
        assert signed(data, start, end) == data
        other = data[:start] + bytes([data[start] ^ 1]) + data[start + 1 :]
        assert signed(other, start, end) != other


def test_closing_notes_are_in_the_closing_record(tmp_path):
    path = tmp_path / "a.arrows"
    writer = Writer(path, Header())
    writer.write(Batch(rows(2)))
    assert seen(path).closing_notes == ()
    writer.close("SIGTERM", ("lost 3 events of vmemmap_free on cpu 1", COMM))
    writer.close("again", ("never",))
    assert seen(path).closing_notes == ("lost 3 events of vmemmap_free on cpu 1", COMM)
    assert seen(path).ended == "SIGTERM"
    assert not seen(path).losses


def test_size_is_the_files(tmp_path):
    path = tmp_path / "a.arrows"
    with Writer(path, Header()) as writer:
        assert writer.size == path.stat().st_size > 0
        writer.write(Batch(rows(200)))
        writer.flush()
        assert writer.size == path.stat().st_size
    assert writer.size == path.stat().st_size
