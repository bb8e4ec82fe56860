# SPDX-License-Identifier: GPL-2.0-only
"""The dark and the light palette, and the regimes' colours for any other theme.

Colour repeats what marks and words say, so a palette can be changed freely; these keep at
least 4.5:1 contrast of text on background. Terminals of 16 colours get Textual's nearest ones.
"""

from typing import Final

from textual.theme import Theme

DARK: Final = Theme(
    name="vmemscope-dark",
    primary="#7fb0d8",
    secondary="#5a7fa3",
    accent="#c9a86a",
    error="#ef7f74",
    warning="#e0b25c",
    success="#7cc496",
    foreground="#d5dae1",
    background="#11151b",
    surface="#171c24",
    panel="#1e2530",
    dark=True,
    variables={
        "text-muted": "#8b96a5",
        "regime-inside": "#7cc496",
        "regime-below": "#e0b25c",
        "regime-above": "#ef7f74",
        "regime-wrapped": "#d59be0",
        "regime-straddling": "#79c9cf",
        "regime-unknown": "#8b96a5",
        "strip-window": "#1f3a2b",
        "strip-region": "#232b38",
        "strip-blind": "#3d3320",
        "strip-user": "#332a3d",
        "frame": "#364152",
        "cursor": "#2b3a4d",
    },
)
LIGHT: Final = Theme(
    name="vmemscope-light",
    primary="#25588a",
    secondary="#4d7299",
    accent="#7a5a12",
    error="#ad2e24",
    warning="#855800",
    success="#22713f",
    foreground="#20262e",
    background="#fbfaf7",
    surface="#f2f0eb",
    panel="#e8e5de",
    dark=False,
    variables={
        "text-muted": "#5b6470",
        "regime-inside": "#22713f",
        "regime-below": "#855800",
        "regime-above": "#ad2e24",
        "regime-wrapped": "#83379a",
        "regime-straddling": "#0f6670",
        "regime-unknown": "#5b6470",
        "strip-window": "#d3ead9",
        "strip-region": "#e4e7ec",
        "strip-blind": "#f3e6c8",
        "strip-user": "#eee2f2",
        "frame": "#c3c6ca",
        "cursor": "#d5e2ef",
    },
)
#: For themes that do not know our variables (Textual's own, chosen in TEXTUAL_THEME).
FALLBACK: Final = {
    "regime-inside": "ansi_green",
    "regime-below": "ansi_yellow",
    "regime-above": "ansi_red",
    "regime-wrapped": "ansi_magenta",
    "regime-straddling": "ansi_cyan",
    "regime-unknown": "ansi_default",
    "strip-window": "ansi_default",
    "strip-region": "ansi_default",
    "strip-blind": "ansi_default",
    "strip-user": "ansi_default",
    "frame": "ansi_default",
    "cursor": "ansi_default",
}
