# SPDX-License-Identifier: GPL-2.0-only
"""The headline's words: what they say of each outcome, and what they admit not to know."""

from dataclasses import replace

import pytest
from rich.cells import cell_len

from recordings.format.header import Header
from recordings.format.reader import open_recording
from recordings.ledger.audited import Audited, Outside
from recordings.ledger.snapshot import Pairing, Regimes, Request, SiteCount, Task, Verdict
from tests.recordings import oops
from tests.tui.small_recordings import MACHINE, SECTION, WINDOW, row, storm_rows
from tests.tui.widgets.test_panels import seen, text
from tracers.batch import Losses
from tracers.events import Kind
from tracers.machine import read_machine
from tui.playback.replay import Replay
from tui.widgets.findings import Part, answer, cost, counted, fit, where, who, word
from tui.widgets.headline import Headline, blind_line, labelled, window_facts


@pytest.fixture
def view(storm):
    return seen(storm)


def full(parts) -> list[str]:
    """The parts in their fullest words."""
    return [part.texts[0] for part in parts]


def headline(view, width=160, height=9, *, header=None, problems=()):
    panel = Headline(header or Header(machine=MACHINE), problems, id="headline")
    return text(panel.draw(panel.facts(view), width, height))


def test_whether_and_who(view):
    assert counted(view.snapshot, final=True).texts[0] == (
        "80 of 80 calls outside the window, all above"
    )
    assert full(who(view.snapshot)) == ["insmod-68 in, rmmod-69 out"]
    assert word(view) == ("OUT OF RANGE", "$error")


def test_tasks_beyond_those_named_are_counted(view):
    tasks = tuple(Task(f"t{n}", n, False) for n in range(5))
    snapshot = replace(view.snapshot, tasks=tasks)
    assert full(who(snapshot)) == ["t0-0, t1-1 and 3 more in"]
    assert full(who(replace(snapshot, tasks_beyond=True))) == ["t0-0, t1-1 and at least 3 more in"]


def test_what_it_costs_and_of_what_that_is_a_part(view):
    # 40 sections x 0.4 ms of an __add_pages of 18.1 ms, 40 x 0.5 ms of a __remove_pages of 24.1 ms;
    # memremap_pages takes 85.1 ms, memunmap_pages 64.1 ms
    assert full(cost(view.snapshot)) == [
        "36 ms in 80 WARNs",
        "88 % of __add_pages 18.1 ms",
        "83 % of __remove_pages 24.1 ms",
        "WARN_ON_ONCE: 2 WARNs, at least -35 ms",
        "outside of these memremap_pages 67 ms, memunmap_pages 40 ms",
    ]


def test_where_the_hits_lie(view):
    told = full(where(view.snapshot, WINDOW, {}, live=False))
    assert told == [
        "1 GiB to 1.08 GiB past VMEMMAP_END",
        "80 MiB in unused",
        "still mapped 0",
        "none inside",
        "† 40 derived",
    ]


def test_what_is_still_mapped_is_told_and_what_is_not_known_is(view):
    held = replace(view.snapshot, pairing=Pairing(held_outside=3, held_outside_bytes=3 * SECTION))

    def still(snapshot, probes=()):
        parts = full(where(snapshot, WINDOW, dict(probes), live=False))
        return next(part for part in parts if part.startswith("still mapped"))

    assert still(held) == "still mapped 6 MiB in 3 ranges"
    assert still(replace(held, calls_beyond=1)) == "still mapped at least 6 MiB in 3 ranges"
    lossy = replace(held, losses=Losses(lost=1))
    assert still(lossy) == "still mapped: not known, events are missing"
    unseen = [("vmemmap_free", "no: kprobe: refused")]
    assert still(held, unseen) == "still mapped: not known, no probe on vmemmap_free"


