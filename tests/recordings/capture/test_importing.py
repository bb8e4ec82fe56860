# SPDX-License-Identifier: GPL-2.0-only
"""Importing every kind of log: plain, packed, piped and broken."""

import gzip
import hashlib
import lzma
import os
import threading
from pathlib import Path

import pytest

from recordings.capture.importing import Imported, import_log
from recordings.format.reader import open_recording
from recordings.ledger.snapshot import Snapshot, Verdict
from recordings.ledger.whole import fold
from tests.conftest import TESTS
from tracers.batch import Losses
from tracers.logs.kprobe_text.text_log import LogError
from tracers.machine import read_machine

LAB = TESTS / "captures" / "6.1.192-vmemlab-39bit"
LAB_612 = TESTS / "captures" / "6.12.117-vmemlab-48bit"


def folded(trace: Path, out: Path, **options) -> tuple[Imported, Snapshot, dict]:
    done = import_log(trace, out, **options)
    with open_recording(out) as recording:
        assert recording.problems == ()
        return done, fold(recording), {
            "header": recording.header, "closing": recording.closing_notes
        }  # fmt: skip


# 1 GiB in the hole, 8 sections: 8 + 8 calls, all above the window, and a WARN for each.
@pytest.mark.parametrize(
    ("name", "importer"),
    [
        ("trace-cmd-hole.dat", "trace.dat"),
        ("trace-cmd-hole.report.txt", "trace-cmd"),
        ("trace-cmd-hole.report-l.txt", "trace-cmd"),
        ("perf.script.txt", "perf"),
        ("bpftrace.txt", "bpftrace"),
        ("bpftrace.jsonl", "bpftrace"),
    ],
)
def test_all_importers_tell_of_the_same_scene_the_same(tmp_path: Path, name: str, importer: str):
    done, snapshot, told = folded(LAB / name, tmp_path / "x.arrows", machine_dir=LAB)
    assert (done.events, done.derived, done.losses) == (56 + 8, 8, Losses())
    assert (snapshot.populate, snapshot.free, snapshot.hits, snapshot.warnings) == (8, 8, 16, 16)
    assert snapshot.regimes.above == 16
    assert snapshot.verdict is Verdict.OUT_OF_RANGE
    header = told["header"]
    assert header.origin == {
        "importer": importer,
        "file": name,
        "sha256": hashlib.sha256((LAB / name).read_bytes()).hexdigest(),
    }
    assert header.clock["name"] == {"trace.dat": "mono", "bpftrace": "boot"}.get(
        importer, "unknown"
    )
    assert header.machine.release == "6.1.192-vmemlab"


@pytest.mark.parametrize("name", ["perf.script.txt", "bpftrace.txt"])
def test_in_range_is_clean(tmp_path: Path, name: str):
    done, snapshot, _ = folded(LAB_612 / name, tmp_path / "x.arrows", machine_dir=LAB_612)
    sections = 32 if name.startswith("perf") else 8
    assert done.derived == 0
    # The lab's KASLR moves the window's content, never the window.
    assert (snapshot.populate, snapshot.free) == (sections, sections)
    assert (snapshot.hits, snapshot.warnings) == (0, 0)
    assert snapshot.verdict is Verdict.CLEAN


@pytest.mark.parametrize("name", ["perf-lost.script.txt.xz", "bpftrace-lost.txt.xz"])
def test_losses_are_in_the_recording(tmp_path: Path, name: str):
    done, snapshot, _ = folded(LAB / name, tmp_path / "x.arrows", machine_dir=LAB)
    assert done.losses.lost == snapshot.losses.lost == (5 if name.startswith("perf") else 557)


def test_a_packed_log_is_the_log(tmp_path: Path):
    raw = (LAB / "below.ftrace.txt").read_bytes()
    plain = import_log(LAB / "below.ftrace.txt", tmp_path / "plain", machine_dir=LAB)
    for name, pack in {"gz": gzip.compress, "xz": lzma.compress}.items():
        (tmp_path / name).write_bytes(pack(raw))
        done, _, told = folded(tmp_path / name, tmp_path / f"{name}.arrows", machine_dir=LAB)
        assert done == plain
        assert told["header"].origin["importer"] == "ftrace"
        (tmp_path / name).write_bytes(pack(raw)[:-9])  # the checksum is gone, the text is not
        done, snapshot, _ = folded(tmp_path / name, tmp_path / f"{name}2.arrows", machine_dir=LAB)
        assert done.losses == snapshot.losses == Losses(torn=1)
        assert any("damaged or cut short" in note for note in done.notes)


