# SPDX-License-Identifier: GPL-2.0-only
"""A Perfetto trace made packet by packet with Perfetto's own classes, to compare ours with.

It says what is drawn, plainly; recordings.export.perfetto_events does it in columns.
"""

from typing import Any, Final

from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as pb
from perfetto.trace_builder.proto_builder import TraceProtoBuilder

from recordings.export.groups import Sink, groups
from recordings.format.output_files import Output
from recordings.format.reader import Recording
from recordings.ledger.faults import physical
from recordings.ledger.headline import WORDS, verdict_summary
from recordings.ledger.ledger import Ledger
from recordings.ledger.snapshot import Snapshot
from recordings.ledger.verdict import judging
from recordings.wording.escape import printable
from recordings.wording.units import address
from tests.recordings.export.slices_row_by_row import LATEST, Open, Row, Slices, rows
from tracers.batch import Losses
from tracers.events import SCHEMA, Kind, Phase, Source
from tracers.kernel_functions import name
from tracers.regimes import REGIMES
from tracers.window import Window

_Message = Any  # of protobuf, which makes its classes at run time
_ROWS: Final = 4096
_SEQUENCE: Final = 1
#: perfetto.protos.BuiltinClock by the kernel's name (Documentation/trace/ftrace.rst).
_CLOCKS: Final = {
    "mono": pb.BUILTIN_CLOCK_MONOTONIC,
    "mono_raw": pb.BUILTIN_CLOCK_MONOTONIC_RAW,
    "boot": pb.BUILTIN_CLOCK_BOOTTIME,
}
# Tracks' uuids: those of threads are these and the key of recordings.ledger.columns, of 33 bits.
_RECORDING, _HITS, _WARNS, _WARN_NS, _SILENT = 1, 2, 3, 4, 5
_THREADS: Final = 1 << 40
_PROCESSES: Final = 1 << 41
_CPU_KEY: Final = 1 << 32  # of recordings.ledger.columns: not a thread but what a CPU does
_MAX_PID: Final = (1 << 31) - 1  # Perfetto's are s32, as the kernel's pid_t

_NAMES: Final = (
    *(name(kind) for kind in Kind),
    *(f"hit: {regime}" for regime in REGIMES),
    *(f"silent hit: {regime}" for regime in REGIMES),
)
_FIRST_HIT: Final = len(Kind)
_ANNOTATIONS: Final = (
    "start", "end", "pfn", "nr_pages", "nid", "ret", "cpu", "source", "regime", "comm", "silent",
    "unfinished", "exit_without_entry", "recorded_ts_ns", "physical", "callers",
)  # fmt: skip
_KEY: Final = {name: number + 1 for number, name in enumerate(_ANNOTATIONS)}
_VALUES: Final = (*(source.label for source in Source), *REGIMES)
_FIRST_REGIME: Final = len(Source)


def write(recording: Recording, sink: Output) -> tuple[str, ...]:
    """Write all events to ``sink``; return the columns left out. Raises ``OSError``."""
    window, ledger = judging(recording.header.machine), Ledger.of(recording.header)
    packets = _Packets(window)
    packets.open(recording)
    slices, out = Slices(packets), Sink(sink)
    for events in groups(recording, _ROWS, columns=tuple(SCHEMA.names), ledger=ledger):
        for first in range(0, events.num_rows, _ROWS):
            for row in rows(events.slice(first, _ROWS), window):
                slices.take(row)
            out.write(packets.serialize())
    slices.finish()
    packets.close(recording, ledger.snapshot(final=True))
    out.write(packets.serialize())
    return tuple(name for name in recording.select() if name not in SCHEMA.names)


