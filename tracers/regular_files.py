# SPDX-License-Identifier: GPL-2.0-only
"""Opens files to be read: regular ones, and of the kernel's own only what reading leaves there.

Promises: what a name leads to is looked at before it is opened, for opening alone acts on some
devices (a watchdog, a tape) and waits for a FIFO's writer; and it is looked at again once it is
open. An ``OSError`` of ours has a ``strerror`` that reads on behind the file's name.

Source: fs/proc/kmsg.c (a regular file by its mode, whose reading waits, and takes the log away
from the log daemon), kernel/trace/trace.c (trace_pipe).
"""

import errno
import os
import re
import stat
from pathlib import Path
from typing import Final

_SAVE: Final = ": save what it gives to a file first"
_WHAT: Final = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: f"a pipe{_SAVE}",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: f"a device{_SAVE}",
    stat.S_IFBLK: f"a block device{_SAVE}",
}
#: Where files are made by the kernel while they are read; their sizes say nothing.
_OF_KERNEL: Final = frozenset({"proc", "sysfs", "tracefs", "debugfs"})
_CONSUMED: Final = frozenset({"kmsg", "trace_pipe", "trace_pipe_raw", "snapshot_raw"})


def open_regular(path: Path) -> int:
    """Return a descriptor of the regular file ``path``, open for reading.

    Raises:
        OSError: it cannot be opened, is no regular file, or reading it would consume it.
        ValueError: no file can have such a name.
    """
    _check(path.stat(), path)
    # O_NONBLOCK: should it have become a pipe by now, opening must not wait for its writer.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        _check(os.fstat(handle), path)
    except OSError:
        os.close(handle)
        raise
    return handle


def read_regular(path: Path, most: int) -> bytes:
    """Return the first ``most`` bytes of the regular file ``path``. Raises as ``open_regular``."""
    with os.fdopen(open_regular(path), "rb") as stream:
        return stream.read(most)


def what(mode: int) -> str | None:
    """Return what a file of that mode is, None if it is a regular one."""
    return None if stat.S_ISREG(mode) else _WHAT.get(stat.S_IFMT(mode), "something unknown")


def of_kernel(status: os.stat_result) -> bool:
    """Return whether the kernel makes the file's content when it is read."""
    return _file_system(status.st_dev) in _OF_KERNEL


def consumed(status: os.stat_result, path: Path) -> str | None:
    """Return the file's own name if reading it takes what is read away from others."""
    name = Path(os.path.realpath(path)).name
    return name if name in _CONSUMED and of_kernel(status) else None


def _check(status: os.stat_result, path: Path) -> None:
    if (other := what(status.st_mode)) is not None:
        raise OSError(errno.EINVAL, f"not a regular file but {other}")
    if consumed(status, path) is not None:
        raise OSError(errno.EINVAL, "not read: reading takes away what others wait for there")


def _file_system(device: int) -> str | None:
    """Return the type of the mounted file system with that number."""
    number = f"{os.major(device)}:{os.minor(device)}"
    try:
        mounts = Path("/proc/self/mountinfo").read_text("utf-8", "backslashreplace")
    except OSError:
        return None
    found = re.search(rf"^\d+ \d+ {number} .* - (\S+) ", mounts, re.MULTILINE)
    return found[1] if found else None
