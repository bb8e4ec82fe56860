# SPDX-License-Identifier: GPL-2.0-only
"""Lists, tree and filter of the dashboard, driven by keys and mouse on the recorded storm.

What must be shown is counted from the kernel's own log of the same run.
"""

from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from recordings.format.reader import open_recording
from tests.recordings import oops
from tests.tui.dashboard.test_app import HOSTILE, press, running, screen_text, settle
from tests.tui.small_recordings import WINDOW, storm_rows
from tui.screens.explain import ExplainScreen
from tui.widgets import words
from tui.widgets.address_map import AddressMap
from tui.widgets.call_detail import CallDetail
from tui.widgets.calls import CallsTable
from tui.widgets.filter_line import LONGEST, FilterLine
from tui.widgets.span_tree import SpanTree


@pytest.fixture
def recorded(samples):
    with open_recording(samples / "storm.arrows") as recording:
        yield recording


def typed(text):
    return ("slash", *("colon" if key == ":" else key for key in text), "enter")


async def test_a_filter_acts_on_every_panel_and_number(recorded, comms):
    assert comms == {"insmod": 128, "rmmod": 128}
    async with running(recorded) as (app, pilot):
        await press(app, pilot, "slash")
        assert app.dashboard.query_one(FilterLine).typing
        await pilot.press(*"comm:rmmod", "enter")
        await settle(app, pilot)
        await settle(app, pilot)
        snapshot, listed = app.view.snapshot, app.view.listed
        assert (listed.matching, listed.total) == (comms["rmmod"], 256)
        assert (snapshot.free, snapshot.populate) == (comms["rmmod"], 0)
        assert snapshot.warnings == comms["rmmod"]
        assert len(listed.calls) == comms["rmmod"]
        assert listed.tree.roots == 1
        shown = screen_text(app)
        assert "/ comm:rmmod" in shown
        assert "128 of 256 calls match" in shown
        assert "OUT OF RANGE" in shown
        await press(app, pilot, "escape")
        assert app.view.listed.filter == ""
        assert app.view.snapshot.warnings == comms.total()


async def test_the_verdict_stays_that_of_the_whole_recording(recorded):
    async with running(recorded, *typed("regime:inside")) as (app, pilot):
        await settle(app, pilot)
        assert app.view.listed.matching == 0
        assert "OUT OF RANGE" in screen_text(app)
        assert "CLEAN" not in screen_text(app)


async def test_what_is_no_filter_is_told_and_changes_nothing(recorded):
    async with running(recorded, *typed("comm:rmmod")) as (app, pilot):
        await press(app, pilot, "slash", *"nonsense", "enter")
        assert app.view.listed.matching == 128
        assert "say of what" in screen_text(app)
        await press(app, pilot, *typed("")[:1], "ctrl+u", "enter")
        assert app.view.listed.error == ""


async def test_escape_while_typing_leaves_the_filter_as_it_was(recorded):
    async with running(recorded, *typed("comm:rmmod")) as (app, pilot):
        await press(app, pilot, "slash", *"junk", "escape")
        assert app.view.listed.filter == "comm:rmmod"
        assert not app.dashboard.query_one(FilterLine).typing
        assert isinstance(app.focused, SpanTree | CallsTable)


async def test_keys_of_the_dashboard_are_text_while_a_filter_is_typed(recorded):
    async with running(recorded, "slash", *"q space"[:1], "n", "v") as (app, _):
        assert app.dashboard.query_one("#filter-box").value == "qnv"
        assert app.is_running


async def test_the_last_word_is_completed(recorded):
    async with running(recorded, "slash", *"comm:r") as (app, pilot):
        await pilot.pause(0.1)
        await press(app, pilot, "right", "enter")
        assert app.view.listed.filter == "comm:rmmod"


async def test_what_is_pasted_has_an_end(recorded):
    async with running(recorded, "slash") as (app, pilot):
        box = app.dashboard.query_one("#filter-box")
        box.insert_text_at_cursor("x" * 100_000)
        await pilot.pause()
        assert len(box.value) <= LONGEST