class _Packets:
    """Builds the trace's packets; ``serialize`` hands them over."""

    def __init__(self, window: Window | None) -> None:
        self._window = window
        self._builder = TraceProtoBuilder()
        self._comms: dict[int, str | None] = {}  # by thread, what its track is called
        self._hits = self._silent = self._warns = self._warn_ns = 0

    def serialize(self) -> bytes:
        """Return the packets so far, once."""
        data: bytes = self._builder.serialize()
        self._builder = TraceProtoBuilder()
        return data

    def open(self, recording: Recording) -> None:
        """Make the packets before the events: names, clock, machine, tracks."""
        header = recording.header
        packet = self._packet()
        packet.sequence_flags = pb.TracePacket.SEQ_INCREMENTAL_STATE_CLEARED
        for table, names in (
            (packet.interned_data.event_names, _NAMES),
            (packet.interned_data.debug_annotation_names, _ANNOTATIONS),
            (packet.interned_data.debug_annotation_string_values, _VALUES),
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
        self._track(_RECORDING, "vmemscope")
        for uuid, counted, unit in (
            (_HITS, "hits", pb.CounterDescriptor.UNIT_COUNT),
            (_SILENT, "silent hits", pb.CounterDescriptor.UNIT_COUNT),
            (_WARNS, "WARNs", pb.CounterDescriptor.UNIT_COUNT),
            (_WARN_NS, "time in WARN", pb.CounterDescriptor.UNIT_TIME_NS),
        ):
            self._track(uuid, counted).counter.unit = unit

    def begin(self, ts: int, row: Row) -> None:
        """Draw an entry, and a hit's instant inside it."""
        event = self._event(ts, row.thread, pb.TrackEvent.TYPE_SLICE_BEGIN, row)
        self._describe(event, row)
        if row.kind == Kind.WARN:
            self._warned(event)
        if row.hit:
            self._hit(ts, row)

    def end(self, ts: int, thread: int, opened: Open, row: Row | None) -> None:
        """Draw an end."""
        event = self._event(ts, thread, pb.TrackEvent.TYPE_SLICE_END, row)
        if row is None:
            self._note(event, "unfinished").bool_value = True
            return
        if row.ret is not None:
            self._note(event, "ret").int_value = row.ret
        if opened.kind == Kind.WARN:
            self._warn_ns += max(0, row.ts - opened.ts)
            _count(event, _WARN_NS, self._warn_ns)

    def instant(self, ts: int, row: Row) -> None:
        """Draw an event that is no slice: see ``slices.Track.instant``."""
        event = self._event(ts, row.thread, pb.TrackEvent.TYPE_INSTANT, row)
        self._describe(event, row)
        if row.phase == Phase.EXIT:
            self._note(event, "exit_without_entry").bool_value = True
        elif row.kind == Kind.WARN and row.phase == Phase.POINT:
            self._warned(event)
        elif row.kind == Kind.FAULT:
            self._failed(event, row)
        if row.hit:
            self._hit(ts, row)

    def close(self, recording: Recording, snapshot: Snapshot) -> None:
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
        for uuid in (_HITS, _SILENT, _WARNS, _WARN_NS):
            _count(event, uuid, 0)
        packet = self._packet()
        packet.timestamp = last
        event = packet.track_event
        event.type, event.track_uuid = pb.TrackEvent.TYPE_SLICE_END, _RECORDING
        for uuid, value in (
            (_HITS, self._hits),
            (_SILENT, self._silent),
            (_WARNS, self._warns),
            (_WARN_NS, self._warn_ns),
        ):
            _count(event, uuid, value)

    def _clock(self, packet: _Message, recording: Recording) -> None:
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
        packet.trusted_packet_sequence_id = _SEQUENCE
        packet.sequence_flags = pb.TracePacket.SEQ_NEEDS_INCREMENTAL_STATE
        return packet

    def _track(self, uuid: int, name: str) -> _Message:
        track = self._packet().track_descriptor
        track.uuid, track.name = uuid, name
        return track

    def _event(self, ts: int, thread: int, what: int, row: Row | None) -> _Message:
        if row is not None and thread not in self._comms:
            self._thread(row)
        packet = self._packet()
        packet.timestamp = ts
        event = packet.track_event
        event.type = what
        event.track_uuid = _THREADS + thread
        if row is not None and ts != row.ts:
            self._note(event, "recorded_ts_ns").uint_value = row.ts
        return event

    def _thread(self, row: Row) -> None:
        """Make the track of a thread, or of what a CPU does where no thread is known."""
        self._comms[row.thread] = row.comm
        # ftrace gives no thread group: then the thread stands for it, as in the ledger.
        tid, pid = row.tid, row.tid if row.pid is None else row.pid
        if row.thread >= _CPU_KEY or tid is None or pid is None:
            name = "no thread known" if row.cpu is None else f"CPU {row.cpu}, no thread known"
            self._track(_THREADS + row.thread, f"CPU {row.cpu} idle" if tid == 0 else name)
            return
        if max(tid, pid) > _MAX_PID:
            self._track(_THREADS + row.thread, f"{row.comm} {tid}")
            return
        if pid == tid:
            process = self._packet().track_descriptor
            process.uuid, process.process.pid = _PROCESSES + pid, pid
            process.process.process_name = row.comm or ""
        track = self._packet().track_descriptor
        track.uuid = _THREADS + row.thread
        track.thread.pid, track.thread.tid = pid, tid
        track.thread.thread_name = row.comm or ""

    def _describe(self, event: _Message, row: Row) -> None:
        """Name an event by its kind, and give it the row's arguments."""
        if row.kind == Kind.WARN and row.site is not None:
            event.name = f"WARN {row.site}" + ("" if row.line is None else f":{row.line}")
        else:
            event.name_iid = row.kind + 1
        self._place(event, row)
        if row.nr_pages is not None:
            self._note(event, "nr_pages").uint_value = row.nr_pages
        if row.nid is not None:
            self._note(event, "nid").int_value = row.nid
        if row.cpu is not None:
            self._note(event, "cpu").uint_value = row.cpu
        if row.comm != self._comms[row.thread]:
            self._note(event, "comm").string_value = row.comm or ""

    def _place(self, event: _Message, row: Row) -> None:
        if row.start is not None:
            self._note(event, "start").pointer_value = row.start
        if row.end is not None:
            self._note(event, "end").pointer_value = row.end
        if row.pfn is not None:
            self._note(event, "pfn").uint_value = row.pfn
        if row.regime is not None:
            self._note(event, "regime").string_value_iid = _FIRST_REGIME + row.regime + 1
        if row.silent:
            self._note(event, "silent").bool_value = True
        self._note(event, "source").string_value_iid = row.source + 1

    def _failed(self, event: _Message, row: Row) -> None:
        """Say of an Oops what its columns do not, and who called where it failed."""
        phys = physical(self._window, row.pfn)
        if phys is not None:
            self._note(event, "physical").pointer_value = phys
        if row.site is not None:
            self._note(event, "callers").string_value = row.site

    def _hit(self, ts: int, row: Row) -> None:
        self._hits += 1
        event = self._event(ts, row.thread, pb.TrackEvent.TYPE_INSTANT, row)
        first = _FIRST_HIT + (len(REGIMES) if row.silent else 0)
        event.name_iid = first + (row.regime or 0) + 1
        self._place(event, row)
        _count(event, _HITS, self._hits)
        if row.silent:
            self._silent += 1
            _count(event, _SILENT, self._silent)

    def _warned(self, event: _Message) -> None:
        self._warns += 1
        _count(event, _WARNS, self._warns)

    def _note(self, event: _Message, name: str) -> _Message:
        note = event.debug_annotations.add()
        note.name_iid = _KEY[name]
        return note


def _count(event: _Message, uuid: int, value: int) -> None:
    event.extra_counter_track_uuids.append(uuid)
    event.extra_counter_values.append(min(value, LATEST))


def _annotations(recording: Recording, snapshot: Snapshot) -> dict[str, int | str]:
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
