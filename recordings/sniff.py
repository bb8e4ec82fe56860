"""Says what a file is that is no recording, so that the error can name the way out."""

from typing import Final

from recordings.framing import MARKER

_IMPORT: Final = "make a recording of it with: vmemscope import FILE -o OUT"
_UNPACK: Final = "unpack it first"

#: Opening bytes, what they mean, the way out.
_MAGICS: Final = (
    (b"ARROW1", "an Arrow file (the random-access format)", "recordings are Arrow streams"),
    (b"PAR1", "a Parquet file", "it may be an export; use the recording it was made from"),
    (b"\xd4\xc3\xb2\xa1", "a pcap file", "it holds network packets"),
    (b"\xa1\xb2\xc3\xd4", "a pcap file", "it holds network packets"),
    (b"\x4d\x3c\xb2\xa1", "a pcap file", "it holds network packets"),
    (b"\xa1\xb2\x3c\x4d", "a pcap file", "it holds network packets"),
    (b"\x0a\x0d\x0d\x0a", "a pcapng file", "it holds network packets"),
    (b"\x17\x08\x44tracing", "a trace-cmd file", "save the kernel's own text trace instead"),
    (b"PERFILE2", "a perf.data file", "save the kernel's own text trace instead"),
    (b"\x7fELF", "an ELF file", "a recording ends in .arrows"),
    (b"\x1f\x8b", "gzip-compressed", _UNPACK),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed", _UNPACK),
    (b"\xfd7zXZ", "xz-compressed", _UNPACK),
    (b"BZh", "bzip2-compressed", _UNPACK),
    (b"PK\x03\x04", "a zip archive", _UNPACK),
    (b"# tracer:", "ftrace text", _IMPORT),
)


def describe(head: bytes) -> str | None:
    """Return one line on what a file is by its first bytes, None if they open an Arrow stream."""
    if head.startswith(MARKER):
        return None
    if not head:
        return "is empty: nothing was recorded, or the copy failed"
    if MARKER.startswith(head):
        return "is cut short before its first events: nothing can be read"
    for magic, name, way_out in _MAGICS:
        if head.startswith(magic):
            return f"is {name}, not a vmemscope recording; {way_out}"
    if all(byte >= 0x20 or byte in b"\t\n\r\x1b" for byte in head):
        return f"is text, not a vmemscope recording; if it is a kernel's trace, {_IMPORT}"
    return "is not a vmemscope recording (a recording is an Arrow IPC stream, *.arrows)"
