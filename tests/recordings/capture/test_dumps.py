# SPDX-License-Identifier: GPL-2.0-only
"""A dump of memory imported and triaged: what its log says, with what it says of its machine."""

import gzip
import lzma
import re
import tarfile
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recordings.capture.importing import Imported, import_log
from recordings.ledger.snapshot import Verdict
from recordings.triage.reading import Options
from recordings.triage.triage import Triaged, triage
from recordings.triage.workplace import Workplace
from tests.tracers.constants.dumps import RAM, TEXT
from tests.tracers.constants.kdumps import flattened, kdump
from tests.tracers.logs.rings import NOTE, Ring
from tracers.constants.core_file import Core
from tracers.constants.resources import iomem_text
from tracers.logs.kprobe_text.text_log import LogError
from tracers.logs.printk_ring import PrintkRing

DUMPS = Path(__file__).parents[2] / "dumps" / "6.1-panic"
_LINE = re.compile(rb"\[ *(\d+)\.(\d{6})\] (.*)")
WINDOW = """SIZE(page)=64
NUMBER(SECTION_SIZE_BITS)=27
NUMBER(VMEMMAP_START)=0xfffffffe00000000
NUMBER(VMEMMAP_END)=0xffffffff00000000
"""


def log_of(captures: Path) -> list[bytes]:
    """The first lines of what the kernel said."""
    with lzma.open(captures / "6.1.192-vmemlab-39bit" / "hole.dmesg.txt.xz") as file:
        return file.read().splitlines()[:200]


@pytest.fixture(scope="module")
def ring(captures: Path) -> Ring:
    """What a 6.1 kernel said of its first WARNs, in a ring as it was in its memory."""
    ring = Ring(count_bits=9, size_bits=15, head=(1 << 64) - (1 << 15))
    for line in log_of(captures):
        match = _LINE.fullmatch(line)
        assert match is not None
        ring.add(match[3], int(match[1]) * 10**9 + int(match[2]) * 1000, 75)
    return ring


@pytest.fixture(scope="module")
def machine_text() -> str:
    return TEXT + NOTE + WINDOW


def memory(ring: Ring, text: str) -> bytes:
    machine = ring.machine()
    content = text.encode()
    note = len(content).to_bytes(4, "little")
    machine.put(0x4030_0004, note)
    machine.put(0x4030_0000 + 12 + 12, content)
    return bytes(machine.memory)


def rows(path: Path) -> list[dict[str, object]]:
    with pa.ipc.open_stream(path) as stream:
        table: list[dict[str, object]] = stream.read_all().to_pylist()
    return table


def imported(dump: Path) -> tuple[list[dict[str, object]], Imported]:
    out = dump.with_suffix(".arrows")
    done = import_log(dump, out)
    return rows(out), done


@pytest.mark.parametrize("form", ["kdump", "flattened", "without zeros"])
def test_the_import_is_that_of_the_log(
    tmp_path: Path, captures: Path, ring: Ring, machine_text: str, form: str
) -> None:
    ram = memory(ring, machine_text)
    left_out = set[int]()  # as makedumpfile -d 1 does
    if form == "without zeros":
        left_out = {page for page in range(1024) if not any(ram[page * 4096 : page * 4096 + 4096])}
    data = kdump(ram, RAM, left_out=left_out)
    (tmp_path / "vmcore").write_bytes(flattened([(0, data)]) if form == "flattened" else data)
    (tmp_path / "kcore-vmcoreinfo").write_text(machine_text)
    held = log_of(captures)[200 - len(ring.held) :]
    (tmp_path / "dmesg").write_bytes(b"\n".join(held) + b"\n")
    import_log(tmp_path / "dmesg", tmp_path / "log.arrows", machine_dir=tmp_path)
    ours, done = imported(tmp_path / "vmcore")
    assert ours == rows(tmp_path / "log.arrows")
    assert any(row["kind"] == "populate" and row["start"] is not None for row in ours)
    lost = 200 - len(ring.held)
    assert done.notes[0].startswith(f"the log is the dump's printk ring: {len(held)} records")
    assert f"{lost} of it lost" in done.notes[0]
    assert "found in its memory, at physical 0x40300000" in done.notes[1]
    assert done.machine.window is not None
    assert done.machine.window.provenance["window"] == "vmcoreinfo"
    assert lost == 0
    assert done.losses.torn == 1  # the log was cut inside a splat


def triaged(path: Path) -> Triaged:
    with Workplace() as place:
        return triage(path, place, Options())


def test_triage_takes_a_dump_and_one_in_a_folder(
    tmp_path: Path, ring: Ring, machine_text: str
) -> None:
    folder = tmp_path / "report" / "127.0.0.1-2026-11-28"
    folder.mkdir(parents=True)
    data = kdump(memory(ring, machine_text), RAM)
    (folder / "vmcore").write_bytes(data)
    (folder / "other.core").write_bytes(b"no dump of memory")
    for path, name in ((folder / "vmcore", "vmcore"), (tmp_path / "report", None)):
        found = triaged(path)
        (reading,) = found.readings
        assert reading.verdict is Verdict.OUT_OF_RANGE
        assert reading.what == "the kernel log of a memory dump"
        assert found.problems == ()
        assert name is None or reading.name == name
    (folder / "vmcore").write_bytes(data[:5000])
    (folder / "dmesg").write_text("[    0.000000] Linux version 6.1.192-vmemlab (x) #1\n")
    found = triaged(tmp_path / "report")
    assert [reading.name.rpartition("/")[2] for reading in found.readings] == ["dmesg"]
    assert len(found.problems) == 1
    assert "vmcore: has no VMCOREINFO note" in found.problems[0]