def test_a_clean_run_says_how_much_room_is_left(clean):
    # 16 sections from the middle of the 4 GiB window on; a section of 128 MiB is 2 MiB of it
    view = seen(clean)
    picture, above, below = where(view.snapshot, WINDOW, {}, live=False)
    assert picture.texts[0] == "▕" + "░" * 12 + "█" + "░" * 11 + "▏"
    assert above.texts[0] == "room 1.97 GiB up to VMEMMAP_END for 126 GiB of memory"
    assert below.texts[0] == "2 GiB down to VMEMMAP_START for 128 GiB of memory"
    bare = replace(WINDOW, struct_page=None)
    _, above, _ = where(view.snapshot, bare, {}, live=False)
    assert above.texts[0] == "room 1.97 GiB up to VMEMMAP_END"


def test_hits_of_several_regimes_are_told_apart(make):
    def call(at, start, end):
        return row(at, "free", "point", start=start % 2**64, end=end % 2**64)

    rows = [
        call(0, WINDOW.start - 4 * SECTION, WINDOW.start - 3 * SECTION),
        call(1, WINDOW.end, WINDOW.end + SECTION),
        call(2, SECTION, 2 * SECTION),
        call(3, WINDOW.end - SECTION, WINDOW.end + SECTION),
        call(4, WINDOW.start, WINDOW.start + SECTION),
    ]
    snapshot = seen(make(rows)).snapshot
    told = full(where(snapshot, WINDOW, {}, live=False))
    assert told[:4] == [
        "0 to 2 MiB past VMEMMAP_END",
        "6 MiB to 8 MiB below VMEMMAP_START",
        "wrapped past 2^64, from 0x0000000000200000 on",
        "across an edge of the window",
    ]
    assert "1 inside" in told
    assert counted(snapshot, final=True).texts == (
        (
            "4 of 5 calls outside the window, 1 below, 1 above, 1 wrapped into the user half, "
            "1 straddling its edge"
        ),
        "4 of 5 calls outside, ↓ 1, ↑ 1, » 1, ↕ 1",
        "4 of 5 calls outside",
    )


def test_before_all_is_read_only_a_hit_is_certain(clean, storm):
    for recording, expected in ((clean, "CLEAN"), (storm, "OUT OF RANGE")):
        replay = Replay(recording, paused=True)
        assert word(replay.view())[0] == "READING 0 %"
        replay.read_some()
        begun = word(replay.view())[0]
        assert begun == ("OUT OF RANGE" if recording is storm else "READING 99 %")
        replay.read_all()
        assert replay.view().row == 0  # nothing was played
        assert word(replay.view())[0] == expected


def test_a_reading_that_could_end_otherwise_says_so_far(storm):
    replay = Replay(storm, paused=True)
    replay.read_some()
    assert "calls so far" in headline(replay.view())[0]
    replay.read_all()
    assert "so far" not in headline(replay.view())[0]


def test_other_outcomes(view):
    some = replace(
        view.snapshot,
        regimes=Regimes(inside=70, below=6, wrapped=4),
        would_warn=7,
        verdict=Verdict.OUT_OF_RANGE,
    )
    assert counted(some, final=True).texts[0] == (
        "10 of 80 calls outside the window, 6 below, 4 wrapped into the user half, 3 silent"
    )
    unknown = replace(view.snapshot, regimes=Regimes(unknown=80))
    told = "80 of 80 calls so far cannot be judged"
    assert counted(unknown, final=False).texts[0] == told
    none = replace(view.snapshot, regimes=Regimes(), populate=0, free=0)
    assert counted(none, final=True).texts[0] == "no populate or free call"


def test_a_cost_that_is_not_known_is_not_zero(view):
    untimed = (SiteCount("mmu.c:1222", 80, 0, 80),)
    snapshot = replace(view.snapshot, sites=untimed, warn_ns=0)
    assert full(cost(snapshot))[0] == "80 WARNs, their cost not known"
    partly = (SiteCount("mmu.c:1222", 80, 32_000_000, 20),)
    snapshot = replace(view.snapshot, sites=partly, warn_ns=32_000_000, totals=())
    assert full(cost(snapshot)) == ["at least 32 ms in 80 WARNs"]
    assert full(cost(replace(view.snapshot, warnings=0)))[0] == "no WARN seen for these hits"
    silent = replace(view.snapshot, warnings=0, would_warn=0)
    assert full(cost(silent))[0] == "no WARN: the kernel's own check lets these hits pass"


