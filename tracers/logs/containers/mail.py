# SPDX-License-Identifier: GPL-2.0-only
"""Reads the texts of mails whose lines are encoded: quoted-printable, base64, parts, HTML.

A mail of plain lines needs no reading: it is a log with other text around. Promises: the text of
every part, attached logs too, in their order; of alternatives the plain one; what cannot be decoded
stays as it is; a mail beyond ``MOST`` bytes is read to there and ``torn``.
"""

import email
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
#: A mail's body alone, as it is pasted: soft line ends, and "=" as "=3D".
_SOFT: Final = re.compile(rb"[^\n]{60,75}=\r?\n")
_HEX: Final = re.compile(rb"=(?:3D|20|09|E2|C2)")
_FROM: Final = re.compile(rb"^From [^\n]{3,200}\d{4}\r?\n(?=[A-Za-z-]{2,40}: )", re.MULTILINE)
_HEADER: Final = re.compile(
    rb"(?:From [^\n]+\n)?(?:[A-Za-z][\w-]{1,60}: ?[^\n]*\n(?:[ \t][^\n]*\n)*)+\r?\n"
)
_WIDE: Final = ("utf-16", "utf-16le", "utf-16be", "utf-32")


def looks_like(head: bytes) -> bool:
    """Return whether a file that begins with ``head`` is a mail, or a mail's body, encoded."""
    if _HEADER.match(head.replace(b"\r\n", b"\n")):
        return _ENCODED.search(head.replace(b"\r\n", b"\n")) is not None
    return _HEX.search(head) is not None and len(_SOFT.findall(head)) >= 2


class Mail(Pieces):
    """The texts of a mail, or of a mailbox's."""

    def _pieces(self) -> Iterator[bytes]:
        data = bytearray()
        while len(data) <= MOST and (more := self._more()):
            data += more
        self.torn = len(data) > MOST
        raw = bytes(data)
        if not _HEADER.match(raw.replace(b"\r\n", b"\n")):
            yield quopri.decodestring(raw)
            return
        begins = [found.start() for found in _FROM.finditer(raw)] or [0]
        for begin, end in zip(begins, [*begins[1:], len(raw)], strict=True):
            message = email.message_from_bytes(raw[begin:end], policy=email.policy.compat32)
            yield from _texts(message)


def _texts(message: email.message.Message) -> Iterator[bytes]:
    """Yield the text of each part."""
    if not message.is_multipart():
        yield _text(message)
        return
    parts = [part for part in message.get_payload() if isinstance(part, email.message.Message)]
    plain = [part for part in parts if part.get_content_type() == "text/plain"]
    if message.get_content_type() == "multipart/alternative" and plain:
        parts = plain
    for part in parts:
        yield from _texts(part)


def _text(part: email.message.Message) -> bytes:
    raw = part.get_payload(decode=True)
    data = raw if isinstance(raw, bytes) else b""
    charset = (part.get_content_charset() or "").lower()
    if charset in _WIDE:
        data = data.decode(charset, "replace").encode()
    if part.get_content_type() == "text/html":
        data = text_of(data.decode("utf-8", "backslashreplace")).encode("utf-8", "replace")
    elif b"\0" in data[:1024]:
        return b""  # a picture, an archive
    return data if data.endswith(b"\n") else data + b"\n"
