# SPDX-License-Identifier: GPL-2.0-only
"""The window from less than a note: a few files, a log, numbers; and what contradicts what."""

from pathlib import Path

import pytest

from tests.tracers.side_files import CONFIG, NOTES, UNAME, read
from tracers.evidence import BETWEEN, GIVEN, PFN, RAM, RAM_START, VMEMMAP
from tracers.explain import blindness, explain
from tracers.families import Family
from tracers.machine import assemble, read_machine, side_files
from tracers.machine_files import SideFiles
from tracers.machine_window import ASSUMED
from tracers.window import OR_MORE

# -- what a log tells, with or without files ----------------------------------------------------

OOPS = "the log's Oops"
#: cases/logs: an Oops of 6.8.7-demo; its own VMCOREINFO note gives the window that is expected
TOLD = {
    "page_size": [(OOPS, 4096)],
    "vabits_actual": [(OOPS, 48)],
    VMEMMAP: [(OOPS, (0x1FF_B200_0000 - 0xF_FFD0_0000 * 64) % 2**64)],
    RAM: [(OOPS, 0x800_0287_9000)],
    PFN: [(OOPS, 0xF_FFD0_0000)],
}
DEMO = ("the log", "6.8.7-demo")


def test_an_oops_alone_gives_the_window() -> None:
    machine = assemble(SideFiles(), facts=TOLD, release=DEMO)
    window = machine.window
    assert (machine.release, machine.agree) == ("6.8.7-demo", True)
    assert window is not None
    assert (window.start, window.end) == (0xFFFF_FDFF_C000_0000, 0xFFFF_FFFF_C000_0000)
    assert (window.memstart, window.family) == (0x8000_0000, Family.V6_9)
    assert (window.va_bits, window.vabits_actual, window.use_known) == (48, 48, True)
    assert window.provenance["window"] == f"{OOPS}: vmemmap+formula"
    assert window.provenance["va_bits"] == OR_MORE
    assert window.provenance["struct_page"] == ASSUMED
    said = "\n".join(machine.problems)
    assert "is of the layout of 6.9+, which 6.8.7-demo does not have" in said
    assert "memstart_addr would be -0x7fef80000000" in said
    assert "whether the kernel is built for 48 or 52 is not known" in said


def test_an_oops_that_prints_no_sizes_gives_the_window() -> None:
    """6.1.192-vmemlab-39bit/wrap.console.txt; expected: that machine's own note."""
    facts = {
        VMEMMAP: [(OOPS, (0x3FD_FE00_0000 - 0xF_FFFC_0000 * 64) % 2**64)],
        PFN: [(OOPS, 0xF_FFFC_0000)],
        BETWEEN: [(OOPS, 0x3FD_FE00_0034)],
    }
    machine = assemble(SideFiles(), facts=facts, release=("the log", "6.1.192-vmemlab"))
    assert machine.problems == ()
    window = machine.window
    assert window is not None
    assert (window.start, window.end) == (0xFFFF_FFFE_0000_0000, 0xFFFF_FFFF_0000_0000)
    assert (window.va_bits, window.page_size, window.memstart) == (39, 4096, 0x4000_0000)
    # one fact less, and 16K pages with 36 bits are as good
    less = assemble(SideFiles(), facts=facts | {PFN: []}, release=("the log", "6.1.192"))
    assert less.window is None
    assert "fits more than one layout" in less.problems[-1]


def test_sizes_and_release_of_a_log_are_enough_for_the_formula() -> None:
    facts = {name: TOLD[name] for name in ("page_size", "vabits_actual")}
    machine = assemble(SideFiles(), facts=facts, release=("the log", "6.1.192"))
    assert machine.problems == ()
    assert machine.window is not None
    # Debian's 6.1 (48 bits, 4K)
    assert machine.window.start == 0xFFFF_FC00_0000_0000
    assert machine.window.provenance["window"] == "release+formula"
    assert assemble(SideFiles(), facts=facts).window is None


@pytest.mark.parametrize("built", [48, 52])
def test_48_bits_in_use_are_one_window_in_use_whatever_it_was_built_for(built: int) -> None:
    facts = {name: TOLD[name] for name in ("page_size", "vabits_actual")}
    told = assemble(SideFiles(), facts=facts, release=("the log", "6.12.1")).window
    known = facts | {"va_bits": [("config", built)]}
    real = assemble(SideFiles(), facts=known, release=("the log", "6.12.1")).window
    assert told is not None
    assert real is not None
    assert (told.used, told.use_known) == (real.used, True)
    for start in (real.used[0], real.used[0] - 64, real.start - 64, real.end, 0x1FF_B200_0000):
        assert told.regime(start, start + 64) is real.regime(start, start + 64)
    # what the WARN compares with is the one of the two or the other
    assert told.lowest_start <= real.start <= told.start
    below = told.start - 64
    text = "\n".join(explain(told, None, below, below + 64))
    assert "it warns if it is built for 48 bits, not if for 52: not known" in text
    assert f"0x{0xFFFFC1FFC0000000:016x}, if it is built for 52 bits" in blindness(told)


