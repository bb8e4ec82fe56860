# SPDX-License-Identifier: GPL-2.0-only
"""The reduced kernels, packed and laid out in every way a kernel comes."""

import gzip
import lzma
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pytest
from elftools.elf.elffile import ELFFile

from tracers.constants.image.kernel_image import ConstantsError, KernelImage, open_kernel
from tracers.constants.image.warn_sites import probeable, warn_sites

KERNELS = Path(__file__).resolve().parent
LAB = "lab-6.1.192-39bit-4k"
NAMES = ("vmemmap_free", "vmemmap_populate", "arch_crash_save_vmcoreinfo", "__add_pages")


def kernel(name: str) -> Path:
    """Return the path of one of them."""
    return KERNELS / f"{name}.elf"


def zstd(data: bytes) -> bytes:
    """Pack as zstd."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(data)
    return sink.getvalue().to_pybytes()


def zboot(data: bytes, kind: bytes = b"gzip") -> bytes:
    """Return an EFI zboot image around ``data``, packed as ``kind``."""
    head = struct.pack("<4s4sII8x32s", b"MZ\0\0", b"zimg", 512, len(data), kind)
    return head.ljust(512, b"\0") + data + struct.pack("<I", 12345)


PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "zst": zstd,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
}


def raw_image(folder: Path) -> tuple[Path, Path]:
    """The lab's kernel as a raw Image (holes where the fixture has none), and its System.map."""
    image, names = folder / "Image", folder / "System.map"
    with kernel(LAB).open("rb") as file, image.open("wb") as out:
        elf = ELFFile(file)
        symbols = {s.name: s["st_value"] for s in elf.get_section_by_name(".symtab").iter_symbols()}
        base = symbols["_text"]
        for segment in elf.iter_segments("PT_LOAD"):
            out.seek(segment["p_vaddr"] - base)
            out.write(segment.data())
        rela = elf.get_section_by_name(".rela.dyn").data()
        out.seek(symbols["__stop_mcount_loc"] - base + 4096)
        out.write(rela)
        # The whole kernel's table begins with the entry at __start_mcount_loc; ours is an excerpt.
        symbols["__start_mcount_loc"] = struct.unpack_from("<Q", rela)[0]
        lines = sorted((va, name) for name, va in symbols.items() if name)
        names.write_text("".join(f"{va:016x} T {name}\n" for va, name in lines))
    return image, names


def facts(image: KernelImage) -> tuple[object, ...]:
    """What every method asks of a kernel."""
    return (
        image.release,
        image.build_id,
        [image.read(code.va, 16) for name in NAMES if (code := image.function(name))],
        image.symbols(NAMES).keys(),
        warn_sites(image),
        probeable(image, NAMES),
        image.notes(),
    )


def survive(path: Path) -> None:
    """Ask everything of a damaged file: answers or ConstantsError, nothing else."""
    with suppress(ConstantsError), open_kernel(path) as image:
        facts(image)
        image.btf()
        warn_sites(image, None)
        for name in (".rela.dyn", ".strtab"):
            image.section(name)


def refused(tmp_path: Path, data: bytes) -> str:
    """Return the one line with which ``data`` is refused."""
    path = tmp_path / "file"
    path.write_bytes(data)
    with pytest.raises(ConstantsError) as caught:
        open_kernel(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def patched(offset: int, form: str, value: int) -> bytes:
    """Return the lab's kernel with one field changed."""
    data = bytearray(kernel(LAB).read_bytes())
    struct.pack_into(form, data, offset, value)
    return bytes(data)
