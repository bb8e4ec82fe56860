# SPDX-License-Identifier: GPL-2.0-only
"""The bar's live line: what it shows, and what is left out first where there is little room."""

from dataclasses import replace

import pytest
from rich.cells import cell_len

from tui.playback.view import LiveStatus
from tui.widgets.replay_bar import Facts, live_line

LIVE = LiveStatus("tracefs", 3723, 1234, 0, "storm.arrows", 2 << 20, "")
FACTS = Facts(56_789, 56_789, 0, 0, 1.0, "► LIVE", "", LIVE)


def bar_text(facts: Facts, width: int = 200) -> str:
    return "".join(text for text, _ in live_line(facts, facts.live, width))


def test_everything_is_shown_where_there_is_room():
    assert bar_text(FACTS) == (
        "► LIVE   1:02:03   56,789 events   1,234/s   ● REC storm.arrows 2 MiB   engine tracefs"
    )


def test_paused_says_what_came_since():
    live = replace(LIVE, since=1)
    shown = bar_text(replace(FACTS, state="‖ PAUSED", live=live))
    assert shown.startswith("‖ PAUSED, 1 event since   ")


def test_without_a_file_and_with_a_failure():
    assert "○ not recorded" in bar_text(replace(FACTS, live=replace(LIVE, file="")))
    failed = bar_text(replace(FACTS, live=replace(LIVE, failure="No space left on device")))
    assert "■ REC stopped: storm.arrows" in failed


def test_a_source_that_has_ended_is_recorded_no_more():
    shown = bar_text(replace(FACTS, state="■ ended"))
    assert "REC" not in shown
    assert "recorded storm.arrows 2 MiB" in shown


@pytest.mark.parametrize("width", range(10, 100, 5))
def test_what_matters_least_goes_first(width):
    shown = bar_text(FACTS, width)
    if width >= 40:
        assert cell_len(shown) <= width
        assert "● REC storm.arrows 2 MiB" in shown
    assert shown.startswith("► LIVE")
    places = [shown.find(part) for part in ("1:02:03", "events", "1,234/s")]
    assert [place >= 0 for place in places] == sorted((p >= 0 for p in places), reverse=True)


def test_hostile_names_are_shown_and_not_obeyed():
    live = replace(LIVE, file="\x1b[2J.arrows", engine="\x1b[0m")
    assert r"\x1b[2J.arrows" in bar_text(replace(FACTS, live=live))
    assert "\x1b" not in bar_text(replace(FACTS, live=live))
