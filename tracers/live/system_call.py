# SPDX-License-Identifier: GPL-2.0-only
"""Makes a system call that libc has no wrapper for, by its number on this machine."""

import ctypes
import errno
import os
import platform
from collections.abc import Mapping


def system_call(numbers: Mapping[str, int], *arguments: object) -> int:
    """Return what the call returns; ``numbers``: of the call, by machine (asm/unistd.h of each).

    ``arguments``: as ctypes. Raises ``OSError``, also where the number is not known.
    """
    number = numbers.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    returned = call(ctypes.c_long(number), *arguments)
    if returned < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(returned)
