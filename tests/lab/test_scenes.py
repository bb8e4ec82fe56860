# SPDX-License-Identifier: GPL-2.0-only
"""6.1: kinds of load, and ways a recording can end."""

import json
from collections.abc import Callable

import pytest

from tests.lab.compare import SECTION_PAGES, left_nothing, same_calls, sections
from tests.lab.harness import Boot, Kernel, Lab


@pytest.fixture(scope="module")
def scenes(lab: Lab, lab_kernel: Callable[[str], Kernel]) -> Boot:
    return lab.boot(lab_kernel("6.1"), "scenes.sh", timeout_s=600)


def test_doctor_reports_every_rung(scenes: Boot) -> None:
    assert scenes.exit_code("doctor") == 0
    report = json.loads(scenes.text("doctor.text"))
    assert "breakpoint" in json.dumps(report)
    left_nothing(scenes, "doctor")


def test_a_prime_number_of_sections(scenes: Boot) -> None:
    ours = same_calls(scenes, "sections-23")
    assert len(sections(ours, "callsite")) == 23
    assert scenes.warns("sections-23") == 46
    left_nothing(scenes, "sections-23")


def test_two_devices_at_once(scenes: Boot) -> None:
    ours = same_calls(scenes, "both")
    spans = sections(ours, "callsite")
    assert len(spans) == 128
    assert {pfn & ~(64 * SECTION_PAGES - 1) for pfn, _ in spans} == {0x5000000, 0x6000000}
    assert len({row["tid"] for row in ours.of("section_add")}) == 2
    left_nothing(scenes, "both")


def test_in_range_is_clean(scenes: Boot) -> None:
    ours = same_calls(scenes, "in-range")
    assert len(sections(ours, "callsite")) == 16
    assert scenes.exit_code("in-range") == 0
    left_nothing(scenes, "in-range")


def test_the_kernel_drops_what_is_inside(scenes: Boot) -> None:
    ours, truth = scenes.recording("hits-only"), scenes.truth("hits-only")
    assert ours.lost() == 0
    freed = [call.args["start"] for call in truth if call.name == "free"]
    outside = [start for start in freed if not 0xFFFFFFFE00000000 <= start < 0xFFFFFFFF00000000]
    assert len(freed) == 4
    assert len(outside) == 2
    assert [row["start"] for row in ours.of("free")] == outside
    assert len(ours.of("section_add")) == 4
    left_nothing(scenes, "hits-only")


@pytest.mark.parametrize("signal", ["TERM", "INT", "HUP"])
def test_a_signal_ends_with_a_whole_file(scenes: Boot, signal: str) -> None:
    ours = same_calls(scenes, f"end-{signal}")
    assert ours.closing is not None
    assert ours.closing["reason"] == f"SIG{signal} before the command ended"
    assert scenes.exit_code(f"end-{signal}") == 1
    left_nothing(scenes, f"end-{signal}")


def test_killed_it_keeps_what_was_written_and_leaves_no_probe(scenes: Boot) -> None:
    ours = scenes.recording("end-KILL")
    assert ours.closing is None
    truth = scenes.truth("end-KILL")
    expected = [(c.args["start"], c.args["end"]) for c in truth if c.name == "free"]
    assert len(expected) == 2
    assert [(row["start"], row["end"]) for row in ours.of("free")] == expected
    left_nothing(scenes, "end-KILL")
    left_nothing(scenes, "after-KILL")


def test_a_full_disk_leaves_a_readable_file(scenes: Boot) -> None:
    ours, truth = scenes.recording("disk-full"), scenes.truth("disk-full")
    assert scenes.exit_code("disk-full") == 2
    assert "could not be written" in scenes.text("disk-full.text")
    frees = [call.args["start"] for call in truth if call.name == "free"]
    kept = [row["start"] for row in ours.of("free")]
    assert kept == frees[: len(kept)]
    left_nothing(scenes, "disk-full")
