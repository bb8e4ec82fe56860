# SPDX-License-Identifier: GPL-2.0-only
"""The records that all engines make: fixed size, with raw registers. ``rows`` makes events of them.

The BPF program (program.c) writes them directly. An entry holds the first registers, an exit x0.
Without Arrow: to attach probes, as ``doctor`` does, is to make no events.
"""

from typing import Final

import numpy as np

from tracers.live.probes.points import REGISTERS

RAW: Final = np.dtype(
    [
        ("ts_ns", "<u8"),  # CLOCK_MONOTONIC
        ("probe", "<u2"),  # index into the engine's probes
        ("phase", "u1"),  # tracers.kinds.Phase
        ("known", "u1"),  # bits KNOWN_*
        ("cpu", "<u4"),
        ("pid", "<u4"),  # thread group
        ("tid", "<u4"),
        ("site", "<i4"),  # WARN, a region's request: index into the engine's names, -1 none
        ("line", "<u4"),  # WARN
        ("comm", "S16"),
        ("args", "<u8", (REGISTERS,)),  # entry: x0…; exit: x0, and of a region its start and end
    ]
)
KNOWN_PID: Final = 1
KNOWN_COMM: Final = 2
KNOWN_ARGS: Final = 4  # at an exit: the return value
