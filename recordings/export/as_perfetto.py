# SPDX-License-Identifier: GPL-2.0-only
"""Perfetto export (ui.perfetto.dev): calls as slices of their threads, hits, and counters.

What is drawn where:

- a track for each thread: the watched functions and WARNs as nested
  slices, with their arguments; what has no exit is marked ``unfinished``
- on it, each hit as an instant ``hit: REGIME``, or ``silent hit: REGIME`` where the kernel's own
  check lets it pass; each derived call and each Oops as an instant of its own
- counters: hits, silent hits, WARNs, nanoseconds in finished WARNs
- a track ``vmemscope``: one slice over all, its arguments the verdict, losses and window

Promises: times are the recording's own clock, declared in the trace where the recording
names it; every number is an integer; memory does not grow with the recording. Numbers that
Perfetto has no room for: a time or counter stands still at 2^63 - 1, a loss is told as text.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from recordings.export import perfetto_forms as forms
from recordings.export.groups import Sink, groups
from recordings.export.perfetto_events import Events, Row
from recordings.export.perfetto_forms import (
    COUNTERS,
    HITS,
    SEQUENCE,
    SILENT,
    THREADS,
    WARN_NS,
    WARNS,
)  # fmt: skip
from recordings.export.slices import LATEST
from recordings.format.header import RecordingError
from recordings.format.output_files import Output
from recordings.ledger.columns import CHUNK, CPU_KEY
from recordings.ledger.headline import WORDS, verdict_summary
from recordings.ledger.ledger import Ledger
from recordings.ledger.snapshot import Snapshot
from recordings.ledger.verdict import judging
from recordings.wording.escape import printable
from recordings.wording.units import address
from tracers.batch import Losses
from tracers.events import SCHEMA

if TYPE_CHECKING:
    from recordings.format.reader import Recording

try:
    from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as pb
    from perfetto.trace_builder.proto_builder import TraceProtoBuilder
except ImportError as error:
    raise RecordingError(
        "the Perfetto format needs the package perfetto: pip install 'vmemscope[perfetto]'"
    ) from error

_Message = Any  # of protobuf, which makes its classes at run time
#: perfetto.protos.BuiltinClock by the kernel's name (Documentation/trace/ftrace.rst).
_CLOCKS: Final = {
    "mono": pb.BUILTIN_CLOCK_MONOTONIC,
    "mono_raw": pb.BUILTIN_CLOCK_MONOTONIC_RAW,
    "boot": pb.BUILTIN_CLOCK_BOOTTIME,
}
_ROWS: Final = CHUNK
_RECORDING: Final = 1  # uuid of its track
_PROCESSES: Final = 1 << 41  # and of processes' tracks, with the pid
_MAX_PID: Final = (1 << 31) - 1  # Perfetto's are s32, as the kernel's pid_t


def write(recording: "Recording", sink: Output) -> tuple[str, ...]:
    """Write all events to ``sink``; return the columns left out. Raises ``OSError``."""
    ledger, out = Ledger.of(recording.header), Sink(sink)
    events = Events(judging(recording.header.machine), _thread)
    frame = _Frame()
    frame.open(recording)
    out.write(frame.serialize())
    columns = tuple(SCHEMA.names)
    for _ in groups(recording, _ROWS, columns=columns, ledger=ledger, sink=events):
        for packets in events.taken():
            out.write(packets)
    out.write(events.finish())
    frame.close(recording, ledger.snapshot(final=True), events.totals)
    out.write(frame.serialize())
    return tuple(name for name in recording.select() if name not in SCHEMA.names)


class _Frame:
    """Builds the packets around the events; ``serialize`` hands them over."""

    def __init__(self) -> None:
        self._builder = TraceProtoBuilder()

    def serialize(self) -> bytes:
        """Return the packets so far, once."""
        data: bytes = self._builder.serialize()
        self._builder = TraceProtoBuilder()
        return data

    def open(self, recording: "Recording") -> None:
        """Make the packets before the events: names, clock, machine, tracks."""
        header = recording.header
        packet = self._packet()
        packet.sequence_flags = pb.TracePacket.SEQ_INCREMENTAL_STATE_CLEARED
        for table, names in (
            (packet.interned_data.event_names, forms.EVENT_NAMES),
            (packet.interned_data.debug_annotation_names, forms.ANNOTATIONS),
            (packet.interned_data.debug_annotation_string_values, forms.VALUES),
        ):
            for number, word in enumerate(names):
                entry = table.add()
                entry.iid = number + 1
                if table is packet.interned_data.debug_annotation_string_values:
                    entry.str = word.encode()
                else:
                    entry.name = word
        self._clock(packet, recording)
        system = self._packet().system_info.utsname
        system.sysname = "Linux"
        system.release = printable(header.machine.release or "unknown")
        system.machine = printable(header.machine.arch or "unknown")
        self.track(_RECORDING, "vmemscope")
        for uuid, counted, unit in (
            (HITS, "hits", pb.CounterDescriptor.UNIT_COUNT),
            (SILENT, "silent hits", pb.CounterDescriptor.UNIT_COUNT),
            (WARNS, "WARNs", pb.CounterDescriptor.UNIT_COUNT),
            (WARN_NS, "time in WARN", pb.CounterDescriptor.UNIT_TIME_NS),
        ):
            self.track(uuid, counted).counter.unit = unit

    def close(self, recording: "Recording", snapshot: Snapshot, totals: Mapping[int, int]) -> None:
        """Draw the slice over all: its arguments are the recording's verdict, losses and window."""
        first, last = (min(ts or 0, LATEST) for ts in (snapshot.first_ns, snapshot.last_ns))
        packet = self._packet()
        packet.timestamp = first
        event = packet.track_event
        event.type, event.track_uuid = pb.TrackEvent.TYPE_SLICE_BEGIN, _RECORDING
        event.name = f"{WORDS[snapshot.verdict]}: {verdict_summary(snapshot)}"
        for key, value in _annotations(recording, snapshot).items():
            note = event.debug_annotations.add()
            note.name = key
            if isinstance(value, int) and value < 1 << 64:
                note.uint_value = value
            else:
                note.string_value = str(value)
        for uuid in COUNTERS:
            _count(event, uuid, 0)
        packet = self._packet()
        packet.timestamp = last
        event = packet.track_event
        event.type, event.track_uuid = pb.TrackEvent.TYPE_SLICE_END, _RECORDING
        for uuid in COUNTERS:
            _count(event, uuid, totals[uuid])

    def _clock(self, packet: _Message, recording: "Recording") -> None:
        """Declare the clock of the times, and its offset to realtime, where they are known."""
        clock = recording.header.clock
        number = _CLOCKS.get(str(clock.get("name")))
        if number is None:
            return
        packet.trace_packet_defaults.timestamp_clock_id = number
        snapshot = self._packet().clock_snapshot
        snapshot.primary_trace_clock = number
        first = min((info.first_ts for info in recording.index if info.rows), default=0)
        first = min(first, LATEST)
        clocks = [(number, first)]
        offset = clock.get("offset_ns")
        if isinstance(offset, int) and 0 <= first + offset < 1 << 63:
            clocks.append((pb.BUILTIN_CLOCK_REALTIME, first + offset))
        for clock_id, ts in clocks:
            entry = snapshot.clocks.add()
            entry.clock_id, entry.timestamp = clock_id, ts

    def _packet(self) -> _Message:
        packet = self._builder.add_packet()
        packet.trusted_packet_sequence_id = SEQUENCE
        packet.sequence_flags = pb.TracePacket.SEQ_NEEDS_INCREMENTAL_STATE
        return packet

    def track(self, uuid: int, name: str | None = None) -> _Message:
        """Begin a track."""
        track = self._packet().track_descriptor
        track.uuid = uuid
        if name is not None:
            track.name = name
        return track


