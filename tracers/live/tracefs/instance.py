# SPDX-License-Identifier: GPL-2.0-only
"""A private tracefs instance, with ring buffers and settings separate from other tracing.

Promises: after ``remove`` nothing of it is left; losses are the kernel's own counts.
"""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from tracers.live.probes.engine import AttachError, LiveError
from tracers.live.tracefs import cleanup
from tracers.live.tracefs.ring_pages import EventFormat, Layout

_AT_ONCE: Final = 256  # pages: bounds what one pass of NumPy holds
_BUFFER: Final = 8 << 20  # bytes per CPU …
_SHARE: Final = 16  # … but in total not more than this fraction of MemAvailable
#: Options that may be on by default and would add records between ours; see
#: Documentation/trace/ftrace.rst. Those that a kernel does not have are skipped.
_PLAIN: Final = {
    "options/overwrite": "1",
    "options/stacktrace": "0",
    "options/userstacktrace": "0",
    "options/pause-on-trace": "0",
    "buffer_percent": "0",  # wake a reader at the first event, not at a half-full ring
}


class Instance:
    """tracefs/instances/NAME, and the group of kprobe events of the same name."""

    def __init__(self, root: Path) -> None:
        """Make it, with tracing off. Raises ``LiveError``."""
        self.tracing = cleanup.tracing(root)
        self.name = cleanup.new_name(root)
        self._path = self.tracing / "instances" / self.name
        self._cleanup_shell: cleanup.CleanupShell | None = cleanup.CleanupShell(
            self.tracing, self.name
        )
        self._rings: dict[int, int] = {}  # CPU: descriptor
        self._lost: dict[int, int] = {}
        try:
            self._path.mkdir(mode=0o700)
            self._set("tracing_on", "0")
            self._set("trace_clock", "mono")
            self._set("buffer_size_kb", str(_size(root, os.cpu_count() or 1) >> 10))
            for option, value in _PLAIN.items():
                if (self._path / option).exists():
                    self._set(option, value)
            self.layout = Layout.parse(
                (self.tracing / "events/header_page").read_text(),
                (self.tracing / "events/header_event").read_text(),
            )
            for path in self._path.glob("per_cpu/cpu*/trace_pipe_raw"):
                cpu = int(path.parent.name.removeprefix("cpu"))
                self._rings[cpu] = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            self.remove()
            raise LiveError(
                f"tracefs: {error.strerror} ({error.filename}): root is needed, and a kernel that"
                " is not locked down (see /sys/kernel/security/lockdown)"
            ) from error
        except LiveError:
            self.remove()
            raise
        self._pages = np.zeros((_AT_ONCE, self.layout.size), np.uint8)

    def _set(self, file: str, value: str) -> None:
        path = self._path / file
        try:
            path.write_text(value)
        except OSError as error:
            error.filename = path
            raise

    @property
    def descriptors(self) -> list[int]:
        """Descriptors that become readable with new records."""
        return list(self._rings.values())

    def define(self, definition: str) -> None:
        """Add a kprobe event. Raises ``AttachError`` with the kernel's own reason."""
        try:
            cleanup.append(self.tracing / "kprobe_events", definition)
        except OSError as error:
            raise AttachError(self._why(definition, error)) from error

    def _why(self, definition: str, error: OSError) -> str:
        try:
            log = (self.tracing / "error_log").read_text()  # since 5.2
        except OSError:
            log = ""
        errors = re.findall(r"error: (.*)\n\s*Command: (.*)\n", log)
        reasons = [reason for reason, command in errors if command.strip() == definition]
        return f"{reasons[-1]} ({error.strerror})" if reasons else f"{error.strerror}"

    def undefine(self, event: str) -> None:
        """Remove a kprobe event that is not enabled."""
        cleanup.append(self.tracing / "kprobe_events", f"-:{self.name}/{event}")

    def format(self, event: str) -> EventFormat | None:
        """Return the layout of GROUP/EVENT; None where the kernel has no such event."""
        try:
            return EventFormat.parse((self._path / "events" / event / "format").read_text())
        except FileNotFoundError:
            return None

    def enable(self, files: Iterable[str], comm: str | None, pid: int | None) -> None:
        """Filter and enable these events (``GROUP`` or ``GROUP/EVENT``), then turn tracing on."""
        try:
            if pid is not None:
                # its children are traced, too: they are filtered out later by their thread group
                self._set("options/event-fork", "1")
                tasks = sorted(Path(f"/proc/{pid}/task").iterdir())
                self._set("set_event_pid", " ".join(task.name for task in tasks))
            for file in files:
                if comm is not None:
                    self._set(f"events/{file}/filter", f'COMM == "{comm}"')
                self._set(f"events/{file}/enable", "1")
            self._set("tracing_on", "1")
        except OSError as error:
            raise LiveError(f"tracefs: {error.strerror} ({error.filename})") from error

    def disable(self, files: Iterable[str]) -> None:
        """Turn tracing off, then disable these events; records stay."""
        self._set("tracing_on", "0")
        for file in files:
            self._set(f"events/{file}/enable", "0")

    def drain(
        self, until: int | None
    ) -> Iterator[tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64], int]]:
        """Yield pages in bounded parts: uint8[N, size], their CPUs, and the number of short reads.

        ``until``: ns; pages that begin later may stay in the ring. The memory of a part is
        reused for the next.
        """
        filled, torn, cpus = 0, 0, np.zeros(_AT_ONCE, np.int64)
        at = self.layout.timestamp
        for cpu, ring in self._rings.items():
            began = 0
            while until is None or began <= until:
                page = self._pages[filled]
                try:
                    size = os.readv(ring, [memoryview(page)])
                except BlockingIOError:
                    break
                if not size:
                    break
                if size < self.layout.size:
                    torn += 1
                    continue
                began = int.from_bytes(bytes(page[at : at + 8]), "little")
                cpus[filled] = cpu
                filled += 1
                if filled == _AT_ONCE:
                    yield self._pages, cpus, torn
                    filled, torn = 0, 0
        if filled or torn:
            yield self._pages[:filled], cpus[:filled], torn

    def losses(self, cpus: Iterable[int] | None = None) -> dict[int, int]:
        """Return events lost by CPU since the last call, as the kernel counts them.

        "overrun": overwritten before they were read; "commit overrun" and "dropped events": never
        written (kernel/trace/trace.c, tracing_stats_read).
        """
        more = {}
        for cpu in self._rings if cpus is None else cpus:
            text = (self._path / f"per_cpu/cpu{cpu}/stats").read_text()
            stats = dict(re.findall(r"^([a-z ]+): (\d+)$", text, re.MULTILINE))
            total = sum(
                int(stats.get(name, 0)) for name in ("overrun", "commit overrun", "dropped events")
            )
            if total > self._lost.get(cpu, 0):
                more[cpu] = total - self._lost.get(cpu, 0)
                self._lost[cpu] = total
        return more

    def misses(self) -> dict[str, int]:
        """Return how many hits of each of our kprobe events the kernel missed (kprobe_profile)."""
        try:
            text = (self.tracing / "kprobe_profile").read_text()
        except OSError:
            return {}
        return {name: int(missed) for name, _, missed in map(str.split, text.splitlines())}

    def remove(self) -> str | None:
        """Remove instance and events; return what stays and why. Safe to call again."""
        for ring in self._rings.values():
            os.close(ring)
        self._rings.clear()
        kept = cleanup.clear(self.tracing, self.name)
        if self._cleanup_shell is not None:
            self._cleanup_shell.dismiss(clean=kept is None)
            self._cleanup_shell = None
        return kept


def _size(root: Path, cpus: int) -> int:
    """Return the ring's bytes per CPU: generous, but a small part of the available memory."""
    try:
        text = (root / "proc/meminfo").read_text()
        free = int(re.findall(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)[0]) << 10
    except (OSError, IndexError):
        return _BUFFER >> 3
    return max(min(_BUFFER, free // _SHARE // cpus), 128 << 10)
