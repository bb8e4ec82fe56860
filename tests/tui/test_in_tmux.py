# SPDX-License-Identifier: GPL-2.0-only
"""The installed program in a real terminal, tmux, driven by keys and mouse and read as text.

What must be shown is read from the recording with plain Arrow, or from the kernel's own log.
"""

import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pytest

from tests.tui.processes import command, whole
from tests.tui.terminals import Size
from tests.tui.tmux import MISSING, Tmux

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)

VMEMSCOPE = Path(sys.executable).parent / "vmemscope"
WIDE, LOW = (160, 50), (80, 24)
BOTH = pytest.mark.parametrize("size", [WIDE, LOW], ids=["160x50", "80x24"])
#: What each size alone shows of the verdict.
VERDICTS = {WIDE: "calls outside the window, all above", LOW: "calls outside, all ↑ above"}
PAST = re.compile(r"in the past · \+([\d,]+) events?, ([\d,]+) hits?")
MATCH = re.compile(r"/ (\S+)  ([\d,]+) of ([\d,]+) calls? match")


@dataclass(frozen=True)
class Storm:
    """What plain Arrow reads of the bundled storm."""

    path: Path
    times: list[int]  # of each event, ns since the first
    calls: list[int]  # events that begin a call, which are all hits
    starts: list[int]  # where each of these begins
    comms: list[str]

    def position(self, row: int) -> str:
        """What the bar says right after an event."""
        return f"event {row + 1:>5,} of {len(self.times):,}"


def storm_of(path: Path) -> Storm:
    with pa.ipc.open_stream(path) as stream:
        rows = stream.read_all().to_pylist()
    calls = [
        number
        for number, row in enumerate(rows)
        if row["kind"] in ("populate", "free") and row["phase"] != "exit"
    ]
    return Storm(
        path,
        [row["ts_ns"] - rows[0]["ts_ns"] for row in rows],
        calls,
        [rows[call]["start"] for call in calls],
        [rows[call]["comm"] for call in calls],
    )


@pytest.fixture(scope="module")
def storm(samples: Path) -> Storm:
    return storm_of(samples / "storm.arrows")


@pytest.fixture
def replay(tmp_path: Path) -> Callable[..., Tmux]:
    """Starts a paused replay, by default of the storm by its name, as the README does."""

    def start(size: Size, recording: object = "sample:storm") -> Tmux:
        return Tmux([VMEMSCOPE, "replay", recording, "--paused"], tmp_path, size=size)

    return start


def number(text: str) -> int:
    return int(text.replace(",", ""))


def outline(screen: str) -> list[str]:
    """A screen without its lists: on a low screen another one has the focus, and keeps it."""
    lines = screen.splitlines()
    lists = next((at for at, line in enumerate(lines) if "─ Operations ─" in line), 0)
    return lines[:lists] + lines[-2:]


@BOTH
def test_the_first_screen_says_verdict_cost_and_place_and_q_gives_the_terminal_back(
    replay, storm, comms, size
):
    warns, calls = comms.total(), len(storm.calls)
    with replay(size) as tmux:
        screen = tmux.until(f"{calls} of {calls} {VERDICTS[size]}", "q quit")
        verdict, cost, where = screen.splitlines()[:3]
        assert "OUT OF RANGE" in verdict
        assert all(comm in verdict for comm in comms)
        assert re.search(rf" COST +\S+ ms in {warns} WARNs · \d+ % of __add_pages", cost)
        assert re.search(r" WHERE +1008 MiB .*past VMEMMAP_END · 256 MiB in unused", where)
        assert f"hits   0 of {calls}" in screen
        tmux.keys("q")
        assert tmux.ended() == 0
        assert tmux.as_it_was()


