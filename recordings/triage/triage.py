# SPDX-License-Identifier: GPL-2.0-only
"""From what was pasted to an answer: a log, a recording, a folder or an archive is read and judged.

Promises: every log in it is judged by itself, that with most evidence comes first; a log that
could not be read is named and makes a clean verdict inconclusive; nothing is left on the disk but
what the workplace holds until its block ends.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from recordings.capture import dumps
from recordings.format.framing import MARKER
from recordings.format.header import RecordingError
from recordings.ledger.snapshot import Verdict
from recordings.triage.bundle import Bundle, LogFile, collect
from recordings.triage.machines import Machines
from recordings.triage.members import PassedOver, is_tar, of_folder, of_tar
from recordings.triage.reading import Options, Reading, read_core, read_log, read_recordings
from recordings.triage.workplace import Workplace
from recordings.triage.zip_members import is_zip, of_zip
from recordings.wording.escape import printable
from tracers.errors import VmemscopeError
from tracers.logs.input_files import STDIN, Input
from tracers.logs.kprobe_text.text_log import LogError
from tracers.packed import PIECE, PackedError

_HEAD: Final = 1024
_LISTED: Final = 3
#: Which verdict of several counts.
_STRONGEST: Final = (Verdict.OUT_OF_RANGE, Verdict.INCONCLUSIVE, Verdict.CLEAN)
_NOTHING: Final = (
    "no kernel log, no trace and no recording in it (looked for dmesg, journalctl_*, messages,"
    " kern.log, syslog, vmcore-dmesg.txt, pstore's records, trace, trace.dat, *.arrows)"
)
_MACHINE_ONLY: Final = "files that describe a machine are: beside a log, give it as --machine"


@dataclass(frozen=True, slots=True)
class Triaged:
    """What one FILE says. ``readings``: with most evidence first; none: ``problems`` says why."""

    file: str
    readings: tuple[Reading, ...] = ()
    problems: tuple[str, ...] = ()  # what could not be read, a line each, safe to show
    remarks: tuple[str, ...] = ()  # what was left out on purpose

    @property
    def first(self) -> Reading | None:
        """The one with most evidence."""
        return self.readings[0] if self.readings else None

    @property
    def verdict(self) -> Verdict | None:
        """The strongest of all that hold something; never clean if something was not read."""
        told = [each for each in self.readings if each.tells] or self.readings[:1]
        return strongest([each.verdict for each in told], whole=not self.problems)


def strongest(verdicts: Sequence[Verdict], *, whole: bool) -> Verdict | None:
    """Return the verdict of several; ``whole``: all was read. None: there is none."""
    found = next((verdict for verdict in _STRONGEST if verdict in verdicts), None)
    return Verdict.INCONCLUSIVE if found is Verdict.CLEAN and not whole else found


def triage(path: Path, place: Workplace, options: Options, *, name: str | None = None) -> Triaged:
    """Read and judge what is at ``path`` (``STDIN``: standard input), called ``name``.

    What is wrong with it is in the result; ``machine_dir`` and ``vmlinux`` of ``options`` that
    cannot be used are errors of each log.
    """
    name = name or ("stdin" if path == STDIN else str(path))
    try:
        if path != STDIN and path.is_dir():
            passed = PassedOver()
            return _bundle(name, collect(of_folder(path, passed), passed, place), place, options)
        return _file(path, name, place, options)
    except OSError as error:
        return Triaged(name, problems=(f"{printable(name)}: {error.strerror or error}",))
    except ValueError as error:  # no file can have such a name
        return Triaged(name, problems=(f"{printable(name)}: {error}",))
    except VmemscopeError as error:
        text = printable(str(error))
        known = (printable(name), printable(Path(name).name))
        begun = next((each for each in known if text.startswith(each)), "")
        text = text[len(begun) :].lstrip(":").strip()
        return Triaged(name, problems=(f"{printable(name)}: {text}",))


def _file(path: Path, name: str, place: Workplace, options: Options) -> Triaged:
    if path != STDIN and options.log_format in (None, dumps.FORMAT) and dumps.is_dump(path):
        return Triaged(name, (read_core(path, Path(name).name, place, options),))
    with Input(path) as source:
        source.name = Path(name).name or name  # a report goes to others: no paths of ours
        head = source.peek(lambda head: len(head) >= _HEAD)
        passed = PassedOver()
        if options.log_format is None:
            if head.startswith(MARKER):
                return _recording(path, name, source, place)
            if is_tar(head):
                members = of_tar(source.read1, lambda: source.given, passed)
                found = collect(members, passed, place)
                if source.torn and not found.problems:
                    found.problems.append("the packed file is damaged or cut short")
                return _bundle(name, found, place, options)
            if is_zip(head):
                with os.fdopen(os.dup(source.file()), "rb") as file:
                    found = collect(of_zip(file, passed), passed, place)
                return _bundle(name, found, place, options)
        return Triaged(name, (read_log(source, place, options),))


def _recording(path: Path, name: str, source: Input, place: Workplace) -> Triaged:
    if path == STDIN or source.packed or not path.is_file():
        pieces = iter(lambda: source.read1(PIECE), b"")
        path = place.spool(pieces, name, lambda: source.given)
    (found,) = read_recordings([(name, path)])
    if isinstance(found, RecordingError):
        raise found
    return Triaged(name, (found,), remarks=found.parts.problems)


def _bundle(name: str, found: Bundle, place: Workplace, options: Options) -> Triaged:
    problems, remarks = list(found.problems), list(found.remarks)
    machines = Machines(found.sides, place)
    readings: list[Reading] = []
    for log in found.logs:
        own, files = options, tuple[str, ...]()
        if options.machine_dir is None:
            folder, files = machines.of(log.name)
            own = replace(options, machine_dir=folder)
        try:
            readings.append(_read(log, place, own, files))
        except LogError as error:
            if log.named:
                problems.append(printable(str(error)))
    for core, path in found.cores:
        try:
            readings.append(read_core(path, core, place, options))
        except VmemscopeError as error:
            problems.append(printable(str(error)))
    for each in read_recordings(found.recordings):
        if isinstance(each, Reading):
            readings.append(each)
            remarks += (f"{printable(each.name)}: {text}" for text in each.parts.problems)
        else:
            problems.append(printable(str(each)))
    if not readings:
        machine = [_MACHINE_ONLY] if found.sides else []
        raise LogError("; ".join(problems[:_LISTED] or [_NOTHING, *machine, *remarks]))
    readings.sort(key=lambda each: each.evidence, reverse=True)  # stable: else as they were found
    return Triaged(name, tuple(readings), tuple(problems), (*remarks, *machines.remarks()))


def _read(log: LogFile, place: Workplace, options: Options, files: tuple[str, ...]) -> Reading:
    try:
        with Input(log.path) as source:
            source.name = log.name
            own = replace(options, log_format=options.log_format or log.log_format)
            return read_log(source, place, own, files)
    except (PackedError, OSError) as error:
        text = getattr(error, "strerror", None) or error
        raise LogError(f"{log.name}: {text}") from error