def test_what_a_once_suppressed_is_counted(samples):
    with open_recording(samples / "storm-once.arrows") as recording:
        told = full(cost(seen(recording).snapshot))
    assert "254 suppressed (WARN_ON_ONCE)" in told
    assert not any("WARN_ON_ONCE: " in part for part in told)  # the kernel has it


def test_losses_stand_right_below_the_three_lines(view):
    lossy = replace(view, snapshot=replace(view.snapshot, losses=Losses(lost=12)))
    for width in (58, 80, 160):
        lines = headline(lossy, width)
        assert lines[3] == "counts are lower bounds: 12 events lost"


def test_the_reason_for_no_verdict_is_shown(view):
    reasons = ("The window is not known, so no call can be judged.",)
    snapshot = replace(
        view.snapshot, verdict=Verdict.INCONCLUSIVE, verdict_reasons=reasons, regimes=Regimes()
    )
    lines = headline(replace(view, snapshot=snapshot), 100, header=Header())
    assert lines[0].startswith(" INCONCLUSIVE ")
    assert "the window is not known: no side files" in lines[2]
    assert lines[3] == reasons[0]
    assert "Linux of unknown release" in lines[4]


def test_problems_errors_and_what_is_beyond_are_all_told(view):
    panel = Headline(Header(machine=MACHINE), ["one \x1b", "two"], id="headline")
    panel.fail("three \x1b")
    beyond = replace(view, snapshot=replace(view.snapshot, calls_beyond=5))
    lines = text(panel.draw(panel.facts(beyond), 160, 20))
    assert lines[0] == r"ERROR three \x1b"
    assert r"one \x1b" in lines
    assert "two" in lines
    assert any(line.startswith("5 calls lie in ranges beyond those kept") for line in lines)


def test_a_window_of_many_sources_names_the_first_on_a_narrow_screen():
    origin = "vmcoreinfo + code:vmemmap_free + code:vmemmap_populate + btf+formula"
    window = replace(WINDOW, provenance={"window": origin})
    (shown,) = text([labelled("window", window_facts(window), 78)])
    assert shown.endswith("· from vmcoreinfo and 3 more")


@pytest.mark.parametrize(
    ("bits", "memstart", "expected"),
    [
        (48, "same", "no WARN below physical 0x40000000"),
        (None, "same", "calls below 0xffffffdfc0000000 cannot be judged"),
        (48, None, "no WARN below 0xffffffdfc0000000"),
        (48, (1 << 48) - (1 << 52), None),  # RAM begins at 0: no page leads there
        (52, "same", None),
    ],
)
def test_the_first_screen_says_where_the_warn_is_blind(captures, bits, memstart, expected):
    window = read_machine(captures / "7.3.4-vmemlab-64k-52bit-on-48bit").window
    where = window.memstart if memstart == "same" else memstart
    placed = replace(window, vabits_actual=bits, memstart=where and where % 2**64)
    drawn = blind_line(placed, 80)
    assert (drawn is None) is (expected is None)
    if drawn is not None:
        assert expected in text([drawn])[0]
        assert len(text([drawn])[0]) <= 80


@pytest.mark.parametrize("width", range(1, 60))
def test_a_line_fits_and_keeps_what_matters_most(width):
    parts = [Part(0, ("aaaa long", "aaaa")), Part(2, ("bbbb",)), Part(1, ("cccc longer", "cccc"))]
    (shown,) = text([fit(parts, width)])
    assert cell_len(shown) <= width
    if width >= 4:
        assert shown.startswith("aaaa")
    if width >= 11:
        assert "cccc" in shown
    assert ("bbbb" in shown) == (width >= 18)
    assert ("aaaa long" in shown) == (9 <= width < 11 or 16 <= width < 18 or width >= 23)


@pytest.mark.parametrize("width", [58, 80, 120, 160, 250])
@pytest.mark.parametrize("what", ["storm", "clean"])
def test_every_line_fits(request, what, width):
    view = seen(request.getfixturevalue(what))
    for shown in headline(view, width, problems=["p" * 300]):
        assert cell_len(shown) <= width


