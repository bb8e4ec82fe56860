# SPDX-License-Identifier: GPL-2.0-only
"""Fixtures: small recordings, open during a test, and what the kernel logged of the storm."""

import lzma
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from recordings.format.reader import Recording
from tests.tui.small_recordings import storm_rows, write

Make = Callable[..., Recording]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """A function that writes lists of rows as a recording's batches and opens it."""
    opened: list[Recording] = []

    def recording(*batches, **options) -> Recording:
        opened.append(write(tmp_path / f"{len(opened)}.arrows", *batches, **options))
        return opened[-1]

    yield recording
    for open_one in opened:
        open_one.close()


@pytest.fixture
def storm(make: Make) -> Recording:
    """40 sections in the unused hole above the window, in three batches: 80 hits, 80 WARNs."""
    rows = storm_rows(40, 0xFFFF_FFFF_4000_0000)
    return make(rows[:50], rows[50:130], rows[130:])


@pytest.fixture
def clean(make: Make) -> Recording:
    """16 sections inside the window with entry probes, as on a kernel from 6.11 on."""
    return make(storm_rows(16, 0xFFFF_FFFE_8000_0000, warn=False, derived=False))


@pytest.fixture(scope="session")
def comms(captures: Path) -> Counter[str]:
    """How many WARNs of each task the kernel logged while the bundled storm was recorded."""
    log = captures / "6.1.192-vmemlab-39bit" / "recorded.dmesg.txt.xz"
    text = lzma.decompress(log.read_bytes()).decode()
    return Counter(re.findall(r"WARNING: CPU.*\n(?:.*\n){0,6}?.*Comm: (\w+)", text))
