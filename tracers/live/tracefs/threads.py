# SPDX-License-Identifier: GPL-2.0-only
"""Finds the thread group and name of threads, from the events themselves and from /proc.

Promises: nothing is guessed. If a thread ended before /proc was read, its group stays unknown.
"""

import re
import time
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from tracers.live.records import KNOWN_COMM, KNOWN_PID

_INIT_NAMESPACE: Final = "pid:[4026531836]"  # PROC_PID_INIT_INO, include/linux/proc_ns.h
_FRESH_NS: Final = 1_000_000_000  # a thread's group is looked up again after this
_MOST: Final = 4096  # threads remembered


class Threads:
    """What is known of threads so far."""

    def __init__(self, root: Path) -> None:
        self._proc = root / "proc"
        self._seen: dict[int, tuple[int, int | None, bytes]] = {}  # tid: (when, group, name)
        self.global_ids = self._host()

    def _host(self) -> bool:
        """Return whether /proc numbers threads as trace events do: in the initial pid namespace."""
        try:
            return str((self._proc / "self/ns/pid").readlink()) == _INIT_NAMESPACE
        except OSError:
            return (self._proc / "self").exists()  # a kernel without CONFIG_PID_NS

    def fill(self, records: npt.NDArray[np.void]) -> None:
        """Complete pid and comm of RAW records in place. One look-up per thread, not per event."""
        named = (records["known"] & KNOWN_COMM) != 0
        grouped = (records["known"] & KNOWN_PID) != 0
        for tid in np.unique(records["tid"]).tolist():
            here = records["tid"] == tid
            group, name = self._look(tid)
            if (at := np.flatnonzero(here & grouped)).size:
                group = int(records["pid"][at[-1]])
            if (at := np.flatnonzero(here & named)).size:
                name = bytes(records["comm"][at[-1]])
            self._seen[tid] = (self._seen[tid][0], group, name)
            if group is not None:
                at = np.flatnonzero(here & ~grouped)
                records["pid"][at] = group
                records["known"][at] |= KNOWN_PID
            if name:
                at = np.flatnonzero(here & ~named)
                records["comm"][at] = name
                records["known"][at] |= KNOWN_COMM

    def _look(self, tid: int) -> tuple[int | None, bytes]:
        now = time.monotonic_ns()
        when, group, name = self._seen.get(tid, (-_FRESH_NS, None, b""))
        if now - when < _FRESH_NS:
            return group, name
        if len(self._seen) >= _MOST:
            self._seen.clear()
        if tid == 0:
            group = 0  # idle threads: one per CPU, all of them 0
        elif self.global_ids:
            try:
                text = (self._proc / str(tid) / "status").read_bytes()
            except OSError:
                pass  # gone: what was known of it still holds
            else:
                status = dict(re.findall(rb"^(Name|Tgid):\t(.*)$", text, re.MULTILINE))
                group = int(status.get(b"Tgid", b"0")) or None
                name = name or status.get(b"Name", b"")
        self._seen[tid] = (now, group, name)
        return group, name
