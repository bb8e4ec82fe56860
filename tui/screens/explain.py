# SPDX-License-Identifier: GPL-2.0-only
"""Explains one call: the arithmetic with this machine's numbers, and where each fact is from."""

from collections.abc import Iterator
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Static

from recordings.format.header import Header
from recordings.ledger.snapshot import Call
from recordings.wording.escape import printable
from tracers.events import Source
from tracers.explain import explain, judged
from tui.widgets import words
from tui.widgets.panel import MUTED, Line, content, line

#: How an event is known, in a sentence.
SOURCES = {
    Source.UNKNOWN: "in a way this version has no name for",
    Source.KPROBE: "observed by the function's own kprobe",
    Source.CALLSITE: "observed by a probe on the call instruction in its caller",
    Source.BREAKPOINT: "observed by a hardware breakpoint",
    Source.TRACEPOINT: "observed by a tracepoint",
    Source.DERIVED: (
        "derived, not observed: no probe was on the function (kernels before 6.11 refuse it); "
        "its range follows from the arguments of __add_pages / __remove_pages"
    ),
    Source.DMESG: "read off a WARN in the kernel's log",
}


def explanation_lines(header: Header, call: Call, first_ns: int) -> Iterator[Line]:
    """Yield the lines of the screen."""
    window = header.machine.window
    yield line(("The arithmetic", "bold $primary"))
    if window is None:
        yield line("The machine's window is not known, so this call cannot be judged.")
    elif call.start is None or call.end is None:
        yield line("The call's range is not in the recording, so it cannot be judged.")
    else:
        for text in explain(window, header.machine.layout, call.start, call.end):
            yield line(printable(text))
    yield line("")
    yield line(("The event", "bold $primary"))
    for name, value in _fields(call, first_ns):
        yield line((f"{name:<12}", MUTED), value)
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


def _fields(call: Call, first_ns: int) -> Iterator[tuple[str, str]]:
    yield "function", words.function(call.kind)
    yield "row", f"{call.row} of the recording"
    yield "time", f"{call.ts_ns} ns of the trace's clock, {(call.ts_ns - first_ns) / 1e9:.6f} s in"
    yield "task", f"{printable(call.comm)}, thread {'?' if call.tid is None else call.tid}"
    yield "cpu", "-" if call.cpu is None else str(call.cpu)
    yield "start", words.address(call.start)
    yield "end", words.address(call.end)
    regime = judged(printable(call.regime), silent=call.silent)
    yield "regime", f"{words.mark(call.regime, silent=call.silent)} {regime}"
    yield "lands on", printable(call.lands_on) if call.lands_on else "not known"
    yield "took", words.duration(call.duration_ns) if call.duration_ns is not None else "not known"


class ExplainScreen(ModalScreen[None]):
    """A modal; any of escape, enter, q closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q,question_mark", "dismiss(None)", "Close"),
        Binding("up,k", "scroll(-1)", "Up", show=False),
        Binding("down,j", "scroll(1)", "Down", show=False),
    ]

    def __init__(self, header: Header, call: Call, first_ns: int) -> None:
        super().__init__()
        self._lines = list(explanation_lines(header, call, first_ns))
        self._title = f"{words.function(call.kind)}, event #{call.row}"

    def compose(self) -> ComposeResult:
        """Yield the scrolling box."""
        box = VerticalScroll(Static(content(*self._lines)), classes="modal")
        box.border_title = Content(self._title)
        box.border_subtitle = "esc closes"
        yield box

    def action_scroll(self, by: int) -> None:
        """Scroll the text by lines."""
        self.query_one(VerticalScroll).scroll_relative(y=by, animate=False)
