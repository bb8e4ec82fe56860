# SPDX-License-Identifier: GPL-2.0-only
"""A kernel opens the same whatever file it comes in."""

import gzip
import struct
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from tests.kernels.files import LAB, NAMES, PACKERS, facts, kernel, raw_image, zboot
from tracers.constants.image.kernel_image import open_kernel
from tracers.constants.image.warn_sites import probeable, warn_sites

#: file -> (release, build id), as readelf -n and the banner of the whole vmlinux say
REAL = {
    "debian-5.10.0-32-48bit-4k": ("5.10.0-32-arm64", "7b04272cd589e76237859854e119212c2bf8830e"),
    "debian-6.1.0-56-48bit-4k": ("6.1.0-56-arm64", "0ed29847cba3cbd9114b826b3a1ad39dd624ffa0"),
    "debian-6.12.117-52bit-4k": (
        "6.12.117+deb12-arm64",
        "e85221897d1ca89e9fd2357c760a238e7d512949",
    ),
    "debian-6.12.117-16k": (
        "6.12.117+deb12-arm64-16k",
        "ba48b53754c7a2957aeb993f5dd1948872c5ff27",
    ),
    "debian-7.2.13-4k": ("7.2.13+deb14-arm64", "dc3a554f8cb0e0865c7eec3c001a6a80da4a3b7a"),
    "debian-7.2.13-16k": ("7.2.13+deb14-arm64-16k", "fe000c5bb3f382255f46352c342b3f926afdfc3a"),
    "clang-6.12.117-64k": ("6.12.117", "6e1a8aab91d099b64889d0228f57e4fd517cc609"),
    "clang-6.12.117-lto-kasan": ("6.12.117", "1e46dfc48e2b2112b7ab43a895dbc96a8a340e09"),
    "lab-6.1.192-39bit-4k": ("6.1.192-vmemlab", "3efcb224608b9fa782cc10ffbd19238962524dc0"),
    "lab-6.12.117-48bit-4k": ("6.12.117-vmemlab", "f81dbfa8ce6064a7311f935feba550b47856bd6f"),
}


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> tuple[Path, Path]:
    return raw_image(tmp_path_factory.mktemp("raw"))


class TestRealKernels:
    """What is read is what the whole vmlinux has, and what pyelftools reads."""

    @pytest.mark.parametrize("name", REAL)
    def test_says_which_kernel_it_is(self, name):
        with open_kernel(kernel(name)) as image:
            assert (image.release, image.build_id) == REAL[name]
            assert (image.kind, image.compressed, image.names) == ("vmlinux", None, "symtab")

    @pytest.mark.parametrize("name", REAL)
    def test_reads_symbols_and_code_as_pyelftools_does(self, name):
        with open_kernel(kernel(name)) as image, kernel(name).open("rb") as file:
            elf = ELFFile(file)
            table = elf.get_section_by_name(".symtab")
            for wanted in NAMES:
                (theirs,) = table.get_symbol_by_name(wanted)
                ours, code = image.symbol(wanted), image.function(wanted)
                assert ours is not None
                assert code is not None
                assert (ours.va, ours.size) == (theirs["st_value"], theirs["st_size"])
                home = elf.get_section(theirs["st_shndx"])
                offset = theirs["st_value"] - home["sh_addr"]
                assert code.va == theirs["st_value"]
                assert code.bytes == home.data()[offset : offset + theirs["st_size"]]

    @pytest.mark.parametrize("name", REAL)
    def test_sections_and_notes_are_those_pyelftools_sees(self, name):
        with open_kernel(kernel(name)) as image, kernel(name).open("rb") as file:
            elf = ELFFile(file)
            for section in (".notes", "__bug_table", ".strtab"):
                theirs = elf.get_section_by_name(section)
                assert image.section(section) == theirs.data()
                assert image.section_va(section) == (theirs["sh_addr"], theirs["sh_size"])
            notes = [
                (n["n_name"], n["n_descdata"])
                for n in elf.get_section_by_name(".notes").iter_notes()
            ]
            assert [(note.name, note.desc) for note in image.notes()] == notes
            assert image.btf() == image.section(".BTF")
            assert not image.has_section(".nothing")
            assert image.section(".nothing") is None

    def test_a_renamed_function_is_found_under_its_plain_name(self):
        with open_kernel(kernel("debian-6.12.117-52bit-4k")) as image:
            found = image.symbol("section_deactivate")
            assert found is not None
            assert found.name == "section_deactivate.isra.0"
            assert image.symbol("section_deactiv") is None
            assert image.symbol("") is None

    def test_what_is_not_in_the_file_is_none(self):
        with open_kernel(kernel(LAB)) as image:
            text = image.symbol("_text")
            assert text is not None
            assert image.read(text.va, 64) is not None
            assert image.read(text.va, 65) is None
            assert image.read(text.va - 1, 2) is None
            assert image.read(0, 8) is None
            assert image.read((1 << 64) - 1, 8) is None
            assert image.read(text.va, -1) is None
            assert image.function("no_such_function") is None
            assert image.function("__warn") is None  # its name is there, its code is not


