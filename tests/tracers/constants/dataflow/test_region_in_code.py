# SPDX-License-Identifier: GPL-2.0-only
"""Where real kernels' get_free_mem_region() begins and what it steps by.

data/region_search.jsonl has the function's bytes of two booted lab kernels, of the third of them
with 64K pages, and of two stock Debian kernels. What is expected is in their sources
(kernel/resource.c), and tests/lab/test_fit.py sees it of those that boot.
"""

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from tracers.constants.dataflow.region_in_code import read_search

ROWS = [
    json.loads(line)
    for line in (Path(__file__).parent / "data/region_search.jsonl").read_text().splitlines()
]
BEFORE = {"capped": False, "physmem_bits": 48, "by_size": True}
SINCE = {"capped": True, "by_size": False}
EXPECTED = {
    "lab-6.1.192-39bit-4k": BEFORE,
    "lab-6.12.117-48bit-4k": SINCE,
    "lab-7.3.4-52bit-64k": SINCE,
    "debian-6.1-48bit-4k": BEFORE,
    "debian-6.12-52bit-4k": SINCE,
}


def body(row, code=None):
    return SimpleNamespace(va=int(row["va"], 16), bytes=bytes.fromhex(code or row["code"]))


def memstart(row):
    return int(row["memstart"], 16) if row["memstart"] else None


@pytest.mark.parametrize("row", ROWS, ids=[row["name"] for row in ROWS])
def test_real_kernels_tell(row):
    assert read_search(body(row), memstart(row)) == EXPECTED[row["name"]]


@pytest.mark.parametrize("row", ROWS, ids=[row["name"] for row in ROWS])
def test_where_memstart_addr_is_not_known_nothing_is_guessed(row):
    found = read_search(body(row), None)
    assert found.get("capped") is (False if EXPECTED[row["name"]]["capped"] is False else None)


@pytest.mark.parametrize("row", ROWS, ids=[row["name"] for row in ROWS])
def test_code_cut_anywhere_is_no_other_answer(row):
    whole = EXPECTED[row["name"]]
    for end in range(0, len(row["code"]), 8):
        found = read_search(body(row, row["code"][:end] or "00"), memstart(row))
        assert {key: whole[key] for key in found} == found


def test_somebody_s_breakpoint_in_it_hides_the_code():
    row = ROWS[1]
    patched = row["code"][:64] + "80008052" + row["code"][72:]  # mov w0, #4: read as it is
    assert read_search(body(row, patched), memstart(row))["capped"] is True
    patched = row["code"][:64] + "800020d4" + row["code"][72:]  # brk #0x4, as a kprobe's
    assert read_search(body(row, patched), memstart(row)) == {}


def test_any_bytes_at_all():
    for seed in range(200):
        code = bytes((seed * 131 + at * 17) % 256 for at in range(512))
        read_search(SimpleNamespace(va=0xFFFF800080000000, bytes=code), None)
