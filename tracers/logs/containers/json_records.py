# SPDX-License-Identifier: GPL-2.0-only
"""Reads logs kept as JSON: dmesg's, the journal's, Loki's, and a record a line of others.

Promises: numbers keep their digits (a time is never a float); a record that is damaged, or of
another shape, is left out and ``torn``; records beyond ``MOST`` bytes, too; messages of other
programs in a journal are no part of the kernel's log.
"""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from tracers.logs.containers.journal_export import kernel_lines
from tracers.logs.containers.pieces import Pieces
from tracers.logs.containers.records import lines_of, since_1970, since_boot

MOST: Final = 64 << 20  # bytes of Loki's answer, which is one record
_RECORD: Final = 1 << 20
_DMESG: Final = re.compile(rb'\s*\{\s*"dmesg"\s*:\s*\[')
_LOKI: Final = re.compile(rb'\s*\{[^\n]{0,200}"resultType"\s*:\s*"streams"')
#: Whose text it is, and the time beside it.
_TEXTS: Final = ("MESSAGE", "line", "log", "message", "msg")
_TIMES: Final = ("time", "timestamp", "ts", "@timestamp")
_LINE: Final = re.compile(
    rb'[\s\x1e]*(?:data: )?(?:\[\s*)?\{(?:[^\n]|\n[ \t]){0,4000}?"(?:'
    + b"|".join(text.encode() for text in _TEXTS)
    + rb')"\s*:\s*["\[]'
)
_DECODER: Final = json.JSONDecoder(parse_float=str, parse_int=str)
#: Since 1970, in milliseconds, microseconds or nanoseconds, by the number of digits.
_UNITS: Final = {13: (1000, 1), 16: (1, 1), 19: (1, 1000)}
_SECONDS: Final = re.compile(r"\s*(\d{1,10})(?:\.(\d{1,9}))?\s*")


def looks_like_dmesg(head: bytes) -> bool:
    """Return whether a file that begins with ``head`` is what dmesg --json prints."""
    return _DMESG.match(head) is not None


def looks_like_loki(head: bytes) -> bool:
    """Return whether a file that begins with ``head`` is Loki's answer."""
    return _LOKI.match(head) is not None


def looks_like_lines(head: bytes) -> bool:
    """Return whether a file that begins with ``head`` is JSON records that have a text."""
    return _LINE.match(head) is not None


class _Records(Pieces):
    """The lines of records that stand one behind the other, on a line each or on many."""

    _begins: re.Pattern[bytes] | None = None  # what stands before the first

    def _pieces(self) -> Iterator[bytes]:
        data, first = "", True
        while more := self._more():
            if first and self._begins and (begin := self._begins.match(more)):
                more = more[begin.end() :]
            first = False
            data += more.decode("utf-8", "backslashreplace")
            at, lines = self._read(data)
            yield lines
            data = data[at:]
            if len(data) > _RECORD:
                self.torn, data = True, ""
        self.torn = self.torn or "{" in data

    def _read(self, data: str) -> tuple[int, bytes]:
        """Return the lines of the whole records in ``data``, and where they end."""
        at = 0
        lines: list[bytes] = []
        while (begin := data.find("{", at)) >= 0:
            try:
                record, at = _DECODER.raw_decode(data, begin)
            except (ValueError, RecursionError):
                following = data.find("\n{", begin)
                if following < 0:  # the rest of it is not there yet
                    return begin, b"".join(lines)
                self.torn, at = True, following
                continue
            lines.append(self._lines(record))
        return at, b"".join(lines)

    def _lines(self, record: dict[str, Any]) -> bytes:
        raise NotImplementedError


class DmesgRecords(_Records):
    """The lines of ``dmesg --json``."""

    _begins = _DMESG

    def _lines(self, record: dict[str, Any]) -> bytes:
        message, caller = record.get("msg"), record.get("caller")
        if not isinstance(message, str):
            self.torn = True
            return b""
        return lines_of(_prefix(record.get("time"), str(caller or "")), message)


class JsonLines(_Records):
    """The lines of the journal's records, and of others that have a text."""

    def _lines(self, record: dict[str, Any]) -> bytes:
        name = next((name for name in _TEXTS if record.get(name) is not None), None)
        if name is None:
            return b""  # of something else
        text = record[name]
        if isinstance(text, list):  # not UTF-8: the journal gives the bytes
            raw = bytes(int(each) & 255 for each in text if str(each).isdecimal())
            text = raw.decode("utf-8", "backslashreplace")
        if name == "MESSAGE":
            fields = {key: value for key, value in record.items() if isinstance(value, str)}
            return kernel_lines({**fields, name: str(text)})
        time = next((record[key] for key in _TIMES if record.get(key) is not None), None)
        return lines_of("" if _has_time(str(text)) else _prefix(time), str(text))


class LokiAnswer(Pieces):
    """The lines of Loki's answer to a query, in the order of time."""

    def _pieces(self) -> Iterator[bytes]:
        try:
            streams = json.loads(self._all(MOST))["data"]["result"]
            values = [(int(ts), str(line)) for each in streams for ts, line, *_ in each["values"]]
        except (ValueError, KeyError, TypeError, RecursionError):
            self.torn = True
            return
        for ts, line in sorted(values, key=lambda value: value[0]):
            yield lines_of("" if _has_time(line) else since_1970(ts // 1000), line)


def _has_time(text: str) -> bool:
    """Whether a text has the kernel's own time."""
    return re.match(r"(?:<\d{1,3}>)?\[ *\d{1,10}\.\d{6}[\]@]", text) is not None


def _prefix(time: object, caller: str = "") -> str:
    """Return the prefix of a record's time: seconds since boot or 1970, or a date."""
    text = str(time or "")
    if text.isdecimal() and text.isascii() and len(text) in _UNITS:
        times, parts = _UNITS[len(text)]
        return since_1970(int(text) * times // parts)
    if seconds := _SECONDS.fullmatch(text):
        whole, micros = int(seconds[1]), int((seconds[2] or "").ljust(6, "0")[:6])
        since = since_1970 if whole >= 10**9 and not caller else None
        microseconds = whole * 1_000_000 + micros
        return since(microseconds) if since else since_boot(microseconds, caller)
    try:
        at = datetime.fromisoformat(text.replace(",", "."))
    except ValueError:
        return f"[{text}] " if re.fullmatch(r"[\w :]{8,40}", text) else ""
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return since_1970(int(at.timestamp()) * 1_000_000 + at.microsecond)
