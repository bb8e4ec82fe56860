# SPDX-License-Identifier: GPL-2.0-only
"""Sets of u64 numbers as intervals, and which values of one argument satisfy an arm64 condition.

The kernel's range check is read by asking which argument values take which branch. A register
that depends on one argument is a chain of steps (`x + c`, `x >> k`, …); a comparison of it with a
constant holds on a set of its values; going back through the chain gives the set of argument
values (the preimage). All of it is exact: a set that is not a few intervals is `None`, "not decided
here".
"""

from collections.abc import Callable, Iterable
from typing import Literal

M64 = (1 << 64) - 1
TOP = 1 << 63

Ranges = tuple[tuple[int, int], ...]
"""Sorted, disjoint, not adjacent, both bounds included."""

Kind = Literal["add", "shr", "sar", "neg", "not", "high"]
Step = tuple[Kind, int]
"""One step: add c, shift right by c (zeros, sign), negate, invert, clear the low c bits."""

EVERY: Ranges = ((0, M64),)
NONE: Ranges = ()
MAX_RANGES = 8


def ranges(intervals: Iterable[tuple[int, int]]) -> Ranges:
    """Return intervals (lo, hi) in any order, empty ones allowed, as `Ranges`."""
    out: list[tuple[int, int]] = []
    for lo, hi in sorted(bounds for bounds in intervals if bounds[0] <= bounds[1]):
        if out and lo <= out[-1][1] + 1:
            out[-1] = (out[-1][0], max(hi, out[-1][1]))
        else:
            out.append((lo, hi))
    return tuple(out)


def intersection(a: Ranges, b: Ranges) -> Ranges:
    """Numbers in `a` and in `b`."""
    return ranges((max(p[0], q[0]), min(p[1], q[1])) for p in a for q in b)


def complement(a: Ranges) -> Ranges:
    """Numbers not in `a`."""
    edges = [-1, *(edge for bounds in a for edge in bounds), M64 + 1]
    return ranges((edges[i] + 1, edges[i + 1] - 1) for i in range(0, len(edges), 2))


def count(a: Ranges) -> int:
    """How many numbers."""
    return sum(hi - lo + 1 for lo, hi in a)


def rotate(a: Ranges, by: int) -> Ranges:
    """Every number plus `by`, modulo 2^64."""
    out: list[tuple[int, int]] = []
    for lo, hi in a:
        first, last = (lo + by) & M64, (hi + by) & M64
        if count(a) > M64:
            return EVERY
        out += [(first, last)] if first <= last else [(first, M64), (0, last)]
    return ranges(out)


def _unshift(a: Ranges, bits: int, top: int) -> Ranges:
    """Return x with x >> bits in `a`, for x up to `top`."""
    return ranges((lo << bits, min(((hi + 1) << bits) - 1, top)) for lo, hi in a)


def _step_preimage(a: Ranges, step: Step) -> Ranges:
    """Numbers that the step maps into `a`."""
    kind, c = step
    match kind:
        case "add":
            return rotate(a, -c)
        case "shr":
            return _unshift(a, c, M64)
        case "sar":
            fill = M64 ^ (M64 >> c)
            upper = intersection(a, ((fill | (TOP >> c), M64),))
            # Without the sign bits above it a negative number shifts like any other.
            down = ranges((lo & (M64 >> c), hi & (M64 >> c)) for lo, hi in upper)
            return ranges(
                (
                    *intersection(_unshift(a, c, M64), ((0, TOP - 1),)),
                    *intersection(_unshift(down, c, M64), ((TOP, M64),)),
                )
            )
        case "neg":
            return rotate(ranges((M64 - hi, M64 - lo) for lo, hi in a), 1)
        case "not":
            return ranges((M64 - hi, M64 - lo) for lo, hi in a)
        case "high":
            low = (1 << c) - 1
            return ranges((lo + low & ~low, hi | low) for lo, hi in a if lo + low & ~low <= hi)


