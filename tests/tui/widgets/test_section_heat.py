# SPDX-License-Identifier: GPL-2.0-only
"""What the strip of sections draws, for any calls."""

from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from recordings.explore.matches import Everything, Matches
from recordings.explore.section_strip import Sections
from tests.recordings import traces
from tests.recordings.explore.test_span_table import filled
from tests.tui.small_recordings import SECTION, WINDOW, row
from tui.widgets.section_heat import Facts, Heat, SectionHeat, steps


def strip_of(rows, window=WINDOW, most=32_768):
    sections = Sections(Matches(filled(rows, window)[0], Everything()), window, most=most)
    sections.update()
    return sections.strip()


def text_of(line):
    return "".join(text for text, _ in line)


def drawn(rows, heat, width=78, height=3):
    lines = SectionHeat(id="sections").draw(Facts(strip_of(rows), heat), width, height)
    return [text_of(line) for line in lines]


def timed(section, start, stop, kind="populate"):
    at = {"start": WINDOW.start + section * SECTION, "end": WINDOW.start + (section + 1) * SECTION}
    return [row(start, kind, "entry", **at), row(stop, kind, "exit")]


@settings(deadline=None)
@given(
    rows=traces.ROWS,
    heat=st.sampled_from(Heat),
    width=st.integers(24, 150),
    height=st.integers(1, 4),
    most=st.sampled_from([2, 1000]),
)
def test_any_calls_are_drawn_on_the_lines_there_are(rows, heat, width, height, most):
    facts = Facts(strip_of(rows, most=most), heat)
    lines = SectionHeat(id="sections").draw(facts, width, height)
    assert len(lines) <= height
    if len(facts.strip):
        cells = lines[0] if height < 3 else lines[1]
        assert cell_len(text_of(cells)) <= width


def test_the_worst_of_a_section_is_its_mark():
    rows = [*timed(0, 0, 1), *timed(1, 2, 3)]
    rows += [row(4, "free", "point", start=WINDOW.end - SECTION, end=WINDOW.end + SECTION)]
    told, cells, ends = drawn(rows, Heat.REGIME)
    assert told == "by worst regime  ↕ straddling 1  · inside 2  3 sections, 1 a cell"
    assert cells == "·" * 12 + "  …   " + "↕" * 6
    assert ends == f"└0x{WINDOW.start:016x}"  # the other end has no room


def test_the_longest_call_of_a_section_is_its_step():
    rows = [each for at in range(9) for each in timed(at, 2 * at, 2 * at + 1)]
    rows += timed(9, 20, 40) + timed(0, 50, 50.5, "free")  # a shorter one of the first
    rows.append(row(60, "free", "point", start=WINDOW.start + 10 * SECTION, end=WINDOW.start))
    told, cells, _ = drawn(rows, Heat.LATENCY, width=90)
    assert cells == "░" * 6 * 9 + "█" * 6 + "-" * 6
    assert told == "by longest call  ░ to 1 ms  █ to 20 ms  - none ended  11 sections, 1 a cell"


def test_steps_are_quantiles_and_never_two_of_one_length():
    assert [step.most_ns for step in steps(range(1, 1001))] == [500, 900, 990, 1000]
    assert [(step.most_ns, step.mark) for step in steps([5, 5, 5])] == [(5, "░")]
    assert [(step.most_ns, step.mark) for step in steps([5, 9])] == [(5, "░"), (9, "█")]
    assert steps([]) == ()


def test_calls_without_an_address_are_told():
    rows = [*timed(0, 0, 1), row(2, "free", "point")]
    (told,) = drawn(rows, Heat.REGIME, width=100, height=2)[1:]
    assert "1 call without an address" in told
    assert drawn(rows[2:], Heat.REGIME) == ["no call with a known address"]


def test_a_silent_hit_has_its_own_mark():
    rows = [row(0, "free", "point", start=2**64 - SECTION, end=0)]  # no WARN: 0 is not above END
    told, cells, _ = drawn(rows, Heat.REGIME)
    assert told == "by worst regime  ↑ above 1  ○ silent 1  1 section, 1 a cell"
    assert cells == "○" * 6
