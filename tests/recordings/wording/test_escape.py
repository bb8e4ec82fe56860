# SPDX-License-Identifier: GPL-2.0-only
"""Nothing that can move a cursor, set a title or reorder a line comes out."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recordings.wording.escape import printable

#: Annex 9's types: strong right to left, Arabic numbers, and what embeds, overrides or isolates.
RIGHT_TO_LEFT = {"R", "AL", "AN", "RLE", "RLO", "RLI", "LRE", "LRO", "LRI", "FSI", "PDF", "PDI"}


def test_a_terminal_escape_becomes_visible() -> None:
    assert printable("\x1b]0;x\x07[bold]") == r"\x1b]0;x\x07[bold]"


def test_bidi_and_zero_width_are_shown_by_number() -> None:
    assert printable("a\u202eb\u200b") == r"a\u202eb\u200b"
    assert printable("\U000e0001") == r"\U000e0001"


@pytest.mark.parametrize(
    "comm",
    [
        "\N{HEBREW LETTER ALEF}",
        "\N{ARABIC LETTER BEH}",
        "\N{ARABIC-INDIC DIGIT ONE}-\N{ARABIC-INDIC DIGIT TWO}",
        "\N{THAANA LETTER HAA}",
        "\N{ADLAM CAPITAL LETTER ALIF}",
        "\N{HEBREW LETTER WIDE ALEF}",
    ],
)
def test_letters_from_right_to_left_cannot_turn_the_numbers_beside_them(comm: str) -> None:
    shown = printable(f"{comm}-85 12:34 {comm}")
    assert shown.isascii()
    assert "-85 12:34 " in shown


def test_a_recordings_own_name_is_escaped_once_however_often_it_passes() -> None:
    once = printable("a\x1b[31m\n\N{HEBREW LETTER ALEF}.arrows")
    assert printable(once) == once == r"a\x1b[31m\x0a\u05d0.arrows"


def test_ordinary_names_stay() -> None:
    assert printable("kworker/u8:2-ev") == "kworker/u8:2-ev"
    assert printable("größe 大きさ Δ ½") == "größe 大きさ Δ ½"
    assert printable(None) == "-"


@given(st.text())
def test_only_printable_categories_remain(text: str) -> None:
    kept = {unicodedata.category(char)[0] for char in printable(text)}
    assert kept <= set("LMNPSZ")
    assert "\n" not in printable(text)
    assert not {unicodedata.bidirectional(char) for char in printable(text)} & RIGHT_TO_LEFT
