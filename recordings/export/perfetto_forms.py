# SPDX-License-Identifier: GPL-2.0-only
"""The forms of a Perfetto event: what it may have, and where the numbers of that are.

Names of functions, regimes and arguments are numbers of the tables here, which the trace's first
packet spells out (``interned_data``).
Field numbers: protos/perfetto/trace of Perfetto (trace_packet.proto, track_event/track_event.proto,
track_event/debug_annotation.proto); the tests hold them against Perfetto's own classes.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from recordings.export.packets import (
    Hole,
    Parts,
    delimited,
    message,
    size_of,
    tag,
    varint,
    width_of,
)
from tracers.events import Kind, Source
from tracers.kernel_functions import name
from tracers.regimes import REGIMES

SEQUENCE: Final = 1
# Tracks' uuids: those of threads are these and the key of recordings.ledger.columns, of 33 bits.
HITS, WARNS, WARN_NS, SILENT = 2, 3, 4, 5
COUNTERS: Final = (HITS, SILENT, WARNS, WARN_NS)
THREADS: Final = 1 << 40

EVENT_NAMES: Final = (
    *(name(kind) for kind in Kind),
    *(f"hit: {regime}" for regime in REGIMES),
    *(f"silent hit: {regime}" for regime in REGIMES),
)
FIRST_HIT: Final = len(Kind)
ANNOTATIONS: Final = (
    "start", "end", "pfn", "nr_pages", "nid", "ret", "cpu", "source", "regime", "comm", "silent",
    "unfinished", "exit_without_entry", "recorded_ts_ns", "physical", "callers",
)  # fmt: skip
_KEY: Final = {name: number + 1 for number, name in enumerate(ANNOTATIONS)}
VALUES: Final = (*(source.label for source in Source), *REGIMES)
FIRST_REGIME: Final = len(Source)

# TrackEvent.Type
BEGIN, END, INSTANT = 1, 2, 3
# Fields: of Trace, of TracePacket,
_PACKET_FIELD, _TIMESTAMP, _EVENT_FIELD = 1, 8, 11
# of TrackEvent,
_NOTES, _TYPE, _NAME_IID, _TRACK, _COUNTER_VALUE, _NAME, _COUNTER = 4, 9, 10, 11, 12, 23, 31
# of DebugAnnotation
_KEY_IID, _BOOL, _UINT, _INT, _STRING, _POINTER, _STRING_IID = 1, 2, 3, 4, 6, 7, 17
#: What every packet has: trusted_packet_sequence_id, and sequence_flags, whose 2 is
#: SEQ_NEEDS_INCREMENTAL_STATE.
_IN_SEQUENCE: Final = tag(10, 0) + varint(SEQUENCE) + tag(13, 0) + varint(2)

_TRACK_BYTES: Final = 8


def _note(key: str, field: int) -> Callable[[int], Parts]:
    """Return an annotation with a number in it, for any width."""

    def made(width: int) -> Parts:
        return message(
            _NOTES, tag(_KEY_IID, 0) + varint(_KEY[key]) + tag(field, 0), Hole(key, width)
        )

    return made


def said(key: str) -> bytes:
    """Return an annotation that is true."""
    return delimited(_NOTES, tag(_KEY_IID, 0) + varint(_KEY[key]) + tag(_BOOL, 0) + b"\x01")


def quoted(key: str, text: str) -> bytes:
    """Return an annotation that is text."""
    content = delimited(_STRING, text.encode())
    return delimited(_NOTES, tag(_KEY_IID, 0) + varint(_KEY[key]) + content)


def _counter(uuid: int, hole: str) -> Callable[[int], Parts]:
    """Return the next value of a counter, for any width."""
    before = tag(_COUNTER, 0) + varint(uuid) + tag(_COUNTER_VALUE, 0)
    return lambda width: (before, Hole(hole, width))


#: What an event may have or not, in the order in which it stands there; a bit of a form each.
MAY_HAVE: Final[Mapping[str, Callable[[int], Parts]]] = {
    "name": lambda width: (tag(_NAME_IID, 0), Hole("name", width)),
    "warns": _counter(WARNS, "warns"),
    "warn_ns": _counter(WARN_NS, "warn_ns"),
    "hits": _counter(HITS, "hits"),
    "silent_hits": _counter(SILENT, "silent_hits"),
    "recorded_ts_ns": _note("recorded_ts_ns", _UINT),
    "start": _note("start", _POINTER),
    "end": _note("end", _POINTER),
    "pfn": _note("pfn", _UINT),
    "regime": _note("regime", _STRING_IID),
    "silent": lambda _: (said("silent"),),
    "source": _note("source", _STRING_IID),
    "nr_pages": _note("nr_pages", _UINT),
    "nid": _note("nid", _INT),
    "cpu": _note("cpu", _UINT),
    "ret": _note("ret", _INT),
    "unfinished": lambda _: (said("unfinished"),),
}
PHYSICAL: Final = _note("physical", _POINTER)


def event(keys: Iterable[str], widths: Mapping[str, int]) -> Parts:
    """Return the content of a track event that has these of ``MAY_HAVE``."""
    parts: list[bytes | Hole] = [tag(_TYPE, 0), Hole("type", 1)]
    parts += (tag(_TRACK, 0), Hole("track", _TRACK_BYTES))
    for key in keys:
        parts += MAY_HAVE[key](widths.get(key, 0))
    return tuple(parts)


def _packet(width: int) -> Parts:
    """Return the content of a packet before its event; ``width``: of its time."""
    return (tag(_TIMESTAMP, 0), Hole("ts", width), _IN_SEQUENCE)


def whole(content: Parts, width: int) -> Parts:
    """Return a packet that ends with its event; ``width``: of its time."""
    return message(_PACKET_FIELD, *_packet(width), *message(_EVENT_FIELD, *content))


def sized(content: Parts, width: int, most: int) -> tuple[Parts, int, int]:
    """Return a packet behind whose event's content text follows, of ``most`` bytes at most.

    With it its own sizes, to which those of the text must be added: in the hole ``event_size``
    that of the event, in ``packet_size`` that of the packet.
    """
    size = size_of(content)
    event = (tag(_EVENT_FIELD, 2), Hole("event_size", width_of(size + most)), *content)
    packet = (*_packet(width), *event)
    whole_size = size_of(packet)
    hole = Hole("packet_size", width_of(whole_size + most))
    return (tag(_PACKET_FIELD, 2), hole, *packet), size, whole_size


def named(text: str) -> bytes:
    """Return the name of an event that no table has."""
    return delimited(_NAME, text.encode())