@pytest.mark.parametrize("name", ["below.ftrace.txt", "trace-cmd-hole.dat"])
def test_a_log_through_a_pipe(tmp_path: Path, name: str):
    raw = (LAB / name).read_bytes()
    os.mkfifo(tmp_path / "pipe")
    thread = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(raw))
    thread.start()
    done, _, told = folded(tmp_path / "pipe", tmp_path / "x.arrows", machine_dir=LAB)
    thread.join()
    assert done == import_log(LAB / name, tmp_path / "y.arrows", machine_dir=LAB)
    digest = hashlib.sha256(raw).hexdigest()
    # known before the first event only where the pipe had to end first
    known = told["header"].origin.get("sha256")
    assert (known, told["closing"]) in ((digest, ()), (None, (f"sha256 of the log: {digest}",)))


def test_a_trace_of_another_kernel_than_the_machine_has_no_verdict(tmp_path: Path):
    _, snapshot, told = folded(
        LAB / "trace-cmd-hole.dat", tmp_path / "x.arrows", machine_dir=LAB_612
    )
    assert snapshot.verdict is Verdict.INCONCLUSIVE
    assert any("6.1.192-vmemlab" in line for line in told["header"].machine.problems)
    _, _, told = folded(LAB / "trace-cmd-hole.dat", tmp_path / "y.arrows")
    assert told["header"].machine.release == "6.1.192-vmemlab"


