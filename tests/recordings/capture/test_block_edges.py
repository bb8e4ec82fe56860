# SPDX-License-Identifier: GPL-2.0-only
"""A log gives the same recording, byte for byte, wherever reads and blocks of it end.

Each log of tests/captures is imported from reads that end anywhere, in threads and without; and
those of the issue's cases, where they are at hand.
"""

from pathlib import Path

import pytest

from recordings.capture import importing
from recordings.capture.importing import import_log
from tests.conftest import TESTS
from tracers.logs import in_order
from tracers.logs.input_files import Input

CAPTURES = TESTS / "captures"
_LOGS = ("*.dmesg*.txt*", "*.ftrace.txt*", "*console.txt", "*kmsg.txt*", "*report*.txt*")
_OTHERS = ("perf*.script*", "*bpftrace*.txt*", "bpftrace*.jsonl*", "mapped/dmesg.txt")
LOGS = sorted(
    {
        path
        for pattern in (*_LOGS, *_OTHERS)
        for path in CAPTURES.glob(f"*/{pattern}")
        if ".truth." not in path.name and ".report-R" not in path.name
    }
)


class Trickle(Input):
    """A log of which each read gives so many bytes."""

    def __init__(self, path: Path, size: int) -> None:
        super().__init__(path)
        self._size = size

    def read1(self, size: int) -> bytes:
        return super().read1(min(size, self._size))

    read = read1


def recorded(source: Path | Input, out: Path, machine: Path | None) -> bytes:
    import_log(source, out, machine_dir=machine)
    return out.read_bytes()


@pytest.mark.parametrize("path", LOGS, ids=lambda path: str(path.relative_to(CAPTURES)))
def test_a_log_is_the_same_wherever_blocks_end(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = path.parent if (path.parent / "uname").exists() else None
    whole = recorded(path, tmp_path / "whole", machine)
    monkeypatch.setattr(in_order, "WORTH", 0)
    monkeypatch.setattr(importing, "_MANY", 0)
    # Below the length of a line, every line's end is a block's.
    sizes = [19] if path.stat().st_size < 12_000 and path.suffix != ".xz" else []
    for size in (*sizes, 1_021, 4_999, 14_983, 60_013):
        with Trickle(path, size) as source:
            assert recorded(source, tmp_path / str(size), machine) == whole, size
