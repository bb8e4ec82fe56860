# SPDX-License-Identifier: GPL-2.0-only
"""Sizes, members and prototypes on real kernels' BTF, and on BTF that is damaged or cut short."""

import struct
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracers.constants.btfs import functions
from tracers.constants.btf import MAX_TYPES, Btf, Prototype
from tracers.constants.errors import ConstantsError

SHARED = Path(__file__).resolve().parents[4] / "shared" / "captures"
STRUCT, UNION, FWD = 4, 5, 7
NAMES = b"\0page\0page_frag\0anypage\0"
PAGE, FRAG, IN_ANYPAGE = 1, 6, 19


def record(name: int, kind: int, vlen: int, size: int, *rest: int) -> bytes:
    """One type, as include/uapi/linux/btf.h lays it out."""
    return struct.pack(f"<III{len(rest)}I", name, kind << 24 | vlen, size, *rest)


def blob(types: bytes, strings: bytes = NAMES, *, layout: bytes | None = None) -> bytes:
    fields = [0, len(types), len(types), len(strings)]
    if layout is not None:
        fields += [len(types) + len(strings), len(layout)]
    head = struct.pack(f"<HBBI{len(fields)}I", 0xEB9F, 1, 0, 8 + 4 * len(fields), *fields)
    return head + types + strings + (layout or b"")


PAGE_64 = record(PAGE, STRUCT, 1, 64, FRAG, 1, 0)


# -- real kernels: SIZE(...) of the same kernels' VMCOREINFO --------------------------------------


@pytest.mark.parametrize(
    ("kernel", "sizes"),
    [
        (
            "6.1.192-vmemlab-39bit",
            {"page": 64, "zone": 1408, "pglist_data": 8064, "mem_section": 16, "list_head": 16},
        ),
        (
            "6.12.117-vmemlab-48bit",
            {"page": 64, "zone": 1472, "pglist_data": 8384, "mem_section": 16, "list_head": 16},
        ),
    ],
)
def test_sizes_are_those_the_kernel_notes(kernel: str, sizes: dict[str, int]) -> None:
    packed = SHARED / kernel / "btf.vmlinux.zst"
    if not packed.exists():
        pytest.skip("the captures' BTF is too large to ship: 0.8 MB a kernel")
    with pa.CompressedInputStream(pa.OSFile(str(packed)), "zstd") as stream:
        btf = stream.read()
    assert {name: Btf(btf).struct_size(name) for name in sizes} == sizes
    assert Btf(btf).struct_size("no_such_struct") is None


# -- every kind is stepped over by its own length ----------------------------------------------


@pytest.mark.parametrize(
    ("kind", "vlen", "words"),
    [
        (1, 0, 1),  # INT
        (2, 0, 0),  # PTR
        (3, 0, 3),  # ARRAY
        (STRUCT, 3, 9),
        (UNION, 2, 6),
        (6, 4, 8),  # ENUM
        (FWD, 0, 0),
        (8, 0, 0),  # TYPEDEF
        (9, 0, 0),  # VOLATILE
        (10, 0, 0),  # CONST
        (11, 0, 0),  # RESTRICT
        (12, 2, 0),  # FUNC: vlen is its linkage
        (13, 5, 10),  # FUNC_PROTO
        (14, 0, 1),  # VAR
        (15, 2, 6),  # DATASEC
        (16, 0, 0),  # FLOAT
        (17, 0, 1),  # DECL_TAG
        (18, 0, 0),  # TYPE_TAG
        (19, 2, 6),  # ENUM64
    ],
)
def test_kinds(kind: int, vlen: int, words: int) -> None:
    # filled with what would read as "struct page, 5 bytes" if a step were short
    bait = [PAGE, STRUCT << 24, 5] * 4
    other = record(0, kind, vlen, 4, *bait[:words])
    assert Btf(blob(other + PAGE_64)).struct_size("page") == 64


def test_only_whole_names_and_only_structs_count() -> None:
    others = record(FRAG, STRUCT, 0, 16) + record(PAGE, UNION, 0, 24) + record(PAGE, FWD, 0, 0)
    assert Btf(blob(others)).struct_size("page") is None
    assert Btf(blob(others + PAGE_64)).struct_size("page") == 64
    # a string may share the end of another one
    assert Btf(blob(record(IN_ANYPAGE, STRUCT, 0, 56))).struct_size("page") == 56


