# SPDX-License-Identifier: GPL-2.0-only
"""Final numbers in a closing record: packed, bounded, and of the file that they are in."""

import base64
import json
import zlib
from dataclasses import replace

import pyarrow as pa
import pytest

from recordings.format import final_numbers, framing
from recordings.format.final_numbers import MAX_TEXT, Contents, Numbers, packed, unpacked
from recordings.format.header import BatchMeta, Header
from recordings.format.output_files import File
from recordings.format.reader import open_recording
from recordings.format.writer import Writer
from tests.recordings.made import rows
from tests.recordings.numbered import with_numbers
from tracers.batch import Batch, Losses

VALUES = {"calls": 7, "names": ["a", "\udc80"], "beyond": 2**90}


def contents(*batches: tuple[int, int, int]) -> Contents:
    """That of one file of batches of (rows, first, last)."""
    made = Contents.opened(b"00000001")
    for seq, (count, first, last) in enumerate(batches):
        meta = BatchMeta(seq=seq, rows=count, first_ts=first, last_ts=last, losses=Losses(lost=1))
        made = made.with_batch(meta, b"%08x" % count)
    return made


FILE = Contents().followed_by(contents((3, 10, 20), (0, 0, 0), (2, 5, 9)))
GIVEN = Numbers(1, VALUES, Contents(rows=5, first_ts=5, last_ts=20, losses=Losses(lost=3)))


def enveloped(values: object) -> bytes:
    """A JSON value as a closing record has it."""
    return base64.b64encode(zlib.compress(json.dumps(values).encode()))


def test_contents_are_the_sum_of_the_batches() -> None:
    assert (FILE.files, FILE.batches, FILE.rows) == (1, 3, 5)
    assert (FILE.first_ts, FILE.last_ts) == (5, 20)
    assert FILE.losses == Losses(lost=3)


def test_contents_know_the_order_of_files_and_every_checksum() -> None:
    first, second = contents((1, 1, 1)), contents((2, 2, 2))
    one, other = (
        Contents().followed_by(a).followed_by(b) for a, b in ((first, second), (second, first))
    )
    assert (one.files, one.rows) == (other.files, other.rows) == (2, 3)
    assert one.checksum != other.checksum
    assert contents((1, 1, 1)).checksum != Contents.opened(b"00000002").checksum


def test_what_is_packed_comes_back_with_what_it_is_of() -> None:
    data = packed(GIVEN, FILE)
    assert data is not None
    assert data.isascii()
    assert unpacked(data, FILE) == Numbers(1, VALUES, FILE)


@pytest.mark.parametrize(
    "other",
    [
        replace(FILE, rows=6),
        replace(FILE, first_ts=6),
        replace(FILE, last_ts=21),
        replace(FILE, losses=Losses(lost=2)),
        replace(FILE, losses=Losses(lost=3, rejected=1)),
    ],
)
def test_numbers_of_other_events_are_neither_kept_nor_believed(other: Contents) -> None:
    assert packed(GIVEN, other) is None
    data = packed(GIVEN, FILE)
    assert data is not None
    assert unpacked(data, other) is None


@pytest.mark.parametrize("name", ["files", "batches", "checksum"])
def test_numbers_are_not_believed_in_another_file(name: str) -> None:
    data = packed(GIVEN, FILE)
    assert data is not None
    assert unpacked(data, replace(FILE, **{name: getattr(FILE, name) + 1})) is None


_ENVELOPE = {"version": 1, **FILE.to_dict(), "numbers": {}}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"AAAA",
        b"not base64!",
        enveloped(_ENVELOPE)[:-8],
        enveloped([]),
        enveloped(7),
        enveloped({**_ENVELOPE, "version": "1"}),
        enveloped({**_ENVELOPE, "version": True}),
        enveloped({**_ENVELOPE, "numbers": []}),
        enveloped({**_ENVELOPE, "more": 1}),
        enveloped({name: value for name, value in _ENVELOPE.items() if name != "rows"}),
        enveloped({**_ENVELOPE, "numbers": {"a": -1}}),
        enveloped({**_ENVELOPE, "numbers": {"a": 0.5}}),
        enveloped({**_ENVELOPE, "numbers": {"a": float("nan")}}),
        enveloped({**_ENVELOPE, "numbers": {"a": 10**400}}),
        base64.b64encode(zlib.compress(b'{"a":' * 100_000)),
        base64.b64encode(zlib.compress(b"\xff\xfe")),
    ],
)
def test_what_are_no_numbers_are_none(data: bytes) -> None:
    assert unpacked(enveloped(_ENVELOPE), FILE) == Numbers(1, {}, FILE)
    assert unpacked(data, FILE) is None


