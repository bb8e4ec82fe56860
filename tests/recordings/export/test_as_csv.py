# SPDX-License-Identifier: GPL-2.0-only
"""CSV read back with Python's csv and pyarrow's: quoting, nulls, numbers, formulas."""

import csv
import io
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import csv as arrow_csv

from recordings.export.as_csv import guarded
from tests.recordings.export.cases import HOSTILE, JUDGED, NAMES, exported, path_of, plain
from tests.recordings.made import foreign, metas, rows
from tracers.events import SCHEMA

ADDRESSES = ("start", "end")
TEXTS = ("kind", "phase", "comm", "site", "source", "regime")


def unguarded(text: str | None) -> str | None:
    """What docs tell readers to do: take one leading ' away."""
    return text[1:] if text is not None and text.startswith("'") else text


def read(data: bytes) -> pa.Table:
    types = {field.name: field.type for field in SCHEMA if field.name not in TEXTS}
    types |= dict.fromkeys((*TEXTS, *ADDRESSES), pa.utf8()) | {"silent": pa.bool_()}
    return arrow_csv.read_csv(
        io.BytesIO(data),
        parse_options=arrow_csv.ParseOptions(newlines_in_values=True),
        convert_options=arrow_csv.ConvertOptions(
            column_types=types,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


@pytest.mark.parametrize("name", NAMES)
def test_reads_back_as_what_any_arrow_library_reads(name: str, tmp_path: Path) -> None:
    path = path_of(name, tmp_path)
    data, done = exported(path, "csv")
    expected, found = plain(path), read(data)
    assert found.schema.names == [*SCHEMA.names, *JUDGED]
    assert done.rows == found.num_rows == expected.num_rows
    for column in SCHEMA.names:
        values = found.column(column).to_pylist()
        if column in ADDRESSES:
            assert all(text is None or len(text) == 18 for text in values)
            values = [None if text is None else int(text, 16) for text in values]
        elif column in TEXTS:
            values = [unguarded(text) for text in values]
        assert values == expected.column(column).to_pylist(), column


def test_pythons_reader_agrees_about_hostile_text(tmp_path: Path) -> None:
    data, _ = exported(path_of("extreme", tmp_path), "csv")
    found = list(csv.DictReader(io.StringIO(data.decode(), newline=""), strict=True))
    assert [unguarded(row["comm"]) for row in found[::2]] == list(HOSTILE)
    assert found[0]["start"] == "0xffffffffffffffff"
    assert found[0]["ts_ns"] == "18446744073709551615"
    assert found[0]["ret"] == "-9223372036854775808"


def test_no_cell_of_text_opens_a_formula(tmp_path: Path) -> None:
    data, _ = exported(path_of("extreme", tmp_path), "csv")
    for row in csv.DictReader(io.StringIO(data.decode(), newline="")):
        for column in (*TEXTS, *ADDRESSES):
            assert not row[column].startswith(("=", "+", "-", "@", "\t", "\r", "\n"))


#: Full width and small forms, the sign for minus; blanks and what is not seen before them.
BEGINS = (
    *("\uff1d", "\uff0b", "\uff0d", "\uff20", "\ufe62", "\ufe63", "\ufe66", "\ufe6b", "\u2212"),
    *("\ufeff=", "\ufeff\uff1d", "\ufeff\t=", "\u200b@", "\u202e=", "\u2028="),
    *(" =", "\xa0=", "\u3000+", "\x00=", "\v=", "\x1b="),
)


@pytest.mark.parametrize("begin", BEGINS)
def test_what_a_spreadsheet_takes_for_the_start_of_a_formula(begin: str) -> None:
    assert guarded(begin + "cmd|' /C calc'!A0") == "'" + begin + "cmd|' /C calc'!A0"


@pytest.mark.parametrize("name", ["", "kworker/0:1", "größe", "大きさ", "(sd-pam)", "1=2", "½"])
def test_other_names_stay(name: str) -> None:
    assert guarded(name) == name


@given(st.text())
def test_the_guard_can_be_taken_away(text: str) -> None:
    assert unguarded(guarded(text)) == text
    assert guarded(text)[:1] not in ("=", "+", "-", "@", "\t", "\r", "\n")


def test_what_a_newer_version_adds_is_kept_or_named(tmp_path: Path) -> None:
    path = tmp_path / "newer.arrows"
    events = rows(2)
    for name, values in (
        ("=depth", pa.array([1, None], pa.uint8())),
        ("note", pa.array(["-", None]).dictionary_encode()),
        ("share", pa.array([0.1, None])),
    ):
        events = events.append_column(name, values)
    foreign(path, [events.slice(0, 0), events, events.slice(0, 0)], b'{"format":"1.9"}', metas(2))
    data, done = exported(path, "csv")
    found = list(csv.DictReader(io.StringIO(data.decode(), newline="")))
    assert [row["'=depth"] for row in found] == ["1", ""]
    assert [row["note"] for row in found] == ["'-", ""]
    assert done.left_out == ("share",)
