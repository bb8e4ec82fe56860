# SPDX-License-Identifier: GPL-2.0-only
"""Location lists, against what GCC wrote and readelf shows (data/parameters.c)."""

import random
import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracers.constants.dataflow.dwarf_locations import registers
from tracers.constants.errors import ConstantsError
from tracers.constants.image.kernel_image import open_kernel

DATA = Path(__file__).parent / "data"
POPULATE, FREE = 0xFFFF800080010020, 0xFFFF800080010044
NAMES = ("start", "end", "node", "altmap")
#: By ``readelf --debug-dump=loc`` of dwarf-4.elf. end is in x20 as well, where the list names x1.
EXPECTED = {
    POPULATE: {"start": 0, "end": 1, "node": 2, "altmap": 3},
    POPULATE + 0x1C: {"start": 0, "end": 1, "node": 2, "altmap": 3},
    FREE + 0x14: {"start": 0, "end": 1},
    FREE + 0x60: {"start": 19, "end": 1},
    FREE + 0x5F: {},  # DW_OP_GNU_entry_value: in no register any more
}


@pytest.mark.parametrize("name", ["dwarf-4", "dwarf-5"])
@pytest.mark.parametrize("pc", EXPECTED, ids=hex)
def test_registers_at_an_address(name: str, pc: int):
    with open_kernel(DATA / f"{name}.elf") as image:
        held = registers(image, pc, NAMES)
    wanted = EXPECTED[pc].keys() or {"start", "end"}
    assert {name: held[name] for name in held if name in wanted} == EXPECTED[pc]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda data: data.replace(b".debug_info\0", b".debug_infx\0"), "no .debug_info"),
        (lambda data: data.replace(b".debug_aranges\0", b".debug_arangex\0"), "no .debug_aranges"),
    ],
)
def test_what_is_missing_is_named(tmp_path: Path, change, why: str):
    path = tmp_path / "vmlinux"
    path.write_bytes(change((DATA / "dwarf-5.elf").read_bytes()))
    with open_kernel(path) as image, pytest.raises(ConstantsError, match=why):
        registers(image, FREE, NAMES)


def test_an_address_of_no_unit():
    with open_kernel(DATA / "dwarf-5.elf") as image, pytest.raises(ConstantsError, match="code at"):
        registers(image, 0xFFFF800080020000, NAMES)


@given(st.integers(0, 2**32), st.integers(1, 40))
def test_damage_is_an_error_or_a_register(tmp_path_factory, seed: int, number: int):
    data = bytearray((DATA / "dwarf-5.elf").read_bytes())
    chance = random.Random(seed)  # noqa: S311
    first = data.index(b"\x2c\0\0\0\x02\0")  # .debug_aranges, which the other sections follow
    end = struct.unpack_from("<Q", data, 40)[0]  # e_shoff
    for _ in range(number):
        data[chance.randrange(first, end)] = chance.randrange(256)
    path = tmp_path_factory.mktemp("damaged") / "vmlinux"
    path.write_bytes(data)
    held: dict[str, int] = {}
    with suppress(ConstantsError), open_kernel(path) as image:
        held = registers(image, FREE + 0x60, NAMES)
    assert all(name in NAMES and 0 <= number < 31 for name, number in held.items())
