# SPDX-License-Identifier: GPL-2.0-only
"""A few forged recordings through every output and the replay, the same ones each time.

``python -m tests.tui.fuzz_recordings`` makes and checks them for as long as wanted.
"""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings

import vmemscope
from recordings.format import framing
from recordings.format.header import Header
from tests.recordings.format import forge
from tests.recordings.made import metas
from tests.tui.fuzz_recordings import check_file
from tests.tui.small_recordings import MACHINE, batch, storm_rows


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("forged") / "a.arrows"


def check(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    check_file(path)


# Without shrinking, which would take an hour: print_blob tells how to have the file again.
@settings(
    max_examples=25,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(forge.recordings())
def test_what_may_be_in_a_recording_is_read_or_refused_in_one_line(path: Path, data: bytes) -> None:
    check(path, data)


def storm(header: bytes) -> bytes:
    """A real storm under any header."""
    events = batch(storm_rows(24, 0xFFFF_FFFF_4000_0000))
    nothing = events.slice(0, 0)
    batches = zip([nothing, events, nothing], metas(events.num_rows), strict=True)
    return forge.assembled(header, list(batches)) + framing.EOS


@pytest.mark.parametrize("header", forge.abysses())
def test_headers_that_json_readers_fall_into(path: Path, header: bytes) -> None:
    check(path, storm(header))


@pytest.mark.parametrize(("fact", "value"), forge.MISTAKEN)
def test_facts_that_python_takes_for_numbers(path: Path, fact: str, value: object) -> None:
    header = json.loads(Header(machine=MACHINE).to_json())
    header["machine"]["window"][fact] = value
    check(path, storm(json.dumps(header).encode()))


def test_the_forger_makes_what_can_be_read_too(path: Path) -> None:
    """Else the tests above would test nothing but refusals."""
    read = []

    @settings(max_examples=150, derandomize=True, phases=[Phase.generate])
    @given(forge.recordings())
    def count(data: bytes) -> None:
        path.write_bytes(data)
        try:
            with vmemscope.open(path) as recording:
                read.append((recording.verdict.value, bool(recording.losses), recording.rows))
        except vmemscope.RecordingError:
            read.append(("refused", False, 0))

    count()
    verdicts, losses, rows = map(set, zip(*read, strict=True))
    assert verdicts >= {"out-of-range", "inconclusive", "refused"}
    assert losses == {True, False}
    assert max(rows) > 300
    assert sum(verdict != "refused" for verdict, *_ in read) > len(read) / 2
