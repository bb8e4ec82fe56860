# SPDX-License-Identifier: GPL-2.0-only
"""What a recording keeps of an audit, and the audits that a capture makes at its start and end."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from recordings.audit.audit import Audit
from recordings.audit.gathering import of_running
from recordings.ledger.audited import REGIONS, Audited, Outside
from tracers.errors import VmemscopeError
from tracers.machine import Machine

#: What the kernel calls an arm64 machine to programs of 64 and of 32 bits.
_ARM64: Final = ("aarch64", "armv8l")


def kept(audit: Audit) -> Audited:
    """Return the part of an audit that a recording carries."""
    rows = sorted(audit.outside, key=lambda row: row.start - row.end)
    log = audit.log
    return Audited(
        audit.verdict.value,
        tuple(
            Outside(
                row.name,
                row.start,
                row.end - row.start if not row.stray else 0,
                row.page_start,
                row.page_size,
                row.regime.value,
                row.lands_on,
                row.stray,
            )
            for row in rows[:REGIONS]
        ),
        audit.held,
        len(rows),
        warnings=log.warnings if log else None,
        hits=log.hits if log else None,
        faults=log.faults if log else None,
        reasons=audit.reasons,
    )


def audited(machine: Machine, root: Path = Path("/")) -> Mapping[str, Any]:
    """Look at the running kernel, whose ``machine`` is known; {} where that cannot be done.

    A capture goes on whatever happens here, so this raises nothing.
    """
    if os.uname().machine not in _ARM64:
        return {}
    try:
        return kept(of_running(root=root, machine=machine)).to_dict()
    except (VmemscopeError, OSError, ValueError, MemoryError):
        return {}
