# SPDX-License-Identifier: GPL-2.0-only
"""Loads the functions of the compiled program into the kernel, one for all slots or one a slot.

The program has each function once, with a mark where the number of its slot belongs: compiling it
anew for each slot would take most of the time that BCC takes. Promises: every fd is closed by
``unload`` or ``close``; a function with no such mark, or several, is not loaded.
"""

import ctypes
import os
import struct
from typing import Any, Final

from tracers.live.bcc import trampolines
from tracers.live.bcc.program import SLOT_MARK, TO_TRACEFS, one_line, quiet
from tracers.live.probes.engine import AttachError

#: BPF_ALU64 and BPF_ALU | BPF_MOV | BPF_K: the instructions that can load the mark.
_MOVES: Final = (0xB7, 0xB4)
_ARGUMENTS: Final = 10  # of bcc_func_load in all releases


class Functions:
    """The loaded functions of one of BCC's modules; ``lib`` is its libbcc."""

    def __init__(self, lib: Any, module: Any) -> None:  # noqa: ANN401 - BCC ships no types
        self._lib = lib
        self._module = module
        self._loaded: dict[tuple[str, int | None], int] = {}

    def load(self, name: str, kind: int, slot: int | None = None) -> int:
        """Return the fd of a function, as it is or for a slot. Raises ``AttachError``."""
        lib, module, symbol = self._lib, self._module, name.encode()
        code = self._code(name, slot)
        size = len(code)
        # a device and how to attach, which later releases take: neither
        more = (None, -1)[: max(0, len(lib.bcc_func_load.argtypes) - _ARGUMENTS)]
        with quiet() as printed:
            fd = lib.bcc_func_load(
                *(module, kind, symbol, ctypes.create_string_buffer(code, size), size),
                *(lib.bpf_module_license(module), lib.bpf_module_kern_version(module)),
                *(0, None, 0, *more),
            )
            reason = os.strerror(ctypes.get_errno())
        if fd < 0:
            raise AttachError(one_line(f"Failed to load BPF program {name}: {reason}", printed))
        self._loaded[name, slot] = fd
        return int(fd)

    def load_traced(self, name: str, slot: int, number: int, *, returns: bool) -> int:
        """Return the fd of a function for a trampoline; see ``trampolines.load``."""
        fd = trampolines.load(self._code(name, slot), number, returns=returns)
        self._loaded[name, slot] = fd
        return fd

    def of(self, slot: int) -> list[int]:
        """Return the fds of the functions loaded for a slot."""
        return [fd for (_, number), fd in self._loaded.items() if number == slot]

    def _code(self, name: str, slot: int | None) -> bytes:
        symbol = name.encode()
        size = self._lib.bpf_function_size(self._module, symbol)
        code = ctypes.string_at(self._lib.bpf_function_start(self._module, symbol), size)
        return code if slot is None else in_slot(code, slot)

    def unload(self, name: str, slot: int) -> None:
        """Close a function's fd, if it is loaded for the slot."""
        fd = self._loaded.pop((name, slot), None)
        if fd is not None:
            os.close(fd)

    def close(self) -> None:
        """Close all."""
        while self._loaded:
            os.close(self._loaded.popitem()[1])


def in_slot(code: bytes, slot: int) -> bytes:
    """Return a function's instructions with a slot's number in place of the mark.

    Raises ``AttachError`` where the mark is not there exactly once.
    """
    mark = struct.pack("<I", SLOT_MARK)
    places = [
        at + 4
        for at in range(0, len(code), 8)
        if code[at] in _MOVES and code[at + 4 : at + 8] == mark
    ]
    if len(places) != 1:
        raise AttachError(f"{len(places)} places for the slot in the BPF program: {TO_TRACEFS}")
    return code[: places[0]] + struct.pack("<I", slot) + code[places[0] + 4 :]