async def test_a_click_on_a_hit_of_the_map_is_a_filter_and_another_takes_it_away(recorded):
    async with running(recorded) as (app, pilot):
        shape = app.dashboard.query_one(AddressMap)
        row = next(y for y in range(shape.size.height) if "↑" in shape.render_line(y).text)
        column = shape.render_line(row).text.index("↑")
        at = (column + shape.gutter.left, row + shape.gutter.top)
        await pilot.click(shape, offset=at)
        await settle(app, pilot)
        assert app.view.listed.filter
        assert app.view.listed.matching == 256
        await pilot.click(shape, offset=at)
        await settle(app, pilot)
        assert app.view.listed.filter == ""


async def test_operations_open_in_place_down_to_the_warn(recorded):
    async with running(recorded) as (app, pilot):
        tree = app.dashboard.query_one(SpanTree)
        tree.focus()
        assert len(tree.rows) == 2
        await press(app, pilot, "enter")  # memremap_pages
        assert [tree.rows[at].span.kind.label for at in range(3)] == [
            "memremap", "add_pages", "memunmap",
        ]  # fmt: skip
        await press(app, pilot, "down", "enter")
        assert len(tree.rows) == 3 + 128
        await press(app, pilot, "down", "enter", "down", "enter", "down")
        kinds = [tree.rows[at].span.kind.label for at in range(5)]
        assert kinds == ["memremap", "add_pages", "section_add", "populate", "warn"]
        assert tree.rows[4].span.site.endswith("mmu.c:1222")
        assert app.view.row == 0  # nothing of this moves time
        await press(app, pilot, "up", "enter")  # of an open call: what it is
        assert isinstance(app.screen, ExplainScreen)
        await press(app, pilot, "escape", "up", "up", "up", "enter")
        assert len(tree.rows) == 2


async def test_every_call_is_listed_once_whatever_the_order(recorded):
    async with running(recorded) as (app, pilot):
        table = app.dashboard.query_one(CallsTable)
        rows = [call.row for call in table.rows]
        assert rows == sorted(set(rows), reverse=True)
        assert len(rows) == 256
        await press(app, pilot, "s")
        took = [call.duration_ns for call in table.rows]
        assert took == sorted(took, reverse=True)
        assert {call.row for call in table.rows} == set(rows)
        assert "by duration" in screen_text(app)
        await press(app, pilot, "s")
        assert "by warn share" in screen_text(app)
        await press(app, pilot, "s")
        assert [call.row for call in table.rows] == rows


async def test_a_list_follows_what_is_played_until_somebody_moves_in_it(recorded):
    async with running(recorded, "n", "n", "n") as (app, pilot):
        table = app.dashboard.query_one(CallsTable)
        assert table.chosen_row.row == app.view.row - 1
        table.focus()
        await press(app, pilot, "down")
        chosen = table.chosen_row.row
        await press(app, pilot, "end")
        assert table.chosen_row.row == chosen


async def test_next_and_previous_are_of_the_matches_while_there_is_a_filter(recorded):
    async with running(recorded, *typed("kind:free")) as (app, pilot):
        await settle(app, pilot)
        await press(app, pilot, "n")
        assert app.view.row == app.view.listed.calls[-1].row + 1  # the oldest
        await press(app, pilot, "N")
        assert "no previous match" in screen_text(app)


async def test_names_from_the_kernel_are_escaped_in_tree_and_filter(make):
    rows = [row | {"comm": HOSTILE} for row in storm_rows(2, 0xFFFF_FFFF_4000_0000)]
    async with running(make(rows), "slash", *"comm:") as (app, pilot):
        await pilot.pause(0.1)
        shown = screen_text(app)
        assert "\x1b" not in shown
        assert "\x07" not in shown
        tree = app.dashboard.query_one(SpanTree)
        assert all(
            column.cell(row)[0].isprintable() for row in tree.rows for column in tree._columns
        )


