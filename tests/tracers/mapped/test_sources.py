# SPDX-License-Identifier: GPL-2.0-only
"""Sources asked while what they show changes: read again, and said where it goes on changing."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from recordings.audit.audit import audit
from recordings.ledger.snapshot import Verdict
from tests.recordings.windows import window
from tracers.layout import layout_for
from tracers.machine import Machine
from tracers.mapped.sources import DUMP, Asked, Sources, ask_folder

LAB = window(memstart=0x4000_0000)
MACHINE = Machine(window=LAB, layout=layout_for(LAB))
LINE = "0x{:016x}-0x{:016x}           2M PMD       RW NX SHD AF        BLK UXN    MEM/NORMAL\n"
REST = "0x{:016x}-0x0000000000000000           3G PGD\n"


def dump(*starts: int) -> str:
    lines, at = [], 0xFFFFFFC000000000
    for start in starts:
        if start > at:
            lines.append(f"0x{at:016x}-0x{start:016x}           1M PMD\n")
        lines.append(LINE.format(start, start + 0x200000))
        at = start + 0x200000
    return "".join([*lines, REST.format(at)])


def asked(texts: Iterator[str]) -> Sources:
    made = Asked(MACHINE)
    made.dump(next(texts), "", again=lambda: next(texts))
    return made.sources()


HOLE, VMALLOC = 0xFFFFFFFF3F000000, 0xFFFFFFC00A000000


def test_what_settles_is_as_it_was_last() -> None:
    """A device comes while the tables are read."""
    found = asked(itertools.chain([dump()], itertools.repeat(dump(HOLE))))
    assert found.tables[DUMP].size == 0x200000
    assert not found.problems


def test_vmalloc_may_change_all_the_time() -> None:
    texts = (dump(VMALLOC + 0x200000 * at, HOLE) for at in itertools.count())
    found = asked(texts)
    assert not found.problems
    assert found.tables[DUMP].within(HOLE, 0x200000).size == 0x200000


def test_what_goes_on_changing_is_not_known() -> None:
    texts = (dump(HOLE + 0x200000 * at) for at in itertools.count())
    found = asked(texts)
    assert found.problems == (
        "kernel_page_tables changed while it was read, 4 times: memory comes or goes",
    )
    assert audit(found, None).verdict is not Verdict.CLEAN
    assert next(texts)  # it was not read to the end


@pytest.mark.parametrize("missing", ["iomem", "kernel_page_tables"])
def test_a_folder_without_a_file_says_so(captures: Path, tmp_path: Path, missing: str) -> None:
    for name in {"iomem", "kernel_page_tables", "kcore-vmcoreinfo"} - {missing}:
        (tmp_path / name).write_bytes((captures / "6.1.192-vmemlab-39bit" / name).read_bytes())
    found = ask_folder(tmp_path)
    assert any("no file" in why for why in found.missing.values())
