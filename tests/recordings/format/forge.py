# SPDX-License-Identifier: GPL-2.0-only
"""Hypothesis strategies that forge recordings: right framing and checksums, any content.

What a strategy here makes is a whole file as bytes. Whatever the format allows may be in it, and
some of what it forbids: headers whose every field is forged within its type (and a few beyond it),
columns of every encoding that readers must take, times, addresses and counts at both ends of their
types, losses, gaps, marks and closing records that contradict the batches, final numbers that are
true and others that are not.

A draw decides what kinds of values a batch has; a generator seeded by the draw then fills its
columns, as hypothesis cannot draw a hundred thousand values one by one.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from tempfile import NamedTemporaryFile
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from hypothesis import strategies as st

from recordings.format import framing
from recordings.format.encoding import fill_checksum
from recordings.format.final_numbers import Contents, Numbers, packed
from recordings.format.reader import RecordingError, open_recording
from recordings.ledger.ledger import folded
from recordings.ledger.stored import numbers_of
from tests.recordings.numbered import leaves, put
from tracers.events import SCHEMA, Kind, Phase, Source
from tracers.families import Family
from tracers.layout import layout_for
from tracers.machine import Machine
from tracers.window import Window, window_from_facts

TOP: Final = 2**64
HALF: Final = 2**63
#: What a kernel or a file may call things, to reach a terminal, a table or another program by.
TEXTS: Final = (
    "", " ", "insmod", "kworker/0:1", "arch/arm64/mm/mmu.c", "mm/sparse.c", "vmemmap_populate",
    "\x1b]0;x\x07\x1b[2J", "[bold red]x[/]", "[/]", "\x00", "a\nb\r\nc\td", "\x7f\x9b31m\x85",
    "\u202egnp.exe", "\u2066\u2028\u2029\ufeff", "\ud800", "\udfff\ud800", "=cmd()|' /C calc'!A0",
    "@SUM(1)", "\uff1d1+1", "שלום", "🧨käse", "`|*_<script>&#64;", "a" * 300, "\u0300" * 300,
    "名" * 130, "%s%n{0}", "null", "NaN", "\\", '"', "'", "no: ", "absent", "entry+return",
    " <- ", "a <- b", "../../x", "x" * 20_000, "\u200b\u00ad",
)  # fmt: skip
_INTEGERS: Final = (
    0, 1, 2, 7, 16, 63, 64, 127, 128, 2**15, 2**16, 2**21, 2**27, 2**31 - 1, 2**31, 2**32 - 1,
    2**32, 2**40, 2**48, 2**52, 2**53 + 1, 2**62, 2**63 - 1, 2**63, 2**64 - 2**12, 2**64 - 1,
)  # fmt: skip
#: Releases and what each family's windows are made of.
_RELEASES: Final = ("4.19", "5.4.0", "5.10.0-39-arm64", "6.1.192", "6.9", "6.12.1", "7.3-rc1")
_FUNCTIONS: Final = (
    "vmemmap_populate", "vmemmap_free", "sparse_add_section", "section_deactivate", "__warn",
    "__add_pages", "__remove_pages", "memremap_pages", "memunmap_pages",
)  # fmt: skip
_HOW: Final = (
    "kprobe", "entry+return", "callsite: x", "breakpoint 0", "derived", "absent: none", "no: why",
    "no: ", "tracepoint", "",
)  # fmt: skip


def _seldom(often: st.SearchStrategy[Any], seldom: st.SearchStrategy[Any], times: int = 20) -> Any:
    """One in ``times`` is of the second kind."""
    return st.sampled_from(range(times)).flatmap(lambda n: seldom if n == times // 2 else often)


texts = st.one_of(st.sampled_from(TEXTS), st.text(max_size=12))
_comms = st.one_of(st.sampled_from(("arch/arm64/mm/mmu.c", "insmod")), texts)
u64 = st.one_of(st.sampled_from(_INTEGERS), st.integers(0, TOP - 1))
_beyond = st.sampled_from((TOP, -HALF - 1, 10**30, -(10**30)))  # what a header refuses
integers = _seldom(st.one_of(u64, u64.map(lambda n: -(n >> 1))), _beyond, 100)
_values = st.recursive(
    st.one_of(st.none(), st.booleans(), integers, texts, st.floats(allow_nan=False)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=5,
)


def _one_in(times: int) -> st.SearchStrategy[bool]:
    """True one time in ``times``; the smallest example is False."""
    return st.sampled_from((False,) * (times - 1) + (True,))


# -- the header -----------------------------------------------------------------------------


@cache
def _windows() -> tuple[Window, ...]:
    """Windows of all families, whole."""
    found = []
    for release in _RELEASES:
        for bits, page in ((39, 4096), (48, 4096), (48, 65536), (47, 16384), (52, 65536)):
            facts = {"va_bits": bits, "page_size": page, "struct_page": 64}
            try:
                found.append(window_from_facts(facts, release=release))
            except Exception:  # noqa: BLE001, S112 (not every release has every size)
                continue
    return tuple(found)


#: What Python may take for the number that it is not.
MISTAKEN: Final = (
    ("va_bits", 39.0), ("page_size", 4096.0), ("struct_page", 64.0), ("section_size_bits", 27.0),
    ("vabits_actual", 48.0), ("struct_page", True), ("page_size", True), ("memstart", "-0x1"),
    ("memstart", " +0x1_0\n"),
)  # fmt: skip


@st.composite
def _window(draw: st.DrawFn) -> dict[str, Any]:
    """A window as a header has it: a real one, some of its facts replaced or gone."""
    window = draw(st.sampled_from(_windows()))
    stored = window.to_dict()
    stored |= {
        "memstart": draw(st.sampled_from((None, "0x40000000", "0x8000000000", "0xfff0000000000000",
                                          "0x0", "0xffffffffffffffff", "0x8000000000000000"))),
        "section_size_bits": draw(st.sampled_from((None, 27, 29, 30, 17, 47))),
        "vabits_actual": draw(st.sampled_from((None, None, 39, 48, 52))),
        "provenance": draw(st.dictionaries(texts, texts, max_size=2)) | {"window": draw(texts)},
    }  # fmt: skip
    if draw(st.booleans()):
        return stored
    forged = {
        "start": u64.map(lambda n: hex(n | HALF)),
        "end": u64.map(lambda n: hex(n | HALF)),
        "va_bits": st.sampled_from((None, 36, 39, 42, 47, 48, 52)),
        "page_size": st.sampled_from((None, 4096, 16384, 65536)),
        "struct_page": st.sampled_from((None, 8, 9, 24, 56, 63, 64, 65, 96, 127, 1024)),
        "memstart": u64.map(hex),
        "section_size_bits": st.integers(17, 47),
        "vabits_actual": st.sampled_from((None, 36, 39, 42, 47, 48, 52)),
        "family": st.sampled_from((None, "9.9", *(family.label for family in Family))),
        "used": _values,
    }
    for name, value in MISTAKEN:
        if draw(_one_in(60)):
            stored[name] = value
    for name in draw(st.sets(st.sampled_from(sorted(forged)), max_size=4)):
        stored[name] = draw(_seldom(forged[name], _values, 12))
    return stored


@st.composite
def _layout(draw: st.DrawFn, window: dict[str, Any] | None) -> dict[str, Any] | None:
    which = draw(st.sampled_from(range(10)))
    if which < 3:
        return None
    if which < 8:
        try:
            return layout_for(Window.from_dict(window or {})).to_dict()
        except Exception:  # noqa: BLE001 (of a window that is none)
            return None
    ends = sorted(draw(st.sets(u64.filter(bool), max_size=12)))
    borders = [0, *ends, TOP]
    regions = [
        {"name": draw(texts), "start": hex(low), "end": hex(high), "note": draw(texts)}
        for low, high in pairwise(borders)
    ]
    return {"regions": regions, "provenance": draw(texts)}


@st.composite
def _machine(draw: st.DrawFn) -> dict[str, Any]:
    window = draw(_seldom(_window(), st.none(), 8))
    stored = Machine().to_dict() | {
        "release": draw(st.one_of(st.sampled_from((None, *_RELEASES)), texts)),
        "build_id": draw(st.one_of(st.none(), texts)),
        "arch": draw(st.sampled_from((None, "aarch64", "x86_64", "\x1b[2J"))),
        "window": window,
        "layout": draw(_layout(window)),
        "iomem": draw(
            st.lists(st.tuples(_physical, _physical, _iomem_names).map(list), max_size=5)
        ),
        "config": draw(st.dictionaries(texts, texts, max_size=2)),
        "sources": draw(st.lists(texts, max_size=2)),
        "problems": draw(st.lists(texts, max_size=3)),
        "agree": draw(_seldom(st.just(True), st.just(False), 8)),
    }
    if draw(_one_in(20)):
        stored[draw(st.sampled_from(sorted(stored)))] = draw(_values)
    return stored


_physical = _seldom(
    st.one_of(u64.map(hex), st.sampled_from(("0x0", "0x40000000", "0xbfffffff"))),
    st.sampled_from(("-0x1", "0x1ffffffffffffffff")),  # no address
    100,
)
_iomem_names = st.one_of(st.just("System RAM"), texts)


@st.composite
def headers(draw: st.DrawFn) -> bytes:
    """The JSON of a header; most can be read."""
    probes = draw(st.dictionaries(
        st.one_of(st.sampled_from(_FUNCTIONS), texts), st.one_of(st.sampled_from(_HOW), texts),
        max_size=6,
    ))  # fmt: skip
    stored: dict[str, Any] = {
        "format": draw(st.sampled_from(("1.0", "1.1", "1.2", "1.3", "1.4", "1.5", "1.9999"))),
        "tool": draw(texts),
        "created_ns": draw(integers),
        "machine": draw(_machine()),
        "probes": probes,
        "clock": {
            "name": draw(st.sampled_from(("mono", "boot", "mono_raw", "local", None, 7, "\ud800"))),
            "offset_ns": draw(st.one_of(st.none(), integers, texts)),
        },
        "origin": draw(st.dictionaries(st.one_of(st.just("hits-only"), texts), texts, max_size=2)),
        "warn_sites": draw(st.lists(texts, max_size=3)),
        "notes": draw(st.lists(texts, max_size=4)),
    }
    for key in draw(_seldom(st.just(()), st.sets(st.sampled_from(sorted(stored)), max_size=9), 6)):
        if key != "format":
            del stored[key]
    if draw(_one_in(30)):
        stored[draw(st.sampled_from(sorted(stored)))] = draw(_values)
    if draw(_one_in(10)):
        stored[draw(texts)] = draw(_values)
    return json.dumps(stored).encode()


@cache
def abysses() -> tuple[bytes, ...]:
    """Headers that JSON's own readers have trouble with."""
    deep = "[" * 100_000 + "]" * 100_000
    return (
        f'{{"format":"1.2","notes":{deep}}}'.encode(),
        b'{"format":"1.2","created_ns":1' + b"0" * 5000 + b"}",
        b'{"format":"1.2","created_ns":-1e999}',
        b'{"format":"1.2","created_ns":NaN}',
        b'{"format":"1.2","format":"2.0"}',
        b'{"format":"1.2","notes":["\\ud800\xff"]}',
        b'\xef\xbb\xbf{"format":"1.2"}',
        b'{"format":"1.2"}\x00',
        b"",
    )


