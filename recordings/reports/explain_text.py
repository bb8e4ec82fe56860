# SPDX-License-Identifier: GPL-2.0-only
"""Each step from an address, a pfn or a physical address to what its struct page lands on.

Promises: says first how each argument was understood; the steps are ``tracers.explain``'s, before
them those that lead from a pfn or a physical address to the struct page.
"""

from collections.abc import Iterable, Iterator

from rich.console import Console, ConsoleRenderable
from rich.text import Text

from recordings.reports import text_layout
from recordings.reports.explain_target import Question
from recordings.wording.escape import printable
from tracers.explain import explain
from tracers.families import MASK
from tracers.formulas import WindowError
from tracers.layout import Layout
from tracers.window import Window

_WORDS = {"addr": "an address", "pfn": "a pfn", "phys": "a physical address"}


def render(console: Console, window: Window, layout: Layout, questions: Iterable[Question]) -> None:
    """Print the steps of each question to ``console``."""
    text_layout.emit(console, _parts(window, layout, tuple(questions)))


def _parts(
    window: Window, layout: Layout, questions: tuple[Question, ...]
) -> Iterator[ConsoleRenderable]:
    for at, question in enumerate(questions):
        if at:
            yield Text()
        words = f"understood as {_WORDS[question.kind]}: {question.why}"
        yield text_layout.hanging(Text(printable(question.text), "bold"), words)
        for step in steps(window, layout, question):
            yield text_layout.hanging(Text(" "), printable(step))


def steps(window: Window, layout: Layout, question: Question) -> tuple[str, ...]:
    """Return every step of the arithmetic, one line each.

    Raises:
        WindowError: a pfn or physical address, and memstart or a size is not known; or a pfn
            beyond the 64 bits of a physical address.
    """
    before: tuple[str, ...] = ()
    if question.kind == "addr":
        start, end, before = _address(window, question)
    else:
        start, end, before = _page(window, question)
    return before + explain(window, layout, start, end)


def _page(window: Window, question: Question) -> tuple[int, int, tuple[str, ...]]:
    """Lead from pages to their struct pages."""
    first = question.start
    end = first + 1 if question.end is None else question.end
    told: list[str] = []
    if question.kind == "phys":
        shift = window.page_shift
        first, end = first >> shift, -(-end >> shift)
        told.append(f"pfn = physical address >> {shift} = 0x{first:x}")
    if end > 1 << (64 - window.page_shift):
        raise WindowError(f"no pfn: 0x{first:x} is beyond 2^64 of physical addresses")
    start, stop = window.pfn_to_page(first), window.pfn_to_page(end)
    told.append(f"struct page of pfn 0x{first:x} = vmemmap + pfn * {window.struct_page}")
    told[-1] += f" = 0x{start:016x}"
    return start, stop, tuple(told)


def _address(window: Window, question: Question) -> tuple[int, int, tuple[str, ...]]:
    """Take an address as the struct page it is in, a range as it stands."""
    start = question.start & MASK
    if question.end is not None:
        return start, question.end & MASK, ()
    try:
        page = window.pfn_to_page(window.page_to_pfn(start))
    except WindowError:
        return start, (start + (window.struct_page or 1)) & MASK, ()
    told: tuple[str, ...] = ()
    if page != start:
        told = (f"0x{start:016x} is {(start - page) & MASK} bytes into a struct page",)
    return page, (page + (window.struct_page or 1)) & MASK, told
