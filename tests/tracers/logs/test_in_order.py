# SPDX-License-Identifier: GPL-2.0-only
"""Work in threads: in the order of the items, errors at their turn, and nothing left behind."""

import os
import threading
from collections.abc import Iterator

import pytest

from tracers.logs.in_order import THREADS, in_order


def threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name.startswith("vmemscope-log")]


@pytest.fixture(params=[1, 2], autouse=True)
def cpus(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    number: int = request.param
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(number)))
    return number


@pytest.mark.parametrize("each", [1, 2, 3, 100])
def test_results_come_in_order(each: int, cpus: int) -> None:
    """Every so many items are not worth a thread; the first items are done last."""
    done = threading.Event()

    def work(item: int) -> int:
        if cpus > 1 and item == 1 and each > 2:
            assert done.wait(60)  # the second item is at work meanwhile
        if item == 2:
            done.set()
        return item * 10

    found = [(item, get()) for item, get in in_order(range(40), work, lambda item: item % each > 0)]
    assert found == [(item, item * 10) for item in range(40)]
    assert threads() == []


def test_what_is_not_worth_it_is_done_when_it_is_asked_for() -> None:
    told: list[str] = []

    def items() -> Iterator[int]:
        for item in range(3):
            told.append(f"item {item}")
            yield item

    for item, get in in_order(items(), lambda item: told.append(f"work {item}"), lambda _: False):
        told.append(f"turn {item}")
        get()
    assert told == [f"{what} {item}" for item in range(3) for what in ("item", "turn", "work")]


def test_no_more_are_under_way_than_promised(cpus: int) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(20):
            taken.append(item)
            yield item

    for item, get in in_order(items(), lambda item: item, lambda _: True):
        assert len(taken) - item <= (THREADS + 1 if cpus > 1 else 1)
        get()


def test_an_error_comes_at_its_turn() -> None:
    def work(item: int) -> int:
        if item == 3:
            raise KeyError(item)
        return item

    def items() -> Iterator[int]:
        yield from range(5)
        raise OSError("no more")

    found: list[int] = []

    def collect(*, results: bool) -> None:
        found.clear()
        for item, get in in_order(items(), work, lambda _: True):
            found.append(get() if results else item)

    with pytest.raises(KeyError):
        collect(results=True)
    assert found == [0, 1, 2]
    with pytest.raises(OSError, match="no more"):
        collect(results=False)
    assert found == [0, 1, 2, 3, 4]
    assert threads() == []


def test_who_stops_leaves_no_thread() -> None:
    every = in_order(range(1000), lambda item: item, lambda _: True)
    assert next(every)[1]() == 0
    every.close()
    assert threads() == []
