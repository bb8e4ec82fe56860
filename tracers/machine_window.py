# SPDX-License-Identifier: GPL-2.0-only
"""Finds the window in what is known of a machine: its own word first, a formula last.

Promises: what gives the window stands in its provenance, and what was assumed, too. Sources are
asked in this order, and what contradicts the first that answers is noted:

1. VMEMMAP_START and VMEMMAP_END as the kernel has them (its VMCOREINFO note, its code);
2. the markers of kernel_page_tables;
3. where pfn 0 has its struct page, as an Oops shows it;
4. the formula of the release.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Final

from tracers import machine_files
from tracers.evidence import BETWEEN, PFN, RAM_START, SANE, TASK_BITS, VMEMMAP, Evidence
from tracers.families import PAGE_SIZES, Family
from tracers.formulas import (
    VA_BITS_RANGE,
    WindowError,
    family_for_release,
    memstart_for,
    section_size_bits_for,
    signed,
    vmemmap_set_early,
)
from tracers.in_use import bits_in_use
from tracers.memstart import memstart_from_ram
from tracers.page_tables import window_of_dump
from tracers.pfn_zero import built_for, sizes_possible, window_from_vmemmap, with_vmemmap
from tracers.window import OR_MORE, Window, window_from_facts

#: Provenance of sizeof(struct page) where nothing says it.
ASSUMED: Final = "assumed: 64 on nearly every kernel"

Facts = dict[str, int | None]  # Window's integers


def find_window(known: Evidence, windows: Sequence[tuple[str, int, int]]) -> Window | None:
    """Return the window of the first source that gives it; ``windows``: see ``assemble``."""
    facts = _facts(known)
    window = _given(known, windows, facts)
    try:
        if window is None:
            window = (
                _by_page_tables(known, facts)
                or _by_vmemmap(known, facts)
                or _by_release(known, facts)
            )
    except WindowError as error:
        known.problems.append(str(error))
        return None
    sizes = (window.va_bits, window.page_size, window.struct_page)
    if window.family is None and None not in sizes:
        known.problems.append(
            f"no known formula gives this kernel's window for {sizes[0]}-bit addresses, pages"
            f" of {sizes[1]} and struct pages of {sizes[2]} bytes: its neighbours are unknown"
        )
    window = _with_bits_in_use(known, _with_section(known, window))
    window = _with_ram(known, _placed(known, window))
    _check_vmemmap(known, window)
    return window


# -- facts ------------------------------------------------------------------------------------


def _facts(known: Evidence) -> Facts:
    bits = known.agreed(
        "va_bits",
        known.note("NUMBER(VA_BITS)"),
        machine_files.config_va_bits(known.config),
    )
    page = known.agreed(
        "page_size",
        known.note("PAGESIZE"),
        machine_files.config_page_size(known.config),
    )
    struct_page = known.agreed("struct_page", known.note("SIZE(page)"))
    section = known.agreed("section_size_bits", known.note("NUMBER(SECTION_SIZE_BITS)"))
    actual = _bits_in_use(known, bits)
    if section is None:
        section = _section_by_release(known, page)
    return {
        "va_bits": bits,
        "page_size": page,
        "struct_page": struct_page,
        "memstart": _memstart(known, bits, page, section),
        "section_size_bits": section,
        "vabits_actual": actual,
    }


def _section_by_release(known: Evidence, page: int | None) -> int | None:
    if page is None or known.release is None:
        return None
    try:
        section = section_size_bits_for(known.release, page)
    except WindowError as error:
        known.problems.append(f"section size: {error}")
        return None
    known.provenance["section_size_bits"] = "release"
    return section


def _with_section(known: Evidence, window: Window) -> Window:
    """Return the window with a section's size, where it is the window that tells the page size."""
    if window.section_size_bits is not None:
        return window
    section = _section_by_release(known, window.page_size)
    provenance = {**window.provenance, **known.provenance} if section else window.provenance
    return replace(window, section_size_bits=section, provenance=provenance)


