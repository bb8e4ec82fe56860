# SPDX-License-Identifier: GPL-2.0-only
"""What kernels refuse, told from their images; the booted ones refused just these."""

import struct

import capstone
import pytest

from tests.kernels.files import LAB, kernel
from tracers.constants.image.kernel_image import open_kernel
from tracers.events import Kind
from tracers.live.boot.refusals import Refusals
from tracers.live.probes.points import Probe, ProbeAddress, Rung

#: Functions that a booted kernel of that build let nobody probe at the entry (tests/lab).
NOTRACE = {
    LAB: {"vmemmap_populate", "sparse_add_section", "__populate_section_memmap"},
    "debian-6.1.0-56-48bit-4k": {"vmemmap_populate", "sparse_add_section"},
    "lab-6.12.117-48bit-4k": set(),
    "debian-6.12.117-52bit-4k": set(),
    "debian-7.2.13-4k": set(),
}
FUNCTIONS = (
    *("vmemmap_populate", "vmemmap_free", "sparse_add_section", "sparse_remove_section"),
    *("__add_pages", "__remove_pages"),
)


def probe(symbol: str, offset: int = 0, rung: Rung = Rung.KPROBE) -> Probe:
    return Probe(Kind.FREE, rung, symbol, (ProbeAddress(symbol, offset, 0),))


@pytest.mark.parametrize("name", NOTRACE)
def test_an_entry_is_refused_where_the_booted_kernel_refused_it(name):
    names = {*FUNCTIONS, *NOTRACE[name]}
    with open_kernel(kernel(name)) as image:
        refusals = Refusals(image, map(probe, names))
        why = {each: refusals.why(probe(each)) for each in names}
    assert {each for each, reason in why.items() if reason} == NOTRACE[name]
    assert {reason for reason in why.values() if reason} <= {"notrace"}


@pytest.mark.parametrize("name", NOTRACE)
def test_without_the_kernels_table_its_code_says_the_same(name, monkeypatch):
    names = {*FUNCTIONS, *NOTRACE[name]}
    with open_kernel(kernel(name)) as image:
        refusals = Refusals(image, map(probe, names))
        monkeypatch.setattr(refusals, "_states", {})
        why = {each: refusals.why(probe(each)) for each in names}
    assert {each for each, reason in why.items() if reason} == NOTRACE[name]


#: What arm_probe_decode_insn() takes: it simulates branches and adr, and steps over these.
TAKEN = {
    *("b", "bl", "cbz", "cbnz", "tbz", "tbnz", "adr", "adrp", "mov", "add", "sub", "cmp"),
    *("ldr", "ldp", "str", "stp", "and", "orr", "lsl", "lsr"),
}
REFUSED = {
    *("brk", "mrs", "msr", "bti", "paciasp", "autiasp", "nop", "hint", "dmb", "dsb", "isb"),
    *("ldxr", "stxr", "ldaxr", "stlxr"),
}


def test_an_instruction_is_taken_only_if_it_can_be_stepped_over():
    decoder = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
    seen: dict[str, set[bool]] = {}
    with open_kernel(kernel(LAB)) as image:
        traceable = [each for each in FUNCTIONS if each not in NOTRACE[LAB]]
        refusals = Refusals(image, map(probe, traceable))
        for each in traceable:
            code = image.function(each)
            for instruction in decoder.disasm(code.bytes, 0):
                if instruction.address:
                    why = refusals.why(probe(each, instruction.address))
                    seen.setdefault(instruction.mnemonic, set()).add(why is None)
    assert all(seen[name] == {True} for name in TAKEN & seen.keys())
    assert {"bl", "cbz", "mov", "ldr", "brk"} <= seen.keys()
    assert all(seen[name] == {False} for name in REFUSED & seen.keys())


def test_an_atomic_sequence_is_not_broken_into():
    # ldxr x1, [x0]; add x1, x1, #1; stxr w2, x1, [x0]; mov x0, x1
    words = struct.pack("<4I", 0xC85F7C01, 0x91000421, 0xC8027C01, 0xAA0103E0)

    class Image:
        def symbol(self, name):
            return type("S", (), {"va": 0x1000, "name": name})()

        def read(self, va, size):
            return words[va - 0x1000 : va - 0x1000 + size]

    refusals = Refusals.__new__(Refusals)
    refusals._image, refusals._states = Image(), {"f": "traceable"}
    why = [refusals.why(probe("f", offset)) for offset in (4, 12)]
    assert why == ["f+0x4: inside an atomic sequence", None]


def test_breakpoints_are_nobodys_on_a_command_line():
    with open_kernel(kernel(LAB)) as image:
        stop = probe("vmemmap_free", rung=Rung.BREAKPOINT)
        assert "hardware breakpoints" in (Refusals(image, [stop]).why(stop) or "")
