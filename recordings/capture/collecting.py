# SPDX-License-Identifier: GPL-2.0-only
"""Writes what a boot has caught as a recording: whole or not there, never over an existing file.

Promises: every event is read once, from the ring to the file and into the numbers; memory does not
grow with them.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from recordings.capture.counting import CountingWriter
from recordings.format.header import Header
from recordings.format.new_file import new_file
from recordings.format.output_files import Output
from recordings.ledger.snapshot import Snapshot
from tracers.errors import VmemscopeError

if TYPE_CHECKING:
    from tracers.live.boot.collect import Collected


@dataclass(frozen=True, slots=True)
class Collection:
    """What was written: events, the numbers of all of them, and sentences for people."""

    events: int
    snapshot: Snapshot
    closing: tuple[str, ...]


def collect(source: "Collected", out: Path | Output) -> Collection:
    """Write all that ``source`` has to the new recording ``out``, a file or a stream.

    Raises:
        LogError: the ring's text is not understood. RecordingError: ``out`` cannot be written.
    """
    header = Header(
        machine=source.machine,
        probes=source.probes,
        clock=source.clock,
        origin=source.origin,
        warn_sites=source.warn_sites,
        notes=source.notes,
    )
    target: AbstractContextManager[Output] = (
        new_file(out) if isinstance(out, Path) else nullcontext(out)
    )
    try:
        with target as file, CountingWriter(file, header) as writer:
            for batch in source.batches():
                writer.write(batch)
            closing = source.closing()
            writer.close(notes=closing)
    except OSError as error:
        text = error.strerror or str(error)
        raise VmemscopeError(f"the ring buffer cannot be read: {text}") from error
    return Collection(writer.rows, writer.ledger.snapshot(final=True), closing)
