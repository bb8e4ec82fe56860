# SPDX-License-Identifier: GPL-2.0-only
"""The rungs in one line: the texts are those of ``tracers.live`` and of the importers."""

import pytest

from recordings.reports.probe_summary import rung, summary, watching


@pytest.mark.parametrize(
    ("how", "word"),
    [
        ("kprobe entry+return", "kprobe"),
        ("callsite entry+return (bl at __add_pages+0x90)", "callsite"),
        ("breakpoint entry; no return: slots are used up", "breakpoint"),
        ("derived from __add_pages (kprobe: notrace)", "derived"),
        ("no: kprobe: notrace; callsite: not found", "not seen"),
        ("log: calls whose WARN fired, from the kernel log; not timed", "log"),
        ("absent: this kernel has no such function (CONFIG_ZONE_DEVICE=n)", "absent"),
        ("", "not seen"),
        ("entry+return", "kprobe"),
        ("return", "kprobe"),
        ("kprobes are nice", "not seen"),
    ],
)
def test_rung(how, word):
    assert rung(how) == word


def test_summary_names_what_is_not_plain():
    probes = {
        "vmemmap_populate": "breakpoint entry",
        "vmemmap_free": "kprobe entry+return",
        "sparse_add_section": "callsite entry+return (bl at __add_pages+0x90)",
        "section_deactivate.isra.0": "no: kprobe: gone",
        "__warn": "kprobe entry+return",
    }
    assert summary(probes) == (
        "vmemmap_populate: breakpoint, sparse_add_section: callsite, "
        "sparse_remove_section: not seen, all others: kprobe"
    )
    assert summary({"__warn": "kprobe entry"}) == "all: kprobe"
    assert summary({"__warn": "kprobe entry", "memremap_pages": "absent: no such function"}) == (
        "memremap_pages: absent, all others: kprobe"
    )
    assert summary({"x\x1b[0m": "no: y"}) == r"x\x1b[0m: not seen"
    assert summary({}) == "none"


@pytest.mark.parametrize(
    ("probes", "said"),
    [
        ({"vmemmap_free": "kprobe entry+return", "__warn": "no: refused"}, "probes on"),
        ({"vmemmap_free": "log: x", "__add_pages": "no: x"}, "reading the kernel log, no probes"),
        ({"vmemmap_free": "log: x", "__warn": "kprobe entry"}, "probes on"),
        ({}, "probes on"),
    ],
)
def test_what_is_said_when_a_capture_begins(probes, said):
    assert watching(probes) == said
