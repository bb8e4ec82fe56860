# SPDX-License-Identifier: GPL-2.0-only
"""Figures as a closing record keeps them: one JSON object, its lists in columns.

docs/format.md describes it. Promises: what comes back is what was stored, to the last digit; what
is none of ours, or contradicts itself or the file it is in, is a ``ValueError``. Whether the events
say the same, only counting them anew can tell.

``VERSION`` goes up with every change of what is counted or how: who counts in another way then
counts anew.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import Field, fields, replace
from typing import Any, Final, TypeVar

import numpy as np

from recordings.format.final_numbers import Contents, Numbers
from recordings.ledger.consistency import check
from recordings.ledger.figures import Case, Figures
from recordings.ledger.histogram import Histogram
from recordings.ledger.snapshot import (
    Call,
    Extent,
    Fault,
    Operation,
    OperationTotal,
    Pairing,
    Reach,
    Regimes,
    Request,
    Series,
    SiteCount,
    Task,
    Unfinished,
)
from tracers.batch import Losses
from tracers.events import Kind, Source
from tracers.regimes import REGIMES

VERSION: Final = 1

#: The lists of ``Figures``: what is in them, and how many at most, by the budgets of the ledger.
LISTS: Final[Mapping[str, tuple[type, int]]] = {
    "sites": (SiteCount, 1024 + 1),
    "operations": (Operation, 200),
    "totals": (OperationTotal, 4),
    "tasks": (Task, 64),
    "reaches": (Reach, len(REGIMES)),
    "unfinished": (Unfinished, 100),
    "newest": (Call, 500),
    "extents": (Extent, 64),
    "faults": (Fault, 100),
    "requests": (Request, 100),
}
_BY_KIND: Final = ("begun", "failed", "orphans")
_OBJECTS: Final[Mapping[str, type]] = {
    "regimes": Regimes,
    "fault_regimes": Regimes,
    "pairing": Pairing,
}
_BINS: Final = 256  # of the series
_PAIRS: Final = ("adds", "removes")  # of the series: (began, ended) of each bin
_ERRORS: Final = 4095  # MAX_ERRNO of the kernel
_TEXT: Final = 4096  # characters; the ledger's budgets are bytes, below it
#: Told by what else is in the file, so not stored: where addresses lie, what a chain says.
_TOLD: Final = frozenset({"lands_on", "phys", "operation"})
#: Sums of many durations or sizes: everything else has 64 bits.
_SUMS: Final = frozenset({"total_ns", "warn_ns", "inner_ns", "timing_ns", "held_outside_bytes"})

_T = TypeVar("_T")
_KINDS: Final = {kind.label: kind for kind in Kind}
_SOURCES: Final = {source.label: source for source in Source}


def numbers_of(figures: Figures, losses: Losses) -> Numbers:
    """Return the figures as they are kept; ``losses``: those that the events' batches carry."""
    values: dict[str, Any] = {}
    for name in (each.name for each in fields(Figures)):
        value = getattr(figures, name)
        if name in LISTS:
            value = _columns(value, LISTS[name][0])
        elif name in _BY_KIND:
            value = {kind.label: number for kind, number in value.items() if number}
        elif name in _OBJECTS:
            value = {each.name: getattr(value, each.name) for each in fields(value)}
        elif name == "histograms":
            value = {kind.label: _histogram(each) for kind, each in value.items()}
        elif name == "refused":
            value = {"error": [error for error, _ in value], "count": [n for _, n in value]}
        elif name == "series":
            value = None if value is None else _series(value)
        values[name] = value
    first, last = figures.first_ns or 0, figures.last_ns or 0
    contents = Contents(rows=figures.events, first_ts=first, last_ts=last, losses=losses)
    return Numbers(VERSION, values, contents)


def figures_of(numbers: Numbers, case: Case) -> Figures:
    """Return the figures that ``numbers_of`` made ``numbers`` of, for the same machine.

    Raises:
        ValueError: they are of another version, or no figures of what the file holds.
    """
    if numbers.version != VERSION:
        raise ValueError(f"numbers of version {numbers.version}")
    try:
        figures = Figures(**dict(_read(numbers.values)))
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        raise ValueError(f"no numbers of ours: {error}") from error
    check(figures, numbers.contents)
    return _placed(figures, case)


