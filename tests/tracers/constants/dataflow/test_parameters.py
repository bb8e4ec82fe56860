# SPDX-License-Identifier: GPL-2.0-only
"""Where start and end are at a WARN, on every kernel there is here, from two sources."""

from pathlib import Path

import pytest

from tests.kernels.files import KERNELS
from tracers.constants.dataflow.parameters import (
    CODE,
    DWARF,
    KernelParameterLocations,
    parameter_locations,
)
from tracers.constants.image.kernel_image import open_kernel

DATA = Path(__file__).parent / "data"
FULL = Path(__file__).parents[4] / "../shared/lab"


def locations(path: Path) -> KernelParameterLocations:
    with open_kernel(path) as image:
        return parameter_locations(image)


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
    located = locations(KERNELS / f"{name}.elf")
    guards = {
        (warn.function, warn.offset, warn.site, warn.start, warn.end)
        for warn in located.warns
        if warn.bounds
    }
    assert guards == KNOWN[name]
    assert {warn.known_by for warn in located.warns} == {(CODE,)}  # cut down: no DWARF in these
    assert located.problems == ()


@pytest.mark.parametrize("path", sorted(KERNELS.glob("*.elf")), ids=lambda path: path.stem)
def test_every_warn_has_both_arguments_in_registers(path: Path):
    """The arithmetic of tracers.logs.dmesg.register_pairs relies on this."""
    located = locations(path)
    assert located.problems == ()
    sites = {warn.site for warn in located.warns}
    assert len(located.warns) == len(sites) == (1 if "5.10" in path.stem else 3)
    for warn in located.warns:
        assert warn.start
        assert warn.end
        assert not {*warn.start} & {*warn.end}
    # Of vmemmap_populate's two WARNs one checks the window, the other a section's size.
    assert sum(warn.bounds is None for warn in located.warns) == (0 if len(sites) == 1 else 1)


@pytest.mark.parametrize("name", ["dwarf-4", "dwarf-5"])
def test_both_sources_on_what_gcc_made(name: str):
    located = locations(DATA / f"{name}.elf")
    assert {
        (warn.function, warn.offset, warn.start, warn.end, warn.known_by) for warn in located.warns
    } == {
        ("vmemmap_populate", 0x1C, (0,), (1,), (CODE, DWARF)),
        ("vmemmap_free", 0x60, (19,), (1, 20), (CODE, DWARF)),
    }
    assert {warn.bounds for warn in located.warns} == {(0xFFFFFDFFC0000000, 0xFFFFFFFFC0000000)}


def test_sources_that_contradict_each_other_are_none(tmp_path: Path):
    data = (DATA / "dwarf-5.elf").read_bytes()
    # DW_OP_reg19 in the location lists (a length of 1 before it) becomes DW_OP_reg21.
    assert data.count(b"\x01\x63") > 0
    path = tmp_path / "vmlinux"
    path.write_bytes(data.replace(b"\x01\x63", b"\x01\x65"))
    located = locations(path)
    assert [warn.function for warn in located.warns] == ["vmemmap_populate"]
    assert [problem.split(": ")[0] for problem in located.problems] == ["vmemmap_free+0x60"]
    assert located.problems[0].endswith("location lists contradict each other")


def test_where_the_code_does_not_say_the_location_lists_do(tmp_path: Path):
    data = (DATA / "dwarf-4.elf").read_bytes()
    # vmemmap_free's "mov x19, x0" becomes "ldr x19, [x0]": whatever it holds, not start.
    patched = data.replace(b"\xf3\x03\x00\xaa", b"\x13\x00\x40\xf9")
    assert patched != data
    path = tmp_path / "vmlinux"
    path.write_bytes(patched)
    free = next(warn for warn in locations(path).warns if warn.function == "vmemmap_free")
    assert (free.start, free.end, free.known_by, free.bounds) == ((19,), (1,), (DWARF,), None)


def test_a_kernel_without_names_says_so(tmp_path: Path):
    data = (KERNELS / "lab-6.1.192-39bit-4k.elf").read_bytes()
    path = tmp_path / "vmlinux"
    path.write_bytes(data.replace(b"\0vmemmap_free\0", b"\0vmemmap_frei\0"))
    located = locations(path)
    assert {warn.function for warn in located.warns} == {"vmemmap_populate"}
    assert located.problems == ("vmemmap_free is not in vmlinux, or it names no functions",)


@pytest.mark.skipif(not FULL.is_dir(), reason="the lab's whole vmlinux is not here")
def test_dwarf_and_code_agree_on_the_whole_6_1():
    located = locations(FULL / "vmlinux-6.1.zst")
    assert {warn.known_by for warn in located.warns} == {(CODE, DWARF)}
    guards = {warn.function: (warn.start, warn.end) for warn in located.warns if warn.bounds}
    assert guards == {"vmemmap_populate": ((19,), (1, 22)), "vmemmap_free": ((19,), (1, 20))}
