# SPDX-License-Identifier: GPL-2.0-only
"""Call sites, compared with objdump's, and with Capstone's on random code."""

import struct
from types import SimpleNamespace

import capstone
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.kernels.files import kernel
from tests.tracers.live.oracle import CALLS, address, symbols
from tracers.constants.image.elf import Region
from tracers.constants.image.kernel_image import open_kernel
from tracers.constants.image.patched import STANDING_IN
from tracers.live.probes.call_sites import Calls, find_calls

BASE = 0xFFFF800080010000
NOP, RET = 0xD503201F, 0xD65F03C0
# encodings as objdump shows them of lab 6.12: bl at …274cbc, b.eq at …274ca4, cbz at …274d24
REAL_BL = (0xFFFF800080274CBC, 0x97F6CE4F, 0xFFFF8000800285F8)
REAL_JUMPS = [
    (0xFFFF800080274CA4, 0x540000E0, 0xFFFF800080274CC0),
    (0xFFFF800080274D24, 0xB4FFFCF7, 0xFFFF800080274CC0),
]


@pytest.mark.parametrize("name", CALLS)
def test_the_calls_objdump_found(name):
    names = symbols(name)
    with open_kernel(kernel(name)) as image:
        targets = {one: image.extent(symbol) for one, symbol in image.symbols(CALLS[name]).items()}
        found = find_calls(image, targets)
    assert found == {
        function: Calls(
            tuple(sorted(address(place, names) for place in sites.split())),
            (),
            tuple(sorted(address(place, names) + 4 for place in sites.split() if "*" in place)),
        )
        for function, sites in CALLS[name].items()
    }


# -- made code -----------------------------------------------------------------------------------


class Memory:
    """A kernel of given words; each region is (address, words)."""

    def __init__(self, *regions, first=BASE, end=None, torn=()):
        self._parts = [(va, struct.pack(f"<{len(words)}I", *words)) for va, words in regions]
        self.regions = [Region(va, 0, len(code)) for va, code in self._parts]
        last = max((va + len(code) for va, code in self._parts), default=first)
        self.bounds = {"_stext": first, "_etext": last if end is None else end}
        self.torn = torn

    def symbols(self, names):
        return {n: SimpleNamespace(va=self.bounds[n]) for n in names if n in self.bounds}

    def read(self, va, size):
        for first, code in self._parts:
            if first <= va and va + size <= first + len(code) and first not in self.torn:
                return code[va - first :][:size]
        return None


def bl(distance):
    return 0x94000000 | (distance >> 2) & 0x3FFFFFF


def b(distance):
    return 0x14000000 | (distance >> 2) & 0x3FFFFFF


def calls(image, va, size=8):
    return find_calls(image, {"f": (va, va + size)})["f"]


