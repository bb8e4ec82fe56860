# SPDX-License-Identifier: GPL-2.0-only
"""Where the fields of kprobe events are in a record, from the kernel's description of each event.

Promises: only events of kprobes (kernel/trace/trace_kprobe.c, kprobe_event_define_fields) get a
layout; a field that cannot be in a record, or has another form than expected, is left out.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tracers.logs.kprobe_text.rows import ARGUMENTS

_FIELD: Final = re.compile(
    rb"^\s*field:(?P<type>[^;]*?)\s?(?P<name>[A-Za-z_]\w*)(?P<array>\[[^;\]]*\])?;"
    rb"\s*offset:(?P<offset>\d{1,5});\s*size:(?P<size>\d{1,5});\s*signed:(?P<signed>[01]);",
    re.MULTILINE,
)
_NAME: Final = re.compile(rb"^name: ([A-Za-z_]\w*)$", re.MULTILINE)
_ID: Final = re.compile(rb"^ID: (\d{1,5})$", re.MULTILINE)
_NUMBERS: Final = (1, 2, 4, 8)  # bytes
_COMMON: Final = 64  # bytes in which the kernel has what all events have
_MARK: Final = b"field:unsigned long __probe_"


@dataclass(frozen=True, slots=True)
class Field:
    """A number in a record, or where in it a string is (``string``)."""

    offset: int
    size: int
    signed: bool = False
    string: bool = False
    relative: bool = False  # a string's place counts from behind this field

    @property
    def end(self) -> int:
        """Where the field ends."""
        return self.offset + self.size


@dataclass(frozen=True, slots=True)
class EventFormat:
    """The layout of one kprobe event."""

    name: str
    number: int  # common_type of its records
    type: Field
    pid: Field
    address: Field  # of the probe; of a return, of the function
    returns: bool
    arguments: Mapping[str, Field]  # those that we know

    @property
    def size(self) -> int:
        """Bytes a record has at least."""
        fields = (self.type, self.pid, self.address, *self.arguments.values())
        return max(field.end for field in fields)


@dataclass(frozen=True, slots=True)
class PageFormat:
    """The layout of the head of a ring buffer's page (events/header_page)."""

    commit_size: int  # a long of the kernel
    data: int  # where the events begin


def page_format(text: bytes) -> PageFormat | None:
    """Read the kernel's description of a page; None if it is none that we know."""
    places = {
        match["name"]: (int(match["offset"]), int(match["size"])) for match in _FIELD.finditer(text)
    }
    offset, commit_size = places.get(b"commit", (0, 0))
    known = places.get(b"timestamp") == (0, 8) and offset == 8 and commit_size in {4, 8}
    if not known or places.get(b"data", (0, 0))[0] != offset + commit_size:
        return None
    return PageFormat(commit_size, offset + commit_size)


def event_format(text: bytes) -> EventFormat | None:
    """Read the kernel's description of an event; None if it is no kprobe event's."""
    if _MARK not in text:
        return None
    name, number = _NAME.search(text), _ID.search(text)
    fields = _fields(text.partition(b"\nprint fmt:")[0])
    kind, pid = fields.pop("common_type", None), fields.pop("common_pid", None)
    function = fields.pop("__probe_func", None)
    address = function or fields.pop("__probe_ip", None)
    if name is None or number is None or kind is None or pid is None or address is None:
        return None
    if (kind.size, pid.size) != (2, 4) or kind.end > _COMMON or address.string:
        return None
    if int(number[1]) >= 1 << 16:
        return None
    return EventFormat(
        name=name[1].decode(),
        number=int(number[1]),
        type=kind,
        pid=pid,
        address=address,
        returns=function is not None,
        arguments={each: field for each, field in fields.items() if each in ARGUMENTS},
    )


def _fields(text: bytes) -> dict[str, Field]:
    fields = {}
    for match in _FIELD.finditer(text):
        offset, size = int(match["offset"]), int(match["size"])
        string = match["type"] in {b"__data_loc char[]", b"__rel_loc char[]"}
        if (string and size == 4) or (not match["array"] and size in _NUMBERS):
            fields[match["name"].decode()] = Field(
                offset, size, match["signed"] == b"1", string, match["type"].startswith(b"__rel")
            )
    return fields
