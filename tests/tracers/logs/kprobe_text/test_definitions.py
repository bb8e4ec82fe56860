# SPDX-License-Identifier: GPL-2.0-only
"""kprobe_events as the lab kernels wrote them."""

from pathlib import Path

from tracers.logs.kprobe_text.definitions import (
    ProbeLocation,
    read_kprobe_events,
    read_probe_locations,
)


def test_the_61_kernel_rejected_the_meminit_functions(captures: Path) -> None:
    text = (captures / "6.1.192-vmemlab-39bit" / "kprobe_events").read_text()
    assert read_kprobe_events(text) == {
        "vmemmap_free": "entry+return",
        "__warn": "entry+return",
        "__add_pages": "entry+return",
        "__remove_pages": "entry+return",
        "memremap_pages": "entry+return",
        "memunmap_pages": "entry+return",
    }


def test_the_612_kernel_took_them(captures: Path) -> None:
    text = (captures / "6.12.117-vmemlab-48bit" / "kprobe_events").read_text()
    probes = read_kprobe_events(text)
    assert probes["vmemmap_populate"] == probes["sparse_add_section"] == "entry+return"


def test_a_place_inside_a_function_is_not_its_entry() -> None:
    assert read_kprobe_events("p:k/x __add_pages+0xa8\np:k/y mod:f\n# p:k/z __warn\n") == {}
    assert read_kprobe_events("r:k/x section_deactivate.isra.0\n") == {
        "section_deactivate.isra.0": "return"
    }


def test_what_each_event_is_on(captures: Path) -> None:
    text = (captures / "6.1.192-vmemlab-39bit" / "kprobe_events").read_text()
    locations = read_probe_locations(text)
    assert locations["add_pages"] == locations["add_pages_ret"] == ProbeLocation("__add_pages")
    assert len(locations) == 12


def test_a_name_that_tells_no_place_is_left_out() -> None:
    assert read_probe_locations(
        "p:k/a f+0x8 x=%x0\n"
        "p:k/b m:f\n"
        "p:probe/c _text+165520 start=%x0:x64\n"  # as perf probe has it
        "p:k/d f\n"
        "p:k/d g\n"
        "p f\n"
        "r10:k/e section_deactivate.isra.0\n"
        "nonsense\n"
    ) == {
        "a": ProbeLocation("f", 8),
        "b": ProbeLocation("m:f"),
        "e": ProbeLocation("section_deactivate.isra.0"),
    }
