# SPDX-License-Identifier: GPL-2.0-only
"""Raw records become rows: every field is exact, also with a hostile comm."""

import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracers.events import SCHEMA, Kind
from tracers.live.probes.points import Probe, ProbeAddress, Rung
from tracers.live.records import RAW
from tracers.live.rows import rows

PROBES = (
    Probe(
        Kind.POPULATE,
        Rung.BREAKPOINT,
        "vmemmap_populate",
        (ProbeAddress("vmemmap_populate", 0, 1),),
        registers=(("start", 0), ("end", 1), ("nid", 2)),
        ret="int",
    ),
    # sparse_remove_section as in 6.1: ms, pfn, nr_pages
    Probe(
        Kind.SECTION_REMOVE,
        Rung.KPROBE,
        "sparse_remove_section",
        (),
        registers=(("pfn", 1), ("nr_pages", 2)),
    ),
    Probe(
        Kind.WARN,
        Rung.KPROBE,
        "__warn",
        (),
        registers=(("site", 0), ("line", 1), ("caller", 2)),
    ),
    Probe(Kind.MEMREMAP, Rung.CALLSITE, "memremap_pages", (), (), (("nid", 1),), "pointer"),
)
POPULATE, REMOVE, WARN, MEMREMAP = range(4)
ENTRY, EXIT = 1, 2
ALL, NO_ARGS = 7, 3
MMU = "arch/arm64/mm/mmu.c"


def record(**fields) -> np.ndarray:
    one = np.zeros(1, RAW)
    one["site"], one["known"], one["phase"] = -1, ALL, ENTRY
    for name, value in fields.items():
        if name == "args":
            one[name][0, : len(value)] = value
        else:
            one[name] = value
    return one


def rows_of(*records: np.ndarray, sites=(MMU,)) -> list[dict]:
    batch = rows(np.concatenate(records), PROBES, sites)
    batch.validate(full=True)
    assert batch.schema == SCHEMA
    return batch.to_pylist()


def expected(**fields) -> dict:
    base = {"ts_ns": 0, "cpu": 0, "pid": 0, "tid": 0, "comm": "", "phase": "entry"}
    return dict.fromkeys(SCHEMA.names) | base | fields


def test_arguments_come_out_of_the_registers_the_probe_names():
    args = [2**64 - 2**21, 0, 2**32 - 1, 77]  # a range that ends at the very top; nid -1
    assert rows_of(
        record(probe=POPULATE, ts_ns=2**63 + 5, cpu=3, pid=10, tid=11, comm=b"insmod", args=args),
        record(probe=REMOVE, args=[0xDEAD, 0xFFEC38000, 2**64 - 1, 9]),
    ) == [
        expected(
            kind="populate",
            source="breakpoint",
            ts_ns=2**63 + 5,
            cpu=3,
            pid=10,
            tid=11,
            comm="insmod",
            start=2**64 - 2**21,
            end=0,
            nid=-1,
        ),
        expected(kind="section_remove", source="kprobe", pfn=0xFFEC38000, nr_pages=2**64 - 1),
    ]


@pytest.mark.parametrize(
    ("probe", "x0", "ret"),
    [
        (POPULATE, 0, 0),
        (POPULATE, 0xFFFFFFF4, -12),  # w0 = -ENOMEM, the upper half zero
        (POPULATE, 0xDEADBEEF_FFFFFFF4, -12),  # or garbage: AAPCS64 leaves it undefined
        (POPULATE, 2**64 - 12, -12),
        (MEMREMAP, 2**64 - 12, -12),  # ERR_PTR(-ENOMEM)
        (MEMREMAP, 0xFFFF_0000_0000_0000, -(2**48)),
        (MEMREMAP, 0xFFFFFFF4, 0xFFFFFFF4),  # a pointer is not cut
        (REMOVE, 5, None),  # void
    ],
)
def test_what_a_call_returned(probe, x0, ret):
    (row,) = rows_of(record(probe=probe, phase=EXIT, args=[x0, 1, 2, 3]))
    assert row["ret"] == ret
    assert row["phase"] == "exit"
    assert [row[name] for name in ("start", "end", "pfn", "nr_pages", "nid")] == [None] * 5


def test_what_the_engine_does_not_know_is_null():
    (entry, leave) = rows_of(
        record(probe=POPULATE, known=0, args=[1, 2, 3], pid=5, comm=b"x", tid=6),
        record(probe=POPULATE, known=NO_ARGS, phase=EXIT, args=[1]),
    )
    assert entry == expected(kind="populate", source="breakpoint", tid=6, pid=None, comm=None)
    assert leave["ret"] is None
    assert leave["pid"] == 0