def test_kind_flag_and_equal_duplicates_do_not_matter() -> None:
    flagged = record(PAGE, STRUCT | 0x80, 0, 64)
    assert Btf(blob(flagged + PAGE_64)).struct_size("page") == 64


def test_more_than_65535_members() -> None:
    # 24 bits of vlen since f7a6b9eaff3e (7.2)
    wide = record(FRAG, 13, 70_000, 0) + b"\0" * (70_000 * 8)
    assert Btf(blob(wide + PAGE_64)).struct_size("page") == 64


def test_layout_section_tells_the_length_of_a_kind_of_tomorrow() -> None:
    # struct btf_layout { u8 info_sz; u8 elem_sz; u16 flags; } per kind (7.1)
    layout = b"\0\0\0\0" * 20 + struct.pack("<BBH", 4, 8, 0)
    tomorrow = record(0, 20, 2, 0, *[PAGE, STRUCT << 24, 5, 0, 0])
    assert Btf(blob(tomorrow + PAGE_64, layout=layout)).struct_size("page") == 64
    with pytest.raises(ConstantsError, match="kind 20"):
        Btf(blob(tomorrow + PAGE_64)).struct_size("page")


def test_a_known_kind_is_not_redefined_by_the_layout() -> None:
    layout = b"\0\0\0\0" * 2 + struct.pack("<BBH", 8, 0, 0)  # PTR with 8 bytes more
    assert Btf(blob(record(0, 2, 0, 1) + PAGE_64, layout=layout)).struct_size("page") == 64


def test_a_longer_header_than_known_is_skipped() -> None:
    fields = (0, len(PAGE_64), len(PAGE_64), len(NAMES), 0, 0, 7, 7, 7)
    head = struct.pack("<HBBI9I", 0xEB9F, 1, 0, 8 + 36, *fields)
    assert Btf(head + PAGE_64 + NAMES).struct_size("page") == 64


def test_types_that_refer_to_themselves_or_each_other() -> None:
    cycle = record(PAGE, STRUCT, 1, 64, FRAG, 1, 0)  # a struct page within struct page
    cycle += record(0, 8, 0, 3) + record(0, 8, 0, 2)  # typedef of a typedef of itself
    cycle += record(0, 3, 0, 0, 4, 4, 0xFFFFFFFF)  # an array of itself
    assert Btf(blob(cycle)).struct_size("page") == 64


# -- bad BTF is one line ------------------------------------------------------------------------


def edited(at: int, value: int, form: str = "<I") -> bytes:
    data = bytearray(blob(PAGE_64))
    struct.pack_into(form, data, at, value)
    return bytes(data)


@pytest.mark.parametrize(
    ("btf", "message"),
    [
        (b"", "not BTF"),
        (b"\x7fELF" * 10, "not BTF"),
        (blob(PAGE_64)[:20], "not BTF"),
        (b"\xeb\x9f" + blob(PAGE_64)[2:], "big-endian"),
        (edited(2, 2, "<B"), "version 2"),
        (edited(3, 1, "<B"), "flags 1"),
        (edited(4, 8), "header has 8 of"),
        (edited(4, 0xFFFFFFFF), "header has 4294967295 of"),
        (edited(12, 0xFFFFFFFC), "type section ends"),
        (edited(16, 0x7FFFFFFF), "string section ends"),
        (edited(20, 0xFFFFFFFF), "string section ends"),
        (edited(12, 22), "not aligned"),
        (blob(PAGE_64 + b"\0" * 8), "ends inside a type"),
        (blob(record(0, STRUCT, 0xFFFFFF, 8)), "ends inside a type"),
        (blob(record(0, 0, 0, 0)), "kind 0"),
        (blob(record(0, 127, 0, 0)), "kind 127"),
        (blob(record(5000, STRUCT, 0, 8)), "outside its strings"),
        (blob(PAGE_64 + record(PAGE, STRUCT, 0, 72)), "several sizes: 64, 72"),
        (blob(PAGE_64, layout=b"\0" * 8)[:-1], "layout section ends 1 bytes past"),
    ],
)
def test_bad_btf_is_refused_with_one_line(btf: bytes, message: str) -> None:
    with pytest.raises(ConstantsError, match=message) as caught:
        Btf(btf).struct_size("page")
    assert "\n" not in str(caught.value)


def test_more_types_than_a_kernel_takes_are_refused() -> None:
    with pytest.raises(ConstantsError, match="more than 1048575 types"):
        Btf(blob(record(0, 2, 0, 1) * (MAX_TYPES + 1))).struct_size("page")


