# SPDX-License-Identifier: GPL-2.0-only
"""Escapes untrusted text (from a kernel or a file) so that it is safe to show.

Promises: the result has no control, format (bidi, zero-width), surrogate or unassigned
character, so it can neither move the cursor, nor set a title; and none that is written from right
to left, so it cannot reorder the line: digits and signs beside such a letter change places, and
what isolates it (U+2068) is unknown to many terminals, and has a width in some.

Source: Unicode Standard Annex 9, rules N1 and W2.
"""

import unicodedata

_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_RIGHT_TO_LEFT = frozenset({"R", "AL", "AN"})


def printable(text: str | None) -> str:
    r"""Return ``text`` with every unsafe character as a visible ``\xNN`` or ``\uNNNN``.

    ``None`` becomes ``-``. Rich markup is not touched here: put the result in a
    ``rich.text.Text``, which interprets none.
    """
    if text is None:
        return "-"
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_visible, text))


def _visible(char: str) -> str:
    right_to_left = unicodedata.bidirectional(char) in _RIGHT_TO_LEFT
    if not right_to_left and unicodedata.category(char) not in _UNSAFE:
        return char
    code = ord(char)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