def test_storm_rows_have_one_task_a_side():
    assert {r["comm"] for r in storm_rows(1, WINDOW.end)} == {"insmod", "rmmod"}


@pytest.mark.parametrize("width", [60, 80, 120, 160])
def test_an_oops_is_in_the_first_line_of_any_width(make, width):
    for rows in (oops.rows(), oops.rows(0), oops.rows(0, None)):
        lines = headline(seen(make(rows, header=oops.HEADER)), width, header=oops.HEADER)
        assert "1 Oops" in lines[0]
        assert all(cell_len(line) <= width for line in lines)


def test_an_oops_is_told_with_its_place(make):
    view = seen(make(oops.rows(), header=oops.HEADER))
    first, second = answer(view.snapshot, final=True)
    assert first.texts[0] == "8 of 8 calls outside the window, all wrapped into the user half"
    assert second.texts[0] == "1 Oops at a struct page, wrapped into the user half"
    assert full(where(view.snapshot, oops.WINDOW, {}))[-1] == (
        "Oops at 0x000001ffb2000000 on user half, pfn 0xfffd00000"
    )
    alone = seen(make(oops.rows(0), header=oops.HEADER))
    assert full(answer(alone.snapshot, final=True)) == [
        second.texts[0], "no populate or free call",
    ]  # fmt: skip
    both = seen(make([*oops.rows(0), oops.fault(9, oops.WINDOW.start)], header=oops.HEADER))
    assert full(answer(both.snapshot, final=True))[0] == (
        "2 Oopses at struct pages, 1 outside the window"
    )
    inside = seen(make([oops.fault(9, oops.WINDOW.start)], header=oops.HEADER))
    assert full(answer(inside.snapshot, final=True))[0] == "1 Oops, inside the window"
    unproven = seen(make(oops.rows(0, None), header=oops.HEADER))
    assert full(answer(unproven.snapshot, final=True))[0] == "1 Oops, where is not known"


def test_a_refused_region_is_told_with_what_was_asked_for(view):
    asked = Request(
        row=3, ts_ns=1, kind=Kind.REQUEST_REGION, tid=104, comm="insmod", name="dev\x1bpriv",
        asked=1 << 35, pfn=None, nr_pages=None, error=34, known=True,
    )  # fmt: skip
    snapshot = replace(view.snapshot, requests=(asked,), requests_total=3, refused=((34, 1),))
    assert full(answer(snapshot, final=True))[-1] == "1 region refused (-ERANGE)"
    (told,) = [part for part in where(snapshot, WINDOW, {}) if "no place" in part.texts[0]]
    assert told.texts[-1] == "no place for 128 TiB"
    assert "by insmod-104" in told.texts[0]
    assert "\x1b" not in told.texts[0]
    granted = replace(asked, error=None, pfn=0x2000000, nr_pages=1 << 15)
    fine = replace(snapshot, requests=(granted,), refused=())
    assert "refused" not in " ".join(full(answer(fine, final=True)))
    assert "no place" not in " ".join(full(where(fine, WINDOW, {})))


def test_what_happened_before_has_a_line_of_its_own(view):
    """What is mapped outside since boot, by how many WARNs, and what was freed meanwhile."""
    name = "[b]dev\x1b"
    region = Outside(name, 0x5000000000, 16 << 30, 0xFFFFFFFF3F000000, 256 << 20, "above")
    before = Audited("out-of-range", (region,), 16 << 30, 1, warnings=256, hits=256)

    def told(snapshot, width=160):
        (line,) = (
            each for each in headline(replace(view, snapshot=snapshot), width) if "before" in each
        )
        return line

    assert not any("before" in each for each in headline(view))
    assert told(replace(view.snapshot, before=before)) == (
        "before 16 GiB ([b]dev\\x1b) had struct pages outside · 256 WARNs since boot"
    )
    gone = replace(view.snapshot, before=before, after=Audited("clean"))
    assert told(gone).endswith(" · gone meanwhile: [b]dev\\x1b")
    assert told(gone, 80).endswith(" had struct pages outside · 256 WARNs since boot")
    assert told(gone, 60) == "before 16 GiB ([b]dev\\x1b) had struct pages outside"
