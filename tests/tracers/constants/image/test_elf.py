# SPDX-License-Identifier: GPL-2.0-only
"""Files that are no arm64 kernel, or damaged: one line, or what can still be read."""

import struct
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.kernels.files import LAB, NAMES, kernel, patched, refused, survive, zboot
from tracers.constants.image.kernel_image import ConstantsError, open_kernel


class TestForeign:
    """The error says what it is instead."""

    @pytest.mark.parametrize(
        ("offset", "form", "value", "reason"),
        [
            (0x12, "<H", 62, "x86-64"),
            (0x12, "<H", 40, "32-bit ARM"),
            (0x12, "<H", 999, "ELF machine 999"),
            (0x10, "<H", 1, "module or object file"),
            (0x04, "B", 1, "32-bit"),
        ],
    )
    def test_other_elf_files(self, tmp_path, offset, form, value, reason):
        assert reason in refused(tmp_path, patched(offset, form, value))

    def test_big_endian(self, tmp_path):
        data = bytearray(patched(0x05, "B", 2))
        data[0x12:0x14] = b"\x00\xb7"
        assert "big-endian" in refused(tmp_path, bytes(data))
        image = bytearray(64)
        image[0x38:0x3C] = b"ARM\x64"
        image[0x18] = 1
        assert "big-endian" in refused(tmp_path, bytes(image))

    def test_debug_information_alone(self, tmp_path):
        data = bytearray(kernel(LAB).read_bytes())
        shoff, shnum = struct.unpack_from("<Q", data, 0x28)[0], data[0x3C]
        for index in range(1, shnum):
            at = shoff + 64 * index
            if struct.unpack_from("<Q", data, at + 8)[0] & 2:
                struct.pack_into("<I", data, at + 4, 8)  # SHT_NOBITS
        assert "without its code" in refused(tmp_path, bytes(data))

    def test_a_program(self, tmp_path):
        data = bytearray(kernel(LAB).read_bytes())
        shoff, shnum = struct.unpack_from("<Q", data, 0x28)[0], data[0x3C]
        for index in range(1, shnum):
            struct.pack_into("<Q", data, shoff + 64 * index + 16, 0x400000)
        assert "not a kernel" in refused(tmp_path, bytes(data))

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"", "empty"),
            (b"hello, world", "neither ELF nor"),
            (bytes(0x202) + b"HdrS" + bytes(99), "x86"),
            (bytes(0x38) + b"RSC\x05" + bytes(99), "RISC-V"),
            (bytes(0x24) + b"\x18\x28\x6f\x01" + bytes(99), "32-bit ARM"),
            (b"ANDROID!" + bytes(99), "Android"),
            (b"MZ" + bytes(999), "EFI program"),
            (b"\x02\x21\x4c\x18" + bytes(99), "lz4"),
            (b"BZh9" + bytes(99), "bunzip2"),
            (zboot(b"x", b"lzo"), "lzo"),
            (zboot(b"x" * 99)[:520], "cut short"),
            (b"\x7fELF", "cut short"),
        ],
    )
    def test_other_files(self, tmp_path, data, reason):
        assert reason in refused(tmp_path, data)

    def test_no_file_a_folder_a_pipe(self, tmp_path):
        with pytest.raises(ConstantsError, match="No such file"):
            open_kernel(tmp_path / "missing")
        with pytest.raises(ConstantsError, match="not a regular file"):
            open_kernel(tmp_path)
        with pytest.raises(ConstantsError, match="not a regular file"):
            open_kernel(Path("/dev/null"))


