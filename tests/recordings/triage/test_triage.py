# SPDX-License-Identifier: GPL-2.0-only
"""From a bug report made of a real kernel's output to the numbers that its ftrace had."""

import gzip
import lzma
import os
import re
import tempfile
from pathlib import Path

import pytest

from recordings.ledger.snapshot import Verdict
from recordings.samples import sample_path
from recordings.triage import bundle
from recordings.triage.reading import Options
from recordings.triage.triage import Triaged, strongest, triage
from recordings.triage.workplace import Workplace
from tests.conftest import TESTS
from tests.recordings.bug_reports import (
    BELOW,
    LAB,
    STORM,
    as_folder,
    as_tar,
    journal,
    pstore,
    sosreport,
)

CAPTURES = TESTS / "captures"
CLEAN = CAPTURES / "6.12.117-vmemlab-48bit"
OUT, DOUBT, FINE = Verdict.OUT_OF_RANGE, Verdict.INCONCLUSIVE, Verdict.CLEAN


def told(path: Path, **options) -> Triaged:
    with Workplace() as place:
        found = triage(path, place, Options(**options))
        for each in found.readings:
            assert str(place.path) not in each.name
            assert str(place.path) not in " ".join(each.header.machine.problems)
    assert not place.path.exists()
    assert str(place.path) not in " ".join((*found.problems, *found.remarks))
    return found


def calls(found: Triaged) -> tuple[int, int]:
    """Populate and free calls of the log with most evidence: those that were hits."""
    numbers = found.readings[0].snapshot
    assert numbers.hits == numbers.populate + numbers.free
    return numbers.populate, numbers.free


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return as_folder(sosreport(), tmp_path / "report")


