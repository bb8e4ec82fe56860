# SPDX-License-Identifier: GPL-2.0-only
"""The text of a probe, as the dashboard, the header and doctor show it."""

import pytest

from tracers.events import Kind, Source
from tracers.live.probes.points import Probe, ProbeAddress, Rung

FUNCTION = ProbeAddress("vmemmap_populate", 0, 0xFFFFFFC0086B236C)
CALLS = (
    ProbeAddress("arch_add_memory", 0xBC, 0xFFFFFFC0080294AC),
    ProbeAddress("memremap_pages", 0x368, 0xFFFFFFC00822EC58),
)


@pytest.mark.parametrize(
    ("rung", "source"),
    [
        (Rung.KPROBE, Source.KPROBE),
        (Rung.CALLSITE, Source.CALLSITE),
        (Rung.BREAKPOINT, Source.BREAKPOINT),
        (Rung.DERIVED, Source.DERIVED),
    ],
)
def test_rows_of_a_rung_are_marked_with_its_name(rung, source):
    assert rung.source is source


@pytest.mark.parametrize(
    ("rung", "entries", "timed", "text"),
    [
        (Rung.KPROBE, (FUNCTION,), True, "kprobe entry+return"),
        (Rung.KPROBE, (FUNCTION,), False, "kprobe entry"),
        (Rung.BREAKPOINT, (FUNCTION,), False, "breakpoint entry"),
        (
            Rung.CALLSITE,
            CALLS,
            True,
            "callsite entry+return (bl at arch_add_memory+0xbc, memremap_pages+0x368)",
        ),
    ],
)
def test_a_probe_says_where_it_is_and_what_it_sees(rung, entries, timed, text):
    probe = Probe(Kind.POPULATE, rung, "vmemmap_populate", entries, timed=timed)
    assert str(probe) == text


def test_a_place_is_written_as_the_kernel_writes_it():
    assert str(FUNCTION) == "vmemmap_populate"
    assert str(CALLS[1]) == "memremap_pages+0x368"
