# SPDX-License-Identifier: GPL-2.0-only
"""A dump of memory imported and triaged: what its log says, with what it says of its machine."""

import lzma
import re
from pathlib import Path

import pyarrow as pa
import pytest

from recordings.capture.importing import Imported, import_log
from recordings.ledger.snapshot import Verdict
from recordings.triage.reading import Options
from recordings.triage.triage import Triaged, triage
from recordings.triage.workplace import Workplace
from tests.tracers.constants.dumps import RAM, TEXT
from tests.tracers.constants.kdumps import flattened, kdump
from tests.tracers.logs.rings import NOTE, Ring
from tracers.logs.kprobe_text.text_log import LogError

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


@pytest.mark.parametrize("form", ["kdump", "flattened"])
def test_the_import_is_that_of_the_log(
    tmp_path: Path, captures: Path, ring: Ring, machine_text: str, form: str
) -> None:
    data = kdump(memory(ring, machine_text), RAM)
    (tmp_path / "vmcore").write_bytes(data if form == "kdump" else flattened([(0, data)]))
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
