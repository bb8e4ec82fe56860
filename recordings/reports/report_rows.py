# SPDX-License-Identifier: GPL-2.0-only
"""Lines and rows shared by the text, Markdown and mail reports of a recording.

Promises: numbers are formatted by ``wording.units``; text of kernels and files is unescaped: the
renderer escapes it.
"""

from dataclasses import asdict

from recordings.ledger.snapshot import Operation, Regimes, SiteCount, Snapshot
from recordings.wording.units import count, duration, share, size
from tracers.kernel_functions import name
from tracers.window import Window

SITE_HEADS = ("WARN at", "count", "time")
TIMING_HEADS = ("finished calls", "count", "total", "p50", "p99", "max")


def regime_counts(regimes: Regimes) -> str:
    """Return "128 inside, 3 above"."""
    counts = asdict(regimes).items()
    return ", ".join(f"{count(n)} {regime}" for regime, n in counts if n) or "no call judged"


def window_sizes(window: Window) -> list[tuple[str, str]]:
    """Return what the kernel is built for: (the fact's name in ``provenance``, text)."""
    sizes = (
        ("va_bits", window.va_bits, f"{window.va_bits}-bit VA"),
        ("page_size", window.page_size, f"{size(window.page_size or 0)} pages"),
        ("struct_page", window.struct_page, f"struct page of {size(window.struct_page or 0)}"),
    )
    return [(fact, text) for fact, known, text in sizes if known is not None]


def site_row(site: SiteCount) -> tuple[str, str, str]:
    """Return (file:line, count, time), the time of those whose end was seen."""
    timed = [] if site.untimed == site.count else [duration(site.total_ns)]
    untimed = [f"{count(site.untimed)} untimed"] if site.untimed else []
    return site.site, count(site.count), " + ".join((*timed, *untimed)) or duration(0)


def timing_rows(snapshot: Snapshot) -> list[tuple[str, ...]]:
    """Return a row for each kind of call that ended, as ``TIMING_HEADS``."""
    return [
        (
            name(kind),
            count(timing.count),
            *map(duration, (timing.total_ns, timing.p50_ns, timing.p99_ns, timing.max_ns)),
        )
        for kind, timing in snapshot.timings.items()
    ]


def took(operation: Operation) -> str:
    """Return how long an operation took, or that it did not end."""
    return "unfinished" if operation.duration_ns is None else duration(operation.duration_ns)


def in_warn(operation: Operation) -> str:
    """Return the share of an operation that WARNs took; their time where it did not end."""
    if not operation.warnings:
        return "-"
    known = operation.warn_share is not None
    return share(operation.warn_share) if known else duration(operation.warn_ns)
