# SPDX-License-Identifier: GPL-2.0-only
"""The follower on hand-made code: every shape a compiler may choose, and shapes with no result.

Each was assembled with GNU as to do what its name says; START is 0xfffffffe00000000 and END
0xffffffff00000000, the 39-bit window of 6.1.
"""

import random
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tracers.constants.variants import VARIANTS
from tracers.constants.dataflow.follow import Follower

START, END = 0xFFFFFFFE00000000, 0xFFFFFFFF00000000
VA = 0xFFFF800080010000

SAYS_BOTH = {
    "lsr x8, x0, #33; cmp w8, #0x7fffffff: the bound shifted away": (
        "08fc61d30900b0121f01096ba3000054e87f60b23f0008eb48000054c0035fd6000021d4c0035fd6"
    ),
    "cmn with the negated bound; cset, cset, orr, tbnz": (
        "4800c0d21f0008abea279f1ae87f60b21f0101ebeb279f1a4a010b2a4a000037c0035fd6000021d4c0035fd6"
    ),
    "spilled, clobbered by a call, reloaded; sub and cmp of the size; csel, csinv": (
        "fd7bbda9fd030091a11700f9e00b01a900040094f45741a9f61740f9e87b5fb2890208cbea8340b2"
        "3f010aebd6929f9ad6929fdae87f60b2df0208eb49000054000021d4fd7bc3a8c0035fd6"
    ),
    "bounds START - 1 and END + 1 from a literal pool; bti, pac; ccmp and b.lo": (
        "5f2403d53f2303d508010058290100581f0008eb228049fa43000054000021d4bf2303d5c0035fd6"
        "fffffffffdffffff01000000ffffffff"
    ),
    "signed comparisons, sign bits tested apart": (
        "2001f8b6e87b5fb21f0008ebcb0000548100f8b6e87f60b23f0008eb4c000054c0035fd6000021d4c0035fd6"
    ),
}
SAYS_LESS = {
    "b.hi after cmp x1, [memory]": (
        "e87b5fb21f0008ebc300005409000090290540f93f0009eb48000054c0035fd6000021d4c0035fd6",
        "is reached in other ways",
    ),
    "one comparison only": (
        "e87b5fb21f0008eb43000054c0035fd6000021d4c0035fd6",
        "end is not checked",
    ),
    "cmp x0, an address of the image: KASLR moves it": (
        "080000901f0008eb43000054c0035fd6000021d4c0035fd6",
        "decide no WARN",
    ),
    "brk #0x8228 (CFI) instead of WARN": (
        "e87b5fb21f0008eba3000054e87f60b23f0008eb48000054c0035fd6004530d4c0035fd6",
        "decide no WARN",
    ),
    "warns inside the window": (
        "e87b5fb21f0008eba3000054e87f60b23f0008eb48000054000021d4c0035fd6",
        "independently",
    ),
    "warns only if both bounds are crossed": (
        "e87b5fb21f0008eba2000054e87f60b23f0008eb49000054000021d4c0035fd6",
        "independently",
    ),
    "cbz x2 goes around the check": (
        "e20000b4e87b5fb21f0008eba3000054e87f60b23f0008eb48000054c0035fd6000021d4c0035fd6",
        "decide no WARN",
    ),
    "the saved arguments lie in a frame whose address a call was given": (
        (
            "ff8300d1e08700a9e023009100040094e08740a9e87b5fb21f0008ebc3000054e87f60b23f0008eb"
            "68000054ff830091c0035fd6000021d4c0035fd6"
        ),
        "decide no WARN",
    ),
    "cmp start + 4096: what wraps is not one range": (
        "00044091e87b5fb2080082f21f0008ebe87f60b2080540d1222048fa49000054000021d4c0035fd6",
        "is not start >= A",
    ),
    "half of a saved argument is overwritten": (
        (
            "ff8300d1e08700a9e20f00b9e08740a9e87b5fb21f0008ebc3000054e87f60b23f0008eb68000054"
            "ff830091c0035fd6000021d4c0035fd6"
        ),
        "decide no WARN",
    ),
}


@pytest.mark.parametrize("code", SAYS_BOTH.values(), ids=SAYS_BOTH)
def test_bounds_are_followed_through_any_shape(code):
    guard = Follower(bytes.fromhex(code), VA).guard()
    assert (guard.low, guard.high, guard.reason) == (START, END, "")


@pytest.mark.parametrize(("code", "reason"), SAYS_LESS.values(), ids=SAYS_LESS)
def test_what_is_not_certain_has_no_result(code, reason):
    guard = Follower(bytes.fromhex(code), VA).guard()
    assert guard.high is None
    assert guard.low in (None, START)
    assert reason in guard.reason


def test_a_loop_ends():
    code = bytes.fromhex("e87b5fb21f0008eb83000054210400d1a1ffffb5c0035fd6000021d4faffff17")
    assert Follower(code, VA).guard().high is None
    assert Follower(b"\x00\x00\x00\x14", VA).guard().low is None  # b .
    assert Follower(b"\x00\x00\x00\x14", VA).calls() == ()


def test_branches_without_end_are_given_up():
    # cmp x0, #i; b.lo .+8: every one splits the arguments again.
    words = [w for i in range(1, 2048) for w in (0xF100001F | i << 10, 0x54000043)]
    guard = Follower(struct.pack(f"<{len(words)}I", *words), VA).guard()
    assert (guard.low, guard.high) == (None, None)
    assert guard.reason


def test_where_two_paths_meet_only_what_holds_on_both_is_known():
    # cbz x0, 1f; mov x2, #1; mov x3, #5; b 2f; 1: mov x2, #2; mov x3, #5; 2: b .+0x1000
    words = (0xB4000080, 0xD2800022, 0xD28000A3, 0x14000003, 0xD2800042, 0xD28000A3, 0x14000400)
    (call,) = Follower(struct.pack("<7I", *words), VA).calls() or ()
    assert (call.at, call.target) == (VA + 24, VA + 24 + 0x1000)
    assert call.args[1:4] == (("f", 1, ()), None, ("c", 5))


@given(st.binary(max_size=400))
def test_any_bytes_are_survived(code):
    follower = Follower(code, VA)
    guard = follower.guard()
    assert guard.reason or guard.low is not None
    follower.calls()


REAL = sorted({code for v in VARIANTS for _, code in v.functions.values()}, key=len)[:24]


@given(st.sampled_from(REAL), st.integers(0, 2**32), st.integers(1, 6))
def test_damaged_code_ends_and_raises_nothing(code, seed, flips):
    dice = random.Random(seed)  # noqa: S311
    damaged = bytearray(code)
    for _ in range(flips):
        damaged[dice.randrange(len(damaged))] ^= 1 << dice.randrange(8)
    follower = Follower(bytes(damaged), VA)
    guard = follower.guard()
    for bound in (guard.low, guard.high):
        assert bound is None or 0 <= bound < 2**64
    follower.calls()