@BOTH
def test_a_filter_is_typed_counted_cleared_and_corrected(replay, comms, size):
    every, some = comms.total(), comms["rmmod"]
    assert 0 < some < every
    with replay(size) as tmux:
        tmux.until("OUT OF RANGE")
        tmux.keys("/")
        tmux.type("comm:rmmod")
        match = f"/ comm:rmmod  {some} of {every} calls match"
        tmux.until(match, f"in {some} WARNs", f"hits   0 of {some}", "OUT OF RANGE")
        tmux.keys("Escape")
        tmux.until(f"in {every} WARNs", gone="/ comm:rmmod")
        tmux.keys("/")
        tmux.type("regime:inside")  # of which there are none: the verdict is that of all
        screen = tmux.until(f"0 of {every} calls match", "no call matches")
        assert screen.lstrip().startswith("OUT OF RANGE")
        tmux.keys("/")
        tmux.type("rmmod")
        tmux.until("/ regime:inside  rmmod: say of what, such as comm:rmmod")
        tmux.keys("/", "Home")  # before what was typed
        tmux.type("comm:")
        tmux.until(match, gone="say of what")


@BOTH
def test_an_operation_opens_down_to_the_warn_and_a_call_is_explained(replay, storm, size):
    first = storm.calls[0]
    with replay(size) as tmux:
        tmux.until("▸ memremap_pages insmod-68")
        tmux.keys("1", "Enter")
        tmux.until("▾ memremap_pages", "▸ __add_pages 0x5000000")
        tmux.keys("Down", "Enter")
        tmux.until("▾ __add_pages", "▸ add_section 0x5000000", "section 0x5008000")
        tmux.keys("Down", "Enter")
        opened = tmux.until("▾ add_section", f"▸ populate {storm.starts[0]:x}")
        tmux.keys("Down", "Enter")
        tmux.until("▾ populate", "WARN mmu.c:1222")
        tmux.keys("Enter")
        screen = tmux.until(f"vmemmap_populate, event #{first}", "esc closes")
        assert f"range  {storm.starts[0]:#x} - " in screen
        assert "end   > VMEMMAP_END by" in screen
        tmux.keys("Escape")
        screen = tmux.until("WARN mmu.c:1222", gone="esc closes")
        assert f"event     0 of {len(storm.times):,}" in screen  # nothing of this moved time
        tmux.keys("Up", "Enter")
        tmux.until("▸ add_section 0x5000000", gone="WARN mmu.c:1222")
        assert opened != screen
        tmux.keys("Up", "Up", "Enter")
        tmux.until("▸ memremap_pages", gone="__add_pages 0x5000000")


@BOTH
def test_it_goes_to_a_time_an_event_an_address_and_from_hit_to_hit(replay, storm, size):
    at = 400_000_000
    row, address = storm.calls[70], storm.starts[70]
    assert storm.starts.index(address) == 70
    with replay(size) as tmux:
        tmux.until("OUT OF RANGE")
        tmux.keys("g")
        tmux.until("go to: 0.5", gone="/ filter")  # nor any other key: what is typed is text
        tmux.type("400ms")
        passed = sum(time <= at for time in storm.times)
        tmux.until(f"0.400 / {storm.times[-1] / 1e9:.3f} s", storm.position(passed - 1))
        tmux.keys("g")
        tmux.type("#500")
        tmux.until(storm.position(500), gone="go to:")
        tmux.keys("g", "Home")
        tmux.type("0")  # the start, so that the first call there is the next
        tmux.until("0.000 / ")
        tmux.keys("g")
        tmux.type(f"{address:#x}")
        tmux.until(storm.position(row))
        tmux.keys("n", "n")
        tmux.until(storm.position(storm.calls[72]))
        tmux.keys("N")
        tmux.until(storm.position(storm.calls[71]))
        tmux.keys("g")
        tmux.type("#99999")
        tmux.until("there is no event #99,999")


@BOTH
def test_a_bookmark_is_there_the_next_time(replay, storm, tmp_path, size):
    path = shutil.copy(storm.path, tmp_path)
    with replay(size, path) as tmux:
        tmux.until("OUT OF RANGE")
        tmux.keys("g")
        tmux.type("#700")
        tmux.until(storm.position(700))
        tmux.keys("b")
        tmux.until("bookmark: a note")
        tmux.type("look [here], q")
        tmux.until(storm.position(700), gone="bookmark:")
        tmux.keys("Home")
        tmux.until("◆")
        tmux.keys("q")
        assert tmux.ended() == 0
    with replay(size, path) as tmux:
        tmux.until("event     0 of", "◆")
        tmux.keys("'")
        tmux.until("Bookmarks:", " 701  look [here], q")
        tmux.keys("Enter")
        tmux.until(storm.position(700), gone="Bookmarks:")


