# SPDX-License-Identifier: GPL-2.0-only
"""The synchronous core: pacing, seeking, hits, what is read; no thread and no clock."""

from dataclasses import replace

import pytest

from recordings.explore import index
from recordings.explore.sums import Passed
from recordings.format.header import Header
from recordings.format.reader import open_recording
from recordings.ledger.ledger import Ledger
from recordings.ledger.snapshot import Verdict
from recordings.ledger.whole import fold
from tests.tui.conftest import Make
from tests.tui.small_recordings import FIRST, MACHINE, MS, WINDOW, batch, row, storm_rows
from tui.playback.replay import MAX_SPEED, SPEEDS, Replay
from tui.playback.timeline import MAX_GAPS

HOLE = 0xFFFF_FFFF_4000_0000  # the unused 4 GiB above the window
ROWS = storm_rows(40, HOLE)
#: Rows of the calls, all out of the window, picked here and not by our code.
HITS = [i for i, event in enumerate(ROWS) if event["kind"] in ("populate", "free") and
        event["phase"] in ("entry", "point")]  # fmt: skip


def happened(rows, ms: float) -> int:
    """How many rows have a time up to ``ms`` after the first."""
    return sum(event["ts_ns"] <= FIRST + round(ms * MS) for event in rows)


def test_starts_before_the_first_event(storm):
    view = Replay(storm).view()
    assert (view.row, view.rows) == (0, len(ROWS))
    assert (view.time_ns, view.first_ns, view.last_ns) == (FIRST, FIRST, ROWS[-1]["ts_ns"])
    assert (view.snapshot.events, view.read, view.final) == (0, 0, False)
    assert not view.at_end


@pytest.mark.parametrize("row", [0, 1, 200, 288])
def test_the_numbers_are_the_report_s_wherever_the_position_is(storm, row):
    replay = Replay(storm)
    replay.seek_row(row)
    replay.read_all()
    view = replay.view()
    assert (view.read, view.final) == (1, True)
    assert view.snapshot == fold(storm)
    replay.seek_row(7)
    assert replay.view().snapshot is view.snapshot


def test_while_it_is_read_the_numbers_are_of_what_was_read(make: Make):
    replay = Replay(make(ROWS[:50], ROWS[50:130], ROWS[130:]), paused=True)
    replay.end()
    for rows in (50, 130, 288):
        assert replay.read_some()
        view = replay.view()
        ledger = Ledger(WINDOW, MACHINE.layout)
        ledger.fold(batch(ROWS[:rows]))
        assert view.snapshot == ledger.snapshot(lists=False)
        assert view.read == pytest.approx(rows / 288, abs=0.002)
        assert not view.final
    assert not replay.read_some()
    assert replay.view().final


def test_a_large_batch_is_read_in_pieces(make: Make, monkeypatch):
    monkeypatch.setattr(index, "PIECE", 100)
    recording = make(ROWS, lost=3)
    replay = Replay(recording)
    lost = []
    while replay.read_some():
        lost.append((replay.index.events, replay.view().snapshot.losses.lost))
    assert lost == [(100, 0), (200, 0), (288, 3)]
    assert replay.view().snapshot == fold(recording)


def test_what_has_passed_is_counted_up_to_the_position(storm, monkeypatch):
    monkeypatch.setattr(index, "PIECE", 20)
    replay = Replay(storm, paused=True)
    replay.seek_row(200)
    assert replay.view().passed is None  # not read so far
    replay.read_all()
    for at in (0, 1, 3, 49, 50, 51, 130, 200, 288, 7):
        replay.seek_row(at)
        warns = sum(e["kind"] == "warn" and e["phase"] == "entry" for e in ROWS[:at])
        hits = sum(hit < at for hit in HITS)
        assert replay.view().passed == Passed(hits, hits, warns), at


def test_operations_are_walked_over(storm):
    replay = Replay(storm)
    replay.read_all()
    begins = [("memremap", "entry"), ("memunmap", "entry")]
    starts = [i for i, event in enumerate(ROWS) if (event["kind"], event["phase"]) in begins]
    found = []
    while True:
        replay.next_operation()
        if replay.view().note:
            break
        found.append(replay.row - 1)
    assert found == starts
    assert (replay.paused, replay.view().note) == (True, "no next operation")
    replay.previous_operation()
    assert replay.row - 1 == starts[0]
    replay.end()
    replay.previous_operation()
    assert replay.row - 1 == starts[1]


def test_where_events_are_missing_is_told(make: Make):
    assert Replay(make(ROWS)).view().gaps == ()
    lossy = make(ROWS[:100], [], ROWS[100:], lost=3)
    assert Replay(lossy).view().gaps == (
        (ROWS[0]["ts_ns"], ROWS[99]["ts_ns"]),
        (ROWS[99]["ts_ns"], ROWS[99]["ts_ns"]),  # of the batch without events
        (ROWS[100]["ts_ns"], ROWS[-1]["ts_ns"]),
    )


def test_a_torn_end_is_a_gap(tmp_path, storm):
    path = tmp_path / "torn.arrows"
    path.write_bytes(storm.path.read_bytes()[:-200])
    with open_recording(path) as recording:
        assert Replay(recording).view().gaps == ((ROWS[-1]["ts_ns"], ROWS[-1]["ts_ns"]),)


def test_gaps_are_bounded_and_none_is_left_out(make: Make):
    rows = [[row(n, "free", "entry")] for n in range(3 * MAX_GAPS)]
    gaps = Replay(make(*rows, lost=1)).view().gaps
    assert len(gaps) == MAX_GAPS
    for n in range(3 * MAX_GAPS):
        assert any(first <= FIRST + n * MS <= last for first, last in gaps)