# -- the events -----------------------------------------------------------------------------


class _Style(NamedTuple):
    """How all batches of a file look: their encodings and what their values are like."""

    index: pa.DataType | None  # of names; None: plain text
    names: dict[str, tuple[str, ...]]  # vocabulary by column
    extra: tuple[pa.Field, ...]
    nulls: float  # share of a nullable column that is null
    addresses: tuple[int, ...]
    step: int  # between addresses
    times: str
    threads: int
    texts: tuple[str, ...]
    shuffled: bool  # rows that follow no kernel's order
    derived: bool  # else: populate is observed, and sparse_add_section with it
    remap: bool  # memremap_pages around it
    dropped: float  # share of the rows that are not there
    honest: bool  # all calls inside the window, all ended, all known
    source: int | None  # how all rows are known; None: each in another way
    nr_pages: int


_EXTRA: Final = (
    pa.int8(), pa.uint64(), pa.float64(), pa.float16(), pa.bool_(), pa.binary(), pa.large_utf8(),
    pa.utf8(), pa.null(), pa.timestamp("ns", "UTC"), pa.duration("s"), pa.date32(), pa.time64("us"),
    pa.decimal128(38, 3), pa.list_(pa.int64()), pa.struct([("a", pa.list_(pa.utf8()))]),
    pa.map_(pa.utf8(), pa.int32()), pa.dictionary(pa.int16(), pa.int64()), pa.binary(3),
    pa.dictionary(pa.int8(), pa.large_utf8()), pa.month_day_nano_interval(), pa.large_binary(),
    pa.list_(pa.float32(), 2), pa.dictionary(pa.int32(), pa.utf8()), pa.string_view(),
)  # fmt: skip
_EXTRA_NAMES: Final = (
    "regime", "silent", "x", "", "\x1b[2J", "=1+1", "__index_level_0__", "Kind", "a,b\n", "'", "é",
)  # fmt: skip