@BOTH
def test_a_click_on_the_timeline_goes_there(replay, storm, size):
    with replay(size) as tmux:
        lines = tmux.until("OUT OF RANGE", "▼").splitlines()
        row = next(at for at, line in enumerate(lines) if "0 s " in line and "▼" in line)
        begin, cells = lines[row].index("▼"), len(re.findall("[▼─]", lines[row]))
        column = begin + 2 * cells // 3
        tmux.click(column, row)
        line = tmux.seen(lambda screen: screen.splitlines()[row].find("▼") == column)
        told = re.search(r"([\d.]+) / ([\d.]+) s +event +([\d,]+) of", line)
        assert told is not None, line
        cell = storm.times[-1] / 1e9 / cells
        assert abs(float(told[1]) - (column - begin) * cell) <= cell
        earliest, latest = (
            sum(time / 1e9 <= float(told[1]) + off for time in storm.times) for off in (-1e-3, 1e-3)
        )
        assert earliest <= number(told[3]) <= latest


def test_another_size_shows_the_same_moment_and_the_old_one_what_it_did(replay, storm):
    with replay(WIDE) as tmux:
        tmux.until("OUT OF RANGE")
        tmux.keys("/")
        tmux.type("kind:free")
        tmux.until("128 of 256 calls match")
        tmux.keys("n", "n", "n")
        at = storm.position(storm.calls[128 + 2])
        before = tmux.until(at, VERDICTS[WIDE])
        tmux.resize(LOW)
        screen = tmux.until(at, "OUT OF RANGE", "128 of 256 calls match", "v view", "q quit")
        assert "WARNs by site" not in screen  # there is no room for it
        tmux.resize(WIDE)
        tmux.seen(lambda screen: outline(screen) == outline(before))
        tmux.keys("q")
        assert tmux.ended() == 0
        assert tmux.as_it_was()


@BOTH
def test_live_is_filtered_in_the_past_while_events_arrive_and_end_is_now(tmp_path, size):
    """A feed without end is in the kernel's place: tests/lab/test_twin.py has a kernel."""
    path = tmp_path / "live.arrows"
    feed = command({"rate": 1500, "rounds": None}, "live", "-o", path)
    counted: list[tuple[int, int]] = []

    def grown(screen: str) -> bool:
        """Whether the screen counts more matches than any before."""
        told = MATCH.search(screen)
        if told is None:
            return False
        assert told[1] == "comm:rmmod"
        counted.append((number(told[2]), number(told[3])))
        return counted[-1][0] > counted[0][0]

    with Tmux(feed, tmp_path, size=size) as tmux:
        tmux.until("OUT OF RANGE", "LIVE")
        tmux.keys("Home")
        tmux.seen(lambda screen: PAST.search(screen) is not None)
        tmux.keys("/")
        tmux.type("comm:rmmod")
        screen = tmux.seen(grown)
        told = PAST.search(screen)
        assert told is not None, screen  # still in the past
        arrived = [number(count) for count in told.groups()]
        later = PAST.search(
            tmux.seen(
                lambda now: (new := PAST.search(now)) is not None and number(new[1]) > arrived[0]
            )
        )
        assert later is not None
        assert number(later[2]) >= arrived[1]
        tmux.keys("End")
        tmux.until("LIVE", "/ comm:rmmod", gone="in the past")
        tmux.keys("q")
        assert tmux.ended() == 1
        assert tmux.as_it_was()
    assert whole(path).ended == "closed"
    comms = storm_of(path).comms
    for matching, calls in counted:
        assert comms[:calls].count("rmmod") == matching
    assert all(one <= other for one, other in pairwise(counted))