class TestOneKernelManyFiles:
    """Every kind of file gives the same results."""

    @pytest.fixture(scope="class")
    def expected(self) -> tuple[object, ...]:
        with open_kernel(kernel(LAB)) as image:
            return facts(image)

    @pytest.mark.parametrize("packed", PACKERS)
    def test_packed_vmlinux(self, packed, tmp_path, expected):
        path = tmp_path / "vmlinux"
        path.write_bytes(PACKERS[packed](kernel(LAB).read_bytes()))
        with open_kernel(path) as image:
            assert (image.kind, image.compressed) == ("vmlinux", packed)
            assert facts(image) == expected

    def test_what_follows_the_packed_data_is_left_alone(self, tmp_path, expected):
        path = tmp_path / "vmlinux.gz"
        path.write_bytes(
            gzip.compress(kernel(LAB).read_bytes(), mtime=0) + b"\xd0\x0d\xfe\xed" * 64
        )
        with open_kernel(path) as image:
            assert facts(image) == expected

    def test_raw_image_with_system_map(self, raw, expected):
        path, names = raw
        with open_kernel(path, system_map=names) as image:
            assert (image.kind, image.header_page_size) == ("Image", 4096)
            assert image.names == str(names)
            assert facts(image) == expected

    @pytest.mark.parametrize(("name", "packed"), [(b"gzip", "gz"), (b"zstd", "zst"), (b"xz", "xz")])
    def test_efi_zboot(self, name, packed, raw, tmp_path, expected):
        path = tmp_path / "vmlinuz.efi"
        data = PACKERS[packed](raw[0].read_bytes())
        path.write_bytes(zboot(data, name))
        with open_kernel(path, system_map=raw[1]) as image:
            assert (image.kind, image.compressed) == ("zboot", packed)
            assert facts(image) == expected

    def test_raw_image_without_names_still_gives_what_needs_none(self, raw):
        with open_kernel(kernel(LAB)) as image:
            btf = image.btf()
        with open_kernel(raw[0]) as image:
            assert image.release == "6.1.192-vmemlab"
            assert image.names is None
            assert image.symbols(NAMES) == {}
            assert image.function("vmemmap_free") is None
            assert image.btf() == btf
            assert image.build_id is None  # not that of the vDSO inside
            assert warn_sites(image) == ()
            assert set(probeable(image, NAMES).values()) == {"unknown"}

    def test_stripped_of_its_section_table(self, raw, tmp_path, expected):
        data = bytearray(kernel(LAB).read_bytes())
        data[0x28:0x30] = bytes(8)  # e_shoff
        data[0x3C:0x40] = bytes(4)  # e_shnum, e_shstrndx
        path = tmp_path / "vmlinux"
        path.write_bytes(data)
        with open_kernel(path) as image:
            assert image.release == "6.1.192-vmemlab"
            assert image.build_id == expected[1]
            assert image.names is None
        with open_kernel(path, system_map=raw[1]) as image:
            assert facts(image)[:5] == expected[:5]

    def test_btf_blob(self, tmp_path):
        with open_kernel(kernel(LAB)) as image:
            blob = image.btf()
        assert blob is not None
        path = tmp_path / "btf"
        path.write_bytes(blob)
        with open_kernel(path) as image:
            assert (image.kind, image.btf(), image.release) == ("btf", blob, None)
            assert image.read(1 << 63, 4) is None
            assert image.build_id is None

    def test_memory_dump(self, tmp_path):
        data = bytearray(kernel(LAB).read_bytes())
        data[0x10:0x12] = struct.pack("<H", 4)  # ET_CORE
        path = tmp_path / "vmcore"
        path.write_bytes(data)
        with open_kernel(path) as image:
            assert image.kind == "vmcore"
            assert image.notes()
