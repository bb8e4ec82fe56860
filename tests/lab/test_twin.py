# SPDX-License-Identifier: GPL-2.0-only
"""6.1: ``live`` while a storm passes, and in its past while another does: the kernel's counts."""

import re
from collections.abc import Callable

import pytest

from tests.lab.compare import left_nothing, same_calls
from tests.lab.harness import Boot, Kernel, Lab

#: The dashboard's own tests drive the same keys without a kernel.
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def twin(lab: Lab, lab_kernel: Callable[[str], Kernel]) -> Boot:
    return lab.boot(lab_kernel("6.1"), "twin.sh", timeout_s=420)


def test_the_screen_has_the_right_counts(twin: Boot) -> None:
    before, after = twin.text("live-before.screen"), twin.text("live-after.screen")
    assert "0xfffffffe00000000 - 0xffffffff00000000" in before
    assert "OUT OF RANGE" not in before
    assert "OUT OF RANGE" in after
    assert "256 of 256 calls so far outside the window" in after
    for line in (1222, 1268):
        assert re.search(rf"arch/arm64/mm/mmu\.c:{line} +128 ", after), after


def arrived(screen: str) -> tuple[int, int]:
    """Events and hits that the badge says have arrived."""
    told = re.search(r"in the past . \+([\d,]+) events?, ([\d,]+) hits? arrived since", screen)
    assert told is not None, screen
    events, hits = (int(number.replace(",", "")) for number in told.groups())
    return events, hits


def matched(screen: str) -> tuple[int, int]:
    """Calls that match the filter, and all, as its line says."""
    told = re.search(r"/ comm:rmmod  ([\d,]+) of ([\d,]+) calls match", screen)
    assert told is not None, screen
    matching, calls = (int(number.replace(",", "")) for number in told.groups())
    return matching, calls


def test_the_past_says_what_arrives_and_its_numbers_are_of_now(twin: Boot) -> None:
    truth, ours = twin.truth("twin"), twin.recording("twin")
    second = [call.us for call in truth if call.name == "memremap"][1]
    frees = sum(call.name == "free" and call.us > second for call in truth)
    remaps = ours.of("memremap")
    rows = len(ours.rows) - ours.rows.index(remaps[1])
    assert arrived(twin.text("twin-home.screen")) == (0, 0)
    # What was freed had been populated: the kernel refuses a probe on that.
    assert arrived(twin.text("twin-past.screen")) == (rows, 2 * frees)
    during = arrived(twin.text("twin-during.screen"))
    assert 0 <= during[0] <= rows
    assert 0 <= during[1] <= 2 * frees
    assert "512 of 512 calls so far" in twin.text("twin-past.screen")


def test_a_filter_counts_in_the_past_what_the_kernel_says_while_capture_goes_on(
    twin: Boot,
) -> None:
    truth = twin.truth("twin")
    second = [call.us for call in truth if call.name == "memremap"][1]
    frees = [call.us > second for call in truth if (call.name, call.comm) == ("free", "rmmod")]
    first, then = frees.count(False), frees.count(True)
    assert first > 0
    assert then > 0
    # Each was populated before, by insmod: the second storm's memory is in, and out.
    for screen, matching, arriving in (("in", first, then), ("out", first + then, 2 * then)):
        shown = twin.text(f"twin-filter-{screen}.screen")
        assert matched(shown) == (matching, 2 * first + arriving)
        assert arrived(shown)[1] == arriving  # all hits, whatever the filter
        assert f"{matching} of {matching} calls so far outside" in shown
    now = twin.text("twin-filter-now.screen")
    assert "in the past" not in now
    assert "LIVE" in now
    assert matched(now) == (first + then, 2 * (first + then))
    warns = [call.comm for call in truth if call.name == "warn"].count("rmmod")
    assert f"in {warns} WARNs" in now


def test_end_returns_to_now(twin: Boot) -> None:
    screen = twin.text("twin-now.screen")
    assert "in the past" not in screen
    assert "LIVE" in screen
    frees = sum(call.name == "free" for call in twin.truth("twin"))
    assert f"{2 * frees} of {2 * frees} calls so far" in screen
    assert f"{twin.warns('twin')} WARNs" in screen


def test_the_capture_was_not_disturbed(twin: Boot) -> None:
    same_calls(twin, "twin")
    assert twin.exit_code("twin") == 1
    left_nothing(twin, "twin")
