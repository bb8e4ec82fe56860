# SPDX-License-Identifier: GPL-2.0-only
"""trace-cmd files that are cut, damaged or made to hurt: rows with a loss, or one line."""

import os
import random
import struct
import tracemalloc
import zlib
from collections.abc import Callable

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import TESTS
from tests.tracers.logs import tools
from tests.tracers.logs.tools import LAB
from tests.tracers.logs.trace_dat.build import BASE, PAGE, File
from tracers.logs.kprobe_text.text_log import LogError
from tracers.logs.trace_dat import fields, streams
from tracers.logs.trace_dat.reader import TraceDat

LOOPS = TESTS.parents[1] / "shared" / "cases" / "faults" / "loops-trace-cmd.dat"
CAPTURE = TESTS / "captures" / LAB / "trace-cmd-lost-unnumbered.dat"


def read(data: bytes) -> tuple[list[dict], dict[str, int], tuple[str, ...]]:
    file = os.memfd_create("trace.dat")
    try:
        with os.fdopen(file, "wb", closefd=False) as out:
            out.write(data)
        log = TraceDat(file)
        rows, missing = tools.read(log)
        return rows, missing, log.notes
    finally:
        os.close(file)


def filled(version: int = 7, packing: str = "none", pages: int = 40) -> File:
    """Two CPUs with so many pages of 20 events each; event i of CPU c has start 2 i + c."""
    file = File(version, packing=packing)
    for cpu in (0, 1):
        made = []
        for page in range(pages):
            numbers = range(page * 20, page * 20 + 20)
            entries = [file.entry(10, file.free(2 * number + cpu, number)) for number in numbers]
            made.append(file.page(BASE + page * 1000, *entries))
        file.cpus.append((cpu, b"".join(made)))
    return file


def in_part(rows: list[dict], whole: list[dict]) -> bool:
    """Whether the rows are some of ``whole``, in its order; which CPU it was may be unknown."""
    known = {row["start"]: row for row in whole}
    return all(row | {"cpu": known[row["start"]]["cpu"]} == known[row["start"]] for row in rows)


FORMS = [(6, "none"), (7, "none"), (7, "zstd"), (7, "zlib")]


@pytest.mark.parametrize(("version", "packing"), FORMS)
def test_cut_anywhere_gives_what_was_there(version: int, packing: str):
    whole = filled(version, packing).made()
    rows, missing, _ = read(whole)
    assert (len(rows), missing) == (1600, {})
    seen = set()
    for size in [*range(0, len(whole), 2477), *range(len(whole) - 200, len(whole), 7)]:
        try:
            found, missing, notes = read(whole[:size])
        except LogError as error:
            assert "cut short" in str(error)  # noqa: PT017
            continue
        if size < len(whole):
            assert missing.get("torn", 0) or found == rows
            assert found == rows or any("cut short" in note for note in notes)
        assert in_part(found, rows)
        times = [row["ts_ns"] for row in found]
        assert times == sorted(times)
        seen.add(len(found))
    assert len(seen) > 5  # more and more of it