@st.composite
def _styles(draw: st.DrawFn, window: Window | None) -> _Style:
    index = draw(st.sampled_from((
        pa.int8(), pa.int8(), pa.int8(), pa.uint8(), pa.int16(), pa.int32(), pa.uint32(),
        pa.int64(), pa.uint64(), None,
    )))  # fmt: skip
    names = {}
    for column, enum in (("kind", Kind), ("phase", Phase), ("source", Source)):
        words = [member.label for member in enum]
        if draw(st.booleans()):
            words = draw(st.permutations(words))
        more = draw(st.lists(texts.filter(_is_utf8), max_size=3))
        names[column] = tuple(words + [word for word in more if draw(st.booleans())])
    edges = [0, HALF] if window is None else [0, HALF, window.start, window.used[0], window.end]
    own = st.sampled_from([edge % TOP for edge in edges])
    fields = draw(st.lists(
        st.tuples(st.sampled_from(_EXTRA_NAMES), st.sampled_from(_EXTRA), st.booleans()),
        max_size=4, unique_by=lambda each: each[0],
    ))  # fmt: skip
    style = _Style(
        index=index,
        names=names,
        extra=tuple(pa.field(name, kind, nullable or kind == pa.null())
                    for name, kind, nullable in draw(_seldom(st.just(fields), st.just([]), 3))),
        nulls=draw(st.sampled_from((0.0, 0.0, 0.01, 0.3, 1.0))),
        addresses=tuple(draw(st.lists(st.one_of(own, u64), min_size=1, max_size=4))),
        step=draw(st.sampled_from((0, 1, 64, 2**15, 2**21, 2**21, 2**21, 2**27, 2**40, 2**62))),
        times=draw(st.sampled_from(("steady", "steady", "still", "back", "ends", "any", "leap"))),
        threads=draw(st.sampled_from((1, 1, 2, 5, 400))),
        texts=tuple(filter(_is_utf8, draw(st.lists(_comms, min_size=1, max_size=5)))) or ("x",),
        shuffled=draw(st.booleans()),
        derived=draw(st.booleans()),
        remap=draw(st.booleans()),
        dropped=draw(st.sampled_from((0.0, 0.0, 0.0, 0.01, 0.3))),
        source=draw(st.sampled_from((1, 1, 1, 5, 6, None))),
        nr_pages=draw(st.sampled_from((2**15, 2**22, 2**22, 0, 1, 2**40, TOP - 1))),
        honest=window is not None and draw(st.sampled_from((False, False, True))),
    )  # fmt: skip
    return _honest(style, window) if style.honest and window is not None else style


