# SPDX-License-Identifier: GPL-2.0-only
"""Call chains that are in no report: told, with what is missing; a mention is none."""

import pytest

from tests.tracers.logs.dmesg.forms import decoded, symbolized
from tests.tracers.logs.dmesg.fuzz_dmesg import read
from tests.tracers.logs.dmesg.splat_texts import prefixed
from tests.tracers.logs.dmesg.test_reader import BELOW, LINES
from tracers.logs.dmesg.scan import looks_like_dmesg

AT = next(n for n, (_, text) in enumerate(LINES) if text == b"Call trace:")
FRAMES = [line for line in LINES[AT + 1 : AT + 17] if line[1].startswith(b" ")]
CHAIN = (
    "a call chain without its splat, once: vmemmap_populate <- __populate_section_memmap <- "
    "sparse_add_section <- __add_pages <- memremap_pages"
)


@pytest.mark.parametrize("block", [50, 1 << 20])
@pytest.mark.parametrize("change", [list, decoded, symbolized])
@pytest.mark.parametrize("name", ["dmesg -t", "dmesg", "mail", "Samsung"])
def test_a_chain_alone_is_told(name: str, change, block: int):
    raw = prefixed(change(FRAMES), name)
    assert looks_like_dmesg(raw)
    rows, log = read(b"we see this\n" + raw + b"and then nothing\n", block=block)
    assert rows == []
    told = next(note for note in log.notes if note.startswith("a call chain"))
    assert told.replace("section_activate [inline] <- ", "").startswith(CHAIN)
    assert any("does not say for which addresses" in note for note in log.notes)


def test_what_stands_above_the_call_belongs_to_it():
    raw = b"Call trace:\n memset+0x1/0x2\n vmemmap_pmd+0x3/0x9 (P)\n" + prefixed(
        FRAMES[:3], "dmesg -t"
    )
    _, log = read(raw)
    assert any("once: memset <- vmemmap_pmd <- vmemmap_populate <- __pop" in n for n in log.notes)


@pytest.mark.parametrize(
    "raw",
    [
        b"Call trace:\nvmemmap_populate is called twice\n",
        b"Call trace:\n vmemmap_populate+0x40/0x1c4\n",  # one frame is a symbol, no chain
        b"Call trace:\n vmemmap_populate+0x40/0x1c4 is where it warns\n and so on\n",
        BELOW,  # in a report of its own
    ],
)
def test_what_is_no_bare_chain(raw: bytes):
    assert not any("call chain without" in note for note in read(raw)[1].notes)


def test_the_same_chain_twice_is_counted():
    raw = prefixed(FRAMES, "dmesg -t")
    _, log = read(raw + b"again:\n" + raw)
    assert any(note.startswith("a call chain without its splat, 2 times") for note in log.notes)
