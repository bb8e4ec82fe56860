# SPDX-License-Identifier: GPL-2.0-only
"""The line of rows: which decoded batches are kept."""

from tests.tui.conftest import Make
from tests.tui.small_recordings import row
from tui.playback import timeline
from tui.playback.timeline import Timeline


def read(recording, monkeypatch):
    """Count the batches that are decoded."""
    decoded = []
    inner = recording.read
    monkeypatch.setattr(recording, "read", lambda i, names: decoded.append(i) or inner(i, names))
    return decoded


def test_decoded_batches_are_bounded_in_bytes(make: Make, monkeypatch):
    parts = [[row(n * 10 + i, "free", "point", comm="x" * 50_000) for i in range(10)]
             for n in range(4)]  # fmt: skip
    line = Timeline(recording := make(*parts))
    decoded = read(recording, monkeypatch)
    batch = next(iter(line.slices(0, 10))).events.nbytes
    monkeypatch.setattr(timeline, "CACHED_BYTES", 2 * batch + 1000)
    for position in (1, 15, 5, 15, 25, 15, 5):  # the third pushes the oldest out
        list(line.slices(position, position + 1))
    assert decoded == [0, 1, 2, 0]


def test_a_batch_beyond_the_budget_is_played_all_the_same(make: Make, monkeypatch):
    line = Timeline(recording := make([row(0, "free", "point")], [row(1, "free", "point")]))
    decoded = read(recording, monkeypatch)
    monkeypatch.setattr(timeline, "CACHED_BYTES", 1)
    for position in (0, 1, 1, 0):
        (batch,) = line.slices(position, position + 1)
        assert batch.events.num_rows == 1
    assert decoded == [0, 1, 0]
