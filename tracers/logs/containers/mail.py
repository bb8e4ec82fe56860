# SPDX-License-Identifier: GPL-2.0-only
"""Reads the texts of mails whose lines are encoded: quoted-printable, base64, parts, HTML.

A mail of plain lines needs no reading: it is a log with other text around. Promises: the text of
every part, attached logs too, in their order; of alternatives the plain one; what cannot be decoded
stays as it is; a mail beyond ``MOST`` bytes is read to there and ``torn``.
"""

import base64
import email
import email.errors
import email.message
import email.policy
import quopri
import re
from collections.abc import Iterator
from typing import Final

from tracers.logs.containers.html import text_of
from tracers.logs.containers.pieces import Pieces

MOST: Final = 64 << 20
_ENCODED: Final = re.compile(
    rb"^Content-Transfer-Encoding:\s*(?:quoted-printable|base64)\s*$", re.IGNORECASE | re.MULTILINE
)
#: A mail's body alone, as it is pasted: "=" as "=3D", spaces at a line's end, soft line ends.
_ENCODED_BODY: Final = re.compile(rb"=3D|=20\r?$|(?<=[^\n]{60})=\r?$", re.MULTILINE)
_FEW: Final = 3
_FROM: Final = re.compile(rb"^From [^\n]{3,200}\d{4}\r?\n(?=[A-Za-z-]{2,40}: )", re.MULTILINE)
_HEADER: Final = re.compile(
    rb"(?:From [^\n]+\n)?(?:[A-Za-z][\w-]{1,60}: ?[^\n]*\n(?:[ \t][^\n]*\n)*)+\r?\n"
)
_CUT: Final = email.errors.CloseBoundaryNotFoundDefect
_WIDE: Final = ("utf-16", "utf-16le", "utf-16be", "utf-32")


def looks_like(head: bytes) -> bool:
    """Return whether a file that begins with ``head`` is a mail, or a mail's body, encoded."""
    if _HEADER.match(head.replace(b"\r\n", b"\n")):
        return _ENCODED.search(head.replace(b"\r\n", b"\n")) is not None
    return b"=3D" in head and len(_ENCODED_BODY.findall(head)) >= _FEW


class Mail(Pieces):
    """The texts of a mail, or of a mailbox's."""

    def _pieces(self) -> Iterator[bytes]:
        raw = self._all(MOST)
        if not _HEADER.match(raw.replace(b"\r\n", b"\n")):
            yield quopri.decodestring(raw)
            return
        begins = [found.start() for found in _FROM.finditer(raw)] or [0]
        for begin, end in zip(begins, [*begins[1:], len(raw)], strict=True):
            message = email.message_from_bytes(raw[begin:end], policy=email.policy.compat32)
            yield from self._texts(message)

    def _texts(self, message: email.message.Message) -> Iterator[bytes]:
        """Yield the text of each part."""
        if not message.is_multipart():
            yield self._text(message)
            return
        self.torn = self.torn or any(isinstance(each, _CUT) for each in message.defects)
        parts = [part for part in message.get_payload() if isinstance(part, email.message.Message)]
        plain = [part for part in parts if part.get_content_type() == "text/plain"]
        if message.get_content_type() == "multipart/alternative" and plain:
            parts = plain
        for part in parts:
            yield from self._texts(part)

    def _text(self, part: email.message.Message) -> bytes:
        data = _payload(part)
        charset = (part.get_content_charset() or "").lower()
        if charset in _WIDE:
            data = data.decode(charset, "replace").encode()
        if part.get_content_type() == "text/html":
            text, whole = text_of(data.decode("utf-8", "surrogateescape"))
            self.torn = self.torn or not whole
            data = text.encode("utf-8", "surrogateescape")
        elif b"\0" in data[:1024]:
            return b""  # a picture, an archive
        return data if data.endswith(b"\n") else data + b"\n"


def _payload(part: email.message.Message) -> bytes:
    """Return a part's bytes; of base64 that is cut off what can be decoded."""
    if str(part.get("Content-Transfer-Encoding", "")).strip().lower() == "base64":
        text = re.sub(r"[^A-Za-z0-9+/]", "", str(part.get_payload()))
        odd = len(text) % 4  # "=" at the end are left out above
        return base64.b64decode(text[:-1] if odd == 1 else text + "=" * (-len(text) % 4))
    raw = part.get_payload(decode=True)
    return raw if isinstance(raw, bytes) else b""
