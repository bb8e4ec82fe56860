# SPDX-License-Identifier: GPL-2.0-only
"""One kernel's window as a report value and as JSON: ``vmemscope window [--json]``.

Promises: JSON keys are added, never removed; virtual addresses are "0x" and 16 digits, physical
ones and pfns "0x" and as many as they need, sizes whole bytes; what is not known is null, and
``missing`` or ``problems`` say why. Text of kernels and files stands as it is: JSON's own
escapes keep it harmless.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from recordings.reports.fit_json import fit_dict
from recordings.wording.units import address
from tracers.constants.method_result import MethodResult
from tracers.cover import PA_BITS, Cover, Span, lpa2, pfn_spans, upper_space
from tracers.formulas import WindowError
from tracers.layout import Layout, marks
from tracers.region_search import UNKNOWN, Search
from tracers.window import Window

if TYPE_CHECKING:
    from tracers.constants.image.warn_sites import WarnSite
    from tracers.fit import Fit


@dataclass(frozen=True, slots=True)
class WindowReport:
    """One kernel's window, its provenance and what follows from it.

    ``methods`` empty: the window was computed from numbers somebody gave. ``agree`` is False
    where methods contradict each other, and then ``window`` may be one of several.
    """

    source: str  # a file's name, or how the numbers were given
    window: Window | None = None
    layout: Layout | None = None
    release: str | None = None
    build_id: str | None = None
    methods: Mapping[str, MethodResult] = field(default_factory=dict)
    agree: bool = True
    problems: tuple[str, ...] = ()
    missing: Mapping[str, str] = field(default_factory=dict)  # method or fact -> why
    warn_sites: tuple["WarnSite", ...] = ()
    probeable: Mapping[str, str] = field(default_factory=dict)  # function -> traceable or why not
    cover: Cover | None = None
    search: Search = UNKNOWN
    iomem: tuple[tuple[int, int, str], ...] = ()
    fit: "Fit | None" = None
    fit_unknown: str = ""  # why it is not known

    @property
    def conclusive(self) -> bool:
        """Whether one window is known, without contradiction."""
        return self.window is not None and self.agree

    @property
    def spans(self) -> tuple[Span, ...]:
        """Every pfn an arm64 CPU can have, by where its struct page lies; none if not known."""
        window, layout = self.window, self.layout
        if window is None or layout is None:
            return ()
        try:
            return pfn_spans(window, layout, 0, 1 << (PA_BITS - window.page_shift))
        except WindowError:
            return ()


def page_offset(window: Window) -> int | None:
    """Return PAGE_OFFSET as the kernel was built; with fewer bits in use the linear map is higher.

    None: no known formula.
    """
    return marks(replace(window, vabits_actual=None)).get("PAGE_OFFSET")


def window_dict(report: WindowReport) -> dict[str, Any]:
    """Return everything the text says, and more, ready for ``json.dumps``."""
    window, layout = report.window, report.layout
    values: dict[str, Any] = window.to_dict() if window else dict.fromkeys(_WINDOW_KEYS)
    provenance = values.pop("provenance", None) or {}
    return {
        **values,
        **_derived(window),
        "release": report.release,
        "build_id": report.build_id,
        "source": report.source,
        "agree": report.agree,
        "methods": {name: _method(found) for name, found in report.methods.items()},
        "missing": dict(report.missing),
        "problems": list(report.problems),
        "provenance": provenance,
        "warn_sites": [
            {
                "site": site.site,
                "function": site.function,
                "once": site.once,
                "address": address(site.va),
            }
            for site in report.warn_sites
        ],
        "probeable": dict(report.probeable),
        "layout": layout.to_dict() if layout else None,
        "pfns": [_span(span) for span in report.spans],
        "cover": _cover(report.cover, window) if report.cover and window else None,
        "search": report.search.to_dict(),
        "fit": fit_dict(report.fit, report.fit_unknown),
    }


def side_by_side(reports: Mapping[str, WindowReport]) -> dict[str, Any]:
    """Return ``window_dict`` of each family, for numbers that were given without a release.

    The keys that the families share stand at the top as usual; the window is null there, as
    which of them it is was not given.
    """
    families = {name: window_dict(report) for name, report in reports.items()}
    shared = dict.fromkeys(next(iter(families.values())))
    for key in _GIVEN:
        shared[key] = next(iter(families.values()))[key]
    empty: dict[str, Any] = {
        "methods": {},
        "problems": [],
        "missing": {"release": "not given"},
        "warn_sites": [],
        "probeable": {},
    }
    return {**shared, **empty, "families": families}


_GIVEN: Final = ("va_bits", "page_size", "struct_page", "memstart", "vabits_actual", "source")
_WINDOW_KEYS: Final = (
    "start", "end", "va_bits", "page_size", "struct_page", "memstart", "section_size_bits",
    "vabits_actual", "family",
)  # fmt: skip
_DERIVED_KEYS: Final = ("size", "vmemmap", "page_offset", "used", "blind", "phys", "upper_space")


def _derived(window: Window | None) -> dict[str, Any]:
    """Return what follows from the window, null where a fact for it is missing."""
    values: dict[str, Any] = dict.fromkeys(_DERIVED_KEYS)
    if window is None:
        return values
    values["size"] = window.size
    values["page_offset"] = None if (at := page_offset(window)) is None else address(at)
    values["upper_space"] = upper_space(window)
    if window.use_known:
        values["used"] = dict(zip(("start", "end"), map(address, window.used), strict=True))
        values["blind"] = _blind(window)
    try:
        values["vmemmap"] = address(window.vmemmap)
        first, end = window.phys_range
        values["phys"] = {"start": f"0x{first:x}", "end": f"0x{end:x}"}
    except WindowError:
        pass
    return values


def _blind(window: Window) -> dict[str, Any] | None:
    """Return what the kernel's WARN takes for vmemmap and is not; None: nothing."""
    start, end = window.blind
    if start == end:
        return None
    values: dict[str, Any] = {"start": address(start), "end": address(end), "phys_below": None}
    with suppress(WindowError):
        values["phys_below"] = f"0x{window.phys_range[0]:x}"
    return values