async def test_what_has_passed_is_of_the_matches(recorded):
    async with running(recorded, *typed("kind:free"), "home") as (app, pilot):
        await press(app, pilot, *["o"] * 2)  # the second operation frees: nothing has yet
        assert app.view.row > 1
        assert (app.view.passed.calls, app.view.passed.hits, app.view.passed.warnings) == (0, 0, 0)
        await press(app, pilot, "n", "n", "n")
        assert app.view.passed.calls == 3
        await press(app, pilot, "end")
        assert app.view.passed.hits == 128


async def test_where_nothing_matches_that_is_what_is_said(recorded):
    async with running(recorded, *typed("regime:inside")) as (app, _):
        shown = screen_text(app)
        assert "no call matches" in shown
        assert "no populate or free call" not in shown
        assert "no WARN fired" not in shown


async def test_a_filter_that_is_none_can_be_corrected(recorded):
    async with running(recorded, *typed("took:long"), "slash") as (app, _):
        assert app.dashboard.query_one("#filter-box").value == "took:long"


@pytest.mark.parametrize("leave", ["enter", "escape"])
async def test_what_had_the_focus_gets_it_back(recorded, leave):
    async with running(recorded) as (app, pilot):
        for widget in (SpanTree, CallsTable):
            app.dashboard.query_one(widget).focus()
            await press(app, pilot, "slash", leave)
            assert isinstance(app.focused, widget)


@pytest.mark.parametrize(("page", "explains"), [("2", True), ("3", False), ("4", False)])
async def test_enter_explains_only_a_call_that_is_shown(recorded, page, explains):
    async with running(recorded, page, "enter", size=(80, 24)) as (app, _):
        assert isinstance(app.screen, ExplainScreen) is explains


@pytest.mark.parametrize("widget", [SpanTree, CallsTable])
async def test_a_first_click_only_selects_and_a_second_opens(recorded, widget):
    async with running(recorded) as (app, pilot):
        await pilot.click(widget, offset=(6, 2))
        await settle(app, pilot)
        assert app.screen is app.dashboard
        assert len(app.dashboard.query_one(SpanTree).rows) == 2
        await pilot.click(widget, offset=(6, 2))
        await settle(app, pilot)
        opened = len(app.dashboard.query_one(SpanTree).rows) > 2
        assert opened is (widget is SpanTree)
        assert isinstance(app.screen, ExplainScreen) is (widget is CallsTable)


@pytest.mark.parametrize("size", [(60, 20), (80, 24), (120, 30), (160, 50), (250, 70)])
async def test_with_a_filter_the_tree_tells_how_many_calls_match(recorded, size):
    async with running(recorded, *typed("took>500us"), size=size) as (app, pilot):
        slow = [call.kind.label for call in app.view.listed.calls]
        assert 0 < slow.count("populate") < 128
        await press(app, pilot, "1", "enter")  # add_pages has the same number as its operation
        tree = app.dashboard.query_one(SpanTree)
        told = [tree._unmarked(y).text for y in range(4)]
        assert "match" in told[0]
        assert [row.matching for row in tree.rows[:3]] == [
            slow.count("populate"), slow.count("populate"), slow.count("free"),
        ]  # fmt: skip
        for line, kind in zip(told[1:], ("populate", "populate", "free"), strict=True):
            assert f"{slow.count(kind)} of 128" in line
        await press(app, pilot, "escape")
        assert "match" not in tree._unmarked(0).text
        assert {row.matching for row in tree.rows[:3]} == {None}


async def test_only_sections_with_a_match_are_in_the_tree(recorded):
    calls = pa.Table.from_batches([batch.events for batch in recorded.batches()])
    begun = calls.filter(pc.equal(calls["phase"].cast("string"), "entry"))
    rows = begun.filter(pc.equal(begun["kind"].cast("string"), "populate"))["start"].to_pylist()
    wanted = rows[5]
    text = f"addr:0x{wanted:x}..0x{wanted + 1:x} kind:populate"
    async with running(recorded, *typed(text)) as (app, pilot):
        tree = app.dashboard.query_one(SpanTree)
        tree.focus()
        await press(app, pilot, "enter", "down", "enter", "down", "enter")
        spans = [row.span for row in tree.rows]
        kinds = [span.kind.label for span in spans]
        assert kinds == ["memremap", "add_pages", "section_add", "populate"]
        assert spans[-1].start == wanted


