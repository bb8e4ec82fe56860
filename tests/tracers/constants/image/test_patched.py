# SPDX-License-Identifier: GPL-2.0-only
"""Live text that other people's probes patched, on real functions of booted kernels.

The patches are those that a booted arm64 6.12 shows: brk #4 under each kprobe, "mov x9, x30; bl"
at a traced function's entry. The offsets of struct kprobe are those of include/linux/kprobes.h.
"""

import os
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from tests.kernels.files import kernel
from tests.tracers.constants.btfs import blob, record
from tests.tracers.constants.cores import kcore
from tests.tracers.live.machines import other_build
from tests.tracers.live.oracle import CALLS, address, kallsyms, symbols
from tracers.constants.dataflow import window_in_code
from tracers.constants.image.kernel_image import KernelImage
from tracers.constants.image.patched import untraced
from tracers.constants.running import RunningFiles
from tracers.live.probes.call_sites import find_calls

LAB = "lab-6.12.117-48bit-4k"
WINDOW = (0xFFFFFDFFC0000000, 0xFFFFFFFFC0000000)
BRK, KGDB, NOP, MOV_X9 = (
    struct.pack("<I", w) for w in (0xD4200080, 0xD4208000, 0xD503201F, 0xAA1E03E9)
)
TABLE = 0xFFFF000001000000  # of lists of kprobes, in the linear map
ADDR, OPCODE = 40, 80  # in struct kprobe
FREE = "vmemmap_free"


def types() -> bytes:
    names = b"\0int\0kprobe\0hlist\0addr\0opcode\0"
    at = {
        name: names.index(b"\0" + name.encode() + b"\0") + 1
        for name in names.decode().split("\0")
        if name
    }
    members = [(at["hlist"], 1, 0), (at["addr"], 1, 8 * ADDR), (at["opcode"], 1, 8 * OPCODE)]
    flat = [word for member in members for word in member]
    return blob(record(at["int"], 1, 0, 4, 32) + record(at["kprobe"], 4, 3, 128, *flat), names)


def lists(probes: Mapping[int, bytes]) -> bytes:
    """Return kprobe_table and its kprobes, two in one list where there are two."""
    heads, structs = [0] * 64, bytearray()
    for number, (va, word) in enumerate(probes.items()):
        node = TABLE + 512 + 128 * number
        one = bytearray(128)
        struct.pack_into("<Q", one, 0, heads[number % 2])
        struct.pack_into("<Q", one, ADDR, va)
        one[OPCODE : OPCODE + 4] = word
        heads[number % 2] = node
        structs += one
    return struct.pack("<64Q", *heads) + structs


def booted(
    root: Path, patches: Mapping[int, bytes], *, listed: bool = True, btf: bool = True
) -> RunningFiles:
    """Return a running kernel whose text has ``patches``, their originals in its lists or not."""
    kallsyms(root / "proc/kallsyms", LAB, 0)
    with kernel(LAB).open("rb") as file:
        elf = ELFFile(file)
        memory = [(s["p_vaddr"], bytearray(s.data())) for s in elf.iter_segments("PT_LOAD")]
        notes = elf.get_section_by_name(".notes").data()
    originals = {}
    for va, word in patches.items():
        for start, data in memory:
            if start <= va < start + len(data):
                originals[va] = bytes(data[va - start : va - start + 4])
                data[va - start : va - start + 4] = word
    assert originals.keys() == patches.keys()
    if listed:
        memory.append((TABLE, bytearray(lists(originals))))
        with (root / "proc/kallsyms").open("a") as file:
            file.write(f"{TABLE:016x} b kprobe_table\n")
    (root / "sys/kernel/btf").mkdir(parents=True)
    if btf:
        (root / "sys/kernel/btf/vmlinux").write_bytes(types())
    (root / "sys/kernel/notes").write_bytes(notes)
    (root / "proc/kcore").write_bytes(
        kcore("OSRELEASE=6.12.117\n", [(a, bytes(d)) for a, d in memory])
    )
    return RunningFiles(root)


def own_file(root: Path, text: bytes | None = None) -> None:
    """Put the kernel's own file where a distribution has it."""
    (root / "boot").mkdir()
    path = root / "boot" / f"vmlinuz-{os.uname().release}"
    path.write_bytes(kernel(LAB).read_bytes() if text is None else text)


def at(offset: int) -> int:
    return symbols(LAB)[FREE][0] + offset


def compared(image: KernelImage) -> window_in_code.Reading:
    body = image.function(FREE)
    assert body is not None
    return window_in_code.read_compare(body)


WHOLE = symbols(LAB)[FREE][1]
PATCHES = {
    "at the entry": [0],
    "in the middle": [8, 16, 20, 24],
    "on every instruction": list(range(0, WHOLE, 4)),
}