def test_a_log_of_another_boot_has_another_memstart(captures: Path) -> None:
    """KASLR: the same kernel, 6.12.117, and pfn 0 elsewhere; the log's own boot is what counts."""
    files = side_files(captures / "6.12.117-vmemlab-48bit")
    own = assemble(files).window
    assert own is not None
    moved = own.vmemmap - 64 * 2**18  # 1 GiB of pages
    machine = assemble(
        side_files(captures / "6.12.117-vmemlab-48bit"), facts={VMEMMAP: [(OOPS, moved)]}
    )
    assert machine.agree
    assert "another boot" in "\n".join(machine.problems)
    assert machine.window is not None
    assert (machine.window.vmemmap, machine.window.start) == (moved, own.start)
    for wrong in (own.vmemmap + 64, 0x1000):
        machine = assemble(
            side_files(captures / "6.12.117-vmemlab-48bit"), facts={VMEMMAP: [(OOPS, wrong)]}
        )
        assert not machine.agree
        assert machine.window is not None
        assert machine.window.vmemmap == own.vmemmap


@pytest.mark.parametrize(
    ("facts", "release", "said"),
    [
        (
            {"page_size": [(OOPS, 65536)]},
            None,
            "page_size: vmcoreinfo says 4096, the log's Oops says 65536",
        ),
        (
            {"vabits_actual": [(OOPS, 48)]},
            None,
            "vabits_actual: vmcoreinfo says 39, the log's Oops says 48",
        ),
        (
            {},
            ("the log", "6.1.190-vmemlab"),
            "the log is of kernel 6.1.190-vmemlab, the machine's files are of 6.1.192-vmemlab",
        ),
    ],
)
def test_a_log_beside_another_machines_files(
    tmp_path: Path,
    facts: dict[str, list[tuple[str, int]]],
    release: tuple[str, str] | None,
    said: str,
) -> None:
    (tmp_path / "kcore-vmcoreinfo").write_text(NOTES)
    machine = assemble(side_files(tmp_path), facts=facts, release=release)
    assert said in "\n".join(machine.problems)
    assert not machine.agree


# -- less than a note ---------------------------------------------------------------------------


def known_release(captures: Path, kernel: str) -> str:
    return (captures / kernel / "uname").read_text().split()[2]


@pytest.mark.parametrize(
    "kernel",
    [
        "6.1.192-vmemlab-39bit",
        "6.12.117-vmemlab-48bit",
        "7.3.4-vmemlab-64k-52bit",
        "7.3.4-vmemlab-64k-52bit-on-48bit",
    ],
)
@pytest.mark.parametrize(
    "names",
    [("kernel_page_tables",), ("config", "uname"), ("config",), ("config", "uname", "iomem")],
)
def test_a_few_files_give_the_window_that_the_note_gives(
    captures: Path, tmp_path: Path, kernel: str, names: tuple[str, ...]
) -> None:
    known = read_machine(captures / kernel).window
    assert known is not None
    for name in names:
        (tmp_path / name).write_text((captures / kernel / name).read_text())
    machine = read_machine(tmp_path)
    window = machine.window
    assert machine.agree
    assert window is not None
    assert (window.end, window.family, window.struct_page) == (known.end, known.family, 64)
    if "config" in names:
        assert window.provenance["struct_page"] == ASSUMED
        assert (machine.problems, window.start) == ((), known.start)
        named = "uname" in names
        assert machine.release == (known_release(captures, kernel) if named else None)
        origin = "release+formula" if named else "config's release+formula"
        assert window.provenance["window"] == origin
    else:
        assert window.used == known.used
        assert window.provenance["window"] == "kernel_page_tables+formula"
        assert bool(machine.problems) is (known.va_bits == 52 != known.vabits_actual)


def test_page_tables_tell_the_layout_where_the_release_is_older(
    captures: Path, tmp_path: Path
) -> None:
    """As vendors backport: 6.9's layout in a 6.1. The other way round there are two kernels."""
    new, old = "6.12.117-vmemlab-48bit", "6.1.192-vmemlab-39bit"
    for tables, release, good in ((new, "6.1.192", True), (old, "6.12.117", False)):
        text = (captures / tables / "kernel_page_tables").read_text()
        machine = read(tmp_path, {"kernel_page_tables": text, "uname": f"{release}-vendor\n"})
        assert machine.agree is good
        assert f"which {release}-vendor does not have" in "\n".join(machine.problems)
        assert (machine.window is not None) is good
        if machine.window is not None:
            assert (machine.window.start, machine.window.family) == (
                0xFFFFFDFFC0000000,
                Family.V6_9,
            )