def preimage(steps: tuple[Step, ...], values: Ranges) -> Ranges | None:
    """Argument values that the chain of `steps` maps into `values`; None: too many intervals."""
    for step in reversed(steps):
        values = _step_preimage(values, step)
        if len(values) > MAX_RANGES:
            return None
    return values


def signed(value: int) -> int:
    """A u64 as a two's complement number."""
    return value - (1 << 64) if value & TOP else value


def _signed_range(lo: int, hi: int) -> Ranges:
    """u64 numbers whose signed value is within [lo, hi] (bounds of any size)."""
    lo, hi = max(lo, -TOP), min(hi, TOP - 1)
    if lo > hi:
        return NONE
    if lo < 0 <= hi:
        return ranges(((0, hi), (lo & M64, M64)))
    return ((lo & M64, hi & M64),)


_NEGATIVE: Ranges = ((TOP, M64),)


def _unsigned(c: int) -> dict[str, Ranges]:
    """Return x where each condition holds after `cmp x, c`."""
    s = signed(c)
    return {
        "eq": ((c, c),),
        "hs": ((c, M64),),
        "hi": ranges(((c + 1, M64),)),
        "ge": _signed_range(s, TOP),
        "gt": _signed_range(s + 1, TOP),
        "mi": rotate(_NEGATIVE, c),
    }


def _swapped(c: int) -> dict[str, Ranges]:
    """Return x where each condition holds after `cmp c, x`."""
    s = signed(c)
    return {
        "eq": ((c, c),),
        "hs": ((0, c),),
        "hi": ranges(((0, c - 1),)),
        "ge": _signed_range(-TOP, s),
        "gt": _signed_range(-TOP, s - 1),
        "mi": rotate(((1, TOP),), c),
    }


def _added(c: int) -> dict[str, Ranges]:
    """Return x where each condition holds after `cmn x, c`: the carry is that of x + c."""
    s = signed(c)
    carry = ranges(((M64 + 1 - c, M64),))
    zero = ((-c & M64, -c & M64),)
    return {
        "eq": zero,
        "hs": carry,
        "hi": intersection(carry, complement(zero)),
        "ge": _signed_range(-s, TOP),
        "gt": intersection(_signed_range(-s, TOP), complement(zero)),
        "mi": rotate(_NEGATIVE, -c),
    }


def _tested(mask: int) -> dict[str, Ranges]:
    """Return x where each condition holds after `tst x, mask`; only for masks of high bits."""
    low = (mask & -mask).bit_length() - 1
    if mask == 0 or mask + (1 << low) != 1 << 64:
        return {}
    zero: Ranges = ((0, (1 << low) - 1),)
    return {
        "eq": zero,
        "hs": NONE,  # carry and overflow are 0
        "hi": NONE,
        "ge": complement(_NEGATIVE),
        "gt": intersection(complement(_NEGATIVE), complement(zero)),
        "mi": _NEGATIVE,
    }


OPPOSITE = {"ne": "eq", "lo": "hs", "ls": "hi", "lt": "ge", "le": "gt", "pl": "mi", "vc": "vs"}

_TRUE: dict[str, Callable[[int], dict[str, Ranges]]] = {
    "sub": _unsigned,
    "bus": _swapped,
    "add": _added,
    "and": _tested,
}


def holds(cc: str, kind: str, constant: int) -> Ranges | None:
    """Return the x for which condition `cc` holds after a comparison of `x` with a 64-bit constant.

    Args:
        cc: condition as the assembler writes it, "hs", "lo", "eq", …
        kind: "sub" (cmp x, c), "bus" (cmp c, x), "add" (cmn x, c), "and" (tst x, c).
        constant: u64.

    Returns:
        The set, or None where it is not a few intervals.
    """
    table = _TRUE[kind](constant)
    if cc in OPPOSITE:
        positive = table.get(OPPOSITE[cc])
        return None if positive is None else complement(positive)
    return table.get(cc)
