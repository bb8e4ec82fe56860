# SPDX-License-Identifier: GPL-2.0-only
"""A reference implementation of the ledger's rules, event by event in plain Python.

Slow and short on purpose. It shares no code with recordings; quantiles are of sorted lists.
"""

from collections import Counter, defaultdict

TOP = 2**64
OUTER = ("memremap", "memunmap")
INNER = ("add_pages", "remove_pages")


def regime(start, end, window):
    """The five places a range can be in, from the words of the design."""
    if start is None or end is None or window is None:
        return "unknown"
    low, high = window
    if low <= start <= end <= high:
        return "inside"
    if start < TOP // 2 and start <= end <= TOP // 2:
        return "wrapped"
    if start >= high and (start <= end or end == 0):
        return "above"
    if TOP // 2 <= start <= end <= low:
        return "below"
    return "straddling"


def tell(rows, window):  # noqa: C901, PLR0912 (one loop, as the rules are told)
    """Return what a ledger should say after ``rows``, as plain dicts and lists."""
    calls, said = [], Counter()
    open_calls, dropped, durations = {}, [], defaultdict(list)
    ended = defaultdict(list)  # kind -> [(exit ts, duration)]
    sites = {}
    operations, inside = [], {}
    held, pairing = {}, Counter()
    faults, unproven = Counter(), 0

    def operation_of(thread):
        return inside.get(thread)

    for number, row in enumerate(rows):
        kind, phase, ts = row["kind"], row["phase"], row["ts_ns"]
        thread = row.get("tid") or ("cpu", row.get("cpu"))
        if "unknown" in (kind, phase) or (kind == "fault" and phase != "point"):
            continue
        begins = phase in ("entry", "point")
        # operations
        if kind in OUTER + INNER and phase == "entry":
            within = {k for k in OUTER if row_open(inside, thread, k)}
            if kind == "memremap":
                head = True
            elif kind == "memunmap":
                head = "memremap" not in within
            else:
                head = not within
            if head:
                inside[thread] = new = operation(number, row)
                operations.append(new)
        note_outer(inside, thread, kind, phase)
        owner = operation_of(thread)
        if owner and phase == "exit" and kind == owner["kind"]:
            owner["duration"] = max(0, ts - owner["start"])
            inside[thread] = owner = None
        if kind in INNER and begins and owner:
            pfn, pages = row.get("pfn"), row.get("nr_pages")
            if pfn is not None and pages is not None:
                owner["low"] = min(owner["low"], pfn)
                owner["high"] = max(owner["high"], min(pfn + pages, TOP - 1))
        # calls
        if kind in ("populate", "free") and begins:
            start, end = row.get("start"), row.get("end")
            where = regime(start, end, window)
            call = {"row": number, "kind": kind, "regime": where, "duration": None}
            calls.append(call)
            said[kind] += 1
            said[where] += 1
            hit = where not in ("inside", "unknown")
            derived = row["source"] == "derived"
            said["derived"] += derived
            if start is not None and end is not None:
                if window:
                    said["would_warn"] += start < window[0] or end > window[1]
                was = held.get((start, end), False)
                if kind == "populate":
                    pairing["twice"] += was
                else:
                    pairing["paired" if was else "never_populated"] += 1
                held[start, end] = kind == "populate"
            if owner:
                owner["sections"] += 1
                owner["derived"] += derived
                owner["hits"] += hit
        if kind == "fault" and phase == "point":
            where = regime(row.get("start"), row.get("end"), window)
            calls.append({"row": number, "kind": kind, "regime": where, "duration": None})
            faults[where] += 1
            unproven += None in (row.get("start"), row.get("end"))
        if kind == "warn" and begins:
            said["warnings"] += 1
            name = ":".join("?" if row.get(k) is None else str(row[k]) for k in ("site", "line"))
            sites.setdefault(name, [0, 0, 0])[0] += 1
            if owner:
                owner["warnings"] += 1
        # pairing in time
        if phase == "entry":
            if (thread, kind) in open_calls:
                dropped.append(open_calls[thread, kind])
            open_calls[thread, kind] = {
                "row": number, "kind": kind, "ts": ts, "tid": row.get("tid"),
                "comm": row.get("comm"), "call": calls[-1] if kind in ("populate", "free") else 0,
                "site": name if kind == "warn" else "",
            }  # fmt: skip
        elif phase == "exit":
            before = open_calls.pop((thread, kind), None)
            if before is None:
                said["orphans"] += 1
                continue
            lasted = max(0, ts - before["ts"])
            durations[kind].append(lasted)
            ended[kind].append((ts, lasted))
            if kind == "warn":
                sites[before["site"]][1] += lasted
                sites[before["site"]][2] += 1
                if owner:
                    owner["warn_ns"] += lasted
            elif kind in ("populate", "free"):
                before["call"]["duration"] = lasted
    pairing["never_freed"] = sum(held.values())
    for (start, end), mapped in held.items():
        if mapped and regime(start, end, window) not in ("inside", "unknown"):
            pairing["held_outside"] += 1
            pairing["held_outside_bytes"] += (end - start) % 2**64
    unfinished = sorted([*dropped, *open_calls.values()], key=lambda call: call["row"])
    return {
        "said": said,
        "calls": calls,  # and Oopses
        "faults": faults,
        "unproven": unproven,
        "durations": durations,
        "ended": ended,
        "sites": sites,
        "operations": operations,
        "pairing": pairing,
        "unfinished": unfinished,
        "ranges": len(held),
    }


def operation(number, row):
    pid = row.get("pid")
    return {
        "row": number, "kind": row["kind"], "pid": row.get("tid") if pid is None else pid,
        "tid": row.get("tid"), "comm": row.get("comm"), "start": row["ts_ns"], "duration": None,
        "low": TOP - 1, "high": 0, "sections": 0, "derived": 0, "hits": 0, "warnings": 0,
        "warn_ns": 0,
    }  # fmt: skip


def row_open(inside, thread, kind):
    return inside.get((thread, kind, "open"), False)


def note_outer(inside, thread, kind, phase):
    """Whether the thread is inside memremap and memunmap; a memremap ends a memunmap's."""
    if phase not in ("entry", "exit"):
        return
    if kind == "memremap":
        inside[thread, "memremap", "open"] = phase == "entry"
        inside[thread, "memunmap", "open"] = False
    elif kind == "memunmap":
        inside[thread, "memunmap", "open"] = phase == "entry"
