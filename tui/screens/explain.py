# SPDX-License-Identifier: GPL-2.0-only
"""Explains one call: the arithmetic with this machine's numbers, and where each fact is from."""

from collections.abc import Callable, Iterator
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from recordings.explore.span import Span
from recordings.format.header import Header
from recordings.wording.escape import printable
from tracers.events import Kind, Source
from tracers.explain import explain
from tui.widgets import words
from tui.widgets.call_facts import BORDER, CallFacts, fields
from tui.widgets.panel import MUTED, Line, content, line
from tui.widgets.words import GLUE

#: How an event is known, in a sentence.
SOURCES = {
    Source.UNKNOWN: "in a way this version has no name for",
    Source.FENTRY: "observed by a BPF trampoline on the function",
    Source.KPROBE: "observed by the function's own kprobe",
    Source.CALLSITE: "observed by a probe on the call instruction in its caller",
    Source.BREAKPOINT: "observed by a hardware breakpoint",
    Source.TRACEPOINT: "observed by a tracepoint",
    Source.DERIVED: (
        "derived, not observed: no probe was on the function (kernels before 6.11 refuse it); "
        "its range follows from the arguments of __add_pages / __remove_pages"
    ),
    Source.DMESG: "read off a WARN or an Oops in the kernel's log",
}


def explanation_lines(header: Header, facts: CallFacts) -> Iterator[Line]:
    """Yield the lines of the screen."""
    window, call = header.machine.window, facts.span
    yield line(("The arithmetic", "bold $primary"))
    yield from _arithmetic(header, call)
    yield line("")
    yield line(("The event", "bold $primary"))
    for name, text, style in fields(header, facts):
        if name != BORDER:  # that is in the arithmetic
            yield line((f"{name:<12}", MUTED), (text.replace(GLUE, " "), style))
    yield line("")
    yield line(("Where this comes from", "bold $primary"))
    yield line((f"{'event':<12}", MUTED), SOURCES[call.source])
    function = words.function(call.kind)
    if function in header.probes:
        yield line((f"{'probe':<12}", MUTED), printable(header.probes[function]))
    if window is not None:
        origins: dict[str, list[str]] = {}
        for name, origin in window.provenance.items():
            origins.setdefault(printable(origin), []).append(printable(name))
        for origin, names in origins.items():
            yield line((f"{', '.join(names)}: ", MUTED), origin)


def _arithmetic(header: Header, call: Span) -> Iterator[Line]:
    """Yield each step from the addresses to the regime, or why there is none."""
    window = header.machine.window
    if window is None:
        yield line("The machine's window is not known, so this cannot be judged.")
    elif call.start is not None and call.end is not None:
        for text in explain(window, header.machine.layout, call.start, call.end):
            yield line(printable(text))
    elif call.kind is Kind.FAULT:
        yield line("Which struct page it was could not be proven, so it cannot be judged.")
    else:
        yield line("The call's range is not in the recording, so it cannot be judged.")


class ExplainScreen(ModalScreen[None]):
    """A modal; any of escape, enter, q closes it. ``neighbour``: moves to the call before or after.

    It returns that call's facts, or ``None`` if there is none.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q,question_mark", "dismiss(None)", "Close"),
        Binding("up,k", "scroll(-1)", "Up", show=False),
        Binding("down,j", "scroll(1)", "Down", show=False),
        Binding("left_square_bracket", "neighbour(-1)", "Call before", show=False),
        Binding("right_square_bracket", "neighbour(1)", "Call after", show=False),
    ]

    def __init__(
        self, header: Header, facts: CallFacts, neighbour: Callable[[int], CallFacts | None]
    ) -> None:
        super().__init__()
        self._header = header
        self._facts = facts
        self._neighbour = neighbour

    def compose(self) -> ComposeResult:
        """Yield the scrolling box."""
        box = VerticalScroll(Static(), classes="modal")
        box.border_subtitle = Content("[ ] neighbours · esc closes")
        yield box

    def on_mount(self) -> None:
        """Write it."""
        self._write()

    def action_neighbour(self, by: int) -> None:
        """Explain the call before this one in time, or after."""
        facts = self._neighbour(by)
        if facts is not None:
            self._facts = facts
            self._write()

    def _write(self) -> None:
        span = self._facts.span
        box = self.query_one(VerticalScroll)
        box.border_title = Content(f"{words.function(span.kind)}, event #{span.row}")
        lines = explanation_lines(self._header, self._facts)
        self.query_one(Static).update(content(*lines))

    def action_scroll(self, by: int) -> None:
        """Scroll the text by lines."""
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)
