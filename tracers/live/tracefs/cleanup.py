# SPDX-License-Identifier: GPL-2.0-only
"""Removes from tracefs what a killed run left: its instance and its kprobe events.

A run's instance and kprobe events have one name: vmemscope_PID_START_NAMESPACE_N, of the process
that made them, its start time (clock ticks since boot) and its pid namespace. So a dead run can be
distinguished from a running one even if the PID was reused. ``CleanupShell``, a shell that waits
for the end of its parent, removes them right after kill -9; if it was killed as well, the next run
does (``remove``). Breakpoints need none of this: they end with their descriptors.
"""

import contextlib
import itertools
import os
import re
import shlex
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tracers.live.probes.engine import LiveError

_NAME: Final = re.compile(r"vmemscope_(\d+)_(\d+)_(\d+)_\d+")
_EVENT: Final = re.compile(r"^[pr]\d*:(vmemscope_\d+_\d+_\d+_\d+)/(\S+)", re.MULTILINE)
_turn = itertools.count()

# Writing "-:GROUP/EVENT" removes one event (kernel: Documentation/trace/kprobetrace.rst). The
# parent's last descriptors may still be closing, so it retries for a while.
_SCRIPT: Final = """
trap '' HUP INT QUIT TERM
read -r word
[ "$word" = done ] && exit
cd {tracing} || exit
turn=0
while [ $turn -lt 50 ]; do
    if [ -d instances/{name} ]; then
        echo 0 > instances/{name}/events/{name}/enable
        rmdir instances/{name}
    fi
    while read -r what where; do
        case $what in [pr]*:{name}/*) echo "-:${{what#*:}}" >> kprobe_events;; esac
    done < kprobe_events
    [ -d instances/{name} ] || grep -q '^[pr].*:{name}/' kprobe_events || exit
    sleep 0.1 || sleep 1
    turn=$((turn + 1))
done
"""


def tracing(root: Path = Path("/")) -> Path:
    """Return where tracefs is mounted. Raises ``LiveError`` that says what to do."""
    for directory in ("sys/kernel/tracing", "sys/kernel/debug/tracing"):
        try:
            if (root / directory / "kprobe_events").exists():
                return root / directory
        except PermissionError as error:
            raise LiveError(
                "tracefs: permission denied; run as root (CAP_DAC_OVERRIDE for tracefs,"
                " CAP_SYS_ADMIN and CAP_PERFMON for breakpoints)"
            ) from error
    if (root / "sys/kernel/tracing/trace").exists():
        raise LiveError("tracefs: no kprobe_events: this kernel is built without KPROBE_EVENTS")
    if mounted(root):
        raise LiveError(
            "tracefs is mounted and empty, as under lockdown=confidentiality: vmemscope doctor"
        )
    raise LiveError("tracefs is not mounted; run: mount -t tracefs nodev /sys/kernel/tracing")


def mounted(root: Path = Path("/")) -> bool:
    """Return whether tracefs is mounted somewhere, with or without anything in it."""
    try:
        lines = (root / "proc/self/mounts").read_text(errors="replace").splitlines()
    except OSError:
        return False
    return any(line.split()[2:3] == ["tracefs"] for line in lines)


def new_name(root: Path = Path("/")) -> str:
    """Return a new name for an instance and a group of events of this process."""
    return f"vmemscope_{os.getpid()}_{_started(root, os.getpid())}_{_namespace(root)}_{next(_turn)}"


def find_stale(root: Path = Path("/")) -> tuple[str, ...]:
    """Return the names whose process is gone. Raises ``LiveError`` where tracefs is not mounted.

    Names of another pid namespace are left alone: whether their process runs is not visible here.
    """
    namespace, stale = _namespace(root), []
    for name in sorted(_names(tracing(root))):
        parts = _NAME.fullmatch(name)
        if parts and int(parts[3]) == namespace and _started(root, int(parts[1])) != int(parts[2]):
            stale.append(name)
    return tuple(stale)


def remove(names: Iterable[str], root: Path = Path("/")) -> tuple[str, ...]:
    """Remove instances and events of these names; return a sentence for each that stays."""
    return tuple(why for name in names if (why := clear(tracing(root), name)))


def clear(where: Path, name: str) -> str | None:
    """Remove one name's instance and events from tracefs; return what stays and why."""
    kept = None
    instance = where / "instances" / name
    with contextlib.suppress(OSError):
        (instance / "events" / name / "enable").write_text("0")
    try:
        instance.rmdir()
    except FileNotFoundError:
        pass
    except OSError as error:
        kept = f"tracefs instance {name} stays: {error.strerror}"
    try:
        lines = (where / "kprobe_events").read_text()
    except OSError:
        return kept
    for group, event in _EVENT.findall(lines):
        if group == name:
            try:
                append(where / "kprobe_events", f"-:{group}/{event}")
            except OSError as error:
                kept = f"kprobe event {group}/{event} stays: {error.strerror}"
    return kept


def append(path: Path, line: str) -> None:
    """Append one line to a tracefs file that holds a list. Raises ``OSError``.

    ``open(path, "a")`` would seek, which tracefs rejects; without O_APPEND it empties the list.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND)
    try:
        os.write(descriptor, line.encode() + b"\n")
    finally:
        os.close(descriptor)


class CleanupShell:
    """A shell process that removes a name from tracefs as soon as this process is gone."""

    def __init__(self, where: Path, name: str) -> None:
        """Start it. Call before anything is created in tracefs."""
        script = _SCRIPT.format(tracing=shlex.quote(str(where)), name=name)
        read, self._write = os.pipe()  # both close on exec: only this process holds the end
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            self._pid = os.posix_spawn(
                "/bin/sh",
                ["/bin/sh", "-c", script],
                {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin"},
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, read, 0),
                    (os.POSIX_SPAWN_DUP2, null, 1),
                    (os.POSIX_SPAWN_DUP2, null, 2),
                ],
                setpgroup=0,  # out of reach of the terminal's Ctrl-C
            )
        except OSError as error:
            os.close(self._write)
            raise LiveError(f"cannot start /bin/sh to clean up after a crash: {error}") from error
        finally:
            os.close(read)
            os.close(null)

    def dismiss(self, *, clean: bool) -> None:
        """End it; where something was left (not ``clean``), it keeps trying for a while.

        Safe to call again.
        """
        if not self._pid:
            return
        with contextlib.suppress(OSError, ChildProcessError):
            if clean:
                os.write(self._write, b"done\n")
        os.close(self._write)
        if clean:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._pid, 0)
        self._pid = 0


def _names(where: Path) -> set[str]:
    """Return all our names in tracefs, of running and of dead processes."""
    names = {path.name for path in (where / "instances").glob("vmemscope_*")}
    with contextlib.suppress(OSError):
        names |= {group for group, _ in _EVENT.findall((where / "kprobe_events").read_text())}
    return names


def _started(root: Path, process: int) -> int | None:
    """Return when a process started, in clock ticks since boot: proc(5), stat field 22."""
    try:
        text = (root / "proc" / str(process) / "stat").read_text()
        return int(text.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return None


def _namespace(root: Path) -> int:
    try:
        return int(re.sub(r"\D", "", str((root / "proc/self/ns/pid").readlink())) or 0)
    except OSError:
        return 0
