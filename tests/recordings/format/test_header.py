# SPDX-License-Identifier: GPL-2.0-only
"""The header and a batch's metadata: round trips, and rejection of everything else."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.format.header import FORMAT, BatchMeta, Header, RecordingError
from tracers.batch import Losses
from tracers.machine import Machine
from tracers.window import Window

HUBBARD = Window(
    start=0xFFFFFC0000000000,
    end=0xFFFFFE0000000000,
    memstart=0x8000_0000,
    provenance={"window": "given"},
)


def header() -> Header:
    return Header(
        machine=Machine(release="6.10.0-rc2", build_id="c0ffee", window=HUBBARD),
        probes={"vmemmap_free": "kprobe", "vmemmap_populate": "no: notrace"},
        clock={"name": "mono", "offset_ns": None},
        origin={"importer": "ftrace", "file": "a\x1b[0m", "sha256": "00"},
        warn_sites=("arch/arm64/mm/mmu.c:1222",),
        notes=("one", "two"),
        created_ns=1_717_800_000_123_456_789,
        tool="0.1.0",
    )


def test_round_trip():
    assert Header.from_json(header().to_json()) == header()


def test_json_is_as_documented():
    told = json.loads(header().to_json())
    assert told["format"] == "1.5"
    assert told["machine"]["window"]["start"] == "0xfffffc0000000000"
    assert told["created_ns"] == 1_717_800_000_123_456_789


def test_newer_minor_with_unknown_keys_is_read():
    told = json.loads(header().to_json()) | {"format": "1.7", "colour": ["blue"]}
    read = Header.from_json(json.dumps(told).encode())
    assert read.format == "1.7"
    assert read.machine == header().machine


@pytest.mark.parametrize("version", ["2.0", "0.9", "10.0"])
def test_another_major_version_is_refused_with_the_way_out(version):
    told = json.loads(header().to_json()) | {"format": version}
    with pytest.raises(RecordingError, match=rf"{version}.*reads 1\.x.*newer"):
        Header.from_json(json.dumps(told).encode())


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{}",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"format":"1.0","created_ns":NaN}',
        b'{"format":"1.0","created_ns":' + b"9" * 5000 + b"}",
        b'{"format":1.0}',
        b'{"format":"1.0","created_ns":true}',
        b'{"format":"1.0","machine":[]}',
        b'{"format":"1.0","machine":{"window":{"start":"0x"}}}',
        b'{"format":"1.0","machine":{"window":7}}',
        b'{"format":"1.0","machine":{"iomem":7}}',
        b'{"format":"1.0","machine":{"iomem":[7]}}',
        b'{"format":"1.0","machine":{"iomem":[[1,2,3]]}}',
        b'{"format":"1.0","machine":{"config":[1]}}',
        b'{"format":"1.0","probes":{"a":1}}',
        b'{"format":"1.0","clock":{"offset_ns":1.5}}',
        b'{"format":"1.0","notes":[{}]}',
        b'{"format":"1.0","notes":"one"}',
    ],
)
def test_damaged(text):
    with pytest.raises(RecordingError, match="damaged") as caught:
        Header.from_json(text)
    assert "\n" not in str(caught.value)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.sampled_from(["machine", "probes", "clock", "origin", "notes", "tool", "created_ns"]),
        JSON
        | st.dictionaries(
            st.sampled_from(["window", "layout", "iomem", "config", "sources", "release"]), JSON
        ),
    )
)
def test_any_json_gives_a_header_or_a_recording_error(values):
    try:
        read = Header.from_json(json.dumps({"format": FORMAT} | values).encode())
    except RecordingError as error:
        assert "damaged" in str(error)  # noqa: PT017 (either outcome is fine)
    else:
        assert read.format == FORMAT


@pytest.mark.parametrize("mark", ["", "begin", "end"])
def test_batch_metadata_round_trip(mark):
    meta = BatchMeta(mark, 3, 65536, 1, 2**64 - 1, Losses(4, 5, 6, 7), "killed" if mark else "")
    assert BatchMeta.from_json(meta.to_json()) == meta


def test_batch_metadata_is_as_documented():
    assert BatchMeta(seq=2, rows=5, first_ts=7, last_ts=9, losses=Losses(lost=1)).to_json() == (
        b'{"seq":2,"rows":5,"first_ts":7,"last_ts":9,'
        b'"lost":1,"lost_unknown":0,"torn":0,"rejected":0}'
    )


@pytest.mark.parametrize("value", ["-1", "18446744073709551616", "true", "1.0", '"1"', "null"])
@pytest.mark.parametrize("key", ["seq", "rows", "first_ts", "lost", "rejected"])
def test_batch_metadata_takes_only_counts(key, value):
    text = BatchMeta().to_json().replace(f'"{key}":0'.encode(), f'"{key}":{value}'.encode())
    assert value.encode() in text
    with pytest.raises(ValueError, match=key):
        BatchMeta.from_json(text)


def test_closing_notes_round_trip_and_are_as_documented():
    meta = BatchMeta("end", 1, 2, reason="SIGTERM", notes=("lost 3 on cpu 1", "\x1b[0m"))
    assert BatchMeta.from_json(meta.to_json()) == meta
    assert json.loads(meta.to_json())["notes"] == ["lost 3 on cpu 1", "\x1b[0m"]
    assert "notes" not in json.loads(BatchMeta("end").to_json())


@pytest.mark.parametrize("notes", ["a text", [1], ["one", None], {"a": 1}, None, 7])
def test_closing_notes_of_another_shape_are_passed_over(notes):
    told = json.loads(BatchMeta("end", rows=5, reason="closed").to_json()) | {"notes": notes}
    assert BatchMeta.from_json(json.dumps(told).encode()) == BatchMeta(
        "end", rows=5, reason="closed"
    )
