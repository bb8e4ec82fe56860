"""kprobe_events as the lab kernels wrote them."""

from pathlib import Path

from tracers.probes import read_kprobe_events


def test_the_61_kernel_refused_the_meminit_functions(captures: Path) -> None:
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
