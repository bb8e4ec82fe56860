# SPDX-License-Identifier: GPL-2.0-only
"""Reads /dev/kmsg: the kernel's ring of messages from its oldest on, then what comes.

Every reader has a place of its own in the ring, so nothing is taken from anybody, and nothing is
attached or set. Promises: each record is one line as /dev/kmsg has it, without the dictionary
below; what somebody wrote into /dev/kmsg is no word of the kernel's: of records of another facility
than 0 only the number is left; records overwritten before they were read are counted, by their
numbers.

Sources: Documentation/ABI/testing/dev-kmsg; kernel/printk/printk.c: devkmsg_open, devkmsg_read,
devkmsg_write (facility 0 becomes 1), info_print_ext_header, msg_add_dict_text. A read gives one
record, or fails with EPIPE where the next one was overwritten; the read after that goes on.
"""

import errno
import os
import re
import select
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from tracers.live.probes.engine import LiveError

#: More than the longest record: CONSOLE_EXT_LOG_MAX, later PRINTK_MESSAGE_MAX, is 8 KiB at most.
_RECORD: Final = 16 << 10
_AT_ONCE: Final = 1 << 20  # bytes
#: Bytes of a ring: log_buf_len of any machine we know is less.
_MOST: Final = 64 << 20
_HEAD: Final = re.compile(rb"(\d{1,6}),(\d{1,19}),\d{1,19},[^;\n]*;")
_FACILITY: Final = 8  # facility << 3 | level: below it is LOG_KERN
_DENIED: Final = (errno.EPERM, errno.EACCES)


class Ring:
    """/dev/kmsg, open. ``first``, ``last``: numbers of the records read; None: none yet."""

    def __init__(self, root: Path = Path("/")) -> None:
        """Open it, at the oldest record there is. Raises ``LiveError``."""
        path = root / "dev/kmsg"
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise LiveError(_why_not(error)) from error
        self.records = 0
        self.foreign = 0  # of these, of other facilities
        self.damaged = 0  # records without a head: none of a kernel we know
        self.first: int | None = None
        self.last: int | None = None
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def missing(self) -> int:
        """How many records were overwritten before they were read, since the boot."""
        return 0 if self.last is None else self.last + 1 - self.records

    @property
    def gone(self) -> int:
        """How many of these before the first that was read."""
        return self.first or 0

    def wait(self, timeout_s: float) -> bool:
        """Wait until there is a record to read, or one was overwritten."""
        return bool(self._poll.poll(max(timeout_s, 0) * 1000))

    def read(self, most: int = _AT_ONCE) -> bytes:
        """Return the lines of the records there are now, some ``most`` bytes; none: b"".

        Raises ``LiveError``.
        """
        lines: list[bytes] = []
        size = 0
        while size < most:  # one record a read: there is no way to have more
            try:
                record = os.read(self._descriptor, _RECORD)
            except BlockingIOError:
                break
            except InterruptedError:
                continue
            except BrokenPipeError:  # EPIPE: the numbers will tell how many
                continue
            except OSError as error:
                raise LiveError(f"/dev/kmsg: {error.strerror}") from error
            if not record:
                break
            line = self._line(record)
            size += len(line)
            lines.append(line)
        return b"".join(lines)

    def _line(self, record: bytes) -> bytes:
        head = _HEAD.match(record)
        if head is None:
            self.damaged += 1
            return b""
        number = int(head[2])
        self.records += 1
        self.first = number if self.first is None else self.first
        self.last = number
        if int(head[1]) >= _FACILITY:
            self.foreign += 1
            return head[0] + b"\n"
        return record.partition(b"\n")[0] + b"\n"

    def close(self) -> None:
        """Close it. Safe to call again."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class RingText:
    """All that was in the ring at one moment.

    ``text``: lines that the importer of kernel logs reads, and finds the gaps in by itself.
    """

    text: bytes
    records: int
    missing: int  # records overwritten before they were read
    foreign: int  # records of other facilities, of which only the number is in ``text``

    @property
    def describe(self) -> str:
        """Say in words what it holds."""
        told = "1 record" if self.records == 1 else f"{self.records} records"
        if self.missing:
            return f"{told}; {self.missing} before them were overwritten"
        return f"{told} from the boot on, none overwritten"


def read_ring(root: Path = Path("/"), most: int = _MOST) -> RingText:
    """Read the whole ring once, without waiting. Raises ``LiveError``.

    Of one that is filled faster than it is read it stops after ``most`` bytes.
    """
    with Ring(root) as ring:
        pieces = []
        left = most
        while left > 0 and (piece := ring.read(min(left, _AT_ONCE))):
            pieces.append(piece)
            left -= len(piece)
        return RingText(b"".join(pieces), ring.records, ring.missing, ring.foreign)


def _why_not(error: OSError) -> str:
    if error.errno in _DENIED:
        # check_syslog_permissions: CAP_SYSLOG, where dmesg_restrict is set; or the file's mode
        return f"/dev/kmsg: {error.strerror}: root or CAP_SYSLOG is needed (kernel.dmesg_restrict)"
    if error.errno == errno.ENOENT:
        return "there is no /dev/kmsg here: a container has none, or a kernel without printk"
    return f"/dev/kmsg: {error.strerror}"
