# SPDX-License-Identifier: GPL-2.0-only
"""A kernel's window as text: ``vmemscope window``.

The first line is the result: one window, several that contradict each other, or none. Below it
what each method found, the constants as the mail of 7 April 2023 writes them, the whole address
space with the window in it, and which pages have their struct pages where. Plain and at most 80
columns wide when piped; all text of kernels and files goes through ``printable``.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final

from rich.console import Console, ConsoleRenderable
from rich.text import Text

from recordings.reports import text_layout
from recordings.reports.cover_text import cover_parts, physical, price, virtual
from recordings.reports.window_report import WindowReport, page_offset
from recordings.wording.escape import printable
from recordings.wording.units import address, count, size
from tracers.cover import Span
from tracers.explain import blindness, judged
from tracers.families import TOP
from tracers.formulas import WindowError, signed_hex
from tracers.layout import Layout, marks
from tracers.window import Regime, Window

#: WARN sites and problems beyond this are counted, not listed (all are in the JSON).
ROWS: Final = 24


def render(console: Console, report: WindowReport) -> None:
    """Print one kernel's window to ``console``."""
    text_layout.emit(console, _parts(report))


def render_families(console: Console, reports: Mapping[str, WindowReport]) -> None:
    """Print what each family of releases makes of the same numbers, side by side."""
    text_layout.emit(console, _families(reports))


def _parts(report: WindowReport) -> Iterator[ConsoleRenderable]:
    if report.fit is not None or report.fit_unknown:  # what was asked for comes first
        from recordings.reports.fit_report import fit_parts  # noqa: PLC0415 (NumPy)

        yield from fit_parts(report.fit, report.fit_unknown, report.search)
        yield Text()
    yield _result(report)
    yield Text()
    for label, text in _facts(report):
        yield text_layout.line(label, text)
    yield from _methods(report)
    window, layout = report.window, report.layout
    if window is not None:
        yield from _constants(window)
        if layout is not None:
            yield from _layout(window, layout)
            yield from _pages(report, window)
    yield from _sites(report)
    yield from _probes(report)
    yield from cover_parts(report)


def _result(report: WindowReport) -> ConsoleRenderable:
    window = report.window
    ways = sum(1 for method in report.methods.values() if method.window)
    if not report.agree:
        text = f"the methods contradict each other ({count(ways)} name a window)"
        return text_layout.hanging(Text("CONTRADICTION", "bold red"), text)
    if window is None:
        return text_layout.hanging(Text("NOT KNOWN", "bold yellow"), "no method gives the window")
    borders = virtual(window.start, window.end)
    if not report.methods:
        origin = window.provenance.get("window", "origin not known")
        if window.family is None or not origin.endswith("formula"):
            return text_layout.hanging(
                Text("WINDOW", "bold green"), f"{borders}, {printable(origin)}"
            )
        text = f"{borders}, formula of {window.family.label}"
        return text_layout.hanging(Text("COMPUTED", "bold green"), text)
    agree = "1 method" if ways == 1 else f"{count(ways)} methods agree"
    return text_layout.hanging(Text("WINDOW", "bold green"), f"{borders}, {agree}")


def _facts(report: WindowReport) -> Iterator[tuple[str, str | Text]]:
    yield "from", printable(report.source)
    if report.release or report.build_id:
        build = f"  build {printable(report.build_id)[:16]}" if report.build_id else ""
        yield "kernel", (printable(report.release) if report.release else "not known") + build
    window = report.window
    if window is not None:
        if report.methods:
            rest = "" if report.agree else "one of several, used for what follows: "
            origin = printable(window.provenance.get("window", "origin not known"))
            yield "window", f"{rest}{virtual(window.start, window.end)} ({origin})"
        for at, text in enumerate(_sizes(window)):
            yield "" if at else "built for", text
    for at, problem in enumerate(report.problems[:ROWS]):
        yield "" if at else "problem", Text(printable(problem), "yellow")
    if len(report.problems) > ROWS:
        yield "", f"and {count(len(report.problems) - ROWS)} more"


def _sizes(window: Window) -> Iterator[str]:
    def with_origin(name: str, value: str) -> str:
        origin = window.provenance.get(name)
        return f"{value} ({printable(origin)})" if origin else value

    if window.va_bits is not None:
        yield with_origin("va_bits", f"{window.va_bits}-bit virtual addresses")
    if window.page_size is not None:
        yield with_origin("page_size", f"{size(window.page_size)} pages")
    if window.struct_page is not None:
        yield with_origin("struct_page", f"struct page of {size(window.struct_page)}")
    if window.section_size_bits is not None:
        yield with_origin("section_size_bits", f"sections of {size(1 << window.section_size_bits)}")
    if window.vabits_actual is not None:
        yield with_origin("vabits_actual", f"{window.vabits_actual} bits in use on this CPU")


