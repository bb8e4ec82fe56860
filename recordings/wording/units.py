# SPDX-License-Identifier: GPL-2.0-only
"""Formats durations, counts, addresses, sizes and shares, the same way everywhere.

Promises: integer arithmetic on integers (no float touches an address), at most 4 significant
digits of a duration, and a unit on everything that has one.
"""

from typing import Final

_STEPS: Final = ((1_000, "µs"), (1_000_000, "ms"), (1_000_000_000, "s"))
_DAY: Final = 86_400_000_000_000  # ns


def duration(ns: float | None) -> str:
    """Return nanoseconds with the unit that suits: "950 ns", "13.4 µs", "119.9 ms", "57.2 s".

    At most eight characters below 2^64 ns, as columns are that wide; from 100,000 s on in days.
    """
    if ns is None:
        return "-"
    if abs(ns) < 999.5:
        return f"{ns:.0f} ns"
    if abs(ns) >= 99_999.5e9:
        return f"{ns / _DAY:.0f} d"
    scale, unit = next(step for step in _STEPS if abs(ns) / step[0] < 999.95 or step is _STEPS[-1])
    value = ns / scale
    small = abs(value)
    digits = 3 if small < 9.9995 else 2 if small < 99.995 else 1 if small < 999.95 else 0
    return f"{_trim(f'{value:,.{digits}f}')} {unit}"


def count(number: int) -> str:
    """Return a count with thousands separated: "1,234"."""
    return f"{number:,}"


def counted(number: int, one: str, many: str = "") -> str:
    """Return a count with its word: "1 call", "1,234 calls"; ``many``: where an s is not enough."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def address(value: int | None) -> str:
    """Return an address as the kernel prints it: 0x and 16 digits."""
    return "-" if value is None else f"0x{value:016x}"


def size(number: int) -> str:
    """Return bytes with a binary unit: "64 B", "2 MiB", "1.5 GiB"."""
    for shift, unit in (
        (60, "EiB"),
        (50, "PiB"),
        (40, "TiB"),
        (30, "GiB"),
        (20, "MiB"),
        (10, "KiB"),
    ):
        if number >> shift:
            return f"{_trim(f'{number / (1 << shift):.2f}')} {unit}"
    return f"{number} B"


def share(part: float | None) -> str:
    """Return a share of 1 in percent: "93 %", "0.4 %", ">99 %"; "-" when it is not known.

    A share above 0 is never "0 %", and one below 1 is never "100 %".
    """
    if part is None:
        return "-"
    if 0 < part < 0.01:
        return f"{part * 100:.1f} %" if part >= 0.0005 else "<0.1 %"
    return ">99 %" if 0.99 < part < 1 else f"{part * 100:.0f} %"


def _trim(text: str) -> str:
    """Drop trailing zeros after a decimal point: 2.00 becomes 2."""
    return text.rstrip("0").rstrip(".") if "." in text else text
