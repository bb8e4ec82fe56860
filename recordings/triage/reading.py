# SPDX-License-Identifier: GPL-2.0-only
"""One log or recording read and judged, and what one says beside another.

Promises: each is judged by itself, and nothing is ever added together: the journal and dmesg of
one boot hold the same calls.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from recordings.capture import dumps
from recordings.capture.importing import import_log
from recordings.format.header import Header, RecordingError
from recordings.format.parts import Parts, sets_of
from recordings.ledger.headline import calls, oopses
from recordings.ledger.snapshot import Extent, Snapshot, Verdict
from recordings.ledger.verdict import MMU_C
from recordings.ledger.whole import fold
from recordings.triage.workplace import Workplace
from recordings.wording.units import count
from tracers.evidence import Told
from tracers.logs import formats
from tracers.logs.input_files import Input

_RECORDING: Final = "a recording"
_CORE: Final = "the kernel log of a memory dump"


@dataclass(frozen=True, slots=True)
class Options:
    """How logs are to be read: what ``import`` takes."""

    machine_dir: Path | None = None
    vmlinux: Path | None = None
    log_format: str | None = None
    facts: Mapping[str, Told] = field(default_factory=dict)  # given by hand
    release: tuple[str, str] | None = None  # (origin, release), likewise


@dataclass(frozen=True, slots=True)
class Reading:
    """What one log says. ``recording``: what was made of it; None: it was one already."""

    name: str
    what: str  # in words
    parts: Parts
    snapshot: Snapshot
    recording: Path | None
    machine_files: tuple[str, ...] = ()

    @property
    def header(self) -> Header:
        """Of the recording."""
        return self.parts.header

    @property
    def closing(self) -> tuple[str, ...]:
        """The closing notes of the recording."""
        return self.parts.closing_notes

    @property
    def verdict(self) -> Verdict:
        """Its own."""
        return self.snapshot.verdict

    @property
    def tells(self) -> bool:
        """Whether it is about the window: a log of other troubles says nothing for or against."""
        numbers = self.snapshot
        warned = any(MMU_C in site.site for site in numbers.sites)
        called = numbers.populate or numbers.free or numbers.hits
        return bool(called or warned or numbers.faults_total)

    @property
    def evidence(self) -> tuple[int, ...]:
        """Compares: how much it tells."""
        numbers = self.snapshot
        known = numbers.populate + numbers.free - numbers.regimes.unknown
        called = numbers.populate + numbers.free
        out = numbers.hits + numbers.fault_regimes.hits
        return out, known, called, numbers.faults_total, numbers.warnings, numbers.events

    def beside(self, first: "Reading") -> str:
        """Say what it adds to the one with most evidence."""
        ours, theirs = self.snapshot, first.snapshot
        called = ours.populate + ours.free
        if not ours.events:
            return "nothing of ours in it"
        if not called:
            failed = f"{oopses(ours.faults_total)}, " if ours.faults_total else ""
            return f"{failed}{_warns(ours.warnings)}, no populate or free call"
        if _shape(ours) == _shape(theirs):
            return f"the same {calls(called)}"
        if ours.extents and all(_covered(extent, theirs.extents) for extent in ours.extents):
            return f"{calls(called)}, all within the first one's ranges"
        return f"{calls(called)}, {_warns(ours.warnings)}"


def _warns(number: int) -> str:
    return f"{count(number)} WARN" + ("" if number == 1 else "s")


def _shape(numbers: Snapshot) -> object:
    counts = (numbers.populate, numbers.free, numbers.regimes, numbers.warnings)
    return *counts, _stretches(numbers), numbers.fault_regimes


def _stretches(numbers: Snapshot) -> list[tuple[int, int, int, int]]:
    return sorted((each.start, each.end, each.populate, each.free) for each in numbers.extents)


def _covered(extent: Extent, others: tuple[Extent, ...]) -> bool:
    return any(
        each.regime == extent.regime and each.start <= extent.start and extent.end <= each.end
        for each in others
    )


def read_log(
    log: Input,
    place: Workplace,
    options: Options,
    machine_files: tuple[str, ...] = (),
    notes: tuple[str, ...] = (),
) -> Reading:
    """Import a log into a temporary recording and judge it; ``log.name`` is what it is called.

    Raises:
        VmemscopeError: as ``import_log``; the text names the log.
    """
    out = place.new("recording.arrows")
    import_log(
        log,
        out,
        machine_dir=options.machine_dir,
        vmlinux=options.vmlinux,
        log_format=options.log_format,
        facts=options.facts,
        release=options.release,
        notes=notes,
    )
    found = next(iter(sets_of([out]).values()))
    if not isinstance(found, Parts):
        raise found
    importer = found.header.origin.get("importer", "")
    title = next((known.title for known in formats.FORMATS if known.name == importer), importer)
    return Reading(log.name, title, found, fold(found), out, machine_files)


def read_core(path: Path, name: str, place: Workplace, options: Options) -> Reading:
    """Read the kernel log of a dump of memory, with the machine that the same dump describes.

    Raises:
        VmemscopeError: as ``import_log``; the text names the dump.
    """
    with dumps.opened(path, place.new("dump").parent, name) as dump:
        own = replace(
            options, machine_dir=options.machine_dir or dump.folder, log_format=dumps.FORMAT
        )
        return replace(read_log(dump.log, place, own, notes=dump.notes), what=_CORE)


def read_recordings(named: list[tuple[str, Path]]) -> list["Reading | RecordingError"]:
    """Judge recordings; files that one capture was rotated into are one."""
    by_path = {path: name for name, path in named}
    readings: list[Reading | RecordingError] = []
    for path, found in sets_of(by_path).items():
        if isinstance(found, Parts):
            readings.append(Reading(by_path[path], _RECORDING, found, fold(found), None))
        else:
            readings.append(RecordingError(str(found).replace(str(path), by_path[path])))
    return readings