def _methods(report: WindowReport) -> Iterator[ConsoleRenderable]:
    if not report.methods and not report.missing:
        return
    yield text_layout.heading("What each method found")
    rows: list[tuple[str, str]] = []
    for name, result in report.methods.items():
        borders = " - ".join(
            "?" if at is None else address(at) for at in (result.start, result.end)
        )
        rows.append(
            (printable(name), borders if (result.start, result.end) != (None, None) else "-")
        )
        if result.detail:
            rows.append(("", printable(result.detail)))
    rows += ((printable(name), f"-  {printable(why)}") for name, why in report.missing.items())
    yield text_layout.table(rows, wide=1)


def _constants(window: Window) -> Iterator[ConsoleRenderable]:
    """Write the constants in the mail's order and under its names."""
    yield text_layout.heading("The constants")
    rows: list[tuple[str, str, str]] = []
    if window.memstart is not None:
        origin = window.provenance.get("memstart")
        text = signed_hex(window.memstart)
        rows.append(("memstart_addr", text, printable(origin) if origin else ""))
    if (offset := page_offset(window)) is not None:
        begins = marks(window)["PAGE_OFFSET"]
        higher = "" if begins == offset else f" at {address(begins)} on this CPU"
        rows.append(("PAGE_OFFSET", address(offset), f"the linear map begins{higher or ' here'}"))
    if window.family and window.family.value.has_shift and window.page_size and window.struct_page:
        order = (window.struct_page - 1).bit_length()
        rows.append(("VMEMMAP_SHIFT", str(window.page_shift - order), ""))
    rows.append(("VMEMMAP_START", address(window.start), ""))
    rows.append(("VMEMMAP_SIZE", f"0x{window.size:x}", size(window.size)))
    rows.append(("VMEMMAP_END", address(window.end), ""))
    with suppress(WindowError):
        rows.append(("vmemmap", address(window.vmemmap), "the struct page of pfn 0"))
    yield text_layout.table(rows, wide=2)
    for at, text in enumerate(_in_use(window)):
        yield text_layout.line("" if at else "  in use", text)


def _in_use(window: Window) -> Iterator[str]:
    """Say which part a 52-bit kernel maps on lesser hardware, known or not which that is."""
    if window.va_bits is None or window.va_bits <= 48:
        return
    start, end = window.used
    if not window.use_known:
        fewest, most = min(window.bits_possible), max(window.bits_possible)
        yield f"all of it with {most} bits of addresses in use;"
        yield f"{virtual(start, end)} with {fewest} (the WARN does not tell them apart)"
        return
    yield f"{virtual(start, end)} with {window.vabits_actual} bits ({size(end - start)})"
    if start != window.start:
        whose = "is vmalloc's" if window.vmalloc_takes_unused else "is not used"
        yield f"{virtual(window.start, start)} {whose} here, yet inside what the WARN compares with"
        yield blindness(window)


def _layout(window: Window, layout: Layout) -> Iterator[ConsoleRenderable]:
    yield text_layout.heading(f"The address space ({printable(layout.provenance)})")
    rows: list[tuple[Text, ...]] = []
    for region in layout.regions:
        ours = region.name == "vmemmap" and region.start < window.end
        end = address(region.end) if region.end < TOP else "2^64"
        part = " in use" if window.used[0] != window.start else ""
        name = printable(region.name) + (f" <- the window{part}" if ours else "")
        style = "bold" if ours else ""
        cells = (f"{address(region.start)} - {end}", size(region.end - region.start), name)
        rows.append(tuple(Text(cell, style) for cell in cells))
    yield text_layout.table(rows, wide=2, right=1)
    for region in layout.regions:
        if region.note and region.name not in ("user half", "non-canonical"):
            note = f"{printable(region.name)}: {printable(region.note)}"
            yield text_layout.hanging(Text(" "), Text(note, "dim"))


