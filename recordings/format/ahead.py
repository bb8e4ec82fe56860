# SPDX-License-Identifier: GPL-2.0-only
"""Reads batches ahead: a thread decodes the next one while the caller works on the last.

Promises: the same batches in the same order, one of them more in memory; what reading raises comes
where it would have come; no thread is left when the caller stops, and none begins for small ones.
"""

from collections.abc import Iterator
from typing import Final

from tracers.batch import Batch

#: Rows below which it takes longer to hand a batch over than to decode it.
_ROWS: Final = 4096


def ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Yield ``batches``; those behind a large one are made in a thread."""
    for batch in batches:
        if batch.events.num_rows >= _ROWS:
            break
        yield batch
    else:
        return
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 (slow to import)

    with ThreadPoolExecutor(1, "decode") as thread:
        while True:
            following = thread.submit(next, batches, None)
            yield batch
            made = following.result()
            if made is None:
                return
            batch = made