def test_a_page_cut_in_an_event():
    file = File(6)
    file.cpus = [(0, file.page(BASE, *(file.entry(1, file.free(at, 0)) for at in range(9))))]
    whole = file.made()
    begin = whole.index(file.n((8, BASE)))
    for size in range(16, 16 + 9 * 36):
        rows, missing, _ = read(whole[: begin + size])
        assert ([row["start"] for row in rows], missing) == (
            list(range((size - 16) // 36)),
            {"torn": 1},
        )


@pytest.mark.skipif(not LOOPS.is_file(), reason="the shared case is not here")
def test_the_file_in_which_trace_cmd_loops_ends():
    _, missing, notes = read(LOOPS.read_bytes())
    assert missing == {"torn": 1}
    assert any("damaged" in note for note in notes)


def test_options_that_lead_back_to_themselves():
    data = bytearray(filled().made())
    at = struct.unpack_from("<Q", data, data.index(b"none\x001.0\0") + 9)[0]
    whole = read(bytes(data))[0]
    for target in (at, 1 << 40, (1 << 64) - 1):
        looped = data[:]
        struct.pack_into("<Q", looped, len(data) - 8, target)
        rows, missing, notes = read(bytes(looped))
        assert (rows, missing) == (whole, {"torn": 1})
        assert "cut short or damaged" in notes[0]


@pytest.mark.parametrize(("version", "packing"), FORMS)
def test_sizes_of_2_to_the_64(version: int, packing: str):
    """Eight bytes of ones anywhere in what is not events: an error, or rows that are right."""
    file = filled(version, packing, pages=1)
    data = file.made()
    rows, _, _ = read(data)
    end = len(data) if packing != "none" else data.index(file.n((8, BASE)))
    for at in range(10, end - 8, 11):
        try:
            found, _, _ = read(data[:at] + b"\xff" * 8 + data[at + 8 :])
        except LogError:
            continue
        assert len(found) <= len(rows)


SMALL = filled(6, pages=1).made()
PACKED = filled(7, "zlib", pages=1).made()


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_whatever_is_damaged_it_is_rows_or_one_line(data: st.DataObject):
    whole = data.draw(st.sampled_from([SMALL, PACKED, CAPTURE.read_bytes()]))
    damaged = data.draw(tools.mutated(whole))
    try:
        _, _, notes = read(damaged)
    except LogError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert all("\n" not in note for note in notes)


@pytest.mark.parametrize("seed", range(3))
def test_flipped_bits(seed: int):
    rng = random.Random(seed)  # noqa: S311 (no secret)
    whole = CAPTURE.read_bytes()
    ended = 0
    for _ in range(120):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 1, 3, 30))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        try:
            read(bytes(data))
        except LogError:
            ended += 1
    assert 0 < ended < 120


def test_pages_of_garbage_are_torn():
    file = File(6)
    good = file.page(BASE, file.entry(1, file.free(1, 2)))
    rng = random.Random(7)  # noqa: S311 (no secret)
    bad = [
        file.n((8, BASE), (8, PAGE)).ljust(PAGE, b"\1"),  # more than there is room for
        file.page(BASE, file.word(0, 5), file.n((4, 3)), file.word(0, 5)),  # counts not itself
        file.page(BASE, file.word(28, 5), commit=20),  # goes on behind the page's events
        file.page(BASE, file.word(0, 1), file.n((4, 0xFFFFFFFF)), bytes(8)),
        file.n((8, BASE), (8, 4000)) + rng.randbytes(PAGE - 16),
    ]
    for page in bad:
        file.cpus = [(0, good + page + good)]
        rows, missing, notes = read(file.made())
        assert ([row["start"] for row in rows], missing["torn"]) == ([1, 1], 1)
        assert any("damaged" in note for note in notes)


@pytest.mark.parametrize(("version", "packing"), [(6, "none"), (7, "none"), (7, "zstd")])
def test_cpus_that_share_events_do_not_tell_them_twice(version: int, packing: str):
    file = filled(version, packing, pages=2)
    data = file.made()
    rows, _, _ = read(data)
    first, second = (
        (data.index(pages[:40]) for _, pages in file.cpus)
        if packing == "none"
        else (data.index(file._pages(pages)) for _, pages in file.cpus)
    )
    before, _, after = data.rpartition(struct.pack("<Q", second))
    found, missing, notes = read(before + struct.pack("<Q", first) + after)
    assert (len(found), missing) == (40, {"torn": 1})
    assert "twice" in notes[0]
    assert {row["start"] for row in found} == {row["start"] for row in rows if row["cpu"] == 0}


def test_records_too_short_for_their_format_are_rejected():
    file = File(6)
    short = file.free(1, 2)[:24]
    file.cpus = [(0, file.page(BASE, file.entry(1, short), file.entry(1, file.free(3, 4))))]
    rows, missing, _ = read(file.made())
    assert ([row["start"] for row in rows], missing) == ([3], {"rejected": 1})


