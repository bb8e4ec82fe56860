# SPDX-License-Identifier: GPL-2.0-only
"""Works on the blocks of a long log in threads, two at a time, and gives results in their order.

NumPy and Arrow let go of the interpreter while they work, so threads of one process are enough:
nothing is left behind however it ends, and errors and signals come up where they always did.
Promises: results come in the order of the items, and an error where its item's turn is; at most
``THREADS`` + 1 items are under way; without a second CPU, or where it is not worth it, everything
is done by who asks, when it asks.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

#: Threads beside the one that asks: two keep two CPUs busy while it writes what they found.
THREADS: Final = 2
#: Bytes of a block that are worth a thread: a log below a block's size is read as ever.
WORTH: Final = 1 << 20

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_order(
    items: Iterable[Item],
    work: Callable[[Item], Result],
    worth: Callable[[Item], bool],
    threads: int = THREADS,
) -> Iterator[tuple[Item, Callable[[], Result]]]:
    """Yield each item with what gives ``work``'s result for it, or raises its error.

    ``worth``: whether an item is worked on ahead of its turn; else it is when the result is asked
    for, and no later item is taken before. With one thread the work itself is in order, too.
    """
    if len(os.sched_getaffinity(0)) < 2:
        yield from ((item, partial(work, item)) for item in items)
        return
    ahead: deque[tuple[Item, Callable[[], Result]]] = deque()
    pool: ThreadPoolExecutor | None = None
    failed: list[Exception] = []
    try:
        for item in _until(failed, items):
            if worth(item):
                pool = pool or _pool(threads)
                ahead.append((item, pool.submit(work, item).result))
                if len(ahead) > threads:
                    yield ahead.popleft()
            else:
                yield from _emptied(ahead)
                yield item, partial(work, item)
        yield from _emptied(ahead)
        if failed:
            raise failed[0]
    finally:
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)


def _pool(threads: int) -> "ThreadPoolExecutor":
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 (only for long logs)

    return ThreadPoolExecutor(threads, "vmemscope-log")


def _until(failed: list[Exception], items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items; an error comes after the results of those before it."""
    try:
        yield from items
    except Exception as error:  # noqa: BLE001 (it is raised later)
        failed.append(error)


def _emptied(ahead: deque[Item]) -> Iterator[Item]:
    while ahead:
        yield ahead.popleft()
