# SPDX-License-Identifier: GPL-2.0-only
"""trace-cmd files read by us tell what trace-cmd tells of them, and what the kernel saw."""

import struct
from pathlib import Path

import pytest

from tests.conftest import TESTS
from tests.tracers.logs import tools
from tests.tracers.logs.kprobe_text.test_trace_cmd_report import parse as parse_report
from tests.tracers.logs.tools import LAB
from tests.tracers.logs.trace_dat.build import BASE, File
from tests.tracers.logs.trace_dat.program import by_program, by_us, needs_trace_cmd, run
from tracers.kinds import Kind
from tracers.logs.kprobe_text.definitions import ProbeLocation
from tracers.logs.kprobe_text.text_log import LogError
from tracers.logs.trace_dat.reader import TraceDat, looks_like_trace_dat

SHARED = TESTS.parents[1] / "shared" / "captures" / LAB / "trace-cmd.dat"
SCENES = ["hole", "instance", "lost", "lost-unnumbered"]
FILES = [TESTS / "captures" / LAB / f"trace-cmd-{scene}.dat" for scene in SCENES]
FILES += [SHARED] * SHARED.is_file()
FORMS = [
    (6, "<", "none"),
    (6, ">", "none"),
    (7, "<", "none"),
    (7, "<", "zstd"),
    (7, ">", "zstd"),
    (7, "<", "zlib"),
    (7, ">", "none"),
]


def written(path: Path, file: File) -> Path:
    path.write_bytes(file.made())
    return path


def two_cpus(file: File) -> File:
    """Events of two CPUs that take turns, a few of each page, and other events among them."""
    for cpu in (0, 1):
        pages = []
        for page in range(25):
            begin = BASE + page * 10_000 + cpu * 500
            entries = [file.entry(0, file.free(page, page + cpu, pid=7 + cpu))]
            entries += [file.entry(1000, file.switch()) for _ in range(2)]
            entries.append(file.entry(1000, file.warn(b"arch/arm64/mm/mmu.c", 1000 + page, 66)))
            entries.append(file.extend(200_000_000 if page == 24 else 5))
            entries.append(file.entry(1, file.free(1 << 63, (1 << 64) - 1, pid=0), long=True))
            pages.append(file.page(begin, *entries))
        file.cpus.append((cpu, b"".join(pages)))
    return file


@needs_trace_cmd
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_row_by_row_as_the_program(path: Path):
    rows, missing, log = by_us(path)
    assert (rows, missing) == by_program(path)
    assert rows
    assert log.notes == ()  # the symbols are in the file: no name had to be believed


@needs_trace_cmd
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
@pytest.mark.parametrize("how", [("6", "none"), ("7", "none"), ("7", "zstd")], ids="-".join)
def test_files_that_the_program_made_of_them(path: Path, how: tuple[str, str], tmp_path: Path):
    new = tmp_path / "new.dat"
    try:
        run("convert", "-i", path, "-o", new, "--file-version", how[0], "--compression", how[1])
    except Exception:  # noqa: BLE001 (an older one, or without zstd)
        pytest.skip("this trace-cmd cannot convert that")
    rows, missing, log = by_us(new)
    expected, lost, before = by_us(path)
    assert (rows, missing, log.clock, log.release) == (
        expected, lost, before.clock, before.release
    )  # fmt: skip
    assert (rows, missing) == by_program(new)


@pytest.mark.parametrize("scene", SCENES)
def test_the_file_and_its_report_tell_the_same(captures: Path, scene: str):
    path = captures / LAB / f"trace-cmd-{scene}.dat"
    assert looks_like_trace_dat(path.read_bytes()[:64])
    rows, _, log = by_us(path)
    packed = captures / LAB / f"trace-cmd-{scene}.report-t.txt.xz"
    name = f"trace-cmd-{scene}.report{'-t' if packed.is_file() or scene == 'hole' else ''}.txt"
    expected, _, _ = parse_report(tools.raw(captures / LAB, name))
    if "-t" not in name:
        for row in rows:
            row["ts_ns"] = (row["ts_ns"] + 500) // 1000 * 1000
    assert rows == expected
    assert (log.clock, log.release) == ("mono", "6.1.192-vmemlab")


def test_the_kernel_saw_the_same_calls(captures: Path):
    calls = tools.truth(tools.raw(captures / LAB, "trace-cmd-hole.truth.txt"))
    rows, missing, _ = by_us(captures / LAB / "trace-cmd-hole.dat")
    assert (tools.like_truth(rows, calls), missing) == (calls, {})
    lossy, missing, _ = by_us(captures / LAB / "trace-cmd-lost.dat")
    rest = iter(tools.truth(tools.raw(captures / LAB, "trace-cmd-lost.truth.txt")))
    assert all(call in rest for call in tools.like_truth(lossy, calls))
    assert missing == {"lost": 107}


