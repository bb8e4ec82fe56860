# SPDX-License-Identifier: GPL-2.0-only
"""Calls perf_event_open(2), which has no wrapper in libc.

Sources: include/uapi/linux/perf_event.h; asm/unistd.h of each architecture.
"""

import ctypes
from typing import Final

from tracers.live.system_call import system_call

#: Bytes of a struct perf_event_attr, PERF_ATTR_SIZE_VER5: one packed shorter is filled with zeros.
ATTR_SIZE: Final = 112
_SYSCALL: Final = {"aarch64": 241, "x86_64": 298}
_CLOEXEC: Final = 1 << 3  # PERF_FLAG_FD_CLOEXEC


def open_event(attribute: bytes, *, thread: int = -1, cpu: int = -1) -> int:
    """Return a descriptor of an event in no group.

    ``thread``: 0 is the calling one, -1 all; ``cpu``: -1 any. Raises ``OSError``, also where the
    number of the call is not known.
    """
    return system_call(
        _SYSCALL,
        ctypes.c_char_p(attribute.ljust(ATTR_SIZE, b"\0")),
        *map(ctypes.c_long, (thread, cpu, -1, _CLOEXEC)),
    )
