# SPDX-License-Identifier: GPL-2.0-only
"""Nothing that can move a cursor, set a title or reorder a line comes out."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from recordings.wording.escape import printable


def test_a_terminal_escape_becomes_visible() -> None:
    assert printable("\x1b]0;x\x07[bold]") == r"\x1b]0;x\x07[bold]"


def test_bidi_and_zero_width_are_shown_by_number() -> None:
    assert printable("a\u202eb\u200b") == r"a\u202eb\u200b"
    assert printable("\U000e0001") == r"\U000e0001"


def test_ordinary_names_stay() -> None:
    assert printable("kworker/u8:2-ev") == "kworker/u8:2-ev"
    assert printable("größe") == "größe"
    assert printable(None) == "-"


@given(st.text())
def test_only_printable_categories_remain(text: str) -> None:
    kept = {unicodedata.category(char)[0] for char in printable(text)}
    assert kept <= set("LMNPSZ")
    assert "\n" not in printable(text)