# -- the call in full -------------------------------------------------------------------------


def begun(recording, *kinds):
    """The rows of the kernel's own events that begin calls of some kinds, as the file has them."""
    table = pa.Table.from_batches([batch.events for batch in recording.batches()])
    phase, kind = (table[name].cast("string").to_pylist() for name in ("phase", "kind"))
    return [at for at, pair in enumerate(zip(kind, phase, strict=True))
            if pair[0] in kinds and pair[1] != "exit"]  # fmt: skip


def lines_of(panel):
    return ["".join(text for text, _ in line).rstrip() for line in panel._drawn]


async def test_the_detail_says_what_the_file_has_of_the_call_under_the_cursor(recorded):
    events = pa.Table.from_batches([batch.events for batch in recorded.batches()])
    at = begun(recorded, "free")[-3]
    call = events.slice(at, 1).to_pylist()[0]
    warn = events.slice(at + 1, 1).to_pylist()[0]
    ends = [row["ts_ns"] for row in events.slice(at + 2, 2).to_pylist()]  # of the WARN, of the call
    async with running(recorded, "end", "down", "down") as (app, _):
        detail = app.dashboard.query_one(CallDetail)
        told = "\n".join(lines_of(detail))
        assert f"Call #{at}" in screen_text(app)
        for text in (
            words.address(call["start"]), words.address(call["end"]), "↑ above, lands on unused",
            f"by 0x{call['end'] - WINDOW.end:x}", f"0x{WINDOW.page_to_pfn(call['start']):x}",
            (f"{warn['site'].rsplit('/')[-1]}:{warn['line']} · "
            f"{words.duration(ends[0] - warn['ts_ns'])}"),
            words.duration(ends[1] - call["ts_ns"]), f"{call['comm']}-{call['tid']}",
            f"cpu {call['cpu']}", "kprobe", f"#{at} · ",
        ):  # fmt: skip
            assert text in told, text


async def test_a_tree_line_is_shown_in_full_once_the_tree_was_moved_last(recorded):
    async with running(recorded, "end") as (app, pilot):
        detail = app.dashboard.query_one(CallDetail)
        assert lines_of(detail)[0].endswith("vmemmap_free")
        app.dashboard.query_one(SpanTree).focus()
        await press(app, pilot, "down")
        assert "Operation #" in screen_text(app)
        assert lines_of(detail)[0].endswith("memunmap_pages")
        assert any("128 calls, 128 hits" in line for line in lines_of(detail))
        await press(app, pilot, "right_square_bracket")
        assert lines_of(detail)[0].endswith("vmemmap_free")


async def test_the_detail_reads_and_draws_nothing_while_its_row_stays(recorded, monkeypatch):
    async with running(recorded, "end", "down") as (app, _):
        detail = app.dashboard.query_one(CallDetail)

        def never(*_, **__):
            raise AssertionError("asked for facts")

        monkeypatch.setattr(detail, "facts", never)
        monkeypatch.setattr(detail, "refresh", never)
        for row in (100, 600, 1000):
            app.dashboard.show(replace(app.view, row=row, speed=2.0))


async def test_a_click_on_the_detail_explains_the_call(recorded):
    async with running(recorded, "end", "down") as (app, pilot):
        await pilot.click(CallDetail, offset=(5, 5))
        await settle(app, pilot)
        assert isinstance(app.screen, ExplainScreen)
        row = app.dashboard.query_one(CallsTable).chosen_row.row
        assert f"event #{row}" in screen_text(app)