def test_the_kernels_own_count_of_what_its_marks_do_not_number(captures: Path):
    # trace-cmd record printed: CPU 0: 178 events lost, CPU 1: 179 events lost
    assert by_us(captures / LAB / "trace-cmd-lost-unnumbered.dat")[1] == {"lost": 178 + 179}


@pytest.mark.parametrize(("version", "order", "packing"), FORMS)
def test_every_form_tells_the_same(version: int, order: str, packing: str, tmp_path: Path):
    path = written(tmp_path / "x", two_cpus(File(version, order, packing)))
    rows, missing, log = by_us(path)
    assert (missing, log.clock, log.release, log.notes) == ({}, "mono", "6.1.0-test", ())
    assert log.lines == 2 * 25 * 5
    assert log.probes == {"vmemmap_free": "entry", "__warn": "entry"}
    times = [row["ts_ns"] for row in rows]
    assert times == sorted(times)
    assert len(rows) == 2 * 25 * 3
    assert rows[0] == dict.fromkeys(rows[0]) | {
        "ts_ns": BASE, "kind": "free", "phase": "entry", "cpu": 0, "tid": 7,
        "comm": "a  b", "start": 0, "end": 0, "source": "kprobe"
    }  # fmt: skip
    assert [row for row in rows if row["line"] == 1024][-1] == dict.fromkeys(rows[0]) | {
        "ts_ns": BASE + 24 * 10_000 + 500 + 3000, "kind": "warn", "phase": "entry", "cpu": 1,
        "tid": 66, "comm": "insmod", "site": "arch/arm64/mm/mmu.c", "line": 1024,
        "source": "kprobe",
    }  # fmt: skip
    last = rows[-1]
    assert (last["start"], last["end"], last["comm"]) == (1 << 63, (1 << 64) - 1, "<idle>")
    assert last["ts_ns"] == BASE + 24 * 10_000 + 500 + 3000 + 200_000_001
    assert {row["comm"] for row in rows if row["tid"] == 8} == {"<...>"}


@needs_trace_cmd
@pytest.mark.parametrize(("version", "order", "packing"), FORMS)
def test_the_program_reads_made_files_so_too(
    version: int, order: str, packing: str, tmp_path: Path
):
    path = written(tmp_path / "x", two_cpus(File(version, order, packing)))
    if packing == "zlib" and b"zlib" not in run("list", "-c"):
        pytest.skip("this trace-cmd has no zlib")
    rows, missing, _ = by_us(path)
    for row in rows:  # sscanf takes a name's first space for its own
        row["comm"] = row["comm"].strip()
    assert (rows, missing) == by_program(path)


@pytest.mark.parametrize("version", [6, 7])
def test_instances_are_read_together(version: int, tmp_path: Path):
    file = File(version)
    file.cpus = [
        (0, file.page(BASE, file.entry(0, file.free(1, 2)), file.entry(9, file.free(3, 4))))
    ]
    file.others = {"foo": [(0, file.page(BASE + 5, file.entry(0, file.free(5, 6))))]}
    rows, missing, _ = by_us(written(tmp_path / "x", file))
    assert ([row["start"] for row in rows], missing) == ([1, 5, 3], {})


@pytest.mark.parametrize("version", [6, 7])
def test_a_clock_that_counts_is_rejected(version: int, tmp_path: Path, captures: Path):
    with pytest.raises(LogError, match=r"counts.*-C mono"):
        by_us(captures / LAB / "trace-cmd-counter.dat")
    for clock in (b"local [counter]", b"[x86-tsc]", b"[Mono]"):
        with pytest.raises(LogError, match=r"counts.*-C mono"):
            by_us(written(tmp_path / "x", File(version, clock=clock)))


@pytest.mark.parametrize("version", [6, 7])
def test_counts_with_a_way_to_nanoseconds(version: int, tmp_path: Path):
    file = File(version, clock=b"[x86-tsc]")
    count = 7 << 40 | 12345
    file.options = [(14, file.n((4, 0x155555), (4, 22), (8, 0)))]
    file.cpus = [(0, file.page(count, file.entry(0, file.free(1, 2))))]
    path = written(tmp_path / "x", file)
    rows, _, _ = by_us(path)
    assert abs(rows[0]["ts_ns"] - (count * 0x155555 >> 22)) <= 1


