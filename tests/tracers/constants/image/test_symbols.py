# SPDX-License-Identifier: GPL-2.0-only
"""Symbols: exact or as the compiler renamed them, never another kernel's, never guessed."""

import struct
from pathlib import Path

import pytest

from tests.kernels.files import LAB, kernel, raw_image
from tests.tracers.constants.cores import kcore, write
from tracers.constants.image.kernel_image import ConstantsError, open_kernel
from tracers.constants.image.symbols import Symbol, from_elf, from_map


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> tuple[Path, Path]:
    return raw_image(tmp_path_factory.mktemp("raw"))


def test_debians_stub_of_a_system_map_is_explained(raw, tmp_path):
    stub = tmp_path / "System.map"
    stub.write_text(
        "ffffffffffffffff B The real System.map is in the linux-image-<version>-dbg package\n"
    )
    with pytest.raises(ConstantsError, match="-dbg package"):
        open_kernel(raw[0], system_map=stub)


def test_names_of_another_kernel_are_refused(raw, tmp_path):
    other = tmp_path / "System.map"
    lines = raw[1].read_text().splitlines()
    moved = [
        f"{int(line[:16], 16) + 4096 * (' _text' not in line):016x}{line[16:]}" for line in lines
    ]
    other.write_text("\n".join(moved) + "\n")
    with pytest.raises(ConstantsError, match="another kernel"):
        open_kernel(raw[0], system_map=other)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not a System.map"),
        ("hello\n" * 9, "not a System.map"),
        ("c0008000 T _text\nc0008000 T stext\n", "32-bit"),
        ("0000000000000000 T _text\n0000000000000000 T linux_banner\n", "hidden"),
        ("ffffffff81000000 T startup_64\n", "_text is missing"),
    ],
)
def test_other_files_are_named(raw, tmp_path, text, reason):
    path = tmp_path / "names"
    path.write_text(text)
    with pytest.raises(ConstantsError, match=reason):
        open_kernel(raw[0], system_map=path)


#: What /proc/kallsyms of Debian's 6.1.0-56-arm64 (KALLSYMS_ALL=n) lists of these, and what its
#: /proc/kcore says, read as the same booted machine's root.
TEXT_ALONE = """\
ffffb6343ae10000 T _stext
ffffb6343badbb70 T __add_pages
ffffb6343badf3b0 T sparse_add_section
ffffb6343bb00000 D _etext
"""
VMCOREINFO = "OSRELEASE=6.1.0-56-arm64\nSYMBOL(_stext)=ffffb6343ae10000\n"


def running(folder: Path, vmcoreinfo: str) -> tuple[Path, Path]:
    """/proc/kcore with a page of text, and /proc/kallsyms."""
    memory = [(0xFFFF_B634_3BAD_B000, bytes(4096))]
    files = [("kcore", kcore(vmcoreinfo, memory)), ("kallsyms", TEXT_ALONE.encode())]
    write(folder, files)
    return folder / "kcore", folder / "kallsyms"


def test_a_kernel_that_lists_its_text_alone_says_itself_where_that_is(tmp_path):
    memory, names = running(tmp_path, VMCOREINFO)
    with open_kernel(memory, system_map=names) as image:
        found = image.symbol("__add_pages")
        assert found is not None
        assert image.read(found.va, 4) == bytes(4)


@pytest.mark.parametrize("vmcoreinfo", ["SYMBOL(_stext)=ffffb6343ae20000\n", "PAGESIZE=4096\n", ""])
def test_its_names_are_refused_where_nothing_says_they_are_its_own(tmp_path, vmcoreinfo):
    memory, names = running(tmp_path, vmcoreinfo)
    with pytest.raises(ConstantsError, match="another kernel"):
        open_kernel(memory, system_map=names)


def test_symbols_of_modules_are_left_out(raw, tmp_path):
    path = tmp_path / "kallsyms"
    path.write_text(raw[1].read_text() + "ffffffd000000000 t my_own\t[evil]\n")
    with open_kernel(raw[0], system_map=path) as image:
        assert image.symbol("my_own") is None


