# SPDX-License-Identifier: GPL-2.0-only
"""Formats numbers, regimes and kernel text for the screen, in one place so that panels agree.

Every function returns plain text of ASCII and a few CP437 characters (a Linux console has
them), never markup. A regime is always a mark and a word; colour only repeats it.
"""

from typing import Final

from rich.cells import cell_len, set_cell_size

from recordings.ledger.headline import oopses
from recordings.wording.units import address, count, duration, share, size
from tracers.kernel_functions import name as function

__all__ = [
    "ADDRESS_WIDTH",
    "DURATION_WIDTH",
    "FAULT",
    "GLUE",
    "MARKS",
    "SILENT",
    "address",
    "bar",
    "calls",
    "clip",
    "columns",
    "count",
    "duration",
    "function",
    "mark",
    "oopses",
    "pad",
    "regime_style",
    "seconds",
    "share",
    "size",
]

#: Keeps what belongs together on one line; to be shown as a space.
GLUE: Final = "\N{NO-BREAK SPACE}"
#: A mark per regime, readable without colour: on which side of the window a call lies.
MARKS: Final = {
    "inside": "·",
    "below": "↓",
    "above": "↑",
    "wrapped": "»",
    "straddling": "↕",
    "unknown": "?",
}

#: Beside the mark of a hit that the kernel's own check lets pass.
SILENT: Final = "○"

#: Where the kernel failed, on a map or a line of time.
FAULT: Final = "X"

#: Width of ``duration``'s longest result, for aligned columns.
DURATION_WIDTH: Final = 8
#: Width of ``address``'s result.
ADDRESS_WIDTH: Final = 18

_EIGHTHS = " ▁▂▃▄▅▆▇█"
_PARTS = " ▏▎▍▌▋▊▉█"


def mark(regime: str, *, silent: bool = False) -> str:
    """Return the mark of a regime: one character, two of a silent hit; "?" of one not known."""
    return MARKS.get(regime, "?") + (SILENT if silent else "")


def regime_style(regime: str) -> str:
    """Return the theme variable of a regime's colour."""
    return f"$regime-{regime}" if regime in MARKS else "$regime-unknown"


def calls(number: int, noun: str = "call") -> str:
    """Return "1 call", "2 calls"."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def seconds(nanoseconds: int | None) -> str:
    """Return a moment as seconds to the millisecond, or "-"."""
    return "-" if nanoseconds is None else f"{nanoseconds / 1e9:.3f} s"


def bar(value: float, peak: float, width: int) -> str:
    """Return a horizontal bar of ``width`` cells at most; anything above zero shows."""
    if peak <= 0 or value <= 0 or width <= 0:
        return ""
    eighths = max(1, min(width * 8, round(width * 8 * value / peak)))
    full, rest = divmod(eighths, 8)
    return "█" * full + (_PARTS[rest] if rest else "")


def columns(values: list[float], peak: float, height: int) -> list[str]:
    """Return ``height`` lines of vertical bars, top line first, one cell per value."""
    if peak <= 0:
        return [" " * len(values)] * height
    levels = [
        max(1, min(height * 8, round(height * 8 * value / peak))) if value > 0 else 0
        for value in values
    ]
    return [
        "".join(_EIGHTHS[max(0, min(8, level - 8 * row))] for level in levels)
        for row in reversed(range(height))
    ]


def clip(text: str, width: int) -> str:
    """Return text no wider than ``width``, its end replaced by "…" where it is cut.

    For names only: a number is never cut, its column is dropped instead.
    """
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, width - 1) + "…" if width > 0 else ""


def pad(text: str, width: int) -> str:
    """Return text clipped or filled to exactly ``width`` cells."""
    return set_cell_size(clip(text, width), width)