def _read(values: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """Yield every field of ``Figures``."""
    for each in fields(Figures):
        name, value = each.name, values[each.name]
        if name in LISTS:
            yield name, _rows(value, *LISTS[name])
        elif name in _BY_KIND:
            yield name, {_KINDS[label]: _integer(number, name) for label, number in value.items()}
        elif name in _OBJECTS:
            kind = _OBJECTS[name]
            yield name, kind(**{f.name: _value(value[f.name], f) for f in fields(kind)})
        elif name == "histograms":
            yield name, {_KINDS[label]: _to_histogram(each) for label, each in value.items()}
        elif name == "refused":
            errors, counts = (_integers(value[key], _ERRORS) for key in ("error", "count"))
            yield name, tuple(zip(errors, counts, strict=True))
        elif name == "series":
            yield name, None if value is None else _to_series(value)
        else:
            yield name, _value(value, each)


def _columns(rows: Sequence[Any], kind: type) -> dict[str, list[Any]]:
    return {name: [_plain(getattr(row, name)) for row in rows] for name in _names(kind)}


def _names(kind: type) -> list[str]:
    return [each.name for each in fields(kind) if each.name not in _TOLD]


def _plain(value: object) -> object:
    return value.label if isinstance(value, Kind | Source) else value


def _rows(stored: Mapping[str, list[Any]], kind: type[_T], most: int) -> tuple[_T, ...]:
    columns = {}
    for each in fields(kind):  # type: ignore[arg-type]
        if each.name in _TOLD:
            continue
        column = stored[each.name]
        if type(column) is not list or len(column) > most:
            raise ValueError(f"{each.name} is no list of ours")
        columns[each.name] = [_value(value, each) for value in column]
    told = dict.fromkeys(each.name for each in fields(kind) if each.name in _TOLD)  # type: ignore[arg-type]
    rows = zip(*columns.values(), strict=True)
    return tuple(kind(**dict(zip(columns, row, strict=True)), **told) for row in rows)


def _value(value: Any, field: "Field[Any]") -> Any:  # noqa: ANN401 (JSON)
    """Return a value of a field by the field's type."""
    reader, optional = _READERS[field.type]
    if value is None and optional:
        return None
    return reader(value, field.name)


def _integer(value: object, name: str) -> int:
    if type(value) is not int or value < 0 or (value >= 1 << 64 and name not in _SUMS):
        raise ValueError(f"{name} is no number of ours")
    return value


def _integers(values: object, most: int, name: str = "") -> tuple[int, ...]:
    if type(values) is not list or len(values) > most:
        raise ValueError(f"{name} is no list of ours")
    return tuple(_integer(value, name) for value in values)


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or len(value) > _TEXT:
        raise ValueError(f"{name} is no text of ours")
    if name == "regime" and value not in REGIMES:
        raise ValueError("no regime")
    return value


def _flag(value: object, name: str) -> bool:
    if type(value) is not bool:
        raise ValueError(f"{name} is neither true nor false")
    return value


def _kind(value: str, _: str) -> Kind:
    return _KINDS[value]


def _source(value: str, _: str) -> Source:
    return _SOURCES[value]


#: By the type of a field: how its value is read, and whether it may be null.
_READERS: Final[Mapping[Any, tuple[Callable[[Any, str], Any], bool]]] = {
    int: (_integer, False),
    int | None: (_integer, True),
    str: (_text, False),
    str | None: (_text, True),
    bool: (_flag, False),
    Kind: (_kind, False),
    Kind | None: (_kind, True),
    Source: (_source, False),
}


def _histogram(histogram: Histogram) -> dict[str, Any]:
    return {
        "count": histogram.count,
        "total_ns": histogram.total,
        "min_ns": histogram.low,
        "max_ns": histogram.high,
        "bins": histogram.bins.tolist(),
        "counts": histogram.counts.tolist(),
    }


def _to_histogram(stored: Mapping[str, Any]) -> Histogram:
    count, total, low, high = (
        _integer(stored[name], name) for name in ("count", "total_ns", "min_ns", "max_ns")
    )
    most = 64 * 64 + 1
    bins, counts = (np.array(_integers(stored[n], most), np.int64) for n in ("bins", "counts"))
    return Histogram(count, total, low, high, bins, counts)


def _series(series: Series) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for each in fields(Series):
        value = getattr(series, each.name)
        if each.name in _PAIRS:
            values[f"{each.name}_began"] = [began for began, _ in value]
            values[f"{each.name}_ended"] = [ended for _, ended in value]
        else:
            values[each.name] = list(value) if isinstance(value, tuple) else _plain(value)
    return values


def _to_series(stored: Mapping[str, Any]) -> Series:
    values: dict[str, Any] = {
        name: _integers(stored[name], _BINS, name)
        for name in ("hits", "warnings", "timing_count", "timing_ns")
    }
    for name in _PAIRS:
        sides = (_integers(stored[f"{name}_{side}"], _BINS) for side in ("began", "ended"))
        values[name] = tuple(zip(*sides, strict=True))
    for name in ("start_ns", "bin_ns"):
        values[name] = _integer(stored[name], name)
    return Series(timing_kind=_kind(stored["timing_kind"], ""), **values)


# -- what is told by the rest of the file ------------------------------------------------------


def _placed(figures: Figures, case: Case) -> Figures:
    """Return the figures with all that the machine and the chains of Oopses tell."""
    names = _Names(case)
    newest = tuple(replace(each, lands_on=names.of(each)) for each in figures.newest)
    extents = tuple(replace(each, lands_on=names.of(each)) for each in figures.extents)
    faults = figures.faults
    if faults:
        from recordings.ledger.faults import operation, physical  # noqa: PLC0415 (few have one)

        faults = tuple(
            replace(
                each,
                lands_on=names.of(each),
                phys=physical(case.window, each.pfn),
                operation=operation(each.chain),
            )
            for each in faults
        )
    return replace(figures, newest=newest, extents=extents, faults=faults)


class _Names:
    """Names of where ranges lie, each looked up once."""

    def __init__(self, case: Case) -> None:
        self._layout = case.layout
        self._known: dict[tuple[int, int], str] = {}

    def of(self, each: Call | Extent | Fault) -> str | None:
        if self._layout is None or each.start is None or each.end is None:
            return None
        place = each.start, each.end
        if place not in self._known:
            self._known[place] = self._layout.lands_on(*place)
        return self._known[place]
