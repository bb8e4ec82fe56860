# SPDX-License-Identifier: GPL-2.0-only
"""Headers that claim more than any kernel: cut, said, and within the budgets from then on."""

import json

import pytest

from recordings.format.header import FORMAT, MAX_HEADER, BatchMeta, Header, RecordingError
from recordings.format.header_limits import MAX_ENTRIES, MAX_IOMEM, MAX_PARTS, MAX_TEXT
from tracers.machine import Machine

LONG = "x" * (8 << 20)


def read(**values: object) -> Header:
    return Header.from_json(json.dumps({"format": FORMAT} | values).encode())


def test_a_long_release_is_cut_and_both_it_and_the_problems_say_so():
    machine = read(machine={"release": LONG}).machine
    mark = "… (cut: 8,388,608 characters)"
    assert machine.release == "x" * (MAX_TEXT - len(mark)) + mark
    assert machine.problems == ("header: 1 text of more than 4,096 characters cut",)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"notes": [LONG]}, lambda header: header.notes[0]),
        ({"tool": LONG}, lambda header: header.tool),
        ({"origin": {"file": LONG}}, lambda header: header.origin["file"]),
        ({"origin": {LONG: "x"}}, lambda header: next(iter(header.origin))),
        ({"probes": {"vmemmap_free": LONG}}, lambda header: header.probes["vmemmap_free"]),
        ({"clock": {"name": LONG}}, lambda header: header.clock["name"]),
        ({"warn_sites": [LONG]}, lambda header: header.warn_sites[0]),
        ({"machine": {"build_id": LONG}}, lambda header: header.machine.build_id),
        ({"machine": {"sources": [LONG]}}, lambda header: header.machine.sources[0]),
        ({"machine": {"problems": [LONG]}}, lambda header: header.machine.problems[0]),
        ({"machine": {"iomem": [["0x0", "0x1", LONG]]}}, lambda h: h.machine.iomem[0][2]),
    ],
)
def test_every_text_of_a_header_has_the_budget(values, told):
    header = read(**values)
    assert len(told(header)) == MAX_TEXT
    assert told(header).endswith("(cut: 8,388,608 characters)")
    assert "header: 1 text of more" in header.machine.problems[-1]


@pytest.mark.parametrize(
    ("values", "told", "most"),
    [
        ({"notes": ["n"] * 200_000}, lambda header: header.notes, MAX_ENTRIES),
        ({"warn_sites": ["a.c:1"] * 5_000}, lambda header: header.warn_sites, MAX_ENTRIES),
        ({"probes": {str(n): "" for n in range(5_000)}}, lambda h: h.probes, MAX_ENTRIES),
        ({"origin": {str(n): "" for n in range(5_000)}}, lambda h: h.origin, MAX_ENTRIES),
        (
            {"machine": {"iomem": [["0x1", "0x2", "System RAM"]] * 20_000}},
            lambda header: header.machine.iomem,
            MAX_IOMEM,
        ),
        ({"machine": {"problems": ["p"] * 5_000}}, lambda h: h.machine.problems, MAX_ENTRIES),
        ({"machine": {"config": {str(n): "y" for n in range(5_000)}}},
         lambda header: header.machine.config, MAX_ENTRIES),
    ],
)  # fmt: skip
def test_every_list_of_a_header_has_the_budget(values, told, most):
    header = read(**values)
    assert len(told(header)) == most
    assert "left out, beyond the number that a list may have" in header.machine.problems[-1]


@pytest.mark.parametrize("opening", ["[", "[],", "{},", '"",'])
def test_more_parts_than_a_header_may_have_are_not_parsed(opening):
    rest = opening * (MAX_PARTS + 1)
    text = f'{{"format":"{FORMAT}","x":[{rest}0]}}'.encode()
    assert len(text) < MAX_HEADER
    with pytest.raises(RecordingError, match="damaged: it has more than 262144 parts"):
        Header.from_json(text)


def test_deep_nesting_is_damage():
    text = f'{{"format":"{FORMAT}","x":{"[" * 50_000}{"]" * 50_000}}}'.encode()
    with pytest.raises(RecordingError, match="damaged"):
        Header.from_json(text)


@pytest.mark.parametrize("digits", ["9" * 4000, "9" * 5000, str(1 << 64), str(-(1 << 63) - 1)])
@pytest.mark.parametrize("place", ['"created_ns":{}', '"clock":{{"offset_ns":{}}}', '"x":[{}]'])
def test_numbers_have_64_bits(place, digits):
    with pytest.raises(RecordingError, match="damaged"):
        Header.from_json(f'{{"format":"{FORMAT}",{place.format(digits)}}}'.encode())


@pytest.mark.parametrize("address", ["0x1" + "0" * 16, "-0x1", "0x" + "f" * 4000])
def test_addresses_of_memory_have_64_bits(address):
    with pytest.raises(RecordingError, match="damaged") as caught:
        read(machine={"iomem": [["0x0", address, "System RAM"]]})
    assert len(str(caught.value)) < 300


def test_what_is_written_is_within_the_budgets_and_read_as_it_is():
    machine = Machine(release=LONG, problems=("p",) * 3000, iomem=((1, 2, "x"),) * 9000)
    header = Header(machine=machine, notes=("n",) * 3000, origin={"file": LONG})
    once = Header.from_json(header.to_json())
    assert len(once.machine.problems) == MAX_ENTRIES
    assert once.machine.problems[-2:] == (
        "header: 2 texts of more than 4,096 characters cut",
        "header: 8,856 entries left out, beyond the number that a list may have",
    )
    assert Header.from_json(once.to_json()) == once


def test_a_header_within_the_budgets_is_left_alone():
    header = Header(
        machine=Machine(release="x" * MAX_TEXT, iomem=((1, 2, "x"),) * MAX_IOMEM),
        notes=("n",) * MAX_ENTRIES,
    )
    assert Header.from_json(header.to_json()) == header


@pytest.mark.parametrize("written", [True, False])
def test_closing_notes_and_reason_have_the_budgets(written):
    values = {"reason": LONG, "notes": [LONG, *["n"] * 4999]}
    meta = BatchMeta("end", reason=LONG, notes=tuple(values["notes"]))
    text = json.dumps(json.loads(BatchMeta("end").to_json()) | values).encode()
    told = BatchMeta.from_json(meta.to_json() if written else text)
    assert len(told.reason) == len(told.notes[0]) == MAX_TEXT
    assert len(told.notes) == MAX_ENTRIES
    assert told.notes[-1] == "3,977 more notes are left out"
    assert BatchMeta.from_json(told.to_json()) == told
