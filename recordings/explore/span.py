# SPDX-License-Identifier: GPL-2.0-only
"""One call as a frozen value with plain fields, for a screen; what is not known is ``None``."""

from dataclasses import dataclass

from tracers.events import Kind, Source


@dataclass(frozen=True, slots=True)
class Span:
    """One call of a watched function, or one moment of it (``point``)."""

    position: int  # in the table
    row: int  # number of its entry (or point) event in the recording, from 0
    end_row: int | None  # that of its exit
    ts_ns: int
    duration_ns: int | None  # None: no end was seen, or a point
    kind: Kind
    source: Source
    regime: str | None  # of tracers.regimes; None: neither a populate nor free call nor an Oops
    silent: bool  # a hit that the kernel's own check lets pass
    point: bool
    cpu: int | None
    pid: int | None
    tid: int | None
    comm: str | None  # unescaped, as site
    #: "file:line" of a WARN; of a call, that of the first WARN inside; of an Oops the chain.
    site: str | None
    start: int | None
    end: int | None
    pfn: int | None
    nr_pages: int | None
    ret: int | None
    parent: int | None  # position of the innermost call around it
    owner: int | None  # position of its operation; an operation is its own
    calls: int  # populate and free calls inside, at any depth
    hits: int  # of these, those out of the window
    faults: int  # Oopses inside
    warns: int  # WARNs inside
    warn_ns: int  # time in those that ended

    @property
    def operation(self) -> bool:
        """Whether it is an operation (see ``recordings.ledger.operations``)."""
        return self.owner == self.position

    @property
    def listed(self) -> int:
        """Calls and Oopses inside: what lists can show of it."""
        return self.calls + self.faults

    @property
    def warn_share(self) -> float | None:
        """Share of its time that the WARNs inside took."""
        return self.warn_ns / self.duration_ns if self.duration_ns else None
