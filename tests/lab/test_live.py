# SPDX-License-Identifier: GPL-2.0-only
"""6.1: ``vmemscope live`` in a terminal while the storm passes."""

import re
from collections.abc import Callable

import pytest

from tests.lab.compare import left_nothing
from tests.lab.harness import Boot, Kernel, Lab


@pytest.fixture(scope="module")
def live(lab: Lab, lab_kernel: Callable[[str], Kernel]) -> Boot:
    return lab.boot(lab_kernel("6.1"), "live.sh")


def test_the_screen_has_the_right_counts(live: Boot) -> None:
    before, after = live.text("live-before.screen"), live.text("live-after.screen")
    assert "0xfffffffe00000000 - 0xffffffff00000000" in before
    assert "OUT OF RANGE" not in before
    assert "OUT OF RANGE" in after
    assert "256 of 256 calls so far outside the window" in after
    for line in (1222, 1268):
        assert re.search(rf"arch/arm64/mm/mmu\.c:{line} +128 ", after)


def test_it_recorded_what_it_showed(live: Boot) -> None:
    ours, truth = live.recording("live"), live.truth("live")
    assert ours.lost() == 0
    frees = [(call.args["start"], call.args["end"]) for call in truth if call.name == "free"]
    assert len(frees) == 128
    assert [(row["start"], row["end"]) for row in ours.of("free")] == frees
    assert live.exit_code("live") == 1
    left_nothing(live, "live")
