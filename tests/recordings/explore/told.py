# SPDX-License-Identifier: GPL-2.0-only
"""A reference implementation of the span table, event by event in plain Python.

Slow and short on purpose; it shares no code with recordings. Who owns what is told by the oracle of
the ledger's tests.
"""

from tests.recordings.oracle import INNER, OUTER, note_outer, regime, row_open

DEPTH = {
    "memremap": 0, "memunmap": 1, "add_pages": 2, "remove_pages": 2, "section_add": 3,
    "section_remove": 3, "populate": 4, "free": 4, "fault": 4, "warn": 5,
}  # fmt: skip


def tell(rows, window):  # noqa: C901, PLR0912 (one loop, as the rules are told)
    """Return the spans that a table of these rows has, as dicts with the names of ``Span``."""
    spans, stacks, waiting, inside = [], {}, {}, {}
    for number, row in enumerate(rows):
        kind, phase, ts = row["kind"], row["phase"], row["ts_ns"]
        fault = kind == "fault"
        if kind not in DEPTH or phase == "unknown" or (fault and phase != "point"):
            continue
        thread = row.get("tid") or ("cpu", row.get("cpu"))
        owner = own(inside, thread, row, len(spans))
        stack = stacks.setdefault(thread, [])
        innermost = stack[-1] if stack else None
        if phase != "point":
            while stack and DEPTH[spans[stack[-1]]["kind"]] >= DEPTH[kind]:
                stack.pop()
        around = [at for at in stack if DEPTH[spans[at]["kind"]] < DEPTH[kind]]
        if phase == "exit":
            entry = waiting.pop((thread, kind), None)
            if entry is None:
                continue
            span, lasted = spans[entry], max(0, ts - spans[entry]["ts_ns"])
            span |= {"end_row": number, "duration_ns": lasted, "ret": row.get("ret")}
            if kind == "warn":
                clean = around if innermost == entry else []
                for at in {*clean, *([] if owner is None else [owner])}:
                    spans[at]["warn_ns"] += lasted
            continue
        call = kind in ("populate", "free")
        judged = call or fault
        where = regime(row.get("start"), row.get("end"), window) if judged else None
        hit = call and where not in ("inside", "unknown")
        parent = around[-1] if around else None
        if parent is None and owner != len(spans):
            parent = owner
        for at in {*around, *([] if owner is None else [owner])}:
            if at != len(spans):
                spans[at]["calls"] += call
                spans[at]["hits"] += hit
                spans[at]["warns"] += kind == "warn"
                spans[at]["faults"] += fault
        site = row.get("site") if fault else None
        if kind == "warn":
            site = ":".join("?" if row.get(k) is None else str(row[k]) for k in ("site", "line"))
            callers = [at for at in around if DEPTH[spans[at]["kind"]] == 4]
            if callers and spans[callers[0]]["site"] is None:
                spans[callers[0]]["site"] = site
        if phase == "entry":
            waiting[thread, kind] = len(spans)
            stack.append(len(spans))
        said = ("cpu", "pid", "tid", "comm", "pfn", "nr_pages")
        spans.append(
            {name: row.get(name) for name in said}
            | {name: row.get(name) if judged else None for name in ("start", "end")}
            | {
                "row": number,
                "end_row": None,
                "ts_ns": ts,
                "duration_ns": None,
                "kind": kind,
                "source": row["source"],
                "regime": where,
                "point": phase == "point",
                "site": site,
                "ret": None,
                "parent": parent,
                "owner": owner,
                "calls": 0,
                "hits": 0,
                "faults": 0,
                "warns": 0,
                "warn_ns": 0,
            }
        )
    return spans


def own(inside, thread, row, position):
    """Return the operation of a row; if the row begins one, that is ``position``."""
    kind, phase = row["kind"], row["phase"]
    if kind in OUTER + INNER and phase == "entry":
        within = {name for name in OUTER if row_open(inside, thread, name)}
        head = kind == "memremap" or (
            "memremap" not in within if kind == "memunmap" else not within
        )
        if head:
            inside[thread] = (position, kind)
    note_outer(inside, thread, kind, phase)
    if phase == "exit" and inside.get(thread, (0, ""))[1] == kind:
        inside.pop(thread)
    owner = inside.get(thread)
    return owner[0] if owner else None
