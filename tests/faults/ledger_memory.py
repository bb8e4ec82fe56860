# SPDX-License-Identifier: GPL-2.0-only
"""Measures what a ledger holds in memory.

Promises: every array that a ledger can reach is counted; what is not in an array is a few thousand
objects at most, whatever was folded.
"""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from recordings.ledger.columns import TEXT
from recordings.ledger.ledger import Ledger

#: Bytes of a Python string of ``columns.TEXT`` ASCII characters, an element of an object array.
_STRING: Final = TEXT + 64


def held(ledger: Ledger) -> int:
    """Return the bytes of the arrays that a ledger can reach, shared ones once."""
    return sum({id(array): _bytes(array) for array in _arrays(vars(ledger))}.values())


def _bytes(array: NDArray[Any]) -> int:
    return array.nbytes + (len(array) * _STRING if array.dtype == object else 0)


def _arrays(part: object) -> Iterator[NDArray[Any]]:
    if isinstance(part, np.ndarray):
        yield part
    elif isinstance(part, Mapping):
        for value in part.values():
            yield from _arrays(value)
    elif is_dataclass(part):
        for item in fields(part):
            yield from _arrays(getattr(part, item.name))
    elif type(part).__module__.startswith("recordings.ledger."):
        for value in part if isinstance(part, tuple) else vars(part).values():
            yield from _arrays(value)
