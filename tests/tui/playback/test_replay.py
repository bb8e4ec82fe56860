# SPDX-License-Identifier: GPL-2.0-only
"""The synchronous core: pacing, seeking, hits, checkpoints; no thread and no clock."""

from dataclasses import replace

import pytest

from recordings.format.header import Header
from recordings.ledger.ledger import Ledger, fold
from recordings.ledger.memory import sizes, together
from recordings.ledger.snapshot import Verdict
from tests.tui.conftest import Make
from tests.tui.small_recordings import FIRST, MACHINE, MS, WINDOW, batch, row, storm_rows
from tui.playback.replay import MAX_SPEED, SPEEDS, Replay

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
    assert view.snapshot.events == 0
    assert not view.at_end


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


def test_what_cannot_be_folded_in_time_slows_the_clock(storm):
    replay = Replay(storm, burst=10)
    replay.advance(1000 * MS)
    view = replay.view()
    assert view.row == 10
    assert view.time_ns == ROWS[9]["ts_ns"]


def test_the_end_is_what_report_says(storm):
    replay = Replay(storm)
    replay.end()
    assert replay.view().snapshot == fold(storm)


@pytest.mark.parametrize("stride", [1, 7, 64, 10_000])
def test_a_view_depends_on_the_position_only(storm, stride):
    replay = Replay(storm, paused=True, stride=stride)
    while replay.index_some():
        pass
    for position in (0, 200, 1, 130, 49, 50, 51, 287, 288, 129, 3):
        replay.seek_row(position)
        ledger = Ledger(WINDOW, MACHINE.layout)
        if position:
            ledger.fold(batch(ROWS[:position]))
        expected = ledger.snapshot(final=position == len(ROWS))
        assert replay.view().snapshot == expected, position
        assert replay.row == position


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
        assert replay.view().snapshot.newest[-1].row == found[-1]
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
    replay.next_hit()
    view = replay.view()
    assert view.note == "no window known: no call can be judged"
    assert view.snapshot.verdict is Verdict.INCONCLUSIVE


def test_checkpoints_are_bounded_and_thinned(storm):
    replay = Replay(storm, paused=True, stride=8, max_checkpoints=8)
    while replay.index_some():
        assert len(replay.checkpoints) <= 8
    assert replay.checkpoints == (0, 64, 128, 192, 256)
    replay.seek_row(190)
    ledger = Ledger(WINDOW, MACHINE.layout)
    ledger.fold(batch(ROWS[:190]))
    assert replay.view().snapshot == ledger.snapshot()


def test_losses_come_with_their_batch_and_go_when_seeking_back(make: Make):
    replay = Replay(make(ROWS[:100], ROWS[100:], lost=3), paused=True)
    for position, lost in ((99, 0), (100, 3), (250, 3), (288, 6), (150, 3), (10, 0)):
        replay.seek_row(position)
        assert replay.view().snapshot.losses.lost == lost, position


def test_losses_of_a_batch_without_events(make: Make):
    replay = Replay(make([], ROWS, [], torn=1), paused=True, stride=100)
    while replay.index_some():
        pass
    for position in (288, 0, 150, 0, 288):
        replay.seek_row(position)
        assert replay.view().snapshot.losses.torn == (3 if position == 288 else 1), position


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


@pytest.mark.parametrize("stride", [1, 8])
def test_checkpoints_are_bounded_in_bytes(make: Make, stride):
    """Each event has a range of its own, so ledgers grow; and the view is still the position's."""
    rows = [
        row(n, "free", "point", start=HOLE + n * 128, end=HOLE + n * 128 + 64) for n in range(2000)
    ]
    budget = 2_000_000
    replay = Replay(make(rows), paused=True, stride=stride, max_bytes=budget)
    kept = set()
    while replay.index_some():
        held = together(sizes(ledger) for ledger in replay._checkpoints.values())
        assert held <= budget or replay.checkpoints == (0,)
        kept.add(len(replay.checkpoints))
    assert len(replay.checkpoints) > 2
    assert max(kept) > 2 * len(replay.checkpoints)  # thinned by bytes, not by number
    for position in (1999, 3, 1024, 1025, 700):
        replay.seek_row(position)
        ledger = Ledger(WINDOW, MACHINE.layout)
        ledger.fold(batch(rows[:position]))
        assert replay.view().snapshot == ledger.snapshot(), position


def test_without_room_for_any_checkpoint_a_seek_folds_from_the_start(storm):
    replay = Replay(storm, paused=True, stride=8, max_bytes=1)
    while replay.index_some():
        pass
    assert replay.checkpoints == (0,)
    replay.seek_row(190)
    replay.seek_row(100)
    ledger = Ledger(WINDOW, MACHINE.layout)
    ledger.fold(batch(ROWS[:100]))
    assert replay.view().snapshot == ledger.snapshot()


def test_the_indexer_goes_in_bursts_and_playback_may_overtake_it(storm):
    replay = Replay(storm, paused=True, stride=100, burst=30)
    steps = 0
    while replay.index_some():
        steps += 1
        if steps == 2:
            replay.seek_row(250)  # makes the checkpoints on its way
    assert replay.checkpoints == (0, 100, 200)
    replay = Replay(storm, paused=True, stride=100, burst=30)
    steps = [replay.checkpoints for _ in range(20) if replay.index_some()]
    assert steps == [(0,)] * 3 + [(0, 100)] * 4 + [(0, 100, 200)]
    replay.seek_row(210)
    ledger = Ledger(WINDOW, MACHINE.layout)
    ledger.fold(batch(ROWS[:210]))
    assert replay.view().snapshot == ledger.snapshot()