@pytest.mark.parametrize("places", PATCHES.values(), ids=PATCHES)
@pytest.mark.parametrize("source", ["the kernel's lists", "a file of it"])
def test_the_check_is_read_under_kprobes(tmp_path: Path, places: list[int], source: str) -> None:
    files = booted(tmp_path, {at(place): BRK for place in places}, listed=source != "a file of it")
    if source == "a file of it":
        own_file(tmp_path)
    with files.memory() as image:
        assert image.function(FREE).bytes == clean()
        assert compared(image).result.window == WINDOW
        assert window_in_code.read_call(image.function(FREE), image).result.window == WINDOW
    files.close()


def clean() -> bytes:
    """The function's code as the file has it."""
    with kernel(LAB).open("rb") as file:
        elf = ELFFile(file)
        va = symbols(LAB)[FREE][0]
        for segment in elf.iter_segments("PT_LOAD"):
            if segment["p_vaddr"] <= va < segment["p_vaddr"] + segment["p_filesz"]:
                start = va - segment["p_vaddr"]
                return segment.data()[start : start + WHOLE]
    raise AssertionError(FREE)


@pytest.mark.parametrize(
    "why", ["no list", "no BTF", "kgdb", "another build", "the file has it too"]
)
def test_what_cannot_be_known_is_the_reason(tmp_path: Path, why: str) -> None:
    word = KGDB if why == "kgdb" else BRK
    files = booted(tmp_path, {at(8): word}, listed=why == "no BTF", btf=why != "no BTF")
    if why == "another build":
        own_file(tmp_path)
        other_build(tmp_path)
    if why == "the file has it too":
        own_file(
            tmp_path, kernel(LAB).read_bytes().replace(clean(), clean()[:8] + BRK + clean()[12:])
        )
    with files.memory() as image:
        for reading in (compared(image), window_in_code.read_call(image.function(FREE), image)):
            assert reading.result is None
            what = "kgdb" if why == "kgdb" else "a kprobe"
            assert f"{at(8):#x} stands {what}" in reading.reason or what in reading.reason
            assert "alone decide" not in reading.reason
            assert "\n" not in reading.reason
    files.close()


def test_a_traced_function_is_read_as_if_it_were_not(tmp_path: Path) -> None:
    entry = clean()
    place = next(
        i for i in range(0, 16, 4) if entry[i : i + 4] == NOP or entry[i : i + 4] == MOV_X9
    )
    call = struct.pack("<I", 0x94000000 | 0x1234)
    files = booted(tmp_path, {at(place): MOV_X9, at(place + 4): call}, listed=False)
    with files.memory() as image:
        assert compared(image).result.window == WINDOW
        assert window_in_code.read_call(image.function(FREE), image).result.window == WINDOW


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        ([0xD503245F, 0xAA1E03E9, 0x94001234, 0xD503233F], False),  # bti c first
        ([0xAA1E03E9, 0xD503201F, 0xD503233F], True),  # not traced
        ([0xD503233F, 0x94001234, 0xD65F03C0], True),  # a call of its own
        ([0xD503201F] * 6 + [0xAA1E03E9, 0x94001234], True),  # not at the entry
        ([0xAA1E03E9, 0x14001234], True),  # a jump
        ([0xAA1E03E9], True),
        ([], True),
    ],
)
def test_only_the_tracer_s_call_is_taken_out(words: list[int], kept: bool) -> None:
    code = struct.pack(f"<{len(words)}I", *words)
    assert (untraced(code) == code) is kept
    assert len(untraced(code)) == len(code)


def test_kprobes_on_functions_stand_for_no_call(tmp_path: Path) -> None:
    # Debian's 6.1 has no KALLSYMS_ALL, so no kprobe_table by which anything could be put back.
    names = symbols(LAB)
    sites = [address(place, names) for place in CALLS[LAB][FREE].replace("*", "").split()]
    files = booted(tmp_path, {at(0): BRK, address("__add_pages+0", names): BRK}, listed=False)
    with files.memory() as image:
        symbol = image.symbol(FREE)
        assert symbol is not None
        found = find_calls(image, {FREE: image.extent(symbol)})[FREE]
    assert (found.calls, found.hidden) == (tuple(sorted(sites)), "")


@pytest.mark.parametrize("listed", [True, False])
def test_a_call_under_a_kprobe_is_found_or_none_is(tmp_path: Path, listed: bool) -> None:
    names = symbols(LAB)
    sites = [address(place, names) for place in CALLS[LAB][FREE].replace("*", "").split()]
    files = booted(tmp_path, {sites[0]: BRK}, listed=listed)
    with files.memory() as image:
        symbol = image.symbol(FREE)
        assert symbol is not None
        found = find_calls(image, {FREE: image.extent(symbol)})[FREE]
    if listed:
        assert found.calls == tuple(sorted(sites))
    else:
        assert found.calls == ()
        assert f"0x{sites[0]:016x} stands a kprobe" in found.hidden
