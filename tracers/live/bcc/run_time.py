# SPDX-License-Identifier: GPL-2.0-only
"""Has the kernel count how long our BPF programs run, for as long as a descriptor is open.

Linux 5.8, commit d46edd671a14 ("bpf: Sharing bpf runtime stats with BPF_ENABLE_STATS"): the
counting ends with the descriptor, so also with a process that is killed; the sysctl
kernel.bpf_stats_enabled is not touched. Source: include/uapi/linux/bpf.h.
"""

import ctypes
import struct
from typing import Final, NamedTuple

from tracers.live.bcc.trampolines import call

_OBJ_GET_INFO_BY_FD, _ENABLE_STATS = 15, 32
_RUN_TIME: Final = 0  # BPF_STATS_RUN_TIME
#: Of struct bpf_prog_info: its bytes up to recursion_misses (5.12), and where run_time_ns begins.
_INFO_BYTES: Final = 216
_AT: Final = 192


class RunTime(NamedTuple):
    """Of one program, since it was loaded and somebody counted."""

    ns: int
    runs: int
    missed: int  # runs left out, as the program ran on that CPU already

    def __sub__(self, before: "RunTime") -> "RunTime":
        return RunTime(*(now - then for now, then in zip(self, before, strict=True)))


def count() -> int | None:
    """Return a descriptor that has the kernel count; None where it does not take that."""
    try:
        return call(_ENABLE_STATS, struct.pack("<II", _RUN_TIME, 0))
    except OSError:
        return None


def run_time(program: int) -> RunTime:
    """Return what was counted of a program's fd. Raises ``OSError``."""
    memory = ctypes.create_string_buffer(_INFO_BYTES)
    call(_OBJ_GET_INFO_BY_FD, struct.pack("<IIQ", program, _INFO_BYTES, ctypes.addressof(memory)))
    return RunTime(*struct.unpack_from("<3Q", memory.raw, _AT))
