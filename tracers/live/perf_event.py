# SPDX-License-Identifier: GPL-2.0-only
"""Calls perf_event_open(2), which has no wrapper in libc.

Sources: include/uapi/linux/perf_event.h; asm/unistd.h of each architecture.
"""

import ctypes
import errno
import os
import platform
from typing import Final

#: Bytes of a struct perf_event_attr, PERF_ATTR_SIZE_VER5: one packed shorter is filled with zeros.
ATTR_SIZE: Final = 112
_SYSCALL: Final = {"aarch64": 241, "x86_64": 298}
_CLOEXEC: Final = 1 << 3  # PERF_FLAG_FD_CLOEXEC


def open_event(attribute: bytes, *, thread: int = -1, cpu: int = -1) -> int:
    """Return a descriptor of an event in no group.

    ``thread``: 0 is the calling one, -1 all; ``cpu``: -1 any. Raises ``OSError``, also where the
    number of the call is not known.
    """
    number = _SYSCALL.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    descriptor = call(
        ctypes.c_long(number),
        ctypes.c_char_p(attribute.ljust(ATTR_SIZE, b"\0")),
        *map(ctypes.c_long, (thread, cpu, -1, _CLOEXEC)),
    )
    if descriptor < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(descriptor)