def _pages(report: WindowReport, window: Window) -> Iterator[ConsoleRenderable]:
    yield text_layout.heading("Which pages that holds")
    spans = report.spans
    if not spans:
        reach = "not known"
        if window.struct_page and window.page_size:
            reach = size(window.size // window.struct_page * window.page_size)
        text = f"{reach} of physical memory from memstart_addr on, which is not known here: give"
        yield text_layout.hanging(Text(" "), f"{text} --memstart, or --ram for where RAM begins.")
        return
    inside = [span for span in spans if span.in_use]
    if inside:
        first, end = (pfn << window.page_shift for pfn in (inside[0].first_pfn, inside[-1].end_pfn))
        others = "all others are out" if window.use_known else "of others below it is not known"
        yield text_layout.hanging(
            Text(" "), f"physical {physical(first, end)}, {size(end - first)}: {others}"
        )
    else:
        yield text_layout.hanging(Text(" "), "no page at all with this memstart_addr")
    width = max(len(_pfns(span, spans)) for span in spans) + 4
    for span in spans:
        where = f"{_regime(span)}: {printable(span.lands_on)}"
        place = Text(where, "" if span.in_use else "red")
        place.append(f"\n{virtual(span.start, span.end)}", "dim")
        yield text_layout.hanging(Text(f"  {_pfns(span, spans)}"), place, width=width)


def _pfns(span: Span, spans: tuple[Span, ...]) -> str:
    """Write a range of pfns the way the mail does."""
    if span is spans[-1]:
        return f"pfn >= 0x{span.first_pfn:x}"
    if span is spans[0]:
        return f"pfn < 0x{span.end_pfn:x}"
    return f"0x{span.first_pfn:x} <= pfn < 0x{span.end_pfn:x}"


def _regime(span: Span) -> str:
    return judged(span.regime.value, silent=span.silent)


def _sites(report: WindowReport) -> Iterator[ConsoleRenderable]:
    if not report.warn_sites:
        return
    yield text_layout.heading("WARN sites")
    shown = report.warn_sites[:ROWS]
    rows = [
        (
            printable(site.site),
            printable(site.function),
            "once" if site.once else "every time",
        )
        for site in shown
    ]
    yield text_layout.table(rows, wide=0)
    if len(report.warn_sites) > len(shown):
        yield text_layout.hanging(
            Text(" "), f"and {count(len(report.warn_sites) - len(shown))} more"
        )


def _probes(report: WindowReport) -> Iterator[ConsoleRenderable]:
    if report.probeable:
        yield text_layout.heading("What can be traced, by this image")
        yield text_layout.table(
            ((printable(name), printable(how)) for name, how in report.probeable.items()), wide=1
        )


def _holds(report: WindowReport) -> tuple[str, str]:
    """Return the pfns whose struct pages are in the window, and the first that wraps."""
    inside = [span for span in report.spans if span.in_use]
    wrapped = [span for span in report.spans if span.regime is Regime.WRAPPED]
    held = f"0x{inside[0].first_pfn:x} <= pfn < 0x{inside[-1].end_pfn:x}" if inside else ""
    return held, f">= 0x{wrapped[0].first_pfn:x}" if wrapped else ""


def _families(reports: Mapping[str, WindowReport]) -> Iterator[ConsoleRenderable]:
    text = "the release decides; what each family of releases makes of these numbers:"
    yield text_layout.hanging(Text("COMPUTED", "bold green"), text)
    known = {name: report.window for name, report in reports.items() if report.window}
    yield text_layout.heading("VMEMMAP_START - VMEMMAP_END, VMEMMAP_SIZE")
    yield text_layout.table(
        (
            (name, virtual(window.start, window.end), f"0x{window.size:x}", size(window.size))
            for name, window in known.items()
        ),
        wide=1,
    )
    yield text_layout.heading(
        "PAGE_OFFSET, the pfns the window holds, and those that wrap past 2^64"
    )
    yield text_layout.table(
        (
            (name, address(page_offset(window)), *_holds(reports[name]))
            for name, window in known.items()
        ),
        wide=3,
    )
    covers = {name: report.cover for name, report in reports.items() if report.cover}
    if covers:
        asked = next(iter(covers.values()))
        what = f"{physical(asked.first, asked.end)} ({size(asked.end - asked.first)})"
        yield text_layout.heading(f"Struct pages for {what}")
        yield text_layout.table(
            (
                (name, "covered" if cover.covered else "not covered", price(cover))
                for name, cover in covers.items()
            ),
            wide=2,
        )
    yield Text()
    text = "Say --release for the layout, each regime of pfns, and what --cover costs."
    yield text_layout.hanging(Text(" "), text)
