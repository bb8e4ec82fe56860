# SPDX-License-Identifier: GPL-2.0-only
"""Converts an engine's raw records to rows of the event schema, column by column.

The probe knows which register is which argument, so nothing in the kernel needs to know signatures.
"""

import mmap
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tracers.arrow import column, masked, strings
from tracers.events import KIND_NAMES, PHASE_NAMES, SCHEMA, SOURCE_NAMES, Kind, Phase
from tracers.kernel_functions import REQUESTS
from tracers.live.probes.points import Probe
from tracers.live.records import KNOWN_ARGS, KNOWN_COMM, KNOWN_PID
from tracers.region_rows import in_pages

_Records = npt.NDArray[np.void]
_Mask = npt.NDArray[np.bool_]


def rows(records: _Records, probes: Sequence[Probe], sites: Sequence[str]) -> pa.RecordBatch:
    """Return the records (RAW[N]) as rows of ``SCHEMA``, in their order.

    ``probe`` is an index into ``probes``, ``site`` one into ``sites``, the WARNs' source files.
    """
    probe = records["probe"]
    kinds = np.array([each.kind for each in probes], np.int8)
    sources = np.array([each.rung.source for each in probes], np.int8)
    untimed = np.array([not each.timed for each in probes], np.bool_)[probe]
    entry = records["phase"] != Phase.EXIT
    # an entry whose exit is not watched must not look like a call that never ended
    phase = np.where(entry & untimed, np.int8(Phase.POINT), records["phase"].astype(np.int8))
    has_args = (records["known"] & KNOWN_ARGS) != 0
    made: dict[str, pa.Array] = {
        "ts_ns": column(records["ts_ns"]),
        "kind": pa.DictionaryArray.from_arrays(column(kinds[probe]), KIND_NAMES),
        "phase": pa.DictionaryArray.from_arrays(column(phase), PHASE_NAMES),
        "source": pa.DictionaryArray.from_arrays(column(sources[probe]), SOURCE_NAMES),
        "cpu": column(records["cpu"].astype(np.uint16)),
        "pid": masked(records["pid"], (records["known"] & KNOWN_PID) != 0),
        "tid": column(records["tid"]),
        "comm": _comms(records["comm"], (records["known"] & KNOWN_COMM) != 0),
    }
    made |= _arguments(records, probes, entry & has_args)
    made["ret"] = _returned(records, probes, ~entry & has_args)
    warn = np.array([each.kind is Kind.WARN for each in probes], np.bool_)[probe] & entry
    request = np.array([each.kind in REQUESTS for each in probes], np.bool_)[probe]
    if request.any():
        for register, name in enumerate(("start", "end"), 1):
            known = request & ~entry & has_args
            there = pc.coalesce(masked(records["args"][:, register], known), made[name])
            made[name] = there
    made["line"] = masked(records["line"], warn & (records["line"] != 0))
    made["site"] = _strings(
        [name.encode() for name in sites],
        records["site"],
        (warn | request) & (records["site"] >= 0) & (records["site"] < len(sites)),
    )
    arrays = [made[name] for name in SCHEMA.names]
    return in_pages(pa.RecordBatch.from_arrays(arrays, schema=SCHEMA), mmap.PAGESIZE)


def _arguments(records: _Records, probes: Sequence[Probe], known: _Mask) -> dict[str, pa.Array]:
    """Return start, end, pfn, nr_pages and nid from the registers that the probe names."""
    args, probe = records["args"], records["probe"]
    index = np.arange(len(records))
    made = {}
    for name in ("start", "end", "pfn", "nr_pages", "nid"):
        register = np.array([dict(each.registers).get(name, -1) for each in probes], np.int64)
        which = register[probe]
        values = args[index, which]  # -1 takes the last, and is masked
        if name == "nid":
            values = values.astype(np.uint32).view(np.int32)
        made[name] = masked(values, known & (which >= 0))
    return made


def _returned(records: _Records, probes: Sequence[Probe], known: _Mask) -> pa.Array:
    """Return x0 at exits as the function's type has it: int sign-extended, pointers whole."""
    x0 = np.ascontiguousarray(records["args"][:, 0])
    narrow = np.array([each.ret == "int" for each in probes], np.bool_)[records["probe"]]
    void = np.array([each.ret is None for each in probes], np.bool_)[records["probe"]]
    short = x0.astype(np.uint32).view(np.int32).astype(np.int64)
    return masked(np.where(narrow, short, x0.view(np.int64)), known & ~void)


def _comms(comm: npt.NDArray[np.bytes_], known: _Mask) -> pa.Array:
    words = np.ascontiguousarray(comm).view("<u8").reshape(-1, 2)
    new = np.ones(len(words), np.bool_)  # one name mostly follows another that is the same
    new[1:] = (words[1:] != words[:-1]).any(axis=1)
    names, index = np.unique(comm[new], return_inverse=True)
    return _strings(names.tolist(), index[np.cumsum(new) - 1], known)


def _strings(names: Sequence[bytes], index: npt.NDArray[Any], known: _Mask) -> pa.Array:
    r"""Return names[index] as utf8, null where not known; up to a NUL, non-UTF-8 as ``\xNN``."""
    texts = [name.split(b"\0")[0].decode("utf-8", "backslashreplace").encode() for name in names]
    picked = np.where(known, index, 0).astype(np.int32)
    return strings(texts).take(masked(picked, known & bool(texts)))
