# SPDX-License-Identifier: GPL-2.0-only
"""The final numbers in a closing record: what they are of, and how they are packed.

What the numbers mean is the ledger's; here is what they are held against: how much the files of
the capture hold, and the checksums of all that is in them. Promises: numbers are only given out
with exactly the files that they were made of; whatever a record holds instead, there are none, and
that costs bounded time and memory.
"""

import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from recordings.format.header import BatchMeta
from recordings.format.header_limits import MAX_PARTS
from tracers.batch import Losses

#: Bytes of the JSON, and of it packed: docs/limits.md. Beyond it there are no numbers.
MAX_TEXT: Final = 4 << 20
MAX_PACKED: Final = 2 << 20

_MOST: Final = 1 << 96  # of a number: a sum of 2^32 durations of 64 bits
_LOSSES: Final = ("lost", "lost_unknown", "torn", "rejected")
_COUNTS: Final = ("files", "batches", "rows", "first_ts", "last_ts")
_NUMBERS: Final = "numbers"


@dataclass(frozen=True, slots=True)
class Contents:
    """What files hold, by their batches' metadata alone; ``Contents()``: of no file."""

    files: int = 0
    batches: int = 0
    rows: int = 0
    first_ts: int = 0  # of the batches with rows; 0 without
    last_ts: int = 0
    losses: Losses = field(default_factory=Losses)
    checksum: int = 0

    @classmethod
    def opened(cls, digits: bytes) -> "Contents":
        """Return that of one file without batches; ``digits``: its opening record's checksum."""
        return cls(files=1, checksum=zlib.crc32(digits))

    def with_batch(self, meta: BatchMeta, digits: bytes) -> "Contents":
        """Return that of the one file with another batch; ``digits``: its checksum."""
        return replace(
            self._spanning(meta.rows, meta.first_ts, meta.last_ts),
            batches=self.batches + 1,
            losses=self.losses + meta.losses,
            checksum=zlib.crc32(digits, self.checksum),
        )

    def followed_by(self, file: "Contents") -> "Contents":
        """Return that of these files, the parts of one capture, and the next one."""
        return replace(
            self._spanning(file.rows, file.first_ts, file.last_ts),
            files=self.files + 1,
            batches=self.batches + file.batches,
            losses=self.losses + file.losses,
            checksum=zlib.crc32(b"%08x" % file.checksum, self.checksum),
        )

    def _spanning(self, rows: int, first: int, last: int) -> "Contents":
        if not rows:
            return self
        if self.rows:
            first, last = min(first, self.first_ts), max(last, self.last_ts)
        return replace(self, rows=self.rows + rows, first_ts=first, last_ts=last)

    def to_dict(self) -> dict[str, Any]:
        """Return it as it stands in the JSON."""
        counts = {name: getattr(self, name) for name in _COUNTS}
        losses = {name: getattr(self.losses, name) for name in _LOSSES}
        return counts | losses | {"checksum": f"{self.checksum:08x}"}


@dataclass(frozen=True, slots=True)
class Numbers:
    """Final numbers: ``values`` is a JSON object whose meaning ``version`` tells.

    ``contents``: what they are of. Who makes them knows neither files, batches nor checksum.
    """

    version: int
    values: Mapping[str, Any]
    contents: Contents

    def are_of(self, contents: Contents) -> bool:
        """Say whether they are of as many events, times and losses as ``contents`` has."""
        mine, checksum = self.contents, contents.checksum
        made = replace(mine, files=contents.files, batches=contents.batches, checksum=checksum)
        return made == contents


def packed(numbers: Numbers, contents: Contents) -> bytes | None:
    """Return numbers as a closing record has them; None if they are not of ``contents``, or large.

    ``contents``: what all files of the capture hold.
    """
    if not numbers.are_of(contents):
        return None
    values = {"version": numbers.version, **contents.to_dict(), _NUMBERS: dict(numbers.values)}
    text = json.dumps(values, separators=(",", ":")).encode()
    if len(text) > MAX_TEXT or _parts(text) > MAX_PARTS:
        return None
    data = b64encode(zlib.compress(text))
    return data if len(data) <= MAX_PACKED else None


def unpacked(data: bytes, contents: Contents) -> Numbers | None:
    """Return the numbers of a closing record; None if they are not of ``contents``, or are none."""
    if len(data) > MAX_PACKED:
        return None
    unpacker = zlib.decompressobj()
    try:
        text = unpacker.decompress(b64decode(data, validate=True), MAX_TEXT + 1)
        if len(text) > MAX_TEXT or not unpacker.eof or _parts(text) > MAX_PARTS:
            return None
        values = json.loads(text, parse_int=_integer, parse_float=_refused, parse_constant=_refused)
    except (ValueError, RecursionError, zlib.error):
        return None
    if not isinstance(values, dict):
        return None
    version, numbers = values.pop("version", None), values.pop(_NUMBERS, None)
    if type(version) is not int or not isinstance(numbers, dict) or values != contents.to_dict():
        return None
    return Numbers(version, numbers, contents)


def _parts(text: bytes) -> int:
    return sum(map(text.count, (b"[", b"{", b",")))


def _integer(digits: str) -> int:
    value = int(digits)  # refuses more than 4,300 digits
    if not 0 <= value < _MOST:
        raise ValueError("no number of ours")
    return value


def _refused(text: str) -> None:
    raise ValueError(text)
