# SPDX-License-Identifier: GPL-2.0-only
"""Vectorised text parsing on one NumPy byte array: gather pieces, find distinct ones, read numbers.

Promises: no Python loop over lines; numbers are computed in u64 from their digits, never through
int64 or float; a number that is cut off, too long or mixed with other characters is reported as
bad, never as another number.

Every buffer must end with ``PAD`` bytes that belong to no line, so that a fixed-width gather
may run past the last line.
"""

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tracers import arrow

Bytes = npt.NDArray[np.uint8]
Index = npt.NDArray[np.int64]
U64 = npt.NDArray[np.uint64]
Mask = npt.NDArray[np.bool_]

PAD: Final = 1024  # bytes after the text; also the widest gather
SPACE: Final = 32
_ZERO: Final = ord("0")
_VALUE: Final = 24  # bytes read for a value: a sign, 20 digits, and what ends it
MOST_HEX, MOST_DECIMAL = 16, 20  # digits of 2^64 - 1
_TOP_BIT: Final = np.uint8(7)  # its place: set in a digit's value that is none

_TEN_8: Final = np.uint64(10**8)
#: Eight digits to a word, the first in the lowest byte: how to join neighbours, thrice.
_JOIN: Final = ((8, 0x00FF00FF00FF00FF), (16, 0x0000FFFF0000FFFF), (32, 0xFFFFFFFF))
_HIGH_BITS: Final = np.uint64(0xF0F0F0F0F0F0F0F0)
#: By number of digits: which bytes of three words, counted from the right, are theirs.
_KEEP: Final = np.array(
    [np.frombuffer((b"\xff" * count).rjust(24, b"\0"), np.uint64) for count in range(25)]
)


def gather(buffer: Bytes, starts: Index, width: int) -> Bytes:
    """Return the ``width`` bytes at each of ``starts``: uint8[N, width]."""
    # A view of overlapping items: taking from it copies each item whole, which is many times
    # faster than indexing with [N, width] positions.
    items = np.ndarray((len(buffer) - width + 1,), f"V{width}", buffer, 0, (1,))
    return items[starts].view(np.uint8).reshape(-1, width)


def following(positions: Index, starts: Index, none: int) -> Index:
    """Return the first of the sorted ``positions`` at or after each start, else ``none``."""
    return np.append(positions, none)[np.searchsorted(positions, starts)]


def distinct(
    buffer: Bytes, starts: Index, lengths: Index
) -> tuple[npt.NDArray[np.int32], pa.BinaryArray]:
    """Return a code per piece (int32[N]) and the distinct pieces of up to ``PAD`` bytes.

    Logs are repetitive: regular expressions are matched once per distinct piece.
    """
    longest = int(lengths.max(initial=1))
    width = -(-longest // 8) * 8
    rows = gather(buffer, starts, width)
    if int(lengths.min(initial=longest)) < width:
        masks = np.tri(width + 1, width, -1, np.uint8) * np.uint8(255)  # by length
        rows &= gather(masks.ravel(), lengths * width, width)
    fixed = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(width), len(rows), [None, pa.py_buffer(rows)]
    )
    encoded = fixed.dictionary_encode()
    codes = arrow.numbers(encoded.indices)[0]
    # Codes are given in the order of first appearance.
    first = np.flatnonzero(np.diff(np.maximum.accumulate(codes), prepend=np.int32(-1)))
    return codes, pieces(buffer, starts[first], lengths[first])


