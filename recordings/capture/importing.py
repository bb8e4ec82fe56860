# SPDX-License-Identifier: GPL-2.0-only
"""Imports a log of a kernel's own tracer, and the files that describe its machine, as a recording.

Promises: what the log says it lost, what was cut short and what could not be read is counted in
the recording; the output is whole or not there, whatever ends the import; it is never an existing
file.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from recordings.capture import dumps
from recordings.capture.counting import CountingWriter
from recordings.format.header import Header
from recordings.format.new_file import new_file
from recordings.format.output_files import Output
from recordings.format.sniff import describe_log
from tracers.batch import Batch, Losses
from tracers.constants.core_file import looks_like_core
from tracers.evidence import Told
from tracers.formulas import WindowError
from tracers.logs import formats
from tracers.logs.derive import Deriver
from tracers.logs.dmesg.told import Told as LogTold
from tracers.logs.formats import Format, Log, LogContext
from tracers.logs.in_order import in_order
from tracers.logs.input_files import Input
from tracers.logs.kprobe_text.definitions import read_kprobe_events, read_probe_locations
from tracers.logs.kprobe_text.rows import NO_ROWS
from tracers.logs.kprobe_text.text_log import LogError
from tracers.machine import Machine, MachineError, assemble, side_files
from tracers.machine_files import SideFiles
from tracers.packed import PackedError
from tracers.region_rows import in_pages
from tracers.regular_files import read_regular

if TYPE_CHECKING:
    import pyarrow as pa

    from tracers.constants.image.kernel_image import KernelImage

_PROBES_BYTES = 1024 * 1024
_MANY = 4096  # rows of a batch


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did, for the messages on stderr."""

    events: int
    derived: int
    losses: Losses
    notes: tuple[str, ...]
    machine: Machine


def import_log(
    trace: Path | Input,
    out: Path | Output,
    *,
    machine_dir: Path | None = None,
    vmlinux: Path | None = None,
    log_format: str | None = None,
    facts: Mapping[str, Told] | None = None,
    release: tuple[str, str] | None = None,
    created_ns: int = 0,
    notes: tuple[str, ...] = (),
) -> Imported:
    """Write the events of the log ``trace`` to the new recording ``out``, a file or a stream.

    ``trace``: a file, packed or not, or ``tracers.logs.input_files.STDIN``; or one that is open,
    and stays so, of which nothing but its head was looked at. ``log_format``:
    its format's name, None: recognised by its first lines.
    ``machine_dir`` holds the side files of the traced machine, ``vmlinux`` is its kernel's image
    (see ``tracers.constants``); ``facts`` and ``release`` are what else is known of it (see
    ``tracers.machine.assemble``). Without all of them no window is known and the recording's
    verdict is inconclusive. What they, and the log, disagree on is in the recording, whose verdict
    is inconclusive then. Of a kernel's dump its log is imported, and the dump describes the machine
    unless ``machine_dir`` does. ``notes``: what else is to be said of it. ``created_ns``: realtime
    for the header (0: unknown), so that equal inputs give equal files.

    Raises:
        LogError: ``trace`` cannot be read or is no log we know.
        MachineError: ``machine_dir`` cannot be read.
        ConstantsError: ``vmlinux`` is no arm64 kernel.
        RecordingError: ``out`` cannot be written.
    """
    chosen = formats.named(log_format) if log_format else None
    if isinstance(trace, Path) and log_format in (None, dumps.FORMAT) and dumps.is_dump(trace):
        with (
            TemporaryDirectory(prefix="vmemscope-import-") as folder,
            dumps.opened(trace, Path(folder)) as dump,
        ):
            return import_log(
                dump.log,
                out,
                machine_dir=machine_dir or dump.folder,
                vmlinux=vmlinux,
                log_format=dumps.FORMAT,
                facts=facts,
                release=release,
                created_ns=created_ns,
                notes=dump.notes,
            )
    name = trace if isinstance(trace, Path) else trace.name
    try:
        with Input(trace) if isinstance(trace, Path) else nullcontext(trace) as source:
            source.take_out()
            chosen = chosen or _recognised(source)
            try:
                with _image(vmlinux) as image:
                    sources = _Sources(machine_dir, image, facts or {}, release, notes)
                    return _import(source, chosen, out, sources, created_ns)
            except LogError as error:
                raise LogError(f"{source.name}: {error}") from error
    except PackedError as error:
        raise LogError(f"{name}: {error}") from error
    except OSError as error:
        raise LogError(f"{name}: {error.strerror or error}") from error


def _import(
    source: Input, log_format: Format, out: Path | Output, sources: "_Sources", created_ns: int
) -> Imported:
    events = _kprobe_events(sources.folder)
    # Of what comes through a pipe nothing is waited for, unless only the log can tell the window.
    if source.plain or sources.machine().window is None:
        sources.add(log_format.told(source))
    machine = sources.machine()
    context = LogContext(
        machine.window, machine.release, sources.image, read_probe_locations(events)
    )
    opened = log_format.open(source, context)
    origin = {"importer": log_format.name, "file": Path(source.name).name}
    if source.sha256:
        origin["sha256"] = source.sha256
    header = Header(
        machine=machine,
        probes=read_kprobe_events(events),
        # Most logs do not say which trace_clock they were taken with.
        clock={"name": opened.clock or "unknown", "offset_ns": None},
        origin=origin,
        warn_sites=sources.warn_sites,
        created_ns=created_ns,
    )
    return _copy(source, opened.log, out, header, sources)


