# SPDX-License-Identifier: GPL-2.0-only
"""Mails: the text of every part, decoded, in order; of alternatives the plain one."""

import base64
import io
import quopri

from tracers.logs.containers.mail import Mail, looks_like

LOG = b"".join(
    b"[    1.%06d] pstate: 20000005 (nzCv daif -PAN -UAO -TCO -DIT BTYPE=--) \n" % n
    for n in range(9)
)
HEAD = b"From: a@example.org\nSubject: x\n"


def read(raw: bytes) -> bytes:
    assert looks_like(raw)
    stream = Mail(io.BytesIO(raw))
    return b"".join(iter(lambda: stream.read1(1 << 16), b""))


def part(kind: bytes, body: bytes, encoding: bytes) -> bytes:
    return (
        b"--x\nContent-Type: " + kind + b"\nContent-Transfer-Encoding: " + encoding + b"\n\n" + body
    )


def test_quoted_printable_with_and_without_its_header():
    body = quopri.encodestring(LOG)
    assert read(HEAD + b"Content-Transfer-Encoding: quoted-printable\n\n" + body) == LOG
    assert read(body) == LOG
    raw = HEAD + b"Content-Transfer-Encoding: Quoted-Printable\n\n" + body
    assert read(raw.replace(b"\n", b"\r\n")).replace(b"\r", b"") == LOG


def test_parts_and_alternatives():
    html = b"<pre>" + LOG + b"</pre>"
    raw = (
        HEAD + b'Content-Type: multipart/mixed; boundary="x"\n\n'
        + part(b'multipart/alternative; boundary="y"',
               (part(b"text/plain", b"hi\n", b"7bit") + part(b"text/html", b"no", b"7bit")
                + b"--x--\n").replace(b"--x", b"--y"), b"7bit")
        + part(b"text/html", base64.encodebytes(html), b"base64")
        + part(b"image/png", base64.encodebytes(b"\x89PNG\0\0"), b"base64")
        + part(b"text/plain; charset=utf-16le", base64.encodebytes(LOG.decode().encode("utf-16le")),
               b"base64")
        + b"--x--\n"
    )  # fmt: skip
    text = read(raw)
    assert text.startswith(b"hi\n")
    assert text.count(LOG) == 2
    assert b"PNG" not in text
    assert b"no\n" not in text


def test_a_mailbox_gives_every_mails_text():
    one = HEAD + b"Content-Transfer-Encoding: quoted-printable\n\n" + quopri.encodestring(LOG)
    raw = b"".join(b"From a@example.org Tue Nov 14 22:13:42 2023\n" + one + b"\n" for _ in "ab")
    assert read(raw).count(LOG) == 2


def test_a_plain_mail_and_a_plain_log_are_none():
    assert not looks_like(HEAD + b"\n" + LOG)
    assert not looks_like(LOG)