@given(st.binary(max_size=400))
def test_random_bytes_raise_nothing_else(data: bytes) -> None:
    with pytest.raises(ConstantsError):
        Btf(data).struct_size("page")


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    kinds = st.tuples(st.integers(0, 40), st.integers(0, 20), st.integers(0, 2**32 - 1))
    types = b"".join(
        record(draw(st.integers(0, 30)), kind, kind, size, *[size] * words)
        for kind, words, size in draw(st.lists(kinds, max_size=12))
    )
    data = bytearray(blob(types + PAGE_64, layout=draw(st.none() | st.binary(max_size=100))))
    place = st.tuples(st.integers(0, len(data) - 1), st.integers(0, 255))
    for at, value in draw(st.lists(place, max_size=6)):
        data[at] = value
    return bytes(data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data)


@given(mutated())
def test_mutated_btf_gives_a_size_none_or_one_line(data: bytes) -> None:
    try:
        size = Btf(data).struct_size("page")
    except ConstantsError:
        return
    assert size is None or 0 <= size < 2**32


# -- members --------


def test_members_are_where_the_compiler_puts_them() -> None:
    names = b"\0kprobe\0addr\0opcode\0flag\0"
    flat = [8, 1, 40 * 8, 13, 1, 80 * 8, 20, 1, 3 << 24 | 84 * 8, 0, 1, 0]
    flagged = record(1, STRUCT | 0x80, 4, 96, *flat)  # with bit fields: the flag's is of 3 bits
    assert Btf(blob(flagged, names)).members("kprobe") == {"addr": 40, "opcode": 80}
    plain = record(1, STRUCT, 2, 96, *flat[:6])
    assert Btf(blob(plain, names)).members("kprobe") == {"addr": 40, "opcode": 80}
    assert Btf(blob(plain, names)).members("addr") == {}
    assert Btf(blob(plain * 2, names)).members("kprobe") == {}


def test_members_of_real_kernels_are_those_of_the_source() -> None:
    # include/linux/kprobes.h of 6.1 and 6.12: after hlist, list and nmissed comes addr
    for kernel in ("6.1.192-vmemlab-39bit", "6.12.117-vmemlab-48bit"):
        packed = SHARED / kernel / "btf.vmlinux.zst"
        if not packed.exists():
            pytest.skip("the captures' BTF is too large to ship: 0.8 MB a kernel")
        with pa.CompressedInputStream(pa.OSFile(str(packed)), "zstd") as stream:
            at = Btf(stream.read()).members("kprobe")
        assert (at["hlist"], at["addr"], at["opcode"]) == (0, 40, 80)


# -- prototypes -----------------------------------------------------------------------------------

#: Of both releases, as pfunct -F btf (pahole 1.24) shows them.
ALIKE = {
    "vmemmap_populate": Prototype(("start", "end", "node", "altmap"), "value"),
    "vmemmap_free": Prototype(("start", "end", "altmap"), "void"),
    "__add_pages": Prototype(("nid", "pfn", "nr_pages", "params"), "value"),
    "__warn": Prototype(("file", "line", "caller", "taint", "regs", "args"), "void"),
    "memremap_pages": Prototype(("pgmap", "nid"), "pointer"),
    "memunmap_pages": Prototype(("pgmap",), "void"),
}
SPARSE_ADD = Prototype(("nid", "start_pfn", "nr_pages", "altmap", "pgmap"), "value")
#: What differs: Linux 6.1 and 6.12, as pfunct -F btf shows them.
REMOVE_6_1 = {
    "__remove_pages": Prototype(("pfn", "nr_pages", "altmap"), "void"),
    "sparse_remove_section": Prototype(("ms", "pfn", "nr_pages", "map_offset", "altmap"), "void"),
}
REMOVE_6_12 = {
    "__remove_pages": Prototype(("pfn", "nr_pages", "altmap", "pgmap"), "void"),
    "sparse_remove_section": Prototype(("pfn", "nr_pages", "altmap", "pgmap"), "void"),
}


