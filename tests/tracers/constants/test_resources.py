# SPDX-License-Identifier: GPL-2.0-only
"""The tree of /proc/iomem out of memory: small trees, hostile ones."""

import struct
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.tracers.constants.dumps import IMAGE_OFFSET, LINEAR, RAM, Machine
from tracers.constants import resources
from tracers.constants.core_file import Core

ROOT = 0xFFFF_FFC0_0802_0000
NAME = 0xFFFF_FFC0_0802_FFFC  # across two pieces of the search
#: (address, start, last, name, parent, sibling, child)
A, B, C, D = (LINEAR + 0x1000 + at * 0x100 for at in range(4))
TREE = [
    (A, 0x8000000, 0x800FFFF, "GICD", ROOT, B, 0),
    (B, 0x40000000, 0x5FFFFFFF, "System RAM", ROOT, D, C),
    (C, 0x40210000, 0x4113FFFF, "Kernel code", B, 0, 0),
    (D, 0x5000000000, 0x507FFFFFFF, "devpriv", ROOT, 0, 0),
]
TEXT = """08000000-0800ffff : GICD
40000000-5fffffff : System RAM
  40210000-4113ffff : Kernel code
5000000000-507fffffff : devpriv
"""


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "_PIECE", 0x1_0000)


def node(span: tuple[int, int], name: int, links: Sequence[int], *, desc: bool = True) -> bytes:
    """Links: parent, sibling, child."""
    return struct.pack("<QQQQ", *span, name, 0x200) + bytes(8 * desc) + struct.pack("<QQQ", *links)


def machine_with(
    tree: list[tuple[int, int, int, str, int, int, int]], *, desc: bool = True
) -> Machine:
    machine = Machine()
    machine.put(NAME - IMAGE_OFFSET - 1, b"\0PCI mem\0")
    machine.put(ROOT - IMAGE_OFFSET, node((0, (1 << 64) - 1), NAME, (0, 0, A), desc=desc))
    for at, (address, start, last, name, *links) in enumerate(tree):
        where = LINEAR + 0x4FF8 + at * 0x1000  # names across pages
        machine.put(where - LINEAR + RAM, name.encode() + b"\0")
        machine.put(address - LINEAR + RAM, node((start, last), where, links, desc=desc))
    return machine


def read(folder: Path, machine: Machine) -> str:
    path = folder / "core"
    path.write_bytes(machine.dump())
    with Core(path) as core:
        text = resources.iomem_text(core)
        rows = resources.iomem_of(core)
        assert [f"{first:08x}-{last:08x} : {name}" for first, last, name in rows] == [
            line.strip() for line in text.splitlines()
        ]
        return text


@pytest.mark.parametrize("desc", [True, False])
def test_the_tree_is_that_of_iomem(tmp_path: Path, *, desc: bool) -> None:
    assert read(tmp_path, machine_with(TREE, desc=desc)) == TEXT


def test_cycles_strangers_and_names_that_are_not_there(tmp_path: Path) -> None:
    tree = [
        (A, 1, 2, "first\x1b[0m", ROOT, B, A),  # its own child
        (B, 3, 4, "second", ROOT, A, C),  # its sibling is the one before
        (C, 5, 6, "stranger", A, 0, 0),  # says that another is its parent
    ]
    machine = machine_with(tree)
    assert read(tmp_path, machine) == (
        "00000001-00000002 : first\\x1b[0m\n00000003-00000004 : second\n"
    )
    machine.put(B - LINEAR + RAM + 16, struct.pack("<Q", 0x1234))
    assert "00000003-00000004 : <BAD>" in read(tmp_path, machine)


def test_a_tree_without_an_end_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "MOST", 100)
    chain = [LINEAR + 0x10_0000 + at * 64 for at in range(300)]
    machine = machine_with([(A, 0, 1, "first", ROOT, chain[0], 0)])
    for place, following in zip(chain, [*chain[1:], 0], strict=True):
        machine.put(place - LINEAR + RAM, node((7, 8), 0, (ROOT, following, 0)))
    assert len(read(tmp_path, machine).splitlines()) == 100
    deep = machine_with([(A, 0, 1, "first", ROOT, 0, chain[0])])
    for place, parent, child in zip(chain, [A, *chain], [*chain[1:], 0], strict=False):
        deep.put(place - LINEAR + RAM, node((7, 8), 0, (parent, 0, child)))
    assert len(read(tmp_path, deep).splitlines()) <= 66


def test_no_tree_is_no_text(tmp_path: Path) -> None:
    assert read(tmp_path, Machine()) == ""
    machine = machine_with(TREE)
    machine.put(A - LINEAR + RAM + 40, struct.pack("<Q", B))  # not the root's child
    assert read(tmp_path, machine) == ""
