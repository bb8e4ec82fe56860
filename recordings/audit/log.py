# SPDX-License-Identifier: GPL-2.0-only
"""What a kernel log says of the window since boot, for an audit: WARNs, calls and Oopses.

Promises: the numbers are the ledger's, as a recording imported from the same log has them; they are
lower bounds, as those of any log. Only the boot the log ends with counts: of those before, nothing
is mapped any more.
"""

from dataclasses import dataclass, replace
from pathlib import Path

from recordings.ledger.ledger import Ledger
from recordings.ledger.snapshot import Extent, Snapshot
from tracers.batch import Losses
from tracers.logs.dmesg.reader import DmesgLog
from tracers.logs.dmesg.scan import looks_like_dmesg
from tracers.logs.input_files import Input
from tracers.logs.kprobe_text.text_log import LogError
from tracers.logs.line_blocks import Readable
from tracers.machine import Machine


@dataclass(frozen=True, slots=True)
class Logged:
    """The numbers of a log. ``outside``: the stretches outside the window that calls named."""

    lines: int
    warnings: int
    hits: int
    faults: int  # Oopses at struct pages outside the window
    unproven: int  # calls and Oopses whose range is not known
    outside: tuple[Extent, ...]
    losses: Losses
    notes: tuple[str, ...] = ()  # parts come from the log: escape them


def read_log(stream: Readable, machine: Machine) -> Logged:
    """Return what a log says, judged by the machine's window.

    Raises:
        LogError: it cannot be read as a kernel log.
        OSError: reading failed.
    """
    log = DmesgLog(stream, window=machine.window, release=machine.release)
    ledger = Ledger(machine.window, machine.layout, agree=machine.agree, arch=machine.arch)
    for batch in log.batches():
        ledger.fold(batch)
    snapshot: Snapshot = ledger.snapshot(final=True)
    return Logged(
        log.lines,
        snapshot.warnings,
        snapshot.hits,
        snapshot.fault_regimes.hits,
        snapshot.regimes.unknown + snapshot.fault_regimes.unknown,
        snapshot.extents,
        snapshot.losses,
        log.notes,
    )


def read_log_file(path: Path, machine: Machine) -> Logged:
    """Return what the log in a file says, packed or not, in whatever container.

    Raises:
        LogError: it cannot be read as a kernel log.
        OSError: it cannot be opened or read.
        PackedError: it cannot be unpacked.
    """
    with Input(path) as source:
        source.take_out()
        head = source.peek(looks_like_dmesg)
        if head and not looks_like_dmesg(head):
            raise LogError(f"{path}: not a kernel log: it has no line of one")
        found = read_log(source, machine)
        return replace(found, losses=found.losses + Losses(torn=int(source.torn)))
