# SPDX-License-Identifier: GPL-2.0-only
"""Where start and end are at a WARN, on every kernel there is here, by two witnesses."""

from pathlib import Path

import pytest

from tests.kernels.files import KERNELS
from tracers.constants.dataflow.parameters import CODE, DWARF, Places, warn_places
from tracers.constants.image.kernel_image import open_kernel

DATA = Path(__file__).parent / "data"
FULL = Path(__file__).parents[4] / "../shared/lab"


def places(path: Path) -> Places:
    with open_kernel(path) as image:
        return warn_places(image)


#: Read by eye from objdump's output of each: function, offset of its window's WARN, file:line,
#: registers of start, of end.
KNOWN = {
    "lab-6.1.192-39bit-4k": {
        ("vmemmap_populate", 0x40, "arch/arm64/mm/mmu.c:1222", (19,), (1, 22)),
        ("vmemmap_free", 0x64, "arch/arm64/mm/mmu.c:1268", (19,), (1, 20)),
    },
    "lab-6.12.117-48bit-4k": {
        ("vmemmap_populate", 0x54, "arch/arm64/mm/mmu.c:1207", (0,), (1,)),
        ("vmemmap_free", 0x6C, "arch/arm64/mm/mmu.c:1222", (19,), (1, 20)),
    },
    "debian-5.10.0-32-48bit-4k": {
        ("vmemmap_free", 0x74, "arch/arm64/mm/mmu.c:1191", (19,), (1, 20)),
    },
    "debian-7.2.13-4k": {
        ("vmemmap_populate", 0x60, "arch/arm64/mm/mmu.c:1793", (0,), (1,)),
        ("vmemmap_free", 0x5C, "arch/arm64/mm/mmu.c:1808", (0,), (1,)),
    },
    "clang-6.12.117-lto-kasan": {
        ("vmemmap_populate", 0x5C, "arch/arm64/mm/mmu.c:1207", (0,), (1,)),
        ("vmemmap_free", 0x70, "arch/arm64/mm/mmu.c:1222", (0, 19), (1, 20)),
    },
}


@pytest.mark.parametrize("name", KNOWN)
def test_the_registers_of_real_kernels(name: str):
    found = places(KERNELS / f"{name}.elf")
    guards = {
        (place.function, place.offset, place.site, place.start, place.end)
        for place in found.places
        if place.bounds
    }
    assert guards == KNOWN[name]
    assert {place.ways for place in found.places} == {(CODE,)}  # cut down: no DWARF in these
    assert found.problems == ()


@pytest.mark.parametrize("path", sorted(KERNELS.glob("*.elf")), ids=lambda path: path.stem)
def test_every_warn_has_both_arguments_in_registers(path: Path):
    """What the proof by arithmetic rests on (tracers.logs.dmesg.register_pairs)."""
    found = places(path)
    assert found.problems == ()
    sites = {place.site for place in found.places}
    assert len(found.places) == len(sites) == (1 if "5.10" in path.stem else 3)
    for place in found.places:
        assert place.start
        assert place.end
        assert not {*place.start} & {*place.end}
    # Of vmemmap_populate's two WARNs one checks the window, the other a section's size.
    assert sum(place.bounds is None for place in found.places) == (0 if len(sites) == 1 else 1)


@pytest.mark.parametrize("name", ["dwarf-4", "dwarf-5"])
def test_both_witnesses_on_what_gcc_made(name: str):
    found = places(DATA / f"{name}.elf")
    assert {
        (place.function, place.offset, place.start, place.end, place.ways) for place in found.places
    } == {
        ("vmemmap_populate", 0x1C, (0,), (1,), (CODE, DWARF)),
        ("vmemmap_free", 0x60, (19,), (1, 20), (CODE, DWARF)),
    }
    assert {place.bounds for place in found.places} == {(0xFFFFFDFFC0000000, 0xFFFFFFFFC0000000)}


def test_witnesses_that_contradict_each_other_are_none(tmp_path: Path):
    data = (DATA / "dwarf-5.elf").read_bytes()
    # DW_OP_reg19 in the location lists (a length of 1 before it) becomes DW_OP_reg21.
    assert data.count(b"\x01\x63") > 0
    path = tmp_path / "vmlinux"
    path.write_bytes(data.replace(b"\x01\x63", b"\x01\x65"))
    found = places(path)
    assert [place.function for place in found.places] == ["vmemmap_populate"]
    assert [problem.split(": ")[0] for problem in found.problems] == ["vmemmap_free+0x60"]
    assert found.problems[0].endswith("location lists contradict each other")


def test_where_the_code_does_not_say_the_location_lists_do(tmp_path: Path):
    data = (DATA / "dwarf-4.elf").read_bytes()
    # vmemmap_free's "mov x19, x0" becomes "ldr x19, [x0]": whatever it holds, not start.
    patched = data.replace(b"\xf3\x03\x00\xaa", b"\x13\x00\x40\xf9")
    assert patched != data
    path = tmp_path / "vmlinux"
    path.write_bytes(patched)
    free = next(place for place in places(path).places if place.function == "vmemmap_free")
    assert (free.start, free.end, free.ways, free.bounds) == ((19,), (1,), (DWARF,), None)


def test_a_kernel_without_names_says_so(tmp_path: Path):
    data = (KERNELS / "lab-6.1.192-39bit-4k.elf").read_bytes()
    path = tmp_path / "vmlinux"
    path.write_bytes(data.replace(b"\0vmemmap_free\0", b"\0vmemmap_frei\0"))
    found = places(path)
    assert {place.function for place in found.places} == {"vmemmap_populate"}
    assert found.problems == ("vmemmap_free is not in vmlinux, or it names no functions",)


@pytest.mark.skipif(not FULL.is_dir(), reason="the lab's whole vmlinux is not here")
def test_dwarf_and_code_agree_on_the_whole_6_1():
    found = places(FULL / "vmlinux-6.1.zst")
    assert {place.ways for place in found.places} == {(CODE, DWARF)}
    guards = {place.function: (place.start, place.end) for place in found.places if place.bounds}
    assert guards == {"vmemmap_populate": ((19,), (1, 22)), "vmemmap_free": ((19,), (1, 20))}