def _bits_in_use(known: Evidence, bits: int | None) -> int | None:
    t1sz = known.note("NUMBER(TCR_EL1_T1SZ)")
    noted = None if t1sz is None else 64 - t1sz
    if noted is not None and noted not in VA_BITS_RANGE:
        known.problems.append(f"vmcoreinfo: TCR_EL1_T1SZ {t1sz} gives impossible {noted} bits")
        noted = None
    sane, others = SANE["vabits_actual"], known.facts.get(TASK_BITS, ())
    if bits is None or bits <= 48:
        others = ()  # nothing to find out; 5.0 to 5.3 gave programs more bits than the kernel
    else:
        sane = range(47, bits + 1)
    actual = known.agreed("vabits_actual", noted, sane=sane, others=others)
    if actual is not None and bits is not None and bits <= 48 and actual != bits:
        known.contradiction(
            f"vabits_actual: {known.provenance['vabits_actual']} says {actual}, but a kernel built"
            f" for {bits} bits ({known.provenance['va_bits']}) uses {bits}: two kernels?"
        )
        return bits
    return actual


def _memstart(
    known: Evidence, bits: int | None, page: int | None, section: int | None
) -> int | None:
    memstart = known.agreed("memstart", known.note("NUMBER(PHYS_OFFSET)"))
    if memstart is not None:
        return memstart
    ram = known.ram_start
    fixed = known.config.get("CONFIG_RANDOMIZE_BASE") == "n"  # else KASLR may have moved it
    if ram is None or page is None or section is None or not fixed or bits not in range(49):
        return None
    known.provenance["memstart"] = "iomem+formula"
    return memstart_for(ram, page_size=page, section_size_bits=section)


def _assume(known: Evidence, facts: Facts) -> None:
    """Take the struct page that nearly every kernel has, where nothing says its size.

    Raises:
        WindowError: this configuration makes it another one.
    """
    if facts["struct_page"] is not None:
        return
    if why := machine_files.not_64_bytes(known.config):
        raise WindowError(
            f"the window is not known: no struct_page, and with {why} it may be other than 64"
        )
    facts["struct_page"] = 64
    known.provenance["struct_page"] = ASSUMED


def _build(known: Evidence, numbers: tuple[int, ...], actual: int) -> int:
    """Return what the kernel is built for, from the bits in use; say so if it may be more."""
    known.provenance["va_bits"] = "the bits in use"
    if len(numbers) > 1:
        known.provenance["va_bits"] = OR_MORE
        known.problems.append(
            f"{actual} bits in use: whether the kernel is built for {numbers[0]} or"
            f" {numbers[-1]} is not known. The window in use is the same, but the WARN of one"
            f" built for {numbers[-1]} does not see hits right below it; taken for one built for"
            f" {numbers[0]}"
        )
    return numbers[0]


# -- the four ways ----------------------------------------------------------------------------


def _given(known: Evidence, others: Sequence[tuple[str, int, int]], facts: Facts) -> Window | None:
    """Return the window of the first source that gives it, checked against the others."""
    start, end = (known.note(f"NUMBER(VMEMMAP_{side})") for side in ("START", "END"))
    windows = list(others)
    if start is not None and end is not None:
        windows.insert(0, ("vmcoreinfo", start, end))
    good: dict[str, Window] = {}
    for origin, first, last in windows:
        try:
            good[origin] = window_from_facts(facts, start=first, end=last)
        except WindowError as error:
            known.problems.append(f"{origin}: {error}")
    window = next(iter(good.values()), None)
    if window is None:
        return None
    if len({(w.start, w.end) for w in good.values()}) > 1:
        said = ", ".join(f"{n} says 0x{w.start:016x} - 0x{w.end:016x}" for n, w in good.items())
        known.contradiction(f"the window: {said}: two kernels? The first is used")
    same = (name for name, w in good.items() if (w.start, w.end) == (window.start, window.end))
    return replace(window, provenance=known.provenance | {"window": " + ".join(same)})


