# SPDX-License-Identifier: GPL-2.0-only
"""Builds BTF after include/uapi/linux/btf.h: an int, a pointer, and functions."""

import struct

INT, PTR, FUNC, FUNC_PROTO = 1, 2, 12, 13
#: What a made function can return: type numbers of the blob, 0 is void.
RETURNS = {"void": 0, "value": 1, "pointer": 2}


def record(name: int, kind: int, vlen: int, size: int, *rest: int) -> bytes:
    return struct.pack(f"<III{len(rest)}I", name, kind << 24 | vlen, size, *rest)


def blob(types: bytes, strings: bytes) -> bytes:
    head = struct.pack("<HBBI4I", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings))
    return head + types + strings


def functions(*made: tuple[str, str, str]) -> bytes:
    """Return the BTF of (name, "parameter parameter …", one of RETURNS)."""
    strings = bytearray(b"\0int\0")

    def text(name: str) -> int:
        strings.extend(name.encode() + b"\0")
        return len(strings) - len(name) - 1

    types = record(1, INT, 0, 4, 32) + record(0, PTR, 0, 0)
    for number, (name, parameters, returns) in enumerate(made):
        names = parameters.split()
        members = [word for one in names for word in (text(one), 1)]
        types += record(0, FUNC_PROTO, len(names), RETURNS[returns], *members)
        types += record(text(name), FUNC, 1, 3 + 2 * number)
    return blob(types, bytes(strings))
