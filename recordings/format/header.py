# SPDX-License-Identifier: GPL-2.0-only
"""A recording's metadata: the header (machine, probes, clock, origin) and that of each batch.

The header is one JSON object in the Arrow schema's metadata, under the key ``vmemscope``.
Promises: any input becomes a ``Header`` or a ``RecordingError``; unknown keys are ignored, so that
later minor versions may add some; what is read and what is written is within the budgets of
``header_limits``, and numbers have 64 bits.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from recordings.format.header_limits import MAX_PARTS, bounded, cut, cut_notes, cut_text
from tracers import __version__
from tracers.batch import Losses
from tracers.errors import VmemscopeError
from tracers.machine import Machine

FORMAT: Final = "1.5"
"""Major: what readers must know. Minor: more columns, keys or names; older readers go on."""

HITS_ONLY: Final = "hits-only"
"""Key of ``Header.origin``: calls inside the window were dropped while recording."""

_SIGNALS: Final = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT")
#: What a closing record says of why it ended, where that is the end that was asked for: a capture
#: without a command and a duration goes on until a signal. Anything else came before that end.
ASKED_ENDS: Final = frozenset(("closed", "rotated", "command ended", "duration over", *_SIGNALS))

MAX_HEADER: Final = 16 << 20  # bytes of JSON; a large machine's /proc/iomem is 100 kB

_VERSION = re.compile(r"([0-9]{1,4})\.([0-9]{1,4})")
_JSON_ERRORS = (ValueError, RecursionError, KeyError, TypeError, AttributeError, OverflowError)


class RecordingError(VmemscopeError):
    """A recording cannot be read or written: one line, with a remedy where there is one."""


@dataclass(frozen=True, slots=True)
class Header:
    """Everything about a recording that is not an event.

    Text in it comes from files and kernels: escape before showing.
    """

    machine: Machine = field(default_factory=Machine)
    probes: Mapping[str, str] = field(default_factory=dict)  # function -> how, or why not
    clock: Mapping[str, str | int | None] = field(default_factory=dict)  # name, offset_ns
    origin: Mapping[str, str] = field(default_factory=dict)  # importer, file, sha256, options
    warn_sites: tuple[str, ...] = ()  # "file:line" of every WARN the kernel image has there
    notes: tuple[str, ...] = ()
    audit: Mapping[str, Any] = field(default_factory=dict, hash=False)  # ledger.audited; {}: none
    created_ns: int = 0  # realtime; 0 unknown
    tool: str = __version__
    format: str = FORMAT

    def to_json(self) -> bytes:
        """Return the JSON as it stands in the file. Raises ``RecordingError`` beyond 16 MiB."""
        values = bounded(
            {
                "format": self.format,
                "tool": self.tool,
                "created_ns": self.created_ns,
                "machine": self.machine.to_dict(),
                "probes": dict(self.probes),
                "clock": dict(self.clock),
                "origin": dict(self.origin),
                "warn_sites": list(self.warn_sites),
                "notes": list(self.notes),
                **({"audit": dict(self.audit)} if self.audit else {}),
            }
        )
        text = json.dumps(values, allow_nan=False, separators=(",", ":")).encode()
        if len(text) > MAX_HEADER:
            raise RecordingError(f"the recording's header would be {len(text)} bytes: too large")
        return text

    @classmethod
    def from_json(cls, text: bytes) -> "Header":
        """Read a header. Raises ``RecordingError`` for another major version or no header."""
        if len(text) > MAX_HEADER:
            raise RecordingError(f"its header is {len(text)} bytes: too large to be one of ours")
        values = _object(text)
        _check_version(values.get("format"))
        try:
            return cls(
                machine=Machine.from_dict(_typed(values, "machine", dict)),
                probes=_strings(_typed(values, "probes", dict)),
                clock=_clock(_typed(values, "clock", dict)),
                origin=_strings(_typed(values, "origin", dict)),
                warn_sites=tuple(map(_string, _typed(values, "warn_sites", list))),
                notes=tuple(map(_string, _typed(values, "notes", list))),
                audit=_typed(values, "audit", dict),
                created_ns=_typed(values, "created_ns", int),
                tool=_string(values.get("tool", "unknown")),
                format=values["format"],
            )
        except (*_JSON_ERRORS, VmemscopeError) as error:
            raise RecordingError(f"its header is damaged: {error!s:.200}") from error


def _object(text: bytes) -> dict[str, Any]:
    if sum(map(text.count, (b"[", b"{", b","))) > MAX_PARTS:
        raise RecordingError(f"its header is damaged: it has more than {MAX_PARTS} parts")
    try:
        values = json.loads(
            text.decode("utf-8"), parse_constant=_reject_constant, parse_int=_integer
        )
        if isinstance(values, dict):
            return bounded(values)
    except _JSON_ERRORS as error:
        raise RecordingError("its header is damaged: no JSON, or not ours") from error
    raise RecordingError("its header is damaged: no JSON object")


def _integer(digits: str) -> int:
    value = int(digits)  # refuses more than 4,300 digits
    if not -(1 << 63) <= value < 1 << 64:
        raise ValueError("a number beyond 64 bits")
    return value


def _reject_constant(name: str) -> None:
    raise ValueError(name)


def _check_version(version: object) -> None:
    match = _VERSION.fullmatch(version) if isinstance(version, str) else None
    if match is None:
        raise RecordingError("its header is damaged: no format version")
    if match[1] != FORMAT.partition(".")[0]:
        raise RecordingError(
            f"it has format version {match[0]}; this vmemscope reads {FORMAT.partition('.')[0]}.x: "
            "use the vmemscope that wrote it, or a newer one"
        )


def _typed(values: dict[str, Any], key: str, kind: type) -> Any:  # noqa: ANN401 (JSON)
    value = values.get(key, kind())
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"{key} is no {kind.__name__}")
    return value


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a text is missing")
    return value


def _strings(values: dict[str, Any]) -> dict[str, str]:
    return {key: _string(value) for key, value in values.items()}


def _clock(values: dict[str, Any]) -> dict[str, str | int | None]:
    for value in values.values():
        if value is not None and (isinstance(value, bool) or not isinstance(value, str | int)):
            raise TypeError("clock holds what no clock has")
    return values


@dataclass(frozen=True, slots=True)
class BatchMeta:
    """A batch's metadata, JSON under the key ``vmemscope`` of its message.

    ``mark`` is "begin" for the empty batch that opens a recording, "end" for the empty one
    that closes it, "" between. In the end record the counts are the whole recording's.
    """

    mark: str = ""
    seq: int = 0  # of the batch; in the end record the number of batches
    rows: int = 0
    first_ts: int = 0  # smallest ts_ns; 0 without rows
    last_ts: int = 0  # largest
    losses: Losses = field(default_factory=Losses)
    reason: str = ""  # end record only: why the recording ended
    notes: tuple[str, ...] = ()  # end record only: what was known by then; escape before showing
    audit: Mapping[str, Any] = field(default_factory=dict, hash=False)  # end record only

    def to_json(self) -> bytes:
        """Return the compact JSON."""
        values: dict[str, object] = {self.mark: True} if self.mark else {}
        values |= {name: getattr(self, name) for name in _COUNTS}
        # the most that a file can say; beyond it the count is a lower bound, as with any loss
        values |= {name: min(getattr(self.losses, name), _MOST) for name in _LOSSES}
        if self.reason:
            values["reason"] = cut_text(self.reason)
        if self.notes:
            values["notes"] = cut_notes(list(self.notes))
        if self.audit:
            values["audit"] = cut(dict(self.audit))
        return json.dumps(values, separators=(",", ":")).encode()

    @classmethod
    def from_json(cls, text: bytes) -> "BatchMeta":
        """Read one; raises ``ValueError`` if it is none."""
        try:
            values = json.loads(text.decode("utf-8"))
            counts = {name: values[name] for name in (*_COUNTS, *_LOSSES)}
            reason = values.get("reason", "")
            notes = values.get("notes", [])
            audit = values.get("audit", {})
        except _JSON_ERRORS as error:
            raise ValueError("its metadata is no JSON of ours") from error
        for name, count in counts.items():
            if type(count) is not int or not 0 <= count <= _MOST:
                raise ValueError(f"its metadata says {name} = {count!r:.40}")
        mark = next((mark for mark in ("begin", "end") if values.get(mark) is True), "")
        return cls(
            mark,
            **{name: counts[name] for name in _COUNTS},
            losses=Losses(**{name: counts[name] for name in _LOSSES}),
            reason=cut_text(reason) if isinstance(reason, str) else "",
            notes=tuple(cut_notes(notes)) if _is_texts(notes) else (),
            audit=cut(audit) if isinstance(audit, dict) else {},
        )


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


_MOST: Final = (1 << 64) - 1
_COUNTS: Final = ("seq", "rows", "first_ts", "last_ts")
_LOSSES: Final = ("lost", "lost_unknown", "torn", "rejected")