def test_other_events_only_are_imported_with_a_note(tmp_path: Path):
    line = b"          insmod-85    [001]     8.107110: sched_switch:         a:1 [120] D ==> b:2\n"
    (tmp_path / "x").write_bytes(b"cpus=2\n" + line)
    done, snapshot, _ = folded(tmp_path / "x", tmp_path / "x.arrows", machine_dir=LAB)
    assert (done.events, done.notes) == (0, ("no event of a function we watch in 2 lines",))
    assert snapshot.verdict is Verdict.INCONCLUSIVE


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is empty"),
        (b"PERFILE2" + bytes(99), "perf script --ns"),
        (b"\x7fELF" + bytes(99), "an ELF file"),
        (b"\xff\xff\xff\xff" + bytes(99), "vmemscope report"),
        (b"BZh9" + bytes(99), "unpack it first"),
        (gzip.compress(gzip.compress(b"# tracer: nop\n")), "packed twice"),
        (gzip.compress(b"")[:5], "nothing of it can be unpacked"),
        (b"\n\n", "no log of a kind we know"),
        (lzma.compress(b"# tracer: nop\n")[:9], "nothing of it can be unpacked"),
        (b"hello\n", "--format NAME"),
        (b"# tracer: nop\n# nop latency trace v1.1.5 on 6.1\n", "latency-format"),
        (b"\x17\x08\x44tracing6\0", "trace-cmd"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_cannot_be_imported_is_one_line_and_leaves_no_file(
    tmp_path: Path, content: bytes, says: str
):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(LogError) as told:
        import_log(tmp_path / "x", tmp_path / "x.arrows")
    assert says in str(told.value)
    assert str(told.value).startswith(str(tmp_path / "x"))
    assert "\n" not in str(told.value)
    assert not (tmp_path / "x.arrows").exists()


def test_a_format_by_name(tmp_path: Path):
    (tmp_path / "x").write_bytes((LAB / "below.ftrace.txt").read_bytes())
    with pytest.raises(LogError, match="perf script"):
        import_log(tmp_path / "x", tmp_path / "x.arrows", log_format="perf")
    with pytest.raises(LogError, match=r"there are trace\.dat"):
        import_log(tmp_path / "x", tmp_path / "x.arrows", log_format="nope")
    assert import_log(tmp_path / "x", tmp_path / "y.arrows", log_format="ftrace").events


# -- a log beside another kernel's files ----------------------------------------------------------


@pytest.mark.parametrize(
    ("folder", "verdict"), [(LAB, Verdict.OUT_OF_RANGE), (LAB_612, Verdict.INCONCLUSIVE)]
)
@pytest.mark.parametrize("names", [("config",), ("config", "uname"), ("kcore-vmcoreinfo",)])
def test_the_release_of_a_log_and_of_the_machines_files_must_be_one(
    tmp_path: Path, folder: Path, verdict: Verdict, names: tuple[str, ...]
):
    """below.dmesg.txt is of 6.1.192: with 6.12's files there is no verdict, whichever they are."""
    machine = tmp_path / "machine"
    machine.mkdir()
    for name in names:
        (machine / name).write_bytes((folder / name).read_bytes())
    done, snapshot, told = folded(
        LAB / "below.dmesg.txt", tmp_path / "x.arrows", machine_dir=machine
    )
    assert snapshot.verdict is verdict
    known = told["header"].machine
    assert known == done.machine
    assert known.agree is (verdict is Verdict.OUT_OF_RANGE)
    if not known.agree:
        assert "6.1.192-vmemlab" in "\n".join(known.problems)
        assert known.problems == tuple(dict.fromkeys(known.problems))
    elif "kcore-vmcoreinfo" not in names:
        assert known.window is not None
        assert known.window.provenance["struct_page"].startswith("assumed")


def test_numbers_and_a_release_by_hand_stand_in_for_files(tmp_path: Path):
    facts = {
        "va_bits": [("given", 39)],
        "page_size": [("given", 4096)],
        "memstart": [("given", 0x4000_0000)],
    }
    log, release = LAB / "hole.ftrace.txt", ("given", "6.1")
    done, snapshot, _ = folded(log, tmp_path / "told", facts=facts, release=release)
    noted, known, _ = folded(log, tmp_path / "noted", machine_dir=LAB)
    assert (done.events, done.derived) == (noted.events, noted.derived)
    assert (snapshot.verdict, snapshot.regimes) == (known.verdict, known.regimes)
    # the log's own release is compared with the one by hand
    _, snapshot, told = folded(
        LAB / "below.dmesg.txt", tmp_path / "other", facts=facts, release=("given", "6.12")
    )
    assert snapshot.verdict is Verdict.INCONCLUSIVE
    assert "given is of kernel 6.12" in "\n".join(told["header"].machine.problems)


def test_a_console_alone_gives_its_warns_and_its_oops(tmp_path: Path):
    """No side files and no vmlinux: the Oops tells the window, which is the kernel's own."""
    out = tmp_path / "x.arrows"
    console = LAB / "wrap.console.txt"
    done = import_log(console, out)
    own = read_machine(LAB).window
    told = done.machine.window
    assert (told.start, told.end, told.memstart) == (own.start, own.end, own.memstart)
    with open_recording(out) as recording:
        numbers = fold(recording)
    assert (numbers.warnings, numbers.populate, numbers.faults_total) == (8, 8, 1)
    assert numbers.verdict is Verdict.OUT_OF_RANGE
    (fault,) = numbers.faults
    assert (fault.start, fault.pfn, fault.regime) == (0x3FDFE000000, 0xFFFFC0000, "wrapped")


def test_a_log_and_a_machine_of_two_releases_contradict_each_other_once(tmp_path: Path):
    folder = tmp_path / "machine"
    folder.mkdir()
    note = (LAB / "kcore-vmcoreinfo").read_text()
    (folder / "kcore-vmcoreinfo").write_text(note.replace("6.1.192-vmemlab", "6.1.193-other"))
    done = import_log(LAB / "below.dmesg.txt", tmp_path / "x.arrows", machine_dir=folder)
    assert not done.machine.agree
    said = [problem for problem in done.machine.problems if "6.1.193-other" in problem]
    assert said == [
        "the log is of kernel 6.1.192-vmemlab, the machine's files are of 6.1.193-other"
    ]


def test_page_tables_and_the_logs_own_release_prove_its_calls(tmp_path: Path):
    """The release gives the section's size, the page tables all else that the proof needs."""
    folder = tmp_path / "machine"
    folder.mkdir()
    (folder / "kernel_page_tables").write_bytes((LAB / "kernel_page_tables").read_bytes())
    done, numbers, _ = folded(LAB / "below.dmesg.txt", tmp_path / "x.arrows", machine_dir=folder)
    assert done.machine.window.section_size_bits == 27
    assert (numbers.regimes.hits, numbers.regimes.unknown) == (2, 0)


def test_a_pipe_is_not_waited_for_where_the_window_is_known(tmp_path: Path):
    """The first calls are out before the log has its end, as with dmesg -w."""
    pipe, out = tmp_path / "pipe", tmp_path / "out"
    os.mkfifo(pipe)
    os.mkfifo(out)
    seen = threading.Event()

    def write() -> None:
        with pipe.open("wb") as file:
            file.write((LAB / "below.dmesg.txt").read_bytes())
            file.flush()
            assert seen.wait(60)

    def importing() -> None:
        with out.open("wb") as file:
            import_log(pipe, file, machine_dir=LAB)

    threads = [threading.Thread(target=target) for target in (write, importing)]
    for thread in threads:
        thread.start()
    with out.open("rb") as recording:
        assert recording.read(16)  # the header is written with the first calls
        seen.set()
        assert recording.read()
    for thread in threads:
        thread.join()
