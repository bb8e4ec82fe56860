# SPDX-License-Identifier: GPL-2.0-only
"""A /dev/kmsg of a test's own: one record a read, as the kernel's, and no end."""

import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tracers.live.kmsg import ring


class FakeKmsg:
    """A pipe of packets behind ROOT/dev/kmsg."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "dev").mkdir()
        self._out, self._in = os.pipe2(os.O_DIRECT | os.O_CLOEXEC | os.O_NONBLOCK)
        fcntl.fcntl(self._in, fcntl.F_SETPIPE_SZ, 1 << 20)
        (root / "dev/kmsg").symlink_to(f"/proc/self/fd/{self._out}")
        self.overwritten = 0  # reads that fail with EPIPE

    def write(self, *records: bytes) -> None:
        """Have these records in the ring."""
        for record in records:
            assert os.write(self._in, record) == len(record)

    def splats(self, text: bytes, number: int = 0) -> None:
        """Have the lines of a log without prefixes in it, a microsecond each."""
        for at, line in enumerate(text.splitlines(), number):
            self.write(b"4,%d,%d,-;%s\n" % (at, 1000 + at, line))

    def read(self, descriptor: int, size: int) -> bytes:
        if self.overwritten:
            self.overwritten -= 1
            raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))
        return os_read(descriptor, size)

    def close(self) -> None:
        os.close(self._in)
        os.close(self._out)


os_read = os.read


@pytest.fixture
def kmsg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeKmsg]:
    fake = FakeKmsg(tmp_path)
    monkeypatch.setattr(ring.os, "read", fake.read)
    yield fake
    monkeypatch.undo()
    fake.close()