@pytest.mark.parametrize(
    ("kernel", "remove"),
    [
        ("6.1.192-vmemlab-39bit", REMOVE_6_1),
        ("6.1.192-vmemlab-once-39bit", REMOVE_6_1),
        ("6.12.117-vmemlab-48bit", REMOVE_6_12),
    ],
)
def test_prototypes_are_those_pfunct_shows(kernel: str, remove: dict[str, Prototype]) -> None:
    packed = SHARED / kernel / "btf.vmlinux.zst"
    if not packed.exists():
        pytest.skip("the captures' BTF is too large to ship: 0.8 MB a kernel")
    with pa.CompressedInputStream(pa.OSFile(str(packed)), "zstd") as stream:
        btf = stream.read()
    expected = ALIKE | {"sparse_add_section": SPARSE_ADD} | remove
    assert Btf(btf).prototypes([*expected, "no_such_function"]) == expected


def test_prototypes_by_hand() -> None:
    made = functions(
        ("one", "a b", "void"), ("none", "", "value"), ("two", "c", "pointer"), ("x", "d", "void")
    )
    assert Btf(made).prototypes(["two", "none", "one", "tw", "wo"]) == {
        "one": Prototype(("a", "b"), "void"),
        "none": Prototype((), "value"),
        "two": Prototype(("c",), "pointer"),
    }


def test_a_function_described_in_two_ways_is_not_described() -> None:
    types = record(0, 13, 0, 0) + record(PAGE, 12, 1, 1) + record(0, 13, 1, 0, FRAG, 0)
    assert Btf(blob(types)).prototypes(["page"]) == {"page": Prototype((), "void")}
    assert Btf(blob(types + record(PAGE, 12, 0, 3))).prototypes(["page"]) == {}
    # twice the same is once: static functions of a header
    again = types + record(PAGE, 12, 0, 1)
    assert Btf(blob(again)).prototypes(["page"]) == {"page": Prototype((), "void")}


@pytest.mark.parametrize(
    ("types", "found"),
    [
        (record(PAGE, 12, 1, 0), None),  # of no type
        (record(PAGE, 12, 1, 9), None),  # of a type that is not there
        (record(PAGE, 12, 1, 1), None),  # of itself
        (record(PAGE, 12, 1, 2) + PAGE_64, None),  # of a struct
        (record(PAGE, 13, 0, 0), None),  # the name of a prototype, not of a function
        (PAGE_64 + record(0, 13, 0, 9) + record(PAGE, 12, 1, 2), Prototype((), "value")),
        # names that lie outside, and one cut by the end
        (
            record(0, 13, 3, 0, 10**6, 1, FRAG, 1, 2**32 - 1, 1) + record(PAGE, 12, 1, 1),
            Prototype(("", "page_frag", ""), "void"),
        ),
    ],
)
def test_a_function_without_a_sound_prototype(types: bytes, found: Prototype | None) -> None:
    assert Btf(blob(types)).prototypes(["page"]) == ({"page": found} if found else {})


@pytest.mark.parametrize(
    ("btf", "message"),
    [
        (b"", "not BTF"),
        (blob(PAGE_64 + b"\0" * 8), "ends inside a type"),
        (blob(record(0, 13, 0xFFFFFF, 0)), "ends inside a type"),
        (blob(record(0, 127, 0, 0)), "kind 127"),
        (blob(record(0, 2, 0, 1) * (MAX_TYPES + 1)), "more than 1048575 types"),
    ],
)
def test_prototypes_of_bad_btf_are_refused_with_one_line(btf: bytes, message: str) -> None:
    with pytest.raises(ConstantsError, match=message) as caught:
        Btf(btf).prototypes(["page"])
    assert "\n" not in str(caught.value)


@given(st.data())
def test_prototypes_of_mutated_btf_are_whole_or_one_line(data: st.DataObject) -> None:
    made = bytearray(functions(("one", "a b", "void"), ("two", "c", "pointer")))
    place = st.tuples(st.integers(0, len(made) - 1), st.integers(0, 255))
    for at, value in data.draw(st.lists(place, max_size=4)):
        made[at] = value
    cut = data.draw(st.integers(0, len(made)) | st.just(len(made)))
    try:
        found = Btf(bytes(made[:cut])).prototypes(["one", "two"])
    except ConstantsError:
        return
    assert set(found) <= {"one", "two"}
    for prototype in found.values():
        assert prototype.returns in ("void", "pointer", "value")
        assert all(isinstance(name, str) for name in prototype.parameters)


@given(mutated())
def test_prototypes_of_any_mutated_types_raise_nothing_else(data: bytes) -> None:
    with suppress(ConstantsError):
        Btf(data).prototypes(["page", "page_frag"])
