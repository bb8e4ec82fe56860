# SPDX-License-Identifier: GPL-2.0-only
"""Finds the function of an event by its address or name, for texts that show no symbols.

trace-cmd and perf script print a kprobe event as "name: (address) …" and a return as "name:
(address of the function <- return address) …" (the print format of the event:
kernel/trace/trace_probe.c, __set_print_fmt), both in bare hexadecimal. Promises: the most reliable
source decides: symbols, where there are any; then what ``kprobe_events`` says of the name; only
then the name itself, and ``notes`` says so.
"""

import re
from collections.abc import Iterator, Mapping
from typing import ClassVar, Final

import numpy as np
import pyarrow as pa

from tracers.kernel_functions import KINDS
from tracers.logs.kprobe_text import lines
from tracers.logs.kprobe_text.definitions import ProbeLocation
from tracers.logs.kprobe_text.lines import ENTRY, EXIT, FOREIGN, MIDWAY, UNREADABLE
from tracers.logs.kprobe_text.text_log import TextLog
from tracers.logs.line_blocks import BLOCK, Readable

_INDEX: Final = {name: index for index, name in enumerate(KINDS)}
#: What docs/capture-by-hand.md calls the probes of functions whose own names begin with "__".
_RECIPE: Final = {"add_pages": "__add_pages", "remove_pages": "__remove_pages", "warn": "__warn"}
_ANY: Final = "|".join((*KINDS, *_RECIPE))
_NAME: Final = rf"(?:[pr]_)?(?:{_ANY})(?:{lines.SIDE})?"
_EVENT: Final = re.compile(rf"(?:[pr]_)?(?P<name>{_ANY})(?:{lines.SIDE})?")
_PIECE: Final = re.compile(
    r" *(?:\(\+\d+\) *)?(?:[A-Za-z_][\w.-]*:)?(?P<event>[A-Za-z_]\w*): +"
    r"\((?P<address>[0-9a-f]{1,16})(?P<caller> <- [0-9a-f]{1,16})?\)"
)
_SUFFIX: Final = re.compile(lines.SUFFIX)
_KERNEL: Final = 0xFFF << 52  # what no address of the user half has: 52-bit kernels begin there


class FunctionNames:
    """Finds which functions the events of one log are probes on.

    ``locations``: event name → what ``kprobe_events`` says of it. ``symbols``: address → function,
    of all functions we watch; empty when not known.
    """

    def __init__(
        self,
        locations: Mapping[str, ProbeLocation] | None = None,
        symbols: Mapping[int, str] | None = None,
    ) -> None:
        self._locations = {event: _plain(location) for event, location in (locations or {}).items()}
        self._symbols = symbols or {}
        self._known: dict[bytes, tuple[int, int]] = {}
        self._trusted = False
        ours = [name for name, location in self._locations.items() if location.function in _INDEX]
        #: A pattern of the names that events of ours can have.
        self.pattern = "|".join((_NAME, *map(re.escape, sorted(ours))))

    @property
    def notes(self) -> tuple[str, ...]:
        """A note if functions were found by the names of their events alone."""
        if not self._trusted:
            return ()
        note = (
            "functions were identified by the names of their events, as the text holds no symbols; "
            "--machine with the kprobe_events file says what they are on"
        )
        return (note,)

    def identify(self, pieces: pa.BinaryArray) -> tuple[np.ndarray, np.ndarray]:
        """Return function and side of each "[group:]event: (address)"; see ``lines.identify``."""
        identified = [self._look_up(piece) for piece in pieces.to_pylist()]
        function, side = np.array(identified, np.int8).reshape(-1, 2).T
        return function, side

    def _look_up(self, piece: bytes) -> tuple[int, int]:
        found = self._known.get(piece)
        if found is None:
            if len(self._known) > 1 << 16:  # a log of nothing but different addresses
                self._known.clear()
            found = self._known[piece] = self._function_and_side(piece)
        return found

    def _function_and_side(self, piece: bytes) -> tuple[int, int]:
        match = _PIECE.fullmatch(piece.decode("ascii", "replace"))
        if match is None:
            return -1, UNREADABLE
        return self.find(match["event"], int(match["address"], 16), returns=bool(match["caller"]))

    def find(self, event: str, address: int, *, returns: bool) -> tuple[int, int]:
        """Return function and side of a probe ``event`` hit at ``address``; see ``identify``."""
        if address & _KERNEL != _KERNEL:  # a uprobe
            return -1, FOREIGN
        function, at_entry = self._function(event, address)
        if function not in _INDEX:
            return -1, FOREIGN
        side = EXIT if returns else ENTRY if at_entry else MIDWAY
        return _INDEX[function], side

    def _function(self, event: str, address: int) -> tuple[str, bool]:
        """Return the function, "" if it is not ours, and whether this is its entry."""
        location = self._locations.get(event)
        if self._symbols:
            if address in self._symbols:
                return self._symbols[address], True
            return (location.function, False) if location and location.offset else ("", False)
        if location is not None:
            return location.function, not location.offset
        match = _EVENT.fullmatch(event)
        if match is None:
            return "", False
        self._trusted = True
        return _RECIPE.get(match["name"], match["name"]), True


def _plain(location: ProbeLocation) -> ProbeLocation:
    """Return the location without the suffix that a compiler gave to a static function."""
    match = _SUFFIX.match(location.function)
    return ProbeLocation(match["name"], location.offset) if match else location


class NamedLog(TextLog):
    """A text that shows bare addresses: ``names`` finds the functions of its events."""

    _line: ClassVar[str]  # ``_ours``, with %s for the names that events of ours can have

    def __init__(
        self, stream: Readable, *, names: FunctionNames | None = None, block: int = BLOCK
    ) -> None:
        super().__init__(stream, block=block)
        self._names = names or FunctionNames()
        self._ours = self._line % self._names.pattern

    def _notes(self) -> Iterator[str]:
        yield from super()._notes()
        yield from self._names.notes

    def _identify(self, pieces: pa.BinaryArray) -> tuple[np.ndarray, np.ndarray]:
        return self._names.identify(pieces)
