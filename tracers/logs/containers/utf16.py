# SPDX-License-Identifier: GPL-2.0-only
"""Reads text of UTF-16 or UTF-32 that begins with a byte order mark, as UTF-8.

Promises: a mark of UTF-8 is passed over; what is no character becomes U+FFFD and does not end the
reading; the end in the middle of a character is ``torn``.
"""

import codecs
from collections.abc import Iterator
from typing import Final

from tracers.logs.containers.pieces import Pieces

#: The longer ones first: UTF-32's begins as UTF-16's.
_MARKS: Final = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def looks_like(head: bytes) -> bool:
    """Return whether ``head`` begins with a mark."""
    return any(head.startswith(mark) for mark, _ in _MARKS)


class Utf8(Pieces):
    """The text as UTF-8."""

    def _pieces(self) -> Iterator[bytes]:
        head = self._more()
        while len(head) < 4 and (more := self._more()):
            head += more
        name = next((name for mark, name in _MARKS if head.startswith(mark)), "utf-8")
        decoder = codecs.getincrementaldecoder(name)("replace")
        while head:
            yield decoder.decode(head).encode("utf-8", "replace")
            head = self._more()
        if rest := decoder.decode(b"", final=True):
            self.torn = True
            yield rest.encode()
