"""Turns a log of a kernel's own tracer, and its machine's side files, into a recording.

Promises: what the log says it lost, what was cut short and what could not be read is counted in
the recording; nothing is written when the input is no log we know; the output is never an
existing file.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from recordings.header import Header
from recordings.snapshot import Losses
from recordings.units import count
from recordings.writer import Writer
from tracers.formulas import WindowError
from tracers.logs.derive import Deriver
from tracers.logs.ftrace import FtraceLog, LogError, looks_like_ftrace
from tracers.machine import Machine, MachineError, read_machine
from tracers.probes import read_kprobe_events

_HEAD_BYTES = 64 * 1024
_PROBES_BYTES = 1024 * 1024
#: ftrace text never says which trace_clock it was taken with (Documentation/trace/ftrace.rst).
_UNKNOWN_CLOCK = {"name": "unknown", "offset_ns": None}


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did, for the narration on stderr."""

    events: int
    derived: int
    losses: Losses
    notes: tuple[str, ...]


def import_log(
    trace: Path,
    out: Path,
    *,
    machine_dir: Path | None = None,
    vmlinux: Path | None = None,
    created_ns: int = 0,
) -> Imported:
    """Write the events of the log ``trace`` to the new recording ``out``.

    ``machine_dir`` holds the side files of the traced machine (see ``tracers.machine``); without
    it and without ``vmlinux``, the traced kernel's image (see ``tracers.constants``), no window is
    known and the recording's verdict is inconclusive. Both: they are held against each other, and
    what they disagree on is in the recording. ``created_ns`` is the
    realtime to stamp on the recording (0: unknown), so that equal inputs give equal files.

    Raises:
        LogError: ``trace`` cannot be read or is no log we know.
        MachineError: ``machine_dir`` cannot be read.
        ConstantsError: ``vmlinux`` is no arm64 kernel.
        RecordingError: ``out`` cannot be written.
    """
    machine, warn_sites = _machine(machine_dir, vmlinux)
    probes = _probes(machine_dir)
    try:
        with trace.open("rb") as stream:
            head = stream.read(_HEAD_BYTES)
            if not looks_like_ftrace(head):
                raise LogError(_unknown_type(trace, head))
            stream.seek(0)
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
            stream.seek(0)
            header = Header(
                machine=machine,
                probes=probes,
                clock=_UNKNOWN_CLOCK,
                origin={"importer": "ftrace", "file": trace.name, "sha256": digest},
                warn_sites=warn_sites,
                created_ns=created_ns,
            )
            return _copy(FtraceLog(stream), machine, out, header)
    except OSError as error:
        raise LogError(f"{trace}: {error.strerror or error}") from error


def _copy(log: FtraceLog, machine: Machine, out: Path, header: Header) -> Imported:
    deriver = Deriver(machine.window, _section_pages(machine))
    events = derived = 0
    losses = Losses()
    with Writer(out, header) as writer:
        for batch in log.batches():
            rows = deriver.feed(batch.events)
            derived += rows.num_rows - batch.events.num_rows
            events += rows.num_rows
            losses += Losses(batch.lost, batch.lost_unknown, batch.torn, batch.rejected)
            writer.write(replace(batch, events=rows))
    return Imported(events, derived, losses, (*_notes(log), *deriver.notes))


def _notes(log: FtraceLog) -> Iterator[str]:
    if not log.probes:
        yield f"no event of a function we watch in {count(log.lines)} lines"
    if log.midway:
        yield f"{count(log.midway)} events of probes inside our functions, not at entry: left out"


def _machine(folder: Path | None, vmlinux: Path | None) -> tuple[Machine, tuple[str, ...]]:
    """Return the machine, and "file:line" of the WARNs its image has where we look."""
    if vmlinux is None:
        return read_machine(folder) if folder else Machine(), ()
    # Only now: the code methods load a disassembler.
    from tracers.constants.gather import gather  # noqa: PLC0415
    from tracers.constants.image import open_kernel  # noqa: PLC0415

    with open_kernel(vmlinux) as image:
        found = gather(image, machine_dir=folder)
    return found.machine(), tuple(f"{site.file}:{site.line}" for site in found.warn_sites)


def _section_pages(machine: Machine) -> int | None:
    try:
        return machine.window.section_pages if machine.window else None
    except WindowError:  # page or section size unknown: the deriver says so in its notes
        return None


def _probes(machine_dir: Path | None) -> dict[str, str]:
    path = machine_dir / "kprobe_events" if machine_dir else None
    if path is None or not path.is_file():
        return {}
    try:
        with path.open("rb") as stream:
            return read_kprobe_events(stream.read(_PROBES_BYTES).decode("utf-8", "replace"))
    except OSError as error:
        raise MachineError(f"{path}: {error.strerror or error}") from error


def _unknown_type(trace: Path, head: bytes) -> str:
    if not head:
        return f"{trace} is empty: nothing was traced, or the copy failed"
    if head.startswith(b"\x17\x08\x44tracing"):
        return (
            f"{trace} is a trace-cmd file, which this version does not read; take the kernel's "
            "own text: cat /sys/kernel/tracing/trace"
        )
    return (
        f"{trace} is not ftrace text; expected the kernel's /sys/kernel/tracing/trace or "
        "trace_pipe with kprobe events"
    )