def test_page_tables_of_another_kernel_are_a_contradiction(captures: Path, tmp_path: Path) -> None:
    text = (captures / "6.12.117-vmemlab-48bit" / "kernel_page_tables").read_text()
    for files, said in (
        ({"kcore-vmcoreinfo": NOTES}, "shows VMEMMAP_START at 0xfffffe0000000000"),
        ({"config": CONFIG, "uname": UNAME}, "a kernel with 4096 byte pages and 48 bits in use"),
    ):
        for old in tmp_path.iterdir():
            old.unlink()
        machine = read(tmp_path, files | {"kernel_page_tables": text})
        assert not machine.agree
        assert said in "\n".join(machine.problems)
        assert machine.window is not None
        assert machine.window.start == 0xFFFF_FFFE_0000_0000


NUMA = "CONFIG_NUMA_BALANCING=y\nCONFIG_LRU_GEN=y\nCONFIG_MEMCG=y\n"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ("CONFIG_KMSAN=y\n", "CONFIG_KMSAN"),
        ("# CONFIG_MEMCG is not set\n# CONFIG_SLUB is not set\n", "neither CONFIG_MEMCG nor"),
        ("# CONFIG_MEMCG is not set\nCONFIG_SLUB=y\n", ""),
        ("CONFIG_MEMCG=y\n# CONFIG_SLUB is not set\n", ""),
        # page->flags: 3 + 3 + 8 + 12 + 10 bits and some 28 flags are more than 64
        (f"{NUMA}CONFIG_NR_CPUS=4096\nCONFIG_NODES_SHIFT=10\n", "CONFIG_NUMA_BALANCING"),
        # as distributions have it
        (f"{NUMA}CONFIG_NR_CPUS=4096\nCONFIG_NODES_SHIFT=6\n", ""),
        (f"{NUMA}CONFIG_NR_CPUS=256\nCONFIG_NODES_SHIFT=4\nCONFIG_KASAN_HW_TAGS=y\n", ""),
    ],
)
def test_64_bytes_are_not_assumed_where_they_may_be_wrong(
    tmp_path: Path, options: str, why: str
) -> None:
    machine = read(tmp_path, {"config": CONFIG + options, "uname": UNAME})
    assert (machine.window is None) is bool(why)
    if why:
        assert f"no struct_page, and with {why}" in machine.problems[-1]
    # a size that is known is not assumed
    told = assemble(side_files(tmp_path), facts={"struct_page": [("BTF", 80)]}).window
    assert told is not None
    assert (told.struct_page, told.provenance["struct_page"]) == (80, "BTF")


# -- a log and a folder of two kernels ------------------------------------------------------------

HEADER = (
    "#\n# Automatically generated file; DO NOT EDIT.\n# Linux/arm64 {} Kernel Configuration\n#\n"
)


@pytest.mark.parametrize(
    ("config", "uname", "release", "agree"),
    [
        ("6.6.20", None, "6.6.20-demo", True),
        ("6.6.20", None, "6.1.1-demo", False),
        ("6.6.20", UNAME, None, False),
        ("6.1.192", UNAME, "6.1.192-vmemlab", True),
        ("6.1.192", UNAME, "6.1.193-vmemlab", False),
        (None, UNAME, "6.1.193-vmemlab", False),
        ("6.1.90", None, "6.1.0-21-arm64", True),  # Debian; the sublevel is in its version only
        ("6.12.0-rc3", None, "6.12.0-rc3-next", True),
    ],
)
def test_the_release_of_a_log_is_compared_with_whatever_the_folder_has(
    tmp_path: Path, config: str | None, uname: str | None, release: str | None, agree: bool
) -> None:
    if config:
        (tmp_path / "config").write_text(HEADER.format(config) + CONFIG)
    if uname:
        (tmp_path / "uname").write_text(uname)
    told = ("the log", release) if release else None
    machine = assemble(side_files(tmp_path), release=told)
    assert machine.agree is agree
    assert bool(machine.problems) is not agree
    assert machine.release == (uname.split()[2] if uname else release)
    assert (machine.window is None) is (config is None)


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"vabits_actual": [(OOPS, 48)]}, "the log's Oops says 48, but a kernel built for 39 bits"),
        ({"page_size": [(OOPS, 65536)]}, "page_size: config says 4096, the log's Oops says 65536"),
    ],
)
def test_the_sizes_of_a_log_are_compared_with_the_folders_config(
    tmp_path: Path, facts: dict[str, list[tuple[str, int]]], said: str
) -> None:
    (tmp_path / "config").write_text(CONFIG)
    (tmp_path / "uname").write_text(UNAME)
    machine = assemble(side_files(tmp_path), facts=facts)
    assert said in "\n".join(machine.problems)
    assert not machine.agree


