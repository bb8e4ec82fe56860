# SPDX-License-Identifier: GPL-2.0-only
"""What a ledger finds out about one chunk, for whoever wants every call and not only the numbers.

Promises: a sink gets each chunk once, in order, and the very arrays that the ledger's numbers come
from, so that nothing is judged or paired a second time. It must not write to them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from recordings.ledger.columns import I64, U8, U64, Bool, Chunk, Columns
from recordings.ledger.spans import Finished


@dataclass(frozen=True, slots=True)
class Judged(Columns):
    """The populate and free calls that begin in a chunk, and its Oopses: what has a regime."""

    rows: I64  # rows of the chunk
    source: U8
    start: U64
    end: U64
    known: U8  # bit 0: start is known, bit 1: end is
    regime: U8
    silent: Bool  # a hit that the kernel's own check lets pass


class Found(NamedTuple):
    """All that the ledger found in a chunk."""

    judged: Judged | None  # None: there is nothing to judge
    warnings: I64  # rows of the chunk where a WARN begins
    tags: I64  # per row of the chunk, meaningful at ``warnings``: place in ``sites``
    sites: Sequence[str]  # the places of WARNs so far, "file:line"
    finished: list[Finished]  # the calls that ended
    owner: I64 | None  # per row: the operation's entry, a row of the recording, or -1; None: no row


class Sink(Protocol):
    """Takes what a ledger finds."""

    def take_in(self, chunk: Chunk, found: Found) -> None:
        """Take in the next chunk."""
        ...
