# SPDX-License-Identifier: GPL-2.0-only
"""Every cut and every flipped bit: whole batches or nothing, and always reported.

Where the batches end is taken from the file's size after each flush, not from our framing.
"""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.format.header import RecordingError
from recordings.format.reader import Recording, open_recording
from tests.recordings.made import rows, small
from tracers.batch import Batch, Losses

PARTS = 4  # so that the matrix spreads over the machine's cores

WRITTEN = [
    Batch(rows(2)),
    Batch(rows(5, 2), Losses(lost=23, lost_unknown=1)),
    Batch(rows(1, 7)),
]


def read(path: Path, *, verify: bool) -> tuple[Recording, list[Batch]] | None:
    """What is read of a file; None if it is refused. Any other error fails the test."""
    try:
        with open_recording(path, verify=verify) as recording:
            batches = list(recording.batches())
            if verify:
                assert recording.rows == sum(b.events.num_rows for b in batches)
            return recording, batches
    except RecordingError as error:
        assert "\n" not in str(error)  # noqa: PT017 (a refusal is one right answer)
        return None


@pytest.mark.parametrize("part", range(PARTS))
def test_cut_at_every_byte(tmp_path, part):
    sizes = small(tmp_path / "whole")
    data = (tmp_path / "whole").read_bytes()
    path = tmp_path / "cut"
    for size in range(part, len(data), PARTS):
        path.write_bytes(data[:size])
        found = read(path, verify=bool(size & 8))
        if size < sizes[0]:
            assert found is None, size
            continue
        assert found is not None, size
        recording, batches = found
        # sizes: after the opening, after each batch, after the end.
        assert batches == WRITTEN[: sum(size >= end for end in sizes[1:4])], size
        assert recording.losses.torn >= 1, size
        assert recording.problems, size


def check_flip(path: Path, data: bytes, at: int, bit: int, opening: int, *, verify: bool) -> None:
    path.write_bytes(data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :])
    found = read(path, verify=verify)
    if at < opening:
        assert found is None, (at, bit)
        return
    assert found is not None, (at, bit)
    recording, batches = found
    assert recording.losses.torn >= 1, (at, bit)
    assert recording.problems, (at, bit)
    # Only batches that were written, in order, none twice.
    numbers = [WRITTEN.index(batch) for batch in batches]
    assert numbers == sorted(set(numbers)), (at, bit)


@pytest.mark.parametrize("part", range(PARTS))
def test_one_bit_flipped_in_every_byte(tmp_path, part):
    opening = small(tmp_path / "whole")[0]
    data = (tmp_path / "whole").read_bytes()
    for at in range(part, len(data), PARTS):
        check_flip(tmp_path / "flipped", data, at, (at * 5 + 3) % 8, opening, verify=bool(at & 8))


@given(st.data())
def test_any_bit_flipped(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("flip")
    opening = small(folder / "whole")[0]
    whole = (folder / "whole").read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    check_flip(
        folder / "flipped",
        whole,
        at,
        data.draw(st.integers(0, 7)),
        opening,
        verify=data.draw(st.booleans()),
    )


def test_a_damaged_batch_does_not_take_the_others_with_it(tmp_path):
    sizes = small(tmp_path / "a")
    data = bytearray((tmp_path / "a").read_bytes())
    data[sizes[2] - 1] ^= 1
    (tmp_path / "a").write_bytes(data)
    found = read(tmp_path / "a", verify=True)
    assert found is not None
    recording, batches = found
    assert batches == [WRITTEN[0], WRITTEN[2]]
    assert recording.problems == ("batch 1 (5 events) is left out: its checksum differs",)


def test_bytes_after_the_end(tmp_path):
    small(tmp_path / "a")
    with (tmp_path / "a").open("ab") as file:
        file.write(b"more")
    found = read(tmp_path / "a", verify=True)
    assert found is not None
    recording, batches = found
    assert batches == WRITTEN
    assert (recording.losses.torn, recording.problems) == (
        1,
        ("4 bytes after its end are left out",),
    )


def test_cut_exactly_between_batches_is_not_clean(tmp_path):
    sizes = small(tmp_path / "a")
    data = (tmp_path / "a").read_bytes()
    for count, size in enumerate(sizes[:4]):
        (tmp_path / "a").write_bytes(data[:size])
        found = read(tmp_path / "a", verify=True)
        assert found is not None
        assert found[1] == WRITTEN[:count]
        assert found[0].problems == (
            "ends without its closing record (the writer was killed, or is still writing)",
        )
