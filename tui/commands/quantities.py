# SPDX-License-Identifier: GPL-2.0-only
"""Parses sizes, times and percentages as people type them: callbacks of click's options."""

import re
from typing import Final

import click

_SIZES: Final = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}
_TIMES: Final = {"": 1, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}
_QUANTITY: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?([a-zµ]*)")
_SHORT: Final = {"ns": 1, "us": 1000, "µs": 1000, "ms": 10**6, "s": 10**9}
LEAST_SIZE: Final = 64 << 10  # a header alone is some 10 kB


def size_of(_: click.Context, param: click.Parameter, text: str | None) -> int | None:
    """Return bytes: of 65536, 64K, 1.5GiB (binary units all)."""
    if text is None:
        return None
    match = _QUANTITY.fullmatch(text.strip().lower())
    unit = re.sub("i?b$", "", match[2]) if match else ""
    if match is None or unit not in _SIZES:
        raise click.BadParameter(f"{text!r} is no size such as 64M or 1G", param=param)
    size = round(float(match[1]) * (1 << _SIZES[unit]))
    if size < LEAST_SIZE:
        raise click.BadParameter(f"{text!r} is less than 64K", param=param)
    return size


def seconds_of(_: click.Context, param: click.Parameter, text: str | None) -> float | None:
    """Return seconds: of 30, 90s, 10min, 1h, 7d."""
    if text is None:
        return None
    match = _QUANTITY.fullmatch(text.strip().lower())
    if match is None or match[2] not in _TIMES or not float(match[1]):
        raise click.BadParameter(f"{text!r} is no time such as 90s, 10min or 1h", param=param)
    return float(match[1]) * _TIMES[match[2]]


def nanoseconds_of(_: click.Context, param: click.Parameter, text: str | None) -> int | None:
    """Return nanoseconds: of 500us, 1.5ms, 2s; a unit must be there."""
    if text is None:
        return None
    # a keyboard has the micro sign or the Greek letter
    match = _QUANTITY.fullmatch(text.strip().lower().replace("\u03bc", "µ"))
    if match is None or match[2] not in _SHORT or not float(match[1]):
        raise click.BadParameter(f"{text!r} is no time such as 500us, 1.5ms or 2s", param=param)
    return round(float(match[1]) * _SHORT[match[2]])


def percent_of(_: click.Context, param: click.Parameter, text: str | None) -> float | None:
    """Return percent: of 10, 2.5, 93%. Not "nan", which nothing is ever above."""
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,6})?) ?%?", text.strip(), re.ASCII)
    if match is None or float(match[1]) > 100:
        raise click.BadParameter(f"{text!r} is no percentage from 0 to 100", param=param)
    return float(match[1])
