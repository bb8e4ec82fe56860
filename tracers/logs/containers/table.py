# SPDX-License-Identifier: GPL-2.0-only
"""The containers we read: how to recognise each by its beginning, and how to get at the text.

A container is added by one row in ``CONTAINERS``. Promises: what comes out are the lines of the
log, each with the time that its record has, in the order of the records; memory is flat but for a
mail, which is read as far as ``mail.MOST`` bytes; ``torn`` says whether something of it could not
be read.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from tracers.logs.containers import html, journal_export, json_records, mail, utf16
from tracers.logs.line_blocks import Readable


class Contained(Protocol):
    """The text of a container, to be read once."""

    def read1(self, size: int, /) -> bytes:
        """Return up to ``size`` of the next bytes, b"" at the end."""

    @property
    def torn(self) -> bool:
        """Whether something could not be read, so far."""


@dataclass(frozen=True, slots=True)
class Container:
    """One way to wrap a log."""

    name: str
    source: str  # who makes it, and where its form is written down
    looks_like: Callable[[bytes], bool]  # by the first bytes
    open: Callable[[Readable], Contained]


CONTAINERS: Final = (
    Container(
        "UTF-16, UTF-32, or UTF-8 with a mark",
        "Unicode 15, 23.8: a byte order mark; PowerShell's and Notepad's files",
        utf16.looks_like,
        utf16.Utf8,
    ),
    Container(
        "dmesg --json",
        "util-linux sys-utils/dmesg.c, since 2.38",
        json_records.looks_like_dmesg,
        json_records.DmesgRecords,
    ),
    Container(
        "Loki's answer",
        "Grafana Loki HTTP API: GET /loki/api/v1/query_range, resultType streams",
        json_records.looks_like_loki,
        json_records.LokiAnswer,
    ),
    Container(
        "JSON, a record a line",
        "journalctl -o json (systemd.journal-fields(7)); logcli -o jsonl; Docker's json-file;"
        " fluent-bit, Elasticsearch",
        json_records.looks_like_lines,
        json_records.JsonLines,
    ),
    Container(
        "journalctl -o export",
        "systemd: Journal Export Formats",
        journal_export.looks_like,
        journal_export.JournalExport,
    ),
    Container(
        "mail",
        "RFC 2045: quoted-printable and base64; RFC 2046: parts; mbox",
        mail.looks_like,
        mail.Mail,
    ),
    Container("HTML", "HTML: mail archives, bug trackers, pastes", html.looks_like, html.HtmlText),
)
DEEPEST: Final = 4  # containers in each other: a mail with a page of JSON


_MAY_BEGIN: Final = re.compile(
    rb"[\s\x1e]*(?:[{<\xff\xfe\0\xef]|\[\s*\{|__|From |[A-Za-z-]{2,40}: )"
)


def may_be_one(head: bytes) -> bool:
    """Return whether the first few bytes of a file may be those of a container."""
    return _MAY_BEGIN.match(head) is not None


def recognise(head: bytes) -> Container | None:
    """Return the container of a file that begins with ``head``; None if it is in none."""
    return next((each for each in CONTAINERS if each.looks_like(head)), None)
