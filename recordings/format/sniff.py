# SPDX-License-Identifier: GPL-2.0-only
"""Recognises files that are no recording or no log, for errors that say what to do instead."""

from typing import Final

from recordings.format.framing import MARKER

_IMPORT: Final = "make a recording of it with: vmemscope import FILE -o OUT"
_UNPACK: Final = "unpack it first"
_PRINT: Final = "print it with: perf script --ns --show-lost-events"
_PACKED: Final = f"if it is a log, {_IMPORT} (import unpacks); else {_UNPACK}"

#: First bytes, what the file is, what to do with it.
_MAGICS: Final = (
    (b"ARROW1", "an Arrow file (the random-access format)", "recordings are Arrow streams"),
    (b"PAR1", "a Parquet file", "it may be an export; use the recording it was made from"),
    (b"\xd4\xc3\xb2\xa1", "a pcap file", "it holds network packets"),
    (b"\xa1\xb2\xc3\xd4", "a pcap file", "it holds network packets"),
    (b"\x4d\x3c\xb2\xa1", "a pcap file", "it holds network packets"),
    (b"\xa1\xb2\x3c\x4d", "a pcap file", "it holds network packets"),
    (b"\x0a\x0d\x0d\x0a", "a pcapng file", "it holds network packets"),
    (b"\x17\x08\x44tracing", "a trace-cmd file", _IMPORT),
    (b"PERFILE2", "a perf.data file", f"{_PRINT} > FILE; {_IMPORT}"),
    (b"\x7fELF", "an ELF file", f"if it is a dump of a kernel's memory, {_IMPORT}"),
    (b"KDUMP   ", "a dump of a kernel's memory", _IMPORT),
    (b"makedumpfile", "a dump of a kernel's memory", _IMPORT),
    (b"\x1f\x8b", "gzip-compressed", _PACKED),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed", _PACKED),
    (b"\xfd7zXZ", "xz-compressed", _PACKED),
    (b"BZh", "bzip2-compressed", _UNPACK),
    (b"PK\x03\x04", "a zip archive", _UNPACK),
    (b"# tracer:", "ftrace text", _IMPORT),
)
_DUMP: Final = "of a kernel's memory it is read from a file, not packed and not through a pipe"
#: The same for ``import``, where other advice holds.
_LOG_MAGICS: Final = (
    (b"\x7fELF", "an ELF file", _DUMP),
    (b"KDUMP   ", "a compressed dump", _DUMP),
    (b"makedumpfile", "a flattened dump", _DUMP),
    (MARKER, "a recording already, or another Arrow stream", "see: vmemscope report FILE"),
    (b"\x1f\x8b", "packed twice", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "packed twice", _UNPACK),
    (b"\xfd7zXZ", "packed twice", _UNPACK),
)


def describe(head: bytes) -> str | None:
    """Return one line on what a file is by its first bytes, None if they open an Arrow stream."""
    if head.startswith(MARKER):
        return None
    if not head:
        return "is empty: nothing was recorded, or the copy failed"
    if MARKER.startswith(head):
        return "is cut short before its first events: nothing can be read"
    for magic, name, advice in _MAGICS:
        if head.startswith(magic):
            return f"is {name}, not a vmemscope recording; {advice}"
    if all(byte >= 0x20 or byte in b"\t\n\r\x1b" for byte in head):
        return f"is text, not a vmemscope recording; if it is a kernel's trace, {_IMPORT}"
    return "is not a vmemscope recording (a recording is an Arrow IPC stream, *.arrows)"


def describe_log(head: bytes, known: str) -> str:
    """Return one line on what a file is by its (unpacked) first bytes that is no log we know.

    ``known`` names the kinds there are.
    """
    if not head:
        return "is empty: nothing was traced, or the copy failed"
    for magic, name, advice in (*_LOG_MAGICS, *_MAGICS):
        if head.startswith(magic) and advice not in {_IMPORT, _PACKED}:
            return f"is {name}, no log; {advice}"
    return f"is no log of a kind we know ({known}); --format NAME says which it is, if it is one"