def _thread(thread: int, row: Row) -> bytes:
    """Make the track of a thread, or of what a CPU does where no thread is known."""
    # ftrace gives no thread group: then the thread stands for it, as in the ledger.
    tid, pid = row.tid, row.tid if row.pid is None else row.pid
    frame = _Frame()
    uuid = THREADS + thread
    if thread >= CPU_KEY or tid is None or pid is None:
        name = "no thread known" if row.cpu is None else f"CPU {row.cpu}, no thread known"
        frame.track(uuid, f"CPU {row.cpu} idle" if tid == 0 else name)
    elif max(tid, pid) > _MAX_PID:
        frame.track(uuid, f"{row.comm} {tid}")
    else:
        if pid == tid:
            process = frame.track(_PROCESSES + pid).process
            process.pid, process.process_name = pid, row.comm or ""
        track = frame.track(uuid).thread
        track.pid, track.tid, track.thread_name = pid, tid, row.comm or ""
    return frame.serialize()


def _count(event: _Message, uuid: int, value: int) -> None:
    event.extra_counter_track_uuids.append(uuid)
    event.extra_counter_values.append(min(value, LATEST))


def _annotations(recording: "Recording", snapshot: Snapshot) -> dict[str, int | str]:
    """Return the recording's verdict, losses and window, by the name of the annotation."""
    machine, losses = recording.header.machine, snapshot.losses
    values: dict[str, int | str] = {
        "verdict": snapshot.verdict.value,
        "reasons": " ".join(snapshot.verdict_reasons),
        "kernel": printable(machine.release or "unknown"),
        "window": "unknown"
        if machine.window is None
        else f"{address(machine.window.start)} - {address(machine.window.end)}",
        "window_in_use": "unknown"
        if machine.window is None or not machine.window.use_known
        else f"{address(machine.window.used[0])} - {address(machine.window.end)}",
        "clock": printable(str(recording.header.clock.get("name", "unknown"))),
        "events": snapshot.events,
        "hits": snapshot.hits,
        "silent": snapshot.silent,
        "warnings": snapshot.warnings,
        "oopses": snapshot.faults_total,
    }
    values |= {name: getattr(losses, name) for name in Losses.__slots__}
    if recording.problems:
        values["problems"] = "; ".join(recording.problems)
    return values
