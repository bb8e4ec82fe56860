# SPDX-License-Identifier: GPL-2.0-only
"""What tells how a kernel looks for a free region, and in which order it is believed."""

import json

import pytest

from tests.recordings.plain import read_note
from tracers.formulas import WindowError
from tracers.machine import read_machine
from tracers.region_search import Search, by_files
from tracers.window import window_from_facts

LAB, NEW = "6.1.192-vmemlab-39bit", "6.12.117-vmemlab-48bit"


@pytest.mark.parametrize(("name", "last"), [(LAB, (1 << 48) - 1), (NEW, None)])
def test_the_lab_s_files_tell(captures, name, last):
    machine = read_machine(captures / name)
    search = machine.search
    assert search.physmem_bits == 48  # its note says NUMBER(MAX_PHYSMEM_BITS)=48
    assert search.origins["physmem_bits"] == "vmcoreinfo"
    if last is None:  # __pa(PAGE_END - 1) of 48 bits: 2^47 behind memstart_addr
        memstart = read_note(captures / name / "kcore-vmcoreinfo").memstart
        last = (memstart + (1 << 47) - 1) % 2**64
    assert search.last(machine.window) == last
    assert (search.capped, search.by_size) == (name == NEW, name == LAB)
    assert search.origins["capped"] == "release"


@pytest.mark.parametrize(
    ("release", "capped", "by_size"),
    [
        ("5.10.223", False, True),
        ("6.1.192", False, True),
        ("6.6.10", False, None),  # 659aa050a538 came with 6.6.11
        ("6.6.11", False, False),
        ("6.7.4", False, None),
        ("6.11.0", False, False),
        ("6.12.117", True, False),
        ("7.3-rc1", True, False),
        ("4.19.0-26-arm64", False, True),
        ("vendor", None, None),
        (None, None, None),
    ],
)
def test_a_release_decides_where_nothing_else_tells(release, capped, by_size):
    search = Search().completed(release)
    assert (search.capped, search.by_size) == (capped, by_size)
    told = Search().told("code", capped=False, by_size=True).completed(release)
    assert (told.capped, told.by_size) == (False, True)
    assert told.origins == {"capped": "code", "by_size": "code"}


def test_files():
    notes, config = {"NUMBER(MAX_PHYSMEM_BITS)": "52"}, {"CONFIG_ARM64_PA_BITS": "48"}
    assert by_files(notes, config).physmem_bits == 52
    assert by_files({}, config).physmem_bits == 48
    assert by_files({}, {"CONFIG_RANDOMIZE_BASE": "n"}).seeded is False
    assert by_files({}, {"CONFIG_RANDOMIZE_BASE": "y"}).seeded is None  # 6.16 has it for the image
    for odd in ("", "99", "0x30", "9" * 5000):
        assert by_files({"NUMBER(MAX_PHYSMEM_BITS)": odd}, {}).physmem_bits is None


def test_what_is_not_known_is_said():
    window = window_from_facts(
        {"va_bits": 48, "page_size": 4096, "struct_page": 64, "memstart": 0}, release="6.1"
    )
    with pytest.raises(WindowError, match="no release"):
        Search().last(window)
    with pytest.raises(WindowError, match="MAX_PHYSMEM_BITS"):
        Search(capped=False).last(window)


def test_it_survives_a_header():
    search = Search(True, False, 48, None, True, {"capped": "code"})
    assert Search.from_dict(json.loads(json.dumps(search.to_dict()))) == search
    for stored in ({}, {"capped": 1, "physmem_bits": "48", "origins": []}, {"physmem_bits": True}):
        assert Search.from_dict(stored) == Search()