def _copy(
    source: Input, opened: Log, out: Path | Output, header: Header, sources: "_Sources"
) -> Imported:
    derived = 0
    losses = Losses()
    batches = _with_damage(source, opened.batches())
    first = next(batches, None)  # what is no such log says so now: before there is a file
    machine = sources.machine(source.name, opened.release)
    if opened.arch is not None:
        machine = _foreign(machine, opened, source.name)
    deriver = Deriver(machine.window, _section_pages(machine))
    page_size = machine.window.page_size if machine.window else None
    target = new_file(out) if isinstance(out, Path) else nullcontext(out)
    with target as file, CountingWriter(file, replace(header, machine=machine)) as writer:

        def derive(batch: Batch) -> "pa.RecordBatch":
            return deriver.feed(in_pages(batch.events, page_size))

        every = chain(() if first is None else (first,), batches)
        for batch, rows_of in in_order(every, derive, _many, threads=1):
            rows = rows_of()
            derived += rows.num_rows - batch.events.num_rows
            losses += batch.losses
            writer.write(replace(batch, events=rows))
        notes = (*sources.about, *opened.notes, *deriver.notes)
        # Of what came through a pipe the digest is only known now.
        late = () if "sha256" in header.origin else (f"sha256 of the log: {source.sha256}",)
        writer.close(notes=(*notes, *late))
    if source.torn:
        notes += ("the packed file is damaged or cut short: what came before that is imported",)
    return Imported(writer.rows, derived, losses, notes, machine)


def _many(batch: Batch) -> bool:
    """Whether a batch is worth a thread."""
    return int(batch.events.num_rows) >= _MANY


def _with_damage(source: Input, log: Iterator[Batch]) -> Iterator[Batch]:
    """Yield the batches, then a loss for a damaged packed file, unless a torn line was counted."""
    torn = 0
    try:
        for batch in log:
            torn += batch.losses.torn
            yield batch
    except OSError as error:
        raise LogError(error.strerror or str(error)) from error
    if source.torn and not torn:
        yield Batch(NO_ROWS, Losses(torn=1))


def _recognised(source: Input) -> Format:
    head = source.peek(lambda head: formats.recognise(head) is not None)
    # Text is in memory, too: of a log, but of other things as well.
    chosen = None if looks_like_core(head) else formats.recognise(head)
    if chosen is None:
        if source.torn and not head:
            raise LogError(f"{source.name} is damaged or cut short: nothing of it can be unpacked")
        known = ", ".join(each.title for each in formats.FORMATS)
        raise LogError(f"{source.name} {describe_log(head, known)}")
    return chosen


def _foreign(machine: Machine, log: Log, name: str) -> Machine:
    """Return the machine of a log of another architecture: nothing can be judged by its window."""
    problem = f"{name} is of {log.arch}: not an arm64 log, so nothing in it is judged"
    problems = (*machine.problems, problem)
    return replace(
        machine, arch=log.arch, release=log.release, window=None, layout=None, problems=problems
    )


def _image(vmlinux: Path | None) -> "AbstractContextManager[KernelImage | None]":
    if vmlinux is None:
        return nullcontext()
    from tracers.constants.image.kernel_image import open_kernel  # noqa: PLC0415 (only where it is needed)

    return open_kernel(vmlinux)


class _Sources:
    """All that describes the machine besides the log, and with it."""

    def __init__(
        self,
        folder: Path | None,
        image: "KernelImage | None",
        facts: Mapping[str, Told],
        release: tuple[str, str] | None,
        about: tuple[str, ...] = (),
    ) -> None:
        self.folder = folder
        self.about = about  # notes on where the log is from
        self.image = image
        self.warn_sites: tuple[str, ...] = ()  # "file:line" of the WARNs where we look
        self._facts = facts
        self._releases = [] if release is None else [release]
        self._files = SideFiles()
        if folder is not None and image is None:
            self._files = side_files(folder)
        self._known: Machine | None = None

    def add(self, told: LogTold) -> None:
        """Take in what the log tells before it is read: it comes after all others."""
        facts = {name: list(values) for name, values in self._facts.items()}
        for name, values in told.facts.items():
            facts.setdefault(name, []).extend(values)
        self._facts = facts
        if told.release is not None:
            self._releases.append(told.release)
        self._known = None

    def machine(self, log: str = "", release: str | None = None) -> Machine:
        """Return the machine; ``release``: of the log of that name, once it is known."""
        if self._known is not None and release in (None, self._known.release):
            return self._known
        releases = list(self._releases)
        if release is not None and release not in (each for _, each in releases):
            releases.append((log, release))
        if self.image is None:
            self._known = assemble(self._files, facts=self._facts, releases=releases)
            return self._known
        # Only now: the code methods load a disassembler.
        from tracers.constants.gather import gather  # noqa: PLC0415

        constants = gather(
            self.image, machine_dir=self.folder, facts=self._facts, releases=releases
        )
        self.warn_sites = tuple(f"{site.file}:{site.line}" for site in constants.warn_sites)
        self._known = constants.machine()
        return self._known


def _section_pages(machine: Machine) -> int | None:
    try:
        return machine.window.section_pages if machine.window else None
    except WindowError:  # page or section size unknown: the deriver says so in its notes
        return None


def _kprobe_events(machine_dir: Path | None) -> str:
    if machine_dir is None:
        return ""
    path = machine_dir / "kprobe_events"
    try:
        return read_regular(path, _PROBES_BYTES).decode("utf-8", "replace")
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise MachineError(f"{path}: {error.strerror or error}") from error