def pieces(buffer: Bytes, starts: Index, lengths: Index) -> pa.BinaryArray:
    """Return the pieces of the buffer as a binary array: N copies, at their true lengths."""
    offsets = np.zeros(len(starts) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    data = buffer[np.repeat(starts, lengths) + within]
    return pa.BinaryArray.from_buffers(
        pa.binary(), len(starts), [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    )


def consecutive(buffer: Bytes, starts: Index, size: int) -> pa.BinaryArray:
    """Return the lines that begin at ``starts``, newlines included, without copying them."""
    offsets = np.append(starts, size).astype(np.int32)
    return pa.BinaryArray.from_buffers(
        pa.binary(), len(starts), [None, pa.py_buffer(offsets), pa.py_buffer(buffer)]
    )


def readable(raw: pa.BinaryArray) -> pa.StringArray:
    r"""Decode UTF-8; invalid bytes become a visible ``\xNN``, so nothing is dropped."""
    try:
        return raw.cast(pa.utf8())
    except pa.ArrowInvalid:
        texts = [piece.decode("utf-8", "backslashreplace") for piece in raw.to_pylist()]
        return arrow.strings([text.encode() for text in texts])


def ends_value(chars: Bytes) -> Mask:
    """Return which bytes end a value: a space, a line's end."""
    ends: Mask = (chars == SPACE) | (chars == ord("\n")) | (chars == ord("\r"))
    return ends


def numbers(buffer: Bytes, starts: Index) -> tuple[U64, Mask, Mask]:
    """Read the value that begins at each of ``starts`` and ends at a space or a line's end.

    Returns (value u64[N], number bool[N], bad bool[N]). Hexadecimal needs its "0x"; a negative
    decimal becomes its two's complement. A value that begins like a number but is not one, or needs
    more than 64 bits, is ``bad``; any other value ("(fault)", a string, an array; see
    kernel/trace/trace_probe.c) is neither a number nor bad.
    """
    values = np.zeros(len(starts), np.uint64)
    bad = np.zeros(len(starts), np.bool_)
    window = gather(buffer, starts, _VALUE)
    ends = ends_value(window)
    length = ends.argmax(axis=1).astype(np.int64)
    endless = ~ends[:, 0] & (length == 0)
    begins = window[:, 0] - np.uint8(_ZERO) <= 9
    negative = window[:, 0] == ord("-")
    hexadecimal = (window[:, 0] == ord("0")) & (window[:, 1] == ord("x"))
    number = (begins | negative) & ~endless
    bad |= ((begins | negative) & endless) | ends[:, 0]  # the kernel prints no empty value

    lanes = np.flatnonzero(number & hexadecimal)
    values[lanes], wrong = _hexadecimal(buffer, (starts + length)[lanes], length[lanes] - 2)
    bad[lanes] |= wrong

    lanes = np.flatnonzero(number & ~hexadecimal)
    digits = length[lanes] - negative[lanes]
    magnitude, wrong = decimals(buffer, (starts + length)[lanes], digits)
    minus = negative[lanes]
    wrong |= minus & (magnitude > np.uint64(1 << 63))
    values[lanes] = np.where(minus, np.uint64(0) - magnitude, magnitude)
    bad[lanes] |= wrong
    return values, number & ~bad, bad


def _hexadecimal(buffer: Bytes, ends: Index, digits: Index) -> tuple[U64, Mask]:
    words, wrong = _words(buffer, ends, digits, MOST_HEX, hex_values)
    for bits, mask in _JOIN:
        words = (words << np.uint64(bits // 2)) + (words >> np.uint64(bits))
        words &= np.uint64(mask)
    value = words[:, 0]
    for column in range(1, words.shape[1]):
        value = (value << np.uint64(32)) + words[:, column]
    return value, wrong


def decimals(buffer: Bytes, ends: Index, digits: Index) -> tuple[U64, Mask]:
    """Read the unsigned decimals that end before ``ends``; ``digits`` each, at most 20.

    Returns (value u64[N], bad bool[N]): bad where a byte is not a digit, where there are no digits
    or too many, or where the value needs more than 64 bits.
    """
    words, wrong = _words(buffer, ends, digits, MOST_DECIMAL, _decimal_values)
    for bits, mask in _JOIN:
        words = words * np.uint64(10 ** (bits // 8)) + (words >> np.uint64(bits))
        words &= np.uint64(mask)
    value = words[:, 0]
    for column in range(1, words.shape[1]):
        if column == 2:
            # 10^16 ones of 1844_6744073709551615, the largest there is
            top, rest = (np.uint64(part) for part in divmod((1 << 64) - 1, 10**16))
            low = words[:, 1] * _TEN_8 + words[:, 2]
            wrong |= (words[:, 0] > top) | ((words[:, 0] == top) & (low > rest))
        value = value * _TEN_8 + words[:, column]
    return value, wrong


def _decimal_values(chars: Bytes) -> Bytes:
    """Return the value of each decimal digit; above 15 where it is none."""
    values = chars - np.uint8(_ZERO)
    values |= (values > 9).view(np.uint8) << _TOP_BIT
    return values


def hex_values(chars: Bytes) -> Bytes:
    """Return the value of each hexadecimal digit; above 15 where it is none."""
    none = (chars - np.uint8(_ZERO) > 9) & (chars - np.uint8(ord("a")) > 5)
    values = chars & np.uint8(15)
    values += (chars >> np.uint8(6)) * np.uint8(9)  # letters have bit 6
    values |= none.view(np.uint8) << _TOP_BIT
    return values


def _words(
    buffer: Bytes, ends: Index, digits: Index, most: int, values_of: Callable[[Bytes], Bytes]
) -> tuple[U64, Mask]:
    """Return the digits' values, one per byte, right-aligned in u64 words, and the bad ones."""
    columns = -(-min(max(int(digits.max(initial=1)), 1), most) // 8) * 8
    # So near the start of the buffer, the kernel does not write a number.
    wrong = (digits < 1) | (digits > most) | (ends < columns)
    row = values_of(gather(buffer, np.maximum(ends - columns, 0), columns))
    words = row.view(np.uint64)
    words &= _KEEP[np.clip(digits, 0, columns), -columns // 8 :]
    # A digit's value is below 16, so any higher bit means a byte that is not a digit.
    for column in range(words.shape[1]):
        wrong |= (words[:, column] & _HIGH_BITS) != 0
    return words, wrong
