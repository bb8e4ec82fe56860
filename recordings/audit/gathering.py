# SPDX-License-Identifier: GPL-2.0-only
"""Makes an audit: of the running kernel, of a machine's files, of a dump of its memory.

Promises: what cannot be read is said in the audit; only what was named and is unusable raises.
"""

from io import BytesIO
from pathlib import Path
from typing import Final

from recordings.audit.audit import Audit, audit
from recordings.audit.log import Logged, read_log, read_log_file
from tracers.constants.core_file import Core
from tracers.errors import VmemscopeError
from tracers.live.kmsg.ring import read_ring
from tracers.live.probes.engine import LiveError
from tracers.logs.printk_ring import PrintkRing, PrintkRingError
from tracers.machine import Machine
from tracers.mapped.sources import ask_dump, ask_folder, ask_running

#: A machine's kernel log beside its other files; the first that is there.
_LOGS: Final = ("dmesg.txt", "dmesg", "dmesg.log", "kern.log")


def of_folder(folder: Path, log: Path | None = None) -> Audit:
    """Return the audit of a machine's side files, and of ``log`` or the log beside them.

    Raises:
        VmemscopeError: nothing in it describes a machine, or ``log`` is no kernel log.
    """
    sources = ask_folder(folder)
    beside = next((folder / name for name in _LOGS if (folder / name).is_file()), None)
    logged, why = _log(log, beside, sources.machine)
    return audit(sources, logged, why or f"none of {', '.join(_LOGS)}")


def of_running(
    log: Path | None = None, root: Path = Path("/"), machine: Machine | None = None
) -> Audit:
    """Return the audit of the running kernel; ``machine``: where it is known before.

    Raises:
        VmemscopeError: it is not arm64, or ``log`` is no kernel log.
    """
    sources = ask_running(root, machine)
    if log is not None:
        return audit(sources, read_log_file(log, sources.machine))
    try:
        ring = read_ring(root)
    except LiveError as error:
        return audit(sources, None, str(error))
    logged = read_log(BytesIO(ring.text), sources.machine)  # it finds the gaps by their numbers
    return audit(sources, logged, told=ring.describe)


def of_vmcore(path: Path, log: Path | None = None) -> Audit:
    """Return the audit of a dump of a kernel's memory, and of the log in it.

    Raises:
        VmemscopeError: it is no dump of an arm64 kernel, or ``log`` is no kernel log.
    """
    with Core(path) as core:
        sources = ask_dump(core)
        if log is not None:
            return audit(sources, read_log_file(log, sources.machine))
        try:
            ring = PrintkRing(core)
            text = b"".join(ring.lines(callers=True))
        except PrintkRingError as error:
            return audit(sources, None, str(error))
    told = f"{ring.records:,} records of the printk ring, {ring.lost:,} lost"
    logged = read_log(BytesIO(text), sources.machine)
    return audit(sources, logged, told=told)


def _log(given: Path | None, beside: Path | None, machine: Machine) -> tuple[Logged | None, str]:
    if given is not None:
        return read_log_file(given, machine), ""
    if beside is None:
        return None, ""
    try:
        return read_log_file(beside, machine), ""
    except (OSError, VmemscopeError) as error:
        return None, str(error)
