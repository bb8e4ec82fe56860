# SPDX-License-Identifier: GPL-2.0-only
"""Numbers the distinct texts of a column in order of their first appearance.

Promises: the numbers do not depend on how batches were cut; after ``MOST`` texts (a kernel has as
many as it has tasks, a forged file any number) further ones share ``OTHER``.
"""

from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from recordings.ledger.columns import TEXT, texts
from tracers.arrow import numbers

#: Texts numbered separately.
MOST: Final = 16_384
OTHER: Final = "(other names)"
#: The code of no text.
NO_TEXT: Final = (1 << 32) - 1


class Texts:
    """The texts so far, unescaped. ``most``: of them; ``longest``: bytes of each."""

    def __init__(self, *, most: int = MOST, longest: int = TEXT) -> None:
        self._most = most
        self._longest = longest
        self._codes: dict[str, int] = {}
        self.texts: tuple[str, ...] = ()

    def codes(self, column: pa.Array) -> NDArray[np.uint32]:
        """Return the code of each row, ``NO_TEXT`` for null, numbering what is new."""
        encoded = column.dictionary_encode()
        names = texts(
            encoded.dictionary, np.arange(len(encoded.dictionary)), most=self._longest
        ).tolist()
        table = np.array([*map(self._code, names), NO_TEXT], np.uint32)
        if len(self._codes) > len(self.texts):
            self.texts = tuple(self._codes)
        index, known = numbers(encoded.indices)
        coded: NDArray[np.uint32] = table[
            index if known is None else np.where(known, index, len(names))
        ]
        return coded

    def _code(self, name: str) -> int:
        code = self._codes.get(name)
        if code is None:
            if len(self._codes) >= self._most:
                name = OTHER
            code = self._codes.setdefault(name, len(self._codes))
        return code