def test_what_has_no_log_is_one_line_and_no_file(tmp_path: Path, ring: Ring) -> None:
    dump = tmp_path / "vmcore"
    dump.write_bytes(kdump(memory(ring, TEXT), RAM))
    with pytest.raises(LogError, match=r"vmcore: its VMCOREINFO note does not say where the"):
        imported(dump)
    assert not dump.with_suffix(".arrows").exists()
    assert "does not say where the kernel log is" in triaged(dump).problems[0]


def test_a_dump_that_is_packed_piped_or_in_an_archive_is_no_log(
    tmp_path: Path, panicked: bytes
) -> None:
    """Its memory has text that looks like a log: it is not read as one."""
    packed = tmp_path / "vmcore.gz"
    packed.write_bytes(gzip.compress(panicked))
    with pytest.raises(LogError, match="read from a file, not packed"):
        imported(packed)
    archive = tmp_path / "report.tar"
    with tarfile.open(archive, "w") as file:
        for name in ("vmcore", "core"):
            member = tarfile.TarInfo(f"report/{name}")
            member.size = len(panicked)
            file.addfile(member, BytesIO(panicked))
    found = triaged(archive)
    assert not found.readings
    assert "report/vmcore: a dump of memory that is packed, or in an archive" in found.problems[0]


def test_a_processs_core_file_in_a_folder_is_a_remark(tmp_path: Path, panicked: bytes) -> None:
    (tmp_path / "core").write_bytes(panicked)  # it has no note that says whose it is
    (tmp_path / "dmesg").write_text("[    0.000000] Linux version 6.1.192-vmemlab (x) #1\n")
    found = triaged(tmp_path)
    assert len(found.readings) == 1
    assert found.problems == ()
    assert "core: a core file that is not known to be a kernel's" in found.remarks[0]


# -- a true dump, of a kernel that panicked -------------------------------------------------------


@pytest.fixture(scope="module")
def panicked() -> bytes:
    with lzma.open(DUMPS / "core.xz") as file:
        return file.read()


def test_the_log_of_a_true_dump_is_what_the_console_had(tmp_path: Path, panicked: bytes) -> None:
    (tmp_path / "vmcore").write_bytes(panicked)
    with Core(tmp_path / "vmcore") as core:
        ring = PrintkRing(core)
        lines = iter([line.decode().rstrip("\n") for line in ring.lines()])
        iomem = iomem_text(core)
    assert ring.lost == 0
    with lzma.open(DUMPS / "console.txt.xz", "rt") as file:
        console = [line.rstrip("\n") for line in file if line.startswith("[")]
    assert len(console) > 400
    assert all(line in lines for line in console)  # the console leaves out what is for debugging
    device = "ffffc0000000-ffffffffffff : devpriv\n"  # the last GiB that 48 bits reach
    assert iomem == (DUMPS / "iomem").read_text() + device


def test_its_oops_is_told(tmp_path: Path, panicked: bytes) -> None:
    (tmp_path / "vmcore").write_bytes(panicked)
    (reading,) = triaged(tmp_path / "vmcore").readings
    assert reading.verdict is Verdict.OUT_OF_RANGE
    numbers = reading.snapshot
    # the console: "paging request at virtual address 000003fdfe000034", 8 WARNs before it
    assert (numbers.faults_total, numbers.warnings, numbers.populate) == (1, 8, 8)
    assert numbers.fault_regimes.wrapped == 1
    assert reading.header.machine.build_id == "3efcb224608b9fa782cc10ffbd19238962524dc0"


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_a_true_dump_that_is_cut_or_damaged(panicked: bytes, data: st.DataObject) -> None:
    """One line, or what is left of it; the answer is never one that the whole dump has not."""
    broken = bytearray(panicked)
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(0, len(broken) - 9))
        broken[at : at + 8] = data.draw(st.binary(min_size=8, max_size=8))
    if data.draw(st.booleans()):
        del broken[data.draw(st.integers(0, len(broken))) :]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "vmcore"
        path.write_bytes(broken)
        found = triaged(path)
    assert len(found.readings) + len(found.problems) >= 1
    assert all("\n" not in problem for problem in found.problems)


def test_a_cut_dump_in_every_place_is_one_line_or_a_part(tmp_path: Path, panicked: bytes) -> None:
    for size in (0, 10, 63, 64, 100, 700, 5000, 100_000, 200_000, 300_000):
        path = tmp_path / f"vmcore-{size}"
        path.write_bytes(panicked[:size])
        found = triaged(path)
        assert bool(found.readings) is not bool(found.problems)
