# SPDX-License-Identifier: GPL-2.0-only
"""Opens the perf events that run a BPF program: kprobes, return probes, breakpoints, tracepoint.

BCC's own attach functions fall back to tracefs when perf_event_open fails, where a probe outlives
its process, and print the reason only on stderr. The events here are held by file descriptors: they
end with the process, and the kernel's error number is available.
"""

import ctypes
import errno
import fcntl
import os
import platform
import signal
import struct
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from tracers.live.perf_event import ATTR_SIZE, open_event
from tracers.live.probes.engine import AttachError, LiveError
from tracers.live.probes.points import ProbeAddress

# include/uapi/linux/perf_event.h
_TYPE_TRACEPOINT: Final = 2
_TYPE_BREAKPOINT: Final = 5
_IOC_ENABLE: Final = 0x2400
_IOC_SET_BPF: Final = 0x40042408
_BREAKPOINT_X: Final = 4  # HW_BREAKPOINT_X
_DISABLED: Final = 1
_STEPPING_S: Final = 3.0  # far more than a call of getppid takes

#: arm64 takes the length of an instruction, x86 that of a long (hw_breakpoint.c of each)
_BREAKPOINT_BYTES: Final = {"aarch64": 4}
_REASONS: Final = {
    errno.EINVAL: "not traceable (notrace), or no place for a probe",
    errno.EILSEQ: "no instruction begins there",
    errno.ENOENT: "the kernel knows no such symbol",
    errno.EADDRNOTAVAIL: "several symbols have this name",
    errno.ENOSPC: "all breakpoint slots of the CPU are taken",
    errno.EOPNOTSUPP: "no hardware breakpoints here",
    errno.EPERM: "not permitted: root is needed, and a kernel that is not locked down",
    errno.EACCES: "not permitted: root is needed, and a kernel that is not locked down",
    errno.EMFILE: "out of file descriptors: raise ulimit -n",
}


def reason(error: OSError) -> str:
    """Return why the kernel rejected an event: a description and the error's name."""
    number = error.errno or 0
    words = _REASONS.get(number) or os.strerror(number)
    return f"{words} ({errno.errorcode.get(number, str(number))})"


class Kprobes:
    """The perf PMU ``kprobe`` (4.17, commit e12f03d7031a): probes bound to a file descriptor."""

    def __init__(self, root: Path, cpu: int) -> None:
        """Events are opened on ``cpu``, any that is online: their programs run on all."""
        directory = root / "sys/bus/event_source/devices/kprobe"
        try:
            self._type = int((directory / "type").read_text("ascii"))
            bits = (directory / "format/retprobe").read_text("ascii")  # "config:0"
            self._return_bit = 1 << int(bits.partition(":")[2])
        except (OSError, ValueError):
            raise LiveError(
                "the kernel has no kprobes for perf (CONFIG_KPROBE_EVENTS): use --engine tracefs"
            ) from None
        self._cpu = cpu

    def open(self, target: ProbeAddress, *, returns: bool, program: int) -> int:
        """Return the fd of a probe at ``target`` that runs ``program``. Raises ``AttachError``."""
        name = ctypes.create_string_buffer(target.symbol.encode())
        by_name = not target.address
        try:
            return _open(
                self._type,
                config=self._return_bit if returns else 0,
                config1=ctypes.addressof(name) if by_name else 0,
                config2=target.offset if by_name else target.address,
                cpu=self._cpu,
                program=program,
            )
        except OSError as error:
            raise AttachError(f"{target}: {reason(error)}") from None


def open_breakpoint(target: ProbeAddress, cpu: int, program: int, *, pid: int = -1) -> int:
    """Return the fd of an execution breakpoint on one CPU. Raises ``AttachError``."""
    try:
        return _open(
            _TYPE_BREAKPOINT,
            bp_type=_BREAKPOINT_X,
            config1=target.address,
            config2=_BREAKPOINT_BYTES.get(platform.machine(), 8),
            period=1,
            cpu=cpu,
            pid=pid,
            program=program,
        )
    except OSError as error:
        raise AttachError(f"breakpoint at {target}: {reason(error)}") from None


def check_stepping(program: int) -> None:
    """Raise ``AttachError`` where a breakpoint with a program repeats its instruction for ever.

    arm64 stepped over such a breakpoint only if it had the default overflow handler: a kernel
    without commit d11a69873d9a ("hw_breakpoint: fix single-stepping when using
    bpf_overflow_handler", 6.6 and stable) would execute the same instruction for ever. So a child
    process tries it on its own getppid, where a signal can end it.
    """
    libc = ctypes.CDLL(None)
    getppid = ctypes.cast(libc.getppid, ctypes.c_void_p).value or 0
    ready, go = os.pipe()
    child = os.fork()
    if not child:
        os.read(ready, 1)
        libc.getppid()
        os._exit(0)
    done, fd = False, -1
    try:
        fd = open_breakpoint(ProbeAddress("getppid", 0, getppid), -1, program, pid=child)
        os.write(go, b"1")
        deadline = time.monotonic() + _STEPPING_S
        while not done and time.monotonic() < deadline:
            time.sleep(0.002)
            done = os.waitpid(child, os.WNOHANG)[0] == child
    finally:
        for descriptor in (ready, go, *([fd] if fd >= 0 else [])):
            os.close(descriptor)
        if not done:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    if not done:
        raise AttachError(
            "this kernel repeats a breakpoint with a BPF program for ever: it lacks d11a69873d9a"
        )


def open_tracepoint(root: Path, name: str, cpu: int, program: int) -> int | None:
    """Return the fd of tracepoint ``group/name``, or None where the kernel has none."""
    for mount in ("sys/kernel/tracing", "sys/kernel/debug/tracing"):
        with suppress(OSError, ValueError):
            number = int((root / mount / "events" / name / "id").read_text("ascii"))
            return _open(_TYPE_TRACEPOINT, config=number, period=1, cpu=cpu, program=program)
    return None


def _open(
    kind: int,
    *,
    cpu: int,
    program: int,
    config: int = 0,
    config1: int = 0,
    config2: int = 0,
    period: int = 0,
    bp_type: int = 0,
    pid: int = -1,
) -> int:
    """Open the event with its program and let it run. Raises ``OSError``."""
    attr = struct.pack(
        "<IIQQQQQIIQQ",
        *(kind, ATTR_SIZE, config, period, 0, 0, _DISABLED, 0, bp_type, config1, config2),
    )
    fd = open_event(attr, thread=pid, cpu=cpu)
    try:
        fcntl.ioctl(fd, _IOC_SET_BPF, program)
        fcntl.ioctl(fd, _IOC_ENABLE, 0)
    except OSError:
        os.close(fd)
        raise
    return fd
