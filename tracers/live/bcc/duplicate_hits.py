# SPDX-License-Identifier: GPL-2.0-only
"""Drops the duplicate hits that a hardware breakpoint on arm64 can report.

After a hit the kernel disarms the breakpoint and steps over the instruction. An interrupt that
comes before that step (waking a reader is one) is stepped into instead, the breakpoint is armed
again, and the instruction hits a second time: same thread, same registers, no other record of that
thread between the two (arch/arm64/kernel/hw_breakpoint.c, reinstall_suspended_bps).
"""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from tracers.live.records import RAW

_FIELDS: Final = ("tid", "probe", "phase", "args")
TIMED: Final = 2**63 - 1  # ns: with exits in the stream, two equal entries are always one call
UNTIMED: Final = 100_000_000  # ns: without, only what is close together
_MOST: Final = 4096  # threads remembered from one batch to the next


class DuplicateHits:
    """Remembers each thread's last record across batches. ``dropped`` counts duplicates."""

    def __init__(self) -> None:
        self.dropped = 0
        self._last = np.empty(0, RAW)

    def drop(self, records: npt.NDArray[np.void], within: Sequence[int]) -> npt.NDArray[np.void]:
        """Return the RAW records without the duplicates.

        ``within``: for each probe, the longest time from a hit to its duplicate, in ns; 0 if it is
        not a breakpoint.
        """
        limits = np.array(within, np.uint64)
        hit = limits != 0
        if not hit.any() or not len(records):
            return records
        if not hit[records["probe"]].any():
            has_new = np.isin(self._last["tid"], records["tid"])
            self._last = self._last[~has_new]
            return records
        records_so_far = np.concatenate([self._last, records])
        order = np.argsort(records_so_far["tid"], kind="stable")
        by_thread = records_so_far[order]
        hits = hit[by_thread["probe"]]
        same = np.diff(by_thread["ts_ns"]) <= limits[by_thread["probe"][1:]]
        same &= hits[1:]
        for name in _FIELDS:
            equal = by_thread[name][1:] == by_thread[name][:-1]
            same &= equal.all(axis=1) if equal.ndim > 1 else equal
        duplicate = np.zeros(len(records_so_far), np.bool_)
        duplicate[order[1:]] = same
        kept = records[~duplicate[len(self._last) :]]
        self.dropped += len(records) - len(kept)
        tid = by_thread["tid"]
        self._last = by_thread[hits & np.append(tid[1:] != tid[:-1], True)][-_MOST:]
        return kept
