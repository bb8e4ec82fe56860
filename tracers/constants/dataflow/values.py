# SPDX-License-Identifier: GPL-2.0-only
"""Values of arm64 registers as far as they are tracked, with arithmetic and flags on them.

Values are small tuples: ("c", u64) a constant; ("p", u64) an address made with adr/adrp, which
KASLR shifts; ("s", i) the stack pointer at entry plus i; ("f", n, steps) argument n after `steps`
(see intervals.py). `None` is anything else: unknown, never assumed.
"""

from typing import Any

from tracers.constants.dataflow.intervals import M64, Kind, Ranges, Step, holds, preimage, signed

Value = tuple[str, int] | tuple[str, int, tuple[Step, ...]] | None
Flags = tuple[str, Any, Any, Any, bool, int] | tuple[str, int] | None
"""("cmp", kind, left, right, 64 bit?, address of the comparison), ("nzcv", bits) or unknown."""


def const(value: Value) -> int | None:
    """Return the number, if it is a constant."""
    return value[1] if value is not None and value[0] == "c" else None


def _stepped(value: Value, kind: Kind, c: int) -> Value:
    if value is None or len(value) != 3:
        return None
    steps = value[2]
    if kind == "add" and steps and steps[-1][0] == "add":
        c = (steps[-1][1] + c) & M64
        steps = steps[:-1]
    if c == 0 and kind not in ("neg", "not"):
        return ("f", value[1], steps)
    return ("f", value[1], (*steps, (kind, c))) if len(steps) < 8 else None


def plus(value: Value, c: int) -> Value:
    """Value + c, modulo 2^64."""
    if value is None or len(value) == 3:
        return _stepped(value, "add", c & M64)
    kind, number = value
    return (kind, number + signed(c & M64)) if kind == "s" else (kind, (number + c) & M64)


def low32(value: Value) -> Value:
    """The value as a w register holds it: known where nothing is cut off."""
    number = const(value)
    if number is not None:
        return ("c", number & 0xFFFFFFFF)
    if value is None or len(value) != 3 or not value[2]:
        return None
    kind, by = value[2][-1]
    return value if kind == "shr" and by >= 32 else None


def _plus_any(a: Value, b: Value) -> Value:
    x, y = const(a), const(b)
    if y is not None:
        return plus(a, y)
    return None if x is None else plus(b, x)


def minus(a: Value, b: Value) -> Value:
    """Return a - b, modulo 2^64."""
    x, y = const(a), const(b)
    if y is not None:
        return plus(a, -y)
    return None if x is None else plus(_stepped(b, "neg", 0), x)


def _and(a: Value, b: Value) -> Value:
    x, y = const(a), const(b)
    if x is not None and y is not None:
        return ("c", x & y)
    low = (y & -y).bit_length() - 1 if y else 0
    return _stepped(a, "high", low) if y and y + (1 << low) == 1 << 64 else None


def _or(a: Value, b: Value) -> Value:
    x, y = const(a), const(b)
    if x is not None and y is not None:
        return ("c", x | y)
    return a if y == 0 else b if x == 0 else None


def _xor(a: Value, b: Value) -> Value:
    x, y = const(a), const(b)
    if x is not None and y is not None:
        return ("c", x ^ y)
    return _stepped(a, "not", 0) if y == M64 else None


ARITHMETIC = {"add": _plus_any, "sub": minus, "and": _and, "orr": _or, "eor": _xor}


def invert(value: Value) -> Value:
    """Return the value with every bit inverted."""
    return _xor(value, ("c", M64))


_STEPS: dict[str, Kind] = {"lsr": "shr", "asr": "sar"}


def shift(kind: str, value: Value, by: int, bits: int) -> Value:
    """Return the value after lsl, lsr or asr in a register of `bits`."""
    number = const(value)
    if by == 0:
        return value
    if number is None:
        step = _STEPS.get(kind)
        fits = bits == 64 or (kind == "lsr" and low32(value) is not None)
        return _stepped(value, step, by) if step and fits and by < bits else None
    mask = (1 << bits) - 1
    number &= mask
    if kind == "lsl":
        return ("c", number << by & mask)
    if kind == "lsr":
        return ("c", number >> by)
    wide = number - (1 << bits) if number >> (bits - 1) else number
    return ("c", wide >> by & mask)


def conditional_source(name: str, value: Value, bits: int) -> Value:
    """Return what csinc, csinv or csneg makes of its second source."""
    if bits == 32 and const(value) is None:
        return value if name == "csel" else None
    match name:
        case "csinc":
            return plus(value, 1)
        case "csinv":
            return invert(value)
        case "csneg":
            return minus(("c", 0), value)
    return value


def _nzcv(kind: str, a: int, b: int, bits: int) -> int:
    mask = (1 << bits) - 1
    a, b = a & mask, b & mask
    if kind == "and":
        result, carry, over = a & b, 0, 0
    else:
        b, one = (b ^ mask, 1) if kind == "sub" else (b, 0)
        total = a + b + one
        result, carry = total & mask, total >> bits
        over = (~(a ^ b) & (a ^ result)) >> (bits - 1) & 1
    return (result >> (bits - 1) & 1) << 3 | (result == 0) << 2 | carry << 1 | over


def condition(cc: str, nzcv: int) -> bool:
    """Whether a condition holds with these flags."""
    n, z, c, v = (bool(nzcv & bit) for bit in (8, 4, 2, 1))
    holding = {"eq": z, "hs": c, "mi": n, "vs": v, "hi": c and not z, "ge": n == v}
    holding |= {"gt": n == v and not z, "al": True, "nv": True}
    opposite = {"ne": "eq", "lo": "hs", "pl": "mi", "vc": "vs", "ls": "hi", "lt": "ge", "le": "gt"}
    return not holding[opposite[cc]] if cc in opposite else holding[cc]


def decide(flags: Flags, cc: str) -> bool | tuple[int, Ranges] | None:
    """Whether a condition holds: yes, no, for some values of an argument, or None: not known."""
    if flags is None or cc in ("al", "nv"):
        return True if cc in ("al", "nv") else None
    if len(flags) == 2:
        return condition(cc, flags[1])
    _, kind, left, right, wide, _ = flags
    a, b = const(left), const(right)
    if a is not None and b is not None:
        return condition(cc, _nzcv(kind, a, b, 64 if wide else 32))
    return _choice(kind, left, right, cc, wide=wide)


def _choice(
    kind: str, left: Value, right: Value, cc: str, *, wide: bool
) -> tuple[int, Ranges] | None:
    """For which values of an argument a comparison of it with a constant holds."""
    if const(left) is not None:
        kind, left, right = {"sub": "bus"}.get(kind, kind), right, left
    constant = const(right)
    if constant is None or left is None or len(left) != 3:
        return None
    if not wide and (kind not in ("sub", "bus") or cc not in _UNSIGNED):
        return None
    values = holds(cc, kind, constant)
    chosen = None if values is None else preimage(left[2], values)
    return None if chosen is None else (left[1], chosen)


_UNSIGNED = {"eq", "ne", "hs", "lo", "hi", "ls"}
