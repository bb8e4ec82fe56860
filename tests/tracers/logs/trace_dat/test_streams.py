# SPDX-License-Identifier: GPL-2.0-only
"""Events of several CPUs are put in order as a merge of one event after the other would."""

import random
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pytest

from tracers import arrow
from tracers.batch import Losses
from tracers.events import SCHEMA
from tracers.logs.kprobe_text.rows import assembled
from tracers.logs.trace_dat import streams
from tracers.logs.trace_dat.streams import CpuRows, merged


def rows(ts: list[int], cpu: int) -> pa.RecordBatch:
    none = {name: pa.nulls(len(ts), SCHEMA.field(name).type) for name in SCHEMA.names}
    none["cpu"] = arrow.column(np.full(len(ts), cpu, np.uint16))
    none["pfn"] = arrow.column(np.arange(len(ts), dtype=np.uint64))
    kind = np.ones(len(ts), np.uint8)
    return assembled(np.array(ts, np.uint64), kind, np.zeros(len(ts), np.bool_), none)


def stream(times: list[int], cpu: int, step: int) -> CpuRows:
    """The rows of a CPU, so many at a time; every fifth is of another event."""
    whole = rows(times, cpu)
    for at in range(0, len(times), step):
        here = times[at : at + step]
        keep = [index for index in range(len(here)) if (at + index) % 5]
        latest = np.maximum.accumulate(np.array(here, np.uint64))
        taken = whole.take(arrow.column(np.array([at + index for index in keep], np.int64)))
        yield taken, latest[keep], int(latest[-1]), Losses(lost=1)


def one_by_one(cpus: list[list[int]]) -> Iterator[tuple[int, int]]:
    """(CPU, index) in the order of a merge that always takes the earliest next event."""
    heads = [0] * len(cpus)
    while True:
        left = [(times[at], cpu) for cpu, (times, at) in enumerate(zip(cpus, heads, strict=True))
                if at < len(times)]  # fmt: skip
        if not left:
            return
        _, cpu = min(left)
        if heads[cpu] % 5:
            yield cpu, heads[cpu]
        heads[cpu] += 1


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("many", [7, 50, 1 << 15])
def test_as_one_after_the_other(seed: int, many: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(streams, "ROWS", many)
    rng = random.Random(seed)  # noqa: S311 (no secret)
    cpus = []
    for _ in range(rng.randrange(1, 6)):
        now, times = rng.randrange(100), []
        for _ in range(rng.randrange(400)):
            now = max(0, now + rng.randrange(-2 if seed % 2 else 0, 9))  # a clock may step back
            times.append(now)
        cpus.append(times)
    step = rng.randrange(1, 60)
    found, lost = [], 0
    for batch in merged([stream(times, cpu, step) for cpu, times in enumerate(cpus)]):
        found += zip(batch.events["cpu"].to_pylist(), batch.events["pfn"].to_pylist(), strict=True)
        lost += batch.losses.lost
        if batch.events.num_rows:
            times = batch.events["ts_ns"].to_pylist()
            assert [cpus[cpu][at] for cpu, at in found[-len(times) :]] == times
    assert found == list(one_by_one(cpus))
    assert lost == sum(-(-len(times) // step) for times in cpus)


def test_nothing_to_read():
    assert list(merged([])) == []
    assert list(merged([iter(()), iter(())])) == []