def test_a_site_outside_its_record_is_unknown():
    file = File(6)
    record = bytearray(file.warn(b"mm/a.c", 7))
    for place in (0xFFFF, 0xFFFFFFFF, 7 << 16 | 0xFFF0, 9000 << 16 | 24):
        struct.pack_into("<I", record, 16, place)
        file.cpus = [(0, file.page(BASE, file.entry(1, bytes(record))))]
        rows, _, _ = read(file.made())
        assert [(row["site"], row["line"]) for row in rows] == [(None, 7)]


@pytest.mark.parametrize("packing", ["zstd", "zlib"])
def test_a_piece_that_cannot_be_unpacked_takes_only_its_own_pages(packing: str):
    file = filled(7, packing)
    whole, missing, _ = read(file.made())
    data = bytearray(file.made())
    piece = file.pack(file.cpus[0][1][10 * PAGE : 20 * PAGE])
    at = data.index(piece)
    data[at : at + 2] = b"\xff\xff"
    rows, missing, _ = read(bytes(data))
    assert missing == {"torn": 1}
    gone = {2 * number for number in range(200, 400)}
    assert rows == [row for row in whole if row["start"] not in gone]


def bomb(packing: str, size: int, pieces: int) -> bytes:
    """A file whose pages unpack to ``pieces`` times ``size`` bytes of zeros."""
    file = File(7, packing=packing)
    file.cpus = [(0, bytes(PAGE))]
    small = file.pack(bytes(size))
    true = file._pages(bytes(PAGE))
    data = file.made()
    forged = file.n((4, pieces)) + file.n((4, len(small)), (4, size), small) * pieces
    # The options stand elsewhere then: its events are found without them.
    return data.replace(true, forged)


@pytest.mark.parametrize("packing", ["zstd", "zlib"])
def test_a_bomb_ends(packing: str):
    data = bomb(packing, 10 * PAGE, 3000)
    tracemalloc.start()
    try:
        with pytest.raises(LogError, match="convert --compression none"):
            read(data)
        assert tracemalloc.get_traced_memory()[1] < 64 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("pack", [zlib.compress, pa.Codec("zstd").compress], ids=["zlib", "zstd"])
def test_a_part_of_the_headers_that_is_a_bomb(pack: Callable[[bytes], bytes]):
    packed = bytes(pack(bytes(fields.MOST + 1)))
    name = "zlib" if packed[:1] == b"\x78" else "zstd"
    file = filled(7, name, pages=1)
    small = file.pack(b"".join((file.n((4, len(file.kallsyms))), file.kallsyms)))
    data = file.made()
    at = data.index(small)
    forged = file.n((4, len(packed)), (4, fields.MOST + 1)) + packed
    data += bytes(16) + forged
    head = file.n((2, 19), (2, 1), (4, 0), (8, len(forged)))
    data = data[: -len(forged) - 16] + head + forged
    pointer = file.n((2, 19), (4, 8), (8, at - 24))
    assert data.count(pointer) == 1
    rows, missing, notes = read(
        data.replace(pointer, file.n((2, 19), (4, 8), (8, len(data) - len(forged) - 16)))
    )
    assert (len(rows), missing["torn"]) == (40, 1)
    assert "a part of" in notes[1]


@pytest.mark.parametrize("version", [6, 7])
def test_more_cpus_than_any_machine_has(version: int):
    file = File(version)
    page = file.page(BASE, file.entry(1, file.free(1, 2)))
    file.cpus = [(0, page)]
    data = file.made()
    if version == 6:
        data = data.replace(file.n((4, 1)) + b"options", file.n((4, 1 << 31)) + b"options")
        with pytest.raises(LogError, match="more than 16,384 CPUs"):
            read(data)
    else:
        table = file.n((4, PAGE), (4, 1))
        rows, missing, notes = read(data.replace(table, file.n((4, PAGE), (4, 1 << 31))))
        assert ([row["cpu"] for row in rows], missing) == ([None], {"torn": 1})
        assert "more than 16,384 CPUs" in notes[0]


