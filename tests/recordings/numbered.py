# SPDX-License-Identifier: GPL-2.0-only
"""Recordings whose closing record has final numbers, true ones and lies."""

import copy
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from recordings.capture.counting import CountingWriter
from recordings.format.final_numbers import Numbers
from recordings.format.header import Header
from recordings.format.reader import open_recording
from recordings.format.writer import Writer
from recordings.ledger.ledger import folded
from recordings.ledger.stored import numbers_of
from tracers.batch import Batch

#: What somebody may do to the JSON object of the numbers, in place.
Change = Callable[[dict[str, Any]], object]


def counted(path: Path, batches: Sequence[Batch], header: Header) -> Path:
    """Write a recording as an import does."""
    with CountingWriter(path, header) as writer:
        for batch in batches:
            writer.write(batch)
    return path


def true_numbers(path: Path) -> Numbers:
    """The numbers of a recording, counted from its events."""
    with open_recording(path) as recording:
        ledger = folded(recording)
        return numbers_of(ledger.figures(), ledger.losses)


def changed(path: Path, out: Path, change: Change) -> Path:
    """Write the same recording, every checksum right, with numbers that somebody changed."""
    numbers = true_numbers(path)
    values = copy.deepcopy(dict(numbers.values))
    change(values)
    return with_numbers(path, out, Numbers(numbers.version, values, numbers.contents))


def with_numbers(path: Path, out: Path, numbers: Numbers | None) -> Path:
    """Write the same recording with these numbers."""
    with open_recording(path) as recording:
        writer = Writer(out, recording.header)
        for batch in recording.batches():
            writer.write(batch)
        notes, at_end = recording.closing_notes, recording.at_end
        writer.close(recording.ended or "", notes, at_end, numbers)
    return out


def leaves(values: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where every number, text and empty list of a JSON value stands."""
    if isinstance(values, dict):
        for key, value in values.items():
            yield from leaves(value, (*place, key))
    elif isinstance(values, list) and values:
        for at, value in enumerate(values):
            yield from leaves(value, (*place, at))
    else:
        yield place


def put(values: Any, place: tuple[Any, ...], value: Any) -> None:
    """Set what stands at a place."""
    *way, last = place
    for step in way:
        values = values[step]
    values[last] = value
