# SPDX-License-Identifier: GPL-2.0-only
"""Turns the dictionary columns kind, phase and source into small integer codes.

Promises: names are matched by spelling, never by position, so any dictionary order and index
width reads the same; a name this version does not know, a null and an index outside the
dictionary all become 0 (``UNKNOWN``), and nothing here raises on a hostile index.
"""

from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tracers.arrow import valid
from tracers.events import KIND_NAMES, PHASE_NAMES, SOURCE_NAMES, Kind, Phase, Source

_OWN: Final = {Kind: KIND_NAMES, Phase: PHASE_NAMES, Source: SOURCE_NAMES}


def codes(column: pa.Array, enum: type[Kind] | type[Phase] | type[Source]) -> NDArray[np.uint8]:
    """Return one code of ``enum`` per row (uint8[N]) of a dictionary (or plain string) column.

    It may be the memory of the column itself: not to be written to.
    """
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    own = _OWN[enum]
    if not column.indices.null_count and column.dictionary.equals(own):
        raw = _indices(column.indices)
        if not len(raw) or raw.max() < len(own):  # as every writer of ours has it
            return raw.astype(np.uint8, copy=False)
    known = {member.label.encode(): member.value for member in enum}
    names = column.dictionary.cast(pa.binary()).to_pylist()
    indices = column.indices
    table = np.zeros(max(len(names) + 1, 256), np.uint8)
    table[: len(names)] = [known.get(name, 0) for name in names]
    raw = _indices(indices)
    if raw.dtype != np.uint8:
        # Negative indices wrap to huge ones, and all that lie outside share the last, zero, slot.
        raw = np.minimum(raw, raw.dtype.type(len(names)))
    found = table.take(raw)
    if indices.null_count:
        found[~valid(indices)] = 0
    return found


def _indices(indices: pa.Array) -> NDArray[np.unsignedinteger]:
    width = indices.type.bit_width // 8
    dtype = np.dtype(f"u{width}")
    buffer = indices.buffers()[1]
    if buffer is None or not len(indices):
        return np.zeros(len(indices), dtype)
    return np.frombuffer(buffer, dtype, len(indices), indices.offset * width)
