"""Explains one range in the manner of the mail that started this: each step of the arithmetic.

Promises: this machine's own numbers in every line, plain ASCII, and no line about what is not
known except to say so. The model: Ard Biesheuvel's example of 7 April 2023 on
linux-arm-kernel, "arm64/mm: don't WARN when alloc/free-ing device private pages".
"""

from tracers.formulas import HALF, MASK, WindowError, signed
from tracers.layout import Layout
from tracers.window import Regime, Window


def explain(
    window: Window | None, layout: Layout | None, start: int | None, end: int | None
) -> tuple[str, ...]:
    """Return the steps, one line each, from the window to what [start, end) lands on.

    ``end`` 0 is a range that ends exactly at 2^64.
    """
    if start is None or end is None:
        return ("The call's arguments are not known.",)
    start, end = start & MASK, end & MASK
    lines = [f"range  0x{start:016x} - 0x{end:016x}"]
    if window is None:
        lines.append("The window of this kernel is not known: the range cannot be judged.")
    else:
        origin = window.provenance.get("window", "origin not known")
        lines.append(f"window 0x{window.start:016x} - 0x{window.end:016x} ({origin})")
        lines += _pages(window, start, end)
        lines += _compare(window, start, end)
    if layout is not None:
        lines.append(f"lands on: {_landing(window, layout, start, end)}")
    if window is not None:
        lines += _warning(window, start, end)
    return tuple(lines)


def _pages(window: Window, start: int, end: int) -> list[str]:
    """Say which pages the range describes: vmemmap, pfn, physical address."""
    try:
        vmemmap, shift = window.vmemmap, window.page_shift
        pfn, size = window.page_to_pfn(start), window.struct_page
        memstart = signed(window.memstart or 0)
    except WindowError as error:
        return [f"pfn and physical address: {error}"]
    sign = "-" if memstart < 0 else ""
    lines = [
        f"memstart_addr = {sign}0x{abs(memstart):x}"
        + (" (negative: KASLR, or 52-bit kernel on lesser hardware)" if memstart < 0 else ""),
        f"vmemmap = VMEMMAP_START - (memstart_addr >> {shift}) * {size} = 0x{vmemmap:016x}",
    ]
    if vmemmap != (window.start - (memstart >> shift) * (size or 0)) & MASK:
        lines[-1] += " (moved up to the part in use: 5.4 - 5.9)"
    if signed(pfn) < 0:
        lines.append(f"start is {signed(pfn):#x} pages from vmemmap: no pfn has this struct page")
        return lines
    lines.append(f"pfn of start = (start - vmemmap) / {size} = 0x{pfn:x}")
    lines.append(f"physical address = pfn << {shift} = 0x{window.pfn_to_phys(pfn):x}")
    pages, rest = divmod((end - start) & MASK, size or 1)
    if start < end and not rest:
        lines.append(f"end - start = 0x{end - start:x}: struct pages of 0x{pages:x} pages")
    return lines


def _compare(window: Window, start: int, end: int) -> list[str]:
    """Say how both ends stand to the window, and what that makes the range."""
    regime = window.regime(start, end)
    why = {
        Regime.INSIDE: "from VMEMMAP_START on, at most up to VMEMMAP_END",
        Regime.BELOW: "in the kernel half, at most up to VMEMMAP_START",
        Regime.ABOVE: "from VMEMMAP_END on, not past 2^64",
        Regime.WRAPPED: "the address went past 2^64, into the user half",
        Regime.STRADDLING: "it crosses a border",
    }[regime]
    return [
        f"start {_place(start, 'VMEMMAP_START', window.start)}",
        f"end   {_place(end, 'VMEMMAP_END', window.end)}",
        f"regime: {regime} ({why})",
    ]


def _place(addr: int, name: str, border: int) -> str:
    if addr == border:
        return f"= {name}"
    sign = "<" if addr < border else ">"
    return f"{sign} {name} by 0x{abs(addr - border):x}"


def _landing(window: Window | None, layout: Layout, start: int, end: int) -> str:
    where = layout.lands_on(start, end)
    region = layout.region_at(start)
    if window is not None and window.va_bits and 1 << window.va_bits <= start < HALF:
        return f"{where} (past its 2^{window.va_bits}: any access faults)"
    above = start - region.start
    return f"{where} (0x{above:x} above its start)" if region.start and above else where


def _warning(window: Window, start: int, end: int) -> list[str]:
    """Say what the kernel's own comparison gives, and why where that is not the regime."""
    warns = window.warns(start, end)
    inside = window.regime(start, end) is Regime.INSIDE
    low, high = ("true" if told else "false" for told in (start < window.start, end > window.end))
    verdict = "it warns (a WARN_ON_ONCE only the first time)" if warns else "no warning"
    lines = [f"WARN_ON(start < VMEMMAP_START || end > VMEMMAP_END): {low} || {high} -> {verdict}"]
    if not inside and not warns:
        lines.append(
            "Out of the window all the same: end is at or past 2^64, so it compares as small."
        )
    try:
        used, _ = window.used
    except WindowError:
        return lines
    if inside and start < used:
        lines.append(
            f"No warning, yet outside the window in use: with {window.vabits_actual} bits this"
            f" kernel maps struct pages only from 0x{used:016x} on."
        )
    return lines
