# SPDX-License-Identifier: GPL-2.0-only
"""Numbers, times and sizes as people type them after ``/`` and ``g``: exact, rounded down."""

import re
from typing import Final

#: A decimal number, as a regular expression.
DECIMAL: Final = r"[0-9]{1,15}(?:\.[0-9]{1,9})?"
#: Nanoseconds; a keyboard has the micro sign or the Greek letter.
TIME_UNITS: Final = {"ns": 1, "us": 10**3, "µs": 10**3, "\u03bcs": 10**3, "ms": 10**6, "s": 10**9}
#: Powers of two, by the letter of a binary unit.
SIZES: Final = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}

_INTEGER: Final = re.compile(r"0x[0-9a-f]{1,17}|[0-9]{1,20}")


def integer(text: str) -> int | None:
    """Return a number in lower-case hexadecimal (0x…) or decimal digits; ``None``: it is none."""
    if not _INTEGER.fullmatch(text):
        return None
    return int(text, 16 if "x" in text else 10)


def scaled(decimal: str, factor: int, divisor: int = 1) -> int:
    """Return a decimal number times ``factor`` / ``divisor``."""
    whole, _, rest = decimal.partition(".")
    shift: int = 10 ** len(rest)
    return int(whole + rest) * factor // (divisor * shift)
