# SPDX-License-Identifier: GPL-2.0-only
"""6.1, where vmemmap_populate is notrace: the storm on each engine, starting at each rung."""

from collections.abc import Callable

import pytest

from tests.lab.compare import SECTION_PAGES, left_nothing, same_calls, sections
from tests.lab.harness import Boot, Kernel, Lab

# 0x5000000000 >> 12, and on: 16 GiB in sections of 128 MiB
SECTIONS = [(0x5000000 + number * SECTION_PAGES, SECTION_PAGES) for number in range(128)]


@pytest.fixture(scope="module")
def storm(lab: Lab, lab_kernel: Callable[[str], Kernel]) -> Boot:
    return lab.boot(lab_kernel("6.1"), "storm.sh", timeout_s=600)


@pytest.mark.parametrize("engine", ["tracefs", "bcc"])
@pytest.mark.parametrize(
    ("rung", "section_add", "populate"),
    [
        ("kprobe", "callsite", "breakpoint"),
        ("breakpoint", "breakpoint", "breakpoint"),
        ("derived", None, "derived"),
    ],
)
def test_every_call_is_recorded(
    storm: Boot, engine: str, rung: str, section_add: str | None, populate: str
) -> None:
    scene = f"storm-{engine}-{rung}"
    ours = same_calls(storm, scene)
    if section_add is None:  # add_pages' arguments give the populate calls, but no section's timing
        assert ours.of("section_add", None) == []
    else:
        assert sections(ours, section_add) == SECTIONS
    rows = [row for row in ours.rows if row["kind"] == "populate"]
    assert {row["source"] for row in rows} == {populate}
    assert storm.warns(scene) == 256
    warns = [(row["site"], row["line"]) for row in ours.of("warn")]
    assert {site: warns.count(site) for site in warns} == {
        ("arch/arm64/mm/mmu.c", 1222): 128,
        ("arch/arm64/mm/mmu.c", 1268): 128,
    }
    assert storm.exit_code(scene) == 1
    assert "OUT OF RANGE: 256 of 256 calls" in storm.text(f"{scene}.text")
    left_nothing(storm, scene)


def test_the_kernel_log_has_all_of_them_afterwards(storm: Boot) -> None:
    """Engine kmsg, begun when all was over: the calls of all scenes, as the probes saw them."""
    ours = storm.recording("past")
    assert (ours.lost(), ours.header["origin"]) == (0, {"live": "kmsg"})
    probed = [
        (row["kind"], row["start"], row["end"], row["tid"], row["comm"])
        for engine in ("tracefs", "bcc")
        for rung in ("kprobe", "breakpoint", "derived")
        for row in sorted(
            storm.recording(f"storm-{engine}-{rung}").rows, key=lambda row: row["ts_ns"]
        )
        if row["kind"] in ("populate", "free") and row["phase"] != "exit"
    ]
    assert len(probed) == 6 * 256
    assert [
        (row["kind"], row["start"], row["end"], row["tid"], row["comm"])
        for row in ours.rows
        if row["kind"] in ("populate", "free")
    ] == probed
    assert len(ours.of("warn", "point")) == int(storm.text("warn_count")) == len(probed)
    assert storm.exit_code("past") == 1
    text = storm.text("past.text")
    assert "1536 of the WARNs and Oopses were in the kernel log before this recording" in text
    assert "never proves a machine clean" in text
    left_nothing(storm, "past")


@pytest.mark.xdist_group("storm-once")
def test_warn_once_hits_are_more_than_warnings(
    lab: Lab, lab_kernel: Callable[[str], Kernel]
) -> None:
    boot = lab.boot(lab_kernel("6.1-once"), "once.sh")
    ours = same_calls(boot, "storm")
    assert sections(ours, "callsite") == SECTIONS
    assert len(ours.of("warn")) == boot.warns("storm") == 2
    text = boot.text("storm.text")
    assert "256 of 256 calls outside" in text
    assert "254 suppressed" in text
    left_nothing(boot, "storm")