def test_a_warn_has_its_site_at_the_entry_alone():
    first, unknown, beyond, leave, other = rows_of(
        record(probe=WARN, site=1, line=1222, args=[1, 2, 3]),
        record(probe=WARN, site=-1, line=0),
        record(probe=WARN, site=2, line=7),
        record(probe=WARN, site=0, line=7, phase=EXIT),
        record(probe=REMOVE, site=0, line=7),
        sites=("mm/sparse.c", MMU),
    )
    assert (first["site"], first["line"]) == (MMU, 1222)
    assert (unknown["site"], unknown["line"]) == (None, None)
    assert (beyond["site"], beyond["line"]) == (None, 7)
    assert (leave["site"], leave["line"]) == (None, None)
    assert (other["site"], other["line"]) == (None, None)
    assert rows_of(record(probe=WARN, site=0), sites=())[0]["site"] is None


@pytest.mark.parametrize(
    ("comm", "text"),
    [
        (b"", ""),
        (b"kworker/u8:3-ev", "kworker/u8:3-ev"),  # 15 bytes: as long as a comm can be
        (b"sixteen bytes ab", "sixteen bytes ab"),  # without its NUL
        (b"\x1b]0;x\x07[bold]", "\x1b]0;x\x07[bold]"),  # as it was: escaped where it is shown
        (b"\xff\xfe\x80", "\\xff\\xfe\\x80"),
        (b"caf\xc3\xa9", "café"),
        (b"caf\xc3", "caf\\xc3"),  # cut in the middle of a letter
        (b"a\nb\tc", "a\nb\tc"),
        (b"new\0ld name", "new"),  # what an older, longer name left behind
        (b"\0stale", ""),
    ],
)
def test_any_comm_is_text(comm, text):
    assert rows_of(record(comm=comm))[0]["comm"] == text


def test_comms_keep_their_rows():
    names = [b"b", b"a", b"\xff", b"b", b""]
    known = [7, 7, 7, 5, 7]
    made = rows_of(*(record(comm=name, known=k) for name, k in zip(names, known, strict=True)))
    assert [row["comm"] for row in made] == ["b", "a", "\\xff", None, ""]


def test_no_records_are_no_rows():
    for probes in (PROBES, ()):
        batch = rows(np.zeros(0, RAW), probes, ())
        assert batch.num_rows == 0
        assert batch.schema == SCHEMA


_U64 = st.integers(0, 2**64 - 1)
_U32 = st.integers(0, 2**32 - 1)


@given(
    st.lists(
        st.tuples(_U64, _U64, _U64, _U64, _U32, st.integers(0, 7), st.sampled_from([1, 2, 3])),
        max_size=20,
    )
)
def test_no_bit_of_a_register_is_lost(made):
    records = np.zeros(len(made), RAW)
    for row, (ts, x0, x1, x2, tid, known, phase) in zip(records, made, strict=True):
        row["ts_ns"], row["tid"], row["known"], row["phase"] = ts, tid, known, phase
        row["args"][:3] = x0, x1, x2
    batch = rows(records, PROBES, ())
    batch.validate(full=True)
    for row, (ts, x0, x1, x2, tid, known, phase) in zip(batch.to_pylist(), made, strict=True):
        assert (row["ts_ns"], row["tid"]) == (ts, tid)
        nid = (x2 + 2**31) % 2**32 - 2**31
        ret = (x0 + 2**31) % 2**32 - 2**31
        entered, left = known & 4 and phase != EXIT, known & 4 and phase == EXIT
        assert (row["start"], row["end"], row["nid"]) == (
            (x0, x1, nid) if entered else (None, None, None)
        )
        assert row["ret"] == (ret if left else None)


def test_nothing_heavy_is_loaded():
    code = (
        "import sys\n"
        "import tracers.live.session, tracers.live.probes.ladder, tracers.logs.derive\n"
        "import numpy as np\n"
        "from tracers.events import Kind\n"
        "from tracers.live.probes.points import ProbeAddress, Probe, Rung\n"
        "from tracers.live.records import RAW\nfrom tracers.live.rows import rows\n"
        "from tracers.logs.derive import Deriver\n"
        "add = Probe(Kind.ADD_PAGES, Rung.KPROBE, 'f', (), (), (('pfn', 1),), 'int')\n"
        "warn = Probe(Kind.WARN, Rung.KPROBE, '__warn', ())\n"
        "records = np.zeros(3, RAW)\n"
        "records['phase'], records['probe'] = [1, 1, 2], [0, 1, 0]\n"
        "records['known'], records['comm'] = [7, 3, 4], [b'a', b'\\xff', b'']\n"
        "batch = rows(records, (add, warn), ('mm/a.c',))\n"
        "batch = Deriver(None, 32768).feed(batch)\n"
        "heavy = {'pandas', 'textual', 'click', 'rich'} & set(sys.modules)\n"
        "sys.exit(f'loaded: {heavy}' if heavy or batch.num_rows != 3 else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_rows_of_several_batches_go_together():
    one, none = rows(record(probe=WARN), PROBES, (MMU,)), rows(np.zeros(0, RAW), PROBES, ())
    table = pa.Table.from_batches([one, none, one]).combine_chunks()
    assert table["kind"].to_pylist() == ["warn", "warn"]