def test_a_sosreport_has_the_storm_that_ftrace_saw(report: Path) -> None:
    found = told(report)
    assert (found.verdict, found.problems, found.remarks) == (OUT, (), ())
    assert calls(found) == (128, 128)
    first, second = found.readings
    assert first.name == "sosreport-lab-1/sos_commands/kernel/dmesg"
    assert second.name == "sosreport-lab-1/sos_commands/logs/journalctl_--no-pager_--boot"
    # Not added together: each has them all.
    assert second.snapshot.hits == 256
    assert second.beside(first) == "the same 256 calls"
    assert {name.removeprefix("sosreport-lab-1/") for name in first.machine_files} == {
        "boot/config-6.1.192-vmemlab",
        "kcore-vmcoreinfo",
        "proc/iomem",
        "sos_commands/kernel/uname_-a",
        "sys/kernel/debug/kernel_page_tables",
    }
    assert first.header.origin["file"] == "dmesg"


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_a_tar_says_what_its_folder_says(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "report.tar"
    path.write_bytes(as_tar(sosreport(), mode))
    found = told(path)
    assert (found.verdict, found.problems) == (OUT, ())
    assert calls(found) == (128, 128)


def test_a_sosreport_without_the_note_says_what_is_missing(tmp_path: Path) -> None:
    found = told(as_folder(sosreport(note=False), tmp_path))
    assert found.verdict is DOUBT
    machine = found.readings[0].header.machine
    assert (machine.window, machine.release) == (None, "6.1.192-vmemlab")


def test_config_and_uname_are_enough(tmp_path: Path) -> None:
    files = sosreport(note=False)
    files["sosreport-lab-1/boot/config-6.1.192-vmemlab"] = (LAB / "config").read_bytes()
    found = told(as_folder(files, tmp_path))
    assert (found.verdict, calls(found)) == (OUT, (128, 128))


def test_a_machine_that_is_given_is_the_one(tmp_path: Path) -> None:
    found = told(as_folder(sosreport(note=False), tmp_path), machine_dir=LAB)
    assert (found.verdict, found.readings[0].machine_files) == (OUT, ())


def test_a_log_alone_is_a_report(tmp_path: Path) -> None:
    path = tmp_path / "pasted.txt"
    path.write_bytes(STORM)
    found = told(path, machine_dir=LAB)
    assert (found.verdict, calls(found)) == (OUT, (128, 128))
    assert found.readings[0].name == "pasted.txt"  # and no path of this machine
    assert told(path).verdict is DOUBT


def test_a_packed_and_rotated_log(tmp_path: Path) -> None:
    files = {"var/log/kern.log.2.gz": gzip.compress(journal(STORM))}
    files["kcore-vmcoreinfo"] = (LAB / "kcore-vmcoreinfo").read_bytes()
    for path in (as_folder(files, tmp_path / "folder"), tmp_path / "file.tar"):
        if path.suffix:
            path.write_bytes(as_tar(files))
        assert calls(told(path)) == (128, 128)


def test_pstore_s_parts_are_put_in_order(tmp_path: Path) -> None:
    files = {**pstore(STORM), "machine/kcore-vmcoreinfo": (LAB / "kcore-vmcoreinfo").read_bytes()}
    found = told(as_folder(files, tmp_path))
    assert (found.verdict, found.problems) == (OUT, ())
    assert calls(found) == (128, 128)
    assert re.search(r"dmesg-efi_pstore-\d+ \(\d+ parts\)$", found.readings[0].name)


def test_a_part_that_is_missing_is_said(tmp_path: Path) -> None:
    files = pstore(BELOW)
    del files[sorted(files)[1]]
    found = told(as_folder(files, tmp_path))
    assert found.problems[0].endswith("1 parts of it are missing")


def test_our_own_folder_is_a_report() -> None:
    found = told(CAPTURES / "7.3.4-vmemlab-64k-52bit")
    assert (found.verdict, found.problems) == (OUT, ())
    assert found.readings[0].name == "below.ftrace.txt"


def test_two_machines_are_not_mixed(tmp_path: Path) -> None:
    for capture in (LAB, CLEAN):
        files = ("kcore-vmcoreinfo", "iomem", "in-range.ftrace.txt")
        content = {f"{capture.name}/{name}": (capture / name).read_bytes() for name in files}
        as_folder(content, tmp_path)
    as_folder({"dmesg": BELOW}, tmp_path)
    found = told(tmp_path)
    by_name = {each.name: each for each in found.readings}
    for capture in (LAB, CLEAN):
        each = by_name[f"{capture.name}/in-range.ftrace.txt"]
        assert (each.verdict, each.header.machine.agree) == (FINE, True)
        assert all(name.startswith(capture.name) for name in each.machine_files)
    assert by_name["dmesg"].machine_files == ()
    assert "files of 2 machines are in it: which is that of dmesg" in found.remarks[0]


def test_the_configuration_is_that_of_the_release(tmp_path: Path) -> None:
    files = sosreport(name="s")
    files["s/boot/config-6.12.117-vmemlab"] = (CLEAN / "config").read_bytes()
    assert told(as_folder(files, tmp_path)).readings[0].header.machine.agree
    del files["s/sos_commands/kernel/uname_-a"], files["s/kcore-vmcoreinfo"]
    found = told(as_folder(files, tmp_path / "again"))
    assert "several configurations" in found.remarks[0]
    assert "config" not in found.readings[0].header.machine.sources


def test_a_log_without_anything_of_ours_weighs_nothing(tmp_path: Path) -> None:
    files = {
        "dmesg": (CLEAN / "in-range.dmesg.txt").read_bytes(),
        "trace.txt": (CLEAN / "in-range.ftrace.txt").read_bytes(),
        "kcore-vmcoreinfo": (CLEAN / "kcore-vmcoreinfo").read_bytes(),
    }
    found = told(as_folder(files, tmp_path))
    assert [each.verdict for each in found.readings] == [FINE, DOUBT]
    assert found.verdict is FINE
    assert found.readings[1].beside(found.readings[0]) == "nothing of ours in it"
    # What should have been read and was not takes it back.
    as_folder({"var/log/messages": b"BZh91AY"}, tmp_path)
    assert told(tmp_path).verdict is DOUBT


def test_recordings_are_read_too(tmp_path: Path) -> None:
    path = tmp_path / "storm.arrows"
    path.write_bytes(sample_path("storm").read_bytes())
    assert (told(path).verdict, calls(told(path))) == (OUT, (128, 128))
    assert told(tmp_path).readings[0].name == "storm.arrows"
    packed = tmp_path / "storm.arrows.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert calls(told(packed)) == (128, 128)
    archive = tmp_path / "report.tar"
    archive.write_bytes(as_tar({"a/storm.arrows": path.read_bytes()}))
    assert calls(told(archive)) == (128, 128)
    path.write_bytes(path.read_bytes()[:100])
    found = told(path)
    assert (found.verdict, len(found.problems)) == (None, 1)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"no log at all\n", "is no log of a kind we know"),
        (b"BZh91AY", "packed with bzip2"),
        (as_tar({"a": b"b"}), "no kernel log, no trace and no recording in it"),
        (as_tar({"dmesg": BELOW})[:300], "the tar is cut short"),
        (as_tar({"dmesg": b"BZh91AY"}), "dmesg: packed with bzip2"),
        (lzma.compress(b"text\n" * 1000)[:16], "damaged or cut short"),
        (b"PK\x03\x04 and no more", "the zip is damaged or cut short"),
    ],
)
def test_what_cannot_be_read_is_one_line(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "file\x1b[31m"
    path.write_bytes(content)
    found = told(path)
    assert (found.verdict, found.readings, len(found.problems)) == (None, (), 1)
    assert said in found.problems[0]
    assert found.problems[0].startswith(f"{tmp_path}/file\\x1b[31m: ")
    assert found.problems[0].count("file\\x1b") == 1


def test_a_cut_archive_gives_what_came_before(tmp_path: Path) -> None:
    path = tmp_path / "report.tar.gz"
    data = as_tar(sosreport(), "w:gz")
    path.write_bytes(data[: len(data) * 2 // 3])
    found = told(path)
    assert found.problems == ("the tar is cut short: what came before is used",)
    assert found.readings[0].name.endswith("kernel/dmesg")
    assert 0 < found.readings[0].snapshot.populate < 128


def test_names_of_members_are_safe_to_show(tmp_path: Path) -> None:
    path = tmp_path / "report.tar"
    path.write_bytes(as_tar({"\x1b]0;x\x07\u202e/dmesg": b"BZh91AY", "b/dmesg": BELOW}))
    found = told(path)
    assert found.problems[0].startswith("\\x1b]0;x\\x07\\u202e/dmesg: packed with bzip2")


def test_lists_have_budgets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "MOST_LOGS", 3)
    monkeypatch.setattr(bundle, "MOST_LOOKS", 4)
    files = {f"{at}/dmesg": BELOW for at in range(5)}
    files |= {f"{at}/words.txt": b"words\n" for at in range(6)}
    found = told(as_folder(files, tmp_path))
    assert len(found.readings) == 3
    assert found.problems == ("2 logs beyond the first 3 were not read",)
    assert found.remarks == ("2 files without a log's name were not looked at",)


def test_a_log_larger_than_the_room_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.tar"
    path.write_bytes(as_tar({"a/dmesg": STORM, "b/dmesg": BELOW}))
    with Workplace() as place:
        monkeypatch.setattr(place, "_left", 100_000)
        found = triage(path, place, Options())
    assert [each.name for each in found.readings] == ["b/dmesg"]
    assert "a/dmesg: takes more than" in found.problems[0]


def test_a_folder_of_a_killed_one_is_removed_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    killed, young = tmp_path / "vmemscope-triage-a", tmp_path / "vmemscope-triage-b"
    link = tmp_path / "vmemscope-triage-c"
    link.symlink_to(TESTS)
    with Workplace() as alive:
        for folder in (killed, young):
            as_folder({"1/log": b"left"}, folder)
        for folder in (killed, alive.path):
            os.utime(folder, (0, 0))
        with Workplace():
            assert (killed.exists(), young.exists(), alive.path.exists()) == (False, True, True)
    assert TESTS.exists()
    assert {path.name for path in tmp_path.iterdir()} == {young.name, link.name}


def test_an_image_that_is_none_is_said_once(tmp_path: Path) -> None:
    image = tmp_path / "vmlinux"
    image.write_bytes(b"no kernel")
    found = told(as_folder(sosreport(), tmp_path / "report"), vmlinux=image)
    assert (found.verdict, len(found.problems)) == (None, 1)
    assert str(image) in found.problems[0]


@pytest.mark.parametrize(
    ("verdicts", "whole", "expected"),
    [
        ((FINE, OUT, DOUBT), True, OUT),
        ((FINE, OUT), False, OUT),
        ((FINE, DOUBT), True, DOUBT),
        ((FINE, FINE), True, FINE),
        ((FINE,), False, DOUBT),
        ((), False, None),
    ],
)
def test_the_strongest_counts(verdicts, whole, expected) -> None:
    assert strongest(verdicts, whole=whole) is expected
