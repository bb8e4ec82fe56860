# SPDX-License-Identifier: GPL-2.0-only
"""The JSON: its keys and types, and its figures against the kernels' text."""

import json

import pytest

from recordings.format.header import Header
from recordings.ledger.ledger import Ledger
from recordings.reports.recording_json import report_dict
from tests.recordings import plain
from tracers.batch import Losses
from tracers.machine import Machine, read_machine

HOSTILE = '\x1b]0;x\x07[bold]"\u202e'
NUMBER, TEXT, MAYBE = int, str, (int, type(None))
MAYBE_TEXT = (str, type(None))
OPERATION = {
    "kind": TEXT, "pid": MAYBE, "tid": MAYBE, "comm": MAYBE_TEXT, "start_ns": NUMBER,
    "duration_ns": MAYBE, "pfn": MAYBE, "nr_pages": MAYBE, "sections": NUMBER, "derived": NUMBER,
    "hits": NUMBER, "warnings": NUMBER, "warn_ns": NUMBER, "warn_share": (float, type(None)),
}  # fmt: skip
TIMING = dict.fromkeys(("count", "total_ns", "min_ns", "max_ns", "p50_ns", "p99_ns"), NUMBER)
TIMING |= {"bins": [[NUMBER]]}
SCHEMA = {
    "kernel": TEXT,
    "build_id": TEXT,
    "window": dict.fromkeys(("start", "end", "memstart"), TEXT)
    | dict.fromkeys(("va_bits", "page_size", "struct_page"), NUMBER)
    | {"provenance": dict},
    "verdict": TEXT,
    "verdict_reasons": [TEXT],
    "events": NUMBER,
    "first_ns": MAYBE,
    "last_ns": MAYBE,
    "calls": {"populate": NUMBER, "free": NUMBER},
    "derived": NUMBER,
    "hits": NUMBER,
    "would_warn": NUMBER,
    "suppressed": NUMBER,
    "regimes": dict.fromkeys(
        ("inside", "below", "above", "wrapped", "straddling", "unknown"), NUMBER
    ),
    "extents": [
        {
            "start": TEXT,
            "end": TEXT,
            "regime": TEXT,
            "lands_on": MAYBE_TEXT,
            "populate": NUMBER,
            "free": NUMBER,
            "ranges": NUMBER,
        }
    ],
    "extents_total": NUMBER,
    "sections": NUMBER,
    "warnings": {
        "total": NUMBER,
        "total_ns": NUMBER,
        "sites": [{"site": TEXT, "count": NUMBER, "total_ns": NUMBER, "untimed": NUMBER}],
    },
    "section_add_reason": MAYBE_TEXT,
    "timing_error": float,
    "operations": [OPERATION],
    "operations_total": NUMBER,
    "pairing": dict.fromkeys(
        ("paired", "never_freed", "never_populated", "populated_twice"), NUMBER
    ),
    "unfinished": [{"kind": TEXT, "ts_ns": NUMBER, "tid": MAYBE, "comm": MAYBE_TEXT}],
    "unfinished_total": NUMBER,
    "orphan_exits": NUMBER,
    "losses": dict.fromkeys(Losses.__slots__, NUMBER),
    "probes": dict,
    "origin": dict,
    "problems": [TEXT],
    "notes": [TEXT],
    "closing_notes": [TEXT],
}


def check(value, schema, path="report"):
    if isinstance(schema, dict):
        assert isinstance(value, dict), path
        assert schema.keys() <= value.keys(), path
        for key, part in schema.items():
            check(value[key], part, f"{path}.{key}")
    elif isinstance(schema, list):
        assert isinstance(value, list), path
        for item in value:
            check(item, schema[0], f"{path}[]")
    else:
        assert isinstance(value, schema), path
        assert not isinstance(value, bool), path


def reported(captures, kernel, scene):
    """The report of a capture, through JSON and back."""
    machine = read_machine(captures / kernel)
    rows = plain.read_trace(captures / kernel / f"{scene}.ftrace.txt")
    if all(row["kind"] != "populate" for row in rows):
        rows = plain.derived(rows, plain.read_note(captures / kernel / "kcore-vmcoreinfo"))
    ledger = Ledger(machine.window, machine.layout)
    ledger.fold(plain.batch(rows))
    report = report_dict(Header(machine=machine), ledger.snapshot(final=True))
    return rows, json.loads(json.dumps(report, allow_nan=False))


