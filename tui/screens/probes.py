# SPDX-License-Identifier: GPL-2.0-only
"""Shows each probe point with its rung, what the kernel refused and why, and the notes."""

from collections.abc import Iterator
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from recordings.format.header import Header
from recordings.reports.probe_summary import NOT_SEEN, rung
from recordings.wording.escape import printable
from tui.widgets.panel import MUTED, Line, content, line


def probe_lines(header: Header) -> Iterator[Line]:
    """Yield the lines of the screen."""
    yield line(("Probe points", "bold $primary"))
    if not header.probes:
        yield line("This recording does not say what was probed.")
    wide = max(map(len, map(printable, header.probes)), default=0)
    for name, how in header.probes.items():
        colour = "$warning" if rung(how) == NOT_SEEN else ""
        yield line((f"{printable(name):<{wide}}  ", MUTED), (printable(how), colour))
    groups = (
        ("Where it comes from", [f"{key}: {value}" for key, value in header.origin.items()]),
        ("Notes", [*header.machine.problems, *header.notes]),
        ("WARNs this kernel's image holds", header.warn_sites),
    )
    for title, texts in groups:
        if texts:
            yield line("")
            yield line((title, "bold $primary"))
            yield from (line(printable(text)) for text in texts)


class ProbesScreen(ModalScreen[None]):
    """A modal; any of escape, enter, p, q closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,p,q,question_mark", "dismiss(None)", "Close"),
        Binding("up,k", "scroll(-1)", "Up", show=False),
        Binding("down,j", "scroll(1)", "Down", show=False),
    ]

    def __init__(self, header: Header) -> None:
        super().__init__()
        self._lines = list(probe_lines(header))

    def compose(self) -> ComposeResult:
        """Yield the scrolling box."""
        box = VerticalScroll(Static(content(*self._lines)), classes="modal")
        box.border_title = Content("How each function is seen")
        box.border_subtitle = "esc closes"
        yield box

    def action_scroll(self, by: int) -> None:
        """Scroll the text by lines."""
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)
