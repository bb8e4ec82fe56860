# SPDX-License-Identifier: GPL-2.0-only
"""``vmemscope explain`` as text: each step from a target to what its struct page lands on.

Promises: the first line says how the argument was parsed; the steps are ``tracers.explain``'s,
behind those that lead from a pfn or a physical address to the struct page.
"""

from collections.abc import Iterable, Iterator

from rich.console import Console, ConsoleRenderable
from rich.text import Text

from recordings.reports import text_layout
from recordings.reports.explain_target import Target
from recordings.wording.escape import printable
from tracers.explain import explain
from tracers.families import MASK
from tracers.formulas import WindowError
from tracers.layout import Layout
from tracers.window import Window

_WORDS = {"addr": "an address", "pfn": "a pfn", "phys": "a physical address"}


def render(console: Console, window: Window, layout: Layout, targets: Iterable[Target]) -> None:
    """Print the steps of each target to ``console``."""
    text_layout.emit(console, _parts(window, layout, tuple(targets)))


def _parts(
    window: Window, layout: Layout, targets: tuple[Target, ...]
) -> Iterator[ConsoleRenderable]:
    for at, target in enumerate(targets):
        if at:
            yield Text()
        words = f"understood as {_WORDS[target.kind]}: {target.why}"
        yield text_layout.hanging(Text(printable(target.text), "bold"), words)
        for step in steps(window, layout, target):
            yield text_layout.hanging(Text(" "), printable(step))


def steps(window: Window, layout: Layout, target: Target) -> tuple[str, ...]:
    """Return every step of the arithmetic, one line each.

    Raises:
        WindowError: a pfn or physical address, and memstart or a size is not known; or a pfn
            beyond the 64 bits of a physical address.
    """
    before: tuple[str, ...] = ()
    if target.kind == "addr":
        start, end, before = _address(window, target)
    else:
        start, end, before = _page(window, target)
    return before + explain(window, layout, start, end)


def _page(window: Window, target: Target) -> tuple[int, int, tuple[str, ...]]:
    """Lead from pages to their struct pages."""
    first = target.start
    end = first + 1 if target.end is None else target.end
    lines: list[str] = []
    if target.kind == "phys":
        shift = window.page_shift
        first, end = first >> shift, -(-end >> shift)
        lines.append(f"pfn = physical address >> {shift} = 0x{first:x}")
    if end > 1 << (64 - window.page_shift):
        raise WindowError(f"no pfn: 0x{first:x} is beyond 2^64 of physical addresses")
    start, stop = window.pfn_to_page(first), window.pfn_to_page(end)
    lines.append(f"struct page of pfn 0x{first:x} = vmemmap + pfn * {window.struct_page}")
    lines[-1] += f" = 0x{start:016x}"
    return start, stop, tuple(lines)


def _address(window: Window, target: Target) -> tuple[int, int, tuple[str, ...]]:
    """Take an address as the struct page it is in, a range as it stands."""
    start = target.start & MASK
    if target.end is not None:
        return start, target.end & MASK, ()
    try:
        page = window.pfn_to_page(window.page_to_pfn(start))
    except WindowError:
        return start, (start + (window.struct_page or 1)) & MASK, ()
    lines: tuple[str, ...] = ()
    if page != start:
        lines = (f"0x{start:016x} is {(start - page) & MASK} bytes into a struct page",)
    return page, (page + (window.struct_page or 1)) & MASK, lines