def _honest(style: _Style, window: Window) -> _Style:
    """A style whose batches alone give no reason against "clean"."""
    enums = {"kind": Kind, "phase": Phase, "source": Source}
    return style._replace(
        names={name: tuple(member.label for member in enum) for name, enum in enums.items()},
        nulls=0.0,
        addresses=(window.used[0],),
        step=2**21,
        texts=("insmod", "mm/sparse.c"),
        shuffled=False,
        dropped=0.0,
        source=int(Source.KPROBE),
    )


def _is_utf8(text: str) -> bool:
    return not any(0xD800 <= ord(char) < 0xE000 for char in text)


_K, _P = Kind, Phase
_DERIVED: Final = ((_K.POPULATE, _P.POINT), (_K.WARN, _P.ENTRY), (_K.WARN, _P.EXIT))
#: One section of a hot-add, of a hot-remove, and what stands around them.
_ADD: Final = (
    (_K.SECTION_ADD, _P.ENTRY), (_K.POPULATE, _P.ENTRY), (_K.WARN, _P.ENTRY), (_K.WARN, _P.EXIT),
    (_K.POPULATE, _P.EXIT), (_K.SECTION_ADD, _P.EXIT),
)  # fmt: skip
_REMOVE: Final = (
    (_K.SECTION_REMOVE, _P.ENTRY), (_K.FREE, _P.ENTRY), (_K.WARN, _P.ENTRY), (_K.WARN, _P.EXIT),
    (_K.FREE, _P.EXIT), (_K.SECTION_REMOVE, _P.EXIT),
)  # fmt: skip