class TestDamaged:
    """No header is trusted beyond the file's own bytes."""

    @pytest.mark.parametrize(
        ("offset", "form", "value", "reason"),
        [
            (0x28, "<Q", 1 << 63, "section headers are not all there"),
            (0x28, "<Q", 1 << 40, "section headers are not all there"),
            (0x3A, "<H", 65535, "section headers of 65535 bytes"),
            (0x3C, "<H", 65535, "65535 section headers"),
        ],
    )
    def test_absurd_headers(self, tmp_path, offset, form, value, reason):
        assert reason in refused(tmp_path, patched(offset, form, value))

    def test_absurd_count_of_sections_in_the_first(self, tmp_path):
        data = bytearray(patched(0x3C, "<H", 0))
        shoff = struct.unpack_from("<Q", data, 0x28)[0]
        struct.pack_into("<Q", data, shoff + 32, 1 << 60)
        assert "sections" in refused(tmp_path, bytes(data))

    @pytest.mark.parametrize("field", [24, 32])  # sh_offset, sh_size
    @pytest.mark.parametrize("value", [1 << 20, 1 << 33, (1 << 64) - 1])
    @pytest.mark.parametrize("name", [".symtab", ".strtab", ".BTF", ".notes", ".rodata"])
    def test_absurd_sections_are_refused_or_left_out(self, tmp_path, name, field, value):
        path = tmp_path / "vmlinux"
        path.write_bytes(self._section(name, field, "<Q", value))
        survive(path)

    @pytest.mark.parametrize("link", ["self", "first", "beyond"])
    def test_string_table_that_is_none(self, tmp_path, link):
        index = {"self": self._index(".symtab"), "first": 0, "beyond": 1 << 31}[link]
        damaged = self._section(".symtab", 40, "<I", index)
        assert "damaged ELF headers: " in refused(tmp_path, damaged)

    def test_string_table_without_nul(self, tmp_path):
        data = bytearray(kernel(LAB).read_bytes())
        with kernel(LAB).open("rb") as file:
            table = ELFFile(file).get_section_by_name(".strtab")
        start, size = table["sh_offset"], table["sh_size"]
        data[start : start + size] = data[start : start + size].replace(b"\0", b"x")
        path = tmp_path / "vmlinux"
        path.write_bytes(data)
        with open_kernel(path) as image:
            assert image.symbols(NAMES) == {}

    def test_overlapping_sections_are_read_one_way(self, tmp_path):
        with open_kernel(kernel(LAB)) as image:
            va = image.section_va("__bug_table")
        assert va is not None
        path = tmp_path / "vmlinux"
        path.write_bytes(self._section(".BTF", 16, "<Q", va[0]))
        with open_kernel(path) as image:
            assert image.read(va[0], 8) == image.read(va[0], 16)[:8]  # type: ignore[index]
            survive(path)

    def test_every_cut_is_an_error_or_readable(self, tmp_path):
        data = kernel(LAB).read_bytes()
        path = tmp_path / "vmlinux"
        for size in [*range(0, 200, 7), *range(200, len(data), 499)]:
            path.write_bytes(data[:size])
            with pytest.raises(ConstantsError):  # the section headers come last
                open_kernel(path)

    @settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_changed_bytes_are_an_error_or_readable(self, tmp_path, data):
        original = kernel(LAB).read_bytes()
        headers = struct.unpack_from("<Q", original, 0x28)[0]
        where = st.one_of(
            st.integers(0, 63),
            st.integers(headers, len(original) - 1),
            st.integers(0, len(original) - 1),
        )
        changed = bytearray(original)
        for at, value in data.draw(
            st.lists(
                st.tuples(where, st.sampled_from([0, 1, 0x7F, 0x80, 0xFF])), min_size=1, max_size=12
            )
        ):
            changed[at] = value
        path = tmp_path / "vmlinux"
        path.write_bytes(changed)
        survive(path)

    def _index(self, name: str) -> int:
        with kernel(LAB).open("rb") as file:
            return int(ELFFile(file).get_section_index(name))

    def _section(self, name: str, field: int, form: str, value: int) -> bytes:
        data = kernel(LAB).read_bytes()
        return patched(
            struct.unpack_from("<Q", data, 0x28)[0] + 64 * self._index(name) + field, form, value
        )
