# SPDX-License-Identifier: GPL-2.0-only
"""An audit as a JSON dictionary: ``vmemscope audit --json``, and what a recording carries of one.

Promises: keys are added, never removed; addresses are "0x" and 16 digits, sizes whole bytes; what
is not known is null, and ``sources`` says why.
"""

from typing import Any, Final

from recordings.audit.audit import Audit
from recordings.audit.regions import Region
from recordings.ledger.snapshot import Extent
from recordings.wording.units import address

VERSION: Final = 1


def audit_dict(audit: Audit) -> dict[str, Any]:
    """Return everything an audit says, ready for ``json.dumps``."""
    machine, room, log = audit.machine, audit.headroom, audit.log
    return {
        "version": VERSION,
        "kernel": machine.release,
        "window": machine.window.to_dict() if machine.window else None,
        "verdict": audit.verdict.value,
        "verdict_reasons": list(audit.reasons),
        "outside_bytes": audit.held,
        "agree": audit.agree,
        "problems": list(audit.problems),
        "memory": None
        if audit.memory is None
        else {
            "sections": audit.memory.present,
            "section_pages": audit.memory.section_pages,
            "pages": audit.memory.pages,
            "online_pages": sum(run.pages for run in audit.memory.runs if run.online),
            "pfn_0": [address(base) for base in audit.memory.bases],
        },
        "regions": [_region(row) for row in audit.rows],
        "gone": [_extent(each) for each in audit.gone],
        "headroom": None
        if room is None
        else {
            "covered": {"start": address(room.covered_start), "end": address(room.covered_end)},
            "taken": room.taken,
            "free": room.free,
            "largest": {"start": address(room.largest_start), "size": room.largest},
        },
        "log": None
        if log is None
        else {
            "lines": log.lines,
            "warnings": log.warnings,
            "hits": log.hits,
            "faults": log.faults,
            "unproven": log.unproven,
            "outside": [_extent(each) for each in log.outside],
            "losses": {
                name: getattr(log.losses, name)
                for name in ("lost", "lost_unknown", "torn", "rejected")
            },
        },
        "sources": {
            **{name: {"said": text, "missing": None} for name, text in audit.said.items()},
            **{name: {"said": None, "missing": why} for name, why in audit.missing.items()},
        },
    }


def _region(row: Region) -> dict[str, Any]:
    physical = None if row.stray else {"start": address(row.start), "end": address(row.end)}
    return {
        "name": row.name,
        "owner": row.owner or None,
        "physical": physical,
        "struct_pages": {
            "start": address(row.page_start),
            "end": address(row.page_end),
            "size": row.page_size,
        },
        "regime": row.regime.value,
        "silent": row.silent,
        "lands_on": row.lands_on,
        "outside": row.hit,
        "ram": row.ram,
        "stray": row.stray,
        "mapped_at": None if row.mapped_at is None else address(row.mapped_at),
        "mapped_on": row.mapped_on or None,
        "also_there": list(row.also),
        "seen_by": {
            "page_tables": dict(row.mapped),
            "sections": row.present,
            "iomem": row.resource,
        },
    }


def _extent(each: Extent) -> dict[str, Any]:
    return {
        "start": address(each.start),
        "end": address(each.end),
        "regime": each.regime,
        "lands_on": each.lands_on,
        "populate": each.populate,
        "free": each.free,
    }
