# SPDX-License-Identifier: GPL-2.0-only
"""Loads a BPF program for a function's entry or return, and has the kernel call it by a trampoline.

fentry and fexit: the function's own call of ftrace leads to the program, without an exception on
the way, which is what makes a kprobe dear. arm64 has it since 6.4, commit 2aa6ac03516d ("arm64:
ftrace: Add direct call support"). BCC's way there depends on its release, so the two system calls
stand here. Promises: what is attached is held by a file descriptor of this process.

Source: include/uapi/linux/bpf.h, union bpf_attr; asm/unistd.h of each architecture.
"""

import ctypes
import errno
import os
import struct
from typing import Final

from tracers.live.probes.engine import AttachError, NoSuchRungError
from tracers.live.system_call import system_call

_SYSCALL: Final = {"aarch64": 280, "x86_64": 321}
_PROG_LOAD, _RAW_TRACEPOINT_OPEN = 5, 17
_TRACING: Final = 26  # BPF_PROG_TYPE_TRACING
_FENTRY, _FEXIT = 24, 25
_LICENSE: Final = ctypes.create_string_buffer(b"GPL")
#: The kernel's own number for "not supported", which user space is not meant to see.
_ENOTSUPP: Final = 524


def load(code: bytes, number: int, *, returns: bool) -> int:
    """Return the fd of a program for the function whose type has that number in the kernel's BTF.

    ``code``: instructions of 8 bytes, maps in them by fd. Raises ``AttachError``.
    """
    memory = ctypes.create_string_buffer(code, len(code))
    attribute = struct.pack(
        "<IIQQIIQII16sIIIIQIIQII",
        *(_TRACING, len(code) // 8, ctypes.addressof(memory), ctypes.addressof(_LICENSE)),
        *(0, 0, 0, 0, 0, b"vmemscope"),  # no log, no kernel version, no flags
        *(0, _FEXIT if returns else _FENTRY),
        *(0, 0, 0, 0, 0, 0, 0, number),  # no BTF of its own
    )
    try:
        return call(_PROG_LOAD, attribute)
    except OSError as error:
        raise AttachError(f"the kernel does not take the program: {_reason(error)}") from None


def attach(program: int) -> int:
    """Return the fd that holds a loaded program at its function. Raises ``AttachError``."""
    try:
        return call(_RAW_TRACEPOINT_OPEN, struct.pack("<QII", 0, program, 0))
    except OSError as error:
        if error.errno in (_ENOTSUPP, errno.EOPNOTSUPP):
            raise NoSuchRungError("this kernel has no BPF trampolines (ENOTSUPP)") from None
        raise AttachError(_reason(error)) from None


def call(command: int, attribute: bytes) -> int:
    """Call bpf(2); return what it returns. Raises ``OSError``."""
    memory = ctypes.create_string_buffer(attribute, len(attribute))
    size = ctypes.c_ulong(len(attribute))
    return system_call(_SYSCALL, ctypes.c_long(command), ctypes.byref(memory), size)


def _reason(error: OSError) -> str:
    number = error.errno or 0
    return f"{os.strerror(number)} ({errno.errorcode.get(number, str(number))})"