def _method(result: MethodResult) -> dict[str, Any]:
    return {
        "start": None if result.start is None else address(result.start),
        "end": None if result.end is None else address(result.end),
        "va_bits": result.va_bits,
        "page_size": result.page_size,
        "struct_page": result.struct_page,
        "detail": result.detail,
    }


def _span(span: Span) -> dict[str, Any]:
    return {
        "pfn": f"0x{span.first_pfn:x}",
        "end_pfn": f"0x{span.end_pfn:x}",
        "start": address(span.start),
        "end": address(span.end),
        "regime": span.regime.value,
        "silent": span.silent,
        "in_use": span.in_use,
        "lands_on": span.lands_on,
    }


def _cover(cover: Cover, window: Window) -> dict[str, Any]:
    growth = cover.growth
    return {
        "start": f"0x{cover.first:x}",
        "end": f"0x{cover.end:x}",
        "covered": cover.covered,
        "use_known": cover.use_known,
        "start_page": address(cover.start_page),
        "end_page": address(cover.end_page),
        "spans": [_span(span) for span in cover.spans],
        "needed": {
            "size": growth.size,
            "more": growth.more,
            "below": growth.below,
            "from_hole": growth.hole,
            "from_vmalloc": growth.taken,
            "vmalloc": growth.vmalloc,
            "fits": growth.fits,
        },
        "pa_bits": cover.pa_bits,
        "lpa2": lpa2(window),
        "va_bits": [
            {
                "va_bits": choice.va_bits,
                "size": choice.size,
                "start": hex(choice.first),
                "end": hex(choice.end),
            }
            for choice in cover.choices
        ],
    }
