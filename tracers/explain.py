# SPDX-License-Identifier: GPL-2.0-only
"""Explains one range in the manner of the mail that started this: each step of the arithmetic.

Promises: this machine's own numbers in every line, plain ASCII, and no line about what is not
known except to say so. The model: Ard Biesheuvel's example of 7 April 2023 on
linux-arm-kernel, "arm64/mm: don't WARN when alloc/free-ing device private pages".
"""

from tracers.families import HALF, MASK
from tracers.formulas import WindowError, signed, signed_hex
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
        lines += _in_use(window)
        lines += _pages(window, start, end)
        lines += _compare(window, start, end)
    if layout is not None:
        lines.append(f"lands on: {_landing(window, layout, start, end)}")
    if window is not None:
        lines += _warning(window, start, end)
    return tuple(lines)


def _in_use(window: Window) -> list[str]:
    """Say where the window in use starts, if that is not VMEMMAP_START."""
    first, end = window.used
    if first == window.start:
        return []
    lines = [f"in use 0x{first:016x} - 0x{end:016x}: {bits_in_use(window)}"]
    if window.use_known:
        built, bits, page = window.va_bits, window.vabits_actual, window.page_shift
        lines.append(
            f"its start = VMEMMAP_START + ((2^{built} - 2^{bits}) >> {page})"
            f" * {window.struct_page} = VMEMMAP_START + 0x{first - window.start:x}"
        )
    return lines


def judged(regime: str, *, silent: bool) -> str:
    """Return a regime in words: "below", and "below, silent" for hits the kernel lets pass."""
    return f"{regime}, silent" if silent else regime


def bits_in_use(window: Window) -> str:
    """Return how many bits of addresses are in use, and how that is known, in a few words."""
    if not window.use_known:
        return f"for certain; all of it if {window.va_bits or 52} bits are in use, not known here"
    origin = window.provenance.get("vabits_actual", "origin not known")
    return f"{window.vabits_actual} of {window.va_bits} address bits ({origin})"


def blindness(window: Window) -> str:
    """Return what the kernel's WARN cannot see on this machine, as one sentence; "" if nothing.

    That is what lies in ``window.blind``: the struct pages below the first one of the linear map.
    """
    start, end = window.blind
    if window.lowest_start < window.start:
        return (
            f"The kernel's WARN does not see hits below 0x{end:016x}, down to"
            f" 0x{window.lowest_start:016x}, if it is built for 52 bits: that is not known."
        )
    if start == end:
        return ""
    may = "cannot" if window.use_known else "may not"
    said = f"The kernel's WARN {may} see hits below 0x{end:016x}, down to VMEMMAP_START"
    if not window.use_known:
        return f"{said}: that depends on the address bits in use."
    try:
        first, _ = window.phys_range
    except WindowError:
        return f"{said}: pages below memstart_addr, which is not known."
    if not first:
        return f"{said}; no page leads there, as those in use begin at physical 0."
    return f"{said}: pages at physical addresses below 0x{first:x}."


def _pages(window: Window, start: int, end: int) -> list[str]:
    """Say which pages the range describes: vmemmap, pfn, physical address."""
    try:
        vmemmap, shift = window.vmemmap, window.page_shift
        pfn, size = window.page_to_pfn(start), window.struct_page
        memstart = signed(window.memstart or 0)
    except WindowError as error:
        return [f"pfn and physical address: {error}"]
    lines = [
        f"memstart_addr = {signed_hex(memstart & MASK)}"
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
    first, _ = window.used
    begin = "VMEMMAP_START" if first == window.start else "the window in use"
    why = {
        Regime.INSIDE: f"from {begin} on, at most up to VMEMMAP_END",
        Regime.BELOW: f"in the kernel half, at most up to {begin}",
        Regime.ABOVE: "from VMEMMAP_END on, not past 2^64",
        Regime.WRAPPED: "the address went past 2^64, into the user half",
        Regime.STRADDLING: "it crosses a border",
        Regime.UNKNOWN: "inside if all of the window is in use, else below or across its border",
    }[regime]
    lines = [f"start {_place(start, 'VMEMMAP_START', window.start)}"]
    if first != window.start:
        lines.append(f"start {_place(start, 'the start of the window in use', first)}")
    lines.append(f"end   {_place(end, 'VMEMMAP_END', window.end)}")
    lines.append(f"regime: {regime} ({why})")
    return lines


def borders(window: Window, start: int, end: int) -> tuple[tuple[str, int], ...]:
    """Return by how much a range is past an end of the window in use, as a sentence and in bytes.

    By how much it is not, of one inside: at the end that is nearer.
    """
    if window.regime(start, end) is Regime.WRAPPED:
        past = (start - window.end) & MASK
        return ((f"start > VMEMMAP_END by 0x{past:x}, modulo 2^64", past),)
    first, _ = window.used
    begin = "VMEMMAP_START" if first == window.start else "the start of the window in use"
    top = end or MASK + 1
    low = f"start {_place(start, begin, first)}", abs(start - first)
    high = f"end {_place(top, 'VMEMMAP_END', window.end)}", abs(top - window.end)
    outside = ((low, start < first), (high, top > window.end))
    return tuple(text for text, out in outside if out) or (min(low, high, key=lambda x: x[1]),)


def pfn_and_section(window: Window, start: int) -> tuple[int | None, int | None]:
    """Return the pfn whose struct page lies at an address, and its section: what is known."""
    try:
        pfn = window.page_to_pfn(start)
        if signed(pfn) < 0:
            return None, None
    except WindowError:
        return None, None
    try:
        return pfn, pfn // window.section_pages
    except WindowError:
        return pfn, None


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
    low, high = ("true" if is_so else "false" for is_so in (start < window.start, end > window.end))
    verdict = "it warns (a WARN_ON_ONCE only the first time)" if warns else "no warning"
    if warns and window.lowest_start <= start < end <= window.end:
        verdict = f"it warns if it is built for {window.va_bits} bits, not if for 52: not known"
    lines = [f"WARN_ON(start < VMEMMAP_START || end > VMEMMAP_END): {low} || {high} -> {verdict}"]
    if window.silent(start, end):
        why = why_silent(window, start, end)
        lines.append(f"A silent hit: out of the window in use all the same. {why}")
    return lines


def why_silent(window: Window, start: int, end: int) -> str:
    """Return, in two sentences, why the kernel does not warn about the silent hit [start, end)."""
    if end < start or window.used[0] == window.start:
        return "Its end is at or past 2^64. So it compares as small with VMEMMAP_END."
    built, bits = window.va_bits, window.vabits_actual
    return (
        f"The WARN compares with VMEMMAP_START 0x{window.start:016x}, made for {built} bits. With"
        f" {bits} in use vmemmap begins ((2^{built} - 2^{bits}) >> {window.page_shift}) *"
        f" {window.struct_page} = 0x{window.used[0] - window.start:x} higher, at"
        f" 0x{window.used[0]:016x}."
    )
