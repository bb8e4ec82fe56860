# SPDX-License-Identifier: GPL-2.0-only
"""Built-in kallsyms, packed as scripts/kallsyms.c lays them out in each era."""

import struct

import pytest

from tracers.constants.image.kernel_image import open_kernel

COUNT = 5000
BASE = 0xFFFF800080000000
TEXT, TABLES, POINTER = 0x10000, 0x80000, 0x70000
#: Token 0xff stands for two letters, so that a packed name is not the name itself.
TOKENS = [b"%c" % code if 32 < code < 127 else b"~%02x" % code for code in range(255)] + [b"fn"]


def packed(names: list[str]) -> tuple[bytes, list[int]]:
    out, places = bytearray(), []
    for name in names:
        data = name.encode().replace(b"fn", b"\xff")
        places.append(len(out))
        if len(data) < 128:
            out += bytes([len(data)]) + data
        else:  # 73bbb94466fd
            out += bytes([len(data) & 127 | 128, len(data) >> 7]) + data
    return bytes(out), places


def image(era: str) -> bytes:
    """An Image of nothing but its header, banner, kallsyms and one relocation."""
    first = "T_stext" if era == "5.10" else "T_text"
    names = [first, *(f"tfn_{number}" for number in range(1, COUNT - 1)), "Tfn_" + "long" * 40]
    start = TEXT if era == "5.10" else 0
    places = [start, *(TEXT + 16 * number for number in range(1, COUNT))]
    data, offsets_of = packed(names)
    assert max(places) < POINTER
    align = 4 if era == "7.2" else 8
    out = bytearray(TABLES)

    def put(what: bytes) -> int:
        out.extend(bytes(-len(out) % align))
        out.extend(what)
        return len(out) - len(what)

    def offsets() -> int | None:
        if era == "7.2":
            out.extend(bytes(-len(out) % align))
            here = len(out)
            put(struct.pack(f"<{COUNT}i", *(p - here - 4 * i for i, p in enumerate(places))))
            return None
        put(struct.pack(f"<{COUNT}I", *(place - start for place in places)))
        return put(bytes(8))

    base_at = offsets() if era == "5.10" else None
    put(struct.pack("<I", COUNT))
    put(data)
    put(struct.pack(f"<{len(offsets_of[::256])}I", *offsets_of[::256]))
    if era == "5.10":
        put(b"\x7f" * 24)  # what is before the tokens need not end in NUL
    put(b"".join(token + b"\0" for token in TOKENS))
    index = [sum(len(token) + 1 for token in TOKENS[:number]) for number in range(256)]
    put(struct.pack("<256H", *index))
    if era != "5.10":
        base_at = offsets()
    out.extend(bytes(-len(out) % 8))
    if base_at is not None:
        out += struct.pack("<QQQ", BASE + base_at, 0x403, BASE + start)
    out[0x38:0x3C] = b"ARM\x64"
    out[0x18] = 2  # 4K pages, little-endian
    banner = b"Linux version 6.9.9-test (x@y) #1\0"
    out[0x40000 : 0x40000 + len(banner)] = banner
    return bytes(out)


@pytest.mark.parametrize("era", ["5.10", "6.4"])
def test_names_and_the_link_address(tmp_path, era):
    path = tmp_path / "Image"
    path.write_bytes(image(era))
    with open_kernel(path) as kernel:
        assert kernel.names == "kallsyms"
        assert kernel.release == "6.9.9-test"
        found = kernel.symbols(["fn_1", "fn_4000", "fn_" + "long" * 40, "fn_5001"])
        assert {name: symbol.va for name, symbol in found.items()} == {
            "fn_1": BASE + TEXT + 16,
            "fn_4000": BASE + TEXT + 16 * 4000,
            "fn_" + "long" * 40: BASE + TEXT + 16 * (COUNT - 1),
        }
        code = kernel.function("fn_1")
        assert code is not None
        assert len(code.bytes) == 16


def test_elf_file_stripped_of_everything_but_what_booting_needs(tmp_path):
    data = image("6.4")
    half = len(data) // 2 & ~0xFFF
    loads = [(half * n, BASE + half * n, half if n == 0 else len(data) - half) for n in (0, 1)]
    head = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 3, 183, 1, BASE, 64, 0, 0, 64, 56, 2, 64, 0, 0
    )
    for offset, va, size in loads:
        head += struct.pack("<IIQQQQQQ", 1, 5, 4096 + offset, va, va, size, size, 4096)
    path = tmp_path / "vmlinux"
    path.write_bytes(head.ljust(4096, b"\0") + data)
    with open_kernel(path) as kernel:
        assert (kernel.kind, kernel.names, kernel.release) == ("vmlinux", "kallsyms", "6.9.9-test")
        found = kernel.symbol("fn_4000")
        assert found is not None
        assert found.va == BASE + TEXT + 16 * 4000


def test_without_a_pointer_to_the_link_address_there_are_no_names(tmp_path):
    """7.x has no base to relocate: without KALLSYMS_ALL nothing names a pointer."""
    path = tmp_path / "Image"
    path.write_bytes(image("7.2"))
    with open_kernel(path) as kernel:
        assert kernel.names is None
        assert kernel.release == "6.9.9-test"


def test_damage_gives_no_names_or_symbols(tmp_path):
    original = bytearray(image("6.4"))
    path = tmp_path / "Image"
    for at in range(TABLES, len(original), 1997):
        data = bytearray(original)
        data[at] ^= 0xFF
        path.write_bytes(data)
        with open_kernel(path) as kernel:
            assert kernel.names in ("kallsyms", None)
            kernel.function("fn_1")


def test_an_empty_last_name(tmp_path):
    """Found by fuzzing: nothing of the text is left for its type letter."""
    data = bytearray(image("6.4"))
    at = data.index(b"T\xff_" + b"long" * 40)
    data[at - 2 : at] = b"\0\0"  # its length, and that of one more that is not counted
    path = tmp_path / "Image"
    path.write_bytes(data)
    with open_kernel(path) as kernel:
        found = kernel.symbol("fn_1")
        assert kernel.names is None or found is not None