def _order(style: _Style, rows: int, rng: np.random.Generator) -> tuple[Any, Any]:
    """Kinds and phases of a hot-add and a hot-remove, as a kernel goes through them."""
    sections = max(1, (rows - 8) // 12)
    add = _DERIVED if style.derived else _ADD
    steps = [(_K.ADD_PAGES, _P.ENTRY), *add * sections, (_K.ADD_PAGES, _P.EXIT)]
    if style.remap:
        steps = [(_K.MEMREMAP, _P.ENTRY), *steps, (_K.MEMREMAP, _P.EXIT), (_K.MEMUNMAP, _P.ENTRY)]
    steps += [(_K.REMOVE_PAGES, _P.ENTRY), *_REMOVE * sections, (_K.REMOVE_PAGES, _P.EXIT)]
    steps += [(_K.MEMUNMAP, _P.EXIT)] * style.remap
    codes = np.array([(kind, phase) for kind, phase in steps], int)
    kept = codes[rng.random(len(codes)) >= style.dropped]
    if style.honest:  # whole, and what is left filled with calls that have no end
        kept = kept[: len(kept) if len(kept) <= rows else 0]
        fill = np.full((rows - len(kept), 2), (int(_K.POPULATE), int(_P.POINT)))
        kept = np.concatenate((kept, fill))
    kept = np.resize(kept, (rows, 2)) if len(kept) else np.ones((rows, 2), int)
    return kept[:, 0], kept[:, 1]


def _batch(style: _Style, rows: int, rng: np.random.Generator, clock: int) -> pa.RecordBatch:
    """Fill a batch."""
    if style.shuffled:
        kind = rng.integers(0, len(Kind), rows)
        phase = rng.choice([1, 1, 1, 2, 2, 2, 3, 0], rows)
    else:
        kind, phase = _order(style, rows, rng)
    thread = rng.integers(0, style.threads, rows) if style.shuffled else np.zeros(rows, int)
    at = np.cumsum(kind == Kind.POPULATE) if not style.shuffled else rng.integers(0, 40, rows)
    base = rng.choice(np.array(style.addresses, np.uint64), rows if style.shuffled else 1)
    start = base + at.astype(np.uint64) * np.uint64(style.step)
    end = start + np.uint64(style.step)
    if style.shuffled:
        end = np.where(rng.random(rows) < 0.2, rng.choice(start, rows) if rows else end, end)
    pfn = rng.choice(np.array(_INTEGERS, np.uint64), 1) + at.astype(np.uint64) * np.uint64(2**15)
    longest = 20_000 if rows < 500 else 300  # a message has a limit, and reading takes time
    text = np.array([*(each[:longest] for each in style.texts), "n"], object)
    values: dict[str, Any] = {
        "ts_ns": _times(style.times, rows, rng, clock),
        "cpu": rng.choice([0, 1, 2**16 - 1], rows),
        "pid": rng.choice([0, 7, 2**31, 2**32 - 1], rows),
        "tid": np.where(thread > 300, 2**32 - 1 - thread, thread + rng.choice([0, 7, 7])),
        "comm": rng.choice(text, rows),
        "start": start,
        "end": end,
        "pfn": pfn if rows else [],
        "nr_pages": rng.choice(np.array(_INTEGERS, np.uint64), rows)
        if style.shuffled
        else np.full(rows, style.nr_pages, np.uint64),
        "nid": rng.choice([0, -1, 2**31 - 1, -(2**31)], rows),
        "ret": np.zeros(rows, int)
        if style.honest
        else rng.choice([0, 0, 0, -22, 2**63 - 1, -(2**63)], rows),
        "site": rng.choice(text, rows) if style.threads < 400 else [f"s{n}" for n in range(rows)],
        "line": rng.choice([0, 1222, 2**32 - 1], rows),
    }
    source = rng.integers(0, len(Source), rows)
    if style.source is not None:
        source[:] = style.source
    codes = {"kind": kind, "phase": phase, "source": source}
    columns = [
        _named(style, field.name, codes[field.name], rng)
        if field.name in codes
        else _column(field, values[field.name], rows, style.nulls, rng)
        for field in SCHEMA
    ]
    columns += [_foreign(field, rows, rng) for field in style.extra]
    return pa.RecordBatch.from_arrays(columns, schema=_schema(style))


def _schema(style: _Style) -> pa.Schema:
    fields = []
    for field in SCHEMA:
        if field.name in style.names:
            kind = pa.utf8() if style.index is None else pa.dictionary(style.index, pa.utf8())
            field = field.with_type(kind)  # noqa: PLW2901
        fields.append(field)
    return pa.schema([*fields, *style.extra])


def _times(how: str, rows: int, rng: np.random.Generator, clock: int) -> Any:
    match how:
        case "still":
            steps = np.zeros(rows, np.uint64)
        case "any":
            return rng.integers(0, TOP, rows, np.uint64)
        case "ends":
            return rng.choice(np.array([0, 1, HALF - 1, HALF, TOP - 1], np.uint64), rows)
        case "leap":
            steps = rng.choice(np.array([0, 1, 2**40, 2**60], np.uint64), rows)
        case _:
            steps = rng.integers(0, 100_000, rows, np.uint64)
    moments = np.uint64(clock) + np.cumsum(steps, dtype=np.uint64)
    return moments[::-1] if how == "back" else moments


def _column(
    field: pa.Field, values: Any, rows: int, nulls: float, rng: np.random.Generator
) -> pa.Array:
    mask = rng.random(rows) < nulls if field.nullable and nulls else None
    if pa.types.is_string(field.type):
        return pa.array(list(values), field.type, mask=mask)
    return pa.array(np.asarray(values).astype(field.type.to_pandas_dtype()), field.type, mask=mask)


def _named(style: _Style, column: str, codes: Any, rng: np.random.Generator) -> pa.Array:
    """A column of names: our codes, and some of the words that are not ours."""
    words = style.names[column]
    place = {word: at for at, word in reversed(list(enumerate(words)))}
    enum = {"kind": Kind, "phase": Phase, "source": Source}[column]
    table = np.array([place[member.label] for member in enum])
    at = table[np.asarray(codes, int)] if len(codes) else np.zeros(0, int)
    if len(words) > len(enum):
        at = np.where(rng.random(len(at)) < 0.05, rng.integers(0, len(words), len(at)), at)
    if style.index is None:
        return pa.array([words[n] for n in at.tolist()], pa.utf8())
    return pa.DictionaryArray.from_arrays(pa.array(at, style.index), pa.array(words, pa.utf8()))


def _foreign(field: pa.Field, rows: int, rng: np.random.Generator) -> pa.Array:
    """A column of a newer version: any type, its values few."""
    kind = field.type
    if pa.types.is_dictionary(kind):
        words = [1, 2] if pa.types.is_integer(kind.value_type) else ["a", "\x1b[2J\n"]
        at = pa.array(rng.integers(0, 2, rows), kind.index_type)
        return pa.DictionaryArray.from_arrays(at, pa.array(words, kind.value_type))
    samples = _SAMPLES.get(kind, [1])
    picked = [samples[n] for n in rng.integers(0, len(samples), rows).tolist()]
    if field.nullable:
        picked = [
            None if n < 0.2 else value for n, value in zip(rng.random(rows), picked, strict=True)
        ]
    return pa.nulls(rows) if kind == pa.null() else pa.array(picked, kind)


_SAMPLES: Final[dict[pa.DataType, list[Any]]] = {
    pa.uint64(): [0, TOP - 1],
    pa.int8(): [-128, 127],
    pa.float64(): [float("nan"), float("inf"), -0.0, 1e308],
    pa.float16(): [np.float16(0.5)],
    pa.bool_(): [True, False],
    pa.binary(): [b"\xff\x00", b""],
    pa.large_binary(): [b"\xff\x00", b""],
    pa.binary(3): [b"abc"],
    pa.utf8(): ["a", "\x1b[2J", "=1+1", '"'],
    pa.large_utf8(): ["a", "\x1b[2J", "=1+1", '"'],
    pa.string_view(): ["a", "a long text that is not inline"],
    pa.list_(pa.int64()): [[], [1, None]],
    pa.list_(pa.float32(), 2): [[1.0, 2.0]],
    pa.struct([("a", pa.list_(pa.utf8()))]): [{"a": ["x"]}, {"a": None}],
    pa.map_(pa.utf8(), pa.int32()): [[("a", 1)], []],
    pa.month_day_nano_interval(): [pa.MonthDayNano([1, 2, 3])],
    pa.timestamp("ns", "UTC"): [pa.scalar(2**63 - 1, pa.timestamp("ns", "UTC")), None],
    pa.duration("s"): [pa.scalar(2**62, pa.duration("s")), None],
    pa.date32(): [pa.scalar(2**31 - 1, pa.date32()), pa.scalar(0, pa.date32())],
    pa.time64("us"): [pa.scalar(2**62, pa.time64("us")), pa.scalar(-1, pa.time64("us"))],
}


# -- the file -------------------------------------------------------------------------------


@st.composite
def _plans(draw: st.DrawFn) -> list[dict[str, Any]]:
    """The metadata of batches, an honest one's but for what is forged; ``size``: its rows."""
    plans: list[dict[str, Any]] = []
    seq = 0
    for _ in range(draw(st.sampled_from((1, 1, 2, 3, 4, 0)))):
        size = draw(st.one_of(
            st.sampled_from((90, 300, 0, 1, 2)),
            _seldom(st.integers(0, 120), st.sampled_from((5000, 5000, 5000, 70_000)), 12),
        ))  # fmt: skip
        plan: dict[str, Any] = {"seq": seq, "size": size, "rows": size}
        plan |= dict.fromkeys(("lost", "lost_unknown", "torn", "rejected"), 0)
        for name in draw(_seldom(st.just(()), st.sets(st.sampled_from(_LOSSES), max_size=3), 6)):
            plan[name] = draw(u64)
        if draw(_one_in(12)):
            name = draw(st.sampled_from((*_LOSSES, "seq", "rows", "first_ts", "last_ts", "x")))
            plan[name] = draw(st.one_of(integers, _values))
        if draw(_one_in(30)):
            plan[draw(st.sampled_from(("begin", "end")))] = draw(st.one_of(st.just(True), _values))
        plans.append(plan)
        seq += draw(st.sampled_from((0, 2, 100, 2**40))) if draw(_one_in(20)) else 1
    if draw(_one_in(20)):
        plans = draw(st.permutations(plans))
    return plans


_LOSSES: Final = ("lost", "lost_unknown", "torn", "rejected")


@st.composite
def _ends(draw: st.DrawFn, plans: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The closing record's metadata, honest but for what is forged; None: there is none."""
    if draw(_one_in(15)):
        return None
    end: dict[str, Any] = {"end": True, "seq": len(plans), "first_ts": 0, "last_ts": 0}
    end["rows"] = sum(plan["size"] for plan in plans)
    for name in _LOSSES:
        own = [plan[name] for plan in plans if type(plan[name]) is int and plan[name] >= 0]
        end[name] = min(sum(own), TOP - 1)
    end["reason"] = draw(st.one_of(st.just("closed"), st.sampled_from(("SIGTERM", "")), texts))
    if draw(st.booleans()):
        end["notes"] = draw(_seldom(st.lists(texts, max_size=4), _values))
    for name in draw(_seldom(st.just(()), st.sets(st.sampled_from(sorted(end)), max_size=2), 8)):
        end[name] = draw(_seldom(u64, _values, 4))
    return end


@st.composite
def recordings(draw: st.DrawFn) -> bytes:
    """A recording, as the bytes of its file."""
    header = draw(_seldom(headers(), st.sampled_from(abysses()), 60))
    try:
        window = Machine.from_dict(json.loads(header)["machine"]).window
    except Exception:  # noqa: BLE001 (a forged one)
        window = None
    style = draw(_styles(window))
    plans = draw(_plans())
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    clock = draw(st.sampled_from((0, 10**9, 2**40, HALF - 5, TOP - 2**30, TOP - 1)))
    batches = []
    for plan in plans:
        batch = _batch(style, plan["size"], rng, clock)
        times = batch.column("ts_ns").to_numpy()
        if len(times):
            plan.setdefault("first_ts", int(times.min()))
            plan.setdefault("last_ts", int(times.max()))
            clock = int(times[-1])
        meta = {"first_ts": 0, "last_ts": 0} | plan
        del meta["size"]
        batches.append((batch, json.dumps(meta).encode()))
    end = draw(_ends(plans))
    if end is not None:
        batches.append((_batch(style, 0, rng, 0), json.dumps(end).encode()))
    begin = {"begin": True, "seq": 0, "rows": 0, "first_ts": 0, "last_ts": 0}
    begin |= dict.fromkeys(_LOSSES, 0)
    opening = (_batch(style, 0, rng, 0), json.dumps(begin).encode())
    codec = draw(st.sampled_from((None, "lz4", "zstd")))
    tail = draw(_seldom(st.just(framing.EOS), st.sampled_from((b"", framing.EOS + b"x")), 15))
    made = assembled(header, [opening, *batches], codec)
    if draw(_one_in(3)) or end is None:
        return made + tail
    numbers = _numbers(made + framing.EOS, draw(_seldom(st.just(None), _CHANGES, 3)))
    return assembled(header, [opening, *batches], codec, numbers) + tail


#: What is changed in the final numbers: where (a share of all places), and to what.
_CHANGES: Final = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.one_of(u64, integers, texts, _values)),
    min_size=1,
    max_size=3,
)