def test_a_pfn_0_that_the_folders_kernel_cannot_have_leaves_no_window(tmp_path: Path) -> None:
    (tmp_path / "config").write_text(CONFIG)
    (tmp_path / "uname").write_text(UNAME)
    good, bad = 0xFFFF_FFFD_FF00_0000, 0xFFFF_FFFD_FF00_0040
    machine = assemble(side_files(tmp_path), facts={VMEMMAP: [(OOPS, good)]})
    assert machine.window is not None
    assert (machine.window.memstart, machine.problems) == (0x4000_0000, ())
    machine = assemble(side_files(tmp_path), facts={VMEMMAP: [(OOPS, bad)]})
    assert machine.window is None
    assert "not a multiple of 0x40000000" in machine.problems[-1]


# -- numbers by hand ------------------------------------------------------------------------------


def test_numbers_by_hand_are_a_machine(captures: Path) -> None:
    """The sizes and RAM of 6.12.117-vmemlab-48bit-nokaslr; expected: its own note."""
    facts = {
        "va_bits": [(GIVEN, 48)],
        "page_size": [(GIVEN, 4096)],
        RAM_START: [(GIVEN, 0x4000_0000)],
    }
    known = read_machine(captures / "6.12.117-vmemlab-48bit-nokaslr").window
    window = assemble(SideFiles(), facts=facts, release=(GIVEN, "6.12")).window
    assert known is not None
    assert window is not None
    assert (window.start, window.end, window.memstart, window.section_size_bits) == (
        known.start,
        known.end,
        known.memstart,
        known.section_size_bits,
    )
    assert window.provenance["memstart"] == "RAM given, formula without KASLR"
    assert window.provenance["page_size"] == GIVEN


@pytest.mark.parametrize(
    ("facts", "release", "said"),
    [
        ({"va_bits": [(GIVEN, 39)], "struct_page": [(GIVEN, 64)]}, "6.1", ""),
        ({}, "6.1.192", ""),
        ({}, "6.1.19", "given is of kernel 6.1.19, the machine's files are of 6.1.192-vmemlab"),
        ({}, "6.12", "given is of kernel 6.12,"),
        ({"page_size": [(GIVEN, 65536)]}, "6.1", "page_size: vmcoreinfo says 4096, given says"),
        ({"memstart": [(GIVEN, 0x8000_0000)]}, None, "memstart: vmcoreinfo says 0x40000000, given"),
        (
            {"vabits_actual": [(GIVEN, 48)]},
            None,
            "vabits_actual: vmcoreinfo says 39, given says 48",
        ),
    ],
)
def test_numbers_by_hand_are_compared_with_the_files(
    tmp_path: Path, facts: dict[str, list[tuple[str, int]]], release: str | None, said: str
) -> None:
    told = (GIVEN, release) if release else None
    (tmp_path / "kcore-vmcoreinfo").write_text(NOTES)
    machine = assemble(side_files(tmp_path), facts=facts, release=told)
    assert machine.agree is not bool(said)
    assert said in "\n".join(machine.problems)
    assert machine.window is not None
    assert machine.window.provenance["page_size"] == "vmcoreinfo"  # the kernel's own comes first


def test_ram_by_hand_is_compared_with_iomem(tmp_path: Path) -> None:
    (tmp_path / "iomem").write_text("40000000-bfffffff : System RAM\n")
    sizes = {"va_bits": [(GIVEN, 48)], "page_size": [(GIVEN, 4096)]}
    for ram, agree in ((0x4000_0000, True), (0x8000_0000, False)):
        facts = sizes | {RAM_START: [(GIVEN, ram)]}
        machine = assemble(side_files(tmp_path), facts=facts, release=(GIVEN, "6.1"))
        assert machine.agree is agree


def test_a_log_that_names_two_kernels_contradicts_itself() -> None:
    machine = assemble(SideFiles(), releases=[("the log", "6.1.1"), ("the log", "6.12.2")])
    assert (machine.release, machine.agree) == ("6.1.1", False)
    assert "the log is of kernel 6.12.2, the log is of 6.1.1" in machine.problems[0]
