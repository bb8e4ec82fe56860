# SPDX-License-Identifier: GPL-2.0-only
"""Audits of machines' files: expected numbers are those that devpriv was loaded with."""

import shutil
from pathlib import Path

import pytest

from recordings.audit.audit import Audit
from recordings.audit.gathering import of_folder, of_running
from recordings.audit.regions import Region
from recordings.ledger.snapshot import Verdict
from tracers.constants.errors import ConstantsError
from tracers.errors import VmemscopeError
from tracers.window import Regime

LAB = "6.1.192-vmemlab-39bit"
MAPPED = f"{LAB}/mapped"
LVA = "7.3.4-vmemlab-64k-52bit/mapped-below"
PLAIN = "7.3.4-vmemlab-64k-52bit-on-48bit/mapped-below"


def only(audit: Audit) -> Region:
    (row,) = audit.rows
    return row


def edited(captures: Path, tmp_path: Path, name: str, old: str, new: str) -> Path:
    """Copy the mapped machine with one file changed."""
    folder = tmp_path / "machine"
    shutil.copytree(captures / MAPPED, folder)
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new))
    return folder


def test_a_gib_in_the_hole(captures: Path) -> None:
    found = of_folder(captures / MAPPED)
    assert found.verdict is Verdict.OUT_OF_RANGE
    assert found.reasons == (
        "1 GiB (devpriv) has its struct pages outside the window now.",
        "Since boot the kernel log has 8 calls outside the window, 8 WARNs.",
    )
    row = only(found)
    assert (row.name, row.start, row.end) == ("devpriv", 0x5000000000, 0x5040000000)
    assert (row.page_start, row.page_end) == (0xFFFFFFFF3F000000, 0xFFFFFFFF40000000)
    assert (row.regime, row.lands_on, row.silent) == (Regime.ABOVE, "unused", False)
    assert (row.mapped, row.present, row.resource) == ({"kernel_page_tables": 16 << 20}, None, True)
    assert found.held == 1 << 30
    assert not found.gone
    assert not found.problems
    assert set(found.missing) == {"swapper_pg_dir", "mem_section", "vmalloc areas"}
    room = found.headroom
    assert room is not None
    # 256 GiB from the start of RAM on, less 2 GiB of it and the 256 MiB of PCI ECAM
    assert (room.covered_start, room.covered_end) == (0x40000000, 0x4040000000)
    assert room.taken == (2 << 30) + (256 << 20)
    assert (room.largest_start, room.largest) == (0xC0000000, 0x4010000000 - 0xC0000000)


@pytest.mark.parametrize(
    ("folder", "start", "silent"),
    [(LVA, 0xFFFFFC1FBFF00000, False), (PLAIN, 0xFFFFFFDFBFF00000, True)],
)
def test_below_ram_it_is_silent_where_the_kernel_is_blind(
    captures: Path, folder: str, start: int, silent: bool
) -> None:
    found = of_folder(captures / folder)
    row = only(found)
    assert found.verdict is Verdict.OUT_OF_RANGE
    assert (row.start, row.end, row.page_start) == (0, 128 << 20, start)
    assert (row.page_size, row.mapped) == (0x20000, {"kernel_page_tables": 0x20000})
    assert (row.regime, row.silent, row.lands_on) == (Regime.BELOW, silent, "guard hole")


@pytest.mark.parametrize("folder", [LAB, "6.12.117-vmemlab-48bit", "7.3.4-vmemlab-64k-52bit"])
def test_nothing_is_mapped_outside(captures: Path, folder: str) -> None:
    found = of_folder(captures / folder)
    assert (found.verdict, found.rows) == (Verdict.CLEAN, ())
    assert found.missing["kernel log"].startswith("none of dmesg.txt")


def test_what_nobody_owns(captures: Path, tmp_path: Path) -> None:
    """As after a driver that gave its resource back and left the mapping."""
    folder = edited(captures, tmp_path, "iomem", "5000000000-503fffffff : devpriv\n", "")
    found = of_folder(folder)
    row = only(found)
    assert (found.verdict, row.stray, row.page_start) == (
        Verdict.OUT_OF_RANGE,
        True,
        0xFFFFFFFF3F000000,
    )
    assert (row.start, row.end) == (0x5000000000, 0x5040000000)  # where its pfns would be
    assert found.held == 0
    assert found.reasons[0] == (
        "16 MiB of normal memory is mapped outside the window, and nobody has it."
    )


def test_what_was_and_is_no_more(captures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "machine"
    shutil.copytree(captures / LAB, folder, ignore=shutil.ignore_patterns("*.xz", "*.dat", "*.txt"))
    shutil.copy(captures / MAPPED / "dmesg.txt", folder)
    found = of_folder(folder)
    assert found.verdict is Verdict.OUT_OF_RANGE  # since boot
    assert not found.rows
    (gone,) = found.gone
    assert (gone.start, gone.end, gone.populate) == (0xFFFFFFFF3F000000, 0xFFFFFFFF40000000, 8)


def test_a_dump_that_ends_before_the_window_is_not_clean(captures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "machine"
    shutil.copytree(captures / MAPPED, folder)
    (folder / "dmesg.txt").unlink()
    dump = folder / "kernel_page_tables"
    dump.write_text(dump.read_text().partition("---[ vmemmap end ]---")[0])
    found = of_folder(folder)
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.reasons == (
        "Not all page tables could be seen, and there are no memory sections to ask.",
    )


def test_registers_there_are_a_collision(captures: Path, tmp_path: Path) -> None:
    """The PCI I/O area's registers in the middle of the struct pages of physical 0."""
    folder = edited(
        captures,
        tmp_path,
        "iomem",
        "08000000-0800ffff : GICD\n",
        "00000000-07ffffff : devpriv\n08000000-0800ffff : GICD\n",
    )
    dump = folder / "kernel_page_tables"
    old = "0xfffffffdfea00000-0xfffffffdff800000          14M PMD"
    assert old in dump.read_text()
    flags = "       RW NX SHD AF        BLK UXN    MEM/NORMAL"
    dump.write_text(
        dump.read_text().replace(
            old,
            "0xfffffffdfea00000-0xfffffffdff000000           6M PMD\n"
            f"0xfffffffdff000000-0xfffffffdff200000           2M PMD{flags}\n"
            "0xfffffffdff200000-0xfffffffdff800000           6M PMD",
        )
    )
    below, above = of_folder(folder).rows
    assert (below.name, below.page_start, below.lands_on) == (
        "devpriv",
        0xFFFFFFFDFF000000,
        "PCI I/O",
    )
    assert above.start == 0x5000000000


def test_a_folder_without_anything(tmp_path: Path) -> None:
    with pytest.raises(VmemscopeError, match="no file that describes a machine"):
        of_folder(tmp_path)


def test_a_log_that_is_none(captures: Path, tmp_path: Path) -> None:
    """One that was named must be one; one that lies there is only not read."""
    log = tmp_path / "log"
    log.write_text("no line of a kernel\n" * 1000)
    with pytest.raises(VmemscopeError, match="not a kernel log"):
        of_folder(captures / LAB, log)
    folder = tmp_path / "machine"
    shutil.copytree(captures / PLAIN, folder)
    shutil.copy(log, folder / "dmesg")
    found = of_folder(folder)
    assert found.log is None
    assert found.missing["kernel log"]


def test_another_machine_than_arm64() -> None:
    with pytest.raises(ConstantsError, match="the vmemmap window is arm64's"):
        of_running()
