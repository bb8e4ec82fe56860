# SPDX-License-Identifier: GPL-2.0-only
"""Tells a function by its address or its probe's name, where a text shows no symbol.

trace-cmd and perf script print a kprobe event as "name: (address) …" and a return as
"name: (address of the function <- return address) …" (the print format of the event:
kernel/trace/trace_probe.c, __set_print_fmt), both in bare hexadecimal. Promises: what is better
known decides: symbols, where there are any; then what ``kprobe_events`` says of the name; only
then the name itself, and ``notes`` says that it was so.
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
    """What the events of one log are probes on.

    ``places``: event name → what ``kprobe_events`` says of it. ``symbols``: address → function,
    of all functions we watch; empty when not known.
    """

    def __init__(
        self,
        places: Mapping[str, ProbeLocation] | None = None,
        symbols: Mapping[int, str] | None = None,
    ) -> None:
        self._places = {event: _plain(place) for event, place in (places or {}).items()}
        self._symbols = symbols or {}
        self._known: dict[bytes, tuple[int, int]] = {}
        self._trusted = False
        ours = [name for name, place in self._places.items() if place.function in _INDEX]
        #: A pattern of the names that events of ours can have.
        self.pattern = "|".join((_NAME, *map(re.escape, sorted(ours))))

    @property
    def notes(self) -> tuple[str, ...]:
        """What had to be believed, a sentence."""
        if not self._trusted:
            return ()
        note = (
            "functions were told by the names of their events, as the text holds no symbols; "
            "--machine with the kprobe_events file says what they are on"
        )
        return (note,)

    def places(self, pieces: pa.BinaryArray) -> tuple[np.ndarray, np.ndarray]:
        """Tell what each distinct "[group:]event: (address)" is: as ``lines.places`` does."""
        told = [self._place(piece) for piece in pieces.to_pylist()]
        function, side = np.array(told, np.int8).reshape(-1, 2).T
        return function, side

    def _place(self, piece: bytes) -> tuple[int, int]:
        if piece not in self._known:
            if len(self._known) > 1 << 16:  # a log of nothing but different addresses
                self._known.clear()
            self._known[piece] = self._tell(piece)
        return self._known[piece]

    def _tell(self, piece: bytes) -> tuple[int, int]:
        found = _PIECE.fullmatch(piece.decode("ascii", "replace"))
        if found is None:
            return -1, UNREADABLE
        address = int(found["address"], 16)
        if address & _KERNEL != _KERNEL:  # a uprobe
            return -1, FOREIGN
        function, at_entry = self._function(found["event"], address)
        if function not in _INDEX:
            return -1, FOREIGN
        side = EXIT if found["caller"] else ENTRY if at_entry else MIDWAY
        return _INDEX[function], side

    def _function(self, event: str, address: int) -> tuple[str, bool]:
        """Return the function, "" if it is none of ours, and whether this is its entry."""
        place = self._places.get(event)
        if self._symbols:
            if address in self._symbols:
                return self._symbols[address], True
            return (place.function, False) if place and place.offset else ("", False)
        if place is not None:
            return place.function, not place.offset
        match = _EVENT.fullmatch(event)
        if match is None:
            return "", False
        self._trusted = True
        return _RECIPE.get(match["name"], match["name"]), True


def _plain(place: ProbeLocation) -> ProbeLocation:
    """Return the place without the suffix a compiler gave to a static function."""
    found = _SUFFIX.match(place.function)
    return ProbeLocation(found["name"], place.offset) if found else place


class NamedLog(TextLog):
    """A text whose places are bare addresses: ``names`` tells what its events are on."""

    _line: ClassVar[str]  # ``_meant``, with %s for the names that events of ours can have

    def __init__(
        self, stream: Readable, *, names: FunctionNames | None = None, block: int = BLOCK
    ) -> None:
        super().__init__(stream, block=block)
        self._names = names or FunctionNames()
        self._meant = self._line % self._names.pattern

    def _notes(self) -> Iterator[str]:
        yield from super()._notes()
        yield from self._names.notes

    def _places(self, pieces: pa.BinaryArray) -> tuple[np.ndarray, np.ndarray]:
        return self._names.places(pieces)