@pytest.mark.parametrize("speed", [0.25, 1.0, 4.0])
def test_plays_true_time_times_speed_with_the_gaps(storm, speed):
    replay = Replay(storm, speed=speed)
    for _ in range(30):
        replay.advance(MS)  # a millisecond of real time
    view = replay.view()
    assert view.elapsed_ns == 30 * MS * speed
    assert view.row == happened(ROWS, 30 * speed)


def test_odd_ticks_lose_no_time(storm):
    replay = Replay(storm, speed=0.25)
    for _ in range(1001):
        replay.advance(999)
    # 249999.75 ns: the fraction is carried, not dropped a thousand times
    assert replay.view().elapsed_ns == 249_999


def test_paused_nothing_moves_and_the_end_stops_the_clock(storm):
    replay = Replay(storm, paused=True)
    replay.advance(10 * MS)
    assert replay.view().row == 0
    replay.toggle()
    replay.advance(3600 * 1000 * MS)
    view = replay.view()
    assert view.at_end
    assert view.time_ns == view.last_ns
    assert not replay.playing


def test_space_at_the_end_plays_again(storm):
    replay = Replay(storm, paused=True)
    replay.end()
    replay.toggle()
    assert (replay.row, replay.paused) == (0, False)


def test_as_fast_as_possible_goes_in_bursts(storm):
    replay = Replay(storm, speed=MAX_SPEED, burst=100)
    positions = []
    while not replay.at_end:
        replay.advance(1)
        positions.append(replay.row)
    assert positions == [100, 200, len(ROWS)]


def test_seek_by_time_finds_the_row(storm):
    replay = Replay(storm, paused=True)
    for ms in (0.001, 17, 17.1, 17.2, 60, 150.25, 199.2, 500):
        replay.seek_time(FIRST + round(ms * MS))
        assert replay.row == happened(ROWS, ms), ms
    replay.seek_time(0)
    assert (replay.row, replay.view().time_ns) == (0, FIRST)


def test_time_of_a_position_is_that_of_its_last_row(storm):
    replay = Replay(storm, paused=True)
    for position in (1, 50, 51, 130, 288):
        replay.seek_row(position)
        assert replay.view().time_ns == ROWS[position - 1]["ts_ns"]


def test_rows_out_of_order_keep_time_monotonic(make: Make):
    rows = [row(ms, "free", "entry", start=HOLE, end=HOLE + 64) for ms in (0, 5, 3, 9, 8, 12)]
    replay = Replay(make(rows[:3], rows[3:]), paused=True)
    for ms, position in ((0.5, 1), (5, 3), (8, 3), (8.5, 3), (9, 5), (12, 6)):
        replay.seek_time(FIRST + round(ms * MS))
        assert replay.row == position, ms
    replay.seek_row(3)
    assert replay.view().elapsed_ns == 5 * MS


def test_next_and_previous_hit_walk_over_all_hits(storm):
    replay = Replay(storm)
    found = []
    while True:
        replay.next_hit()
        if replay.view().note:
            break
        found.append(replay.row - 1)
    assert found == HITS
    assert replay.paused
    assert replay.view().note == "no next hit"
    back = [found.pop()]
    while True:
        replay.previous_hit()
        if replay.view().note:
            break
        back.append(replay.row - 1)
    assert back[::-1] == HITS


def test_hits_are_only_calls_out_of_the_window(make: Make):
    inside, free = {"start": WINDOW.start, "end": WINDOW.end}, {"start": HOLE, "end": HOLE + 64}
    rows = [
        row(0, "populate", "entry", **inside),
        row(1, "populate", "exit", **free),  # an exit is no call
        row(2, "free", "entry"),  # arguments not known
        row(3, "add_pages", "entry", **free),  # no call of ours
        row(4, "free", "entry", **free),
    ]
    replay = Replay(make(rows), paused=True)
    replay.next_hit()
    assert replay.row == 5
    replay.next_hit()
    assert (replay.row, replay.view().note) == (5, "no next hit")


def test_without_a_window_no_hit_is_looked_for(make: Make):
    recording = make(ROWS, header=Header(machine=replace(MACHINE, window=None, layout=None)))
    replay = Replay(recording)
    replay.read_all()
    replay.next_hit()
    view = replay.view()
    assert view.note == "no window known: no call can be judged"
    assert view.snapshot.verdict is Verdict.INCONCLUSIVE


def test_a_recording_without_events(make: Make):
    replay = Replay(make())
    for command in (Replay.toggle, Replay.end, Replay.home, Replay.next_hit, Replay.previous_hit):
        command(replay)
    replay.seek_by(0.5)
    replay.step(1)
    replay.advance(MS)
    view = replay.view()
    assert (view.row, view.rows, view.time_ns, view.at_end) == (0, 0, None, True)
    assert (view.elapsed_ns, view.length_ns) == (0, 0)


def test_speeds_go_up_to_as_fast_as_possible_and_down_to_a_quarter(storm):
    replay = Replay(storm)
    up = [replay.speed]
    for _ in range(8):
        replay.faster()
        up.append(replay.speed)
    assert up == [1, 2, 4, 8, 16, 32, 64, MAX_SPEED, MAX_SPEED]
    for _ in range(20):
        replay.slower()
    assert replay.speed == SPEEDS[0] == 0.25
    with pytest.raises(ValueError, match="above zero"):
        replay.set_speed(0)


def test_steps_and_relative_seeks(storm):
    replay = Replay(storm)
    replay.step(3)
    assert (replay.row, replay.paused) == (3, True)
    replay.step(-5)
    assert replay.row == 0
    replay.seek_by(0.5)
    assert replay.view().elapsed_ns == round(199.2 * MS / 2)
    replay.seek_by(-1)
    assert replay.row == 0
