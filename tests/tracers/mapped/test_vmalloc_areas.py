# SPDX-License-Identifier: GPL-2.0-only
"""Lists of vmalloc areas made word by word: of both kinds of kernels, whole, torn and cyclic."""

import pytest

from tests.tracers.mapped.kernel import Types, Words
from tracers.constants.errors import ConstantsError
from tracers.mapped import vmalloc_areas
from tracers.mapped.kernel_lists import Area
from tracers.mapped.vmalloc_areas import read_areas

HEAD, NODES = 0xFFFFFFC009243240, 0xFFFFFF8001000000
OFFSETS = {
    "vmap_area.va_start": 0, "vmap_area.va_end": 8, "vmap_area.list": 40, "vmap_area.vm": 56,
    "vm_struct.caller": 56, "vm_struct.flags": 24,
}  # fmt: skip
#: Of the lab's 6.1 (kcore-vmcoreinfo).
NOTES = {
    "SYMBOL(vmap_area_list)": f"{HEAD:x}",
    "OFFSET(vmap_area.va_start)": "0",
    "OFFSET(vmap_area.list)": "40",
}
AREAS = [(0xFFFFFFC008000000, 0xFFFFFFC008002000), (0xFFFFFFC00A000000, 0xFFFFFFC00A100000)]


def linked(areas: list[tuple[int, int]], head: int = HEAD, at: int = NODES) -> Words:
    made = Words()
    places = [at + 256 * number for number in range(len(areas))]
    links = [head, *(place + 40 for place in places), head]
    made.put(head, links[1])
    for place, (start, end), following in zip(places, areas, links[2:], strict=True):
        made.put(place, start, end, 0, 0, 0, following, 0, place + 128)
        made.put(place + 128, *[0] * 10)
        made.put(place + 128 + 24, 0x22)
    return made


def test_one_list() -> None:
    found = read_areas(linked(AREAS).read, NOTES, Types(OFFSETS), None)  # type: ignore[arg-type]
    assert found == tuple(Area(start, end, "vmalloc") for start, end in AREAS)
    # without BTF the note is enough to say where they are
    assert read_areas(linked(AREAS).read, NOTES, None, None) == tuple(
        Area(start, end, "") for start, end in AREAS
    )


def test_an_empty_list() -> None:
    assert read_areas(linked([]).read, NOTES, None, None) == ()


class Names:
    """Symbols by name; none is near an address."""

    def __init__(self, **found: int) -> None:
        self.found = found

    def find(self, names: tuple[str, ...]) -> dict[str, object]:
        made = {name: type("Symbol", (), {"va": va}) for name, va in self.found.items()}
        return {name: made[name] for name in names if name in made}

    def containing(self, _: int) -> None:
        return None


def test_a_list_a_node() -> None:
    """Linux 6.9, commit d093602919ad: struct vmap_node of 6272 bytes, rb_list at 6152 (6.12)."""
    offsets = OFFSETS | {"vmap_node": 6272, "vmap_node.busy": 6152, "rb_list.head": 8}
    table, pointer, number = 0xFFFFFF8002000000, 0xFFFFFFC009300000, 0xFFFFFFC009300008
    made = linked(AREAS[:1], table + 6160)
    made.words |= linked(AREAS[1:], table + 6272 + 6160, NODES + 4096).words
    made.put(pointer, table, 0xABCD_0000_0002)  # an int, and what follows it
    names = Names(vmap_nodes=pointer, nr_vmap_nodes=number)
    found = read_areas(made.read, {}, Types(offsets), names)  # type: ignore[arg-type]
    assert [(each.start, each.end) for each in found] == AREAS


@pytest.mark.parametrize(
    ("where", "word", "says"),
    [
        (HEAD, 0, "leads out of memory"),
        (HEAD, 0xFFFFFF80DEAD0000, "torn"),
        (NODES + 40, 0x1000, "leads out of memory"),
        (NODES + 8, 0x10, "torn"),  # ends before it begins
        (NODES, 0x10, "torn"),  # of the user half
        (NODES + 256 + 40, NODES + 40, "in circles"),
    ],
)
def test_torn_lists(where: int, word: int, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vmalloc_areas, "AREAS_CAP", 100)
    made = linked(AREAS)
    made.put(where, word)
    with pytest.raises(ConstantsError, match=says):
        read_areas(made.read, NOTES, None, None)
    assert made.reads < 500


def test_nothing_says_where_they_are() -> None:
    with pytest.raises(ConstantsError, match="neither VMCOREINFO nor its symbols"):
        read_areas(
            Words().read,
            {"OFFSET(vmap_area.va_start)": "0", "OFFSET(vmap_area.list)": "40"},
            None,
            None,
        )