def test_the_storm(captures):
    rows, report = reported(captures, "6.1.192-vmemlab-39bit", "hole")
    check(report, SCHEMA)
    assert report["kernel"] == "6.1.192-vmemlab"
    assert report["window"]["start"] == "0xfffffffe00000000"
    assert report["window"]["end"] == "0xffffffff00000000"
    assert report["calls"] == {"populate": 128, "free": 128}
    assert report["hits"] == report["regimes"]["above"] == 256
    assert report["extents"][0]["ranges"] == len(
        {row["start"] for row in rows if row["kind"] == "free" and row["phase"] == "entry"}
    )
    assert report["verdict"] == "out-of-range"
    # the kernel's own text: each warn line's time to the next line of its thread, summed
    cost = dict.fromkeys((1222, 1268), 0)
    began = {}
    for row in rows:
        if row["kind"] == "warn" and row["phase"] == "entry":
            began[row["tid"]] = row["ts_ns"], row["line"]
        elif row["kind"] == "warn":
            ts, line = began.pop(row["tid"])
            cost[line] += row["ts_ns"] - ts
    sites = {site["site"]: site for site in report["warnings"]["sites"]}
    for line in (1222, 1268):
        site = sites[f"arch/arm64/mm/mmu.c:{line}"]
        assert (site["count"], site["total_ns"]) == (128, cost[line])
    assert report["warnings"]["total"] == 256
    assert report["warnings"]["total_ns"] == sum(cost.values()) == 119_901_000
    assert report["section_add"] is None
    assert "__add_pages timing is given instead" in report["section_add_reason"]
    assert report["timings"]["__add_pages"]["total_ns"] == 57_168_000
    first = report["operations"][0]
    assert (first["kind"], first["pid"], first["comm"]) == ("memremap_pages", 68, "insmod")
    assert first["warn_share"] == pytest.approx(cost[1222] / first["duration_ns"])


def test_in_range(captures):
    _, report = reported(captures, "6.12.117-vmemlab-48bit", "in-range")
    check(report, SCHEMA | {"section_add": TIMING})
    assert report["section_add"]["count"] == 16
    assert report["section_add"]["total_ns"] == 1_352_000
    assert report["section_add_reason"] is None
    assert report["verdict"] == "clean"
    assert report["losses"] == dict.fromkeys(Losses.__slots__, 0)


def test_nothing_known_is_null_with_a_reason():
    ledger = Ledger(None, None)
    ledger.add_losses(Losses(torn=1))
    report = report_dict(Header(machine=Machine()), ledger.snapshot(final=True))
    text = json.dumps(report, allow_nan=False)
    assert json.loads(text) == report
    assert (report["kernel"], report["window"], report["section_add"]) == (None, None, None)
    assert report["verdict"] == "inconclusive"
    assert len(report["verdict_reasons"]) == 3  # torn, no window, no calls
    assert report["losses"]["torn"] == 1


def test_a_kernels_text_stays_as_it_is():
    rows = [
        {"ts_ns": 1, "kind": "memremap", "phase": "entry", "tid": 1, "comm": HOSTILE,
         "source": "kprobe"},
        {"ts_ns": 2, "kind": "warn", "phase": "entry", "tid": 1, "site": HOSTILE, "line": 5,
         "source": "kprobe"},
    ]  # fmt: skip
    ledger = Ledger(None, None)
    ledger.fold(plain.batch(rows))
    text = json.dumps(report_dict(Header(machine=Machine()), ledger.snapshot()))
    assert text.isprintable()
    report = json.loads(text)
    assert report["operations"][0]["comm"] == HOSTILE
    assert report["warnings"]["sites"][0]["site"] == f"{HOSTILE}:5"
    assert report["warnings"]["sites"][0]["untimed"] == 1
    assert report["unfinished_total"] == 2


def test_closing_notes_are_in_the_json_as_they_are():
    snapshot = Ledger(None, None).snapshot(final=True)
    header = Header(machine=Machine())
    assert report_dict(header, snapshot)["closing_notes"] == []
    told = report_dict(header, snapshot, closing=("warn_count 2", HOSTILE))["closing_notes"]
    assert json.loads(json.dumps(told)) == ["warn_count 2", HOSTILE]