def _by_page_tables(known: Evidence, facts: Facts) -> Window | None:
    """Return the window whose borders stand where the page tables have their markers."""
    if "kernel_page_tables" not in known.files.texts:
        return None
    family = _family(known.release)
    sizes = ("va_bits", "page_size", "struct_page", "vabits_actual")
    limits = {name: facts[name] for name in sizes}
    found = window_of_dump(known.dump, family=family, **limits)
    window = found.window
    if window is None:
        known.problems.append(f"kernel_page_tables: {found.reason}")
        if (other := window_of_dump(known.dump, family=family).window) is not None:
            known.contradiction(
                f"kernel_page_tables is of a kernel with {other.page_size} byte pages and"
                f" {other.vabits_actual} bits in use, the other sources are not: two kernels?"
            )
        return None
    if not _later(known, window, "kernel_page_tables"):
        return None
    for name in sizes:
        if facts[name] is None and getattr(window, name) is not None:
            known.provenance[name] = "kernel_page_tables"
    if facts["struct_page"] is None and window.struct_page is not None and not found.only_size:
        known.provenance["struct_page"] = ASSUMED
    if facts["va_bits"] is None and len(found.built_for) > 1:
        _build(known, found.built_for, window.vabits_actual or 0)
    known.provenance["window"] = "kernel_page_tables+formula"
    return replace(
        window,
        memstart=facts["memstart"],
        section_size_bits=facts["section_size_bits"],
        provenance=known.provenance,
    )


def _by_vmemmap(known: Evidence, facts: Facts) -> Window | None:
    """Return the window that puts pfn 0's struct page where a log shows it.

    Raises:
        WindowError: no window does, or several do.
    """
    told = known.facts.get(VMEMMAP, ())
    if not told:
        return None
    _assume(known, facts)
    origin, vmemmap = told[0]
    bits, page, actual = (facts[name] for name in ("va_bits", "page_size", "vabits_actual"))
    in_use = actual if bits is None or bits > 48 else bits
    answer = window_from_vmemmap(
        vmemmap,
        sizes=sizes_possible(
            PAGE_SIZES if page is None else (page,),
            None if in_use is None else (in_use,),
            known.told(BETWEEN),
        ),
        release=known.release,
        va_bits=bits,
        struct_page=facts["struct_page"] or 0,
        ram=known.ram,
        pfns=known.told(PFN),
    )
    window = answer.window
    if window is None:
        raise WindowError(f"the window is not known: {origin}: {answer.reason}")
    if bits is None:
        _build(known, answer.built_for, window.vabits_actual or 0)
    for name in ("page_size", "vabits_actual", "section_size_bits"):
        if facts[name] is None:
            known.provenance[name] = f"{origin}: vmemmap"
    known.provenance["memstart"] = f"{origin}: vmemmap"
    known.provenance["window"] = f"release+formula, fits {origin}'s vmemmap"
    if answer.backport:
        _later(known, window, f"{origin}: vmemmap 0x{vmemmap:016x}", answer.reason)
        known.provenance["window"] = f"{origin}: vmemmap+formula"
    return replace(window, provenance=known.provenance)


def _by_release(known: Evidence, facts: Facts) -> Window:
    """Return the window by the formula of the release.

    Raises:
        WindowError: something is missing for that.
    """
    page, actual, release = facts["page_size"], facts["vabits_actual"], known.release
    if page is not None or facts["va_bits"] is not None:
        _assume(known, facts)
    if page is None or release is None or (facts["va_bits"] is None and actual is None):
        return window_from_facts(facts, release=release)  # says what is missing
    if facts["va_bits"] is None:
        numbers = built_for(family_for_release(release), page, actual or 0)
        windows = [
            window_from_facts(facts | {"va_bits": number}, release=release) for number in numbers
        ]
        if len({window.used for window in windows}) == 1:
            facts["va_bits"] = _build(known, numbers, actual or 0)
    window = window_from_facts(facts, release=release, provenance=known.provenance)
    if known.named is not None:
        return window
    return replace(window, provenance={**window.provenance, "window": "config's release+formula"})


def _family(release: str | None) -> Family | None:
    try:
        return None if release is None else family_for_release(release)
    except WindowError:
        return None


def _later(known: Evidence, window: Window, origin: str, why: str = "") -> bool:
    """Say whether a kernel of this release can have the layout: its own, or a later one."""
    own, found = _family(known.release), window.family
    if own is None or found is None or own is found:
        return True
    line = f"{origin} is of the layout of {found.label}, which {known.release} does not have"
    if found.value.first < own.value.first:
        known.contradiction(f"{line}: two kernels?")
        return False
    reason = f" ({why})" if why else ""
    known.problems.append(f"{line} of itself{reason}: taken for a vendor's backport")
    return True


# -- what stands beside it --------------------------------------------------------------------


