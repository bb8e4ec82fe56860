# SPDX-License-Identifier: GPL-2.0-only
"""6.12, where every function takes an entry kprobe; and the kernel's own HMM test driver."""

from collections.abc import Callable

import pytest

from tests.lab.compare import SECTION_PAGES, left_nothing, same_calls, sections
from tests.lab.harness import Boot, Kernel, Lab

SECTIONS = [(0x2000000 + number * SECTION_PAGES, SECTION_PAGES) for number in range(16)]


@pytest.fixture(scope="module")
def entry(lab: Lab, lab_kernel: Callable[[str], Kernel]) -> Boot:
    return lab.boot(lab_kernel("6.12"), "6.12.sh", timeout_s=600)


@pytest.mark.parametrize(
    ("scene", "source"),
    [
        ("in-range-tracefs", "kprobe"),
        ("in-range-bcc", "fentry"),
        ("in-range-tracefs-callsite", "callsite"),
        ("in-range-tracefs-breakpoint", "breakpoint"),
        ("in-range-tracefs-derived", "derived"),
    ],
)
def test_in_range(entry: Boot, scene: str, source: str) -> None:
    ours = same_calls(entry, scene)
    if source == "derived":
        assert ours.of("section_add", None) == []
    else:
        assert sections(ours, source) == SECTIONS
    assert {row["source"] for row in ours.rows if row["kind"] == "populate"} == {source}
    assert entry.exit_code(scene) == 0
    left_nothing(entry, scene)


def test_hmm_loads(entry: Boot) -> None:
    ours = same_calls(entry, "hmm")
    assert len(sections(ours, "kprobe")) == 4
    assert entry.exit_code("hmm") == 0


def test_doctor(entry: Boot) -> None:
    assert entry.exit_code("doctor") == 0
    left_nothing(entry, "doctor")