@pytest.mark.parametrize("version", [6, 7])
def test_times_are_moved_as_the_file_says(version: int, tmp_path: Path):
    file = File(version)
    file.cpus = [(0, file.page(BASE, file.entry(0, file.free(1, 2))))]
    file.options = [(1, b"0x10\0"), (7, b"-3000\0")]
    assert by_us(written(tmp_path / "x", file))[0][0]["ts_ns"] == BASE + 16_000 - 3000
    file.options = [(7, b"soon\0")]
    with pytest.raises(LogError, match="no number"):
        by_us(written(tmp_path / "x", file))
    file.options = [(12, bytes(16))]
    rows, _, log = by_us(written(tmp_path / "x", file))
    assert rows[0]["ts_ns"] == BASE
    assert "guest" in log.notes[0]


def test_the_clock_of_trace_cmd_2_stands_behind_the_table(tmp_path: Path):
    file = File(6, clock=b"[boot]")
    file.cpus = [(0, file.page(BASE, file.entry(0, file.free(1, 2))))]
    data = file.made()
    option = file.n((2, 4), (4, 7)) + b"[boot]\0"
    at = data.index(option)
    short = data[:at] + file.n((2, 4), (4, 0)) + data[at + len(option) :]
    table = short.index(b"flyrecord\0") + 10
    pages = data.index(file.n((8, BASE)), table)
    fill = pages - (short.index(file.n((8, BASE)), table))
    short = short[: table + 16 + 8 + 6] + bytes(fill) + short[table + 16 + 8 + 6 :]
    assert struct.unpack_from("<Q", short, table) == (pages,)
    (tmp_path / "x").write_bytes(short)
    rows, missing, log = by_us(tmp_path / "x")
    assert (len(rows), missing, log.clock) == (1, {}, "boot")


@pytest.mark.parametrize("version", [6, 7])
def test_losses_that_pages_tell_of(version: int, tmp_path: Path):
    file = File(version)
    pages = [
        file.page(BASE, file.entry(0, file.free(1, 2)), missed=5),
        file.page(BASE + 1, file.entry(0, file.free(1, 2)), missed=-1),
        file.page(BASE + 2, file.entry(0, file.free(1, 2)), missed=0),
        file.page(BASE + 3, missed=2),
    ]
    file.cpus = [(0, b"".join(pages))]
    path = written(tmp_path / "x", file)
    rows, missing, _ = by_us(path)
    assert (len(rows), missing) == (3, {"lost": 7, "lost_unknown": 2})
    file.options = [(2, b"CPU: 0\noverrun: 4\ncommit overrun: 3\ndropped events: 2\nread: 0\n\0")]
    assert by_us(written(tmp_path / "x", file))[1] == {"lost": 9}


def test_a_kernel_of_32_bits(tmp_path: Path):
    file = File(6, long=4)
    file.cpus = [(0, file.page(BASE, file.entry(3, file.free(1, 2)), missed=5))]
    rows, missing, _ = by_us(written(tmp_path / "x", file))
    assert ([row["ts_ns"] for row in rows], missing) == ([BASE + 3], {"lost": 5})


def test_names_are_believed_only_without_symbols(tmp_path: Path):
    file = File(kallsyms=b"0000000000000000 T vmemmap_free\n")
    file.cpus = [
        (0, file.page(BASE, file.entry(3, file.free(1, 2)), file.entry(4, file.warn(b"a", 1))))
    ]
    path = written(tmp_path / "x", file)
    rows, _, log = by_us(path)
    assert [row["kind"] for row in rows] == [Kind.FREE.label, Kind.WARN.label]
    assert "identified by the names of their events" in log.notes[0]
    with path.open("rb") as opened:
        places = {"vmemmap_free": ProbeLocation("vmemmap_free", 8), "warn": ProbeLocation("__warn")}
        log = TraceDat(opened.fileno(), locations=places)
        rows, _ = tools.read(log)
    assert [row["kind"] for row in rows] == [Kind.WARN.label]
    assert log.notes == ("1 events of probes inside our functions, not at entry: left out",)


def test_other_events_only(tmp_path: Path):
    file = File()
    file.cpus = [(0, file.page(BASE, file.entry(0, file.switch())))]
    rows, missing, log = by_us(written(tmp_path / "x", file))
    assert (rows, missing, log.notes) == ([], {}, ("no event of a function we watch in 1 events",))


@pytest.mark.parametrize("version", [6, 7])
def test_the_text_of_a_latency_tracer_is_named(version: int, tmp_path: Path):
    with pytest.raises(LogError, match="latency tracer, no events"):
        by_us(written(tmp_path / "x", File(version, latency=b"# tracer: irqsoff\n")))


def test_a_site_that_the_kernel_could_not_read_is_unknown(tmp_path: Path):
    file = File()
    file.cpus = [
        (
            0,
            file.page(
                BASE, *(file.entry(1, file.warn(site, 1)) for site in (b"(fault)", b"", b"a"))
            ),
        )
    ]
    assert [row["site"] for row in by_us(written(tmp_path / "x", file))[0]] == [None, None, "a"]
