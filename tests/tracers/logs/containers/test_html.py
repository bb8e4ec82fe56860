# SPDX-License-Identifier: GPL-2.0-only
"""Pages: their text, with the line ends of <pre>, and nothing of scripts."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracers.logs.containers.html import HtmlText, looks_like


def read(raw: bytes, size: int = 1 << 16) -> bytes:
    stream = HtmlText(io.BytesIO(raw))
    return b"".join(iter(lambda: stream.read1(size), b""))


@pytest.mark.parametrize(
    ("page", "text"),
    [
        ("<html><pre>a &lt;b&gt; &amp;\n c</pre>", "\na <b> &\n c\n"),
        ("<div>a<br>b</div><p>c", "\na\nb\n\nc"),
        ("<html><script>var a = '<pre>';</script><style>p{}</style>x", "x"),
        ("<!DOCTYPE html><title>WARNING: CPU: 1</title>x&nbsp;y\u00e9\u20ac", "x y\u00e9\u20ac"),
    ],
)
def test_the_text_of_a_page(page: str, text: str):
    assert looks_like(page.encode())
    assert read(page.encode(), 3).decode() == text


@given(st.binary(max_size=200))
def test_any_bytes_can_be_read(raw: bytes):
    assert read(b"<pre>" + raw, 7) == read(b"<pre>" + raw)
