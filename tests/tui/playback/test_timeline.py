# SPDX-License-Identifier: GPL-2.0-only
"""The line of rows: which batches are read, and how often."""

from tests.recordings import oops
from tests.tui.conftest import Make
from tests.tui.small_recordings import row
from tui.playback.timeline import CACHED_BATCHES, Timeline


def read(recording, monkeypatch):
    """Count the batches that are decoded."""
    decoded = []
    inner = recording.read
    monkeypatch.setattr(recording, "read", lambda i, names: decoded.append(i) or inner(i, names))
    return decoded


def test_a_batch_is_decoded_once_while_it_is_among_the_newest(make: Make, monkeypatch):
    batches = CACHED_BATCHES + 1
    line = Timeline(recording := make(*([row(n, "free", "point")] for n in range(batches))))
    decoded = read(recording, monkeypatch)
    for position in (1, 2, 1, 2):
        line.time_of(position)
    assert decoded == [0, 1]
    for position in range(3, batches + 1):
        line.time_of(position)
    line.time_of(2)  # the last but one that was used
    assert decoded == list(range(batches))
    line.time_of(1)
    assert decoded == [*range(batches), 0]


def test_counting_reads_no_batch_that_is_not_between(make: Make, monkeypatch):
    line = Timeline(recording := make(*([row(n, "free", "point")] * 3 for n in range(4))))
    decoded = read(recording, monkeypatch)
    assert line.between(4, 4).calls == 0
    assert line.between(4, 8).calls == 4
    assert line.between(6, 7).calls == 1
    assert decoded == [1, 2]


def test_the_next_hit_may_be_an_oops(make: Make):
    """Counted as a hit it is not: stopped at it is, whatever is known of it."""
    inside = {"start": oops.WINDOW.start, "end": oops.WINDOW.start + oops.SECTION}
    rows = [
        oops.rows(1)[1] | inside, oops.rows(1)[1], oops.fault(), oops.rows(1)[1] | inside,
        oops.fault(page=None), oops.fault(phase="entry"),
    ]  # fmt: skip
    line = Timeline(make(rows[:2], rows[2:], header=oops.HEADER))
    stops = [1, 2, 4]
    for position in range(len(rows) + 1):
        assert line.next_hit(position) == next((at for at in stops if at >= position), None)
        before = [at for at in stops if at < position]
        assert line.previous_hit(position) == (before[-1] if before else None)
    passed = line.between(0, len(rows))
    assert (passed.calls, passed.hits, passed.warnings) == (3, 1, 0)