def test_real_instructions_at_their_real_places():
    at, word, goes = REAL_BL
    assert calls(Memory((at, [word, NOP]), first=goes - 64), goes) == Calls((at,), (), ())
    behind = 0xFFFF800080274CBC
    code = [NOP] * 40
    for place, jump, goes in REAL_JUMPS:
        code[(place - 0xFFFF800080274CA0) // 4] = jump
        assert goes == behind + 4
    code[(behind - 0xFFFF800080274CA0) // 4] = bl(0x100000)
    image = Memory((0xFFFF800080274CA0, code), first=0xFFFF800080274CA0)
    assert calls(image, behind + 0x100000) == Calls((behind,), (), (behind + 4,))


def test_tail_calls_are_separate_and_loops_are_not_calls():
    # f: nop; b f; elsewhere: b f; cbz x0, f
    image = Memory((BASE, [NOP, b(-4), b(-8), 0xB4000000 | (-3 & 0x7FFFF) << 5]))
    assert calls(image, BASE) == Calls((), (BASE + 8, BASE + 12), ())


def test_recursion_is_a_call():
    assert calls(Memory((BASE, [NOP, bl(-4), RET])), BASE, 12).calls == (BASE + 4,)


@pytest.mark.parametrize(
    "jump",
    [
        b(-8),
        0x54000000 | (-2 & 0x7FFFF) << 5 | 1,  # b.ne
        0x34000000 | (-2 & 0x7FFFF) << 5,  # cbz w0
        0xB5000000 | (-2 & 0x7FFFF) << 5 | 7,  # cbnz x7
        0x36000000 | (-2 & 0x3FFF) << 5,  # tbz w0, #0
        0xB7F80000 | (-2 & 0x3FFF) << 5 | 3,  # tbnz x3, #63
    ],
)
def test_a_jump_to_behind_the_call_is_reported(jump):
    # the call, what is behind it, ret, the jump: two back
    code = [bl(0x40), NOP, RET, jump]
    assert calls(Memory((BASE, code)), BASE + 0x40) == Calls((BASE,), (), (BASE + 4,))
    assert calls(Memory((BASE, [bl(0x40), NOP, NOP, RET, jump])), BASE + 0x40).jumped == ()


def test_a_cold_part_far_away_jumps_back():
    cold = BASE + (6 << 20)
    image = Memory((BASE, [bl(0x40), RET]), (cold, [b(BASE + 4 - cold)]))
    assert calls(image, BASE + 0x40).jumped == (BASE + 4,)


def test_a_call_of_what_is_behind_a_call_is_no_jump():
    assert calls(Memory((BASE, [bl(0x40), RET, bl(-4)])), BASE + 0x40).jumped == ()


def test_a_pointer_ahead_of_a_function_is_no_call():
    # its low half is "bl +0x40"; seen in a booted 6.12: KASLR decides what it looks like
    image = Memory((BASE, [bl(0x40), 0xFFFFA1BF, bl(0x38), NOP]))
    assert calls(image, BASE + 0x40) == Calls((BASE + 8,), (), ())
    jump = 0x34000000 | (-2 & 0x7FFFF) << 5
    image = Memory((BASE, [bl(0x40), NOP, RET, jump, 0xFFFFA1BF]))
    assert calls(image, BASE + 0x40).jumped == ()


def test_text_shown_twice_is_found_once():
    code = [bl(0x40), NOP, b(-4)]
    image = Memory((BASE, code), (BASE, code))
    assert calls(image, BASE + 0x40) == Calls((BASE,), (), (BASE + 4,))


def test_only_the_text_is_looked_through():
    image = Memory((BASE - 4, [bl(0x44), bl(0x40), bl(0x3C)]), end=BASE + 4)
    assert calls(image, BASE + 0x40).calls == (BASE,)


def test_pieces_of_a_large_text_are_put_together():
    size = (4 << 20) // 4  # words: the piece's last instruction, and the next one's first
    code = [NOP] * (size - 1) + [bl(0x40), b(0), RET]
    last = BASE + (4 << 20) - 4
    assert calls(Memory((BASE, code)), last + 0x40) == Calls((last,), (), (last + 4,))


@pytest.mark.parametrize(
    "image",
    [
        Memory((BASE, [bl(0x40)]), first=BASE, end=BASE),  # empty
        Memory((BASE, [bl(0x40)]), first=BASE, end=BASE + (1 << 30)),  # absurd
        Memory((BASE, [bl(0x40)]), (BASE + 8, [NOP]), torn=(BASE + 8,)),  # a hole
    ],
)
def test_what_cannot_be_read_whole_gives_nothing(image):
    assert find_calls(image, {"f": (BASE + 0x40, BASE + 0x80)}) == {}


def test_without_the_texts_ends_nothing_is_given():
    image = Memory((BASE, [bl(0x40)]))
    del image.bounds["_etext"]
    assert find_calls(image, {"f": (BASE + 0x40, BASE + 0x80)}) == {}


# -- Capstone's word on random code --------------------------------------------------------------

_NEAR = st.integers(-20, 20)
_WORDS = st.one_of(
    st.integers(0, 2**32 - 1),
    st.just(NOP),
    _NEAR.map(lambda n: 0x94000000 | n & 0x3FFFFFF),
    _NEAR.map(lambda n: 0x14000000 | n & 0x3FFFFFF),
    st.tuples(_NEAR, st.integers(0, 13)).map(lambda t: 0x54000000 | (t[0] & 0x7FFFF) << 5 | t[1]),
    st.tuples(_NEAR, st.sampled_from([0x34, 0x35, 0xB4, 0xB5]), st.integers(0, 31)).map(
        lambda t: t[1] << 24 | (t[0] & 0x7FFFF) << 5 | t[2]
    ),
    st.tuples(_NEAR, st.sampled_from([0x36, 0x37, 0xB6, 0xB7]), st.integers(0, 31)).map(
        lambda t: t[1] << 24 | t[2] << 19 | (t[0] & 0x3FFF) << 5 | t[2]
    ),
)
_JUMPS = ("b", "cbz", "cbnz", "tbz", "tbnz")


@given(st.lists(_WORDS, min_size=1, max_size=40), st.integers(0, 39))
@example([0xD4200080], 0)  # a kprobe's, which hides what it stands for
def test_capstone_finds_the_same(words, nth):
    words = [word & ~0x10 if word >> 24 == 0x54 else word for word in words]  # no BC.cond
    words = [word & 0x7FFFFFFF if word >> 16 == 0xFFFF else word for word in words]
    words = [0 if word.to_bytes(4, "little") in STANDING_IN else word for word in words]
    machine = capstone.Cs(capstone.CS_ARCH_ARM64, capstone.CS_MODE_ARM)
    machine.skipdata = True
    led: dict[str, list[tuple[int, int]]] = {"bl": [], "jump": []}
    for va, _, name, text in machine.disasm_lite(struct.pack(f"<{len(words)}I", *words), BASE):
        if name == "bl" or name in _JUMPS or name.startswith("b."):
            goes = int(text.rpartition("#")[2], 16) & 2**64 - 1
            led["bl" if name == "bl" else "jump"].append((va, goes))
    target = BASE + 4 * nth
    expected = tuple(va for va, goes in led["bl"] if goes == target)
    behind = {va + 4 for va in expected}
    found = calls(Memory((BASE, words)), target, 4)
    assert found.calls == expected
    assert found.tails == tuple(va for va, goes in led["jump"] if goes == target != va)
    assert found.jumped == tuple(sorted({goes for _, goes in led["jump"]} & behind))
