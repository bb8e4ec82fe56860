# SPDX-License-Identifier: GPL-2.0-only
"""Sets of numbers, against the architecture's own definitions worked out number by number."""

from hypothesis import given
from hypothesis import strategies as st

from tracers.constants.dataflow.intervals import (
    M64,
    complement,
    count,
    holds,
    intersection,
    preimage,
    ranges,
)
from tracers.constants.dataflow.values import decide

numbers = st.one_of(
    st.integers(0, M64),
    st.builds(
        lambda k, d, s: (s << k) + d & M64,
        st.integers(0, 63),
        st.integers(-2, 2),
        st.sampled_from([1, -1]),
    ),
)
spans = st.lists(st.tuples(numbers, numbers).map(lambda p: tuple(sorted(p))), max_size=4)
CONDITIONS = ["eq", "ne", "hs", "lo", "mi", "pl", "hi", "ls", "ge", "lt", "gt", "le"]


def inside(number, found):
    return any(lo <= number <= hi for lo, hi in found)


def signed(number, bits=64):
    return number - (1 << bits) if number >> (bits - 1) else number


def add_with_carry(x, y, carry, bits=64):
    """AddWithCarry of the Arm ARM: N, Z, C, V."""
    mask = (1 << bits) - 1
    total = (x & mask) + (y & mask) + carry
    exact = signed(x & mask, bits) + signed(y & mask, bits) + carry
    result = total & mask
    return bool(result >> (bits - 1)), result == 0, total != result, exact != signed(result, bits)


def holds_for(cc, n, z, c, v):
    """ConditionHolds of the Arm ARM."""
    return {
        "eq": z, "ne": not z, "hs": c, "lo": not c, "mi": n, "pl": not n,
        "hi": c and not z, "ls": not (c and not z), "ge": n == v, "lt": n != v,
        "gt": n == v and not z, "le": not (n == v and not z),
    }[cc]  # fmt: skip


def flags_of(kind, x, constant, bits=64):
    if kind == "and":
        result = x & constant & ((1 << bits) - 1)
        return bool(result >> (bits - 1)), result == 0, False, False
    if kind == "add":
        return add_with_carry(x, constant, 0, bits)
    a, b = (x, constant) if kind == "sub" else (constant, x)
    return add_with_carry(a, ~b, 1, bits)


@given(st.sampled_from(CONDITIONS), st.sampled_from(["sub", "bus", "add"]), numbers, numbers)
def test_a_condition_holds_where_the_architecture_says(cc, kind, constant, x):
    found = holds(cc, kind, constant)
    assert found is not None
    assert inside(x, found) == holds_for(cc, *flags_of(kind, x, constant))
    for lo, hi in found:  # the edges, where off by one shows
        for edge in (lo - 1, lo, hi, hi + 1):
            if 0 <= edge <= M64:
                expected = holds_for(cc, *flags_of(kind, edge, constant))
                assert inside(edge, found) == expected


@given(st.sampled_from(CONDITIONS), st.integers(0, 63), numbers)
def test_tests_of_high_bits(cc, low, x):
    mask = M64 ^ ((1 << low) - 1)
    found = holds(cc, "and", mask)
    assert found is not None
    assert inside(x, found) == holds_for(cc, *flags_of("and", x, mask))


def test_tests_of_other_bits_are_not_a_few_ranges():
    assert holds("eq", "and", 0xFFF) is None
    assert holds("eq", "and", 0) is None
    assert holds("vs", "sub", 1) is None


steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["add"]), numbers),
        st.tuples(st.sampled_from(["shr", "sar", "high"]), st.integers(1, 63)),
        st.tuples(st.sampled_from(["neg", "not"]), st.just(0)),
    ),
    max_size=5,
).map(tuple)


def apply(chain, x):
    for kind, c in chain:
        x = {
            "add": lambda x, c: x + c,
            "shr": lambda x, c: x >> c,
            "sar": lambda x, c: signed(x) >> c,
            "neg": lambda x, _: -x,
            "not": lambda x, _: ~x,
            "high": lambda x, c: x >> c << c,
        }[kind](x, c) & M64
    return x


@given(steps, spans, numbers)
def test_a_preimage_is_what_the_steps_map_there(chain, intervals, x):
    values = ranges(intervals)
    arguments = preimage(chain, values)
    if arguments is None:
        return
    for number in [
        x,
        *(n & M64 for bounds in arguments for e in bounds for n in (e - 1, e, e + 1)),
    ]:
        assert inside(number, arguments) == inside(apply(chain, number), values)


@given(spans, spans, numbers)
def test_sets(a, b, x):
    one, two = ranges(a), ranges(b)
    assert inside(x, complement(one)) != inside(x, one)
    assert inside(x, intersection(one, two)) == (inside(x, one) and inside(x, two))
    assert count(one) + count(complement(one)) == 2**64


compares = st.sampled_from(["sub", "add", "and"])


@given(st.sampled_from(CONDITIONS), compares, numbers, numbers, st.booleans())
def test_constants_are_compared_as_the_architecture_does(cc, kind, x, y, wide):
    bits = 64 if wide else 32
    decided = decide(("cmp", kind, ("c", x), ("c", y), wide, 0), cc)
    assert decided is holds_for(cc, *flags_of(kind, x, y, bits))