@pytest.mark.parametrize("size", [(160, 50), (80, 24), (60, 20)])
async def test_enter_on_page_five_explains_what_it_shows(recorded, size):
    async with running(recorded, "end", "5", size=size) as (app, pilot):
        assert "Call #" in screen_text(app)
        await press(app, pilot, "left_square_bracket", "enter")
        row = app.dashboard.query_one(CallsTable).chosen_row.row
        assert row == begun(recorded, "free")[-2]
        assert f"event #{row}" in screen_text(app)


async def test_where_there_is_no_call_the_detail_says_so(make):
    async with running(make(), "5", "left_square_bracket", "enter") as (app, _):
        assert app.screen is app.dashboard
        assert lines_of(app.dashboard.query_one(CallDetail))[0] == "none yet"


# -- neighbours -------------------------------------------------------------------------------


@pytest.mark.parametrize("orders", [0, 1, 2])
async def test_neighbours_are_in_time_whatever_the_order_and_time_stays(recorded, orders):
    rows = begun(recorded, "populate", "free")
    async with running(recorded, "n", *["s"] * orders) as (app, pilot):
        table = app.dashboard.query_one(CallsTable)
        at, played = rows.index(table.chosen_row.row), app.view.row
        for key, by in (("right_square_bracket", 1), ("left_square_bracket", -1)):
            for _ in range(3):
                await press(app, pilot, key)
                at = max(0, min(len(rows) - 1, at + by))
                assert table.chosen_row.row == rows[at]
        assert app.view.row == played


async def test_neighbours_are_of_what_the_filter_lets_through_and_end_with_it(recorded):
    frees = begun(recorded, "free")
    async with running(recorded, *typed("kind:free"), "end") as (app, pilot):
        table = app.dashboard.query_one(CallsTable)
        assert table.chosen_row.row == frees[-1]
        await press(app, pilot, "right_square_bracket")  # there is none
        assert table.chosen_row.row == frees[-1]
        await press(app, pilot, *["pagedown"] * 8, "left_square_bracket")
        assert table.chosen_row.row == frees[0]


async def test_the_explanation_follows_to_the_neighbours(recorded):
    frees = begun(recorded, "free")
    async with running(recorded, "end", "enter", "left_square_bracket") as (app, pilot):
        assert f"vmemmap_free, event #{frees[-2]}" in screen_text(app)
        await press(app, pilot, "right_square_bracket", "right_square_bracket")
        assert f"vmemmap_free, event #{frees[-1]}" in screen_text(app)
        await press(app, pilot, "escape")
        assert app.dashboard.query_one(CallsTable).chosen_row.row == frees[-1]


# -- one operation, branches ------------------------------------------------------------------


async def test_one_key_on_the_tree_shows_an_operation_alone_and_all_again(recorded):
    (unmap,) = begun(recorded, "memunmap")
    async with running(recorded, "end") as (app, pilot):
        app.dashboard.query_one(SpanTree).focus()
        await press(app, pilot, "down", "right", "right", "f")  # from inside it
        await settle(app, pilot)
        assert app.view.listed.filter == f"op:{unmap}"
        assert [call.row for call in app.view.listed.calls] == begun(recorded, "free")[::-1]
        assert app.view.listed.tree.roots == 1
        assert app.view.snapshot.populate == 0
        await press(app, pilot, "f")
        assert app.view.listed.filter == ""


async def test_arrows_open_and_close_branches_in_the_tree_and_seek_elsewhere(recorded):
    async with running(recorded) as (app, pilot):
        tree = app.dashboard.query_one(SpanTree)
        await press(app, pilot, "1", "right")
        assert len(tree.rows) == 3
        await press(app, pilot, "right", "right", "down")
        assert [tree.rows[at].depth for at in range(4)] == [0, 1, 2, 2]
        assert tree.index == 2
        await press(app, pilot, "left")  # a closed section: to what it is in
        assert tree.index == 1
        await press(app, pilot, "left", "left", "left")
        assert (tree.index, len(tree.rows)) == (0, 2)
        await press(app, pilot, "left")
        assert (tree.index, app.view.row) == (0, 0)
        app.dashboard.query_one(CallsTable).focus()
        await press(app, pilot, "right")
        assert app.view.row > 0


