# SPDX-License-Identifier: GPL-2.0-only
"""Machines read from real kernels' side files, and from files that lie, stall or are rubbish."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracers.side_files import CONFIG, IOMEM, NOTES, UNAME, read, without
from tracers.families import Family
from tracers.machine import Machine, MachineError, read_machine
from tracers.machine_files import CAPS

# -- real kernels -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kernel", "build_id", "family", "memstart"),
    [
        (
            "6.1.192-vmemlab-39bit",
            "3efcb224608b9fa782cc10ffbd19238962524dc0",
            Family.V5_11,
            0x4000_0000,
        ),
        (
            "6.1.192-vmemlab-once-39bit",
            "34771bec24a697a42241189145fb8d93a76856b6",
            Family.V5_11,
            0x4000_0000,
        ),
        (
            "6.12.117-vmemlab-48bit",
            "f81dbfa8ce6064a7311f935feba550b47856bd6f",
            Family.V6_9,
            0xFFFF_C6FB_8000_0000,
        ),
    ],
)
def test_captured_machines(
    captures: Path, kernel: str, build_id: str, family: Family, memstart: int
) -> None:
    machine = read_machine(captures / kernel)
    release = kernel.rpartition("-")[0]
    assert machine.problems == ()
    assert (machine.release, machine.build_id, machine.arch) == (release, build_id, "aarch64")
    assert machine.sources == tuple(CAPS)
    assert machine.window is not None
    assert (machine.window.family, machine.window.memstart) == (family, memstart)
    assert set(machine.window.provenance.values()) == {"vmcoreinfo"}
    assert (0x4000_0000, 0xBFFF_FFFF, "System RAM") in machine.iomem
    assert machine.config["CONFIG_DEVICE_PRIVATE"] == "y"
    again = Machine.from_dict(json.loads(json.dumps(machine.to_dict())))
    assert again == machine


def test_one_file_is_enough(tmp_path: Path) -> None:
    machine = read(tmp_path, {"kcore-vmcoreinfo": NOTES})
    assert machine.problems == ()
    assert machine.window is not None
    assert machine.window.vmemmap == 0xFFFF_FFFD_FF00_0000
    assert machine.sources == ("kcore-vmcoreinfo",)


def test_raw_note_with_header_and_padding(tmp_path: Path) -> None:
    raw = b"\x0b\0\0\0\xd3\x0c\0\0\0\0\0\0VMCOREINFO\0\0" + NOTES.encode() + b"\0" * 700
    machine = read(tmp_path, {"kcore-vmcoreinfo": raw})
    assert (machine.release, machine.problems) == ("6.1.192-vmemlab", ())
    assert machine.window is not None
    assert machine.window.start == 0xFFFF_FFFE_0000_0000


def test_kernels_before_5_18_do_not_note_the_window(tmp_path: Path) -> None:
    notes = without(NOTES, "NUMBER(VMEMMAP_START)", "NUMBER(VMEMMAP_END)")
    machine = read(tmp_path, {"kcore-vmcoreinfo": notes.replace("6.1.192", "5.15.3")})
    assert machine.window is not None
    assert machine.window.provenance["window"] == "release+formula"
    assert (machine.window.start, machine.window.end) == (
        0xFFFF_FFFE_0000_0000,
        0xFFFF_FFFF_0000_0000,
    )


@pytest.mark.parametrize(
    ("release", "off"),
    [
        ("5.4.0-186-generic", True),
        ("5.9.16", True),
        ("5.10.0-32-arm64", False),
        ("5.10.234-vendor", False),
        (None, True),
        ("custom", True),
    ],
)
def test_pfns_may_be_off_only_where_vmemmap_was_set_early(
    tmp_path: Path, release: str | None, off: bool
) -> None:
    """7bc1a0f9e176 of 5.10 made vmemmap follow memstart_addr; KASLR makes that negative."""
    notes = without(NOTES, "OSRELEASE", "NUMBER(VMALLOC_END)", "NUMBER(PHYS_OFFSET)")
    notes = notes.replace("=39", "=48").replace("0x19", "0x10")
    # VMEMMAP_START and END of 5.4 to 5.10 with 48 bits, and memstart_addr as KASLR leaves it
    notes = notes.replace("0xfffffffe00000000", "0xfffffdffffe00000")
    notes = notes.replace("0xffffffff00000000", "0xffffffffffe00000")
    notes += "NUMBER(PHYS_OFFSET)=0xffffb66d80000000\n"
    notes += f"OSRELEASE={release}\n" if release else ""
    machine = read(tmp_path, {"kcore-vmcoreinfo": notes})
    assert machine.window is not None
    assert machine.window.family is Family.V5_4
    assert any("7bc1a0f9e176" in problem for problem in machine.problems) is off


def test_section_size_by_release_where_it_is_not_noted(tmp_path: Path) -> None:
    notes = without(NOTES, "NUMBER(SECTION_SIZE_BITS)")
    machine = read(tmp_path, {"kcore-vmcoreinfo": notes.replace("6.1.192", "5.10.3")})
    assert machine.window is not None
    assert machine.window.section_size_bits == 30
    assert machine.window.provenance["section_size_bits"] == "release"


def test_memstart_from_iomem_only_without_kaslr(tmp_path: Path) -> None:
    notes = without(NOTES, "NUMBER(PHYS_OFFSET)")
    iomem = IOMEM.replace("40000000-bf", "48000000-bf")  # rounded down to 1 GiB
    machine = read(tmp_path, {"kcore-vmcoreinfo": notes, "iomem": iomem, "config": CONFIG})
    assert machine.window is not None
    assert machine.window.memstart == 0x4000_0000
    assert machine.window.provenance["memstart"] == "iomem+formula"
    random = CONFIG.replace("# CONFIG_RANDOMIZE_BASE is not set", "CONFIG_RANDOMIZE_BASE=y")
    machine = read(tmp_path, {"config": random})
    assert machine.window is not None
    assert machine.window.memstart is None


# -- disagreements are loud -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"config": CONFIG.replace("=39", "=48")}, "va_bits: vmcoreinfo says 39, config says 48"),
        (
            {"config": CONFIG.replace("_4K_", "_64K_")},
            "page_size: vmcoreinfo says 4096, config says 65536",
        ),
        ({"uname": UNAME.replace("6.1.192", "6.1.190")}, "uname says 6.1.190-vmemlab, vmcoreinfo"),
        ({"uname": UNAME.replace("aarch64", "x86_64")}, "uname says x86_64"),
        (
            {"kcore-vmcoreinfo": NOTES.replace("0xffffffff00000000", "0xffffffff80000000")},
            "no known formula gives this kernel's window for 39-bit",
        ),
        (
            {"kcore-vmcoreinfo": NOTES.replace("=0xfffffffdf0000000", "=0xfffffffde0000000")},
            "VMALLOC_END is 0xfffffffde0000000, the formula gives 0xfffffffdf0000000",
        ),
        (
            {"kcore-vmcoreinfo": NOTES + "SYMBOL(vmemmap)=fffffffdff000040\n"},
            "vmemmap is 0xfffffffdff000040, the arithmetic gives 0xfffffffdff000000",
        ),
        ({"kcore-vmcoreinfo": NOTES + "PAGESIZE=16384\n"}, "PAGESIZE stands there twice"),
        (
            {
                "kernel_page_tables": (
                    "---[ Linear Mapping start ]---\n"
                    "0xffffff8000000000-0xfffffffdfe7fe000           4K PTE\n"
                    "---[ PCI I/O start ]---\n"
                )
            },
            "shows PCI_IO_START at 0xfffffffdfe7fe000, 0xfffffffdfe800000 was expected",
        ),
        (
            {
                "kernel_page_tables": (
                    "0xfffffffdfde00000-0xfffffffdfea00000           2M PMD\n"
                    "---[ PCI I/O start ]---\n"
                )
            },
            "shows PCI_IO_START at 0xfffffffdfea00000, 0xfffffffdfe800000 was expected",
        ),
        ({"iomem": "00000000-00000000 : System RAM\n" * 3}, "all addresses are 0"),
    ],
)
def test_disagreements_are_problems(tmp_path: Path, files: dict[str, str], said: str) -> None:
    base = {"kcore-vmcoreinfo": NOTES, "config": CONFIG, "uname": UNAME, "iomem": IOMEM}
    assert read(tmp_path, base).problems == ()
    machine = read(tmp_path, files)
    assert said in "\n".join(machine.problems)
    assert machine.window is not None
    assert machine.window.start == 0xFFFF_FFFE_0000_0000  # the kernel's own word stands


def test_a_window_no_formula_gives_has_no_known_neighbours(tmp_path: Path) -> None:
    notes = NOTES.replace("0xffffffff00000000", "0xffffffff80000000")
    machine = read(tmp_path, {"kcore-vmcoreinfo": notes})
    assert machine.window is not None
    assert machine.window.family is None
    assert machine.layout is not None
    assert machine.layout.lands_on(machine.window.end, machine.window.end + 1) == "unknown"


def test_fixmap_edge_comes_from_the_page_tables(tmp_path: Path) -> None:
    # the lines around the fixmap in 6.1.192-vmemlab-39bit's kernel_page_tables
    tables = (
        "---[ vmalloc() end ]---\n"
        "0xfffffffdf0000000-0xfffffffdfda00000         218M PMD\n"
        "0xfffffffdfda00000-0xfffffffdfdbf9000        2020K PTE\n"
        "---[ Fixmap start ]---\n"
        "0xfffffffdfdbf9000-0xfffffffdfdbfa000           4K PTE\n"
    )
    machine = read(tmp_path, {"kcore-vmcoreinfo": NOTES, "kernel_page_tables": tables})
    assert machine.problems == ()
    assert machine.layout is not None
    assert machine.layout.region_at(0xFFFF_FFFD_FDBF_9000).start == 0xFFFF_FFFD_FDBF_9000


def test_a_marker_is_late_by_less_than_the_entry_before_it(tmp_path: Path) -> None:
    # 6.12.117-vmemlab-48bit: shown 1 GiB past VMEMMAP_START, at the next 512 GiB entry; the
    # third marker at one entry comes at the next one
    notes = (
        NOTES.replace("=39", "=48")
        .replace("0x19", "0x10")
        .replace("0xfffffffdf0000000", "0xfffffdffbf800000")
        .replace("0xfffffffe00000000", "0xfffffdffc0000000")
        .replace("0xffffffff00000000", "0xffffffffc0000000")
    )
    tables = (
        "0xffffa80000000000-0xfffffe0000000000          86T PGD\n"
        "---[ vmalloc() end ]---\n---[ vmemmap start ]---\n"
        "0xfffffe0000000000-0x0000000000000000           2T PTE\n"
        "---[ vmemmap end ]---\n"
    )
    machine = read(tmp_path, {"kcore-vmcoreinfo": notes, "kernel_page_tables": tables})
    assert machine.problems == ()


# -- hostile files ----------------------------------------------------------------------------


def test_missing_directory(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="No such file"):
        read_machine(tmp_path / "none")


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text(NOTES)
    with pytest.raises(MachineError, match="Not a directory"):
        read_machine(tmp_path / "file")


def test_an_impossible_path_is_one_line() -> None:
    with pytest.raises(MachineError, match="null byte"):
        read_machine(Path("a\0b"))


def test_a_directory_without_any_file_names_what_it_looks_for(tmp_path: Path) -> None:
    (tmp_path / "README").write_text("nothing")
    with pytest.raises(MachineError) as caught:
        read_machine(tmp_path)
    assert all(name in str(caught.value) for name in CAPS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("NUMBER(VA_BITS)", "999", "va_bits is 999"),
        ("PAGESIZE", "8192", "page_size is 8192"),
        ("SIZE(page)", "0", "struct_page is 0"),
        ("SIZE(page)", "18446744073709551615", "struct_page is 18446744073709551615"),
        ("SIZE(page)", "18446744073709551616", "is not a number of 64 bits"),
        ("NUMBER(SECTION_SIZE_BITS)", "64", "section_size_bits is 64"),
        ("NUMBER(TCR_EL1_T1SZ)", "0xff", "gives impossible -191 bits"),
        ("NUMBER(PHYS_OFFSET)", "0xgarbage", "is not a number of 64 bits"),
        ("NUMBER(VMEMMAP_START)", "0x", "is not a number of 64 bits"),
        ("NUMBER(VMEMMAP_START)", "0x0", "not a window of the kernel half"),
        ("NUMBER(VMEMMAP_END)", "0x1ffffffff00000000", "is not a number of 64 bits"),
        ("OSRELEASE", "one.two", "no kernel version"),
    ],
)
def test_impossible_values_are_left_out_with_a_reason(
    tmp_path: Path, key: str, value: str, said: str
) -> None:
    notes = without(NOTES, key) + f"{key}={value}\n"
    if key == "OSRELEASE":
        notes = without(notes, "NUMBER(SECTION_SIZE_BITS)")
    machine = read(tmp_path, {"kcore-vmcoreinfo": notes})
    assert said in "\n".join(machine.problems)
    if "VMEMMAP" in key:  # the formula takes over
        assert machine.window is not None
        assert machine.window.provenance["window"] == "release+formula"


def test_nothing_understood_is_said(tmp_path: Path) -> None:
    machine = read(tmp_path, {"kcore-vmcoreinfo": b"\x7fELF\0\xff", "config": b"\x1f\x8b\x08"})
    assert machine.window is None
    said = "\n".join(machine.problems)
    assert "kcore-vmcoreinfo: nothing in it was understood" in said
    assert "config: nothing in it was understood" in said
    assert "the window is not known: no va_bits, page_size, struct_page, release" in said


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "iomem")
    machine = read(tmp_path, {"kcore-vmcoreinfo": NOTES})
    assert machine.problems == (
        "iomem: not read: not a regular file but a pipe: save what it gives to a file first",
    )


def test_a_directory_or_dead_link_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "iomem").mkdir()
    (tmp_path / "config").symlink_to(tmp_path / "gone")
    (tmp_path / "uname").symlink_to("/dev/zero")
    with pytest.raises(MachineError) as caught:
        read_machine(tmp_path)
    for name in ("iomem", "config", "uname"):
        assert f"{name}: not read" in str(caught.value)


def test_only_the_head_of_a_huge_file_is_read(tmp_path: Path) -> None:
    filler = "OFFSET(page.lru)=8\n" * (CAPS["kcore-vmcoreinfo"] // 18)
    machine = read(tmp_path, {"kcore-vmcoreinfo": NOTES + filler + "PAGESIZE=65536\n"})
    assert machine.problems == ("kcore-vmcoreinfo: only its first 1048576 bytes were read",)
    assert machine.window is not None


def test_a_line_cut_by_the_cap_is_not_half_read(tmp_path: Path) -> None:
    notes = without(NOTES, "PAGESIZE")
    filler = "X" * (CAPS["kcore-vmcoreinfo"] - len(notes) - len("\nPAGESIZE=4096"))
    notes += filler + "\nPAGESIZE=40960\n"  # the cap falls between 4096 and 0
    machine = read(tmp_path, {"kcore-vmcoreinfo": notes})
    assert machine.window is not None  # by its own constants
    assert machine.window.page_size is None


def test_iomem_rows_and_names_are_bounded(tmp_path: Path) -> None:
    rows = "".join(f"{n:08x}-{n:08x} : [bold]\x1b]0;x\x07 {n}\n" for n in range(1, 6000))
    machine = read(tmp_path, {"iomem": rows.encode() + b"00-01 : \xff\n"})
    assert len(machine.iomem) == 4096
    assert machine.iomem[0] == (1, 1, "[bold]\x1b]0;x\x07 1")
    assert "iomem: only its first 4096 ranges are kept" in machine.problems


def test_undecodable_text_stays_visible(tmp_path: Path) -> None:
    machine = read(tmp_path, {"iomem": b"00-01 : a\xffb\n", "uname": b"6.1.0-\xff\n"})
    assert machine.iomem == ((0, 1, "a\\xffb"),)
    assert machine.release == "6.1.0-\\xff"


@pytest.fixture(scope="session")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("machine")


VALUES = st.one_of(
    st.integers(-(2**70), 2**70).map(str), st.integers(0, 2**70).map(hex), st.text(max_size=8)
)


@given(st.data())
def test_mutated_notes_never_raise_anything_else(scratch: Path, data: st.DataObject) -> None:
    keys = [line.split("=")[0] for line in NOTES.splitlines()]
    changed = data.draw(st.dictionaries(st.sampled_from(keys), VALUES, max_size=4))
    notes = "".join(
        f"{key}={changed.get(key, value)}\n"
        for key, value in (line.split("=") for line in NOTES.splitlines())
    )
    config = CONFIG.replace("39", data.draw(VALUES))
    files = {"kcore-vmcoreinfo": notes, "config": config, "uname": data.draw(st.text(max_size=40))}
    machine = read(scratch, {name: text.encode("utf-8", "replace") for name, text in files.items()})
    assert Machine.from_dict(json.loads(json.dumps(machine.to_dict()))) == machine


@given(st.dictionaries(st.sampled_from(list(CAPS)), st.binary(max_size=200), min_size=1))
def test_random_bytes_never_raise_anything_else(scratch: Path, files: dict[str, bytes]) -> None:
    machine = read(scratch, dict.fromkeys(CAPS, b"") | files)
    assert machine.window is None
    assert machine.problems


# -- dictionaries -----------------------------------------------------------------------------


def test_the_machine_nothing_is_known_of() -> None:
    assert Machine.from_dict(Machine().to_dict()) == Machine()
    assert Machine.from_dict({}) == Machine()


@pytest.mark.parametrize(
    "told",
    [
        {"window": 3},
        {"window": {}},
        {"layout": {"regions": []}},
        {"iomem": [["0x1", "0x2"]]},
        {"iomem": [["0x1", 2, "a"]]},
        {"iomem": 5},
        {"config": ["a"]},
        {"release": 6.1},
        {"problems": 1},
        [],
        None,
    ],
)
def test_bad_dictionary_is_a_machine_error(told: object) -> None:
    with pytest.raises(MachineError, match="not a machine"):
        Machine.from_dict(told)
