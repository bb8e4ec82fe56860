# SPDX-License-Identifier: GPL-2.0-only
"""Functions of the program, loaded for a slot: what libbcc is given, and what goes wrong."""

import ctypes
import errno
import os
import struct
from types import SimpleNamespace

import pytest

from tests.tracers.live.standins import LibraryFunction
from tracers.live.bcc.loader import Functions, in_slot
from tracers.live.bcc.program import SLOT_MARK
from tracers.live.probes.engine import AttachError

KPROBE = 2  # enum bpf_prog_type


def instruction(code: int, register: int, immediate: int) -> bytes:
    """One of Documentation/bpf/standardization/instruction-set.rst: no source, no offset."""
    return struct.pack("<BBhi", code, register, 0, immediate)


MARK = instruction(0xB7, 3, SLOT_MARK)  # r3 = the mark
OTHER = instruction(0xB7, 3, 0)
LOOKS_LIKE_IT = instruction(0x07, 3, SLOT_MARK)  # r3 += the mark: no load
EXIT = instruction(0x95, 0, 0)


@pytest.mark.parametrize("number", [0, 9])
@pytest.mark.parametrize("move", [0xB7, 0xB4], ids=["64-bit", "32-bit"])
def test_the_mark_becomes_the_slot(number, move) -> None:
    code = OTHER + LOOKS_LIKE_IT + instruction(move, 1, SLOT_MARK) + EXIT
    assert in_slot(code, number) == (OTHER + LOOKS_LIKE_IT + instruction(move, 1, number) + EXIT)


@pytest.mark.parametrize("code", [OTHER + EXIT, MARK + MARK + EXIT], ids=["none", "two"])
def test_a_program_whose_slot_cannot_be_set_is_not_loaded(code) -> None:
    with pytest.raises(AttachError, match="places for the slot in the BPF program"):
        in_slot(code, 1)


class Library:
    """What of libbcc loads a function."""

    def __init__(self, arguments: int) -> None:
        self.code = ctypes.create_string_buffer(MARK + EXIT, 16)
        self.given: list[tuple[object, ...]] = []
        self.answer = lambda: os.open(os.devnull, os.O_RDONLY)
        self.bpf_function_start = lambda module, name: ctypes.addressof(self.code)
        self.bpf_function_size = lambda module, name: 16
        self.bpf_module_license = lambda module: b"GPL"
        self.bpf_module_kern_version = lambda module: 0x6010C
        self.bcc_func_load = LibraryFunction(self.load, arguments)

    def load(self, *given):
        self.given.append(given)
        return self.answer()


@pytest.mark.parametrize(
    ("arguments", "more"), [(10, ()), (11, (None,)), (12, (None, -1))], ids=["0.10", "0.13", "0.26"]
)
def test_what_libbcc_is_given(arguments, more) -> None:
    library = Library(arguments)
    functions = Functions(library, SimpleNamespace())
    fd = functions.load("at_entry", KPROBE, 5)
    _, kind, name, code, *rest = library.given[0]
    assert (kind, name, bytes(code)) == (KPROBE, b"at_entry", instruction(0xB7, 3, 5) + EXIT)
    assert tuple(rest) == (16, b"GPL", 0x6010C, 0, None, 0, *more)
    assert bytes(library.code) == MARK + EXIT  # for the next slot
    os.fstat(fd)
    functions.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_a_function_without_a_slot_is_loaded_as_it_is() -> None:
    library = Library(12)
    functions = Functions(library, SimpleNamespace())
    functions.load("on_report", KPROBE)
    assert bytes(library.given[0][3]) == MARK + EXIT
    functions.close()


def test_what_the_kernel_says_is_the_reason(capfd) -> None:
    def refuse() -> int:
        os.write(2, b"bpf: Failed to load program: Permission denied\n")
        ctypes.set_errno(errno.EACCES)
        return -1

    library = Library(12)
    library.answer = refuse
    with pytest.raises(AttachError) as raised:
        Functions(library, SimpleNamespace()).load("at_entry", KPROBE, 1)
    assert "Failed to load BPF program at_entry: Permission denied" in str(raised.value)
    assert capfd.readouterr() == ("", "")
