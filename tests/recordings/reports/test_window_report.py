# SPDX-License-Identifier: GPL-2.0-only
"""The JSON of a window: its keys, and that numbers survive as the kernel writes them."""

import json

from recordings.reports.window_report import WindowReport, side_by_side, window_dict
from tests.recordings.windows import HOSTILE, debian, hostile, report, seattle, torn, window

KEYS = {
    "start", "end", "va_bits", "page_size", "struct_page", "release", "methods", "warn_sites",
    "layout", "provenance", "problems", "missing", "cover",
}  # fmt: skip


def through(told: dict) -> dict:
    return json.loads(json.dumps(told, allow_nan=False))


def test_the_keys_are_there_whatever_is_known() -> None:
    for each in (seattle(), debian(), torn(), hostile(), WindowReport("x")):
        assert set(through(window_dict(each))) >= KEYS
    assert set(through(side_by_side({"a": seattle(), "b": torn()}))) >= KEYS


def test_the_mail() -> None:
    told = through(window_dict(seattle((0xC0_0000_0000, 0xC4_0000_0000))))
    assert (told["start"], told["end"]) == ("0xfffffffe00000000", "0xffffffff00000000")
    assert (told["size"], told["page_offset"]) == (1 << 32, "0xffffff8000000000")
    assert (told["va_bits"], told["page_size"], told["struct_page"]) == (39, 4096, 64)
    assert told["vmemmap"] == "0xfffffffc00000000"
    assert told["phys"] == {"start": "0x8000000000", "end": "0xc000000000"}
    assert [(s["pfn"], s["regime"]) for s in told["pfns"]] == [
        ("0x0", "below"),
        ("0x8000000", "inside"),
        ("0xc000000", "above"),
        ("0x10000000", "wrapped"),
    ]
    cover = told["cover"]
    assert cover["covered"] is False
    assert cover["start_page"] == "0xffffffff00000000"
    assert cover["needed"]["more"] == 256 << 20
    assert cover["needed"]["from_vmalloc"] == 0
    assert [choice["va_bits"] for choice in cover["va_bits"]] == [48]
    assert cover["lpa2"] is False


def test_methods_and_sites() -> None:
    told = through(window_dict(debian()))
    assert told["release"] == "6.1.0-56-arm64"
    assert told["agree"] is True
    assert told["methods"]["code:vmemmap_free"] == {
        "start": "0xfffffc0000000000",
        "end": "0xfffffe0000000000",
        "va_bits": None,
        "page_size": None,
        "struct_page": None,
        "detail": "what code:vmemmap_free rests on",
    }
    assert told["warn_sites"][0] == {
        "site": "arch/arm64/mm/mmu.c:1222",
        "function": "vmemmap_populate",
        "once": True,
        "address": "0xffff800008001000",
    }
    assert told["missing"] == {"vmcoreinfo": "no running kernel was asked"}
    assert told["probeable"] == {"vmemmap_free": "traceable", "vmemmap_populate": "notrace"}
    assert told["phys"] is None  # memstart is not known
    assert told["cover"] is None


def test_a_contradiction_keeps_both() -> None:
    told = through(window_dict(torn()))
    assert told["agree"] is False
    starts = [found["start"] for found in told["methods"].values()]
    assert starts == ["0xfffffc0000000000", "0xfffffdffc0000000", "0xfffffc0000000000"]
    assert told["methods"]["code:vmcoreinfo"]["end"] is None
    assert not torn().conclusive
    assert not WindowReport("x").conclusive
    assert debian().conclusive


def test_the_part_in_use() -> None:
    small = report(window("6.12", va_bits=52, vabits_actual=48))
    used = through(window_dict(small))["used"]
    assert used == {"start": "0xfffffdffc0000000", "end": "0xffffffffc0000000"}
    # PAGE_OFFSET is a constant of the build, whatever the CPU
    assert through(window_dict(small))["page_offset"] == "0xfff0000000000000"
    unknown = report(window("6.12", va_bits=52))
    assert through(window_dict(unknown))["used"] is None
    assert through(window_dict(unknown))["upper_space"] == 128 << 40


def test_nothing_known_is_null() -> None:
    told = through(window_dict(WindowReport("x", missing={"vmcoreinfo": "why"})))
    for key in ("start", "end", "va_bits", "size", "vmemmap", "layout", "cover", "phys"):
        assert told[key] is None
    assert told["methods"] == {}
    assert told["pfns"] == []


def test_text_of_files_stands_as_it_is() -> None:
    told = through(window_dict(hostile()))
    assert told["release"] == HOSTILE
    assert told["methods"][HOSTILE]["detail"] == HOSTILE


def test_side_by_side_has_each_family_whole() -> None:
    told = through(side_by_side({"5.11-6.8": seattle(), "6.9+": report(window("6.12"))}))
    assert told["start"] is None
    assert told["va_bits"] == 39
    assert told["families"]["5.11-6.8"]["start"] == "0xfffffffe00000000"
    assert told["families"]["6.9+"]["start"] == "0xfffffffec0000000"
    assert told["missing"] == {"release": "not given"}
