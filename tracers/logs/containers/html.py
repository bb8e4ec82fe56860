# SPDX-License-Identifier: GPL-2.0-only
"""Reads the text of HTML: a mail archive's page, a bug tracker's, a mail's.

Promises: what stands in <pre> keeps its line ends; elsewhere a block or <br> ends a line; what
scripts and styles say is left out; any bytes can be read.
"""

import codecs
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Final

from tracers.logs.containers.pieces import Pieces

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


def text_of(page: str) -> str:
    """Return the text of a whole page."""
    parser = _Text()
    parser.feed(page)
    parser.close()
    return "".join(parser.pieces)


class HtmlText(Pieces):
    """The text of a page, as UTF-8."""

    def _pieces(self) -> Iterator[bytes]:
        parser = _Text()
        decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        while more := self._more():
            parser.feed(decoder.decode(more))
            yield _taken(parser)
        parser.feed(decoder.decode(b"", final=True))
        parser.close()
        yield _taken(parser)


def _taken(parser: _Text) -> bytes:
    text = "".join(parser.pieces)
    parser.pieces.clear()
    return text.encode("utf-8", "surrogateescape")