# -- what has not been played yet -------------------------------------------------------------


def colours(table):
    """Whether each line of a table on the screen is muted, by the event it begins with."""
    muted = table._style("muted").color
    shown = {}
    for y in range(1, table.size.height):
        strip = table.render_line(y)
        if table._top + y - 1 < len(table.rows):
            row = table.rows[table._top + y - 1]
            used = {segment.style.color for segment in list(strip)[2:-1] if segment.text.strip()}
            shown[table._begins(row)] = used == {muted}
    return shown


@pytest.mark.parametrize("widget", [CallsTable, SpanTree])
async def test_what_is_to_come_is_muted_and_only_what_flips_is_drawn(recorded, widget):
    async with running(recorded) as (app, pilot):
        table = app.dashboard.query_one(widget)
        table.focus()
        if widget is SpanTree:
            await press(app, pilot, "enter", "down", "enter")
        else:  # to the oldest calls, and no longer follow
            await press(app, pilot, *["pagedown"] * 12)
        assert set(colours(table).values()) == {True}
        for _ in range(3):
            before, drawn = colours(table), table.drawn
            await press(app, pilot, "n", "n")
            after = colours(table)
            assert after == {row: row >= app.view.row for row in before}
            flipped = sum(before[row] != after[row] for row in before)
            assert flipped >= 2
            assert table.drawn - drawn == flipped
        await press(app, pilot, "end")
        assert not any(colours(table).values())
        drawn = table.drawn
        await press(app, pilot, "home", "end")
        assert table.drawn - drawn == 2 * len(colours(table))


async def test_what_flips_off_the_screen_is_not_drawn(recorded):
    async with running(recorded, "end", "down") as (app, pilot):
        table = app.dashboard.query_one(CallsTable)
        await press(app, pilot, *["pagedown"] * 12)
        drawn, refreshed = table.drawn, []
        table.refresh = lambda *regions, **_: refreshed.extend(regions)
        last = table.rows[0].row
        app.dashboard.show(replace(app.view, row=last))  # the newest call is to come again
        app.dashboard.show(replace(app.view, row=last + 1))
        assert (table.drawn, refreshed) == (drawn, [])


async def test_an_oops_is_a_row_that_n_finds_a_filter_lists_and_enter_explains(make):
    async with running(make(oops.rows(), header=oops.HEADER)) as (app, pilot):
        assert "1 Oops" in screen_text(app)
        await press(app, pilot, "home", *["n"] * 9)
        assert app.view.row == 17  # behind the Oops: the eight before it are populate calls
        await press(app, pilot, "n")
        assert app.view.note == "no next hit"
        await press(app, pilot, *typed("kind:fault"))
        await settle(app, pilot)
        shown = screen_text(app)
        assert "/ kind:fault" in shown
        assert "1 of 8 calls and 1 Oops match" in shown
        assert "1 Oops at a struct page, wrapped into the user half" in shown
        assert "no call matches the filter" in shown
        table = app.dashboard.query_one(CallsTable)
        assert [words.function(call.kind) for call in table.rows] == ["Oops"]
        assert "memmap_init_zone_device" in screen_text(app)
        await press(app, pilot, "enter")
        assert isinstance(app.screen, ExplainScreen)
        shown = screen_text(app)
        assert f"pfn of start = (start - vmemmap) / 64 = {oops.PFN:#x}" in shown
        assert oops.FAILED in shown


async def test_without_a_window_n_still_finds_an_oops(make):
    header = replace(oops.HEADER, machine=replace(oops.MACHINE, window=None, layout=None))
    async with running(make(oops.rows(), header=header)) as (app, pilot):
        await press(app, pilot, "home", "n")
        assert app.view.row == 17
        await press(app, pilot, "n")
        assert app.view.note.startswith("no window known")
