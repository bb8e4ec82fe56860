# SPDX-License-Identifier: GPL-2.0-only
"""Where memstart_addr lies on a machine that does not say: from where its RAM begins.

Promises: one computation for every command that asks about another kernel or other RAM, and its
result says where it is from.

Source: arm64_memblock_init() in arch/arm64/mm/init.c; see ``formulas.memstart_for``.
"""

from dataclasses import replace

from tracers.formulas import WindowError, memstart_align, memstart_for, section_size_bits_for
from tracers.window import Window


def memstart_from_ram(window: Window, ram: int, *, release: str | None = None) -> int:
    """Return memstart_addr, without KASLR, of ``window``'s kernel with RAM from ``ram`` on.

    ``release`` decides SECTION_SIZE_BITS where the window does not give it; without one the
    family does.

    Raises:
        WindowError: the page size is not known.
    """
    if window.page_size is None:
        raise WindowError("the window's page_size is not known")
    return memstart_for(
        ram,
        page_size=window.page_size,
        section_size_bits=section_bits(window, window.page_size, release),
        va_bits=window.va_bits,
        vabits_actual=window.vabits_actual,
    )


def with_memstart_of(
    window: Window, own: Window | None, ram: int | None, *, release: str | None = None
) -> Window | None:
    """Return ``window``, another kernel's, with memstart_addr as it has it on this machine.

    ``own``: the window of the machine's own kernel; ``ram``: where its RAM begins. Its own
    memstart_addr, KASLR and all, stands where both kernels round alike and have as many bits;
    else it is computed. None: neither is known.
    """
    alike = own is not None and _alike(window, own, release)
    if alike and own is not None and own.vabits_actual is not None:  # the same CPU
        bits = window.vabits_actual or own.vabits_actual
        window, own = replace(window, vabits_actual=bits), own.with_bits(bits)
    if own is not None and own.memstart is not None and (alike or ram is None):
        memstart, origin = own.memstart, "the recording"
    elif ram is not None and window.page_size is not None:
        memstart = memstart_from_ram(window, ram, release=release)
        origin = "the recording's RAM, formula without KASLR"
    else:
        return None
    return replace(window, memstart=memstart, provenance={**window.provenance, "memstart": origin})


def _alike(window: Window, own: Window, release: str | None) -> bool:
    """Say whether two kernels put memstart_addr at the same place."""
    page = window.page_size
    if page is None or (own.va_bits, own.page_size) != (window.va_bits, page):
        return False
    align = memstart_align(page, section_bits(window, page, release))
    return align == memstart_align(page, section_bits(own, page, None))


def section_bits(window: Window, page_size: int, release: str | None) -> int:
    """Return SECTION_SIZE_BITS: the window's, else the release's, else the family's."""
    if window.section_size_bits is not None:
        return window.section_size_bits
    if release is not None:
        return section_size_bits_for(release, page_size)
    return 27 if window.family is None else window.family.value.section_bits(page_size)
