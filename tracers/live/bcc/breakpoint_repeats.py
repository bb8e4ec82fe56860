# SPDX-License-Identifier: GPL-2.0-only
"""Leaves out what a hardware breakpoint on arm64 says twice.

After a hit the kernel disarms the breakpoint and steps over the instruction. An interrupt that
comes before that step (waking a reader is one) is stepped into instead, the breakpoint is armed
again, and hits once more afterwards: same thread, same registers, nothing of that thread between
the two (arch/arm64/kernel/hw_breakpoint.c, reinstall_suspended_bps).
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from tracers.live.rows import RAW

_FIELDS: Final = ("tid", "probe", "phase", "args")
TIMED: Final = 2**63 - 1  # ns: with exits in the stream, two equal entries are always one call
UNTIMED: Final = 100_000_000  # ns: without, only what is close together
_MOST: Final = 4096  # threads remembered from one batch to the next


class Doubles:
    """Remembers threads' last records from batch to batch. ``left_out`` counts."""

    def __init__(self) -> None:
        self.left_out = 0
        self._last = np.empty(0, RAW)

    def leave_out(
        self, records: npt.NDArray[np.void], within: Sequence[int]
    ) -> npt.NDArray[np.void]:
        """Return RAW records less the doubles.

        ``within``: of each probe, ns from a hit to its double; 0 for what is no breakpoint.
        """
        limits = np.array(within, np.uint64)
        hit = limits != 0
        if not hit.any() or not len(records):
            return records
        if not hit[records["probe"]].any():
            heard_of = np.isin(self._last["tid"], records["tid"])
            self._last = self._last[~heard_of]
            return records
        every = np.concatenate([self._last, records])
        order = np.argsort(every["tid"], kind="stable")
        by_thread = every[order]
        hits = hit[by_thread["probe"]]
        same = np.diff(by_thread["ts_ns"]) <= limits[by_thread["probe"][1:]]
        same &= hits[1:]
        for name in _FIELDS:
            equal = by_thread[name][1:] == by_thread[name][:-1]
            same &= equal.all(axis=1) if equal.ndim > 1 else equal
        double = np.zeros(len(every), np.bool_)
        double[order[1:]] = same
        kept = records[~double[len(self._last) :]]
        self.left_out += len(records) - len(kept)
        tid = by_thread["tid"]
        self._last = by_thread[hits & np.append(tid[1:] != tid[:-1], True)][-_MOST:]
        return kept
