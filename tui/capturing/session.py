# SPDX-License-Identifier: GPL-2.0-only
"""Runs a capture for a command: attaches the probes, opens the file, waits for the end.

stdout is for data, and only with ``-o -``; messages go to stderr, and a closed stderr is no error.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, TypedDict, Unpack

import click

from recordings.audit.kept import audited
from recordings.capture.drain import Capture, EventFeed, header_of
from recordings.capture.rotation import Limits, Rotation
from recordings.format.output_files import exists_already
from recordings.ledger.audited import Audited
from recordings.ledger.headline import WORDS, verdict_summary
from recordings.ledger.sink import Sink
from recordings.reports.probe_summary import summary, watching
from recordings.wording.escape import printable
from recordings.wording.units import count, size
from tracers.errors import VmemscopeError
from tracers.live.doctor.panics import PANICS, panicking
from tracers.live.probes.points import Filters, Rung, Watch
from tracers.live.session import open_live
from tui.capturing.pipe import Pipe
from tui.capturing.signals import Signals
from tui.capturing.systemd import notify
from tui.streams import say, stdout_is_open

EXIT_FAILED: Final = 2
_CHECK_S: Final = 0.5  # between two checks for captured events
#: Events that may wait while more come: folding takes the interpreter lock from the capture.
_FOLD_AT: Final = 1 << 16
_GRACE_S: Final = 5.0  # for COMMAND to end after it was sent a signal


class Options(TypedDict):
    """The command-line options for the source of events."""

    engine: str
    pid: int | None
    comm: str | None
    hits_only: bool
    light: bool
    timing: bool
    rung: str
    vmlinux: Path | None
    audit: bool


def record(
    output: str,
    limits: Limits,
    command: Sequence[str],
    *,
    duration: float | None,
    **options: Unpack[Options],
) -> int:
    """Record until a signal, the end of ``command`` or of ``duration`` seconds; the exit code."""
    target = _target(output, limits)
    if command and shutil.which(command[0]) is None:
        raise click.UsageError(f"{command[0]}: no such command, or it cannot be executed")
    if isinstance(target, Path):
        for line in panics():
            say(f"warning: {line}")
    with Signals() as signals:
        capture = begin(open_source(signals, **options), target, limits, audit=options["audit"])
        process = None
        try:
            report_start(capture)
            notify("READY=1", f"STATUS=recording to {printable(str(output))}")
            process = _run(command, streaming=not isinstance(target, Path))
            reason = _watch(capture, signals, process, duration)
        except BaseException as error:
            capture.stop(f"ended by {type(error).__name__}")
            raise
        notify("STOPPING=1")
        if isinstance(target, Pipe):
            target.give_up(_GRACE_S)
        capture.stop(reason)
        if process is not None:
            say(_exit_message(process, command[0]))
        return report_end(capture)  # no signal shall change the exit code now


def open_source(signals: Signals, **options: Unpack[Options]) -> EventFeed:
    """Attach what the options ask for; every error is a ``VmemscopeError``."""
    comm = options["comm"]
    if comm is not None and not 0 < len(os.fsencode(comm)) <= 15:
        raise click.UsageError("--comm: a thread's name has 1 to 15 bytes")
    source = open_live(
        engine=options["engine"],
        first=Rung(options["rung"]),
        filters=Filters(pid=options["pid"], comm=comm),
        hits_only=options["hits_only"],
        watch=_watch_of(options),
        vmlinux=options["vmlinux"],
    )
    early = signals.take()
    if early:
        source.close()
        raise VmemscopeError(f"{early.name} came before the probes were on: nothing was recorded")
    return source


def _watch_of(options: Options) -> Watch:
    if options["light"] and options["timing"]:
        raise click.UsageError("--light and --timing: one of them")
    return Watch.LIGHT if options["light"] else Watch.TIMING if options["timing"] else Watch.ALL


def begin(
    source: EventFeed,
    target: Path | Pipe | None,
    limits: Limits,
    *,
    sink: Sink | None = None,
    audit: bool = True,
) -> Capture:
    """Make the file and enable the probes; nothing is left of either if one cannot be.

    ``sink`` gets what is found in the events, for who looks at them meanwhile. ``audit``: look at
    what the machine has mapped before the probes are on, and once they are off.
    """
    out: Rotation | None = None
    try:
        look = audited if audit else None
        header = header_of(source, look(source.machine) if look else None)
        if target is not None:
            out = Rotation(target, header, limits)
        capture = Capture(source, out, sink=sink, header=header, audit=look)
        capture.start()
    except BaseException as error:
        source.close()
        if out is not None:
            out.discard()
        if isinstance(error, OSError):
            text = error.strerror or error
            raise VmemscopeError(f"the capture cannot start: {text}") from error
        raise
    return capture


def report_start(capture: Capture) -> None:
    """Print that the probes are on, and which."""
    header = capture.header
    engine = header.origin.get("live", "live")
    say(f"{watching(header.probes)} (engine {engine}): {summary(header.probes)}")
    for note in (*header.machine.problems, *header.notes):
        say(f"note: {note}")
    before = Audited.from_dict(header.audit)
    if before.outside:
        say(f"before: {before.told} outside the window")
    if before.since_boot:
        say(f"since boot, by the kernel log: {before.since_boot}")


def report_end(capture: Capture) -> int:
    """Print what was recorded and its verdict; return the exit code."""
    out = capture.out
    if out is not None:
        for line in _file_lines(out):
            say(line)
    else:
        say(f"{count(capture.events)} events, not recorded")
    snapshot = capture.snapshot()
    say(f"{WORDS[snapshot.verdict]}: {verdict_summary(snapshot)}")
    for text in (*snapshot.verdict_reasons[1:], *capture.closing):
        say(text)
    if not capture.failure:
        return snapshot.verdict.exit_code
    if out is not None and out.unwritten:
        say(f"{count(out.unwritten)} events could not be written")
    say(f"vmemscope: {capture.failure}")
    return EXIT_FAILED


def panics(root: Path = Path("/")) -> Iterator[str]:
    """Yield a line for each setting that lets a WARN or Oops take the machine down."""
    for name, on in panicking(root).items():
        if on:
            yield (
                f"kernel.{name} is set: {PANICS[name]} ends this machine, and what is recorded "
                "here may be lost with it; stream it away: "
                "vmemscope record -o - | ssh HOST 'cat > FILE'"
            )


def _target(output: str, limits: Limits) -> Path | Pipe:
    """Return the path of the new file, or a pipe to stdout."""
    if limits.keep is not None and not limits:
        raise click.UsageError("--keep needs --rotate-size or --rotate-time")
    if output != "-":
        return unused_path(Path(output))
    if limits:
        raise click.UsageError("a stream cannot be rotated: name a FILE")
    if not stdout_is_open():
        raise VmemscopeError("stdout is closed: there is nowhere to stream to")
    if sys.stdout.isatty():
        raise click.UsageError("-o - is for a pipe or a file, not for a terminal")
    return Pipe(os.dup(1))


def unused_path(path: Path) -> Path:
    """Return ``path``, raise if it exists: before the probes are attached."""
    if os.path.lexists(path):
        raise exists_already(path)
    return path


def _run(command: Sequence[str], *, streaming: bool) -> subprocess.Popen[bytes] | None:
    if not command:
        return None
    try:
        return subprocess.Popen(  # noqa: S603
            command,
            stdout=2 if streaming else None,
            env={name: text for name, text in os.environ.items() if name != "NOTIFY_SOCKET"},
        )
    except OSError as error:
        raise VmemscopeError(f"{command[0]}: cannot be run: {error.strerror}") from error


def _watch(
    capture: Capture,
    signals: Signals,
    process: subprocess.Popen[bytes] | None,
    duration: float | None,
) -> str:
    """Fold new events in quiet moments until there is a reason to stop; return the reason."""
    reason = ""
    events_before = 0
    deadline = None if duration is None else capture.started + duration
    early = ""  # what was asked for is more than "until a signal"
    if process is not None:
        early = " before the command ended"
    elif duration is not None:
        early = " before its time was over"
    while capture.running:
        now = time.monotonic()
        number = signals.wait(_CHECK_S if deadline is None else min(_CHECK_S, deadline - now))
        if capture.events == events_before or capture.waiting >= _FOLD_AT:
            capture.fold()
        events_before = capture.events
        if process is not None and process.poll() is not None:
            return reason or "command ended"
        if number is not None and (reason or process is None):
            return reason or number.name + early
        if number is not None and process is not None:
            process.send_signal(number)
            reason, deadline = number.name + early, time.monotonic() + _GRACE_S
        elif deadline is not None and time.monotonic() >= deadline:
            return reason or "duration over"
        if capture.failure and process is None:
            return capture.failure
    return capture.failure or "the source ended"


def _exit_message(process: subprocess.Popen[bytes], name: str) -> str:
    code = process.poll()
    if code is None:
        return f"{name} (pid {process.pid}) still runs: not waited for"
    if code < 0:
        return f"{name} was killed by {signal.Signals(-code).name}"
    return f"{name} ended with status {code}"


def _file_lines(out: Rotation) -> Iterator[str]:
    deleted = [part for part in out.parts if part.deleted]
    if deleted:
        events = sum(part.events for part in deleted)
        yield f"{count(len(deleted))} older files deleted, with {count(events)} events"
    for part in out.parts:
        if not part.deleted:
            yield f"{part.name}: {count(part.events)} events, {size(part.size)}"
    if out.problem:
        yield f"note: {out.problem}"
