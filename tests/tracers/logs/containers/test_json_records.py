# SPDX-License-Identifier: GPL-2.0-only
"""Logs kept as JSON: whose records are read, their times, and what is damaged."""

import io
import json

import pytest

from tracers.logs.containers.json_records import (
    DmesgRecords,
    JsonLines,
    LokiAnswer,
    looks_like_lines,
)


def read(kind: type, raw: str | bytes, size: int = 1 << 16) -> tuple[list[str], bool]:
    stream = kind(io.BytesIO(raw if isinstance(raw, bytes) else raw.encode()))
    text = b"".join(iter(lambda: stream.read1(size), b"")).decode()
    return text.splitlines(), stream.torn


def dmesg(*records: str) -> str:
    return '{\n   "dmesg": [\n' + ",\n".join(records) + "\n   ]\n}\n"


@pytest.mark.parametrize(
    ("record", "line"),
    [
        ('{"pri": 4, "time": 22.700000, "msg": "a"}', "[   22.700000] a"),
        ('{"pri": 4, "time":     0.000001, "msg": "a"}', "[    0.000001] a"),
        ('{"time": 22.7, "msg": "a"}', "[   22.700000] a"),
        ('{"time": 123456.123456, "caller": "T617", "msg": "a"}', "[123456.123456][  T617] a"),
        ('{"time": "2023-11-14T22:13:42,700000+00:00", "msg": "a"}', "1700000022.700000 kernel: a"),
        ('{"time": "Tue Nov 14 22:13:42 2023", "msg": "a"}', "[Tue Nov 14 22:13:42 2023] a"),
        ('{"msg": "a {\\"b\\"} \\u001b[1m"}', 'a {"b"} \x1b[1m'),
    ],
)
def test_a_record_of_dmesg(record: str, line: str):
    assert read(DmesgRecords, dmesg(record)) == ([line], False)


def test_a_message_of_several_lines_has_its_time_on_each():
    found = read(DmesgRecords, dmesg('{"time": 1.5, "msg": "a\\nb\\n"}'))
    assert found == (["[    1.500000] a", "[    1.500000] b"], False)


@pytest.mark.parametrize(
    ("damaged", "lines"),
    [
        (dmesg('{"msg": [7]}', '{"msg": "b"}'), ["b"]),
        (dmesg('{"msg": "a"}', '{"msg": "b"}')[:-14], ["a"]),
        (dmesg('{"msg": "a', '{"msg": "b"}').replace(",\n", "\n"), ["b"]),
    ],
)
def test_what_is_damaged_is_torn(damaged: str, lines: list[str]):
    assert read(DmesgRecords, damaged) == (lines, True)


def test_of_a_journal_only_the_kernel_speaks():
    records = [
        {"_TRANSPORT": "syslog", "MESSAGE": "WARNING: CPU: 1 PID: 1 at a"},
        {"_TRANSPORT": "kernel", "_SOURCE_MONOTONIC_TIMESTAMP": "1500000", "MESSAGE": "k"},
        {"_TRANSPORT": "kernel", "__REALTIME_TIMESTAMP": "1700000022700000", "MESSAGE": "r"},
        {"_TRANSPORT": "kernel", "MESSAGE": [119, 255, 10, 120]},
        {"_TRANSPORT": "kernel", "MESSAGE": None},
    ]
    raw = "".join(json.dumps(record) + "\n" for record in records)
    assert read(JsonLines, raw, 5) == (
        ["[    1.500000] k", "1700000022.700000 kernel: r", "w\\xff", "x"],
        False,
    )


def test_pretty_printed_and_sequences_are_read_too():
    record = {"MESSAGE": "a", "_SOURCE_MONOTONIC_TIMESTAMP": "1"}
    pretty = json.dumps(record, indent=8) + "\n"
    sequence = "\x1e" + json.dumps(record) + "\n"
    line = "[    0.000001] a"
    assert read(JsonLines, pretty * 2 + sequence) == ([line] * 3, False)


@pytest.mark.parametrize("stamp", ["1700000022700", "1700000022700000", "1700000022700000000"])
def test_an_array_as_grafana_saves_it(stamp: str):
    raw = json.dumps([{"line": "a", "timestamp": stamp, "fields": {}}] * 2, indent=2)
    assert looks_like_lines(raw.encode())
    assert read(JsonLines, raw) == (["1700000022.700000 kernel: a"] * 2, False)


def test_server_sent_events_of_the_journal():
    raw = "".join(f'data: {{"MESSAGE": "{n}", "_TRANSPORT": "kernel"}}\n\n' for n in range(3))
    assert looks_like_lines(raw.encode())
    assert read(JsonLines, raw) == (["0", "1", "2"], False)


def test_a_text_with_the_kernels_time_keeps_it_alone():
    raw = json.dumps({"log": "<4>[    1.000000] a\n", "time": "2023-11-14T22:13:42Z"})
    assert read(JsonLines, raw) == (["<4>[    1.000000] a"], False)
    raw = json.dumps({"log": "a\n", "time": "2023-11-14T22:13:42.5Z"})
    assert read(JsonLines, raw) == (["1700000022.500000 kernel: a"], False)


def test_lokis_streams_come_in_the_order_of_time():
    streams = [{"values": [["3000", "c"], ["1000", "a"]]}, {"values": [["2000", "b"]]}]
    raw = json.dumps({"data": {"resultType": "streams", "result": streams}})
    lines = ["0.000001 kernel: a", "0.000002 kernel: b", "0.000003 kernel: c"]
    assert read(LokiAnswer, raw) == (lines, False)
    assert read(LokiAnswer, raw[:-4]) == ([], True)


@pytest.mark.parametrize(
    "raw", [b"[" * 100_000, b'{"MESSAGE": ' + b"[" * 100_000, b"{" * 9, b"\xff{\x00"]
)
def test_hostile_json_ends(raw: bytes):
    for kind in (DmesgRecords, JsonLines, LokiAnswer):
        read(kind, raw)