def test_a_name_two_locals_share_is_not_guessed_at(raw, tmp_path):
    path = tmp_path / "System.map"
    twice = "ffffffd000000000 t twin\nffffffd000000040 t twin\n"
    mixed = "ffffffd000000080 t mixed\nffffffd0000000c0 T mixed\n"
    path.write_text(raw[1].read_text() + twice + mixed)
    with open_kernel(raw[0], system_map=path) as image:
        assert image.symbol("twin") is None
        found = image.symbol("mixed")
        assert found is not None
        assert found.va == 0xFFFFFFD0000000C0


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("f.isra.0", True),
        ("f.constprop.0", True),
        ("f.isra.0.constprop.3", True),
        ("f.llvm.1234567890", True),
        ("f.lto_priv.0", True),
        ("f.cold", False),
        ("f.part.0", False),
        ("f.cfi_jt", False),
        ("f_other", False),
        ("f.isra", False),
    ],
)
def test_suffixes_of_the_whole_function_only(raw, tmp_path, name, found):
    path = tmp_path / "System.map"
    path.write_text(raw[1].read_text() + f"ffffffd000000000 t {name}\n")
    with open_kernel(raw[0], system_map=path) as image:
        assert (image.symbol("f") is not None) is found


def test_a_function_without_a_size_ends_at_the_next_symbol(raw):
    with open_kernel(raw[0], system_map=raw[1]) as image:
        code = image.function("vmemmap_free")
    with open_kernel(kernel(LAB)) as image:
        whole = image.function("vmemmap_free")
    assert code is not None
    assert whole is not None
    assert code.bytes[: len(whole.bytes)] == whole.bytes


# -- which symbol an address lies in --------------------------------------------------------------

MAP = (
    "ffffffc008010000 T _stext\nffffffc008010000 t local_alias\nffffffc008010040 t first.isra.0\n"
    "ffffffc008010080 t $x\nffffffc008010080 t twin\nffffffc0080100c0 t twin\n"
    "ffffffc008010100 D jiffies\nffffffd000000000 t of_a_module\t[evil]\n"
)


@pytest.mark.parametrize(
    ("va", "name", "start"),
    [
        (0xFFFFFFC008010000, "_stext", 0xFFFFFFC008010000),  # the global one of two
        (0xFFFFFFC00801003F, "_stext", 0xFFFFFFC008010000),
        (0xFFFFFFC008010040, "first.isra.0", 0xFFFFFFC008010040),
        (0xFFFFFFC008010084, "twin", 0xFFFFFFC008010080),  # $x is a mapping symbol, no name
        (0xFFFFFFC0080100FF, "twin", 0xFFFFFFC0080100C0),
        (0xFFFFFFC00F000000, "jiffies", 0xFFFFFFC008010100),  # behind it: its size is not known
    ],
)
def test_the_symbol_an_address_lies_in(va, name, start):
    found = from_map(MAP.encode(), "made").containing(va)
    assert found == Symbol(name, start, None)


def test_below_all_symbols_and_in_modules_lies_nothing():
    table = from_map(MAP.encode(), "made")
    assert table.containing(0xFFFFFFD000000010) is None
    assert table.containing(0xFFFFFFC00800FFFF) is None
    assert table.containing(0) is None


def test_containing_knows_sizes_and_odd_names():
    text = b"\0sized\0na\xffme\0"
    rows = [(1, 0x02, 0xFFFF000000001000, 64), (7, 0x02, 0xFFFF000000002000, 0)]
    symtab = b"".join(
        struct.pack("<IBBHQQ", name, info, 0, 1, va, size) for name, info, va, size in rows
    )
    table = from_elf(symtab, text)
    assert table.containing(0xFFFF000000001004) == Symbol("sized", 0xFFFF000000001000, 64)
    # as its own comment says, "or behind": 64 bytes end before it
    assert table.containing(0xFFFF000000001040) == Symbol("sized", 0xFFFF000000001000, 64)
    odd = table.containing(0xFFFF000000002000)
    assert odd is not None
    assert odd.name == r"na\xffme"