def _numbers(data: bytes, changes: Sequence[tuple[float, Any]] | None) -> bytes | None:
    """The final numbers of a file, its own but for ``changes``; None if it cannot have any."""
    with NamedTemporaryFile(suffix=".arrows") as file:
        file.write(data)
        file.flush()
        try:
            recording = open_recording(file.name)
        except RecordingError:
            return None
        with recording:
            ledger = folded(recording)
            contents = Contents().followed_by(recording.contents)
    numbers = numbers_of(ledger.figures(), contents.losses)
    values = json.loads(json.dumps(dict(numbers.values)))
    places = list(leaves(values)) if changes else []
    for share, value in changes or ():
        put(values, places[int(share * len(places))], value)
    try:
        return packed(Numbers(numbers.version, values, replace(contents, checksum=0)), contents)
    except ValueError:  # what is no JSON
        return None


def assembled(
    header: bytes,
    batches: Sequence[tuple[pa.RecordBatch, bytes]],
    codec: str | None = None,
    numbers: bytes | None = None,
) -> bytes:
    """Lay batches and their metadata out as a file, every checksum right, without an end marker.

    ``numbers``: the last batch's final numbers.
    """
    sink = pa.BufferOutputStream()
    schema = batches[0][0].schema.with_metadata({framing.META_KEY: header})
    cuts = [0]
    with pa.ipc.new_stream(sink, schema, options=pa.ipc.IpcWriteOptions(compression=codec)) as out:
        for at, (batch, meta) in enumerate(batches, 1):
            custom = {framing.META_KEY: meta, framing.CRC_KEY: framing.CRC_BLANK}
            if numbers is not None and at == len(batches):
                custom[framing.NUMBERS_KEY] = numbers
            out.write_batch(batch.replace_schema_metadata(schema.metadata), custom_metadata=custom)
            cuts.append(sink.tell())
    data = sink.getvalue().to_pybytes()
    return b"".join(fill_checksum(data[start:end]) for start, end in pairwise(cuts))
