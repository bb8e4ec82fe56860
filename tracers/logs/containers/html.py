# SPDX-License-Identifier: GPL-2.0-only
"""Reads the text of HTML: a mail archive's page, a bug tracker's, a mail's.

Promises: what stands in <pre> keeps its line ends; elsewhere a block or <br> ends a line; what
scripts and styles say is left out; any bytes can be read, up to ``MOST``, beyond which it is
``torn``.
"""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Final

from tracers.logs.containers.pieces import Pieces

MOST: Final = 64 << 20  # bytes of a page
_BEGINS: Final = re.compile(
    rb"\s*(?:<\?xml[^>]{0,200}>\s*)?(?:<!--.{0,400}?-->\s*)?"
    rb"<(?:!doctype html|html|head|body|pre|div)\b",
    re.IGNORECASE | re.DOTALL,
)
_BLOCKS: Final = frozenset(
    ("br", "pre", "p", "div", "tr", "li", "td", "blockquote", "h1", "h2", "h3")
)
_SILENT: Final = frozenset(("script", "style", "title"))


def looks_like(head: bytes) -> bool:
    """Return whether a file that begins with ``head`` is HTML."""
    return _BEGINS.match(head) is not None


class _Text(HTMLParser):
    """Collects the text of a page."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.pieces: list[str] = []
        self._silent = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag in _SILENT:
            self._silent = tag
        elif tag in _BLOCKS:
            self.pieces.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._silent:
            self._silent = ""
        elif tag in _BLOCKS - {"br"}:
            self.pieces.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._silent:
            self.pieces.append(data.replace("\xa0", " "))


def text_of(page: str) -> tuple[str, bool]:
    """Return the text of a whole page, and whether all of it could be read."""
    parser = _Text()
    try:
        parser.feed(page)
        parser.close()
    except AssertionError:  # of a declaration that is none, such as "<![\0"
        return "".join(parser.pieces), False
    return "".join(parser.pieces), True


class HtmlText(Pieces):
    """The text of a page, as UTF-8."""

    def _pieces(self) -> Iterator[bytes]:
        data = self._all(MOST)
        text, whole = text_of(data.decode("utf-8", "surrogateescape"))
        self.torn = self.torn or not whole
        yield text.encode("utf-8", "surrogateescape")
