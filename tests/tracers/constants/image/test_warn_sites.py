# SPDX-License-Identifier: GPL-2.0-only
"""WARN sites and traceability: what the kernels themselves printed, and what they let us probe."""

import re
import struct
from pathlib import Path

import pytest

from tests.kernels.files import LAB, kernel
from tracers.constants.image.kernel_image import open_kernel
from tracers.constants.image.warn_sites import probeable, warn_sites

#: kernel -> lines of vmemmap_populate's range check, its check of one section (once), and of
#: vmemmap_free's: from the sources of those releases; the lab kernels print the same.
LINES = {
    "debian-6.1.0-56-48bit-4k": (1222, 1224, 1268),
    "debian-6.12.117-52bit-4k": (1207, 1209, 1222),
    "debian-6.12.117-16k": (1207, 1209, 1222),
    "lab-6.1.192-39bit-4k": (1222, 1224, 1268),
    "lab-6.12.117-48bit-4k": (1207, 1209, 1222),
    "clang-6.12.117-64k": (1207, 1209, 1222),
    "clang-6.12.117-lto-kasan": (1207, 1209, 1222),
    "debian-7.2.13-4k": (1793, 1795, 1808),
    "debian-7.2.13-16k": (1793, 1795, 1808),
}
FILE = "arch/arm64/mm/mmu.c"


@pytest.mark.parametrize("name", LINES)
def test_the_three_sites_of_the_vmemmap(name):
    with open_kernel(kernel(name)) as image:
        found = warn_sites(image, ["vmemmap_populate", "vmemmap_free"])
    first, second, free = LINES[name]
    assert {(site.function, site.site, site.once) for site in found} == {
        ("vmemmap_populate", f"{FILE}:{first}", False),
        ("vmemmap_populate", f"{FILE}:{second}", True),
        ("vmemmap_free", f"{FILE}:{free}", False),
    }


def test_before_5_19_and_without_a_check_in_populate():
    with open_kernel(kernel("debian-5.10.0-32-48bit-4k")) as image:
        found = warn_sites(image, ["vmemmap_populate", "vmemmap_free"])
    assert [(site.function, site.site, site.once) for site in found] == [
        ("vmemmap_free", f"{FILE}:1191", False)
    ]


def test_the_sites_are_where_the_kernel_warned(captures):
    """The lab kernel (no KASLR) traced __warn: its caller is the address of the brk."""
    printed = (captures / "6.1.192-vmemlab-39bit" / "hole.ftrace.txt").read_text()
    warned = {
        (f"{file}:{line}", int(caller, 16))
        for file, line, caller in re.findall(r'file="(\S+)" line=(\d+) caller=(0x\w+)', printed)
    }
    assert {site for site, _ in warned} == {f"{FILE}:1222", f"{FILE}:1268"}
    with open_kernel(kernel(LAB)) as image:
        assert warned <= {(site.site, site.va) for site in warn_sites(image)}


@pytest.mark.parametrize("name", LINES)
def test_every_site_is_a_brk(name):
    with open_kernel(kernel(name)) as image:
        found = warn_sites(image)
        for site in found:
            word = struct.unpack("<I", image.read(site.va, 4) or b"")[0]
            assert word == 0xD4210000  # brk #0x800
        assert [site.va for site in found] == sorted(site.va for site in found)


def test_all_sites_include_those_of_unwatched_functions():
    with open_kernel(kernel(LAB)) as image:
        watched, everything = warn_sites(image), warn_sites(image, None)
    assert {site.va for site in watched} < {site.va for site in everything}
    assert {site.function for site in everything} == {None}


def moved(name: str, way: int) -> bytes:
    """Return a kernel whose file_disp is relative to what it was ``way`` bytes before."""
    data = bytearray(kernel(name).read_bytes())
    with open_kernel(kernel(name)) as image:
        table = image.section("__bug_table") or b""
    at = data.index(table)
    for entry in range(at, at + len(table), 12):
        value = struct.unpack_from("<i", data, entry + 4)[0]
        struct.pack_into("<i", data, entry + 4, value + way)
    return bytes(data)


@pytest.mark.parametrize(
    ("way", "known"), [(0, True), (4, True), (8, False), (-4, False), (1, False)]
)
def test_both_encodings_of_the_file_name_and_no_third(tmp_path, way, known):
    """Relative to the entry through 5.18: 4 more than relative to the field, since 5.19."""
    path = tmp_path / "vmlinux"
    path.write_bytes(moved(LAB, way))
    with open_kernel(kernel(LAB)) as image:
        expected = warn_sites(image)
    with open_kernel(path) as image:
        assert warn_sites(image) == (expected if known else ())


@pytest.mark.parametrize(
    ("name", "populate"),
    [
        # __meminit was notrace until 73db3abdca58 (6.11): these lab kernels refused or took the
        # kprobe event (captures/*/kprobe_events).
        ("lab-6.1.192-39bit-4k", "notrace"),
        ("debian-6.1.0-56-48bit-4k", "notrace"),
        ("lab-6.12.117-48bit-4k", "traceable"),
        ("debian-6.12.117-52bit-4k", "traceable"),
        ("debian-7.2.13-16k", "traceable"),
    ],
)
def test_what_can_be_probed(name, populate):
    wanted = {
        "vmemmap_free": "traceable",
        "__add_pages": "traceable",
        "__remove_pages": "traceable",
        "__warn": "traceable",
        "vmemmap_populate": populate,
        "sparse_add_section": populate,
        "section_activate": "inlined or absent",
    }
    with open_kernel(kernel(name)) as image:
        assert probeable(image, wanted) == wanted


def test_without_a_list_of_entries_traceability_is_unknown(tmp_path):
    data = bytearray(kernel(LAB).read_bytes())
    with open_kernel(kernel(LAB)) as image:
        table = image.section(".rela.dyn") or b""
    at = data.index(table)
    data[at : at + len(table)] = bytes(len(table))
    path = Path(tmp_path / "vmlinux")
    path.write_bytes(data)
    with open_kernel(path) as image:
        assert probeable(image, ["vmemmap_free", "nothing"]) == {
            "vmemmap_free": "unknown",
            "nothing": "inlined or absent",
        }