def test_a_bomb_is_not_unpacked() -> None:
    many = {**_ENVELOPE, "numbers": {"a": [0] * final_numbers.MAX_PARTS}}
    assert unpacked(enveloped(many), FILE) is None
    long = {**_ENVELOPE, "numbers": {"a": "x" * MAX_TEXT}}
    data = enveloped(long)
    assert len(data) < MAX_TEXT // 100
    assert unpacked(data, FILE) is None


def test_more_than_the_budget_is_left_out() -> None:
    for values in ({"a": "x" * MAX_TEXT}, {"a": [0] * final_numbers.MAX_PARTS}):
        assert packed(replace(GIVEN, values=values), FILE) is None


# -- in files ---------------------------------------------------------------------------------


def of_file(count: int) -> Numbers:
    return Numbers(1, VALUES, Contents(rows=count, first_ts=1000, last_ts=999 + count))


def written(path, numbers, reason="closed", count=5):
    writer = Writer(path, Header())
    writer.write(Batch(rows(count)))
    writer.close(reason, numbers=numbers)


def test_the_reader_gives_what_the_writer_was_given(tmp_path) -> None:
    written(tmp_path / "a", of_file(5))
    with open_recording(tmp_path / "a", verify=False) as recording:
        numbers = recording.numbers()
        assert numbers is not None
        assert (numbers.version, numbers.values) == (1, VALUES)
        assert (numbers.contents.rows, numbers.contents.batches) == (5, 1)


@pytest.mark.parametrize("reason", ["kernel gone", "ended by OSError"])
def test_a_recording_that_ended_early_has_none(tmp_path, reason) -> None:
    written(tmp_path / "a", of_file(5), reason)
    with open_recording(tmp_path / "a") as recording:
        assert recording.packed_numbers is None


def test_numbers_of_fewer_events_than_were_written_are_left_out(tmp_path) -> None:
    written(tmp_path / "a", of_file(4))
    with open_recording(tmp_path / "a") as recording:
        assert recording.packed_numbers is None


def test_every_byte_is_read_before_numbers_are_given_out(tmp_path) -> None:
    path = tmp_path / "a"
    written(path, of_file(500), count=500)
    with open_recording(path) as recording:
        info = recording.index[0]
    data = bytearray(path.read_bytes())
    data[info.offset + info.size - 9] ^= 1
    path.write_bytes(data)
    with open_recording(path, verify=False) as recording:
        assert recording.numbers() is None
        assert recording.losses == Losses(torn=1)


def test_any_arrow_program_passes_over_them(tmp_path) -> None:
    path = tmp_path / "a"
    written(path, of_file(5))
    with pa.ipc.open_stream(path) as stream:
        metadata = [dict(each[1] or {}) for each in stream.iter_batches_with_custom_metadata()]
    assert list(metadata[-1]) == [framing.META_KEY, framing.CRC_KEY, framing.NUMBERS_KEY]
    assert framing.NUMBERS_KEY not in metadata[0]
    assert json.loads(metadata[-1][framing.META_KEY])["rows"] == 5


def test_a_disk_without_room_for_them_has_the_closing_record(tmp_path, monkeypatch) -> None:
    path, plain = tmp_path / "a", tmp_path / "b"
    written(plain, None)
    room, put = plain.stat().st_size, File.put

    def limited(self: File, data: bytes) -> None:
        if self.size + len(data) > room:
            raise OSError(28, "No space left on device")
        put(self, data)

    monkeypatch.setattr(File, "put", limited)
    written(path, of_file(5))
    monkeypatch.undo()
    assert path.read_bytes() == plain.read_bytes()
    with open_recording(path) as recording:
        assert (recording.ended, recording.losses) == ("closed", Losses())


def test_a_recording_written_anew_with_its_numbers_is_the_same(tmp_path) -> None:
    written(tmp_path / "a", of_file(5))
    with_numbers(tmp_path / "a", tmp_path / "b", of_file(5))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
