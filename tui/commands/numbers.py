# SPDX-License-Identifier: GPL-2.0-only
"""Parses numbers as people and mails write them: sizes, physical ranges, targets of ``explain``.

Promises: nothing is guessed; for a number that could mean two things the error says how to write
which. Every error is a ``ValueError`` of one line.
"""

import re
from typing import Final

from recordings.reports.explain_target import Target

_MASK: Final = (1 << 64) - 1
_SUFFIX: Final = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40, "P": 50, "E": 60}
#: 0x80_0000_0000, 1_000, 4K, 4KiB, 16 GiB; a size suffix only behind decimal digits
_HEX = re.compile(r"0[xX]_?([0-9a-fA-F]+(?:_[0-9a-fA-F]+)*)")
_DEC = re.compile(r"([0-9]+(?:_[0-9]+)*) ?(?:([KMGTPE])(?:i?B)?)?", re.IGNORECASE)
_BARE = re.compile(r"[0-9a-f]{16}")  # as oops messages print registers
_ADDRESS_DIGITS: Final = 16

KINDS: Final = ("addr", "pfn", "phys")


def number(text: str) -> int:
    """Return a number of at most 64 bits: hexadecimal with 0x, else decimal, K to E behind it."""
    if len(text) > 40:
        raise ValueError("that is too long for a number of 64 bits")
    if match := _HEX.fullmatch(text):
        value = int(match[1].replace("_", ""), 16)
    elif match := _DEC.fullmatch(text):
        value = int(match[1].replace("_", "")) << _SUFFIX[(match[2] or "").upper()]
    else:
        raise ValueError(f"{text!r} is no number; write 0x80_0000_0000, 549755813888 or 512G")
    if value > _MASK:
        raise ValueError(f"{text!r} has more than 64 bits")
    return value


def signed_number(text: str) -> int:
    """Return a number modulo 2^64; memstart_addr may be below 0."""
    if not text.startswith("-"):
        return number(text)
    value = number(text[1:])
    if value > 1 << 63:
        raise ValueError(f"{text!r} has more than 64 bits")
    return -value & _MASK


def region_size(text: str) -> int:
    """Return the size of a physical region, at most all that 52 bits can address."""
    value = number(text)
    if not 0 < value <= 1 << 52:
        raise ValueError(f"{text!r}: a region has at least a byte and at most 4 PiB (52 bits)")
    return value


def extent(text: str) -> tuple[int, int]:
    """Return [start, end) of START..END or START+SIZE."""
    first, second, relative = _split(text)
    if second is None:
        raise ValueError(f"{text!r} is no range; write START..END (END not included) or START+SIZE")
    start = number(first)
    end = number(second) + (start if relative else 0)
    if end <= start:
        raise ValueError(f"{text!r} is empty: the end comes after the start")
    return start, end


def parse_target(text: str, given: str | None = None) -> Target:
    """Return the target that ``text`` names; ``given`` is the kind from --as."""
    head, colon, rest = text.partition(":")
    if colon and head.lower() not in KINDS:
        raise ValueError(f"{text!r}: the prefixes are {', '.join(f'{kind}:' for kind in KINDS)}")
    kind, body = (head.lower(), rest) if colon else (given, text)
    why = f"prefix {kind}:" if colon else f"--as {kind}"
    first, second, relative = _split(body)
    start, full = _address(first) if kind in (None, "addr") else (number(first), False)
    if kind is None:
        kind, why = _kind_of(text, start, full)
    end = None
    if second is not None:
        bound = _address(second)[0] if kind == "addr" and not relative else number(second)
        end = bound + (start if relative else 0)
        if end <= start:
            raise ValueError(f"{text!r} is empty: the end comes after the start")
    return Target(text, kind, start, end, why)


def _address(text: str) -> tuple[int, bool]:
    """Return a number and whether it is written like an address, with 16 hexadecimal digits."""
    if _BARE.fullmatch(text) and not text.isdecimal():
        return int(text, 16), True
    match = _HEX.fullmatch(text)
    return number(text), bool(match and len(match[1].replace("_", "")) == _ADDRESS_DIGITS)


def _kind_of(text: str, value: int, full: bool) -> tuple[str, str]:
    if value >= 1 << 63:
        return "addr", "it is in the kernel half, 2^63 and up"
    if full:
        return "addr", "it is written with 16 hexadecimal digits"
    bare = text.strip()  # ends of lines may stand around it
    raise ValueError(
        f"{bare!r} can be an address, a pfn or a physical address: say --as, or write addr:{bare},"
        f" pfn:{bare} or phys:{bare}"
    )


def _split(text: str) -> tuple[str, str | None, bool]:
    """Return (start, end or size or None, whether it is a size)."""
    first, dots, second = text.partition("..")
    if dots:
        return first.strip(), second.strip(), False
    first, plus, second = text.partition("+")
    return first.strip(), second.strip() if plus else None, bool(plus)
