# SPDX-License-Identifier: GPL-2.0-only
"""Decoded records, compared with the kernel's own text of the same buffer."""

import numpy as np
import pytest

from tests.tracers.live import recorded
from tracers.events import Kind, Phase
from tracers.live.probes.points import Probe, ProbeAddress, Rung
from tracers.live.records import KNOWN_ARGS, KNOWN_COMM
from tracers.live.tracefs.kprobe_events import Decoded, Decoder, events
from tracers.live.tracefs.ring_pages import compose, parse_pages


def decode(release: str, scene: str, cpu: int) -> tuple[Decoder, Decoded]:
    known = recorded.formats(release)
    decoder = Decoder(
        known, recorded.events(release), recorded.KINDS, (known["error_report_end"], 2)
    )
    pages = recorded.pages(release, scene, cpu)
    cpus = np.full(len(pages), cpu)
    return decoder, decoder.decode(parse_pages(pages, recorded.layout(release)), cpus)


@pytest.mark.parametrize("release", recorded.RELEASES)
@pytest.mark.parametrize("scene", recorded.SCENES)
@pytest.mark.parametrize("cpu", [0, 1])
def test_every_field_is_what_the_kernel_printed(release: str, scene: str, cpu: int) -> None:
    decoder, decoded = decode(release, scene, cpu)
    lines = recorded.lines(release, scene, cpu)
    probed = [line for line in lines if line.kind is not None]
    assert len(decoded.records) == len(probed)
    for record, line in zip(decoded.records, probed, strict=True):
        kind, phase = recorded.EVENTS[line.event]
        assert recorded.KINDS[record["probe"]] is kind
        assert record["phase"] == phase
        assert record["tid"] == line.tid
        assert record["cpu"] == line.cpu
        assert record["comm"].decode() == line.arguments["comm"]
        assert record["known"] == KNOWN_ARGS | KNOWN_COMM
        for register in range(4):
            assert record["args"][register] == int(line.arguments.get(f"a{register}", "0"))
        if line.event == "warn":
            assert decoder.sites[record["site"]] == line.arguments["file"]
            assert record["line"] == int(line.arguments["a1"])
        else:
            assert record["site"] == -1
    reports = [int(line.arguments["id"], 16) for line in lines if line.event == "error_report_end"]
    assert decoded.reports.tolist() == reports
    assert decoded.torn == 0


def test_the_recording_has_warns_and_reports() -> None:
    _, decoded = decode("6.1.192", "plain", 0)
    assert len(decoded.reports) == 32


def test_reports_of_other_detectors_are_none_of_warns() -> None:
    known = recorded.formats("6.1.192")
    decoder = Decoder({}, (), (), (known["error_report_end"], 1))  # 1 is "kasan" in its print fmt
    parsed = parse_pages(recorded.pages("6.1.192", "plain", 0), recorded.layout("6.1.192"))
    assert len(decoder.decode(parsed, np.zeros(2, np.int64)).reports) == 0


def test_records_too_short_for_their_event_are_counted_not_read() -> None:
    known = recorded.formats("6.1.192")
    decoder = Decoder(known, recorded.events("6.1.192"), recorded.KINDS)
    parsed = parse_pages(recorded.pages("6.1.192", "plain", 0), recorded.layout("6.1.192"))
    parsed.length[:] = np.minimum(parsed.length, 10)
    decoded = decoder.decode(parsed, np.zeros(2, np.int64))
    assert len(decoded.records) == 0
    assert decoded.torn == sum(
        line.kind is not None for line in recorded.lines("6.1.192", "plain", 0)
    )


@pytest.mark.parametrize("release", recorded.RELEASES)
def test_blanks_are_one_record_of_each_event(release: str) -> None:
    known, made = recorded.formats(release), recorded.events(release)
    decoder = Decoder(known, made, recorded.KINDS, (known["error_report_end"], 2))
    layout = recorded.layout(release)
    decoded = decoder.decode(
        parse_pages(compose(decoder.blanks(), layout), layout), np.zeros(1, np.int64)
    )
    assert decoded.torn == 0
    assert decoded.records["probe"].tolist() == [event.probe for event in made]
    assert decoded.records["phase"].tolist() == [event.phase for event in made]
    assert len(decoded.reports) == 0  # its detector is none
    assert decoder.sites == []


def test_records_of_unknown_events_are_passed_over() -> None:
    decoder = Decoder({}, (), ())
    parsed = parse_pages(recorded.pages("6.1.192", "plain", 0), recorded.layout("6.1.192"))
    decoded = decoder.decode(parsed, np.zeros(2, np.int64))
    assert len(decoded.records) == 0
    assert decoded.torn == 0


def test_definitions_of_a_function() -> None:
    place = ProbeAddress("vmemmap_populate", 0, 0xFFFF800080000000)
    probe = Probe(
        Kind.POPULATE,
        Rung.KPROBE,
        "vmemmap_populate",
        (place,),
        (),
        (("start", 0), ("end", 1), ("nid", 2)),
        "int",
    )
    (entry,), (leave,) = events(probe, 3, "vmemscope_7_8_9_0", "aarch64")
    # as Documentation/trace/kprobetrace.rst has it; the name ends in the run's own
    assert entry.definition == (
        "p:vmemscope_7_8_9_0/populate3_entry0_7_8_9_0 vmemmap_populate"
        " a0=%x0:u64 a1=%x1:u64 a2=%x2:u64 comm=$comm"
    )
    assert leave.definition == (
        "r256:vmemscope_7_8_9_0/populate3_exit0_7_8_9_0 vmemmap_populate a0=$retval:u64 comm=$comm"
    )
    assert (entry.phase, leave.phase) == (Phase.ENTRY, Phase.EXIT)


def test_a_void_functions_value_is_not_asked_for() -> None:
    probe = Probe(Kind.FREE, Rung.KPROBE, "vmemmap_free", (ProbeAddress("vmemmap_free", 0, 1),))
    _, (leave,) = events(probe, 0, "g_1", "aarch64")
    assert leave.definition == "r256:g_1/free0_exit0_1 vmemmap_free comm=$comm"


def test_definitions_of_call_sites_void_functions_and_other_machines() -> None:
    sites = (ProbeAddress("__remove_pages", 212, 1), ProbeAddress("__remove_pages", 300, 2))
    behind = (ProbeAddress("__remove_pages", 216, 3), ProbeAddress("__remove_pages", 304, 4))
    probe = Probe(Kind.SECTION_REMOVE, Rung.CALLSITE, "f", sites, behind, (("pfn", 1),))
    entries, leaves = events(probe, 0, "g_1", "x86_64")
    assert [each.definition.split(" ", 1)[1] for each in entries] == [
        "__remove_pages+0xd4 a1=%si:u64 comm=$comm",
        "__remove_pages+0x12c a1=%si:u64 comm=$comm",
    ]
    assert [each.definition.split(" ", 1)[1] for each in leaves] == [
        "__remove_pages+0xd8 comm=$comm",
        "__remove_pages+0x130 comm=$comm",
    ]


def test_the_source_file_of_a_warn_is_fetched_as_a_string() -> None:
    place = ProbeAddress("__warn", 0, 1)
    registers = (("site", 0), ("line", 1), ("caller", 2))
    probe = Probe(Kind.WARN, Rung.KPROBE, "__warn", (place,), (), registers, timed=False)
    (entry,), leaves = events(probe, 0, "g_1", "aarch64")
    assert entry.definition.endswith("__warn a1=%x1:u64 a2=%x2:u64 comm=$comm file=+0(%x0):string")
    assert entry.phase is Phase.POINT
    assert leaves == []