def test_cpus_that_cannot_be_put_in_order(monkeypatch: pytest.MonkeyPatch):
    """One CPU's time is far ahead of all others: theirs would wait for its next page."""
    for name, value in {"_WAITING": 100, "ROWS": 50, "_LEAST": 1, "_MOST": 1}.items():
        monkeypatch.setattr(streams, name, value)
    file = filled(6, pages=60)
    late = file.page(1, file.entry(1, file.free(1, 2)))
    file.cpus.append((2, late))
    assert len(read(file.made())[0]) == 2401
    ahead = file.page(BASE * 1000, *(file.entry(1, file.free(1, 2)) for _ in range(90)))
    file.cpus[2] = (2, ahead * 4)
    with pytest.raises(LogError, match="cannot be put in order"):
        read(file.made())


@pytest.mark.parametrize("version", [6, 7])
def test_other_versions_and_packings_are_named(version: int):
    data = File(version).made()
    with pytest.raises(LogError, match="version '8'"):
        read(data.replace(b"tracing%d\0" % version, b"tracing8\0"))
    if version == 7:
        with pytest.raises(LogError, match=r"packed by 'lzo'.*--compression none"):
            read(data.replace(b"none\x001.0\0", b"lzo\x001.0\0"))


def test_memory_does_not_grow_with_the_file():
    peaks = []
    for pages in (600, 2400):
        data = filled(6, pages=pages).made()
        file = os.memfd_create("trace.dat")
        with os.fdopen(file, "wb", closefd=False) as out:
            out.write(data)
        tracemalloc.start()
        pool = pa.default_memory_pool()
        before, most, rows = pool.bytes_allocated(), 0, 0
        for batch in TraceDat(file).batches():
            rows += batch.events.num_rows
            most = max(most, pool.bytes_allocated() - before)
        peaks.append(tracemalloc.get_traced_memory()[1] + most)
        tracemalloc.stop()
        os.close(file)
        assert rows == 40 * pages
    assert peaks[1] < 1.5 * peaks[0]


@pytest.mark.parametrize("version", [6, 7])
def test_what_is_more_than_any_kernel_has(version: int):
    file = File(version)
    file.cpus = [(0, file.page(BASE, file.entry(1, file.free(1, 2))))]
    text = file.formats[0]
    assert len(read(file.made())[0]) == 1
    # A place for a record's type that is behind every record: no event is of that kind.
    file.formats = (text.replace(b"common_type;\toffset:0;", b"common_type;\toffset:60000;"),)
    assert read(file.made())[0] == []
    file.formats = (text.replace(b"ID: 573", b"ID: 66109"),)
    assert read(file.made())[0] == []
    file.formats = tuple(text.replace(b"ID: 573", b"ID: %d" % number) for number in range(5000))
    with pytest.raises(LogError, match="more than 4,096 kprobe events"):
        read(file.made())
    file.formats = (text,)
    file.options = [(2, b"overrun: 999999999999999999\n\0")] * 20
    assert read(file.made())[1] == {"lost": (1 << 63) - 1}
    for scale in ((0, 22), (5, 33)):
        file.options = [(14, file.n((4, scale[0]), (4, scale[1]), (8, 0)))]
        with pytest.raises(LogError, match="how its counts become times"):
            read(file.made())


@pytest.mark.parametrize("version", [6, 7])
def test_options_without_end(version: int):
    file = File(version, options=[(99, b"")] * ((1 << 17) + 9))
    file.cpus = [(0, file.page(BASE, file.entry(1, file.free(1, 2))))]
    if version == 6:
        with pytest.raises(LogError, match="expected events"):
            read(file.made())
    else:
        with pytest.raises(LogError, match="no end"):
            read(file.made())


def test_problems_are_counted_and_a_few_are_named():
    file = File(7, options=[(3, b"")] * 3000)
    file.cpus = [(0, file.page(BASE, file.entry(1, file.free(1, 2))))]
    rows, missing, notes = read(file.made())
    assert (len(rows), missing["torn"], len(notes)) == (1, 1024, 1)