def _placed(known: Evidence, window: Window) -> Window:
    """Return the window with memstart_addr as a log shows it: that of the log's own boot."""
    told = known.facts.get(VMEMMAP, ())
    if not told or window.family is None or None in (window.va_bits, window.struct_page):
        return window
    origin, vmemmap = told[0]
    ours: int | None = None
    with suppress(WindowError):
        ours = window.vmemmap
    if ours == vmemmap:
        return window
    answer = with_vmemmap(
        window, vmemmap, release=known.release, ram=known.ram, pfns=known.told(PFN)
    )
    fixed = known.config.get("CONFIG_RANDOMIZE_BASE") == "n"
    if answer.window is None or (ours is not None and fixed):
        reason = answer.reason or f"vmemmap 0x{vmemmap:016x}, and KASLR is off"
        known.contradiction(f"{origin}: {reason}: another kernel?")
        return window
    if ours is not None:
        known.problems.append(
            f"{origin} has vmemmap 0x{vmemmap:016x}, the machine's files 0x{ours:016x}: they are"
            " of another boot, where KASLR put memstart_addr elsewhere; the former is used"
        )
    provenance = {**window.provenance, "memstart": f"{origin}: vmemmap"}
    return replace(answer.window, provenance=provenance)


def _with_ram(known: Evidence, window: Window) -> Window:
    """Return the window with memstart_addr by where RAM is told to begin."""
    told = known.facts.get(RAM_START, ())
    if not told:
        return window
    origin, ram = told[0]
    if known.ram_start not in (None, ram):
        known.contradiction(f"RAM: {origin} from 0x{ram:x}, iomem from 0x{known.ram_start:x}")
    if window.memstart is not None or window.page_size is None:
        return window
    provenance = {**window.provenance, "memstart": f"RAM {origin}, formula without KASLR"}
    memstart = memstart_from_ram(window, ram, release=known.release)
    return replace(window, memstart=memstart, provenance=provenance)


def _with_bits_in_use(known: Evidence, window: Window) -> Window:
    """Return the window with the bits in use, where something else than T1SZ tells them."""
    sizes = (window.va_bits, window.page_size, window.struct_page)
    if window.use_known or None in sizes:
        return window
    borders = {n: replace(window, vabits_actual=n).used[0] for n in window.bits_possible}
    found = [
        *bits_in_use(
            borders,
            family=window.family,
            memstart=window.memstart,
            ram=known.ram_start,
            vmalloc_end=known.note("NUMBER(VMALLOC_END)"),
        ),
        *_by_marker(known, window, borders),
    ]
    if len({bits for _, bits in found}) > 1:
        said = ", ".join(f"{origin} says {bits}" for origin, bits in found)
        known.contradiction(f"vabits_actual: {said}: files of two kernels?")
    if len({bits for _, bits in found}) != 1:
        return window
    origin, bits = found[0]
    provenance = {**window.provenance, "vabits_actual": origin}
    return replace(window, vabits_actual=bits, provenance=provenance)


def _by_marker(
    known: Evidence, window: Window, borders: Mapping[int, int]
) -> list[tuple[str, int]]:
    """Return the bits in use by the page tables: the marker is where these start (6.9 on)."""
    if not window.vmalloc_takes_unused or window.page_size is None or window.va_bits is None:
        return []
    fitting = [
        [n for n, border in borders.items() if mark.agrees(border)]
        for mark in known.dump.marks(window.page_size, window.va_bits)
        if mark.name == "VMEMMAP_START" and mark.low is not None
    ]
    return [("kernel_page_tables", bits[0]) for bits in fitting if len(bits) == 1]


def _check_vmemmap(known: Evidence, window: Window) -> None:
    """Compare with the kernel's own pfn 0 (in vmcoreinfo since 6.9), where it is given."""
    own = known.note("SYMBOL(vmemmap)", "0x")
    try:
        ours = window.vmemmap
    except WindowError:
        return
    if own is not None and own != ours and VMEMMAP not in known.facts:
        known.problems.append(
            f"vmcoreinfo says vmemmap is 0x{own:016x}, the arithmetic gives 0x{ours:016x}"
        )
    if not (own is None and window.may_move_vmemmap and signed(window.memstart or 0) < 0):
        return
    if known.release is None or vmemmap_set_early(known.release):
        known.problems.append(
            "5.4 to 5.9 set vmemmap before KASLR moved memstart_addr (7bc1a0f9e176): on those"
            " the pfns shown are off"
        )
