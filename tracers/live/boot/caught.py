# SPDX-License-Identifier: GPL-2.0-only
"""Reads the ring buffer's text for the events that a boot has defined.

The text, and not the raw pages: reading it takes nothing out, so it can be read again and by
others. Its times are in microseconds. Promises: those of ``logs.kprobe_text.text_log``; an event is
ours by its name and by where its probe is, so that no namesake is taken for it.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tracers import arrow
from tracers.kernel_functions import KINDS
from tracers.kinds import Phase
from tracers.live.boot.definitions import BootEvent, Defined
from tracers.logs.kprobe_text import lines
from tracers.logs.kprobe_text.ftrace import FtraceLog
from tracers.logs.kprobe_text.lines import ENTRY, EXIT, FOREIGN
from tracers.logs.kprobe_text.text_log import Lines
from tracers.logs.line_blocks import BLOCK, Readable

#: The first of a kind's functions in the order of ``KINDS``, as text logs number them.
_INDEX: Final = {kind: index for index, kind in reversed(list(enumerate(KINDS.values())))}
_REPORT: Final = ": error_report_end: [warning] "
_PIECE: Final = re.compile(lines.LOCATION)


class CaughtLog(FtraceLog):
    """One pass over the text of ``trace``, for events of ``wanted`` alone."""

    def __init__(self, stream: Readable, wanted: Iterable[Defined], *, block: int = BLOCK) -> None:
        super().__init__(stream, block=block)
        self._wanted: Mapping[str, BootEvent] = {each.name: each.event for each in wanted}
        names = "|".join(map(re.escape, self._wanted)) or "(?!)"
        self._ours = f": (?:{names}): "
        self._pieces: dict[bytes, tuple[int, int]] = {}
        self.ring_lost = 0  # as the text's header and marks say, of all events in the ring
        self.reported = 0  # WARNs by the tracepoint that every one passes

    def _identify(self, pieces: pa.BinaryArray) -> tuple[np.ndarray, np.ndarray]:
        found = [self._look_up(piece) for piece in pieces.to_pylist()]
        function, side = np.array(found, np.int8).reshape(-1, 2).T
        return function, side

    def _look_up(self, piece: bytes) -> tuple[int, int]:
        if piece not in self._pieces:
            if len(self._pieces) > 1 << 16:
                self._pieces.clear()
            self._pieces[piece] = self._find(piece.decode("ascii", "replace"))
        return self._pieces[piece]

    def _find(self, piece: str) -> tuple[int, int]:
        match = _PIECE.match(piece)
        event = self._wanted.get(piece.partition(":")[0])
        if match is None or event is None:
            return -1, FOREIGN
        bare = match["symbol"].startswith("0")  # no name for the address: kptr_restrict, or none
        there = (match["symbol"], int(match["offset"] or "0", 16))
        if not bare and there != (event.symbol, event.offset):
            return -1, FOREIGN
        return _INDEX[event.kind], EXIT if event.phase is Phase.EXIT else ENTRY

    def _header(self, block: Lines) -> tuple[int, int]:
        """Read the header, whose losses are of whatever was in the ring: kept apart."""
        lost, unknown = super()._header(block)
        self.ring_lost += lost
        self.reported += int(arrow.true(pc.match_substring(block.whole, _REPORT)).sum())
        return 0, unknown
